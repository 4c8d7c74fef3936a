//! The images that stand before a Harbor, and whether one more could keep a deadline of Harbor's.
//!
//! Reading an index starts Harbor's 400 s for recording it; the tag of one that isn't complete by then may be lost for
//! 7 days. So a deadline is opened only where what stands before leaves the time to keep it: workers begin no more
//! images than there are places for, and the front reads nothing for a policy while the line is too long.
//!
//! How long the line is, is an estimate: how much place-time the last images took, times those that stand there.
//! [`Backlog`] and [`Pace`] decide and are pure; [`Backlogs`] lives in memory only. Who waits stands in the queue, which
//! leases no more images to begin than there is [room](Backlogs::room) for; what is under way is known again when its
//! worker has come by it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harbor_warmer_protocol::{Digest, HarborImage, HarborName};

use crate::config::Config;
use crate::places::limiter::Limiter;
use harbor_warmer_core::timers::Timers;
use harbor_warmer_core::timestamp::Timestamp;

/// An image that its worker did not come back to in this time is not in the line any more: polls are 15 s apart.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);

/// The line at every Harbor.
pub struct Backlogs(HashMap<HarborName, Line>);

/// The line at one Harbor.
struct Line {
    timers: Timers,
    standing: Mutex<Waiting>,
}

/// Who stands in it, and how fast it moves.
#[derive(Default)]
struct Waiting {
    images: HashMap<(HarborImage, Digest), (Position, Timestamp)>,
    /// Images that stand in the queue's own line.
    before: usize,
    pace: Pace,
}

/// Where an image stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Nothing of it was read yet: it waits for its turn.
    Waits,
    /// Harbor's clocks run for it, and its blobs are on their way.
    UnderWay,
    /// Harbor has its blobs, or something else than a place holds it up.
    Gone,
}

/// What stands before one more image.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Backlog {
    /// Images.
    ahead: usize,
    /// Transfers that the Harbor may have at once.
    places: usize,
    /// How long one image occupies one place; none where none was done yet.
    takes: Option<Duration>,
}

/// How much place-time an image takes, by the last eight or so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pace {
    /// Seconds of place-time, the older the less they weigh.
    busy: f64,
    /// The images that they brought, weighed alike.
    images: f64,
    /// The limiter's counter when the last of them was done.
    seen: Duration,
}

impl Backlog {
    /// How long until a place is free for one more image, and it is done with it.
    fn done_in(&self) -> Option<Duration> {
        let images = f64::from(u32::try_from(self.ahead).unwrap_or(u32::MAX)) + 1.0;
        let places = f64::from(u32::try_from(self.places.max(1)).unwrap_or(u32::MAX));
        let seconds = self.takes?.as_secs_f64() * images / places;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Whether one more image would be done within `time`. The first of the line has nobody to wait for; without
    /// experience, as many as there are places are let in.
    fn leaves_time(&self, time: Duration) -> bool {
        self.ahead == 0 || self.done_in().map_or(self.ahead < self.places, |done_in| done_in <= time)
    }
}

impl Pace {
    /// The weight of an image, for each one that came after it.
    const FADES_TO: f64 = 7.0 / 8.0;

    /// An image is done; `busy` is the limiter's counter of place-time.
    fn done(&mut self, busy: Duration) {
        self.busy = self.busy * Self::FADES_TO + busy.saturating_sub(self.seen).as_secs_f64();
        self.images = self.images * Self::FADES_TO + 1.0;
        self.seen = busy;
    }

    /// Place-time of an image. What was spent since the last one was done counts, too: a slow image makes itself felt
    /// before it is done.
    fn takes(&self, busy: Duration) -> Option<Duration> {
        let spent = self.busy + busy.saturating_sub(self.seen).as_secs_f64();
        (self.images > 0.0).then(|| Duration::try_from_secs_f64(spent / self.images).unwrap_or(Duration::MAX))
    }
}

impl Backlogs {
    /// Empty lines at the Harbors of the configuration.
    pub fn new(config: &Config) -> Self {
        let line = |scale| Line { timers: Timers::scaled_by(scale), standing: Mutex::default() };
        Self(config.harbors.iter().map(|(name, harbor)| (name.clone(), line(harbor.time_scale))).collect())
    }

