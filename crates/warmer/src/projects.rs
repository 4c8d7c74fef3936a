//! The projects that the configuration allows, each with its terms and its health.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use harbor_warmer_protocol::{HarborImage, HarborName, ProjectName};

use crate::clock::Timestamp;
use crate::config::{Config, HarborKind, Transfer};
use crate::project::{Bearing, Cause, Health, Pause, Project};
use crate::timers::Timers;

/// Every allowed project. One is shared by all who ask or tell about them.
pub struct Projects {
    projects: BTreeMap<(HarborName, ProjectName), (Project, Mutex<Health>)>,
}

impl Projects {
    /// The projects of the configuration, all of them open.
    pub fn new(config: &Config) -> Self {
        let mut projects = BTreeMap::new();
        for (harbor_name, harbor) in &config.harbors {
            let targets: Vec<_> = config
                .targets
                .iter()
                .filter(|(_, target)| target.harbor == *harbor_name)
                .map(|(name, _)| name.clone())
                .collect();
            for (project_name, project) in &harbor.projects {
                let terms = Project {
                    kind: harbor.kind,
                    transfer: project.transfer,
                    complete_index: project.complete_index,
                    resolves_through: project.resolve_through.is_some(),
                    timers: Timers::scaled_by(harbor.time_scale),
                    give_up_after: config.queue.give_up_after,
                    targets: targets.clone(),
                    keep_warm_every: project.keep_warm_every,
                    pause: None,
                    strained: false,
                };
                let health = Health::new(terms.timers);
                projects.insert((harbor_name.clone(), project_name.clone()), (terms, Mutex::new(health)));
            }
        }
        Self { projects }
    }

    /// The project of `place`, with its pause if it has one. An image in the queue may outlive its project's
    /// configuration; it is then paused until somebody writes the project down again.
    pub fn get(&self, place: &HarborImage, now: Timestamp) -> Project {
        let key = (place.harbor.clone(), place.project.clone());
        match self.projects.get(&key) {
            Some((terms, health)) => {
                let health = health.lock().unwrap_or_else(PoisonError::into_inner);
                let strained = health.causes().any(|(cause, _)| cause == Cause::Limited);
                Project { pause: health.pause().cloned(), strained, ..terms.clone() }
            }
            None => Project {
                kind: HarborKind::Harbor,
                transfer: Transfer::Touch,
                complete_index: false,
                resolves_through: false,
                timers: Timers::REAL,
                give_up_after: Duration::MAX,
                targets: Vec::new(),
                keep_warm_every: None,
                strained: false,
                pause: Some(Pause {
                    reason: format!("{}/{} is not in the configuration any more", place.harbor, place.project),
                    probe_at: now + Duration::from_secs(300),
                }),
            },
        }
    }

    /// Takes in what an answer means for the project of `place`.
    pub fn observe(&self, place: &HarborImage, bearing: Bearing, reason: &str, now: Timestamp) {
        let key = (place.harbor.clone(), place.project.clone());
        if let Some((_, health)) = self.projects.get(&key) {
            let mut health = health.lock().unwrap_or_else(PoisonError::into_inner);
            health.observe(bearing, place.repository.as_str(), reason, now);
        }
    }

    /// Every project, with the causes that pause it.
    pub fn causes(&self) -> Vec<(HarborName, ProjectName, Vec<Cause>)> {
        self.projects
            .iter()
            .map(|((harbor, project), (_, health))| {
                let health = health.lock().unwrap_or_else(PoisonError::into_inner);
                (harbor.clone(), project.clone(), health.causes().map(|(cause, _)| cause).collect())
            })
            .collect()
    }
}
