//! What is kept of replication: policies, their executions, and the registries at the other end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::harbor::pattern;

/// A registry that Harbor replicates to, and what has arrived there.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The endpoint's name in Harbor.
    pub name: String,
    /// What arrived, by repository.
    pub repositories: BTreeMap<String, TargetRepository>,
    /// Tags that the target won't take, `repository:tag` (an ECR repository with immutable tags).
    #[serde(skip)]
    pub(crate) refused: HashSet<String>,
}

/// A repository at a replication target.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TargetRepository {
    /// Tags and what they name.
    pub tags: BTreeMap<String, Digest>,
    /// Manifests, tagged or not.
    pub manifests: BTreeSet<Digest>,
    /// Blobs.
    pub blobs: BTreeSet<Digest>,
}

impl Target {
    /// What a tag names at the target.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<&Digest> {
        self.repositories.get(repository)?.tags.get(tag)
    }

    /// Whether a manifest is there, tagged or not.
    pub fn has_manifest(&self, repository: &str, digest: &str) -> bool {
        self.repositories.get(repository).is_some_and(|known| known.manifests.contains(digest))
    }

    /// Whether a blob is there.
    pub fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.repositories.get(repository).is_some_and(|known| known.blobs.contains(digest))
    }
}

/// A replication policy as the API takes it. What the simulator doesn't act on is kept and shown again.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PolicyBody {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) dest_registry: Option<RegistryId>,
    pub(crate) dest_namespace: String,
    pub(crate) dest_namespace_replace_count: Option<i8>,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) filters: Option<Vec<Filter>>,
    pub(crate) enabled: bool,
    #[serde(rename = "override")]
    pub(crate) overrides: bool,
    pub(crate) replicate_deletion: bool,
    pub(crate) speed: i32,
    pub(crate) copy_by_chunk: bool,
    pub(crate) single_active_replication: bool,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct RegistryId {
    pub(crate) id: u64,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Trigger {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trigger_settings: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Filter {
    #[serde(rename = "type")]
    kind: String,
    value: serde_json::Value,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    decoration: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) id: u64,
    pub(crate) body: PolicyBody,
    pub(crate) created: Duration,
    pub(crate) updated: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Execution {
    pub(crate) id: u64,
    pub(crate) policy_id: u64,
    pub(crate) trigger: &'static str,
    pub(crate) started: Duration,
    pub(crate) ended: Option<Duration>,
    /// It failed as a whole, whatever its tasks did.
    pub(crate) failed: bool,
    pub(crate) status_text: String,
    pub(crate) tasks: Vec<Task>,
}

/// One repository's part of an execution. The API names no tags.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) status: TaskStatus,
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) started: Duration,
    pub(crate) ended: Option<Duration>,
    pub(crate) log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskStatus {
    InProgress,
    Succeed,
    Failed,
}

impl TaskStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Succeed => "Succeed",
            Self::Failed => "Failed",
        }
    }
}

impl PolicyBody {
    pub(super) fn filter_matches(&self, kind: &str, text: &str) -> bool {
        let filters = self.filters.iter().flatten().filter(|filter| filter.kind == kind);
        filters.into_iter().all(|filter| {
            let wanted = filter.value.as_str().unwrap_or_default();
            pattern::matches(wanted, text) != (filter.decoration == "excludes")
        })
    }

    pub(crate) fn trigger(&self) -> &str {
        self.trigger.as_ref().map_or("manual", |trigger| trigger.kind.as_str())
    }
}