    /// Whether it is this image's turn to be begun; if so it is under way from here on, and else it stands in the line.
    pub(crate) fn may_begin(&self, place: &HarborImage, root: Digest, limiter: &Limiter, now: Timestamp) -> bool {
        let Some(line) = self.0.get(&place.harbor) else { return true };
        let mut standing = line.standing();
        let key = (place.clone(), root);
        standing.images.remove(&key);
        let backlog = standing.backlog(limiter, now, |stand| stand == Position::UnderWay);
        // One image holds at least one place, so more than there are places would only wait with their clocks running.
        let begins = limiter.in_flight() < backlog.places
            && backlog.ahead < backlog.places
            && backlog.leaves_time(line.deadline());
        standing.images.insert(key, (if begins { Position::UnderWay } else { Position::Waits }, now));
        begins
    }

    /// How many more images may begin now. The others stay in the queue, where they cost nothing.
    pub(crate) fn room(&self, harbor: &HarborName, limiter: &Limiter, now: Timestamp) -> usize {
        let Some(line) = self.0.get(harbor) else { return usize::MAX };
        let backlog = line.standing().backlog(limiter, now, |stand| stand == Position::UnderWay);
        let free = backlog.places.saturating_sub(backlog.ahead.max(limiter.in_flight()));
        let one_more = |more: &usize| Backlog { ahead: backlog.ahead + more, ..backlog }.leaves_time(line.deadline());
        (0..free).take_while(one_more).count()
    }

    /// So many images stand in the queue's own line.
    pub(crate) fn stand_before(&self, harbor: &HarborName, images: usize) {
        if let Some(line) = self.0.get(harbor) {
            line.standing().before = images;
        }
    }

    /// A worker lets go of an image that stands so.
    pub(crate) fn stands(&self, place: &HarborImage, root: Digest, stand: Position, now: Timestamp) {
        let Some(line) = self.0.get(&place.harbor) else { return };
        let mut standing = line.standing();
        let key = (place.clone(), root);
        match stand {
            Position::Waits | Position::UnderWay => standing.images.insert(key, (stand, now)),
            Position::Gone => standing.images.remove(&key),
        };
    }

    /// Harbor has every wanted blob of an image that it was asked for.
    pub(crate) fn image_done(&self, harbor: &HarborName, limiter: &Limiter) {
        if let Some(line) = self.0.get(harbor) {
            line.standing().pace.done(limiter.busy());
        }
    }

    /// Whether an image that comes now would be done before half of Harbor's deadline for an index is over. The other
    /// half is left to what can't be foreseen: a layer that is larger than those before.
    pub(crate) fn leaves_time(&self, harbor: &HarborName, limiter: &Limiter, now: Timestamp) -> bool {
        let Some(line) = self.0.get(harbor) else { return true };
        line.standing().backlog(limiter, now, |_| true).leaves_time(line.deadline())
    }

    /// How long an image that comes now would stand in the line, as far as can be told.
    pub(crate) fn wait(&self, harbor: &HarborName, limiter: &Limiter, now: Timestamp) -> Duration {
        let line = self.0.get(harbor);
        line.and_then(|line| line.standing().backlog(limiter, now, |_| true).done_in()).unwrap_or_default()
    }

    /// Whether any image waits for its turn at this Harbor.
    pub(crate) fn anyone_waits(&self, harbor: &HarborName) -> bool {
        let waits = |line: &Line| line.standing().images.values().any(|(stand, _)| *stand == Position::Waits);
        self.0.get(harbor).is_some_and(waits)
    }

