//! What workers do with the queue: acquire, renew, settle.

use std::sync::Arc;

use harbor_warmer_core::announcement::Resolved;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_protocol::Tag;
use rusqlite::{Connection, named_params};

use crate::body::{Sql, image_key};
use crate::line::Line;
use crate::row::{self, DEAD, DONE, LEASED, READY, Row, parse_unit_name};
use crate::units::Units;
use crate::{Store, StoreError, Unit, UnitId};

/// The right to work on a unit, until it runs out or is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub(crate) id: UnitId,
    pub(crate) token: i64,
    pub(crate) generation: i64,
}

impl Lease {
    /// The number of the unit, for logs.
    pub fn name(&self) -> i64 {
        self.id
    }
}

/// A unit in a worker's hands.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The right to it.
    pub lease: Lease,
    /// What it is, with its wants.
    pub unit: Unit,
    /// How often in a row a lease of it ran out: its worker ended without a word.
    pub crashes: u32,
}

/// How a worker lets go of a unit.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Due again then; the reason is what it waits for.
    Wait {
        /// When.
        due: Timestamp,
        /// For what.
        reason: Option<String>,
    },
    /// Everything that was wanted is verified.
    Done {
        /// When it is to be looked at again all the same.
        again: Option<Timestamp>,
    },
    /// Given up, with the reason.
    Dead {
        /// Why, in a sentence.
        reason: String,
    },
    /// The announcement's wants go to the image of this digest.
    Resolved(Resolved),
}

impl Store {
    /// Makes a lease last until `until`. False if it was lost: somebody else has the unit.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn renew(&self, lease: Lease, until: Timestamp) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE unit SET due = :until WHERE id = :id AND token = :token AND state = 1";
            let held = connection
                .prepare_cached(sql)?
                .execute(named_params! {":until": Sql(until), ":id": lease.id, ":token": lease.token})?;
            Ok(held == 1)
        })
        .await
    }

    /// Lets go of a unit. `moved` are tags that were seen to mean another digest now: the wants for them go there.
    /// False if the lease was lost; then nothing is written, for somebody else has seen more.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn settle(
        &self,
        lease: Lease,
        unit: Unit,
        settlement: Settlement,
        moved: Vec<(Tag, Resolved)>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.0);
        let held = self
            .write(move |connection| {
                let units = Units { connection, shared: &shared, now, takes_in: false };
                units.settle(lease, unit, settlement, moved)
            })
            .await?;
        if held {
            self.0.woken.notify_waiters();
        }
        Ok(held)
    }

    /// Makes finished units ready whose time to be looked at again has come.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn wake(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.tell_moment(now).await?;
        let mut woken = 0;
        loop {
            let some = self
                .write(move |connection| {
                    Ok(connection
                        .prepare_cached(WAKE)?
                        .execute(named_params! {":now": Sql(now), ":batch": BATCH as i64})?)
                })
                .await?;
            woken += some;
            if some < BATCH {
                break;
            }
        }
        if woken > 0 {
            self.0.woken.notify_waiters();
        }
        Ok(woken)
    }

    /// Gives a unit back as it was, due now: the service is shutting down.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn release(&self, lease: Lease, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE unit SET state = 0, due = :now WHERE id = :id AND token = :token AND state = 1";
            connection
                .prepare_cached(sql)?
                .execute(named_params! {":now": Sql(now), ":id": lease.id, ":token": lease.token})?;
            Ok(())
        })
        .await
    }

    /// Opens a finished or dead unit again, by hand; of a resolved announcement, its image. One that a worker holds
    /// stays with it. False if there is none of that id.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn requeue(&self, name: &str, now: Timestamp) -> Result<bool, StoreError> {
        let Some(id) = parse_unit_name(name) else { return Ok(false) };
        let shared = Arc::clone(&self.0);
        let found = self
            .write(move |connection| {
                let mut row = Row::get(connection, id, now)?;
                if let Some(Row { unit: Unit::Announcement(announcement), .. }) = &row
                    && let Some(resolved) = announcement.resolved
                {
                    row = Row::find(connection, &image_key(&announcement.place, resolved.root), now)?;
                }
                let Some(mut row) = row else { return Ok(false) };
                if row.state != LEASED {
                    match &mut row.unit {
                        Unit::Announcement(announcement) => announcement.reopen(),
                        Unit::Image(image) => image.reopen(now),
                    }
                    Units { connection, shared: &shared, now, takes_in: false }.open(&mut row)?;
                }
                Ok(true)
            })
            .await?;
        if found {
            self.0.woken.notify_waiters();
        }
        Ok(found)
    }
}

