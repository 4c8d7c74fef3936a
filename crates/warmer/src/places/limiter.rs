//! How many places one Harbor has: additive increase, multiplicative decrease.
//!
//! [`Aimd`] decides and is pure; [`Limiter`] gives places, to blobs that somebody waits for before those that only
//! complete an index. Which blob holds one is not known here ([`super::Places`]), and waits of Harbor's own, such as
//! after a 429, are due times.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::Concurrency;
use harbor_warmer_harbor::HarborError;

/// The rule by which concurrency adapts: one more after as many successes as may run at once, half after an overload.
///
/// Requests that were under way together fail together, so only the first of them halves: an overload counts only for
/// a request that was started after the last halving ([`Epoch`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aimd {
    allowed: usize,
    max: usize,
    successes: usize,
    epoch: Epoch,
}

/// Counts the halvings; a request belongs to the epoch that it started in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u64);

impl Aimd {
    /// Starts at the first guess, at least 1 and at most the bound.
    pub(crate) fn new(bounds: Concurrency) -> Self {
        let max = bounds.max.max(1);
        Self { allowed: bounds.initial.clamp(1, max), max, successes: 0, epoch: Epoch::default() }
    }

    /// How many may run at once.
    pub(crate) fn allowed(&self) -> usize {
        self.allowed
    }

    /// The epoch that a request started now belongs to.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A request ended well. `saturated`: as many as allowed were under way; a limit that nobody reaches proves
    /// nothing and does not grow.
    pub(crate) fn on_success(&mut self, started: Epoch, saturated: bool) {
        if !saturated || started != self.epoch {
            return;
        }
        self.successes += 1;
        if self.successes >= self.allowed {
            self.successes = 0;
            self.allowed = (self.allowed + 1).min(self.max);
        }
    }

    /// A request ended in a 429, a 5xx, a timeout or without a connection.
    pub(crate) fn on_overload(&mut self, started: Epoch) {
        if started != self.epoch {
            return;
        }
        self.allowed = (self.allowed / 2).max(1);
        self.successes = 0;
        self.epoch.0 += 1;
    }
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Somebody asked for it.
    Wanted,
    /// It only completes an index: it leaves one place free, and gets none while somebody waits for one.
    Completion,
}

/// Is told how many places there are, whenever that changes.
pub(crate) type Told = Box<dyn Fn(usize) + Send + Sync>;

/// The turns of one Harbor. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limiter {
    shared: Arc<Shared>,
}

struct Shared {
    told: Told,
    start: Instant,
    turns: Mutex<Turns>,
}

struct Turns {
    aimd: Aimd,
    in_flight: usize,
    occupied: Occupied,
    wanted: VecDeque<oneshot::Sender<Permit>>,
    completion: VecDeque<oneshot::Sender<Permit>>,
}

/// For how long turns were occupied, in sum. Moments are counted from the limiter's start.
#[derive(Default)]
struct Occupied {
    under_way: u32,
    /// When those under way began, in sum.
    began: Duration,
    /// The time of those that are over.
    past: Duration,
}

/// One request's turn. Dropped without a word it is given back and teaches nothing.
#[must_use = "the turn is over when the permit is dropped"]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    started: Epoch,
    began: Duration,
    outcome: Taught,
}

#[derive(Clone, Copy)]
enum Taught {
    Unknown,
    Success,
    Overload,
}

impl Limiter {
    /// A limiter that starts at the first guess of `bounds`.
    pub(crate) fn new(bounds: Concurrency, told: Told) -> Self {
        let aimd = Aimd::new(bounds);
        told(aimd.allowed());
        let occupied = Occupied::default();
        let turns = Turns { aimd, in_flight: 0, occupied, wanted: VecDeque::new(), completion: VecDeque::new() };
        Self { shared: Arc::new(Shared { told, start: Instant::now(), turns: Mutex::new(turns) }) }
    }

