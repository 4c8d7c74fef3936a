//! The Harbors of the configuration, each with its client and the number of its places.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use harbor_warmer_protocol::{HarborImage, HarborName, ProjectName};

use crate::config::{self, Config};
use crate::metrics::Metrics;
use crate::places::Places;
use harbor_warmer_core::timers::Timers;
use harbor_warmer_harbor::{Client, ClientError, Counters};
use tokio::sync::Semaphore;

/// Small requests that all images of one Harbor may have under way at once: an answer takes some milliseconds, so more
/// would only be connections.
const MOST_REQUESTS: usize = 32;

/// The Harbors of the configuration. Nothing else is ever talked to: a workload's text names one of them, and one of
/// its projects, or is refused.
#[derive(Debug)]
pub struct Harbors {
    harbors: BTreeMap<HarborName, Harbor>,
}

/// One Harbor: what speaks to it, and how much it may be asked for at once.
pub(crate) struct Harbor {
    /// What speaks to it.
    pub(crate) client: Client,
    /// Whoever asks for the content of a blob takes a place for it.
    pub(crate) places: Places,
    /// Slots for all other requests of images.
    pub(crate) requests: Semaphore,
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
        let entries = config.harbors.iter().map(|(name, harbor)| {
            let counters: Arc<dyn Counters> = Arc::clone(metrics) as Arc<dyn Counters>;
            let client = Client::new(name.clone(), &harbor.options, counters).map_err(|error| (name.clone(), error))?;
            let (metrics, told) = (Arc::clone(metrics), name.clone());
            let told = Box::new(move |places| metrics.concurrency(&told, places));
            let places = Places::new(harbor.concurrency, Timers::scaled_by(harbor.time_scale), told);
            let (requests, projects) = (Semaphore::new(MOST_REQUESTS), harbor.projects.clone());
            Ok((name.clone(), Harbor { client, places, requests, projects }))
        });
        Ok(Self { harbors: entries.collect::<Result<_, _>>()? })
    }

    /// The Harbor of an image.
    ///
    /// # Errors
    /// The Harbor or the project is not in the configuration.
    pub(crate) fn get(&self, image: &HarborImage) -> Result<&Harbor, NotAllowed> {
        self.entry(image).map(|(harbor, _)| harbor)
    }

    /// The Harbor of an image, and how its project is warmed.
    ///
    /// # Errors
    /// The Harbor or the project is not in the configuration.
    pub(crate) fn entry(&self, image: &HarborImage) -> Result<(&Harbor, &config::Project), NotAllowed> {
        let Some(harbor) = self.harbors.get(&image.harbor) else {
            let configured = self.harbors.keys().cloned().collect();
            return Err(NotAllowed::UnknownHarbor { harbor: image.harbor.clone(), configured });
        };
        let Some(project) = harbor.projects.get(&image.project) else {
            let configured = harbor.projects.keys().cloned().collect();
            let (harbor, project) = (image.harbor.clone(), image.project.clone());
            return Err(NotAllowed::ProjectNotAllowed { harbor, project, configured });
        };
        Ok((harbor, project))
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HarborName> {
        self.harbors.keys()
    }

    /// The places of a Harbor by its name.
    pub(crate) fn places(&self, harbor: &HarborName) -> Option<&Places> {
        self.harbors.get(harbor).map(|harbor| &harbor.places)
    }

    /// The client of a Harbor by its name.
    pub fn client(&self, harbor: &HarborName) -> Option<&Client> {
        self.harbors.get(harbor).map(|harbor| &harbor.client)
    }
}

impl fmt::Debug for Harbor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harbor").field("client", &self.client).finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_harbors_and_projects_are_talked_to_and_the_others_are_told_which_there_are() {
        let yaml =
            "harbors: {main: {url: 'https://harbor.example.com', credentials: anonymous, projects: {proxy: {}}}}";
        let config = config::document::parse(yaml, std::path::Path::new("")).unwrap();
        harbor_warmer_harbor::install_crypto_provider();
        let harbors = Harbors::new(&config, &Arc::new(Metrics::new())).unwrap();
        let image = |harbor: &str, project: &str| HarborImage {
            harbor: harbor.parse().unwrap(),
            project: project.parse().unwrap(),
            repository: "app".parse().unwrap(),
        };
        assert_eq!(harbors.get(&image("main", "proxy")).unwrap().client.name().as_str(), "main");
        assert_eq!(
            harbors.get(&image("other", "proxy")).unwrap_err().to_string(),
            "no Harbor `other` is configured; there is `main`"
        );
        assert_eq!(
            harbors.get(&image("main", "secret")).unwrap_err().to_string(),
            "project `secret` of `main` is not configured; there is `proxy`"
        );
    }
}
