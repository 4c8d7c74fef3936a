//! The whole service, put together: ports, workers, and the upkeep of the queue. It watches its own tasks: when one ends
//! that never should, the process does.

pub(crate) mod heartbeat;
mod tasks;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Access, AdminState, Entrance, Probed, Socket, Token};
use crate::clock;
use crate::config::{Config, small_file};
use crate::front::Front;
use crate::harbors::Harbors;
use crate::intake::Intake;
use crate::maintenance::survey::Survey;
use crate::maintenance::upkeep::Upkeep;
use crate::metrics::{Metrics, SettledAs};
use crate::places::backlog::Backlogs;
use crate::plan::Planner;
use crate::registry_port::RegistryPort;
use crate::replication::replicator::Replicators;
use crate::service::heartbeat::Heartbeat;
use crate::service::tasks::Tasks;
use crate::worker::Workshop;
use harbor_warmer_core::image::DeadReason;
use harbor_warmer_store::Store;

/// A running service.
pub struct Service {
    /// Where hand-offs come in; tells the port where the configuration says 0.
    pub registry_address: SocketAddr,
    /// Where the command line comes in; probes and metrics too.
    pub admin_address: SocketAddr,
    /// Where probes and metrics alone come in, if anywhere.
    pub probes_address: Option<SocketAddr>,
    /// Its queue.
    pub store: Store,
    tasks: Tasks,
    shutdown: CancellationToken,
    drain: Duration,
}

/// Requests under way and leases have so long to end after a signal; Kubernetes kills after 30 s, people after less.
const DRAIN: Duration = Duration::from_secs(8);

/// A service with a broken part has less time: another process is waited for.
const DRAIN_BROKEN: Duration = Duration::from_secs(3);

/// The token is looked at as often as the registry port's secrets.
const TOKEN_EVERY: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted, as far as the system allows it (`net.core.somaxconn`). A crowd that fills the
/// queue costs everybody else a second: that is when a lost SYN is sent again.
const BACKLOG: u32 = 4096;

