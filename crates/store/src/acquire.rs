//! Who is leased next.
//!
//! At each Harbor: what is under way goes first, then images begin where there is room, then announcements and what is
//! asked for again are looked at, and last the tags that the upstream doesn't have. Every eighth time the last are the
//! first, so that they are never forgotten.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use harbor_warmer_core::timers::Timers;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_protocol::HarborName;
use rusqlite::{Connection, named_params};

use crate::body::Sql;
use crate::lease::{Lease, Leased};
use crate::line::{self, Line};
use crate::row::{self, DEAD};
use crate::{Shared, Store, StoreError, Unit, UnitId};

/// What a worker asks for.
#[derive(Clone, Debug)]
pub struct AcquireRequest {
    /// Units at this Harbor.
    pub harbor: HarborName,
    /// At most so many.
    pub limit: usize,
    /// Of these, so many images at most that nothing was asked of Harbor for yet.
    pub begin: usize,
    /// Until they have to be renewed.
    pub lease: Duration,
}

/// So many units come into a line at a time.
const COME: i64 = 256;

/// Tags that the upstream doesn't have go first once in so many times.
const MISSES_FIRST: u64 = 8;

/// What was in hand when the process died is left alone for so long, by how often that has come to pass: should it be
/// what ends the process, the others have their time meanwhile, and a process that is killed again and again for
/// another reason does not accuse it. Past the last it is given up.
const SUSPECTS_AFTER: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
];

/// Why a unit waits that was worked on by itself when the process died.
const KILLED_TWICE: &str = "the process ended twice while it worked on this image, the second time on it alone: it may \
                            take more memory than there is; it is left alone for some time, and then tried again by \
                            itself";

/// Why a unit is given up that was worked on by itself when the process died.
const KILLED: &str = "the process ended again and again while it worked on this image alone: it may take more memory \
                      than there is; see the log of the last runs, and `requeue` tries it again";

impl Store {
    /// Leases units at one Harbor whose turn it is.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn acquire(&self, request: AcquireRequest, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
        let shared = Arc::clone(&self.0);
        self.write(move |connection| {
            let mut acquiring = Acquiring { connection, shared: &shared, request: &request, now, leased: Vec::new() };
            acquiring.run()?;
            Ok(acquiring.leased)
        })
        .await
    }

    /// When the next unit at `harbor` is due that is asleep or leased; one that stands in line is due when there is
    /// room for it. With `begins`, images that may begin count.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn next_due(&self, harbor: &HarborName, begins: bool) -> Result<Option<Timestamp>, StoreError> {
        let harbor = harbor.clone();
        let due: Option<Sql<Timestamp>> = self
            .read(move |connection, _| {
                let parameters = named_params! {":harbor": harbor.as_str(), ":begins": begins};
                connection.prepare_cached(NEXT_DUE)?.query_row(parameters, |row| row.get(0))
            })
            .await?;
        Ok(due.map(|due| due.0))
    }

    /// The Harbors that have units for a worker, whether or not they are in the configuration.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn harbors(&self) -> Result<Vec<HarborName>, StoreError> {
        self.read(|connection, _| {
            let harbors: Vec<String> = connection
                .prepare_cached("SELECT DISTINCT harbor FROM tally WHERE state < 2 AND units > 0")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok(harbors.iter().filter_map(|harbor| harbor.parse().ok()).collect())
        })
        .await
    }
}

struct Acquiring<'a> {
    connection: &'a Connection,
    shared: &'a Shared,
    request: &'a AcquireRequest,
    now: Timestamp,
    leased: Vec<Leased>,
}

