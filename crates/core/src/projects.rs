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
    /// As its retention rules want it, where they have been read.
    keep_warm_every: Option<Duration>,
}

impl Projects {
    /// The projects that are allowed, each with its terms; all of them open.
    pub fn new(projects: impl IntoIterator<Item = (HarborName, ProjectName, Project)>) -> Self {
        let entries = projects.into_iter().map(|(harbor, project, terms)| {
            let learned = Learned { health: Health::new(terms.timers), keep_warm_every: None };
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
                let Learned { health, keep_warm_every } = &*learned.lock().unwrap_or_else(PoisonError::into_inner);
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
                pause: Some(Pause {
                    reason: format!("{}/{} is not in the configuration any more", place.harbor, place.project),
                    problem: Problem::NotConfigured,
                    probe_at: now + Duration::from_secs(300),
                }),
            },
        }
    }

    /// Takes in what an answer means for the project of `place`.
    pub fn observe(&self, place: &HarborImage, effect: Effect, now: Timestamp) {
        let key = (place.harbor.clone(), place.project.clone());
        if let Some(Entry { learned, .. }) = self.projects.get(&key) {
            let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
            learned.health.observe(effect, place.repository.as_str(), now);
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
