//! One process has the queue: what was leased when it ended is nobody's then, and is given back at the next start
//! instead of waiting for the leases to run out.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::StoreError;

/// A process that ends has so long to let go of the queue: its last writes are on their way then.
const PATIENCE: Duration = Duration::from_secs(5);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Locks the queue at `path` until the file is dropped. The system lets go of it when the process ends, however it
/// ends.
pub(crate) fn take(directory: &Path, path: &Path) -> Result<File, StoreError> {
    let unusable = |source| StoreError::Directory { path: directory.display().to_string(), source };
    let file = File::create(directory.join("queue.lock")).map_err(unusable)?;
    for _ in 0..PATIENCE.as_millis() / LOOK_AGAIN.as_millis() {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_AGAIN),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
    Err(StoreError::InUse { path: path.display().to_string() })
}
