//! What workers do with the queue: acquire, renew, settle.

use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_protocol::{HarborImage, Tag};
use rusqlite::{Connection, OptionalExtension, named_params};

use super::body::{Sql, announcement_key, image_key};
use super::hand_off::{DEAD, DONE, LEASED, READY, Row, UnitTransaction, parse_unit_name};
use super::{Store, StoreError, Unit, UnitId, read};
use harbor_warmer_core::announcement::{Announcement, Resolved};
use harbor_warmer_core::image::Want;
use harbor_warmer_core::timestamp::Timestamp;

/// The right to work on a unit, until it runs out or is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    id: UnitId,
    token: i64,
    generation: i64,
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
    /// Leases up to `limit` units that are due, the longest due first.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn acquire(&self, limit: usize, lease: Duration, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.write(move |transaction| {
            let mut leased: Vec<Leased> = transaction
                .prepare_cached(ACQUIRE)?
                .query_map(named_params! {":now": Sql(now), ":until": Sql(now + lease), ":limit": limit}, |row| {
                    Ok(Leased {
                        lease: Lease { id: row.get(0)?, token: row.get(1)?, generation: row.get(2)? },
                        crashes: row.get(3)?,
                        unit: row.get(4)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            for leased in &mut leased {
                leased.unit.set_wants(wants(transaction, leased.lease.id)?);
            }
            Ok(leased)
        })
        .await
    }

    /// When the next unit is due, if any is ready or leased.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let due: Option<Sql<Timestamp>> =
            self.read(|connection, _| connection.prepare_cached(NEXT_DUE)?.query_row([], |row| row.get(0))).await?;
        Ok(due.map(|due| due.0))
    }

    /// Makes a lease last until `until`. False if it was lost: somebody else has the unit.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn renew(&self, lease: Lease, until: Timestamp) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let sql = "UPDATE unit SET due = :until WHERE id = :id AND token = :token AND state = 1";
            let held = transaction
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
            .write(move |transaction| {
                let (state, due, reason) = match &settlement {
                    Settlement::Wait { due, reason } => (READY, *due, reason.as_deref()),
                    Settlement::Done { again } => (DONE, again.unwrap_or(Timestamp::NEVER), None),
                    Settlement::Resolved(_) => (DONE, Timestamp::NEVER, None),
                    Settlement::Dead { reason } => (DEAD, Timestamp::NEVER, Some(reason.as_str())),
                };
                // Wants that came in meanwhile move on with all others when the announcement is resolved.
                let seen = if matches!(settlement, Settlement::Resolved(_)) { None } else { Some(lease.generation) };
                let settled = transaction
                    .prepare_cached(SETTLE)?
                    .query_row(
                        named_params! {
                            ":body": unit,
                            ":state": state,
                            ":due": Sql(due),
                            ":now": Sql(now),
                            ":reason": reason,
                            ":id": lease.id,
                            ":token": lease.token,
                            ":seen": seen,
                        },
                        |row| row.get(0),
                    )
                    .optional()?;
                let Some(state) = settled else { return Ok(false) };
                let units = UnitTransaction { transaction, shared: &shared, now };
                let mut unit = unit;
                let place = unit.place().clone();
                for (tag, resolved) in moved {
                    units.move_tag(lease.id, &place, tag, resolved)?;
                }
                if let Settlement::Resolved(resolved) = settlement {
                    units.move_wants(lease.id, &place, resolved, |_| true)?;
                }
                unit.set_wants(wants(transaction, lease.id)?);
                transaction.set_phase(lease.id, read::phase(&unit, state, &shared.projects, now));
                Ok(true)
            })
            .await?;
        if held {
            self.0.woken.notify_one();
        }
        Ok(held)
    }

    /// Makes finished units ready whose time to be looked at again has come.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn wake(&self, now: Timestamp) -> Result<usize, StoreError> {
        let woken = self
            .write(move |transaction| transaction.prepare_cached(WAKE)?.execute(named_params! {":now": Sql(now)}))
            .await?;
        if woken > 0 {
            self.0.woken.notify_one();
        }
        Ok(woken)
    }

    /// Gives a unit back as it was, due now: the service is shutting down.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn release(&self, lease: Lease, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let sql = "UPDATE unit SET state = 0, due = :now WHERE id = :id AND token = :token AND state = 1";
            transaction
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
            .write(move |transaction| {
                let mut row = Row::get(transaction, id)?;
                if let Some(Row { unit: Unit::Announcement(announcement), .. }) = &row
                    && let Some(resolved) = announcement.resolved
                {
                    row = Row::find(transaction, &image_key(&announcement.place, resolved.root))?;
                }
                let Some(mut row) = row else { return Ok(false) };
                if row.state != LEASED {
                    match &mut row.unit {
                        Unit::Announcement(announcement) => announcement.reopen(),
                        Unit::Image(image) => image.reopen(now),
                    }
                    UnitTransaction { transaction, shared: &shared, now }.open(&mut row)?;
                }
                Ok(true)
            })
            .await?;
        if found {
            self.0.woken.notify_one();
        }
        Ok(found)
    }

    /// Forgets finished and dead units that nobody asked for since `before`.
    ///
    /// # Errors
    /// The queue can't be written.
    pub async fn forget(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.write(move |transaction| {
            let ids: Vec<UnitId> = transaction
                .prepare_cached(FORGET)?
                .query_map(named_params! {":before": Sql(before)}, |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for id in &ids {
                transaction.set_phase(*id, None);
            }
            Ok(ids.len())
        })
        .await
    }
}

