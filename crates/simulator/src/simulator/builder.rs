//! How a simulator is put together.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::clock::{Clock, Timers};
use crate::fault::Faults;
use crate::harbor::api::UPSTREAM_REGISTRY_ID;
use crate::harbor::replication::records::Target;
use crate::harbor::store::{Project, Tables};
use crate::harbor::{Harbor, Store};
use crate::request_log::RequestLog;
use crate::server::{Bucket, Server, Site, Traffic};
use crate::simulator::{Simulator, StartError, UpstreamKind};
use crate::spec::{ProjectSpec, RobotSpec};
use crate::upstream::{Remote, Upstream};
use crate::version::HarborVersion;

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
    object_storage: bool,
    version: HarborVersion,
    seed: u64,
}

impl Default for SimulatorBuilder {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            time_scale: 1.0,
            timers: Timers::default(),
            projects: Vec::new(),
            robots: Vec::new(),
            targets: Vec::new(),
            upstream: UpstreamKind::Memory,
            limit_on_project: false,
            nightly_retention: false,
            object_storage: false,
            version: HarborVersion::default(),
            seed: 0,
        }
    }
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

    /// Harbor's registry keeps its blobs in an object storage, and redirects there: HEAD and GET of a stored blob are
    /// 307 to a signed address on another host.
    pub fn object_storage(mut self) -> Self {
        self.object_storage = true;
        self
    }

    /// Which version of Harbor it is; 2.15.2 unless told.
    pub fn version(mut self, version: HarborVersion) -> Self {
        self.version = version;
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
        tables.version = self.version;
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
        let (bucket, bucket_listener) = if self.object_storage {
            let (bucket, listener) = Bucket::bind().await.map_err(listening)?;
            (Some(Arc::new(bucket)), Some(listener))
        } else {
            (None, None)
        };
        let site = Arc::new(Site {
            harbor,
            faults: Arc::new(Faults::new(self.seed)),
            log: RequestLog::default(),
            time_scale: self.time_scale,
            traffic: Traffic::default(),
            bucket: bucket.clone(),
        });
        let server = Server::start(listener, address, Arc::clone(&site));
        if let (Some(bucket), Some(listener)) = (bucket, bucket_listener) {
            server.serve_bucket(bucket, listener, Arc::clone(&site.harbor));
        }
        Ok(Simulator { site, server })
    }
}
