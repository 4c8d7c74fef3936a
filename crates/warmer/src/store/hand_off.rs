//! A hand-off: written down, deduplicated, and answered with where the image stands.

use std::time::Duration;

use harbor_warmer_protocol::{Digest, HandOff, HarborImage, ImageState, Subject};
use rusqlite::{Connection, OptionalExtension, named_params};

use super::body::{announcement_key, image_key, want_key};
use super::{Shared, Store, StoreError, Unit, UnitId};
use crate::announcement::Announcement;
use crate::clock::Timestamp;
use crate::image::{Image, Want};
use crate::view::Phase;

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
const REVIVED_AFTER: Duration = Duration::from_secs(60);

/// The time of the last admission is written at most so often: not every Pod is worth a sync of the disk.
const ASKED_RESOLUTION: Duration = Duration::from_secs(3600);

const READY: i64 = 0;
const DONE: i64 = 2;
const DEAD: i64 = 3;

struct Row {
    id: UnitId,
    unit: Unit,
    state: i64,
    updated: Timestamp,
    reason: Option<String>,
}

impl Store {
    /// Writes a hand-off down. It is on the disk when this returns.
    ///
    /// `known_root` is the digest of the index that a resolved hand-off's platform manifest was seen in.
    ///
    /// # Errors
    /// The hand-off was not written; the caller has to say so.
    pub async fn hand_off(
        &self,
        hand_off: HandOff,
        cluster: &str,
        known_root: Option<Digest>,
        now: Timestamp,
    ) -> Result<HandedOff, StoreError> {
        let want = Want {
            cluster: cluster.to_owned(),
            tag: hand_off.subject.tag().cloned(),
            platforms: hand_off.platforms,
            target: hand_off.target,
            first_asked: now,
            last_asked: now,
            headed: None,
        };
        let shared = std::sync::Arc::clone(&self.0);
        let handed_off = self
            .write(move |connection| {
                let desk = Desk { connection, shared: &shared, now };
                desk.take(&hand_off.image, &hand_off.subject, want, known_root)
            })
            .await?;
        if handed_off.state != ImageState::Warm {
            self.0.woken.notify_one();
        }
        Ok(handed_off)
    }

    /// Where the image of a hand-off stands, without handing it over. None if it isn't known.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn peek(&self, hand_off: &HandOff, now: Timestamp) -> Result<Option<HandedOff>, StoreError> {
        let (place, subject) = (hand_off.image.clone(), hand_off.subject.clone());
        self.read(move |connection, shared| {
            let desk = Desk { connection, shared, now };
            let key = match &subject {
                Subject::Tag(tag) | Subject::Layers { tag: Some(tag), .. } => announcement_key(&place, tag),
                Subject::Pin { digest, .. } | Subject::Layers { child: digest, .. } => image_key(&place, *digest),
            };
            let Some(row) = desk.row(&key)? else { return Ok(None) };
            let row = match &row.unit {
                Unit::Announcement(Announcement { resolved: Some(resolved), .. }) => {
                    desk.row(&image_key(&place, resolved.root))?.unwrap_or(row)
                }
                _ => row,
            };
            let state = desk.unit_state(&row);
            Ok(Some(desk.answer(&row, state)))
        })
        .await
    }
}

/// Where hand-offs are taken in: one transaction, one moment.
pub(super) struct Desk<'a> {
    pub(super) connection: &'a Connection,
    pub(super) shared: &'a Shared,
    pub(super) now: Timestamp,
}

