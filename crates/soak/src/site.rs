//! Two simulated Harbors with a real warmer beside them, and everything that goes wrong between them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use harbor_warmer::Service;
use harbor_warmer::config::document;
use harbor_warmer_simulator::{
    Fault, FaultAction, FaultHandle, ProjectSpec, Right, RobotSpec, RouteClass, Simulator, Timers, UpstreamEffect,
    UpstreamFault, UpstreamRequest,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::catalogue::{ASIDE, COMPLETED, PLAIN, RESOLVING};
use crate::script::{ASIDE_RATE, CLUSTERS};
use crate::time::Time;

/// Harbor's name in the warmer's configuration.
pub const HARBOR: &str = "main";

/// The second Harbor's.
pub const ASIDE_HARBOR: &str = "aside";

/// Everybody's password.
pub const PASSWORD: &str = "not-a-secret";

/// Of the requests to Harbor, and of Harbor's to its upstream, so many fail.
pub const FAILING: f64 = 0.05;

/// Shorter than Harbor's own seven days, so that two weeks see the rule at work and what escapes it.
const RETENTION_DAYS: u64 = 3;

/// Both Harbors.
pub struct Harbors {
    /// The one with everything that goes wrong.
    pub main: Simulator,
    /// The one behind a slow line that hangs for hours.
    pub aside: Simulator,
}

impl Harbors {
    /// The one that has this project.
    pub fn of(&self, project: &str) -> &Simulator {
        if project == ASIDE { &self.aside } else { &self.main }
    }

    /// The name in the warmer's configuration of the one that has this project.
    pub fn name_of(project: &str) -> &'static str {
        if project == ASIDE { ASIDE_HARBOR } else { HARBOR }
    }
}

/// Both sides.
pub struct Site {
    /// What the warmer warms.
    pub harbors: Harbors,
    /// The warmer.
    pub service: Service,
    shutdown: CancellationToken,
    directory: TempDir,
    faults: Vec<FaultHandle>,
    down: Option<FaultHandle>,
    hung: Option<FaultHandle>,
}

impl Site {
    /// Starts both, with the faults that never end.
    ///
    /// # Errors
    /// One of them can't start.
    pub async fn start(seed: u64, time: &Time) -> anyhow::Result<Self> {
        let project = |name| ProjectSpec::proxy(name).retention_days(Some(RETENTION_DAYS));
        let robot = || {
            let rights = [Right::RepositoryPull, Right::ArtifactRead, Right::TagList];
            RobotSpec::system("warmer", PASSWORD).rights(rights)
        };
        let main = Simulator::builder()
            .seed(seed)
            .project(project(COMPLETED))
            .project(project(RESOLVING))
            .project(project(PLAIN))
            .robot(robot())
            .start()
            .await?;
        // Whoever has layers of 10 GB behind such a line has raised this.
        let timers = Timers { upstream_timeout: Duration::from_secs(6 * 3_600), ..Timers::default() };
        let aside = Simulator::builder().timers(timers).project(project(ASIDE)).robot(robot()).start().await?;
        aside.upstream().rate(Some(ASIDE_RATE));
        let faults = fail_now_and_then(&main);
        time.watch_harbor(main.traffic());
        time.watch_harbor(aside.traffic());
        let harbors = Harbors { main, aside };
        let directory = tempfile::tempdir()?;
        let shutdown = CancellationToken::new();
        let service = start_warmer(&harbors, directory.path(), shutdown.clone()).await?;
        time.watch_queue(service.store.clone());
        Ok(Self { harbors, service, shutdown, directory, faults, down: None, hung: None })
    }

    /// Requests to Harbor that failed on purpose.
    pub fn failed_requests(&self) -> u64 {
        self.faults.iter().map(FaultHandle::hits).sum()
    }

