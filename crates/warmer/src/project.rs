//! A project: its terms, and whether Harbor lets work on it go on at present.
//!
//! What is wrong with a project is wrong for all of its images, is mended by a person, and heals. So it uses up no
//! attempt of any image: the project is paused and probed. [`Health`] is pure; it lives in memory only, since after a
//! restart the first request tells the same again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{HarborKind, Transfer};
use crate::timers::Timers;

/// What an image needs to know of its project to plan.
#[derive(Clone, Debug)]
pub struct Project {
    /// What speaks there.
    pub kind: HarborKind,
    /// How blobs are asked for.
    pub transfer: Transfer,
    /// Whether the rest of an index is warmed too.
    pub complete_index: bool,
    /// Whether indexes are read through a second project of the same endpoint.
    pub resolves_through: bool,
    /// Harbor's waiting times.
    pub timers: Timers,
    /// How long an image may fail before it is a dead letter.
    pub give_up_after: Duration,
    /// Whether work may go on.
    pub pause: Option<Pause>,
}

/// Work on a project stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why, in a sentence that says who mends it.
    pub reason: String,
    /// When the next request may find out whether it is mended.
    pub probe_at: Timestamp,
}

/// How one answer bears on the whole project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// A request was served.
    Served,
    /// Nothing of this project can be served until somebody mends it.
    Refused,
    /// Harbor or its upstream does not answer. One image may be at fault, many are not.
    Silent,
}

/// Whether work on a project may go on, as its answers show.
#[derive(Clone, Debug, Default)]
pub struct Health {
    pause: Option<Pause>,
    /// Probes in a row that found it still paused.
    probes: u32,
    /// Repositories whose requests met silence since anything was last served.
    silent: BTreeSet<String>,
}

/// So many different repositories meet silence before the project counts as down. One alone may be at fault itself:
/// Docker Hub answers 401 for a repository that does not exist, and Harbor can't tell that from an upstream failure.
const SILENT_REPOSITORIES: usize = 3;

const FIRST_PROBE: Duration = Duration::from_secs(5);
const LONGEST_BETWEEN_PROBES: Duration = Duration::from_secs(300);

impl Health {
    /// Why the project is paused, if it is. Past [`Pause::probe_at`] requests may find out.
    pub fn pause(&self) -> Option<&Pause> {
        self.pause.as_ref()
    }

    /// Takes in what an answer for `repository` means for the project. `reason` is the answer in a sentence.
    pub fn observe(&mut self, bearing: Bearing, repository: &str, reason: &str, now: Timestamp) {
        match bearing {
            Bearing::Served => *self = Self::default(),
            Bearing::Refused => self.paused(reason, now),
            Bearing::Silent => {
                self.silent.insert(repository.to_owned());
                if self.silent.len() >= SILENT_REPOSITORIES || self.pause.is_some() {
                    self.paused(reason, now);
                }
                while self.silent.len() > SILENT_REPOSITORIES {
                    self.silent.pop_first();
                }
            }
        }
    }

    fn paused(&mut self, reason: &str, now: Timestamp) {
        // Answers to requests that were under way when the pause began are no probes of it.
        if self.pause.as_ref().is_some_and(|pause| now < pause.probe_at) {
            return;
        }
        let wait = FIRST_PROBE.saturating_mul(1 << self.probes.min(8)).min(LONGEST_BETWEEN_PROBES);
        self.probes = self.probes.saturating_add(1);
        self.pause = Some(Pause { reason: reason.to_owned(), probe_at: now + wait });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_refusal_pauses_the_project_and_an_answer_opens_it_again() {
        let mut health = Health::default();
        health.observe(Bearing::Refused, "a", "the robot is expired", START);
        assert_eq!(health.pause().unwrap().probe_at, START + seconds(5));
        health.observe(Bearing::Served, "a", "", START + seconds(6));
        assert_eq!(health.pause(), None);
    }

    #[test]
    fn requests_under_way_when_the_pause_began_do_not_lengthen_it() {
        let mut health = Health::default();
        for _ in 0..10 {
            health.observe(Bearing::Refused, "a", "the robot is expired", START);
        }
        assert_eq!(health.pause().unwrap().probe_at, START + seconds(5));
    }

    #[test]
    fn probes_that_fail_come_less_and_less_often_but_never_later_than_five_minutes() {
        let mut health = Health::default();
        let mut now = START;
        let mut waits = Vec::new();
        for _ in 0..9 {
            health.observe(Bearing::Refused, "a", "the robot is expired", now);
            let probe_at = health.pause().unwrap().probe_at;
            waits.push(probe_at.since(now).as_secs());
            now = probe_at;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn one_silent_repository_does_not_stop_the_others_and_three_do() {
        let mut health = Health::default();
        for _ in 0..20 {
            health.observe(Bearing::Silent, "missing/on-docker-hub", "the upstream does not answer", START);
        }
        assert_eq!(health.pause(), None);
        health.observe(Bearing::Silent, "b", "the upstream does not answer", START);
        health.observe(Bearing::Silent, "c", "the upstream does not answer", START);
        assert!(health.pause().is_some());
    }
}
