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
pub(crate) enum Manner {
    /// Within the wait that a look-up may have.
    Promptly,
    /// Later than that, or as an error that waiting may heal.
    Troubled,
}

/// What a look-up may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Ask, and wait for the answer.
    Wait,
    /// Ask, so that a recovery is noticed, but don't wait.
    Probe,
    /// Don't ask.
    Defer,
}

/// The conditions of all projects that were asked. Bounded by the configuration, which alone names projects.
#[derive(Default)]
pub(crate) struct Conditions(HashMap<(HarborName, ProjectName), Condition>);

#[derive(Clone, Copy, Default)]
struct Condition {
    troubles: u32,
    probed: Option<Timestamp>,
    probing: bool,
}

impl Conditions {
    /// What a look-up of this image may do. A [`Passage::Probe`] is to be followed by [`Conditions::observe`] or
    /// [`Conditions::give_up_probe`], and there is only one at a time; `may_probe` says whether this look-up is harmless enough to be one.
    pub(crate) fn admit(&mut self, image: &HarborImage, may_probe: bool, now: Timestamp) -> Passage {
        let Some(condition) = self.0.get_mut(&key(image)).filter(|condition| condition.troubles >= TROUBLED_AFTER)
        else {
            return Passage::Wait;
        };
        let due = condition.probed.is_none_or(|probed| now < probed || now.since(probed) >= PROBE_EVERY);
        if !may_probe || condition.probing || !due {
            return Passage::Defer;
        }
        condition.probed = Some(now);
        condition.probing = true;
        Passage::Probe
    }

    /// A probe was not carried out after all.
    pub(crate) fn give_up_probe(&mut self, image: &HarborImage) {
        if let Some(condition) = self.0.get_mut(&key(image)) {
            condition.probing = false;
        }
    }

    /// An answer came, or was given up.
    pub(crate) fn observe(&mut self, image: &HarborImage, manner: Manner) {
        let condition = self.0.entry(key(image)).or_default();
        match manner {
            Manner::Promptly => *condition = Condition::default(),
            Manner::Troubled => {
                condition.troubles = condition.troubles.saturating_add(1);
                condition.probing = false;
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

    fn troubled() -> Conditions {
        let mut conditions = Conditions::default();
        conditions.observe(&image("hub"), Manner::Troubled);
        conditions.observe(&image("hub"), Manner::Troubled);
        conditions
    }

    #[test]
    fn one_slow_answer_is_no_trouble_and_two_are() {
        let mut conditions = Conditions::default();
        assert_eq!(conditions.admit(&image("hub"), true, at(0)), Passage::Wait);
        conditions.observe(&image("hub"), Manner::Troubled);
        assert_eq!(conditions.admit(&image("hub"), true, at(0)), Passage::Wait);
        conditions.observe(&image("hub"), Manner::Troubled);
        assert_eq!(conditions.admit(&image("hub"), false, at(0)), Passage::Defer);
    }

    #[test]
    fn one_probe_at_a_time_and_one_a_second() {
        let mut conditions = troubled();
        assert_eq!(conditions.admit(&image("hub"), true, at(0)), Passage::Probe);
        assert_eq!(conditions.admit(&image("hub"), true, at(5_000)), Passage::Defer, "the first is still under way");
        conditions.observe(&image("hub"), Manner::Troubled);
        assert_eq!(conditions.admit(&image("hub"), true, at(999)), Passage::Defer);
        assert_eq!(conditions.admit(&image("hub"), true, at(1_000)), Passage::Probe);
    }

    #[test]
    fn a_probe_that_succeeds_ends_the_trouble() {
        let mut conditions = troubled();
        assert_eq!(conditions.admit(&image("hub"), true, at(0)), Passage::Probe);
        conditions.observe(&image("hub"), Manner::Promptly);
        assert_eq!(conditions.admit(&image("hub"), true, at(1)), Passage::Wait);
        conditions.observe(&image("hub"), Manner::Troubled);
        assert_eq!(conditions.admit(&image("hub"), true, at(1)), Passage::Wait, "it starts to count anew");
    }

    #[test]
    fn a_probe_that_was_not_carried_out_makes_room_for_another() {
        let mut conditions = troubled();
        assert_eq!(conditions.admit(&image("hub"), true, at(0)), Passage::Probe);
        conditions.give_up_probe(&image("hub"));
        assert_eq!(conditions.admit(&image("hub"), true, at(1_000)), Passage::Probe);
    }

    #[test]
    fn another_project_is_another_upstream() {
        let mut conditions = troubled();
        assert_eq!(conditions.admit(&image("quay"), true, at(0)), Passage::Wait);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_probes() {
        let mut conditions = troubled();
        assert_eq!(conditions.admit(&image("hub"), true, at(3_600_000)), Passage::Probe);
        conditions.observe(&image("hub"), Manner::Troubled);
        assert_eq!(conditions.admit(&image("hub"), true, at(0)), Passage::Probe);
    }
}
