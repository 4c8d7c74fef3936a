//! The handle that tests hold: build, look, break, wait.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::clock::{Clock, Timers};
use crate::digest::Digest;
use crate::fault::{Fault, FaultHandle, Faults};
use crate::harbor::api::UPSTREAM_REGISTRY_ID;
use crate::harbor::replication::Target;
use crate::harbor::store::{Project, Tables};
use crate::harbor::{Harbor, Store};
use crate::request_log::{RequestLog, RequestRecord};
use crate::server::{Server, Site, Traffic};
use crate::spec::{ProjectSpec, Right, RobotSpec};
use crate::upstream::{LayoutError, Remote, Upstream};

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

/// How a simulator shall be. See [`Simulator::builder`].
#[derive(Debug)]
#[must_use]
pub struct SimulatorBuilder {
    listen: SocketAddr,
    time_scale: f64,
    timers: Timers,
    projects: Vec<ProjectSpec>,
    robots: Vec<RobotSpec>,
    targets: Vec<String>,
    upstream: UpstreamKind,
    limit_on_project: bool,
    nightly_retention: bool,
    seed: u64,
}

impl SimulatorBuilder {
    /// The address, `127.0.0.1:0` unless told.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// What one second of Harbor's takes in real seconds; 1 unless told.
    pub fn time_scale(mut self, scale: f64) -> Self {
        self.time_scale = scale;
        self
    }

    /// Other waiting times than Harbor's own.
    pub fn timers(mut self, timers: Timers) -> Self {
        self.timers = timers;
        self
    }

    /// Adds a project. All proxy projects have the same endpoint.
    pub fn project(mut self, project: ProjectSpec) -> Self {
        self.projects.push(project);
        self
    }

    /// Adds a robot. The administrator `admin` with `Harbor12345` is there anyway.
    pub fn robot(mut self, robot: RobotSpec) -> Self {
        self.robots.push(robot);
        self
    }

    /// Adds a registry endpoint to replicate to. The first has the id 2, the next 3, and so on.
    pub fn replication_target(mut self, name: impl Into<String>) -> Self {
        self.targets.push(name.into());
        self
    }

    /// Where images come from; memory unless told.
    pub fn upstream(mut self, upstream: UpstreamKind) -> Self {
        self.upstream = upstream;
        self
    }

    /// `UPSTREAM_REGISTRY_LIMIT_ON_PROJECT=true`: `max_upstream_conn` counts a project's connections together.
    pub fn limit_on_project(mut self) -> Self {
        self.limit_on_project = true;
        self
    }

    /// Runs the retention rule of every project at each of Harbor's midnights, 24 h after the start and so on.
    pub fn nightly_retention(mut self) -> Self {
        self.nightly_retention = true;
        self
    }

    /// What faults by chance are drawn with: the same requests in the same order meet the same faults again.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// If it can't listen or its upstream can't be set up.
    pub async fn start(self) -> Result<Simulator, StartError> {
        if !(self.time_scale.is_finite() && self.time_scale > 0.0) {
            return Err(StartError::TimeScale(self.time_scale));
        }
        let listening = |source| StartError::Listen { address: self.listen, source };
        let listener = TcpListener::bind(self.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;

        let clock = Arc::new(Clock::start(self.time_scale));
        let (remote, layout) = match self.upstream {
            UpstreamKind::Memory => (None, None),
            UpstreamKind::Layout(folder) => (None, Some(folder)),
            UpstreamKind::Registry(url) => (Some(Remote::new(url)?), None),
        };
        let upstream = Upstream::new(Arc::clone(&clock), remote, self.seed);
        if let Some(folder) = layout {
            upstream.load_layout(&folder)?;
        }

        let mut tables = Tables::default();
        tables.robots = self.robots;
        for spec in self.projects {
            let id = tables.next_id();
            tables.projects.insert(spec.name.clone(), Project { id, spec });
        }
        for (id, name) in (UPSTREAM_REGISTRY_ID + 1..).zip(self.targets) {
            tables.targets.insert(id, Target { name, ..Target::default() });
        }
        let store = Store::new(tables);
        let harbor = Arc::new(Harbor::new(clock, self.timers, upstream, store, self.limit_on_project));
        if self.nightly_retention {
            harbor.run_every_night();
        }
        let site = Arc::new(Site {
            harbor,
            faults: Arc::new(Faults::new(self.seed)),
            log: RequestLog::default(),
            time_scale: self.time_scale,
            traffic: Traffic::default(),
        });
        let server = Server::start(listener, address, Arc::clone(&site));
        Ok(Simulator { site, server })
    }
}

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
        SimulatorBuilder {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            time_scale: 1.0,
            timers: Timers::default(),
            projects: Vec::new(),
            robots: Vec::new(),
            targets: Vec::new(),
            upstream: UpstreamKind::Memory,
            limit_on_project: false,
            nightly_retention: false,
            seed: 0,
        }
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

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.site.log.clear();
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
