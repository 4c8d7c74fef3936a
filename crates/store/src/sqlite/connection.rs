//! How the queue's file is opened.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use harbor_warmer_core::projects::Projects;
use rusqlite::{Connection, OpenFlags};

use super::migration;
use super::schema::VERSION;
use crate::StoreError;

/// It says who runs which images, so it is this user's alone. SQLite gives its log the same rights.
const MODE: u32 = 0o600;

/// Opens the writing connection.
pub(crate) fn open(path: &Path, projects: &Projects) -> Result<Connection, StoreError> {
    let at = |source| StoreError::Open { path: path.display().to_string(), source };
    let made = OpenOptions::new().create(true).append(true).mode(MODE).open(path);
    // One that is somebody else's, as on a volume that changed hands, is opened as it is or not at all.
    let _refused = made.and_then(|file| file.set_permissions(Permissions::from_mode(MODE)));
    let connection = Connection::open(path).map_err(at)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(at)?;
    migration::look_at(&connection, path)?;
    // FULL: what was acknowledged survives a power cut, too. Group commit makes that cheap.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").map_err(at)?;
    migration::migrate(&connection, path, projects)?;
    connection.execute_batch("PRAGMA foreign_keys = ON;").map_err(at)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Writes what stands in the file anyway: a write for its own sake.
pub(crate) fn rewrite_version(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "user_version", VERSION)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let at = |source| StoreError::Open { path: path.display().to_string(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(at)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(at)?;
    Ok(connection)
}