impl Desk<'_> {
    fn take(
        &self,
        place: &HarborImage,
        subject: &Subject,
        want: Want,
        known_root: Option<Digest>,
    ) -> rusqlite::Result<HandedOff> {
        match subject {
            Subject::Tag(tag) | Subject::Layers { tag: Some(tag), .. } => {
                let key = announcement_key(place, tag);
                match self.row(&key)? {
                    Some(row) => self.take_announced(row, place, subject, want),
                    None => {
                        let unit = Unit::Announcement(Announcement::new(place.clone(), tag.clone()));
                        self.insert(&unit, &want)
                    }
                }
            }
            Subject::Pin { digest, .. } => self.take_image(place, *digest, want),
            Subject::Layers { child, tag: None } => self.take_image(place, known_root.unwrap_or(*child), want),
        }
    }

    fn take_announced(
        &self,
        mut row: Row,
        place: &HarborImage,
        subject: &Subject,
        mut want: Want,
    ) -> rusqlite::Result<HandedOff> {
        let Unit::Announcement(announcement) = &mut row.unit else { return self.take_image_row(row, want) };
        if let Some(resolved) = announcement.resolved {
            let fresh = self.now.since(resolved.at) < self.shared.recheck_after;
            // A resolved hand-off is about what was just looked up, however old the warmer's own look is.
            if fresh || matches!(subject, Subject::Layers { .. }) {
                want.headed = Some(resolved.at);
                return self.take_image(place, resolved.root, want);
            }
        }
        if row.state < DONE {
            self.add_want(row.id, &want)?;
            let state = self.unit_state(&row);
            return Ok(self.answer(&row, state));
        }
        if row.state == DEAD && self.now.since(row.updated) < REVIVED_AFTER {
            return Ok(self.answer(&row, ImageState::Failed));
        }
        announcement.reopen();
        self.add_want(row.id, &want)?;
        self.open(&row)?;
        row.reason = None;
        Ok(self.answer(&row, ImageState::Queued))
    }

    /// Takes in a want for the image of `root`.
    pub(super) fn take_image(&self, place: &HarborImage, root: Digest, want: Want) -> rusqlite::Result<HandedOff> {
        match self.row(&image_key(place, root))? {
            Some(row) => self.take_image_row(row, want),
            None => self.insert(&Unit::Image(Box::new(Image::new(place.clone(), root, self.now))), &want),
        }
    }

    fn take_image_row(&self, mut row: Row, want: Want) -> rusqlite::Result<HandedOff> {
        let project = self.shared.projects.get(self.place(&row.unit), self.now);
        let is_new = self.add_want(row.id, &want)?;
        let Unit::Image(image) = &mut row.unit else {
            let state = self.unit_state(&row);
            return Ok(self.answer(&row, state));
        };
        match row.state {
            DONE => {
                let verified_lately = self.now.since(row.updated) < self.shared.recheck_after;
                if verified_lately && image.answers(&want, &project) {
                    return Ok(self.answer(&row, ImageState::Warm));
                }
                if !verified_lately {
                    image.reopen(self.now);
                }
                self.open(&row)?;
                Ok(self.answer(&row, ImageState::Queued))
            }
            DEAD => {
                if self.now.since(row.updated) < REVIVED_AFTER && !is_new {
                    return Ok(self.answer(&row, ImageState::Failed));
                }
                image.reopen(self.now);
                self.open(&row)?;
                row.reason = None;
                Ok(self.answer(&row, ImageState::Queued))
            }
            _ => {
                if is_new {
                    // A worker that holds the unit sees the new generation when it lets go.
                    let sql = "UPDATE unit SET due = :now WHERE id = :id AND state = 0 AND due > :now";
                    self.connection.prepare_cached(sql)?.execute(named_params! {":id": row.id, ":now": self.now})?;
                }
                let state = image.state_of(&want, &project);
                Ok(self.answer(&row, state))
            }
        }
    }

    fn row(&self, key: &str) -> rusqlite::Result<Option<Row>> {
        self.connection
            .prepare_cached("SELECT id, body, state, updated, reason FROM unit WHERE key = :key")?
            .query_row(named_params! {":key": key}, |row| {
                Ok(Row {
                    id: row.get(0)?,
                    unit: row.get(1)?,
                    state: row.get(2)?,
                    updated: row.get(3)?,
                    reason: row.get(4)?,
                })
            })
            .optional()
    }

    fn insert(&self, unit: &Unit, want: &Want) -> rusqlite::Result<HandedOff> {
        let id: UnitId = self
            .connection
            .prepare_cached(
                "INSERT INTO unit(kind, key, body, due, created, updated) VALUES(:kind, :key, :body, :now, :now, :now) \
                 RETURNING id",
            )?
            .query_row(
                named_params! {":kind": unit.kind(), ":key": unit.key(), ":body": unit, ":now": self.now},
                |row| row.get(0),
            )?;
        self.add_want(id, want)?;
        let phase = if unit.kind() == 0 { Phase::Announced } else { Phase::Queued };
        self.shared.set_phase(id, Some(phase));
        let resolved = matches!(unit, Unit::Image(_));
        Ok(HandedOff { id: unit_name(unit.kind(), id), state: ImageState::New, reason: None, resolved })
    }

    /// Adds a want; whether it is new.
    pub(super) fn add_want(&self, unit: UnitId, want: &Want) -> rusqlite::Result<bool> {
        let key = want_key(want);
        let known: Option<Want> = self
            .connection
            .prepare_cached("SELECT body FROM want WHERE unit = :unit AND key = :key")?
            .query_row(named_params! {":unit": unit, ":key": key}, |row| row.get(0))
            .optional()?;
        let is_new = known.is_none();
        let body = match known {
            // A later look at the tag opens a later window; it is worth a write.
            Some(known)
                if want.last_asked.since(known.last_asked) < ASKED_RESOLUTION
                    && (want.headed.is_none() || want.headed == known.headed) =>
            {
                return Ok(false);
            }
            Some(known) => {
                Want { first_asked: known.first_asked, headed: want.headed.or(known.headed), ..want.clone() }
            }
            None => want.clone(),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO want(unit, key, body, asked) VALUES(:unit, :key, :body, :asked) \
                 ON CONFLICT(unit, key) DO UPDATE SET body = excluded.body, asked = excluded.asked",
            )?
            .execute(named_params! {":unit": unit, ":key": key, ":body": body, ":asked": body.last_asked})?;
        if is_new {
            self.connection
                .prepare_cached("UPDATE unit SET generation = generation + 1 WHERE id = :id")?
                .execute(named_params! {":id": unit})?;
        }
        Ok(is_new)
    }

    /// Opens a finished unit again, due now.
    fn open(&self, row: &Row) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE unit SET state = :ready, due = :now, updated = :now, body = :body, crashes = 0, reason = NULL \
                 WHERE id = :id",
            )?
            .execute(named_params! {":ready": READY, ":now": self.now, ":body": row.unit, ":id": row.id})?;
        let phase = if row.unit.kind() == 0 { Phase::Announced } else { Phase::Queued };
        self.shared.set_phase(row.id, Some(phase));
        Ok(())
    }

    fn place<'a>(&self, unit: &'a Unit) -> &'a HarborImage {
        match unit {
            Unit::Announcement(announcement) => &announcement.place,
            Unit::Image(image) => &image.place,
        }
    }

    /// The state of a unit as such, for answers that are about no want in particular.
    fn unit_state(&self, row: &Row) -> ImageState {
        match (&row.unit, row.state) {
            (_, DEAD) => ImageState::Failed,
            (Unit::Image(_), DONE) => ImageState::Warm,
            (Unit::Image(image), _) if image.has_begun() => ImageState::Warming,
            _ => ImageState::Queued,
        }
    }

    fn answer(&self, row: &Row, state: ImageState) -> HandedOff {
        let resolved = matches!(&row.unit, Unit::Image(_));
        HandedOff { id: unit_name(row.unit.kind(), row.id), state, reason: row.reason.clone(), resolved }
    }
}

/// The id that people and receipts use: `a12` for an announcement, `i12` for an image.
pub(super) fn unit_name(kind: i64, id: UnitId) -> String {
    format!("{}{id}", if kind == 0 { 'a' } else { 'i' })
}

/// Reads what [`unit_name`] prints.
pub(super) fn parse_unit_name(name: &str) -> Option<UnitId> {
    name.strip_prefix(['a', 'i'])?.parse().ok()
}