impl Acquiring<'_> {
    fn run(&mut self) -> rusqlite::Result<()> {
        for id in self.ids(EXPIRED, self.left())? {
            self.lease(id)?;
        }
        let accused = self.suspects()?;
        let begin = if accused { 0 } else { self.request.begin };
        for id in self.ids(UNDER_WAY, self.left())? {
            self.lease(id)?;
        }
        let times = self.shared.acquired.fetch_add(1, Ordering::Relaxed);
        if times % MISSES_FIRST == MISSES_FIRST - 1 {
            self.in_turn(Line::Misses, self.left().min(1))?;
        }
        self.in_turn(Line::Beginnings, self.left().min(begin))?;
        self.in_turn(Line::Looks, self.left())?;
        self.in_turn(Line::Misses, self.left())
    }

    fn left(&self) -> usize {
        self.request.limit.saturating_sub(self.leased.len())
    }

    fn ids(&self, sql: &str, limit: usize) -> rusqlite::Result<Vec<UnitId>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let harbor = self.request.harbor.as_str();
        self.connection
            .prepare_cached(sql)?
            .query_map(named_params! {":harbor": harbor, ":now": Sql(self.now), ":limit": limit}, |row| row.get(0))?
            .collect()
    }

    /// One suspect is worked on at a time, and no image begins beside it: those are what may end the process, and of
    /// two nobody could tell which did. Whether one is worked on, or is due.
    fn suspects(&mut self) -> rusqlite::Result<bool> {
        let harbor = self.request.harbor.as_str();
        let held = |line: Line| {
            self.connection
                .prepare_cached(
                    "SELECT EXISTS(SELECT 1 FROM unit WHERE state = 1 AND harbor = :harbor AND line = :line)",
                )?
                .query_row(named_params! {":harbor": harbor, ":line": line.number()}, |row| row.get::<_, bool>(0))
        };
        if held(Line::Suspects)? {
            return Ok(true);
        }
        let begins = held(Line::Beginnings)?;
        let Some(suspect) = self.ids(SUSPECTS, 1)?.pop() else { return Ok(false) };
        if !begins && self.left() > 0 {
            self.lease(suspect)?;
        }
        Ok(true)
    }

    /// Leases up to `limit` units of a line, the clusters in turn.
    fn in_turn(&mut self, line: Line, limit: usize) -> rusqlite::Result<()> {
        if limit == 0 {
            return Ok(());
        }
        self.come_into(line)?;
        let harbor = self.request.harbor.as_str();
        let turns = &self.shared.turns;
        for _ in 0..limit {
            let last = turns.last(harbor, line);
            let Some(cluster) = line::next_cluster(self.connection, harbor, line, last.as_deref())? else { break };
            let Some((id, turn)) = line::first(self.connection, harbor, line, &cluster)? else { break };
            turns.served_number(harbor, line, &cluster, turn);
            self.lease(id)?;
        }
        Ok(())
    }

    /// Units whose time has come take their place in the line.
    fn come_into(&self, line: Line) -> rusqlite::Result<()> {
        let harbor = self.request.harbor.as_str();
        let parameters = named_params! {
            ":harbor": harbor,
            ":line": line.number(),
            ":now": Sql(self.now),
            ":limit": COME,
        };
        let come: Vec<(UnitId, String, String)> = self
            .connection
            .prepare_cached(COMING)?
            .query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        for (id, cluster, key) in come {
            let turn = self.shared.turns.number(self.connection, harbor, line, &cluster, &key)?;
            self.connection
                .prepare_cached("UPDATE unit SET turn = :turn WHERE id = :id")?
                .execute(named_params! {":turn": turn, ":id": id})?;
        }
        Ok(())
    }

    /// Leases one. A row that can't be read is put aside instead, and holds nobody up.
    fn lease(&mut self, id: UnitId) -> rusqlite::Result<()> {
        let parameters = named_params! {":id": id, ":until": Sql(self.now + self.request.lease)};
        let leased = self.connection.prepare_cached(LEASE)?.query_row(parameters, |row| {
            let lease = Lease { id, token: row.get(0)?, generation: row.get(1)? };
            let updated = row.get::<_, Sql<Timestamp>>(3)?.0;
            Ok((lease, row.get::<_, u32>(2)?, row::by_the_clock(updated, self.now, || row.get::<_, Unit>(4))))
        })?;
        match leased {
            (lease, crashes, Ok(mut unit)) => {
                unit.set_wants(row::wants(self.connection, id)?);
                self.leased.push(Leased { lease, unit, crashes });
            }
            (_, _, Err(error)) => {
                tracing::error!(unit.id = id, error = &error as &dyn std::error::Error, "a row can't be read");
                self.connection.prepare_cached(PUT_ASIDE)?.execute(named_params! {
                    ":id": id,
                    ":phase": row::phase_number(harbor_warmer_core::view::Phase::Failed),
                    ":reason": row::unreadable(&error),
                })?;
            }
        }
        Ok(())
    }
}

