//! Whether a project's upstream has been answering lately.
//!
//! Kept for each project, since a project is one upstream: a slow Docker Hub says nothing of a Quay behind the same
//! Harbor, and a Harbor that is down shows itself in every project within two look-ups.

use std::collections::HashMap;
use std::time::Duration;

use harbor_warmer_protocol::{HarborImage, HarborName, ProjectName};

use harbor_warmer_core::timestamp::Timestamp;

/// So many troubled answers in a row, and nobody waits any more. One alone may be a cold upstream.
const TROUBLED_AFTER: u32 = 2;

/// The time between two probes that found no improvement.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Within the wait that a look-up may have.
    Promptly,
    /// Later than that, or as an error that waiting may heal.
    Troubled,
}

/// What a look-up may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Ask, and wait for the answer.
    Wait,
    /// Ask, so that a recovery is noticed, but don't wait.
    Probe,
    /// Don't ask.
    Defer,
}

/// The breakers of all projects that were asked. Bounded by the configuration, which alone names projects.
#[derive(Default)]
pub(crate) struct CircuitBreakers(HashMap<(HarborName, ProjectName), CircuitBreaker>);

#[derive(Clone, Copy, Default)]
struct CircuitBreaker {
    troubles: u32,
    probed: Option<Timestamp>,
    probing: bool,
}

impl CircuitBreakers {
    /// What a look-up of this image may do. A [`Admission::Probe`] is to be followed by [`CircuitBreakers::observe`] or
    /// [`CircuitBreakers::give_up_probe`], and there is only one at a time; `may_probe` says whether this look-up is harmless enough to be one.
    pub(crate) fn admit(&mut self, image: &HarborImage, may_probe: bool, now: Timestamp) -> Admission {
        let Some(breaker) = self.0.get_mut(&key(image)).filter(|breaker| breaker.troubles >= TROUBLED_AFTER) else {
            return Admission::Wait;
        };
        let due = breaker.probed.is_none_or(|probed| now < probed || now.since(probed) >= PROBE_EVERY);
        if !may_probe || breaker.probing || !due {
            return Admission::Defer;
        }
        breaker.probed = Some(now);
        breaker.probing = true;
        Admission::Probe
    }

    /// A probe was not carried out after all.
    pub(crate) fn give_up_probe(&mut self, image: &HarborImage) {
        if let Some(breaker) = self.0.get_mut(&key(image)) {
            breaker.probing = false;
        }
    }

    /// An answer came, or was given up.
    pub(crate) fn observe(&mut self, image: &HarborImage, answered: Answered) {
        let breaker = self.0.entry(key(image)).or_default();
        match answered {
            Answered::Promptly => *breaker = CircuitBreaker::default(),
            Answered::Troubled => {
                breaker.troubles = breaker.troubles.saturating_add(1);
                breaker.probing = false;
            }
        }
    }
}

fn key(image: &HarborImage) -> (HarborName, ProjectName) {
    (image.harbor.clone(), image.project.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(project: &str) -> HarborImage {
        HarborImage {
            harbor: "main".parse().unwrap(),
            project: project.parse().unwrap(),
            repository: "library/nginx".parse().unwrap(),
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn troubled() -> CircuitBreakers {
        let mut breakers = CircuitBreakers::default();
        breakers.observe(&image("hub"), Answered::Troubled);
        breakers.observe(&image("hub"), Answered::Troubled);
        breakers
    }

    #[test]
    fn one_slow_answer_is_no_trouble_and_two_are() {
        let mut breakers = CircuitBreakers::default();
        assert_eq!(breakers.admit(&image("hub"), true, at(0)), Admission::Wait);
        breakers.observe(&image("hub"), Answered::Troubled);
        assert_eq!(breakers.admit(&image("hub"), true, at(0)), Admission::Wait);
        breakers.observe(&image("hub"), Answered::Troubled);
        assert_eq!(breakers.admit(&image("hub"), false, at(0)), Admission::Defer);
    }

    #[test]
    fn one_probe_at_a_time_and_one_a_second() {
        let mut breakers = troubled();
        assert_eq!(breakers.admit(&image("hub"), true, at(0)), Admission::Probe);
        assert_eq!(breakers.admit(&image("hub"), true, at(5_000)), Admission::Defer, "the first is still under way");
        breakers.observe(&image("hub"), Answered::Troubled);
        assert_eq!(breakers.admit(&image("hub"), true, at(999)), Admission::Defer);
        assert_eq!(breakers.admit(&image("hub"), true, at(1_000)), Admission::Probe);
    }

    #[test]
    fn a_probe_that_succeeds_ends_the_trouble() {
        let mut breakers = troubled();
        assert_eq!(breakers.admit(&image("hub"), true, at(0)), Admission::Probe);
        breakers.observe(&image("hub"), Answered::Promptly);
        assert_eq!(breakers.admit(&image("hub"), true, at(1)), Admission::Wait);
        breakers.observe(&image("hub"), Answered::Troubled);
        assert_eq!(breakers.admit(&image("hub"), true, at(1)), Admission::Wait, "it starts to count anew");
    }

    #[test]
    fn a_probe_that_was_not_carried_out_makes_room_for_another() {
        let mut breakers = troubled();
        assert_eq!(breakers.admit(&image("hub"), true, at(0)), Admission::Probe);
        breakers.give_up_probe(&image("hub"));
        assert_eq!(breakers.admit(&image("hub"), true, at(1_000)), Admission::Probe);
    }

    #[test]
    fn another_project_is_another_upstream() {
        let mut breakers = troubled();
        assert_eq!(breakers.admit(&image("quay"), true, at(0)), Admission::Wait);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_probes() {
        let mut breakers = troubled();
        assert_eq!(breakers.admit(&image("hub"), true, at(3_600_000)), Admission::Probe);
        breakers.observe(&image("hub"), Answered::Troubled);
        assert_eq!(breakers.admit(&image("hub"), true, at(0)), Admission::Probe);
    }
}