    /// A turn if one is free now.
    pub(crate) fn try_acquire(&self, priority: Priority) -> Option<Permit> {
        let mut turns = self.shared.turns();
        if !turns.has_room(priority) {
            return None;
        }
        Some(self.shared.permit(&mut turns))
    }

    /// Waits for a turn. Dropping the future gives up the place in the line.
    pub(crate) async fn acquire(&self, priority: Priority) -> Permit {
        let turn = {
            let mut turns = self.shared.turns();
            if turns.has_room(priority) {
                // Nobody who goes first waits, else the free turn would be theirs already.
                return self.shared.permit(&mut turns);
            }
            let (sender, turn) = oneshot::channel();
            match priority {
                Priority::Wanted => turns.wanted.push_back(sender),
                Priority::Completion => turns.completion.push_back(sender),
            }
            turn
        };
        turn.await.expect("a waiting turn's sender is only dropped after it was used or its receiver is gone")
    }

    /// How many requests may be under way at once, as things stand.
    pub(crate) fn allowed(&self) -> usize {
        self.shared.turns().aimd.allowed()
    }

    /// How many are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.turns().in_flight
    }

    /// For how long turns have been occupied since the start, in sum, those under way included.
    pub(crate) fn busy(&self) -> Duration {
        let turns = self.shared.turns();
        turns.occupied.at(self.shared.start.elapsed())
    }
}

impl Permit {
    /// The request ended well.
    pub(crate) fn succeeded(mut self) {
        self.outcome = Taught::Success;
    }

    /// The request ended in a 429, a 5xx, a timeout or without a connection.
    pub(crate) fn overloaded(mut self) {
        self.outcome = Taught::Overload;
    }

    /// The request failed. An answer that says no, such as a 404, took its place as well as a yes.
    pub(crate) fn settle(self, error: &HarborError) {
        if error.class().is_overload() { self.overloaded() } else { self.succeeded() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let granted = {
            let mut turns = self.shared.turns();
            let before = turns.aimd.allowed();
            let saturated = turns.in_flight >= before;
            match self.outcome {
                Taught::Unknown => {}
                Taught::Success => turns.aimd.on_success(self.started, saturated),
                Taught::Overload => turns.aimd.on_overload(self.started),
            }
            let now = turns.aimd.allowed();
            if now != before {
                (self.shared.told)(now);
            }
            turns.in_flight -= 1;
            turns.occupied.ended(self.began, self.shared.start.elapsed());
            self.shared.grant(&mut turns)
        };
        // Outside of the lock: a waiter that has just gone away drops its permit, which takes the lock.
        for (waiter, permit) in granted {
            drop(waiter.send(permit));
        }
    }
}

impl Shared {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn.
    fn permit(self: &Arc<Self>, turns: &mut Turns) -> Permit {
        turns.in_flight += 1;
        let began = self.start.elapsed();
        turns.occupied.began(began);
        Permit { shared: Arc::clone(self), started: turns.aimd.epoch(), began, outcome: Taught::Unknown }
    }

    fn grant(self: &Arc<Self>, turns: &mut Turns) -> Vec<(oneshot::Sender<Permit>, Permit)> {
        let mut granted = Vec::new();
        while let Some(waiter) = turns.next() {
            granted.push((waiter, self.permit(turns)));
        }
        granted
    }
}

impl Occupied {
    fn began(&mut self, now: Duration) {
        self.under_way += 1;
        self.began += now;
    }

    fn ended(&mut self, began: Duration, now: Duration) {
        self.under_way -= 1;
        self.began -= began;
        self.past += now.saturating_sub(began);
    }

    fn at(&self, now: Duration) -> Duration {
        self.past + now.saturating_mul(self.under_way).saturating_sub(self.began)
    }
}

impl Turns {
    /// Whether there is a place. What only completes an index leaves one, so that whoever comes finds it.
    fn has_room(&self, priority: Priority) -> bool {
        let free = self.aimd.allowed().saturating_sub(self.in_flight);
        match priority {
            Priority::Wanted => free > 0,
            Priority::Completion => free > usize::from(self.aimd.allowed() > 1),
        }
    }