    /// How many images wait for their turn at each Harbor.
    pub(crate) fn waiting(&self, now: Timestamp) -> Vec<(&HarborName, usize)> {
        let waiting = |line: &Line| {
            let mut standing = line.standing();
            standing.forget(now);
            standing.waiting()
        };
        self.0.iter().map(|(name, line)| (name, waiting(line))).collect()
    }
}

impl Line {
    fn deadline(&self) -> Duration {
        self.timers.index_deadline() / 2
    }

    fn standing(&self) -> MutexGuard<'_, Waiting> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn backlog(&mut self, limiter: &Limiter, now: Timestamp, counts: impl Fn(Position) -> bool) -> Backlog {
        self.forget(now);
        let under_way = self.images.values().filter(|(stand, _)| *stand == Position::UnderWay).count();
        let waiting = if counts(Position::Waits) { self.waiting() } else { 0 };
        let ahead = under_way + waiting;
        Backlog { ahead, places: limiter.allowed(), takes: self.pace.takes(limiter.busy()) }
    }

    /// Those that a worker has come by stand in the queue's line again.
    fn waiting(&self) -> usize {
        self.images.values().filter(|(stand, _)| *stand == Position::Waits).count().max(self.before)
    }

    fn forget(&mut self, now: Timestamp) {
        self.images.retain(|_, (_, seen)| now.since(*seen) < FORGOTTEN_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::config::Concurrency;
    use crate::places::limiter::Priority;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[rstest]
    #[case::nobody_is_before(0, 8, Some(9_000), true)]
    #[case::quick_images(100, 8, Some(10), true)]
    #[case::as_many_as_fit(26, 8, Some(59), true)]
    #[case::one_more_than_fits(27, 8, Some(59), false)]
    #[case::one_slow_image(1, 8, Some(900), false)]
    #[case::more_places(1, 32, Some(900), true)]
    #[case::no_experience_and_a_free_place(7, 8, None, true)]
    #[case::no_experience_and_no_free_place(8, 8, None, false)]
    #[case::a_harbor_that_allows_nothing(1, 0, Some(300), false)]
    fn an_image_is_let_in_where_it_keeps_half_of_harbors_deadline(
        #[case] ahead: usize,
        #[case] places: usize,
        #[case] takes: Option<u64>,
        #[case] expected: bool,
    ) {
        let backlog = Backlog { ahead, places, takes: takes.map(seconds) };
        assert_eq!(backlog.leaves_time(seconds(200)), expected, "{:?}", backlog.done_in());
    }

    proptest! {
        #[test]
        fn a_longer_line_or_slower_images_never_leave_more_time(
            ahead in 0usize..10_000,
            places in 1usize..64,
            takes in 0u64..100_000,
            time in 0u64..1_000,
        ) {
            let backlog = Backlog { ahead, places, takes: Some(seconds(takes)) };
            if !backlog.leaves_time(seconds(time)) {
                let longer = Backlog { ahead: ahead + 1, ..backlog };
                let slower = Backlog { takes: Some(seconds(takes + 1)), ..backlog };
                prop_assert!(!longer.leaves_time(seconds(time)) && !slower.leaves_time(seconds(time)));
            }
        }
    }

    #[test]
    fn the_pace_follows_the_last_images_and_feels_a_slow_one_before_it_is_done() {
        let mut pace = Pace::default();
        assert_eq!(pace.takes(seconds(30)), None);
        let mut busy = 0;
        for _ in 0..50 {
            busy += 10;
            pace.done(seconds(busy));
        }
        assert_eq!(pace.takes(seconds(busy)).unwrap().as_secs_f64().round(), 10.0);
        let felt = pace.takes(seconds(busy + 400)).unwrap();
        assert!(felt > seconds(55), "{felt:?}");
        for _ in 0..50 {
            busy += 100;
            pace.done(seconds(busy));
        }
        assert_eq!(pace.takes(seconds(busy)).unwrap().as_secs_f64().round(), 100.0);
    }

    fn image(n: u8) -> (HarborImage, Digest) {
        let place = HarborImage {
            harbor: "main".parse().unwrap(),
            project: "hub".parse().unwrap(),
            repository: "library/app".parse().unwrap(),
        };
        (place, Digest::from_bytes([n; 32]))
    }

    /// A line at one Harbor with two places.
    fn line() -> (Backlogs, Limiter, HarborName) {
        let name: HarborName = "main".parse().unwrap();
        let limiter = Limiter::new(Concurrency { initial: 2, max: 2 }, Box::new(|_| {}));
        let line = Line { timers: Timers::REAL, standing: Mutex::default() };
        (Backlogs(HashMap::from([(name.clone(), line)])), limiter, name)
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn no_more_images_are_begun_than_there_are_places_and_the_next_when_one_is_gone() {
        let (backlogs, limiter, main) = line();
        let begins = |n| {
            let (place, root) = image(n);
            backlogs.may_begin(&place, root, &limiter, NOW)
        };
        assert_eq!([1, 2, 3].map(begins), [true, true, false]);
        assert!(begins(2), "one that is under way doesn't stand before itself");
        assert_eq!(backlogs.waiting(NOW), [(&main, 1)]);
        let (place, root) = image(1);
        backlogs.stands(&place, root, Position::Gone, NOW);
        assert!(begins(3));
        assert_eq!(backlogs.waiting(NOW), [(&main, 0)]);
    }

    #[test]
    fn the_line_may_be_half_as_long_as_harbor_waits_for_an_index() {
        let (backlogs, limiter, main) = line();
        let (place, root) = image(1);
        backlogs.stands(&place, root, Position::UnderWay, NOW);
        for (takes, leaves_time) in [(199, true), (201, false)] {
            // One stands before, so two images on two places take as long as one.
            backlogs.0[&main].standing().pace = Pace { busy: f64::from(takes), images: 1.0, seen: Duration::ZERO };
            assert_eq!(backlogs.leaves_time(&main, &limiter, NOW), leaves_time, "{takes} s");
        }
    }

    #[tokio::test]
    async fn nothing_is_begun_while_every_place_is_taken() {
        let (backlogs, limiter, _) = line();
        let permits = [limiter.acquire(Priority::Wanted).await, limiter.acquire(Priority::Wanted).await];
        let (place, root) = image(1);
        assert!(!backlogs.may_begin(&place, root, &limiter, NOW));
        drop(permits);
        assert!(backlogs.may_begin(&place, root, &limiter, NOW));
    }

    #[test]
    fn those_who_wait_count_for_the_front_and_not_for_each_other() {
        let (backlogs, limiter, main) = line();
        assert!(backlogs.leaves_time(&main, &limiter, NOW));
        for n in 1..=9 {
            let (place, root) = image(n);
            backlogs.stands(&place, root, Position::Waits, NOW);
        }
        assert!(!backlogs.leaves_time(&main, &limiter, NOW), "nobody knows yet how long an image takes");
        let (place, root) = image(1);
        assert!(backlogs.may_begin(&place, root, &limiter, NOW));
        backlogs.image_done(&main, &limiter);
        assert!(backlogs.leaves_time(&main, &limiter, NOW), "it took no time at all");
    }

    #[test]
    fn an_image_that_no_worker_comes_back_to_leaves_the_line() {
        let (backlogs, limiter, main) = line();
        for n in 1..=2 {
            let (place, root) = image(n);
            assert!(backlogs.may_begin(&place, root, &limiter, NOW));
        }
        let later = NOW + FORGOTTEN_AFTER;
        assert!(backlogs.leaves_time(&main, &limiter, later));
        let (place, root) = image(3);
        assert!(backlogs.may_begin(&place, root, &limiter, later));
    }

    #[test]
    fn a_harbor_that_is_not_in_the_configuration_has_no_line() {
        let (_, limiter, main) = line();
        let (place, root) = image(1);
        let none = Backlogs(HashMap::new());
        assert!(none.may_begin(&place, root, &limiter, NOW) && none.leaves_time(&main, &limiter, NOW));
    }
}
