//! Findings, from the answers of a simulated Harbor.

use std::path::Path;

use harbor_warmer_simulator::{ProjectSpec, Right, RobotSpec, Simulator, SimulatorBuilder};
use rstest::rstest;

use crate::Screen;
use crate::check::{offline, online};
use harbor_warmer::config::{Config, document};

const ROBOT: &str = "robot$hub+warmer";

/// A Harbor with a proxy cache, a second one for its indexes, an ordinary project and a robot.
pub(in crate::check) fn harbor(robot: RobotSpec) -> SimulatorBuilder {
    Simulator::builder()
        .time_scale(0.01)
        .project(ProjectSpec::proxy("hub"))
        .project(ProjectSpec::proxy("hub-index"))
        .project(ProjectSpec::hosted("own"))
        .robot(robot)
}

fn project_robot() -> RobotSpec {
    RobotSpec::project("hub", "warmer", "swordfish")
}

pub(in crate::check) fn system_robot() -> RobotSpec {
    RobotSpec::system("warmer", "swordfish")
}

pub(in crate::check) fn config(url: &str, directory: &Path, username: &str, projects: &str, rest: &str) -> Config {
    std::fs::write(directory.join("password"), "swordfish\n").unwrap();
    let yaml = format!(
        "harbors:
  main:
    url: {url}
    credentials: {{username: '{username}', passwordFile: password}}
    projects: {projects}
{rest}"
    );
    document::parse(&yaml, directory).unwrap()
}

/// The report on the Harbor, without what the configuration alone says.
pub(in crate::check) async fn report(config: &Config) -> (String, bool) {
    let report = online(config).await;
    let text = report.render(&Screen::default());
    let harbors = text.find("Harbor main").unwrap();
    (text[harbors..].to_owned(), report.has_problems())
}

#[track_caller]
pub(in crate::check) fn assert_says(text: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(text.contains(fragment), "no `{fragment}` in\n{text}");
    }
}

#[tokio::test]
async fn a_project_robot_with_its_rights_is_well() {
    let simulator = harbor(project_robot()).start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&config(&simulator.url(), directory.path(), ROBOT, "{hub: {}}", "")).await;

    assert!(!problems, "{text}");
    assert_says(
        &text,
        &[
            "✓ it answers, version v2",
            "✓ the credentials are accepted",
            "✓ hub is a proxy cache, and its upstream answers",
            "✓ hub: artifacts may be read",
            "! hub has no resolveThrough",
            "hub: {resolveThrough: hub-index}",
            "No problem found. 4 lines to look at.",
        ],
    );
}

#[tokio::test]
async fn indexes_are_read_through_a_project_of_the_same_endpoint() {
    let simulator = harbor(system_robot()).start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let projects = "{hub: {resolveThrough: hub-index}, hub-index: {}}";

    let (text, problems) = report(&config(&simulator.url(), directory.path(), "robot$warmer", projects, "")).await;

    assert!(!problems, "{text}");
    assert_says(&text, &["✓ hub-index is a proxy cache of the same endpoint"]);
    assert!(!text.contains("has no resolveThrough"), "{text}");
}

#[tokio::test]
async fn an_ordinary_project_is_no_proxy_cache() {
    let simulator = harbor(system_robot()).start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&config(&simulator.url(), directory.path(), "robot$warmer", "{own: {}}", "")).await;

    assert!(problems, "{text}");
    assert_says(&text, &["✗ own is an ordinary project", "make another with \"Proxy Cache\" on"]);
}

#[tokio::test]
async fn a_project_that_is_absent_is_told() {
    let simulator = harbor(system_robot()).start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) =
        report(&config(&simulator.url(), directory.path(), "robot$warmer", "{nosuch: {}}", "")).await;

    assert!(problems, "{text}");
    assert_says(&text, &["✗ nosuch does not exist", "correct its name under projects"]);
}

#[tokio::test]
async fn a_robot_of_another_project_may_not_pull() {
    let simulator = harbor(project_robot()).start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&config(&simulator.url(), directory.path(), ROBOT, "{hub-index: {}}", "")).await;

    assert!(problems, "{text}");
    assert_says(&text, &["✗ hub-index: ", "`repository: pull`"]);
}

