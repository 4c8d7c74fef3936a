//! Places at a Harbor: how many blobs it may copy at once, which blob holds one, and whose turn is next.
//!
//! A blob takes a place before it is asked for, and holds it while Harbor copies it in the background, until it is seen
//! to be there: otherwise a hundred touched layers, each a request of a few milliseconds, would be a hundred transfers
//! at once for Harbor. A blob that is asked for again, since nobody sees whether its copy moves or broke, keeps the place
//! that it has. One that nobody asks for any more loses it: its image waits for something else, or is given up.
//!
//! One blob of a repository has one place, however many images have it, so it is asked for once: who comes while another
//! image asks comes again, and who comes later is told when that was. A place is given or it is not, at once; only who
//! reads blobs to their end, which ends by itself, may wait for one.
//!
//! All of this lives in memory alone. After a restart Harbor is asked again what it has.

pub(crate) mod backlog;
pub(crate) mod limiter;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harbor_warmer_protocol::Digest;
use tokio::sync::Notify;

use crate::config::Concurrency;
use harbor_warmer_core::timers::Timers;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_harbor::{HarborError, Repository};
use limiter::{Limiter, Permit, Priority, Told};

/// What holds a place. The repository counts: Harbor links blobs to repositories.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlobKey {
    /// The repository.
    pub(crate) place: Repository,
    /// The blob.
    pub(crate) digest: Digest,
}

/// The places of one Harbor. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Places {
    shared: Arc<Shared>,
}

struct Shared {
    limiter: Limiter,
    timers: Timers,
    holders: Mutex<Holders>,
    /// Told when a copy has begun.
    copies: Notify,
}

#[derive(Default)]
struct Holders {
    blobs: HashMap<BlobKey, Holder>,
    /// Wanted blobs that found no place, and when they last came.
    unserved: HashMap<BlobKey, Timestamp>,
}

enum Holder {
    /// Harbor is being asked for it.
    Asking,
    /// Harbor was asked for it and has not been seen to have it.
    Asked {
        at: Timestamp,
        /// It was read to its end then.
        whole: bool,
        /// Nobody is told of it any more after this.
        until: Timestamp,
        /// The place, unless nothing is copied any more.
        permit: Option<Permit>,
    },
}

/// What becomes of a blob that is to be asked for.
pub(crate) enum Taken {
    /// It has a place: ask for it.
    Place(Place),
    /// Another image asked for it since.
    Asked {
        /// When.
        at: Timestamp,
        /// It was read to its end.
        whole: bool,
    },
    /// There is no place, or another image asks for it right now: come again.
    Later,
}

/// The place of a blob while it is asked for. Dropped without a word, it is free again.
#[must_use = "the place is free when this is dropped"]
pub(crate) struct Place {
    key: BlobKey,
    shared: Arc<Shared>,
    permit: Option<Permit>,
}

/// Whether a wanted blob that found no place still looks for one: an image under way comes again within seconds.
const LOOKS_FOR_ONE: Duration = Duration::from_secs(30);

impl Places {
    /// The places of a Harbor with these bounds; `told` of their number.
    pub(crate) fn new(bounds: Concurrency, timers: Timers, told: Told) -> Self {
        let limiter = Limiter::new(bounds, told);
        Self { shared: Arc::new(Shared { limiter, timers, holders: Mutex::default(), copies: Notify::new() }) }
    }

    /// How many there are, and how long they were taken.
    pub(crate) fn limiter(&self) -> &Limiter {
        &self.shared.limiter
    }

    /// A place for a blob that is to be asked for; `asked` is when its image knows it to have been asked for last.
    /// `yields`: images wait for their turn, so what only completes an index gets none.
    pub(crate) fn take(
        &self,
        key: BlobKey,
        priority: Priority,
        asked: Option<Timestamp>,
        yields: bool,
        now: Timestamp,
    ) -> Taken {
        let mut place = match self.claim(&key, asked, now) {
            Taken::Place(place) => place,
            taken => return taken,
        };
        if place.permit.is_none() {
            place.permit = match priority {
                Priority::Completion if yields || self.anyone_unserved(now) => None,
                Priority::Completion | Priority::Wanted => self.shared.limiter.try_acquire(priority),
            };
        }
        let mut holders = self.shared.holders();
        if place.permit.is_some() {
            holders.unserved.remove(&key);
            drop(holders);
            return Taken::Place(place);
        }
        if priority == Priority::Wanted {
            holders.unserved.insert(key, now);
        }
        drop(holders);
        Taken::Later
    }

