use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use harbor_warmer_protocol::{HarborImage, HarborName, ProjectName};

use super::{Client, ClientError};
use crate::config::{self, Config};
use crate::metrics::Metrics;

/// The Harbors of the configuration. Nothing else is ever talked to: a workload's text names one of them, and one of
/// its projects, or is refused.
#[derive(Debug)]
pub struct Harbors {
    entries: BTreeMap<HarborName, Entry>,
}

#[derive(Debug)]
struct Entry {
    client: Client,
    projects: BTreeMap<ProjectName, config::Project>,
}

/// An image's Harbor or project is not in the configuration; a sentence that names those that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// No Harbor has that name.
    UnknownHarbor {
        /// What was asked for.
        harbor: HarborName,
        /// Those there are.
        configured: Vec<HarborName>,
    },
    /// The project is not to be warmed.
    ProjectNotAllowed {
        /// The Harbor.
        harbor: HarborName,
        /// What was asked for.
        project: ProjectName,
        /// Those there are.
        configured: Vec<ProjectName>,
    },
}

impl Harbors {
    /// A client for each Harbor of the configuration.
    ///
    /// # Errors
    /// The name of the first Harbor that there can be no client for, and why.
    pub fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, (HarborName, ClientError)> {
        Self::of(&config.harbors, metrics)
    }

    pub(super) fn of(
        harbors: &BTreeMap<HarborName, config::Harbor>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, (HarborName, ClientError)> {
        let entries = harbors.iter().map(|(name, harbor)| {
            let client =
                Client::new(name.clone(), harbor, Arc::clone(metrics)).map_err(|error| (name.clone(), error))?;
            Ok((name.clone(), Entry { client, projects: harbor.projects.clone() }))
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// The client for an image.
    ///
    /// # Errors
    /// The Harbor or the project is not in the configuration.
    pub fn get(&self, image: &HarborImage) -> Result<&Client, NotAllowed> {
        self.entry(image).map(|(client, _)| client)
    }

    /// The client for an image, and how its project is warmed.
    ///
    /// # Errors
    /// The Harbor or the project is not in the configuration.
    pub fn entry(&self, image: &HarborImage) -> Result<(&Client, &config::Project), NotAllowed> {
        let Some(entry) = self.entries.get(&image.harbor) else {
            let configured = self.entries.keys().cloned().collect();
            return Err(NotAllowed::UnknownHarbor { harbor: image.harbor.clone(), configured });
        };
        let Some(project) = entry.projects.get(&image.project) else {
            let configured = entry.projects.keys().cloned().collect();
            let (harbor, project) = (image.harbor.clone(), image.project.clone());
            return Err(NotAllowed::ProjectNotAllowed { harbor, project, configured });
        };
        Ok((&entry.client, project))
    }

    /// The client of a Harbor by its name.
    pub fn client(&self, harbor: &HarborName) -> Option<&Client> {
        self.entries.get(harbor).map(|entry| &entry.client)
    }

    /// All clients, by name.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.entries.values().map(|entry| &entry.client)
    }
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHarbor { harbor, configured } => {
                write!(f, "no Harbor `{harbor}` is configured; there is {}", Names(configured))
            }
            Self::ProjectNotAllowed { harbor, project, configured } => {
                write!(f, "project `{project}` of `{harbor}` is not configured; there is {}", Names(configured))
            }
        }
    }
}

impl std::error::Error for NotAllowed {}

/// A few names of a list, so that the sentence stays one.
struct Names<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Names<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (position, name) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}`{name}`")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