#[tokio::test]
async fn an_expired_robot_is_told_once() {
    let simulator = harbor(project_robot()).start().await.unwrap();
    simulator.set_robot_expired(ROBOT, true);
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&config(&simulator.url(), directory.path(), ROBOT, "{hub: {}, own: {}}", "")).await;

    assert!(problems, "{text}");
    assert_says(&text, &["✗ the credentials are refused", "robots expire after 30 days", "1 problem."]);
}

#[tokio::test]
async fn a_robot_that_may_only_pull_makes_warm_a_weaker_word() {
    let simulator = harbor(project_robot()).start().await.unwrap();
    simulator.set_robot_rights(ROBOT, [Right::RepositoryPull]);
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&config(&simulator.url(), directory.path(), ROBOT, "{hub: {}}", "")).await;

    assert!(!problems, "{text}");
    assert_says(&text, &["! hub: artifacts may not be read", "give the robot the right `artifact: read`"]);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_no_fault_of_the_configuration() {
    let simulator = harbor(project_robot()).start().await.unwrap();
    simulator.set_endpoint_healthy(false);
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&config(&simulator.url(), directory.path(), ROBOT, "{hub: {}}", "")).await;

    assert!(!problems, "{text}");
    assert_says(&text, &["! hub is a proxy cache, but its upstream said nothing of library/hello-world"]);
}

#[rstest]
#[case::in_a_year(Some(4_000_000_000), &[Right::RepositoryPull, Right::RobotList], "✓ robot$hub+warmer expires at 2096-10-02T07:06:40")]
#[case::long_ago(Some(1_000_000_000), &[Right::RepositoryPull, Right::RobotList], "! robot$hub+warmer expires at 2001-09-09T01:46:40")]
#[case::never(None, &[Right::RepositoryPull, Right::RobotList], "✓ robot$hub+warmer never expires")]
#[case::unknown(Some(1), &[Right::RepositoryPull], "when the robot expires, it may not read: that takes the right `robot: list`")]
#[tokio::test]
async fn a_robots_expiry_is_told_where_it_may_read_it(
    #[case] expires_at: Option<i64>,
    #[case] rights: &[Right],
    #[case] finding: &str,
) {
    let mut robot = project_robot().rights(rights.iter().copied());
    if let Some(seconds) = expires_at {
        robot = robot.expires_at(seconds);
    }
    let simulator = harbor(robot).start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&config(&simulator.url(), directory.path(), ROBOT, "{hub: {}}", "")).await;

    assert!(!problems, "{text}");
    assert_says(&text, &[finding]);
}

/// One says nothing of a repository that it lacks, and the other lacks the usual one.
#[rstest]
#[case::a_pinned_image(
    "pinned: [docker.io/team/app:1]",
    "hub: its upstream does not answer: it said nothing of team/app, which is pinned"
)]
#[case::nothing_known("", "hub is a proxy cache, but its upstream said nothing of library/hello-world")]
#[tokio::test]
async fn an_upstream_is_asked_about_what_it_should_have(#[case] pinned: &str, #[case] finding: &str) {
    let simulator = harbor(project_robot()).start().await.unwrap();
    simulator.set_endpoint_healthy(false);
    let directory = tempfile::tempdir().unwrap();
    let rest = format!("rules: [{{prefix: docker.io, harbor: main, project: hub}}]\n{pinned}\n");

    let (text, _) = report(&config(&simulator.url(), directory.path(), ROBOT, "{hub: {}}", &rest)).await;

    assert_says(&text, &[finding]);
}

