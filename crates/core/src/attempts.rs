//! Failures of one image or announcement, and when to try again.
//!
//! Only failures count here: a poll, a wait for Harbor's timers and a paused project use nothing up.

use std::collections::VecDeque;
use std::time::Duration;

use harbor_warmer_protocol::Digest;
use serde::{Deserialize, Serialize};

use crate::problem::{Failure, Problem};
use crate::timestamp::Timestamp;

/// The failures since something last moved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempts {
    /// How many.
    pub failures: u32,
    /// The first of them.
    pub failing_since: Option<Timestamp>,
    /// Not before this moment again.
    pub retry_at: Option<Timestamp>,
    /// The last [`Attempts::KEPT`], oldest first; progress does not erase them.
    pub last: VecDeque<Attempt>,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// Which step failed.
    pub step: String,
    /// Why.
    pub error: String,
    /// Of what kind that is, where it was taken down.
    #[serde(default, alias = "hindrance", skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl Attempts {
    /// How many failures are kept to be shown.
    pub const KEPT: usize = 20;

    /// The first retry's bound. A second passes most hiccups of a registry and is short against Harbor's 20 s.
    const FIRST: Duration = Duration::from_secs(1);

    /// No retry waits longer: ten minutes is what a rate limit of Docker Hub needs to let a few requests through.
    const LONGEST: Duration = Duration::from_secs(600);

    /// Something failed; the next try is due after a time drawn from zero to a bound that doubles (full jitter).
    ///
    /// `seed` makes the draw: the same image fails the same way in a replay, and two images don't retry together.
    /// Requests that were under way together and fail together are one failure: an image of many layers would else
    /// wait for minutes after its first 429.
    pub fn failed(&mut self, step: &str, failure: Failure, seed: &Digest, now: Timestamp) {
        if self.retry_at.is_none_or(|retry_at| now >= retry_at) {
            self.failures = self.failures.saturating_add(1);
            self.retry_at = Some(now + full_jitter(self.failures, seed));
        }
        // Who says how long is taken at their word, also by what was under way when they said it.
        self.retry_at = self.retry_at.max(failure.retry_after.map(|wait| now + wait));
        self.failing_since.get_or_insert(now);
        if self.last.len() == Self::KEPT {
            self.last.pop_front();
        }
        let Failure { error, problem, retry_after: _ } = failure;
        self.last.push_back(Attempt { at: now, step: step.to_owned(), error, problem: Some(problem) });
    }

    /// It is asked for anew: the next try is due at once, whatever failed before.
    pub(crate) fn try_now(&mut self) {
        self.retry_at = None;
    }

    /// Something moved: the next failure is the first again.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
        self.failing_since = None;
        self.retry_at = None;
    }

    /// Whether it has been failing for so long that it is given up: from the first failure to the last. A failure of
    /// long ago and a wait in a line are no failing.
    pub(crate) fn exhausted(&self, give_up_after: Duration) -> bool {
        let last = self.last.back().map(|attempt| attempt.at);
        self.failing_since.zip(last).is_some_and(|(since, last)| last.since(since) >= give_up_after)
    }

    /// As of something that is asked for anew: what failed before is remembered, and counts no more.
    pub(crate) fn reopened(&self) -> Self {
        Self { last: self.last.clone(), ..Self::default() }
    }

    /// Nothing failed, and nothing is remembered of failures.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many failures count against it. Those of a Harbor in trouble make the next try wait longer, and no more.
    pub fn counted(&self) -> u32 {
        if self.failing_since.is_some() { self.failures } else { 0 }
    }

    /// What failed last, while the next try is not due.
    pub(crate) fn backing_off(&self, now: Timestamp) -> Option<(Timestamp, &Attempt)> {
        self.retry_at.filter(|at| now < *at).zip(self.last.back())
    }

    /// The last error.
    pub fn last_error(&self) -> Option<&str> {
        self.last.back().map(|attempt| attempt.error.as_str())
    }
}

/// A time between a tenth of the bound and the bound. The tenth keeps a failing image from spinning.
fn full_jitter(failures: u32, seed: &Digest) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let bound = Attempts::FIRST.saturating_mul(1 << doublings).min(Attempts::LONGEST);
    // The digest's bytes are as good as random; the number of failures picks others each time.
    let bytes = seed.as_bytes();
    let pick = |offset: usize| u64::from(bytes[(failures as usize * 7 + offset) % bytes.len()]);
    let fraction = (pick(0) << 8 | pick(1)) as f64 / f64::from(u16::MAX);
    bound.mul_f64(0.1 + 0.9 * fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(error: &str) -> Failure {
        Failure::new(Problem::ServerError, error)
    }

    proptest! {
        #[test]
        fn a_retry_is_never_immediate_and_never_later_than_ten_minutes(failures in 0u32..10_000, seed: [u8; 32]) {
            let delay = full_jitter(failures, &Digest::from_bytes(seed));
            prop_assert!(delay >= Duration::from_millis(100) && delay <= Attempts::LONGEST);
        }
    }

    #[test]
    fn only_the_last_twenty_failures_are_kept_and_progress_keeps_them() {
        let mut attempts = Attempts::default();
        for n in 0..25 {
            attempts.failed("read the index", failure(&format!("error {n}")), &Digest::ZERO, Timestamp::from_millis(n));
        }
        attempts.progressed();
        assert_eq!(attempts.last.len(), Attempts::KEPT);
        assert_eq!(attempts.last[0].error, "error 5");
        assert_eq!((attempts.failures, attempts.retry_at), (0, None));
    }

    #[test]
    fn requests_that_fail_together_are_one_failure() {
        let mut attempts = Attempts::default();
        for layer in 0..20 {
            attempts.failed(
                "ask for a blob",
                failure(&format!("429 for layer {layer}")),
                &Digest::ZERO,
                Timestamp::from_millis(layer),
            );
        }
        assert_eq!((attempts.failures, attempts.last.len()), (1, 20));
        let retry_at = attempts.retry_at.unwrap();
        assert!(retry_at <= Timestamp::from_millis(0) + Attempts::FIRST);
        attempts.failed("ask for a blob", failure("429"), &Digest::ZERO, retry_at);
        assert_eq!(attempts.failures, 2);
    }

    #[test]
    fn an_image_is_given_up_by_time_and_not_by_the_number_of_its_failures() {
        let mut attempts = Attempts::default();
        let day = Duration::from_secs(86_400);
        for n in 0..1000 {
            attempts.failed("touch a blob", failure("500"), &Digest::ZERO, Timestamp::from_millis(n));
        }
        assert!(!attempts.exhausted(day));
        attempts.failed("touch a blob", failure("500"), &Digest::ZERO, Timestamp::from_millis(0) + day);
        assert!(attempts.exhausted(day));
    }

    #[test]
    fn one_failure_and_a_long_line_after_it_are_no_reason_to_give_up() {
        let mut attempts = Attempts::default();
        let day = Duration::from_secs(86_400);
        attempts.failed("touch a blob", failure("500"), &Digest::ZERO, Timestamp::from_millis(0));
        assert!(!attempts.exhausted(day), "however late it is looked at");
    }
}
