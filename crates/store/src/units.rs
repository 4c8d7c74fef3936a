//! The units as one change finds and leaves them: what hand-offs and settlements do to them in the same way.

use std::time::Duration;

use harbor_warmer_core::announcement::{Announcement, Resolved};
use harbor_warmer_core::image::{Image, Want};
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_protocol::{Digest, HarborImage, ImageState, Tag};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::body::{Sql, announcement_key, image_key, want_key};
use crate::line::Line;
use crate::row::{self, DEAD, DONE, READY, Row, UNREADABLE, unit_name};
use crate::{Shared, StoreError, Unit, UnitId};

/// What a hand-off came to.
#[derive(Clone, Debug, PartialEq)]
pub struct HandedOff {
    /// The id to follow.
    pub id: String,
    /// Where the want of this hand-off stands.
    pub state: ImageState,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// Whether the digest is known, so that nobody needs to look the tag up.
    pub resolved: bool,
}

/// A dead letter is opened by an announcement at most so often: a workload that creates Pods again and again would
/// otherwise have Harbor asked for a missing tag again and again.
pub(crate) const REVIVED_AFTER: Duration = Duration::from_secs(60);

/// The time of the last admission is written at most so often: not every Pod is worth a sync of the disk.
const ASKED_RESOLUTION: Duration = Duration::from_secs(3600);

/// One change, at one moment.
pub(crate) struct Units<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) shared: &'a Shared,
    pub(crate) now: Timestamp,
    /// Whether what comes in is news from outside, which is refused where there is no room for it.
    pub(crate) takes_in: bool,
}

