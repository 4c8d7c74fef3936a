//! The projects that the configuration allows, each with its terms and its health.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use harbor_warmer_protocol::{HarborImage, HarborName, ProjectName};

use crate::problem::Problem;
use crate::project::{Cause, Effect, HarborKind, Health, Pause, Project, Transfer};
use crate::timers::Timers;
use crate::timestamp::Timestamp;

/// Every allowed project. One is shared by all who ask or tell about them.
pub struct Projects {
    projects: BTreeMap<(HarborName, ProjectName), Entry>,
}

struct Entry {
    terms: Project,
    learned: Mutex<Learned>,
}

/// What Harbor has told of a project; lives in memory alone, since it is told again.
struct Learned {
    health: Health,
    /// The unit that finds out whether what the pause is about is mended, and until when the others leave that to it.
    probe: Option<(String, Timestamp)>,
    /// As its retention rules want it, where they have been read.
    keep_warm_every: Option<Duration>,
}

/// What a unit needs of its project next, and so what it can find out for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing, or nothing now: it waits for a failure of its own.
    Nothing,
    /// An answer.
    Answer,
    /// That Harbor stores blobs; the largest has so many bytes.
    Storage(u64),
}

/// The unit that probes is not waited for longer than this, whatever it is about: it may have been given up.
const LONGEST_PROBE: Duration = Duration::from_secs(1800);

/// While it probes, the others look so often whether it is over.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

impl Projects {
    /// The projects that are allowed, each with its terms; all of them open.
    pub fn new(projects: impl IntoIterator<Item = (HarborName, ProjectName, Project)>) -> Self {
        let entries = projects.into_iter().map(|(harbor, project, terms)| {
            let learned = Learned { health: Health::new(terms.timers), probe: None, keep_warm_every: None };
            ((harbor, project), Entry { terms, learned: Mutex::new(learned) })
        });
        Self { projects: entries.collect() }
    }

    /// The project of `place`, with its pause if it has one. An image in the queue may outlive its project's
    /// configuration; it is then paused until somebody writes the project down again.
    pub fn get(&self, place: &HarborImage, now: Timestamp) -> Project {
        let key = (place.harbor.clone(), place.project.clone());
        match self.projects.get(&key) {
            Some(Entry { terms, learned }) => {
                let Learned { health, keep_warm_every, .. } = &*learned.lock().unwrap_or_else(PoisonError::into_inner);
                let strained = health.causes().any(|(cause, _)| cause == Cause::Limited);
                let keep_warm_every = keep_warm_every.or(terms.keep_warm_every);
                Project { pause: health.pause().cloned(), strained, keep_warm_every, ..terms.clone() }
            }
            None => Project {
                kind: HarborKind::Harbor,
                transfer: Transfer::Touch,
                complete_index: false,
                resolves_through: false,
                skips_untagged: false,
                timers: Timers::REAL,
                give_up_after: Duration::MAX,
                replicate_again_after: Duration::MAX,
                targets: Vec::new(),
                keep_warm_every: None,
                strained: false,
                probes_storage: false,
                pause: Some(Pause {
                    reason: format!("{}/{} is not in the configuration any more", place.harbor, place.project),
                    problem: Problem::NotConfigured,
                    probe_at: now + Duration::from_secs(300),
                }),
            },
        }
    }

    /// The project for a unit that is to be worked on. Once a pause may be probed, one unit does that, the first that
    /// comes and needs what the pause is about, and the others wait for what it finds out.
    pub fn enter(&self, place: &HarborImage, unit: &str, needs: Needs, now: Timestamp) -> Project {
        let mut project = self.get(place, now);
        let Some(pause) = project.pause.as_mut().filter(|pause| now >= pause.probe_at) else { return project };
        let key = (place.harbor.clone(), place.project.clone());
        let Some(Entry { learned, .. }) = self.projects.get(&key) else { return project };
        let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
        let of_storage = learned.health.causes().all(|(cause, _)| cause == Cause::StorageRefused);
        let timers = project.timers;
        let takes = match needs {
            Needs::Nothing => return project,
            Needs::Answer if of_storage => return project,
            // Of a storage that refuses, only a whole transfer tells.
            Needs::Storage(bytes) if of_storage => timers.ask_again() + timers.copy_patience(bytes),
            Needs::Answer | Needs::Storage(_) => timers.ask_again(),
        };
        match &learned.probe {
            Some((other, until)) if other != unit && now < *until => {
                pause.probe_at = (*until).min(now + timers.of(LOOK_AGAIN));
            }
            probe => {
                let until = probe.as_ref().map(|(_, until)| *until).filter(|until| now < *until);
                let until = until.unwrap_or(now + takes.min(timers.of(LONGEST_PROBE)));
                learned.probe = Some((unit.to_owned(), until));
                project.probes_storage = of_storage;
            }
        }
        project
    }

