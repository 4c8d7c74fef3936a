//! A project: its terms, and whether Harbor lets work on it go on at present.
//!
//! What is wrong with a project is wrong for all of its images, is mended by a person, and heals. So it uses up no
//! attempt of any image: the project is paused and probed. [`Health`] is pure; it lives in memory only, since after a
//! restart the first request tells the same again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harbor_warmer_protocol::TargetName;

use crate::problem::{Failure, Problem};
use crate::timers::Timers;
use crate::timestamp::Timestamp;

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
    /// Whether an index that is named by its digest alone is left to the first pull: reading it would block its tags.
    pub skips_untagged: bool,
    /// Harbor's waiting times.
    pub timers: Timers,
    /// How long an image may fail before it is a dead letter.
    pub give_up_after: Duration,
    /// A tag that was replicated is replicated again when it is asked for so long after: a target may have lost it.
    pub replicate_again_after: Duration,
    /// The targets that its Harbor replicates to.
    pub targets: Vec<TargetName>,
    /// How long after it was last pulled an image is pulled again, so that Harbor's retention keeps it; none for a
    /// project whose images are left to it.
    pub keep_warm_every: Option<Duration>,
    /// Whether work may go on.
    pub pause: Option<Pause>,
    /// Harbor or its upstream limits requests: what nobody waits for is left for later.
    pub strained: bool,
    /// Harbor's storage refused what it was given, and this image finds out whether it still does: with one blob, for
    /// each is a whole transfer that may be thrown away.
    pub probes_storage: bool,
}

/// What speaks at a Harbor's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HarborKind {
    /// Harbor: artifacts and tags can be verified by its API.
    Harbor,
    /// A CNCF Distribution registry as pull-through cache: there is no project and no record of tags.
    Distribution,
}

/// How blobs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Read until the transfer has begun, then close: Harbor goes on copying by itself.
    Touch,
    /// Read everything and check the digest: for caches that stop when their client does.
    Drain,
}

/// Work on a project stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why, in a sentence that says who mends it.
    pub reason: String,
    /// Of what kind that is.
    pub problem: Problem,
    /// When the next request may find out whether it is mended.
    pub probe_at: Timestamp,
}

/// How one answer bears on the whole project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A request that needs Harbor, its credentials and its upstream was served.
    Served,
    /// A blob arrived in Harbor's storage.
    Stored,
    /// Nothing of this project can be served until somebody mends it.
    Refused(Failure),
    /// Harbor or its upstream does not answer. One image may be at fault, many are not.
    Silent(Failure),
    /// Harbor or its upstream asks for fewer requests.
    Limited(Failure),
    /// Harbor takes blobs and does not keep them: a quota is used up, or Harbor is read-only.
    StorageRefused(Failure),
}

/// Why a project is paused. Each cause has its own probes, and its own cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Credentials, rights, the project itself.
    Refused,
    /// Harbor or its upstream is down.
    Silent,
    /// Rate limits.
    Limited,
    /// Quota, read-only mode.
    StorageRefused,
}

/// Whether work on a project may go on, as its answers show.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    /// A simulated Harbor's clock runs faster, and so do the probes of it.
    timers: Timers,
    pauses: BTreeMap<Cause, Probed>,
    /// Repositories whose requests met silence since anything was last served.
    silent: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Probed {
    pause: Pause,
    /// Probes in a row that found the cause still there.
    probes: u32,
}

/// So many different repositories meet silence before the project counts as down. One alone may be at fault itself:
/// Docker Hub answers 401 for a repository that does not exist, and Harbor can't tell that from an upstream failure.
const SILENT_REPOSITORIES: usize = 3;

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Silent, Self::Limited, Self::StorageRefused];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Limited => "rate_limited",
            Self::StorageRefused => "storage_refused",
        }
    }

    /// The wait before the first probe, and the longest between two.
    fn probe_waits(self) -> (Duration, Duration) {
        const MINUTE: u64 = 60;
        match self {
            Self::Refused | Self::Silent => (Duration::from_secs(5), Duration::from_secs(5 * MINUTE)),
            // Docker Hub counts pulls over hours; a Harbor with a limit of connections has room again in a moment.
            Self::Limited => (Duration::from_secs(2), Duration::from_secs(30 * MINUTE)),
            // A probe is a whole transfer that is thrown away, if nobody has made room.
            Self::StorageRefused => (Duration::from_secs(MINUTE), Duration::from_secs(30 * MINUTE)),
        }
    }
}

impl Health {
    /// A project that nothing is wrong with, as far as is known.
    pub(crate) fn new(timers: Timers) -> Self {
        Self { timers, pauses: BTreeMap::new(), silent: BTreeSet::new() }
    }

    /// Why the project is paused, if it is. Past [`Pause::probe_at`] requests may find out. Of several causes, the one
    /// that is looked at last.
    pub(crate) fn pause(&self) -> Option<&Pause> {
        self.pauses.values().map(|probed| &probed.pause).max_by_key(|pause| pause.probe_at)
    }

    /// Every cause with its pause.
    pub(crate) fn causes(&self) -> impl Iterator<Item = (Cause, &Pause)> {
        self.pauses.iter().map(|(cause, probed)| (*cause, &probed.pause))
    }