    /// A gateway answers 503 for Harbor, or no longer.
    pub fn set_harbor_down(&mut self, down: bool) {
        if let Some(before) = self.down.take() {
            before.clear();
        }
        self.down = down.then(|| self.harbors.main.inject(Fault::new(FaultAction::Respond(503))));
    }

    /// The second Harbor takes requests and answers none, or answers again.
    pub fn set_aside_hung(&mut self, hung: bool) {
        if let Some(before) = self.hung.take() {
            before.clear();
        }
        self.hung = hung.then(|| self.harbors.aside.inject(Fault::new(FaultAction::Hang)));
    }

    /// Ends both.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.service.stopped().await;
        self.harbors.main.shutdown().await;
        self.harbors.aside.shutdown().await;
        drop(self.directory);
    }
}

fn fail_now_and_then(harbor: &Simulator) -> Vec<FaultHandle> {
    let actions = [
        (FaultAction::Respond(500), RouteClass::Any, 0.3),
        (FaultAction::Respond(502), RouteClass::Any, 0.2),
        (FaultAction::Respond(429), RouteClass::Any, 0.1),
        (FaultAction::Reset, RouteClass::Any, 0.2),
        (FaultAction::Hang, RouteClass::Any, 0.1),
        (FaultAction::TruncateAfter(100), RouteClass::ManifestGet, 0.1),
        (FaultAction::Corrupt, RouteClass::ManifestGet, 0.1),
        (FaultAction::DelayMilliseconds(3_000), RouteClass::Any, 0.1),
    ];
    let upstream = harbor.upstream();
    let effects = [
        (UpstreamEffect::Status(500), UpstreamRequest::Any, 0.3),
        (UpstreamEffect::Status(503), UpstreamRequest::Any, 0.1),
        (UpstreamEffect::Status(429), UpstreamRequest::Any, 0.1),
        (UpstreamEffect::Disconnect, UpstreamRequest::Any, 0.3),
        (UpstreamEffect::TruncateAfter(200_000), UpstreamRequest::CacheCopy, 0.1),
        (UpstreamEffect::Corrupt, UpstreamRequest::CacheCopy, 0.1),
    ];
    for (effect, request, share) in effects {
        upstream.fail_next(UpstreamFault::new(effect).on(request).chance(FAILING * share));
    }
    let inject = |(action, route, share)| harbor.inject(Fault::new(action).on(route).chance(FAILING * share));
    actions.map(inject).into()
}

async fn start_warmer(harbors: &Harbors, directory: &Path, shutdown: CancellationToken) -> anyhow::Result<Service> {
    std::fs::write(directory.join("password"), PASSWORD)?;
    let clusters = CLUSTERS.map(|(name, _)| format!("{{cluster: {name}, passwordFile: password}}")).join(", ");
    let text = format!(
        r#"
dataDir: {directory}/data
registry: {{listen: "127.0.0.1:0", credentials: [{clusters}]}}
admin: {{listen: "127.0.0.1:0"}}
queue: {{forgetAfter: 8d}}
harbors:
  {HARBOR}:
    url: {main}
    credentials: {{username: "robot$warmer", passwordFile: password}}
    projects:
      {COMPLETED}: {{completeIndex: true, resolveThrough: {RESOLVING}, keepWarmEvery: 36h}}
      {RESOLVING}: {{}}
      {PLAIN}: {{keepWarmEvery: 36h}}
  {ASIDE_HARBOR}:
    url: {aside}
    credentials: {{username: "robot$warmer", passwordFile: password}}
    projects:
      {ASIDE}: {{keepWarmEvery: 36h}}
rules:
  - {{prefix: docker.io/, harbor: {HARBOR}, project: {COMPLETED}}}
"#,
        directory = directory.display(),
        main = harbors.main.url(),
        aside = harbors.aside.url(),
    );
    let config = document::parse(&text, directory)
        .map_err(|mistakes| anyhow::anyhow!("{mistakes:#?}"))
        .context("the configuration is wrong")?;
    Service::start(config, shutdown).await
}
