//! The simulated Harbor: what it keeps, what its core process has in flight, and how it answers.

pub(crate) mod access;
pub(crate) mod api;
mod core;
pub(crate) mod error;
mod index_cache;
mod manifest_cache;
mod pattern;
mod proxy;
mod quota;
pub(crate) mod replication;
mod replication_api;
pub(crate) mod retention;
mod storage;
pub(crate) mod store;

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, Timers};
use crate::upstream::Upstream;

pub(crate) use self::core::{ConnectionPermit, Core, Goroutines};
pub(crate) use self::error::HarborError;
pub(crate) use self::proxy::{BlobAnswer, ManifestAnswer, ManifestOutcome, ManifestRequest, ServedBy};
pub(crate) use self::store::Store;

/// The artifact that a request is about: Harbor's `lib.ArtifactInfo`.
#[derive(Debug, Clone)]
pub(crate) struct ArtifactInfo {
    pub(crate) project: String,
    /// With the project in front.
    pub(crate) repository: String,
    pub(crate) reference: Reference,
}

/// A tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    Tag(String),
    Digest(crate::digest::Digest),
}

impl Reference {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest,
        }
    }

    pub(crate) fn tag(&self) -> Option<&str> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }

    pub(crate) fn digest(&self) -> Option<&crate::digest::Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(digest),
        }
    }
}

impl ArtifactInfo {
    /// The name of the repository in the upstream (`getRemoteRepo`).
    pub(crate) fn upstream_repository(&self) -> &str {
        self.repository.strip_prefix(&self.project).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&self.repository)
    }
}

#[derive(Debug)]
pub(crate) struct Harbor {
    pub(crate) clock: Arc<Clock>,
    pub(crate) timers: Timers,
    pub(crate) upstream: Upstream,
    /// Database, Redis and the registry's storage: what a restart leaves.
    pub(crate) store: Store,
    /// What a restart forgets.
    core: Mutex<Arc<Core>>,
    /// The job service, a process of its own: replications outlive a restart of the core.
    job_service: Goroutines,
    /// `UPSTREAM_REGISTRY_LIMIT_ON_PROJECT`
    pub(crate) limit_on_project: bool,
}

impl Harbor {
    pub(crate) fn new(clock: Arc<Clock>, timers: Timers, upstream: Upstream, store: Store, limit: bool) -> Self {
        Self {
            clock,
            timers,
            upstream,
            store,
            core: Mutex::new(Arc::new(Core::new())),
            job_service: Goroutines::new(),
            limit_on_project: limit,
        }
    }

    /// The core process that runs now.
    pub(crate) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends everything that runs.
    pub(crate) async fn end(&self) {
        self.job_service.end().await;
        self.core().end().await;
    }

    /// Ends the core process with every goroutine and connection of it, and starts another.
    pub(crate) async fn restart_core(&self) {
        let old = {
            let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *core, Arc::new(Core::new()))
        };
        old.end().await;
        self.store.touch();
    }
}
