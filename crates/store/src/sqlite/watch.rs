//! Whether the files that are open are still those at their paths, and as long as they were.
//!
//! A file that was deleted stays open, and takes writes that nobody will read again; so every commit looks before its
//! callers are told. Neither file ever gets shorter while it is open: pages are reused, and so is the log.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The database and its log.
pub(crate) struct Watch(Mutex<[Watched; 2]>);

struct Watched {
    path: PathBuf,
    /// Device and number, once it was seen.
    identity: Option<(u64, u64)>,
    longest: u64,
}

impl Watch {
    pub(crate) fn new(database: &Path) -> Self {
        let log = database.with_extension("sqlite-wal");
        let watch = |path: PathBuf| Watched { path, identity: None, longest: 0 };
        Self(Mutex::new([watch(database.to_owned()), watch(log)]))
    }

    /// Others are at their paths now.
    pub(crate) fn forget(&self) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for file in watched.iter_mut() {
            (file.identity, file.longest) = (None, 0);
        }
    }

    /// Whether both are there as they were.
    pub(crate) fn is_there(&self) -> bool {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.iter_mut().all(Watched::is_there)
    }
}

impl Watched {
    fn is_there(&mut self) -> bool {
        let found = fs::metadata(&self.path).ok().map(|file| ((file.dev(), file.ino()), file.len()));
        match (self.identity, found) {
            // The log is made by the first write.
            (None, None) => true,
            (None, Some((identity, length))) => {
                self.identity = Some(identity);
                self.longest = length;
                true
            }
            (Some(_), None) => false,
            (Some(known), Some((identity, length))) => {
                let is_there = known == identity && length >= self.longest;
                self.longest = self.longest.max(length);
                is_there
            }
        }
    }
}