    /// The next who still waits, if there is a place.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        while self.has_room(Priority::Wanted) {
            let waiter = match self.wanted.pop_front() {
                Some(waiter) => waiter,
                None if self.has_room(Priority::Completion) => self.completion.pop_front()?,
                None => return None,
            };
            if !waiter.is_closed() {
                return Some(waiter);
            }
        }
        None
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turns = self.shared.turns();
        f.debug_struct("Limiter")
            .field("aimd", &turns.aimd)
            .field("in_flight", &turns.in_flight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn aimd(initial: usize, max: usize) -> Aimd {
        Aimd::new(Concurrency { initial, max })
    }

    fn limiter(initial: usize) -> Limiter {
        Limiter::new(Concurrency { initial, max: 8 }, Box::new(|_| {}))
    }

    #[rstest]
    #[case::as_configured(4, 16, 4)]
    #[case::never_none(0, 0, 1)]
    #[case::never_above_the_bound(20, 16, 16)]
    fn it_starts_within_its_bounds(#[case] initial: usize, #[case] max: usize, #[case] expected: usize) {
        assert_eq!(aimd(initial, max).allowed(), expected);
    }

    #[test]
    fn one_more_is_allowed_after_a_window_of_successes_up_to_the_bound() {
        let mut aimd = aimd(2, 4);
        let mut after = Vec::new();
        for _ in 0..12 {
            aimd.on_success(aimd.epoch(), true);
            after.push(aimd.allowed());
        }
        assert_eq!(after, [2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4]);
    }

    #[test]
    fn a_limit_that_nobody_reaches_does_not_grow() {
        let mut aimd = aimd(2, 8);
        (0..100).for_each(|_| aimd.on_success(aimd.epoch(), false));
        assert_eq!(aimd.allowed(), 2);
    }

    #[test]
    fn requests_that_were_under_way_together_halve_once() {
        let mut aimd = aimd(16, 16);
        let together = aimd.epoch();
        (0..16).for_each(|_| aimd.on_overload(together));
        assert_eq!(aimd.allowed(), 8);
        // Nor does a success from before prove anything about the new limit.
        (0..16).for_each(|_| aimd.on_success(together, true));
        assert_eq!(aimd.allowed(), 8);
        aimd.on_overload(aimd.epoch());
        assert_eq!(aimd.allowed(), 4);
    }

    proptest! {
        #[test]
        fn whatever_happens_the_limit_stays_within_its_bounds(
            initial in 0..100_usize,
            max in 0..100_usize,
            events in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..500),
        ) {
            let mut aimd = aimd(initial, max);
            let mut stale = aimd.epoch();
            for (is_success, is_stale, saturated) in events {
                let before = aimd.allowed();
                let started = if is_stale { stale } else { aimd.epoch() };
                if is_success {
                    aimd.on_success(started, saturated);
                    prop_assert!(aimd.allowed() >= before && aimd.allowed() <= before + 1);
                } else {
                    stale = aimd.epoch();
                    aimd.on_overload(started);
                    prop_assert!(aimd.allowed() <= before);
                }
                prop_assert!((1..=max.max(1)).contains(&aimd.allowed()));
            }
        }
    }

    #[tokio::test]
    async fn no_more_than_allowed_have_a_turn_and_the_wanted_go_first() {
        let limiter = limiter(1);
        let first = limiter.acquire(Priority::Wanted).await;
        let mut completion = Box::pin(limiter.acquire(Priority::Completion));
        let mut wanted = Box::pin(limiter.acquire(Priority::Wanted));
        assert!(completion.as_mut().now_or_never().is_none());
        assert!(wanted.as_mut().now_or_never().is_none());
        drop(first);
        assert!(completion.as_mut().now_or_never().is_none());
        let second = wanted.as_mut().now_or_never().expect("the wanted one's turn");
        drop(second);
        drop(completion.as_mut().now_or_never().expect("the other one's turn"));
        assert_eq!(limiter.in_flight(), 0);
    }

