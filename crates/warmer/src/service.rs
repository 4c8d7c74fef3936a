//! The whole service, put together: ports, workers, and the upkeep of the queue.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, AdminState};
use crate::clock;
use crate::config::Config;
use crate::front::Front;
use crate::harbors::Harbors;
use crate::intake::Intake;
use crate::maintenance::survey::Survey;
use crate::maintenance::upkeep::Upkeep;
use crate::metrics::{Metrics, SettledAs};
use crate::places::backlog::Backlogs;
use crate::places::copies::Copies;
use crate::places::transfers::Transfers;
use crate::plan::Planner;
use crate::registry_port::RegistryPort;
use crate::replication::replicator::Replicators;
use crate::worker::Workshop;
use harbor_warmer_core::image::DeadReason;
use harbor_warmer_store::Store;

/// A running service.
pub struct Service {
    /// Where hand-offs come in; tells the port where the configuration says 0.
    pub registry_address: SocketAddr,
    /// Where probes, metrics and the command line come in.
    pub admin_address: SocketAddr,
    /// Its queue.
    pub store: Store,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Requests under way and leases have so long to end after a signal; Kubernetes kills after 30 s, people after less.
const DRAIN: Duration = Duration::from_secs(8);

/// Runs the service until `shutdown`.
///
/// # Errors
/// It can't start: a port is taken, a file can't be read, the queue can't be opened.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let service = Service::start(config, shutdown).await?;
    service.stopped().await;
    Ok(())
}

impl Service {
    /// Opens the queue and the ports, and starts the work.
    ///
    /// # Errors
    /// It can't start: a port is taken, a file can't be read, the queue can't be opened.
    pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new());
        let projects = Arc::new(config.projects());
        let harbors = Harbors::new(&config, &metrics).map_err(|(harbor, error)| {
            anyhow::Error::new(error).context(format!("failed to set up Harbor {harbor}"))
        })?;
        let harbors = Arc::new(harbors);
        let replicators = Replicators::new(&config, &harbors).map_err(|(harbor, error)| {
            anyhow::Error::new(error).context(format!("failed to set up Harbor {harbor}"))
        })?;
        let store = Store::open(&config.data_dir, config.queue.recheck_after, Arc::clone(&projects), clock::now())?;
        for _ in 0..store.given_up_at_start() {
            metrics.settled(SettledAs::Dead);
            metrics.given_up(&DeadReason::Crashed);
        }
        let backlogs = Arc::new(Backlogs::new(&config));
        let front =
            Front::new(&config.front, Arc::clone(&harbors), Arc::clone(&backlogs), store.clone(), Arc::clone(&metrics));
        let front = Arc::new(front);
        let intake = Arc::new(Intake::new(&config, Arc::clone(&harbors), store.clone(), Arc::clone(&metrics)));
        let port = RegistryPort::new(&config.registry, Arc::clone(&intake), Arc::clone(&front), Arc::clone(&metrics))?;
        let planner = Planner::new(Arc::clone(&config), Arc::clone(&harbors), Arc::clone(&front), store.clone());
        let (registry_listener, registry_address) = listen("registry", config.registry.listen).await?;
        let (admin_listener, admin_address) = listen("admin", config.admin.listen).await?;
        let state = AdminState {
            config: Arc::clone(&config),
            store: store.clone(),
            intake: Arc::clone(&intake),
            planner: Arc::new(planner),
            metrics: Arc::clone(&metrics),
            registry: port.listening(),
        };
        let workshop = Arc::new(Workshop {
            store: store.clone(),
            harbors: Arc::clone(&harbors),
            projects: Arc::clone(&projects),
            front,
            replicators,
            transfers: Transfers::new(),
            copies: Copies::default(),
            backlogs: Arc::clone(&backlogs),
            metrics: Arc::clone(&metrics),
            queue: config.queue.clone(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(port.serve(registry_listener, shutdown.clone()));
        tasks.spawn(admin::serve(admin_listener, state, shutdown.clone()));
        tasks.spawn(workshop.run(shutdown.clone()));
        let survey = Survey {
            config: Arc::clone(&config),
            harbors,
            projects: Arc::clone(&projects),
            metrics: Arc::clone(&metrics),
        };
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(survey.run()));
        let upkeep = Upkeep { config: Arc::clone(&config), store: store.clone(), projects, backlogs, intake, metrics };
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(upkeep.run()));
        tasks.close();
        tracing::info!(registry.address = %registry_address, admin.address = %admin_address, "ready");
        Ok(Self { registry_address, admin_address, store, tasks, shutdown })
    }

    /// Resolves when the service has stopped after its shutdown, or has had long enough to.
    pub async fn stopped(self) {
        self.shutdown.cancelled().await;
        tracing::info!("shutting down: leases are given back");
        let Self { tasks, store, .. } = self;
        let ended = async {
            tasks.wait().await;
            store.close().await;
        };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            // Nothing is lost: what is on the disk stays, and a lease that was not given back runs out.
            tracing::warn!("some requests did not end in time and are cut off");
        }
    }
}

async fn listen(port: &str, address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address} ({port}.listen)"))?;
    let address = listener.local_addr().context("failed to read the address that is listened on")?;
    Ok((listener, address))
}
