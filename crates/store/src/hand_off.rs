//! A hand-off: written down, deduplicated, and answered with where the image stands.

use std::time::Duration;

use harbor_warmer_protocol::{Digest, HandOff, HarborImage, ImageState, Subject};
use rusqlite::{Connection, OptionalExtension, named_params};

use super::body::{Sql, announcement_key, image_key, want_key};
use super::{Shared, Store, StoreError, Transaction, Unit, UnitId, lease, read};
use harbor_warmer_core::announcement::Announcement;
use harbor_warmer_core::image::{Image, Want};
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::Phase;

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

pub(super) const READY: i64 = 0;
pub(super) const LEASED: i64 = 1;
pub(super) const DONE: i64 = 2;
pub(super) const DEAD: i64 = 3;

/// A unit's row.
pub(super) struct Row {
    pub(super) id: UnitId,
    pub(super) unit: Unit,
    pub(super) state: i64,
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
            pinned: matches!(hand_off.subject, Subject::Pin { .. }),
            platforms: hand_off.platforms,
            target: hand_off.target,
            first_asked: now,
            last_asked: now,
            headed: None,
        };
        let shared = std::sync::Arc::clone(&self.0);
        let handed_off = self
            .write(move |transaction| {
                let units = UnitTransaction { transaction, shared: &shared, now };
                units.take(&hand_off.image, &hand_off.subject, want, known_root)
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
    pub async fn peek(&self, hand_off: &HandOff) -> Result<Option<HandedOff>, StoreError> {
        let (place, subject) = (hand_off.image.clone(), hand_off.subject.clone());
        self.read(move |connection, shared| {
            let key = match &subject {
                Subject::Tag(tag) | Subject::Layers { tag: Some(tag), .. } => announcement_key(&place, tag),
                Subject::Pin { digest, .. } | Subject::Layers { child: digest, .. } => image_key(&place, *digest),
            };
            let Some(row) = Row::find(connection, &key)? else { return Ok(None) };
            let row = match &row.unit {
                Unit::Announcement(Announcement { resolved: Some(resolved), .. }) => {
                    Row::find(connection, &image_key(&place, resolved.root))?.unwrap_or(row)
                }
                _ => row,
            };
            let phase = shared.phases().get(&row.id).copied();
            Ok(Some(row.answer(state_in(phase))))
        })
        .await
    }
}

/// Where hand-offs are taken in: one transaction, one moment.
pub(super) struct UnitTransaction<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) shared: &'a Shared,
    pub(super) now: Timestamp,
}