pub(crate) const EXPIRED: &str = "
SELECT id FROM unit WHERE state = 1 AND harbor = :harbor AND due <= :now ORDER BY due LIMIT :limit";

pub(crate) const UNDER_WAY: &str = "
SELECT id FROM unit
WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = 0 AND due <= :now ORDER BY due LIMIT :limit";

pub(crate) const SUSPECTS: &str = "
SELECT id FROM unit
WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = 4 AND due <= :now ORDER BY due LIMIT :limit";

pub(crate) const COMING: &str = "
SELECT id, cluster, key FROM unit
WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = :line AND due <= :now ORDER BY due LIMIT :limit";

const LEASE: &str = "
UPDATE unit SET crashes = crashes + (state = 1), state = 1, turn = NULL, token = token + 1, due = :until
WHERE id = :id
RETURNING token, generation, crashes, updated, body";

const PUT_ASIDE: &str = "UPDATE unit SET state = 4, phase = :phase, reason = :reason WHERE id = :id";

pub(crate) const NEXT_DUE: &str = "
SELECT min(due) FROM (
  SELECT min(due) AS due FROM unit WHERE state = 1 AND harbor = :harbor
  UNION ALL SELECT min(due) FROM unit WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = 0
  UNION ALL SELECT min(due) FROM unit WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = 1
  UNION ALL SELECT min(due) FROM unit WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = 2 AND :begins
  UNION ALL SELECT min(due) FROM unit WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = 3
  UNION ALL SELECT min(due) FROM unit WHERE state = 0 AND turn IS NULL AND harbor = :harbor AND line = 4)";

/// Takes back what the process before this one had in hand when it ended without a word: each is a suspect from here
/// on. One that was worked on as a suspect waits longer each time, and is given up in the end, unread. How many were.
pub(crate) fn take_over(connection: &Connection, timers: Timers, now: Timestamp) -> rusqlite::Result<usize> {
    let given_up = connection.execute(
        "UPDATE unit SET state = :dead, due = :never, crashes = crashes + 1, phase = :failed, reason = :reason, updated = :now
         WHERE state = 1 AND line = 4 AND crashes >= :most",
        named_params! {
            ":dead": DEAD,
            ":never": Sql(Timestamp::NEVER),
            ":failed": row::phase_number(harbor_warmer_core::view::Phase::Failed),
            ":reason": KILLED,
            ":now": Sql(now),
            ":most": u32::try_from(SUSPECTS_AFTER.len()).expect("there are few"),
        },
    )?;
    for (crashes, pause) in (1_u32..).zip(SUSPECTS_AFTER.into_iter().skip(1)) {
        connection.execute(
            "UPDATE unit SET state = 0, turn = NULL, due = :due, crashes = crashes + 1, reason = :reason
             WHERE state = 1 AND line = 4 AND crashes = :crashes",
            named_params! {":due": Sql(now + timers.of(pause)), ":reason": KILLED_TWICE, ":crashes": crashes},
        )?;
    }
    connection.execute(
        "UPDATE unit SET state = 0, line = 4, turn = NULL, due = :due, crashes = crashes + 1 WHERE state = 1",
        named_params! {":due": Sql(now + timers.of(SUSPECTS_AFTER[0]))},
    )?;
    // A version that can read them may have come since.
    connection.execute(
        "UPDATE unit SET state = 0, line = 1, turn = NULL, due = :now WHERE state = 4",
        named_params! {":now": Sql(now)},
    )?;
    Ok(given_up)
}
