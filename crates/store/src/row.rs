//! A unit's row as it is read, whatever is wrong with it.
//!
//! What a unit *is* stands in its key, and who wants it in its wants; the body holds what was seen so far, which can be
//! seen again. So a row whose body can't be read is a unit that nothing is known of yet: it is shown, and begun anew
//! when somebody asks for it, while the queue goes on without it.

use harbor_warmer_core::image::Want;
use harbor_warmer_core::image::view::RowFacts;
use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::Phase;
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::body::{self, Sql};
use crate::{Unit, UnitId};

pub(crate) const READY: i64 = 0;
pub(crate) const LEASED: i64 = 1;
pub(crate) const DONE: i64 = 2;
pub(crate) const DEAD: i64 = 3;
/// Its body can't be read. Left as it is until somebody asks for it.
pub(crate) const UNREADABLE: i64 = 4;

/// A unit's row. Its wants are read apart from it.
pub(crate) struct Row {
    pub(crate) id: UnitId,
    pub(crate) unit: Unit,
    pub(crate) cluster: String,
    pub(crate) state: i64,
    pub(crate) line: i64,
    pub(crate) due: Timestamp,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) phase: Option<Phase>,
    pub(crate) reason: Option<String>,
}

const SELECT: &str = "SELECT id, kind, key, cluster, state, line, due, created, updated, phase, \
                      reason, body FROM unit";

impl Row {
    /// By its key.
    pub(crate) fn find(connection: &Connection, key: &str, now: Timestamp) -> rusqlite::Result<Option<Self>> {
        let sql = format!("{SELECT} WHERE key = :key");
        Self::found(connection.prepare_cached(&sql)?.query_row(named_params! {":key": key}, |row| Self::read(row, now)))
    }

    /// By its number.
    pub(crate) fn get(connection: &Connection, id: UnitId, now: Timestamp) -> rusqlite::Result<Option<Self>> {
        let sql = format!("{SELECT} WHERE id = :id");
        Self::found(connection.prepare_cached(&sql)?.query_row(named_params! {":id": id}, |row| Self::read(row, now)))
    }

    /// A row of which not even the key can be read is no unit of anybody.
    fn found(row: rusqlite::Result<Self>) -> rusqlite::Result<Option<Self>> {
        match row {
            Err(rusqlite::Error::FromSqlConversionFailure(..)) => Ok(None),
            row => row.optional(),
        }
    }

    fn read(row: &rusqlite::Row<'_>, now: Timestamp) -> rusqlite::Result<Self> {
        let updated = row.get::<_, Sql<Timestamp>>("updated")?.0;
        let mut state = row.get("state")?;
        let mut reason = row.get("reason")?;
        let unit = match by_the_clock(updated, now, || row.get("body")) {
            Ok(unit) if state != UNREADABLE => unit,
            Ok(_) => body::of_key(row.get("kind")?, &row.get::<_, String>("key")?)?,
            Err(error) => {
                state = UNREADABLE;
                reason = Some(unreadable(&error));
                body::of_key(row.get("kind")?, &row.get::<_, String>("key")?)?
            }
        };
        Ok(Self {
            id: row.get("id")?,
            unit,
            cluster: row.get("cluster")?,
            state,
            line: row.get("line")?,
            due: row.get::<_, Sql<_>>("due")?.0,
            created: row.get::<_, Sql<_>>("created")?.0,
            updated,
            phase: row.get::<_, Option<i64>>("phase")?.and_then(phase_of),
            reason,
        })
    }

    /// Whether no worker will look at it unless somebody asks for it.
    pub(crate) fn is_given_up(&self) -> bool {
        matches!(self.state, DEAD | UNREADABLE)
    }

    /// Whether it was written within `time` before `now`. What was written by a clock that was ahead was not.
    pub(crate) fn is_fresh(&self, time: std::time::Duration, now: Timestamp) -> bool {
        self.updated <= now && now.since(self.updated) < time
    }

    /// The id that people use.
    pub(crate) fn name(&self) -> String {
        unit_name(self.unit.kind(), self.id)
    }

    pub(crate) fn facts(&self) -> RowFacts {
        RowFacts {
            id: self.name(),
            dead: self.is_given_up(),
            due: self.due,
            created: self.created,
            reason: self.reason.clone(),
        }
    }
}

/// Reads a body that was written at `updated`. By a clock that was ahead of `now`, its moments have not come yet, and
/// waiting for them could take a year: they count as now.
pub(crate) fn by_the_clock<T>(updated: Timestamp, now: Timestamp, read: impl FnOnce() -> T) -> T {
    if updated > now { Timestamp::not_after(now, read) } else { read() }
}

/// Why a unit stands still whose body can't be read.
pub(crate) fn unreadable(error: &rusqlite::Error) -> String {
    let why = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    format!(
        "its row in the queue can't be read ({why}); if a newer harbor-warmer wrote it, start that one; else `requeue` \
         begins it anew"
    )
}

/// The wants of a unit, oldest first. One whose body can't be read is what its key says.
pub(crate) fn wants(connection: &Connection, unit: UnitId) -> rusqlite::Result<Vec<Want>> {
    connection
        .prepare_cached("SELECT body, key, asked FROM want WHERE unit = :unit ORDER BY id")?
        .query_map(named_params! {":unit": unit}, |row| match row.get::<_, Sql<Want>>(0) {
            Ok(want) => Ok(want.0),
            Err(_) => body::want_of_key(&row.get::<_, String>(1)?, row.get::<_, Sql<_>>(2)?.0),
        })?
        .collect()
}

/// The phase that people are shown of a unit with its wants; none where it isn't shown: a resolved announcement is shown
/// as its image.
pub(crate) fn phase(unit: &Unit, state: i64, projects: &Projects, now: Timestamp) -> Option<Phase> {
    match unit {
        Unit::Announcement(_) if state == DONE => None,
        _ if matches!(state, DEAD | UNREADABLE) => Some(Phase::Failed),
        Unit::Announcement(_) => Some(Phase::Announced),
        Unit::Image(image) => Some(image.phase(&projects.get(&image.place, now), now)),
    }
}

/// The number of a phase in its column.
pub(crate) fn phase_number(phase: Phase) -> i64 {
    match phase {
        Phase::Announced => 0,
        Phase::Queued => 1,
        Phase::Warming => 2,
        Phase::Local => 3,
        Phase::Warm => 4,
        Phase::Tagged => 5,
        Phase::Replicated => 6,
        Phase::Failed => 7,
    }
}

/// Reads what [`phase_number`] gives.
pub(crate) fn phase_of(number: i64) -> Option<Phase> {
    Phase::ALL.into_iter().find(|phase| phase_number(*phase) == number)
}

/// The id that people and receipts use: `a12` for an announcement, `i12` for an image.
pub(crate) fn unit_name(kind: i64, id: UnitId) -> String {
    format!("{}{id}", if kind == 0 { 'a' } else { 'i' })
}

/// Reads what [`unit_name`] prints.
pub(crate) fn parse_unit_name(name: &str) -> Option<UnitId> {
    name.strip_prefix(['a', 'i'])?.parse().ok()
}
