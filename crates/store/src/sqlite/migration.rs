//! Files of past versions, brought to the tables of today one version after the other; a file of a newer one, or of
//! another program, is refused and left alone.

use std::path::Path;

use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::view::Phase;
use rusqlite::{Connection, named_params};

use super::schema::{APPLICATION, INDEXES, TABLES, VERSION, WANTS};
use crate::body::Sql;
use crate::line::Line;
use crate::row::{self, LEASED, READY, UNREADABLE};
use crate::{StoreError, Unit, UnitId};

/// Refuses what is no queue, or one that is too new, before anything is written to it.
pub(crate) fn look_at(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let at = |source| StoreError::Open { path: path.display().to_string(), source };
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(at);
    let (found, application) = (number("PRAGMA user_version")?, number("PRAGMA application_id")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let ours = number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('unit', 'want')")? == 2;
    let is_queue = match (application, found) {
        (APPLICATION, _) => true,
        // Version 1 was written without an application's number.
        (0, 0) => tables == 0,
        (0, _) => ours,
        _ => false,
    };
    if !is_queue {
        return Err(StoreError::Foreign { path: path.display().to_string() });
    }
    if found > VERSION {
        return Err(StoreError::TooNew { path: path.display().to_string(), found, known: VERSION });
    }
    Ok(())
}

/// Brings the tables to [`VERSION`], all of it or nothing. Foreign keys have to be off: a table is replaced.
pub(crate) fn migrate(connection: &Connection, path: &Path, projects: &Projects) -> Result<(), StoreError> {
    let at = |source| StoreError::Open { path: path.display().to_string(), source };
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(at)?;
    if found == VERSION {
        return Ok(());
    }
    connection.execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE").map_err(at)?;
    let migrated = steps(connection, found, projects).and_then(|()| {
        connection.pragma_update(None, "application_id", APPLICATION)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        connection.execute_batch("COMMIT")
    });
    migrated.map_err(|error| {
        // Closing the connection would do the same.
        let _ended = connection.execute_batch("ROLLBACK");
        at(error)
    })
}

fn steps(connection: &Connection, found: i64, projects: &Projects) -> rusqlite::Result<()> {
    if found == 0 {
        return connection.execute_batch(&format!("{TABLES} {WANTS} {INDEXES}"));
    }
    from_1_to_2(connection, projects)
}

/// Version 1 had no lines, and counted by reading every body.
fn from_1_to_2(connection: &Connection, projects: &Projects) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DROP INDEX IF EXISTS unit_due; DROP INDEX IF EXISTS unit_resting; DROP INDEX IF EXISTS unit_finished;",
    )?;
    // Built beside the old one: renaming that would take the wants along.
    connection.execute_batch(&TABLES.replace("TABLE unit(", "TABLE unit_2("))?;
    let mut old = connection.prepare(
        "SELECT id, kind, key, body, state, due, token, crashes, generation, created, updated, reason FROM unit",
    )?;
    let mut insert = connection.prepare(
        "INSERT INTO unit_2(id, kind, key, harbor, cluster, state, line, due, token, crashes, generation, created,
           updated, phase, reason, body)
         VALUES(:id, :kind, :key, :harbor, :cluster, :state, :line, :due, :token, :crashes, :generation, :created,
           :updated, :phase, :reason, :body)",
    )?;
    let mut rows = old.query([])?;
    while let Some(row) = rows.next()? {
        let id: UnitId = row.get("id")?;
        let (kind, key): (i64, String) = (row.get("kind")?, row.get("key")?);
        let (mut state, mut reason): (i64, Option<String>) = (row.get("state")?, row.get("reason")?);
        if state == LEASED {
            state = READY;
        }
        let wants = row::wants(connection, id)?;
        let cluster = wants.first().map(|want| want.cluster.clone()).unwrap_or_default();
        let harbor = key.split('/').next().unwrap_or_default();
        let (line, phase) = match row.get::<_, Unit>("body") {
            Ok(mut unit) => {
                unit.set_wants(wants);
                let updated = row.get::<_, Sql<_>>("updated")?.0;
                (Line::of(&unit), row::phase(&unit, state, projects, updated))
            }
            Err(error) => {
                state = UNREADABLE;
                reason = Some(row::unreadable(&error));
                (Line::Looks, Some(Phase::Failed))
            }
        };
        insert.execute(named_params! {
            ":id": id,
            ":kind": kind,
            ":key": key,
            ":harbor": harbor,
            ":cluster": cluster,
            ":state": state,
            ":line": line.number(),
            ":due": row.get::<_, i64>("due")?,
            ":token": row.get::<_, i64>("token")?,
            ":crashes": row.get::<_, i64>("crashes")?,
            ":generation": row.get::<_, i64>("generation")?,
            ":created": row.get::<_, i64>("created")?,
            ":updated": row.get::<_, i64>("updated")?,
            ":phase": phase.map(row::phase_number),
            ":reason": reason,
            ":body": row.get_ref("body")?.as_blob()?,
        })?;
    }
    drop(rows);
    drop((old, insert));
    connection.execute_batch(&format!(
        "DROP TABLE unit; ALTER TABLE unit_2 RENAME TO unit; {INDEXES}
         UPDATE moment SET at = (SELECT coalesce(max(updated), 0) FROM unit);"
    ))
}