    #[tokio::test]
    async fn who_does_not_wait_gets_a_free_turn_or_none() {
        let limiter = limiter(1);
        let permit = limiter.try_acquire(Priority::Wanted).unwrap();
        assert!(limiter.try_acquire(Priority::Wanted).is_none());
        drop(permit);
        assert!(limiter.try_acquire(Priority::Completion).is_some());
    }

    #[tokio::test]
    async fn what_completes_an_index_leaves_the_last_place_to_whoever_comes() {
        let limiter = limiter(3);
        let completion = [(); 2].map(|()| limiter.try_acquire(Priority::Completion).unwrap());
        assert!(limiter.try_acquire(Priority::Completion).is_none());
        let mut waiting = Box::pin(limiter.acquire(Priority::Completion));
        assert!(waiting.as_mut().now_or_never().is_none());
        let wanted = limiter.try_acquire(Priority::Wanted).unwrap();
        drop(wanted);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(completion);
        assert!(waiting.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_overload_halves_and_those_who_wait_wait_for_the_lower_limit() {
        let limiter = limiter(4);
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(limiter.acquire(Priority::Wanted).await);
        }
        let mut waiting = Box::pin(limiter.acquire(Priority::Wanted));
        assert!(waiting.as_mut().now_or_never().is_none());
        permits.remove(0).overloaded();
        permits.remove(0).overloaded();
        assert_eq!((limiter.allowed(), limiter.in_flight()), (2, 2));
        assert!(waiting.as_mut().now_or_never().is_none());
        permits.remove(0).succeeded();
        assert!(waiting.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_loses_no_turn_to_others() {
        let limiter = limiter(1);
        let first = limiter.acquire(Priority::Wanted).await;
        for _ in 0..1000 {
            assert!(limiter.acquire(Priority::Wanted).now_or_never().is_none());
        }
        let mut granted = Box::pin(limiter.acquire(Priority::Wanted));
        assert!(granted.as_mut().now_or_never().is_none());
        let mut last = Box::pin(limiter.acquire(Priority::Completion));
        assert!(last.as_mut().now_or_never().is_none());
        drop(first);
        // It has its turn already, and goes away without looking.
        drop(granted);
        drop(last.as_mut().now_or_never().expect("the turn went on"));
        assert_eq!(limiter.in_flight(), 0);
    }

    #[test]
    fn turns_count_for_as_long_as_they_are_held_those_under_way_too() {
        let seconds = Duration::from_secs;
        let mut occupied = Occupied::default();
        occupied.began(seconds(0));
        occupied.began(seconds(2));
        assert_eq!(occupied.at(seconds(5)), seconds(8));
        occupied.ended(seconds(2), seconds(5));
        assert_eq!(occupied.at(seconds(15)), seconds(18));
        occupied.ended(seconds(0), seconds(15));
        assert_eq!(occupied.at(seconds(100)), seconds(18));
    }

    #[tokio::test]
    async fn a_turn_that_is_held_makes_the_limiter_busy() {
        let limiter = limiter(2);
        assert_eq!(limiter.busy(), Duration::ZERO);
        let turn = limiter.acquire(Priority::Wanted).await;
        while limiter.busy().is_zero() {
            tokio::task::yield_now().await;
        }
        drop(turn);
        assert_eq!(limiter.busy(), limiter.busy());
    }

    #[tokio::test]
    async fn a_404_took_its_turn_as_well_as_any_and_a_429_did_not() {
        let limiter = limiter(2);
        let permit = limiter.acquire(Priority::Wanted).await;
        permit.settle(&HarborError::NotFoundAmbiguous);
        assert_eq!(limiter.allowed(), 2);
        let permit = limiter.acquire(Priority::Wanted).await;
        permit.settle(&HarborError::RateLimited { retry_after: None });
        assert_eq!(limiter.allowed(), 1);
    }
}
