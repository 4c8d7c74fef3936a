//! What is done for a queue whose file is gone or can't be read: what can be had of it goes into a new one, and the old
//! one is moved aside with the time in its name, for a person to look at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timestamp::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::connection;
use crate::StoreError;

/// Replaces the queue at `path`, and returns a connection to the new one. `open` is the connection to the old one where
/// there is one: behind it a file that was deleted is still whole, so it is closed once that is copied. Nobody else may
/// have the file open.
pub(crate) fn rescue(
    path: &Path,
    open: &mut Option<Connection>,
    is_whole: bool,
    projects: &Projects,
    now: Timestamp,
) -> Result<Connection, StoreError> {
    let new = path.with_extension("rescued");
    remove(&new);
    let whole = open.as_ref().filter(|_| is_whole);
    let copied = whole.map(|open| open.execute("VACUUM INTO ?", [new.display().to_string()]));
    if !matches!(copied, Some(Ok(_))) {
        remove(&new);
        let rescued = connection::open(&new, projects)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let old = open.as_ref().map_or_else(
            || Connection::open_with_flags(path, flags).ok().map(Old::Opened),
            |open| Some(Old::Lent(open)),
        );
        if let Some(old) = old {
            let error = copy_what_can_be_read(old.connection(), &rescued).err();
            tracing::warn!(
                error = error.as_ref().map(|error| error as &dyn std::error::Error),
                "what can be read of the queue is copied"
            );
        }
    }
    // Closed before its files are moved: SQLite deletes a log by its name.
    drop(open.take());
    let aside = move_aside(path, now);
    fs::rename(&new, path).map_err(|source| StoreError::Directory { path: path.display().to_string(), source })?;
    tracing::error!(
        moved.to = %aside.display(),
        "the queue {} was gone or can't be read; the service goes on with what could be had of it",
        path.display()
    );
    connection::open(path, projects)
}

/// The connection to copy from.
enum Old<'a> {
    Lent(&'a Connection),
    Opened(Connection),
}

impl Old<'_> {
    fn connection(&self) -> &Connection {
        match self {
            Self::Lent(connection) => connection,
            Self::Opened(connection) => connection,
        }
    }
}

/// Copies rows from the first on until one can't be read, and from the last on until there.
fn copy_what_can_be_read(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    old.execute_batch("PRAGMA cell_size_check = ON")?;
    new.execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")?;
    for table in ["unit", "want"] {
        let reached = copy(old, new, table, i64::MIN, "ASC")?;
        if let Some(reached) = reached {
            copy(old, new, table, reached, "DESC")?;
        }
    }
    // A want whose unit is lost is nobody's.
    new.execute_batch("DELETE FROM want WHERE unit NOT IN (SELECT id FROM unit); COMMIT; PRAGMA foreign_keys = ON;")
}

/// Copies the rows after the number `after` in one direction; where that ends early, the last number that was copied.
fn copy(old: &Connection, new: &Connection, table: &str, after: i64, order: &str) -> rusqlite::Result<Option<i64>> {
    let Ok(mut statement) = old.prepare(&format!("SELECT * FROM {table} NOT INDEXED WHERE id > ? ORDER BY id {order}"))
    else {
        return Ok(None);
    };
    let columns = statement.column_count();
    let names = statement.column_names().collect::<Vec<_>>().join(", ");
    let marks = vec!["?"; columns].join(", ");
    // What doesn't fit, as a second row of one key, is left out.
    let mut insert = new.prepare(&format!("INSERT OR IGNORE INTO {table}({names}) VALUES({marks})"))?;
    let Ok(mut rows) = statement.query([after]) else { return Ok(Some(after)) };
    let mut reached = after;
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let Ok(values) = (0..columns).map(|n| row.get(n)).collect::<Result<Vec<Value>, _>>() else { continue };
                if let Some(Value::Integer(id)) = values.first() {
                    reached = *id;
                }
                // A value of the wrong kind is refused by the table.
                let _left_out = insert.execute(params_from_iter(values));
            }
            Ok(None) => return Ok(None),
            Err(_) => return Ok(Some(reached)),
        }
    }
}

/// Renames the file and its log; their new name.
fn move_aside(path: &Path, now: Timestamp) -> PathBuf {
    let time: String = now.to_string().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let aside = path.with_extension(format!("sqlite.unreadable-{time}"));
    for suffix in ["", "-wal", "-shm"] {
        let named = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        match fs::rename(named(path), named(&aside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(error = &error as &dyn std::error::Error, "{} stays", named(path).display());
            }
            _ => {}
        }
    }
    aside
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _there_is_none = fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

/// Whether an error says that the file can't be read, whatever is tried again.
pub(crate) fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