/// So many units change in one commit at most where a change is about many: hand-offs wait behind it.
pub(crate) const BATCH: usize = 500;

pub(crate) const WAKE: &str = "
UPDATE unit SET state = 0, line = 1, turn = NULL
WHERE id IN (SELECT id FROM unit WHERE state = 2 AND due <= :now ORDER BY due LIMIT :batch)";

const SETTLE: &str = "
UPDATE unit SET body = :body, state = :state, line = :line, turn = NULL, due = :due, phase = :phase, reason = :reason,
  updated = :now, crashes = 0
WHERE id = :id";

impl Units<'_> {
    fn settle(
        &self,
        lease: Lease,
        mut unit: Unit,
        settlement: Settlement,
        moved: Vec<(Tag, Resolved)>,
    ) -> Result<bool, StoreError> {
        let Some((state, token, generation)) = lock(self.connection, lease.id)? else { return Ok(false) };
        if state != LEASED || token != lease.token {
            return Ok(false);
        }
        let place = unit.place().clone();
        for (tag, resolved) in moved {
            self.move_tag(lease.id, &place, tag, resolved)?;
        }
        // A want that came in meanwhile makes the unit ready at once, whatever the worker decided without it; of an
        // announcement that is resolved, it moves on with all others.
        let is_new = generation != lease.generation;
        let (state, due, reason) = match &settlement {
            Settlement::Resolved(_) => (DONE, Timestamp::NEVER, None),
            _ if is_new => (READY, self.now, None),
            Settlement::Wait { due, reason } => (READY, *due, reason.as_deref()),
            Settlement::Done { again } => (DONE, again.unwrap_or(Timestamp::NEVER), None),
            Settlement::Dead { reason } => (DEAD, Timestamp::NEVER, Some(reason.as_str())),
        };
        if let Settlement::Resolved(resolved) = &settlement {
            self.move_wants(lease.id, &place, *resolved, |_| true)?;
        }
        unit.set_wants(row::wants(self.connection, lease.id)?);
        let phase = row::phase(&unit, state, &self.shared.projects, self.now);
        self.note_replications(lease.id, &unit, state)?;
        self.connection.prepare_cached(SETTLE)?.execute(named_params! {
            ":body": unit,
            ":state": state,
            ":line": Line::of(&unit).number(),
            ":due": Sql(due),
            ":phase": phase.map(row::phase_number),
            ":reason": reason,
            ":now": Sql(self.now),
            ":id": lease.id,
        })?;
        Ok(true)
    }

    /// Which targets wait for it, and since when.
    fn note_replications(&self, id: UnitId, unit: &Unit, state: i64) -> rusqlite::Result<()> {
        let Unit::Image(image) = unit else { return Ok(()) };
        self.connection
            .prepare_cached("DELETE FROM replication WHERE unit = :unit")?
            .execute(named_params! {":unit": id})?;
        if state != READY {
            return Ok(());
        }
        let project = self.shared.projects.get(&image.place, self.now);
        for (target, recorded) in image.waiting_replications(&project) {
            self.connection
                .prepare_cached(
                    "INSERT INTO replication(unit, target, since) VALUES(:unit, :target, :since) \
                     ON CONFLICT DO UPDATE SET since = min(since, excluded.since)",
                )?
                .execute(named_params! {":unit": id, ":target": target.as_str(), ":since": Sql(recorded)})?;
        }
        Ok(())
    }
}

/// Whose a unit is: its state, token and generation.
fn lock(connection: &Connection, id: UnitId) -> rusqlite::Result<Option<(i64, i64, i64)>> {
    use rusqlite::OptionalExtension as _;
    connection
        .prepare_cached("SELECT state, token, generation FROM unit WHERE id = :id")?
        .query_row(named_params! {":id": id}, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
}
