//! Room on the disk that is kept for the day when it is full.
//!
//! A file that holds nothing. When the disk takes no more, it is given up, and what is under way has that much room to
//! come to its end and to be forgotten; what is new is refused meanwhile. It is taken back as soon as there is twice as
//! much.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The reserve of one queue.
pub(crate) struct Reserve {
    directory: PathBuf,
    file: PathBuf,
    bytes: u64,
    spent: AtomicBool,
}

impl Reserve {
    pub(crate) fn new(directory: &Path, bytes: u64) -> Self {
        let file = directory.join("queue.reserve");
        Self { directory: directory.to_owned(), file, bytes, spent: AtomicBool::new(false) }
    }

    /// Whether it was given up and there is no room for it yet.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// Gives it up; whether there was one.
    pub(crate) fn spend(&self) -> bool {
        self.spent.store(true, Ordering::Relaxed);
        fs::remove_file(&self.file).is_ok()
    }

    /// Takes it, or takes it back, where there is twice as much room.
    pub(crate) fn take(&self) {
        self.spent.store(!self.is_held() && !self.allocate(self.bytes.saturating_mul(2)), Ordering::Relaxed);
    }

    /// At the end of the process: takes it back out of the room that the log had, for the next start to give up. Without
    /// it, a queue can't be opened on a disk that has become full meanwhile.
    pub(crate) fn leave_behind(&self) {
        if !self.is_held() {
            self.allocate(self.bytes);
        }
    }

    fn is_held(&self) -> bool {
        self.bytes == 0 || fs::metadata(&self.file).is_ok_and(|file| file.len() == self.bytes)
    }

    /// Whether so many bytes are free; then it is taken.
    fn allocate(&self, needed: u64) -> bool {
        let free = statvfs(&self.directory).map_or(0, |system| system.f_bavail.saturating_mul(system.f_frsize));
        if free < needed {
            return false;
        }
        let allocated = File::create(&self.file)
            .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, self.bytes).map_err(Into::into));
        if allocated.is_err() {
            // A file system that can't set room aside: the queue does without, as it did before it was full.
            let _there_is_none = fs::remove_file(&self.file);
        }
        true
    }
}