/// Runs the service until `shutdown`.
///
/// # Errors
/// It can't start: a port is taken, a file can't be read, the queue can't be opened. Or one of its tasks ended, which
/// none ever should.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut service = Service::start(config, shutdown).await?;
    let watched = service.watch().await;
    service.stopped().await;
    watched
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
        let store = Store::open(&config.data_dir, config.store_options(Arc::clone(&projects)), clock::now())?;
        for _ in 0..store.given_up_at_start() {
            metrics.settled(SettledAs::Dead);
            metrics.given_up(&DeadReason::Crashed);
        }
        let backlogs = Arc::new(Backlogs::new(&config));
        let front =
            Front::new(&config.front, Arc::clone(&harbors), Arc::clone(&backlogs), store.clone(), Arc::clone(&metrics));
        let front = Arc::new(front);
        let intake = Arc::new(Intake::new(&config, Arc::clone(&harbors), store.clone(), Arc::clone(&metrics)));
        let heartbeat = Heartbeat::new();
        let port = RegistryPort::new(
            &config.registry,
            Arc::clone(&intake),
            Arc::clone(&front),
            Arc::clone(&metrics),
            heartbeat.clone(),
        )?;
        let planner = Planner::new(Arc::clone(&config), Arc::clone(&harbors), Arc::clone(&front), store.clone());
        let (registry_listener, registry_address) = listen("registry", config.registry.listen).await?;
        let (admin_listener, admin_address) = listen("admin", config.admin.listen).await?;
        let probes_listener = match &config.probes {
            Some(probes) => Some(listen("probes", probes.listen).await?),
            None => None,
        };
        let probes_address = probes_listener.as_ref().map(|(_, address)| *address);
        let socket = config.admin.socket.as_deref().map(Socket::open).transpose()?;
        let token = read_token(&config)?;
        let state = AdminState::new(Arc::clone(&config), store.clone(), Arc::clone(&intake), planner);
        let probed = Probed {
            store: store.clone(),
            metrics: Arc::clone(&metrics),
            registry: port.listening(),
            heartbeat,
            shutdown: shutdown.clone(),
        };
        let workshop = Arc::new(Workshop {
            store: store.clone(),
            harbors: Arc::clone(&harbors),
            projects: Arc::clone(&projects),
            front,
            replicators,
            backlogs: Arc::clone(&backlogs),
            metrics: Arc::clone(&metrics),
            queue: config.queue.clone(),
        });
        let mut tasks = Tasks::default();
        let until_shutdown = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let shutdown = shutdown.clone();
            async move {
                let _unless_cancelled = shutdown.run_until_cancelled_owned(task).await;
            }
        };
        tasks.spawn("registry port", port.serve(registry_listener, shutdown.clone()));
        let access = Access::new(Entrance::at(admin_address.ip()), token.clone());
        tasks
            .spawn("admin port", admin::serve(admin_listener, state.clone(), access, probed.clone(), shutdown.clone()));
        if let Some((listener, _)) = probes_listener {
            tasks.spawn("probes port", admin::serve_probes(listener, probed.clone(), shutdown.clone()));
        }
        if let Some((listener, socket)) = socket {
            let access = Access::new(Entrance::Socket, Token::default());
            let serving = admin::serve(listener, state, access, probed, shutdown.clone());
            tasks.spawn("admin socket", async move {
                serving.await;
                drop(socket);
            });
        }
        if let Some(path) = config.admin.token_file.clone() {
            tasks.spawn("admin token", until_shutdown(Box::pin(admin::keep_reading(path, token, TOKEN_EVERY))));
        }
        tasks.spawn("sweeper", until_shutdown(Box::pin(Arc::clone(&workshop).keep_sweeping())));
        tasks.spawn("workers", workshop.run(shutdown.clone()));
        let survey = Survey {
            config: Arc::clone(&config),
            harbors,
            projects: Arc::clone(&projects),
            metrics: Arc::clone(&metrics),
        };
        tasks.spawn("survey", until_shutdown(Box::pin(survey.run())));
        let upkeep = Upkeep { config: Arc::clone(&config), store: store.clone(), projects, backlogs, intake, metrics };
        tasks.spawn("upkeep", until_shutdown(Box::pin(upkeep.run())));
        tasks.spawn("queue writer", until_shutdown(Box::pin(store.ended().cancelled_owned())));
        tracing::info!(registry.address = %registry_address, admin.address = %admin_address, "ready");
        Ok(Self { registry_address, admin_address, probes_address, store, tasks, shutdown, drain: DRAIN })
    }

    /// Resolves when the service is to stop: at its shutdown, or when one of its tasks has ended, which none ever should.
    /// Then it has begun its shutdown by itself.
    ///
    /// # Errors
    /// Names the task.
    pub async fn watch(&mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            ended = self.tasks.first_to_end() => ended,
            () = self.shutdown.cancelled() => return Ok(()),
        };
        if self.shutdown.is_cancelled() {
            return Ok(());
        }
        tracing::error!(task = ended.name, panicked = ended.panicked, "{ended}; the process ends, to be started again");
        self.drain = DRAIN_BROKEN;
        self.shutdown.cancel();
        Err(anyhow::anyhow!("{ended}"))
    }

    /// Resolves when the service has stopped after its shutdown, or has had long enough to.
    pub async fn stopped(self) {
        self.shutdown.cancelled().await;
        tracing::info!("shutting down: leases are given back");
        let Self { mut tasks, store, drain, .. } = self;
        let ended = async {
            tasks.wait().await;
            store.close().await;
        };
        if tokio::time::timeout(drain, ended).await.is_err() {
            // Nothing is lost: what is on the disk stays, and a lease that was not given back runs out.
            tracing::warn!("some requests did not end in time and are cut off");
        }
    }
}

/// The token, which was found good when the configuration was read.
fn read_token(config: &Config) -> anyhow::Result<Token> {
    let Some(path) = &config.admin.token_file else { return Ok(Token::default()) };
    let text =
        small_file::read(path).with_context(|| format!("failed to read {} (admin.tokenFile)", path.display()))?;
    let secret = small_file::secret(&text).with_context(|| format!("{} (admin.tokenFile)", path.display()))?;
    Ok(Token::new(secret))
}

async fn listen(port: &str, address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let listener = open().with_context(|| format!("failed to listen on {address} ({port}.listen)"))?;
    let address = listener.local_addr().context("failed to read the address that is listened on")?;
    Ok((listener, address))
}