    /// As [`Places::take`], for who reads the blob to its end and may wait until a place is free.
    pub(crate) async fn wait(
        &self,
        key: BlobKey,
        priority: Priority,
        asked: Option<Timestamp>,
        now: Timestamp,
    ) -> Taken {
        let mut place = match self.claim(&key, asked, now) {
            Taken::Place(place) => place,
            taken => return taken,
        };
        if place.permit.is_none() {
            place.permit = Some(self.shared.limiter.acquire(priority).await);
        }
        Taken::Place(place)
    }

    /// The blob is there. Whether this process had asked for it.
    pub(crate) fn arrived(&self, key: &BlobKey) -> bool {
        let mut holders = self.shared.holders();
        let held = match holders.blobs.get(key) {
            Some(Holder::Asked { .. }) => holders.blobs.remove(key),
            // Whoever asks sees it arrive as well.
            Some(Holder::Asking) => return true,
            None => None,
        };
        drop(holders);
        let Some(Holder::Asked { permit, .. }) = held else { return false };
        // Told to the limiter outside of the lock: that wakes others.
        if let Some(permit) = permit {
            permit.succeeded();
        }
        true
    }

    /// Resolves when blobs may have been forgotten that hold a place.
    pub(crate) async fn any_copies(&self) {
        while self.shared.holders().blobs.is_empty() {
            self.shared.copies.notified().await;
        }
    }

    /// Takes the places of blobs that nobody asked for again.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut forgotten = Vec::new();
        let mut holders = self.shared.holders();
        holders.blobs.retain(|_, holder| match holder {
            Holder::Asked { until, permit, .. } if now >= *until => {
                forgotten.extend(permit.take());
                false
            }
            Holder::Asked { .. } | Holder::Asking => true,
        });
        drop(holders);
        drop(forgotten);
    }

    /// The place that the blob has, or one without a permit.
    fn claim(&self, key: &BlobKey, asked: Option<Timestamp>, now: Timestamp) -> Taken {
        let mut holders = self.shared.holders();
        let permit = match holders.blobs.get_mut(key) {
            Some(Holder::Asking) => return Taken::Later,
            Some(Holder::Asked { at, whole, until, .. }) if now < *until && Some(*at) > asked => {
                return Taken::Asked { at: *at, whole: *whole };
            }
            Some(Holder::Asked { permit, .. }) => permit.take(),
            None => None,
        };
        holders.blobs.insert(key.clone(), Holder::Asking);
        Taken::Place(Place { key: key.clone(), shared: Arc::clone(&self.shared), permit })
    }

    fn anyone_unserved(&self, now: Timestamp) -> bool {
        let looks_for_one = self.shared.timers.of(LOOKS_FOR_ONE);
        let mut holders = self.shared.holders();
        holders.unserved.retain(|_, came| now.since(*came) < looks_for_one);
        !holders.unserved.is_empty()
    }
}

impl Place {
    /// Harbor was asked for the blob and copies it: the blob holds the place until it is there.
    pub(crate) fn begun(mut self, at: Timestamp) {
        let until = at + self.shared.timers.copy_forgotten();
        let permit = self.permit.take();
        self.asked(Holder::Asked { at, whole: false, until, permit });
    }

    /// It was read to its end: Harbor's own copy is over as well, so the place is free.
    pub(crate) fn read_whole(mut self, at: Timestamp) {
        let until = at + self.shared.timers.copy_forgotten();
        let permit = self.permit.take();
        self.asked(Holder::Asked { at, whole: true, until, permit: None });
        if let Some(permit) = permit {
            permit.succeeded();
        }
    }

    /// Harbor can't be asked for it now; the place is free.
    pub(crate) fn failed(mut self, error: &HarborError) {
        if let Some(permit) = self.permit.take() {
            permit.settle(error);
        }
    }

    fn asked(&self, holder: Holder) {
        self.shared.holders().blobs.insert(self.key.clone(), holder);
        self.shared.copies.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut holders = self.shared.holders();
        if matches!(holders.blobs.get(&self.key), Some(Holder::Asking)) {
            holders.blobs.remove(&self.key);
        }
    }
}

impl Shared {
    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn at(second: u64) -> Timestamp {
        START + Duration::from_secs(second)
    }

    fn places(number: usize) -> Places {
        Places::new(Concurrency { initial: number, max: number }, Timers::REAL, Box::new(|_| {}))
    }

    fn blob(n: u8) -> BlobKey {
        let place = Repository { project: "hub".parse().unwrap(), repository: "library/app".parse().unwrap() };
        BlobKey { place, digest: Digest::from_bytes([n; 32]) }
    }

    fn take(places: &Places, n: u8, asked: Option<Timestamp>, now: Timestamp) -> Taken {
        places.take(blob(n), Priority::Wanted, asked, false, now)
    }

    #[track_caller]
    fn begin(places: &Places, n: u8, asked: Option<Timestamp>, now: Timestamp) {
        match take(places, n, asked, now) {
            Taken::Place(place) => place.begun(now),
            Taken::Asked { at, .. } => panic!("asked for at {at:?}"),
            Taken::Later => panic!("no place"),
        }
    }

