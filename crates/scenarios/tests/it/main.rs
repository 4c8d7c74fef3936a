//! The scenarios on the simulated Harbor, its time running faster.

mod registry;

use std::sync::Arc;

use futures_util::FutureExt;
use harbor_warmer_scenarios::{
    Credentials, LookAtTarget, Scenario, Site, SiteOptions, Target, Upstream, Verdict, print, run_all, scenarios, slow,
    slow_scenarios,
};
use harbor_warmer_simulator::{ProjectSpec, Right, RobotSpec, Simulator, UpstreamKind};

/// 660 s, the longest wait of all, are 46 s here.
const TIME_SCALE: f64 = 0.07;

/// What a busy machine may be late by: less than two seconds of ours.
const SLACK_SECONDS: f64 = 20.0;

const PULL: [Right; 3] = [Right::RepositoryPull, Right::ArtifactRead, Right::TagList];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulated_harbor_fulfils_every_scenario() {
    fulfils(&scenarios(), vec![4 << 10, 64 << 10], None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulated_harbor_fulfils_the_scenarios_of_a_slow_upstream() {
    fulfils(&slow_scenarios(), vec![slow::LAYER_BYTES], Some(slow::BYTES_PER_SECOND as u64)).await;
}

/// Plays the scenarios on a simulator of their own, and shows the table when something differs.
async fn fulfils(scenarios: &[Scenario], layer_sizes: Vec<usize>, bytes_per_second: Option<u64>) {
    harbor_warmer::harbor::install_crypto_provider();
    let registry = registry::start().await;
    let harbor = Simulator::builder()
        .time_scale(TIME_SCALE)
        .upstream(UpstreamKind::Registry(registry.clone()))
        .project(ProjectSpec::proxy("proxy"))
        .project(ProjectSpec::proxy("resolve"))
        .robot(RobotSpec::system("warmer", "s3cret").rights(PULL))
        .replication_target("target")
        .start()
        .await
        .expect("the simulator starts on a free port");
    harbor.upstream().rate(bytes_per_second);
    let harbor = Arc::new(harbor);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client without a proxy can be built");
    let credentials =
        |username: &str, password: &str| Credentials { username: username.to_owned(), password: password.to_owned() };
    let site = Site::new(SiteOptions {
        harbor: harbor.url().parse().expect("the simulator's address is a URL"),
        project: "proxy".to_owned(),
        resolve_project: Some("resolve".to_owned()),
        robot: credentials("robot$warmer", "s3cret"),
        upstream: Upstream::new(registry, None, http.clone()),
        target: Some(Target {
            name: "target".to_owned(),
            administrator: credentials("admin", "Harbor12345"),
            look: look_at(Arc::clone(&harbor)),
        }),
        layer_sizes,
        time_scale: TIME_SCALE,
        slack_seconds: SLACK_SECONDS,
        run: "simulated".to_owned(),
        http,
    });
    let rows = run_all(&site, scenarios).await;
    let table = print(&rows);
    assert!(rows.iter().all(|row| row.verdict == Verdict::Agrees), "{table}");
}

fn look_at(harbor: Arc<Simulator>) -> LookAtTarget {
    Box::new(move |repository, tag| {
        let target = harbor.replication_target("target");
        let digest =
            target.repositories.get(&repository).and_then(|known| known.tags.get(&tag)).map(ToString::to_string);
        async move { digest }.boxed()
    })
}