impl UnitTransaction<'_> {
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
                match Row::find(self.transaction, &key)? {
                    Some(row) => self.take_announced(row, place, subject, want, known_root),
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
        known_root: Option<Digest>,
    ) -> rusqlite::Result<HandedOff> {
        let Unit::Announcement(announcement) = &mut row.unit else { return self.take_image_row(row, want) };
        if let Some(resolved) = announcement.resolved {
            let fresh = self.now.since(resolved.at) < self.shared.recheck_after;
            // A resolved hand-off is about what was just looked up, however old the warmer's own look is.
            let looked_up = matches!(subject, Subject::Layers { .. });
            if fresh || looked_up {
                // The tag may have moved between the two looks; then the other image's worker asks for it again.
                let root = known_root.filter(|_| looked_up).unwrap_or(resolved.root);
                want.headed = (root == resolved.root).then_some(resolved.at);
                return self.take_image(place, root, want);
            }
        }
        self.add_want(row.id, &want)?;
        if row.state < DONE {
            return Ok(row.answer(ImageState::Queued));
        }
        if row.state == DEAD && self.now.since(row.updated) < REVIVED_AFTER {
            return Ok(row.answer_dead());
        }
        announcement.reopen();
        self.open(&mut row)?;
        Ok(row.answer(ImageState::Queued))
    }

    /// Takes in a want for the image of `root`.
    pub(super) fn take_image(&self, place: &HarborImage, root: Digest, want: Want) -> rusqlite::Result<HandedOff> {
        match Row::find(self.transaction, &image_key(place, root))? {
            Some(row) => self.take_image_row(row, want),
            None => self.insert(&Unit::Image(Box::new(Image::new(place.clone(), root, self.now))), &want),
        }
    }

    fn take_image_row(&self, mut row: Row, want: Want) -> rusqlite::Result<HandedOff> {
        let is_new = self.add_want(row.id, &want)?;
        let Unit::Image(image) = &mut row.unit else { return Ok(row.answer(ImageState::Queued)) };
        let project = self.shared.projects.get(&image.place, self.now);
        match row.state {
            DONE => {
                let verified_lately = self.now.since(row.updated) < self.shared.recheck_after;
                if verified_lately && image.answers(&want, &project) {
                    if is_new {
                        self.derive_phase(&mut row)?;
                    }
                    return Ok(row.answer(ImageState::Warm));
                }
                if !verified_lately {
                    image.reopen(self.now);
                }
                self.open(&mut row)?;
                Ok(row.answer(ImageState::Queued))
            }
            DEAD => {
                if self.now.since(row.updated) < REVIVED_AFTER && !is_new {
                    return Ok(row.answer_dead());
                }
                image.reopen(self.now);
                self.open(&mut row)?;
                Ok(row.answer(ImageState::Queued))
            }
            _ => {
                let state = image.state_of(&want, &project);
                if is_new {
                    // A worker that holds the unit sees the new generation when it lets go.
                    let sql = "UPDATE unit SET due = :now WHERE id = :id AND state = 0 AND due > :now";
                    self.transaction
                        .prepare_cached(sql)?
                        .execute(named_params! {":id": row.id, ":now": Sql(self.now)})?;
                    self.derive_phase(&mut row)?;
                }
                Ok(row.answer(state))
            }
        }
    }

    fn insert(&self, unit: &Unit, want: &Want) -> rusqlite::Result<HandedOff> {
        let id: UnitId = self
            .transaction
            .prepare_cached(
                "INSERT INTO unit(kind, key, body, due, created, updated) VALUES(:kind, :key, :body, :now, :now, :now) \
                 RETURNING id",
            )?
            .query_row(
                named_params! {":kind": unit.kind(), ":key": unit.key(), ":body": unit, ":now": Sql(self.now)},
                |row| row.get(0),
            )?;
        self.add_want(id, want)?;
        self.transaction.set_phase(id, read::phase(unit, READY, &self.shared.projects, self.now));
        let resolved = matches!(unit, Unit::Image(_));
        Ok(HandedOff { id: unit_name(unit.kind(), id), state: ImageState::New, reason: None, resolved })
    }

    /// Adds a want; whether it is new.
    pub(super) fn add_want(&self, unit: UnitId, want: &Want) -> rusqlite::Result<bool> {
        let key = want_key(want);
        let known: Option<Sql<Want>> = self
            .transaction
            .prepare_cached("SELECT body FROM want WHERE unit = :unit AND key = :key")?
            .query_row(named_params! {":unit": unit, ":key": key}, |row| row.get(0))
            .optional()?;
        let is_new = known.is_none();
        let body = match known.map(|known| known.0) {
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
        self.transaction
            .prepare_cached(
                "INSERT INTO want(unit, key, body, asked) VALUES(:unit, :key, :body, :asked) \
                 ON CONFLICT(unit, key) DO UPDATE SET body = excluded.body, asked = excluded.asked",
            )?
            .execute(named_params! {":unit": unit, ":key": key, ":body": Sql(&body), ":asked": Sql(body.last_asked)})?;
        if is_new {
            self.transaction
                .prepare_cached("UPDATE unit SET generation = generation + 1 WHERE id = :id")?
                .execute(named_params! {":id": unit})?;
        }
        Ok(is_new)
    }

    /// Opens a finished unit again, due now.
    pub(super) fn open(&self, row: &mut Row) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "UPDATE unit SET state = :ready, due = :now, updated = :now, body = :body, crashes = 0, reason = NULL \
                 WHERE id = :id",
            )?
            .execute(named_params! {":ready": READY, ":now": Sql(self.now), ":body": row.unit, ":id": row.id})?;
        row.state = READY;
        row.reason = None;
        self.derive_phase(row)
    }

    fn derive_phase(&self, row: &mut Row) -> rusqlite::Result<()> {
        row.unit.set_wants(lease::wants(self.transaction, row.id)?);
        self.transaction.set_phase(row.id, read::phase(&row.unit, row.state, &self.shared.projects, self.now));
        Ok(())
    }
}

impl Row {
    pub(super) fn find(connection: &Connection, key: &str) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached("SELECT id, body, state, updated, reason FROM unit WHERE key = :key")?
            .query_row(named_params! {":key": key}, Self::read)
            .optional()
    }

    pub(super) fn get(connection: &Connection, id: UnitId) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached("SELECT id, body, state, updated, reason FROM unit WHERE id = :id")?
            .query_row(named_params! {":id": id}, Self::read)
            .optional()
    }

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            unit: row.get(1)?,
            state: row.get(2)?,
            updated: row.get::<_, Sql<_>>(3)?.0,
            reason: row.get(4)?,
        })
    }

    /// Of a dead letter that is left alone for now: with what revives it.
    fn answer_dead(&self) -> HandedOff {
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

    fn answer(&self, state: ImageState) -> HandedOff {
        let resolved = matches!(&self.unit, Unit::Image(_));
        HandedOff { id: unit_name(self.unit.kind(), self.id), state, reason: self.reason.clone(), resolved }
    }
}

/// The state of a unit as such, for an answer that is about no want in particular.
fn state_in(phase: Option<Phase>) -> ImageState {
    match phase {
        None | Some(Phase::Announced | Phase::Queued) => ImageState::Queued,
        Some(Phase::Warming | Phase::Local) => ImageState::Warming,
        Some(Phase::Warm | Phase::Tagged | Phase::Replicated) => ImageState::Warm,
        Some(Phase::Failed) => ImageState::Failed,
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