    #[track_caller]
    fn assert_later(taken: &Taken) {
        assert!(matches!(taken, Taken::Later));
    }

    #[test]
    fn a_blob_holds_its_place_until_it_is_there() {
        let places = places(1);
        begin(&places, 1, None, at(0));
        assert_later(&take(&places, 2, None, at(1)));
        assert!(places.arrived(&blob(1)));
        assert!(!places.arrived(&blob(1)), "told once");
        begin(&places, 2, None, at(2));
    }

    #[test]
    fn another_image_is_told_when_the_blob_was_asked_for_and_asks_again_in_its_own_time() {
        let places = places(2);
        begin(&places, 1, None, at(0));
        let Taken::Asked { at: asked, whole: false } = take(&places, 1, None, at(5)) else { panic!("asked for") };
        assert_eq!(asked, at(0));
        begin(&places, 1, Some(asked), at(60));
        // The first image, which knows of its own request alone, is told of the later one.
        assert!(matches!(take(&places, 1, Some(at(0)), at(61)), Taken::Asked { at: asked, .. } if asked == at(60)));
        assert_eq!(places.limiter().in_flight(), 1);
    }

    #[test]
    fn a_blob_that_is_asked_for_again_keeps_its_place_while_others_wait() {
        let places = places(1);
        begin(&places, 1, None, at(0));
        for minute in 1..100 {
            assert_later(&take(&places, 2, None, at(60 * minute - 1)));
            begin(&places, 1, Some(at(60 * (minute - 1))), at(60 * minute));
            places.sweep(at(60 * minute));
        }
    }

    #[test]
    fn a_blob_that_nobody_asks_for_again_loses_its_place() {
        let places = places(1);
        begin(&places, 1, None, at(0));
        places.sweep(at(119));
        assert_later(&take(&places, 2, None, at(119)));
        places.sweep(at(120));
        begin(&places, 2, None, at(120));
        assert_later(&take(&places, 1, Some(at(0)), at(121)));
    }

    #[test]
    fn one_asks_and_those_who_come_meanwhile_come_again() {
        let places = places(2);
        let Taken::Place(place) = take(&places, 1, None, at(0)) else { panic!("a place is free") };
        assert_later(&take(&places, 1, None, at(0)));
        place.failed(&HarborError::RateLimited { retry_after: None });
        assert_eq!((places.limiter().in_flight(), places.limiter().allowed()), (0, 1));
        begin(&places, 1, None, at(1));
    }

    #[test]
    fn one_who_goes_away_while_asking_leaves_the_place_to_others() {
        let places = places(1);
        drop(take(&places, 1, None, at(0)));
        begin(&places, 2, None, at(0));
    }

    #[tokio::test]
    async fn what_was_read_to_its_end_holds_no_place_and_others_are_told_of_it() {
        let places = places(1);
        let Taken::Place(first) = places.wait(blob(1), Priority::Wanted, None, at(0)).await else { panic!("free") };
        let mut second = Box::pin(places.wait(blob(2), Priority::Wanted, None, at(0)));
        assert!(second.as_mut().now_or_never().is_none());
        first.read_whole(at(30));
        assert!(matches!(second.as_mut().now_or_never(), Some(Taken::Place(_))));
        assert!(matches!(take(&places, 1, None, at(31)), Taken::Asked { at: asked, whole: true } if asked == at(30)));
    }

    #[test]
    fn what_completes_an_index_gets_no_place_while_a_wanted_blob_looks_for_one() {
        let places = places(3);
        let completion = |n, yields, now| places.take(blob(n), Priority::Completion, None, yields, now);
        for n in 1..=3 {
            begin(&places, n, None, at(0));
        }
        assert_later(&take(&places, 4, None, at(1)));
        assert!(places.arrived(&blob(1)) && places.arrived(&blob(2)));
        assert_later(&completion(5, false, at(2)));
        begin(&places, 4, None, at(2));
        assert!(places.arrived(&blob(4)));
        assert_later(&completion(5, true, at(3)));
        assert!(matches!(completion(5, false, at(3)), Taken::Place(_)));
    }

    #[test]
    fn a_wanted_blob_that_came_long_ago_holds_up_nothing() {
        let places = places(2);
        for n in 1..=2 {
            begin(&places, n, None, at(0));
        }
        assert_later(&take(&places, 3, None, at(1)));
        assert!(places.arrived(&blob(1)) && places.arrived(&blob(2)));
        let completion = |now| places.take(blob(5), Priority::Completion, None, false, now);
        assert_later(&completion(at(30)));
        assert!(matches!(completion(at(31)), Taken::Place(_)));
    }
}
