//! The handle that tests hold: look, break, wait.

mod builder;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::digest::Digest;
use crate::fault::{Fault, FaultHandle};
use crate::harbor::replication::records::Target;
use crate::harbor::store::{Project, Tables};
use crate::request_log::{RequestCounts, RequestRecord};
use crate::server::{BucketRequest, Server, Site, Traffic};
use crate::spec::{ProjectSpec, Right, RobotSpec};
use crate::upstream::{LayoutError, Upstream};
use crate::version::HarborVersion;

pub use self::builder::SimulatorBuilder;

/// A condition that only the clock makes true is noticed this often (real time).
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where images come from.
#[derive(Debug, Clone, Default)]
pub enum UpstreamKind {
    /// A registry in memory, filled by [`Upstream::push`].
    #[default]
    Memory,
    /// An OCI image layout folder.
    Layout(PathBuf),
    /// A real registry, `http://` or `https://`, asked anonymously.
    Registry(reqwest::Url),
}

/// Why a simulator can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The layout folder can't be read.
    #[error("failed to load the OCI layout")]
    Layout(#[from] LayoutError),
    /// The client for the real registry can't be built.
    #[error("failed to set up the client for the upstream registry")]
    Client(#[from] reqwest::Error),
    /// A scale that time can't be multiplied with.
    #[error("the time scale {0} is not a positive number")]
    TimeScale(f64),
}

/// The condition was not met in time.
#[derive(Debug, thiserror::Error)]
#[error("the condition was not met within {0:?}")]
pub struct TimedOut(Duration);

/// A running simulator. It ends when it is dropped; [`Simulator::shutdown`] also waits for the end.
///
/// Projects and repositories are named apart: `("proxy", "library/nginx")`, the repository as the upstream names it.
#[derive(Debug)]
pub struct Simulator {
    site: Arc<Site>,
    server: Server,
}

impl Simulator {
    /// A simulator without projects and robots, on a free port of 127.0.0.1, in real time.
    pub fn builder() -> SimulatorBuilder {
        SimulatorBuilder::default()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Stops it and waits until nothing of it runs any more.
    pub async fn shutdown(self) {
        self.server.stop().await;
        self.site.harbor.end().await;
    }

    /// Restarts Harbor's core: connections break; waiting goroutines, copies under way and tag windows are forgotten;
    /// database, Redis and storage stay, and so does the port.
    pub async fn restart(&self) {
        self.site.harbor.restart_core().await;
    }

    /// The upstream.
    pub fn upstream(&self) -> &Upstream {
        &self.site.harbor.upstream
    }

    /// What was asked of the upstream so far.
    pub fn upstream_stats(&self) -> crate::UpstreamStats {
        self.upstream().stats()
    }

    /// Harbor time since the start.
    pub fn now(&self) -> Duration {
        self.site.harbor.clock.now()
    }

    /// A span of Harbor time as a real one.
    pub fn real(&self, harbor_time: Duration) -> Duration {
        self.site.harbor.clock.real(harbor_time)
    }

    /// Lets Harbor's calendar jump: pull times age and Redis entries expire. Goroutines that wait are not woken.
    pub fn advance(&self, harbor_time: Duration) {
        self.site.harbor.clock.add(harbor_time);
        self.site.harbor.store.touch();
    }

    /// Whether the blob is present in this repository.
    pub fn blob_is_local(&self, project: &str, repository: &str, digest: &str) -> bool {
        self.blob_local_at(project, repository, digest).is_some()
    }

    /// When the blob arrived in this repository, in Harbor time.
    pub fn blob_local_at(&self, project: &str, repository: &str, digest: &str) -> Option<Duration> {
        let links = |tables: &Tables| Some(tables.links.get(&full(project, repository))?.get(digest)?.at);
        self.site.harbor.store.read(links)
    }

    /// Whether an artifact of this digest is recorded.
    pub fn artifact_recorded(&self, project: &str, repository: &str, digest: &str) -> bool {
        self.artifact_recorded_at(project, repository, digest).is_some()
    }

    /// When the artifact was recorded, in Harbor time.
    pub fn artifact_recorded_at(&self, project: &str, repository: &str, digest: &str) -> Option<Duration> {
        let row =
            |tables: &Tables| Some(tables.repositories.get(&full(project, repository))?.artifacts.get(digest)?.pushed);
        self.site.harbor.store.read(row)
    }

    /// When the artifact was last pulled, in Harbor time.
    pub fn artifact_pulled_at(&self, project: &str, repository: &str, digest: &str) -> Option<Duration> {
        let row =
            |tables: &Tables| Some(tables.repositories.get(&full(project, repository))?.artifacts.get(digest)?.pulled);
        self.site.harbor.store.read(row)
    }

    /// What a recorded tag names. For an index that is the digest of Harbor's own print of it, not upstream's.
    pub fn tag(&self, project: &str, repository: &str, tag: &str) -> Option<Digest> {
        let row =
            |tables: &Tables| Some(tables.repositories.get(&full(project, repository))?.tags.get(tag)?.digest.clone());
        self.site.harbor.store.read(row)
    }

    /// When the tag was recorded, or last moved, in Harbor time.
    pub fn tag_recorded_at(&self, project: &str, repository: &str, tag: &str) -> Option<Duration> {
        let row = |tables: &Tables| Some(tables.repositories.get(&full(project, repository))?.tags.get(tag)?.pushed);
        self.site.harbor.store.read(row)
    }

    /// The children that a recorded index (by tag or by its digest in Harbor) refers to; none for a manifest.
    pub fn recorded_index_children(&self, project: &str, repository: &str, reference: &str) -> Option<Vec<Digest>> {
        let children =
            |tables: &Tables| Some(tables.artifact(&full(project, repository), reference)?.1.children.clone());
        self.site.harbor.store.read(children)
    }

    /// Every recorded tag of a repository.
    pub fn tags(&self, project: &str, repository: &str) -> BTreeMap<String, Digest> {
        self.site.harbor.store.read(|tables| {
            let row = tables.repositories.get(&full(project, repository));
            let tags = row.into_iter().flat_map(|row| &row.tags);
            tags.map(|(name, tag)| (name.clone(), tag.digest.clone())).collect()
        })
    }

    /// How many whole copies of the blob came from the upstream into this repository, stored or refused.
    pub fn background_transfers(&self, project: &str, repository: &str, digest: &str) -> usize {
        let key = format!("{}@{digest}", full(project, repository));
        self.site.harbor.store.read(|tables| tables.transfers.get(&key).copied().unwrap_or(0))
    }

    /// The count of what went to and from clients. It moves whenever a request or a part of an answer does.
    pub fn traffic(&self) -> Traffic {
        self.site.traffic.clone()
    }

    /// The requests that were received, the oldest first. Those of `/_simulator/` are not among them.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.site.log.records()
    }

    /// What came so far, counted: every request, also those that the log has forgotten.
    pub fn request_counts(&self) -> RequestCounts {
        self.site.log.counts()
    }

    /// Forgets the requests so far, and what was counted of them.
    pub fn clear_requests(&self) {
        self.site.log.clear();
    }

    /// What was asked of the object storage; nothing where Harbor has none.
    pub fn bucket_requests(&self) -> Vec<BucketRequest> {
        self.site.bucket.as_ref().map(|bucket| bucket.requests()).unwrap_or_default()
    }

    /// Breaks something between clients and Harbor. The fault stays until it is used up or cleared.
    pub fn inject(&self, fault: Fault) -> FaultHandle {
        self.site.faults.inject(fault)
    }

    /// Clears all injected faults.
    pub fn clear_faults(&self) {
        self.site.faults.clear();
    }

    /// Whether Harbor's regular check finds the upstream's endpoint healthy. While it doesn't, Harbor answers out of
    /// what it has.
    pub fn set_endpoint_healthy(&self, healthy: bool) {
        self.site.harbor.store.write(|tables| tables.endpoint_unhealthy = !healthy);
    }

    /// Harbor's read-only mode: blobs and manifests are served, but not stored.
    pub fn set_read_only(&self, read_only: bool) {
        self.site.harbor.store.write(|tables| tables.read_only = read_only);
    }

    /// Another version of Harbor runs from now on, on what the one before has kept.
    pub fn install(&self, version: HarborVersion) {
        self.site.harbor.store.write(|tables| tables.version = version);
    }

    /// Changes a project, keeping its content.
    pub fn update_project(&self, spec: ProjectSpec) {
        self.site.harbor.store.write(|tables| {
            let id = tables.projects.get(&spec.name).map(|project| project.id);
            let id = id.unwrap_or_else(|| tables.next_id());
            tables.projects.insert(spec.name.clone(), Project { id, spec });
        });
    }

    /// Changes the storage quota of a project.
    pub fn set_quota(&self, project: &str, bytes: Option<u64>) {
        self.site.harbor.store.write(|tables| {
            if let Some(project) = tables.projects.get_mut(project) {
                project.spec.quota_bytes = bytes;
            }
        });
    }

    /// Lets a robot expire, or renews it.
    pub fn set_robot_expired(&self, name: &str, expired: bool) {
        self.with_robot(name, |robot| robot.expired = expired);
    }

    /// Gives a robot other rights.
    pub fn set_robot_rights(&self, name: &str, rights: impl IntoIterator<Item = Right>) {
        self.with_robot(name, |robot| robot.rights = rights.into_iter().collect());
    }

    /// Gives a robot another secret.
    pub fn set_robot_secret(&self, name: &str, secret: &str) {
        self.with_robot(name, |robot| secret.clone_into(&mut robot.secret));
    }

    fn with_robot(&self, name: &str, change: impl FnOnce(&mut RobotSpec)) {
        self.site.harbor.store.write(|tables| tables.robots.iter_mut().find(|robot| robot.name == name).map(change));
    }

    /// Makes every Bearer token that was issued so far invalid.
    pub fn expire_tokens(&self) {
        self.site.harbor.store.write(|tables| tables.tokens.clear());
    }

    /// Runs a project's retention rule now. Returns how many artifacts were deleted.
    pub fn run_retention(&self, project: &str) -> usize {
        self.site.harbor.run_retention(project)
    }

    /// Collects garbage now, first the untagged artifacts if asked to. Returns how many blobs were deleted.
    pub fn collect_garbage(&self, delete_untagged: bool) -> usize {
        self.site.harbor.collect_garbage(delete_untagged)
    }

    /// Lets Harbor's storage hold only the first so many bytes of a blob that it has: a HEAD tells that length, a GET
    /// ends there. Returns whether the blob was there.
    pub fn truncate_stored_blob(&self, digest: &str, bytes: u64) -> bool {
        self.site.harbor.truncate_stored_blob(digest, bytes)
    }

    /// Deletes an artifact with its tags, as an administrator might. Returns whether it was there.
    pub fn delete_artifact(&self, project: &str, repository: &str, digest: &str) -> bool {
        self.site.harbor.store.write(|tables| {
            let Some(row) = tables.repositories.get_mut(&full(project, repository)) else { return false };
            row.tags.retain(|_, tag| *tag.digest != *digest);
            row.artifacts.remove(digest).is_some()
        })
    }

    /// The keys in Redis, as an administrator would see them.
    pub fn redis_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.site.harbor.store.read(|tables| tables.redis.keys().cloned().collect());
        keys.sort();
        keys
    }

    /// Until when a key of Redis is answered, in Harbor time; none for a key that isn't there, or has no end.
    pub fn redis_key_expires(&self, key: &str) -> Option<Duration> {
        self.site.harbor.store.read(|tables| tables.redis.get(key)?.expires)
    }

    /// Deletes a key of Redis. Returns whether it was there.
    pub fn delete_redis_key(&self, key: &str) -> bool {
        self.site.harbor.store.write(|tables| tables.redis.remove(key).is_some())
    }

    /// What has arrived at a replication target.
    ///
    /// # Panics
    /// If there is no such target: the test that asks is wrong.
    #[track_caller]
    pub fn replication_target(&self, name: &str) -> Target {
        let found = self.site.harbor.store.read(|tables| tables.targets.values().find(|it| it.name == name).cloned());
        match found {
            Some(target) => target,
            None => panic!("there is no replication target {name}"),
        }
    }

    /// Lets a replication target refuse a tag (an immutable one), or take it again.
    pub fn refuse_at_target(&self, target: &str, repository: &str, tag: &str, refuse: bool) {
        let name = format!("{repository}:{tag}");
        self.site.harbor.store.write(|tables| {
            for known in tables.targets.values_mut().filter(|known| known.name == target) {
                if refuse {
                    known.refused.insert(name.clone());
                } else {
                    known.refused.remove(&name);
                }
            }
        });
    }

    /// Waits until the condition holds, looking again whenever something changed.
    ///
    /// # Errors
    /// If it doesn't within the timeout, which is in real time.
    pub async fn wait_until(
        &self,
        mut condition: impl FnMut(&Self) -> bool,
        timeout: Duration,
    ) -> Result<(), TimedOut> {
        let mut changes = self.site.harbor.store.changes();
        let deadline = Instant::now() + timeout;
        loop {
            changes.mark_unchanged();
            if condition(self) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(TimedOut(timeout));
            }
            // The sender lives as long as the simulator. Whether there was a change or the time has come, look again.
            let _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()).await;
        }
    }
}

fn full(project: &str, repository: &str) -> String {
    format!("{project}/{repository}")
}
