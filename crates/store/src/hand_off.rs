//! A hand-off: written down, deduplicated, and answered with where the image stands.

use std::sync::Arc;

use harbor_warmer_core::announcement::{self, Announcement, Resolved};
use harbor_warmer_core::image::Want;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::Phase;
use harbor_warmer_protocol::{HandOff, HarborImage, ImageState, Subject};

use crate::body::{announcement_key, image_key};
use crate::row::{DEAD, DONE, READY, Row};
use crate::units::{HandedOff, REVIVED_AFTER, Units};
use crate::{Store, StoreError, Unit};

impl Store {
    /// Writes a hand-off down. It is on the disk when this returns.
    ///
    /// `known_root` is the index that a resolved hand-off's platform manifest was seen in, and since when Harbor tries to
    /// attach its tag.
    ///
    /// # Errors
    /// The hand-off was not written; the caller has to say so.
    pub async fn hand_off(
        &self,
        hand_off: HandOff,
        cluster: &str,
        known_root: Option<Resolved>,
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
        let shared = Arc::clone(&self.0);
        let handed_off = self
            .write(move |connection| {
                let units = Units { connection, shared: &shared, now, takes_in: true };
                units.take(&hand_off.image, &hand_off.subject, want, known_root)
            })
            .await?;
        if handed_off.state != ImageState::Warm {
            self.0.woken.notify_waiters();
        }
        Ok(handed_off)
    }

    /// Where the image of a hand-off stands, without handing it over. None if it isn't known.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn peek(&self, hand_off: &HandOff) -> Result<Option<HandedOff>, StoreError> {
        let (place, subject) = (hand_off.image.clone(), hand_off.subject.clone());
        self.read(move |connection, _| {
            let key = match &subject {
                Subject::Tag(tag) | Subject::Layers { tag: Some(tag), .. } => announcement_key(&place, tag),
                Subject::Pin { digest, .. } | Subject::Layers { child: digest, .. } => image_key(&place, *digest),
            };
            let Some(row) = Row::find(connection, &key, Timestamp::NEVER)? else { return Ok(None) };
            let row = match &row.unit {
                Unit::Announcement(Announcement { resolved: Some(resolved), .. }) => {
                    Row::find(connection, &image_key(&place, resolved.root), Timestamp::NEVER)?.unwrap_or(row)
                }
                _ => row,
            };
            Ok(Some(row.answer(state_in(row.phase))))
        })
        .await
    }
}

impl Units<'_> {
    fn take(
        &self,
        place: &HarborImage,
        subject: &Subject,
        want: Want,
        known_root: Option<Resolved>,
    ) -> Result<HandedOff, StoreError> {
        match subject {
            Subject::Tag(tag) | Subject::Layers { tag: Some(tag), .. } => {
                let key = announcement_key(place, tag);
                match Row::find(self.connection, &key, self.now)? {
                    Some(row) => self.take_announced(row, place, subject, want, known_root),
                    None => {
                        let unit = Unit::Announcement(Announcement::new(place.clone(), tag.clone()));
                        self.insert(&unit, &want)
                    }
                }
            }
            Subject::Pin { digest, .. } => self.take_image(place, *digest, want),
            Subject::Layers { child, tag: None } => {
                self.take_image(place, known_root.map_or(*child, |known| known.root), want)
            }
        }
    }

    fn take_announced(
        &self,
        mut row: Row,
        place: &HarborImage,
        subject: &Subject,
        mut want: Want,
        known_root: Option<Resolved>,
    ) -> Result<HandedOff, StoreError> {
        let Unit::Announcement(announcement) = &mut row.unit else { return self.take_image_row(row, want) };
        let looked_up = matches!(subject, Subject::Layers { .. });
        if let Some(known) = known_root.filter(|_| looked_up && row.state == READY && announcement.resolved.is_none()) {
            // The policy has just looked up what the tag means: nobody needs to ask again.
            announcement.observe(announcement::Observation::Headed(known.root), known.at.min(self.now));
            self.add_want(row.id, &want)?;
            self.try_now(&mut row)?;
            return Ok(row.answer(ImageState::Queued));
        }
        let Unit::Announcement(announcement) = &mut row.unit else { return self.take_image_row(row, want) };
        if let Some(resolved) = announcement.resolved {
            let fresh = resolved.at <= self.now && self.now.since(resolved.at) < self.shared.recheck_after;
            // A resolved hand-off is about what was just looked up, however old the warmer's own look is.
            if fresh || looked_up {
                // The tag may have moved between the two looks; then the other image's worker asks for it again.
                let root = known_root.filter(|_| looked_up).map_or(resolved.root, |known| known.root);
                want.headed = (root == resolved.root).then_some(resolved.at.min(self.now));
                return self.take_image(place, root, want);
            }
        }
        let is_new = self.add_want(row.id, &want)?;
        if row.state < DONE {
            self.hurry(&mut row, &want, is_new)?;
            return Ok(row.answer(ImageState::Queued));
        }
        if row.state == DEAD && row.is_fresh(REVIVED_AFTER, self.now) {
            return Ok(row.answer_dead());
        }
        if let Unit::Announcement(announcement) = &mut row.unit {
            announcement.reopen();
        }
        self.open(&mut row)?;
        Ok(row.answer(ImageState::Queued))
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