// MATERIALIZED: PostgreSQL may otherwise run the LIMIT twice; SQLite takes it as well.
pub(super) const ACQUIRE: &str = "
WITH due AS MATERIALIZED (SELECT id FROM unit WHERE state < 2 AND due <= :now ORDER BY due LIMIT :limit)
UPDATE unit SET crashes = crashes + (CASE state WHEN 1 THEN 1 ELSE 0 END), state = 1, token = token + 1, due = :until
WHERE id IN (SELECT id FROM due)
RETURNING id, token, generation, crashes, body";

pub(super) const NEXT_DUE: &str = "SELECT min(due) FROM unit WHERE state < 2";

pub(super) const WAKE: &str = "UPDATE unit SET state = 0 WHERE state = 2 AND due <= :now";

// A want that came in meanwhile makes the unit ready at once, whatever the worker decided without it.
const SETTLE: &str = "
UPDATE unit SET body = :body, updated = :now, crashes = 0,
  state = CASE WHEN generation = coalesce(:seen, generation) THEN :state ELSE 0 END,
  due = CASE WHEN generation = coalesce(:seen, generation) THEN :due ELSE :now END,
  reason = CASE WHEN generation = coalesce(:seen, generation) THEN :reason ELSE NULL END
WHERE id = :id AND token = :token AND state = 1
RETURNING state";

// `state >= 2` names the partial index; without it SQLite scans the table.
pub(super) const FORGET: &str = "
DELETE FROM unit WHERE state >= 2
  AND NOT EXISTS (SELECT 1 FROM want WHERE want.unit = unit.id AND want.asked >= :before)
  AND (updated < :before OR EXISTS (SELECT 1 FROM want WHERE want.unit = unit.id))
RETURNING id";

/// Gives back what the process before this one had in hand when it ended. That it was killed says nothing about what
/// it held, so nothing of it counts as a crash.
pub(super) fn take_over(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute("UPDATE unit SET state = 0, due = updated WHERE state = 1", [])
}

pub(super) fn wants(connection: &Connection, unit: UnitId) -> rusqlite::Result<Vec<Want>> {
    connection
        .prepare_cached("SELECT body FROM want WHERE unit = :unit ORDER BY id")?
        .query_map(named_params! {":unit": unit}, |row| row.get::<_, Sql<Want>>(0).map(|want| want.0))?
        .collect()
}

impl UnitTransaction<'_> {
    /// The wants of `unit` that `chosen` accepts go to the image of `resolved`.
    fn move_wants(
        &self,
        unit: UnitId,
        place: &HarborImage,
        resolved: Resolved,
        chosen: impl Fn(&Want) -> bool,
    ) -> rusqlite::Result<()> {
        let all = wants(self.transaction, unit)?;
        for want in all.into_iter().filter(|want| chosen(want)) {
            let key = super::body::want_key(&want);
            self.take_image(place, resolved.root, Want { headed: Some(resolved.at), ..want })?;
            self.transaction
                .prepare_cached("DELETE FROM want WHERE unit = :unit AND key = :key")?
                .execute(named_params! {":unit": unit, ":key": key})?;
        }
        Ok(())
    }

    /// `tag` means another digest than that of the image `unit`.
    fn move_tag(&self, unit: UnitId, place: &HarborImage, tag: Tag, resolved: Resolved) -> rusqlite::Result<()> {
        self.move_wants(unit, place, resolved, |want| !want.pinned && want.tag.as_ref() == Some(&tag))?;
        let mut announcement = Announcement::new(place.clone(), tag.clone());
        announcement.resolved = Some(resolved);
        let key = announcement_key(place, &tag);
        self.transaction
            .prepare_cached("UPDATE unit SET body = :body, updated = :now WHERE key = :key AND state = 2")?
            .execute(named_params! {
                ":body": Unit::Announcement(announcement),
                ":now": Sql(self.now),
                ":key": key,
            })?;
        Ok(())
    }
}