impl Units<'_> {
    /// Takes in a want for the image of `root`.
    pub(crate) fn take_image(&self, place: &HarborImage, root: Digest, want: Want) -> Result<HandedOff, StoreError> {
        match Row::find(self.connection, &image_key(place, root), self.now)? {
            Some(row) => self.take_image_row(row, want),
            None => self.insert(&Unit::Image(Box::new(Image::new(place.clone(), root, self.now))), &want),
        }
    }

    pub(crate) fn take_image_row(&self, mut row: Row, want: Want) -> Result<HandedOff, StoreError> {
        let is_new = self.add_want(row.id, &want)?;
        let Unit::Image(image) = &mut row.unit else { return Ok(row.answer(ImageState::Queued)) };
        let project = self.shared.projects.get(&image.place, self.now);
        let recheck_after = self.shared.recheck_after;
        match row.state {
            DONE => {
                let verified_lately = row.updated <= self.now && self.now.since(row.updated) < recheck_after;
                // What a digest names doesn't change: a platform that it lacks is lacked for good.
                let is_settled = image.state_of(&want, &project) == ImageState::Failed;
                if (verified_lately || is_settled) && image.answers(&want, &project) {
                    let (state, note) = (image.state_of(&want, &project), image.note_of(&want, &project));
                    if is_new {
                        self.hint_at_phase(&mut row)?;
                    }
                    return Ok(HandedOff { reason: note, ..row.answer(state) });
                }
                if !verified_lately {
                    image.reopen(self.now);
                }
                self.open(&mut row)?;
                Ok(row.answer(ImageState::Queued))
            }
            DEAD | UNREADABLE => {
                if row.state == DEAD && row.is_fresh(REVIVED_AFTER, self.now) && !is_new {
                    return Ok(row.answer_dead());
                }
                let Unit::Image(image) = &mut row.unit else { return Ok(row.answer(ImageState::Queued)) };
                image.reopen(self.now);
                self.open(&mut row)?;
                Ok(row.answer(ImageState::Queued))
            }
            _ => {
                let (state, note) = (image.state_of(&want, &project), image.note_of(&want, &project));
                self.hurry(&mut row, &want, is_new)?;
                if is_new {
                    self.hint_at_phase(&mut row)?;
                }
                // What it waits for is everybody's; why a want is not served is that want's.
                let reason = note.or_else(|| row.reason.clone().filter(|_| state != ImageState::Warm));
                Ok(HandedOff { reason, ..row.answer(state) })
            }
        }
    }

    /// Whoever asks ends the wait of what backs off, once a minute. A want that is new ends any wait, and stands in its
    /// own cluster's name where that is served sooner. A worker that holds the unit sees the new generation when it lets
    /// go.
    pub(crate) fn hurry(&self, row: &mut Row, want: &Want, is_new: bool) -> Result<(), StoreError> {
        // What was in hand when the process died has its pause, however often it is asked for.
        if row.state != READY || Line::numbered(row.line) == Line::Suspects {
            return Ok(());
        }
        let hurried = match &mut row.unit {
            Unit::Announcement(announcement) => announcement.hurry(self.now),
            Unit::Image(image) => image.hurry(self.now),
        };
        if hurried {
            self.try_now(row)?;
        }
        if !is_new {
            return Ok(());
        }
        let asleep = self
            .connection
            .prepare_cached("UPDATE unit SET due = :now WHERE id = :id AND state = 0 AND turn IS NULL AND due > :now")?
            .execute(named_params! {":id": row.id, ":now": Sql(self.now)})?;
        if asleep == 0
            && row.cluster != want.cluster
            && self.unfinished(&want.cluster)? < self.unfinished(&row.cluster)?
        {
            let (line, harbor) = (Line::numbered(row.line), row.unit.place().harbor.as_str());
            let turn = self.shared.turns.number(self.connection, harbor, line, &want.cluster, &row.unit.key())?;
            self.connection
                .prepare_cached(
                    "UPDATE unit SET cluster = :cluster, turn = :turn WHERE id = :id AND state = 0 AND turn IS NOT NULL",
                )?
                .execute(named_params! {":cluster": want.cluster, ":turn": turn, ":id": row.id})?;
        }
        Ok(())
    }

    /// The body was changed so that its next step is due.
    pub(crate) fn try_now(&self, row: &mut Row) -> Result<(), StoreError> {
        row.reason = None;
        self.connection
            .prepare_cached(
                "UPDATE unit SET body = :body, reason = NULL, \
                 due = CASE WHEN turn IS NULL AND due > :now THEN :now ELSE due END WHERE id = :id AND state = 0",
            )?
            .execute(named_params! {":body": row.unit, ":now": Sql(self.now), ":id": row.id})?;
        Ok(())
    }

    /// Units in a cluster's name that workers still have something to do for.
    pub(crate) fn unfinished(&self, cluster: &str) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("SELECT coalesce(sum(units), 0) FROM tally WHERE cluster = :cluster AND state < 2")?
            .query_row(named_params! {":cluster": cluster}, |row| row.get(0))
    }

    fn has_room_for(&self, cluster: &str) -> Result<(), StoreError> {
        if self.shared.reserve.is_spent() {
            return Err(StoreError::NoRoom);
        }
        let most = self.shared.most_unfinished;
        if self.unfinished(cluster)? >= i64::try_from(most).unwrap_or(i64::MAX) {
            return Err(StoreError::TooMany { cluster: cluster.to_owned(), most });
        }
        Ok(())
    }

    /// A unit that nobody asked for yet.
    pub(crate) fn insert(&self, unit: &Unit, want: &Want) -> Result<HandedOff, StoreError> {
        if self.takes_in {
            self.has_room_for(&want.cluster)?;
        }
        let (kind, key, line) = (unit.kind(), unit.key(), Line::of(unit));
        let harbor = unit.place().harbor.as_str();
        let turn = self.shared.turns.number(self.connection, harbor, line, &want.cluster, &key)?;
        let mut wanted = unit.clone();
        wanted.set_wants(vec![want.clone()]);
        let phase = row::phase(&wanted, READY, &self.shared.projects, self.now).map(row::phase_number);
        let id: UnitId = self.connection.prepare_cached(INSERT)?.query_row(
            named_params! {
                ":kind": kind,
                ":key": key,
                ":harbor": harbor,
                ":cluster": want.cluster,
                ":line": line.number(),
                ":turn": turn,
                ":phase": phase,
                ":body": unit,
                ":now": Sql(self.now),
            },
            |row| row.get(0),
        )?;
        self.add_want(id, want)?;
        let resolved = matches!(unit, Unit::Image(_));
        Ok(HandedOff { id: unit_name(kind, id), state: ImageState::New, reason: None, resolved })
    }

    /// Adds a want; whether it is new.
    pub(crate) fn add_want(&self, unit: UnitId, want: &Want) -> rusqlite::Result<bool> {
        let key = want_key(want);
        let known: Option<Option<Want>> = self
            .connection
            .prepare_cached("SELECT body FROM want WHERE unit = :unit AND key = :key")?
            .query_row(named_params! {":unit": unit, ":key": key}, |row| {
                // One that can't be read is written anew.
                Ok(row.get::<_, Sql<Want>>(0).ok().map(|want| want.0))
            })
            .optional()?;
        let is_new = known.is_none();
        let body = match known.flatten() {
            // A later look at the tag opens a later window; it is worth a write.
            Some(known)
                if known.last_asked <= want.last_asked
                    && want.last_asked.since(known.last_asked) < ASKED_RESOLUTION
                    && (want.headed.is_none() || want.headed == known.headed) =>
            {
                return Ok(false);
            }
            Some(known) => Want {
                first_asked: known.first_asked.min(want.last_asked),
                headed: want.headed.or(known.headed),
                ..want.clone()
            },
            None => want.clone(),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO want(unit, key, body, asked) VALUES(:unit, :key, :body, :asked) \
                 ON CONFLICT(unit, key) DO UPDATE SET body = excluded.body, asked = excluded.asked",
            )?
            .execute(named_params! {":unit": unit, ":key": key, ":body": Sql(&body), ":asked": Sql(body.last_asked)})?;
        if is_new {
            self.connection
                .prepare_cached("UPDATE unit SET generation = generation + 1 WHERE id = :id")?
                .execute(named_params! {":id": unit})?;
        }
        Ok(is_new)
    }

    /// Opens a finished unit again, due now.
    pub(crate) fn open(&self, row: &mut Row) -> rusqlite::Result<()> {
        let (line, key) = (Line::of_opened(&row.unit), row.unit.key());
        let harbor = row.unit.place().harbor.as_str();
        let turn = self.shared.turns.number(self.connection, harbor, line, &row.cluster, &key)?;
        row.unit.set_wants(row::wants(self.connection, row.id)?);
        let phase = row::phase(&row.unit, READY, &self.shared.projects, self.now);
        self.connection.prepare_cached(OPEN)?.execute(named_params! {
            ":line": line.number(),
            ":turn": turn,
            ":phase": phase.map(row::phase_number),
            ":now": Sql(self.now),
            ":body": row.unit,
            ":id": row.id,
        })?;
        row.state = READY;
        row.phase = phase;
        row.reason = None;
        Ok(())
    }

    fn hint_at_phase(&self, row: &mut Row) -> rusqlite::Result<()> {
        row.unit.set_wants(row::wants(self.connection, row.id)?);
        let phase = row::phase(&row.unit, row.state, &self.shared.projects, self.now);
        if phase != row.phase {
            self.connection
                .prepare_cached("UPDATE unit SET phase = :phase WHERE id = :id")?
                .execute(named_params! {":phase": phase.map(row::phase_number), ":id": row.id})?;
            row.phase = phase;
        }
        Ok(())
    }

    /// The wants of `unit` that `chosen` accepts go to the image of `resolved`.
    pub(crate) fn move_wants(
        &self,
        unit: UnitId,
        place: &HarborImage,
        resolved: Resolved,
        chosen: impl Fn(&Want) -> bool,
    ) -> Result<(), StoreError> {
        let all = row::wants(self.connection, unit)?;
        for want in all.into_iter().filter(|want| chosen(want)) {
            let key = want_key(&want);
            self.take_image(place, resolved.root, Want { headed: Some(resolved.at), ..want })?;
            self.connection
                .prepare_cached("DELETE FROM want WHERE unit = :unit AND key = :key")?
                .execute(named_params! {":unit": unit, ":key": key})?;
        }
        Ok(())
    }

    /// `tag` means another digest than that of the image `unit`.
    pub(crate) fn move_tag(
        &self,
        unit: UnitId,
        place: &HarborImage,
        tag: Tag,
        resolved: Resolved,
    ) -> Result<(), StoreError> {
        self.move_wants(unit, place, resolved, |want| !want.pinned && want.tag.as_ref() == Some(&tag))?;
        let mut announcement = Announcement::new(place.clone(), tag.clone());
        announcement.resolved = Some(resolved);
        let key = announcement_key(place, &tag);
        self.connection
            .prepare_cached("UPDATE unit SET body = :body, updated = :now WHERE key = :key AND state = 2")?
            .execute(named_params! {
                ":body": Unit::Announcement(announcement),
                ":now": Sql(self.now),
                ":key": key,
            })?;
        Ok(())
    }
}

impl Row {
    /// Of a dead letter that is left alone for now: with what revives it.
    pub(crate) fn answer_dead(&self) -> HandedOff {
        let answer = self.answer(ImageState::Failed);
        let reason = answer.reason.as_deref().unwrap_or("given up");
        let seconds = REVIVED_AFTER.as_secs();
        let reason = format!(
            "{reason}; it is tried again when it is asked for {seconds} s after it was given up, or at once with \
             `harbor-warmer requeue {}`",
            answer.id
        );
        HandedOff { reason: Some(reason), ..answer }
    }

    pub(crate) fn answer(&self, state: ImageState) -> HandedOff {
        let resolved = matches!(&self.unit, Unit::Image(_));
        HandedOff { id: self.name(), state, reason: self.reason.clone(), resolved }
    }
}

const INSERT: &str = "
INSERT INTO unit(kind, key, harbor, cluster, line, turn, phase, body, due, created, updated)
VALUES(:kind, :key, :harbor, :cluster, :line, :turn, :phase, :body, :now, :now, :now)
RETURNING id";

const OPEN: &str = "
UPDATE unit SET state = 0, line = :line, turn = :turn, phase = :phase, due = :now, updated = :now, body = :body,
  crashes = 0, reason = NULL
WHERE id = :id";