#[rstest]
#[case::half_of_it(
    Some(7),
    "{}",
    false,
    "✓ hub: what nobody pulled for 7d is dropped; images are pulled again after 3d12h"
)]
#[case::of_two_days(
    Some(2),
    "{}",
    false,
    "✓ hub: what nobody pulled for 2d is dropped; images are pulled again after 1d"
)]
#[case::none(None, "{}", false, "✓ hub: no retention rule drops anything")]
#[case::too_seldom(Some(7), "{keepWarmEvery: 8d}", true, "✗ hub: what nobody pulled for 7d is dropped, before")]
#[case::at_once(Some(0), "{}", true, "✗ hub: what nobody pulled for 0s is dropped, before")]
#[tokio::test]
async fn a_retention_rule_is_read_where_the_robot_may(
    #[case] days: Option<u64>,
    #[case] project: &str,
    #[case] bad: bool,
    #[case] finding: &str,
) {
    let simulator = Simulator::builder()
        .time_scale(0.01)
        .project(ProjectSpec::proxy("hub").retention_days(days))
        .robot(project_robot().rights([Right::RepositoryPull, Right::ArtifactRead, Right::RetentionRead]))
        .start()
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();

    let projects = format!("{{hub: {project}}}");
    let (text, problems) = report(&config(&simulator.url(), directory.path(), ROBOT, &projects, "")).await;

    assert_eq!(problems, bad, "{text}");
    assert_says(&text, &[finding]);
}

#[tokio::test]
async fn a_retention_rule_that_may_not_be_read_is_told_with_the_right() {
    let simulator = harbor(project_robot()).start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();

    let (text, _) = report(&config(&simulator.url(), directory.path(), ROBOT, "{hub: {}}", "")).await;

    assert_says(&text, &["! hub: its retention rules may not be read", "`tag-retention: read`"]);
    for silent in ["{hub: {keepWarm: false}}", "{hub: {keepWarmEvery: 1d}}"] {
        let (text, _) = report(&config(&simulator.url(), directory.path(), ROBOT, silent, "")).await;
        assert!(!text.contains("retention"), "{text}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_told_with_its_cure() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) =
        report(&config(&format!("http://{address}"), directory.path(), ROBOT, "{hub: {}}", "")).await;

    assert!(problems, "{text}");
    assert_says(&text, &["✗ it does not answer: the connection to Harbor failed", "look at url"]);
}

#[test]
fn offline_says_what_the_configuration_means() {
    let directory = tempfile::tempdir().unwrap();
    let rest = "\
registry:
  credentials: [{cluster: cluster-a, passwordFile: password}]
admin: {listen: '0.0.0.0:9090'}
targets:
  prod:
    harbor: main
    credentials: {username: replicator, passwordFile: password}
    replication: {existing: to-ecr}
rules:
- {prefix: docker.io, harbor: main, project: hub, target: prod}
platforms: [linux/amd64, linux/arm64]
";
    let projects = "{hub: {resolveThrough: hub-index}, hub-index: {transfer: drain, completeIndex: false}}";
    let config = config("https://harbor.example.com", directory.path(), ROBOT, projects, rest);

    let report = offline(&config);

    assert!(!report.has_problems());
    insta::assert_snapshot!(report.render(&Screen::default()), @r"
    Ports
        registry port 0.0.0.0:8443 (plain HTTP)
        these clusters may hand over: cluster-a
      ! their passwords cross the network in the clear
          name certificateFile and keyFile under registry.tls
        a policy's look-up waits for Harbor at most 400ms, all of a user's at most 500ms within 30s
        admin port 0.0.0.0:9090
      ! others than this machine reach the admin port, so that it answers probes and metrics alone
          for `status`, `warm`, `plan` and `requeue` write admin.socket or admin.tokenFile

    Queue
        in /var/lib/harbor-warmer, 32 images at once
        a warm tag is looked at again when asked for after 10m
        given up: what keeps failing after 1d, a tag that its upstream lacks after 1d

    Rules of the command line
        1 rule, to main
        with the replication targets prod
        for linux/amd64, linux/arm64
        docker.io/library/app:latest: rules[0] gives main/hub/library/app:latest for linux/amd64, linux/arm64, replicated to prod

    Harbor main
        https://harbor.example.com, as robot$hub+warmer, 8 to 32 transfers at once
        project hub: blobs are touched, whole indexes, indexes read through hub-index
        project hub-index: blobs are drained, the wanted platforms alone

    Target prod
        replicated from main by the policy to-ecr, started as it is

    No problem found. 2 lines to look at.
    ");
}
