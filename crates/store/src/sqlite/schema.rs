//! The tables, and how to open them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;

/// Stands in `PRAGMA user_version`. A change of the tables gets the next number and a step in [`migrate`].
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE unit(
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,                 -- 0 announcement, 1 image
  key TEXT NOT NULL UNIQUE,
  body BLOB NOT NULL,
  state INTEGER NOT NULL DEFAULT 0,      -- 0 ready, 1 leased, 2 done, 3 dead
  due INTEGER NOT NULL,                  -- ready: not before; leased: until then; done: to be looked at again
  token INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  generation INTEGER NOT NULL DEFAULT 0, -- grows with every want that is new
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  reason TEXT
) STRICT;
CREATE INDEX unit_due ON unit(due) WHERE state < 2;
CREATE INDEX unit_resting ON unit(due) WHERE state = 2;
CREATE INDEX unit_finished ON unit(state, updated) WHERE state >= 2;
CREATE TABLE want(
  id INTEGER PRIMARY KEY,
  unit INTEGER NOT NULL REFERENCES unit(id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  body BLOB NOT NULL,
  asked INTEGER NOT NULL,
  UNIQUE(unit, key)
) STRICT;
";

/// Opens the writing connection.
pub(crate) fn open(path: &Path) -> Result<Connection, StoreError> {
    let at = |source| StoreError::Open { path: path.display().to_string(), source };
    let connection = Connection::open(path).map_err(at)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(at)?;
    // FULL: what was acknowledged survives a power cut, too. Group commit makes that cheap.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(at)?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&connection, path)?;
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

fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let at = |source| StoreError::Open { path: path.display().to_string(), source };
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(at)?;
    match found {
        0 => {
            let script = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;");
            connection.execute_batch(&script).map_err(at)
        }
        VERSION => Ok(()),
        found => Err(StoreError::TooNew { path: path.display().to_string(), found, known: VERSION }),
    }
}
