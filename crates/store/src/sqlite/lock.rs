//! One process has the queue: what was leased when it ended is nobody's then, and is given back at the next start
//! instead of waiting for the leases to run out.
//!
//! The directory is locked, which stays where it is whatever happens to the files in it; and `queue.lock`, which
//! versions before this one look at.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use crate::StoreError;

/// A process that ends has so long to let go of the queue: its last writes are on their way then.
const PATIENCE: Duration = Duration::from_secs(5);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Held as long as it lives. The system lets go of it when the process ends, however it ends.
pub(crate) struct Lock {
    _directory: File,
    _file: File,
}

/// Makes the directory of the queue where there is none, this user's alone.
pub(crate) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| StoreError::Directory { path: directory.display().to_string(), source })
}

/// Locks the queue at `path`.
pub(crate) fn take(directory: &Path, path: &Path) -> Result<Lock, StoreError> {
    let unusable = |source| StoreError::Directory { path: directory.display().to_string(), source };
    let (directory, file) = (File::open(directory), File::create(directory.join("queue.lock")));
    let (directory, file) = (directory.map_err(unusable)?, file.map_err(unusable)?);
    for _ in 0..PATIENCE.as_millis() / LOOK_AGAIN.as_millis() {
        match directory.try_lock().and_then(|()| file.try_lock()) {
            Ok(()) => return Ok(Lock { _directory: directory, _file: file }),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_AGAIN),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
    Err(StoreError::InUse { path: path.display().to_string() })
}
