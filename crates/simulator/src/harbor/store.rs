//! What survives a restart of Harbor's core: the database, Redis, and the storage of its registry.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::content::Content;
use crate::digest::Digest;
use crate::harbor::replication::records::{Execution, Policy, Target};
use crate::spec::{ProjectSpec, RobotSpec};
use crate::version::HarborVersion;

/// The tables behind one lock, with word of every change for those who wait.
#[derive(Debug)]
pub(crate) struct Store {
    tables: Mutex<Tables>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) robots: Vec<RobotSpec>,
    /// By name with the project in front. A repository has a row once its first artifact is recorded.
    pub(crate) repositories: BTreeMap<String, Repository>,
    /// The registry's per-repository links: a blob is present in a repository, not in Harbor.
    pub(crate) links: HashMap<String, HashMap<Digest, Link>>,
    /// The registry's storage, by content.
    pub(crate) blobs: HashMap<Digest, Content>,
    pub(crate) manifests: HashMap<Digest, StoredManifest>,
    pub(crate) redis: HashMap<String, RedisEntry>,
    pub(crate) policies: BTreeMap<u64, Policy>,
    pub(crate) executions: BTreeMap<u64, Execution>,
    pub(crate) targets: BTreeMap<u64, Target>,
    /// Bearer tokens that were issued.
    pub(crate) tokens: HashMap<String, Token>,
    /// The version that is installed.
    pub(crate) version: HarborVersion,
    pub(crate) read_only: bool,
    pub(crate) endpoint_unhealthy: bool,
    /// Whole upstream copies by `project/repository@digest`.
    pub(crate) transfers: HashMap<String, usize>,
    last_id: u64,
}

#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) id: u64,
    pub(crate) spec: ProjectSpec,
}

/// What a Bearer token allows.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) user: String,
    /// The repositories that may be pulled with it.
    pub(crate) repositories: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// Harbor time.
    pub(crate) at: Duration,
    pub(crate) size: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct StoredManifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

#[derive(Debug)]
pub(crate) struct RedisEntry {
    pub(crate) value: Bytes,
    /// Harbor time.
    pub(crate) expires: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) id: u64,
    pub(crate) artifacts: BTreeMap<Digest, Artifact>,
    pub(crate) tags: BTreeMap<String, Tag>,
}

#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    pub(crate) id: u64,
    pub(crate) pushed: Duration,
    pub(crate) pulled: Duration,
    /// The children that an index refers to, as its manifest lists them.
    pub(crate) children: Vec<Digest>,
}

#[derive(Debug, Clone)]
pub(crate) struct Tag {
    pub(crate) id: u64,
    pub(crate) digest: Digest,
    pub(crate) pushed: Duration,
    pub(crate) pulled: Duration,
}

impl Store {
    pub(crate) fn new(tables: Tables) -> Self {
        Self { tables: Mutex::new(tables), changes: watch::Sender::new(0) }
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        let result = change(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner));
        self.touch();
        result
    }

    /// Wakes those who wait for a change.
    pub(crate) fn touch(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Tables {
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.links.get(repository).is_some_and(|links| links.contains_key(digest))
    }

    /// The artifact of a tag or digest with its digest.
    pub(crate) fn artifact(&self, repository: &str, reference: &str) -> Option<(&Digest, &Artifact)> {
        let repository = self.repositories.get(repository)?;
        let digest = match repository.tags.get(reference) {
            Some(tag) => &*tag.digest,
            None => reference,
        };
        repository.artifacts.get_key_value(digest)
    }

    pub(crate) fn redis_get(&self, key: &str, now: Duration) -> Option<Bytes> {
        let entry = self.redis.get(key)?;
        entry.expires.is_none_or(|expires| now < expires).then(|| entry.value.clone())
    }

    /// Bytes that count against a project's quota: each blob once.
    pub(crate) fn used_bytes(&self, project: &str) -> u64 {
        let mut seen: HashMap<&Digest, u64> = HashMap::new();
        for (repository, links) in &self.links {
            if repository.split('/').next() == Some(project) {
                seen.extend(links.iter().map(|(digest, link)| (digest, link.size)));
            }
        }
        seen.values().sum()
    }

    /// Marks an artifact as pulled, and, where the version does, every recorded index that refers to it.
    pub(crate) fn pull(&mut self, repository: &str, digest: &Digest, tag: Option<&str>, now: Duration) {
        let renews = self.version.child_renews_its_index();
        let Some(repository) = self.repositories.get_mut(repository) else { return };
        for (own, artifact) in &mut repository.artifacts {
            if own == digest || (renews && artifact.children.contains(digest)) {
                artifact.pulled = now;
            }
        }
        if let Some(tag) = tag.and_then(|tag| repository.tags.get_mut(tag)) {
            tag.pulled = now;
        }
    }
}

impl Repository {
    /// Deletes an artifact with its tags, and the children that nothing else names.
    pub(crate) fn delete(&mut self, digest: &str) -> bool {
        let Some(deleted) = self.artifacts.remove(digest) else { return false };
        self.tags.retain(|_, tag| *tag.digest != *digest);
        for child in deleted.children {
            let named = self.tags.values().any(|tag| tag.digest == child)
                || self.artifacts.values().any(|other| other.children.contains(&child));
            if !named {
                self.artifacts.remove(&child);
            }
        }
        true
    }
}