    /// Takes in what an answer means for the project of `place`.
    pub fn observe(&self, place: &HarborImage, effect: Effect, now: Timestamp) {
        let key = (place.harbor.clone(), place.project.clone());
        if let Some(Entry { learned, .. }) = self.projects.get(&key) {
            let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
            let before = learned.health.pause().cloned();
            learned.health.observe(effect, place.repository.as_str(), now);
            if learned.health.pause() != before.as_ref() {
                learned.probe = None;
            }
        }
    }

    /// Whether the project of `place` is paused for this.
    pub fn is_paused_for(&self, place: &HarborImage, cause: Cause) -> bool {
        let entry = self.projects.get(&(place.harbor.clone(), place.project.clone()));
        entry.is_some_and(|Entry { learned, .. }| {
            let learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
            learned.health.causes().any(|(paused_for, _)| paused_for == cause)
        })
    }

    /// Takes in how often the retention rules of a project want its images pulled; none where they don't say. Whether
    /// that is news.
    pub fn keep_warm(&self, harbor: &HarborName, project: &ProjectName, every: Option<Duration>) -> bool {
        let Some(Entry { learned, .. }) = self.projects.get(&(harbor.clone(), project.clone())) else { return false };
        let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut learned.keep_warm_every, every) != every
    }

    /// Every project, with the causes that pause it.
    pub fn causes(&self) -> Vec<(HarborName, ProjectName, Vec<Cause>)> {
        self.projects
            .iter()
            .map(|((harbor, project), Entry { learned, .. })| {
                let learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
                (harbor.clone(), project.clone(), learned.health.causes().map(|(cause, _)| cause).collect())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::a_project;
    use crate::problem::Failure;

    fn place(repository: &str) -> HarborImage {
        HarborImage {
            harbor: "main".parse().unwrap(),
            project: "hub".parse().unwrap(),
            repository: repository.parse().unwrap(),
        }
    }

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn refused() -> Effect {
        Effect::StorageRefused(Failure::new(Problem::StorageRefused, "the quota is used up"))
    }

    #[test]
    fn a_storage_that_refused_is_tried_by_one_image_and_the_others_wait_for_what_it_finds_out() {
        let projects = Projects::new([("main".parse().unwrap(), "hub".parse().unwrap(), a_project())]);
        let enter = |repository: &str, needs, now| projects.enter(&place(repository), repository, needs, now);
        let waits = |project: &Project, now| project.pause.as_ref().is_some_and(|pause| now < pause.probe_at);
        projects.observe(&place("a"), refused(), START);
        assert!(waits(&enter("a", Needs::Storage(1), START), START));

        let probe_at = START + Duration::from_secs(60);
        let first = enter("a", Needs::Storage(1), probe_at);
        assert!(first.probes_storage && !waits(&first, probe_at));
        let second = enter("b", Needs::Storage(1), probe_at);
        assert!(!second.probes_storage && waits(&second, probe_at));
        assert!(enter("a", Needs::Storage(1), probe_at).probes_storage, "it goes on");
        let complete = enter("c", Needs::Answer, probe_at);
        assert!(!complete.probes_storage && !waits(&complete, probe_at), "it needs no storage");

        assert_eq!(second.pause.unwrap().probe_at, probe_at + LOOK_AGAIN);

        // The one that probes is never heard of again.
        let until = probe_at + Duration::from_secs(120);
        assert!(enter("b", Needs::Storage(1), until).probes_storage);
        assert!(waits(&enter("a", Needs::Storage(1), until), until));

        projects.observe(&place("b"), refused(), until);
        assert!(waits(&enter("b", Needs::Storage(1), until), until), "the next pause");
        projects.observe(&place("b"), Effect::Stored, until);
        assert_eq!(enter("a", Needs::Storage(1), until).pause, None);
    }
}
