//! How long the look-ups of one user may wait for Harbor: a token bucket of waiting time.
//!
//! All OCI look-ups of a policy server go through one lock, so an evaluation suffers the *sum* of all waits, and it is
//! cut off after 1 s in the worst case (a limit of 2 s, counted in ticks of a second). So the bucket drains as long as
//! any look-up of the user waits, and fills otherwise. Look-ups that wait at the same moment are those of several
//! policy servers, and cost each of them that moment once.
//!
//! Whatever the requests, the moments in which a user waits add up to `capacity + capacity × t / window` at most in any
//! time `t`. With 500 ms in 30 s that is 517 ms in any second, which leaves about as much for the requests themselves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_core::timestamp::Timestamp;

/// Below this, waiting is pointless: Harbor's own answer takes at least one trip to its upstream.
const LEAST_WAIT: Duration = Duration::from_millis(50);

/// Buckets at once. Only peers without credentials can be that many; one more finds its budget spent.
const MAX_CALLERS: usize = 4096;

/// Whose budget a look-up spends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The cluster that the credentials name; all replicas of its policy server share its budget.
    Cluster(Arc<str>),
    /// The peer, where no credentials are configured.
    Peer(IpAddr),
}

/// The rules of every bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The most that one look-up is granted.
    pub(crate) wait: Duration,
    /// What a full bucket holds.
    pub(crate) capacity: Duration,
    /// How long an empty bucket takes to fill.
    pub(crate) window: Duration,
}

/// The buckets of all users. A user who isn't here has a full one.
pub(crate) struct Budgets {
    rules: Rules,
    buckets: HashMap<Caller, Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    level: Duration,
    at: Timestamp,
    waiting: usize,
}

impl Rules {
    fn least(&self) -> Duration {
        LEAST_WAIT.min(self.wait).min(self.capacity)
    }

    fn refill(&self, elapsed: Duration) -> Duration {
        if elapsed >= self.window {
            return self.capacity;
        }
        let nanos = self.capacity.as_nanos() * elapsed.as_nanos() / self.window.as_nanos();
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Bucket {
    /// The bucket at `now`. A clock that was set back changes nothing, and starts anew from there.
    fn at(self, now: Timestamp, rules: &Rules) -> Self {
        let elapsed = now.since(self.at);
        let filled = (self.level + rules.refill(elapsed)).min(rules.capacity);
        let level = if self.waiting == 0 { filled } else { self.level.saturating_sub(elapsed) };
        Self { level, at: now, ..self }
    }
}

impl Budgets {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, buckets: HashMap::new() }
    }

    /// Whether a look-up by `caller` would be granted any waiting.
    pub(crate) fn has_left(&self, caller: &Caller, now: Timestamp) -> bool {
        let left = match self.buckets.get(caller) {
            Some(bucket) => bucket.at(now, &self.rules).level,
            None if self.buckets.len() >= MAX_CALLERS => Duration::ZERO,
            None => self.rules.capacity,
        };
        !left.is_zero() && left >= self.rules.least()
    }

    /// A look-up by `caller` begins to wait: for how long at most, or none where the budget is spent. Each begin is
    /// followed by an [`Budgets::end`].
    pub(crate) fn begin(&mut self, caller: &Caller, now: Timestamp) -> Option<Duration> {
        if let Some(bucket) = self.buckets.get_mut(caller) {
            *bucket = bucket.at(now, &self.rules);
        } else {
            self.forget_full(now);
        }
        if !self.has_left(caller, now) {
            return None;
        }
        let full = Bucket { level: self.rules.capacity, at: now, waiting: 0 };
        let bucket = self.buckets.entry(caller.clone()).or_insert(full);
        bucket.waiting += 1;
        Some(self.rules.wait.min(bucket.level))
    }

    /// A look-up no longer waits.
    pub(crate) fn end(&mut self, caller: &Caller, now: Timestamp) {
        if let Some(bucket) = self.buckets.get_mut(caller) {
            *bucket = bucket.at(now, &self.rules);
            bucket.waiting = bucket.waiting.saturating_sub(1);
        }
    }

