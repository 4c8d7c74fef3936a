//! The scenarios on the simulated Harbor, its time running faster.

mod registry;

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use harbor_warmer_scenarios::{
    Credentials, Ground, Grounds, LookAtTarget, Row, Scenario, Site, SiteError, SiteOptions, Target, Upstream, Verdict,
    print, run_all, scenarios,
};
use harbor_warmer_simulator::{ProjectSpec, Right, RobotSpec, Simulator, UpstreamKind};
use reqwest::Url;

/// 660 s, the longest wait of all, are 46 s here.
const TIME_SCALE: f64 = 0.07;

/// What a busy machine may be late by: less than two seconds of ours.
const SLACK_SECONDS: f64 = 20.0;

const PULL: [Right; 3] = [Right::RepositoryPull, Right::ArtifactRead, Right::TagList];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulated_harbor_fulfils_every_scenario() {
    harbor_warmer_harbor::install_crypto_provider();
    let first = play(&scenarios()).await;
    let differ = |scenario: &Scenario| {
        first.iter().any(|row| row.verdict == Verdict::Differs && row.scenario == scenario.name())
    };
    // What a busy machine was late with is played again by itself; a wrong belief differs then, too.
    let again: Vec<Scenario> = scenarios().into_iter().filter(differ).collect();
    let second = play(&again).await;
    assert!(second.iter().all(|row| row.verdict == Verdict::Agrees), "{}\n{}", print(&first), print(&second));
}

async fn play(scenarios: &[Scenario]) -> Vec<Row> {
    let registry = registry::start().await;
    let harbor = Arc::new(simulator(registry.clone()).await);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client without a proxy can be built");
    let site = Site::new(SiteOptions {
        harbor: url(&harbor),
        project: "proxy".to_owned(),
        resolve_project: Some("resolve".to_owned()),
        robot: credentials("robot$warmer", "s3cret"),
        upstream: Upstream::new(registry, None, http.clone()),
        target: Some(Target {
            name: "target".to_owned(),
            administrator: credentials("admin", "Harbor12345"),
            look: look_at(Arc::clone(&harbor)),
        }),
        grounds: Some(Grounds { listen: Ipv4Addr::LOCALHOST.into(), make: Box::new(ground) }),
        layer_sizes: vec![4 << 10, 64 << 10],
        time_scale: TIME_SCALE,
        slack_seconds: SLACK_SECONDS,
        run: "simulated".to_owned(),
        http,
    });
    run_all(&site, scenarios).await
}

async fn simulator(upstream: Url) -> Simulator {
    Simulator::builder()
        .time_scale(TIME_SCALE)
        .upstream(UpstreamKind::Registry(upstream))
        .project(ProjectSpec::proxy("proxy"))
        .project(ProjectSpec::proxy("resolve"))
        .robot(RobotSpec::system("warmer", "s3cret").rights(PULL))
        .replication_target("target")
        .start()
        .await
        .expect("the simulator starts on a free port")
}

/// A simulator has one upstream, so a scenario with an upstream of its own gets a simulator of its own.
fn ground(_name: String, upstream: Url) -> BoxFuture<'static, Result<Ground, SiteError>> {
    async move {
        let harbor = simulator(upstream).await;
        Ok(Ground {
            harbor: url(&harbor),
            project: "proxy".to_owned(),
            resolve_project: Some("resolve".to_owned()),
            robot: credentials("robot$warmer", "s3cret"),
            administrator: credentials("admin", "Harbor12345"),
            keeper: Some(Box::new(harbor)),
        })
    }
    .boxed()
}

fn url(harbor: &Simulator) -> Url {
    harbor.url().parse().expect("the simulator's address is a URL")
}

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials { username: username.to_owned(), password: password.to_owned() }
}

fn look_at(harbor: Arc<Simulator>) -> LookAtTarget {
    Box::new(move |repository, reference| {
        let target = harbor.replication_target("target");
        let digest = if target.has_manifest(&repository, &reference) {
            Some(reference)
        } else {
            target.tag(&repository, &reference).map(ToString::to_string)
        };
        async move { digest }.boxed()
    })
}