    /// Takes in what an answer for `repository` means for the project.
    pub(crate) fn observe(&mut self, effect: Effect, repository: &str, now: Timestamp) {
        match effect {
            Effect::Served => {
                self.pauses.retain(|cause, _| *cause == Cause::StorageRefused);
                self.silent.clear();
            }
            Effect::Stored => {
                self.pauses.remove(&Cause::StorageRefused);
            }
            Effect::Refused(failure) => self.paused(Cause::Refused, failure, now),
            Effect::Limited(failure) => self.paused(Cause::Limited, failure, now),
            Effect::StorageRefused(failure) => self.paused(Cause::StorageRefused, failure, now),
            Effect::Silent(failure) => {
                self.silent.insert(repository.to_owned());
                if self.silent.len() >= SILENT_REPOSITORIES || self.pauses.contains_key(&Cause::Silent) {
                    self.paused(Cause::Silent, failure, now);
                }
                while self.silent.len() > SILENT_REPOSITORIES {
                    self.silent.pop_first();
                }
            }
        }
    }

    fn paused(&mut self, cause: Cause, failure: Failure, now: Timestamp) {
        let told = failure.retry_after.map(|wait| now + wait);
        let probes = match self.pauses.get_mut(&cause) {
            // Answers to requests that were under way when the pause began are no probes of it.
            Some(probed) if now < probed.pause.probe_at => {
                probed.pause.probe_at = told.map_or(probed.pause.probe_at, |told| told.max(probed.pause.probe_at));
                return;
            }
            Some(probed) => probed.probes.saturating_add(1),
            None => 0,
        };
        let (first, longest) = cause.probe_waits();
        let wait = self.timers.of(first.saturating_mul(1 << probes.min(12)).min(longest));
        let probe_at = told.map_or(now + wait, |told| told.max(now + wait));
        let pause = Pause { reason: failure.error, problem: failure.problem, probe_at };
        self.pauses.insert(cause, Probed { pause, probes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn because(reason: &str) -> Failure {
        Failure::new(Problem::Unknown, reason)
    }

    #[test]
    fn a_refusal_pauses_the_project_and_an_answer_opens_it_again() {
        let mut health = Health::new(Timers::REAL);
        health.observe(Effect::Refused(because("the robot is expired")), "a", START);
        assert_eq!(health.pause().unwrap().probe_at, START + seconds(5));
        health.observe(Effect::Served, "a", START + seconds(6));
        assert_eq!(health.pause(), None);
    }

    #[test]
    fn requests_under_way_when_the_pause_began_do_not_lengthen_it() {
        let mut health = Health::new(Timers::REAL);
        for _ in 0..10 {
            health.observe(Effect::Refused(because("the robot is expired")), "a", START);
        }
        assert_eq!(health.pause().unwrap().probe_at, START + seconds(5));
    }

    #[test]
    fn probes_that_fail_come_less_and_less_often_but_never_later_than_five_minutes() {
        let mut health = Health::new(Timers::REAL);
        let mut now = START;
        let mut waits = Vec::new();
        for _ in 0..9 {
            health.observe(Effect::Refused(because("the robot is expired")), "a", now);
            let probe_at = health.pause().unwrap().probe_at;
            waits.push(probe_at.since(now).as_secs());
            now = probe_at;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_pause_is_as_long_as_harbor_asks_for_also_when_it_says_so_later() {
        let mut health = Health::new(Timers::REAL);
        health.observe(Effect::Limited(because("429").not_within(seconds(90))), "a", START);
        assert_eq!(health.pause().unwrap().probe_at, START + seconds(90));
        health.observe(Effect::Limited(because("429").not_within(seconds(120))), "a", START);
        health.observe(Effect::Limited(because("429")), "a", START);
        assert_eq!(health.pause().unwrap().probe_at, START + seconds(120));
        // A word that asks for less than the pause has grown to does not shorten it.
        health.observe(Effect::Limited(because("429").not_within(seconds(1))), "a", START + seconds(120));
        assert_eq!(health.pause().unwrap().probe_at, START + seconds(124));
    }

    #[test]
    fn one_silent_repository_does_not_stop_the_others_and_three_do() {
        let mut health = Health::new(Timers::REAL);
        for _ in 0..20 {
            health.observe(Effect::Silent(because("the upstream does not answer")), "missing/on-docker-hub", START);
        }
        assert_eq!(health.pause(), None);
        health.observe(Effect::Silent(because("the upstream does not answer")), "b", START);
        health.observe(Effect::Silent(because("the upstream does not answer")), "c", START);
        assert!(health.pause().is_some());
    }

    #[test]
    fn a_full_storage_stays_a_pause_until_a_blob_is_stored_whatever_else_is_served() {
        let mut health = Health::new(Timers::REAL);
        health.observe(Effect::StorageRefused(because("the quota is used up")), "a", START);
        health.observe(Effect::Served, "a", START);
        assert!(health.pause().is_some());
        health.observe(Effect::Stored, "a", START);
        assert_eq!(health.pause(), None);
    }

    #[test]
    fn pauses_for_rate_limits_grow_to_half_an_hour() {
        let mut health = Health::new(Timers::REAL);
        let mut now = START;
        for _ in 0..20 {
            health.observe(Effect::Limited(because("429")), "a", now);
            now = health.pause().unwrap().probe_at;
        }
        health.observe(Effect::Limited(because("429")), "a", now);
        assert_eq!(health.pause().unwrap().probe_at.since(now), seconds(1800));
    }
}