    fn forget_full(&mut self, now: Timestamp) {
        if self.buckets.len() >= MAX_CALLERS {
            let rules = self.rules;
            self.buckets.retain(|_, bucket| bucket.waiting > 0 || bucket.at(now, &rules).level < rules.capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        wait: Duration::from_millis(500),
        capacity: Duration::from_millis(800),
        window: Duration::from_secs(10),
    };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_millis(millis)
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn cluster(name: &str) -> Caller {
        Caller::Cluster(name.into())
    }

    /// Looks up again and again, in vain, from `now` on until nothing is granted; says when that was.
    fn spend(budgets: &mut Budgets, caller: &Caller, mut now: Timestamp) -> Timestamp {
        while let Some(granted) = budgets.begin(caller, now) {
            now = now + granted;
            budgets.end(caller, now);
        }
        now
    }

    #[test]
    fn a_single_look_up_is_granted_the_whole_wait_and_a_burst_is_not() {
        let mut budgets = Budgets::new(RULES);
        let caller = cluster("east");
        assert_eq!(budgets.begin(&caller, at(0)), Some(millis(500)));
        budgets.end(&caller, at(500));
        assert_eq!(budgets.begin(&caller, at(500)), Some(millis(300)));
        budgets.end(&caller, at(800));
        assert_eq!(budgets.begin(&caller, at(800)), None);
        assert!(!budgets.has_left(&caller, at(800)));
    }

    #[test]
    fn look_ups_at_the_same_moment_cost_it_once() {
        let mut budgets = Budgets::new(RULES);
        let caller = cluster("east");
        for _ in 0..3 {
            assert_eq!(budgets.begin(&caller, at(0)), Some(millis(500)));
        }
        assert_eq!(budgets.begin(&caller, at(400)), Some(millis(400)));
        for _ in 0..4 {
            budgets.end(&caller, at(500));
        }
        assert_eq!(budgets.begin(&caller, at(500)), Some(millis(300)));
    }

    #[test]
    fn a_spent_budget_fills_with_time() {
        let mut budgets = Budgets::new(RULES);
        let caller = cluster("east");
        let spent = spend(&mut budgets, &caller, at(0));
        assert_eq!(spent, at(800));
        assert!(!budgets.has_left(&caller, at(800 + 624)), "80 ms a second, and 50 ms is the least");
        assert_eq!(budgets.begin(&caller, at(800 + 625)), Some(millis(50)));
        budgets.end(&caller, at(800 + 625));
        assert_eq!(budgets.begin(&caller, at(20_000)), Some(millis(500)));
    }

    #[test]
    fn users_do_not_share_a_budget() {
        let mut budgets = Budgets::new(RULES);
        let spent = spend(&mut budgets, &cluster("east"), at(0));
        assert_eq!(budgets.begin(&cluster("west"), spent), Some(millis(500)));
        let peer = Caller::Peer(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(budgets.begin(&peer, spent), Some(millis(500)));
    }

    #[test]
    fn prompt_answers_spend_next_to_nothing() {
        let mut budgets = Budgets::new(RULES);
        let caller = cluster("east");
        for lookup in 0..100 {
            assert_eq!(budgets.begin(&caller, at(lookup * 100)), Some(millis(500)));
            budgets.end(&caller, at(lookup * 100 + 5));
        }
    }

    #[test]
    fn a_clock_set_back_neither_refills_nor_blocks() {
        let mut budgets = Budgets::new(RULES);
        let caller = cluster("east");
        spend(&mut budgets, &caller, at(3_600_000));
        assert_eq!(budgets.begin(&caller, at(0)), None);
        assert_eq!(budgets.begin(&caller, at(10_000)), Some(millis(500)));
    }

    #[test]
    fn peers_are_bounded_in_number_and_full_buckets_make_room() {
        let mut budgets = Budgets::new(RULES);
        let peer = |n: usize| Caller::Peer(IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8]));
        for n in 0..MAX_CALLERS {
            assert!(budgets.begin(&peer(n), at(0)).is_some());
            budgets.end(&peer(n), at(1));
        }
        assert_eq!(budgets.begin(&peer(MAX_CALLERS), at(1)), None);
        assert!(budgets.begin(&peer(MAX_CALLERS), at(10_000)).is_some());
        assert_eq!(budgets.buckets.len(), 1);
    }

    #[test]
    fn without_a_budget_nothing_waits() {
        let mut budgets = Budgets::new(Rules { capacity: Duration::ZERO, ..RULES });
        assert_eq!(budgets.begin(&cluster("east"), at(0)), None);
    }

    proptest! {
        /// Look-ups of several policy servers begin at any time and end within what they were granted.
        #[test]
        fn no_second_has_more_than_880_ms_of_waiting(
            lookups in prop::collection::vec((0u64..1_500, 0u64..=500), 1..120),
        ) {
            let mut budgets = Budgets::new(RULES);
            let caller = cluster("east");
            let (mut now, mut ends, mut waits) = (0, Vec::<u64>::new(), Vec::new());
            for (gap, used) in lookups {
                let begin = now + gap;
                ends.sort_unstable();
                for end in ends.extract_if(.., |end| *end <= begin) {
                    budgets.end(&caller, at(end));
                }
                now = begin;
                if let Some(granted) = budgets.begin(&caller, at(begin)) {
                    let granted = u64::try_from(granted.as_millis()).unwrap();
                    let end = begin + granted.min(used);
                    ends.push(end);
                    waits.push(usize::try_from(begin).unwrap()..usize::try_from(end).unwrap());
                }
            }
            let mut waited = vec![false; usize::try_from(now).unwrap() + 500];
            for wait in waits {
                waited[wait].fill(true);
            }
            let mut within = 0;
            for moment in 0..waited.len() {
                within += usize::from(waited[moment]);
                within -= usize::from(moment >= 1_000 && waited[moment - 1_000]);
                prop_assert!(within <= 880, "{within} ms in the second before {moment}");
            }
        }
    }
}
