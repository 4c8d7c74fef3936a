//! A recorded tag reaches the target with all its platforms, and an image that is used stays in Harbor.

use std::time::Duration;

use harbor_warmer::config::{Config, KeepWarm, Replication, Target};
use harbor_warmer_core::view::Phase;
use harbor_warmer_harbor::{Credentials, OwnPolicy, Secret};
use harbor_warmer_protocol::{HandOff, Platforms, Receipt, Subject};
use harbor_warmer_simulator::RobotSpec;
use harbor_warmer_workload::RuleSet;
use serde_json::json;

use crate::site::{Options, Site, harbor, place, two_platforms};

fn with_target() -> Options {
    Options { project: "completeIndex: true".to_owned(), tune: add_target, ..Options::default() }
}

fn add_target(config: &mut Config) {
    let password = config.data_dir.parent().unwrap().join("password");
    let target = Target {
        harbor: "main".parse().unwrap(),
        credentials: Credentials::Basic { username: "robot$replicator".to_owned(), password: Secret::File(password) },
        replication: Replication::Own(OwnPolicy {
            name: "harbor-warmer-prod".to_owned(),
            registry: Some("ecr".to_owned()),
            dest_namespace: None,
            dest_namespace_replace_count: None,
        }),
    };
    config.targets.insert("prod".parse().unwrap(), target);
}

async fn start() -> Site {
    let harbor = harbor().robot(RobotSpec::system("replicator", "s3cret")).replication_target("ecr");
    Site::with(harbor, with_target()).await
}

async fn announce_for_target(site: &Site, repository: &str, tag: &str) -> String {
    let hand_off = HandOff {
        image: place(repository),
        target: Some("prod".parse().unwrap()),
        platforms: Platforms::new(["linux/amd64".parse().unwrap()]).unwrap(),
        subject: Subject::Tag(tag.parse().unwrap()),
    };
    let (name, tag) = hand_off.to_name().unwrap();
    let url = format!("http://{}/v2/{name}/manifests/{tag}", site.service.registry_address);
    let response = site.http.get(url).send().await.unwrap();
    Receipt::from_manifest(&response.bytes().await.unwrap()).unwrap().image.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_reaches_its_target_by_tag_with_every_platform_and_nothing_else_does() {
    let site = start().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    site.harbor.upstream().push(two_platforms("library/app", "other"));
    let id = announce_for_target(&site, "library/app", "1.0").await;
    let view = site.wait_for(&id, |view| view.summary.phase == Phase::Replicated).await;
    let target = site.harbor.replication_target("ecr");
    let repository = target.repositories.get("hub/library/app").expect("the repository is at the target");
    let tags: Vec<_> = repository.tags.keys().map(String::as_str).collect();
    assert_eq!(tags, ["1.0"]);
    let index = image.index.as_ref().expect("an index").as_str();
    assert_eq!(repository.tags["1.0"].as_str(), index, "with the upstream's own index");
    assert!(view.timeline.iter().any(|milestone| milestone.what == "1.0 replicated to prod"), "{:?}", view.timeline);
    let metrics = site.metrics().await;
    assert!(metrics.contains(r#"harbor_warmer_replications_total{target="prod",outcome="succeeded"} 1"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_several_repositories_each_reach_the_target_through_the_one_policy() {
    let site = start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let repository = format!("library/app{n}");
        site.harbor.upstream().push(two_platforms(&repository, "1.0"));
        ids.push(announce_for_target(&site, &repository, "1.0").await);
    }
    for id in ids {
        site.wait_for(&id, |view| view.summary.phase == Phase::Replicated).await;
    }
    let target = site.harbor.replication_target("ecr");
    for n in 0..5 {
        let repository = target.repositories.get(&format!("hub/library/app{n}")).expect("at the target");
        assert_eq!(repository.tags.keys().collect::<Vec<_>>(), ["1.0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_is_tried_again_and_told() {
    let site = start().await;
    site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    site.harbor.refuse_at_target("ecr", "hub/library/app", "1.0", true);
    let id = announce_for_target(&site, "library/app", "1.0").await;
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    let failed = |metrics: &str| metrics.contains(r#"replications_total{target="prod",outcome="failed"}"#);
    let deadline = tokio::time::Instant::now() + crate::site::PATIENCE;
    while !failed(&site.metrics().await) {
        assert!(tokio::time::Instant::now() < deadline, "no failure is told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.harbor.refuse_at_target("ecr", "hub/library/app", "1.0", false);
    site.wait_for(&id, |view| view.summary.phase == Phase::Replicated).await;
}

fn add_target_of_another_name(config: &mut Config) {
    add_target(config);
    config.rules = RuleSet::from_value(&json!([{
        "prefix": "ecr.invalid", "harbor": "main", "project": "hub", "target": "prod",
    }]))
    .unwrap();
}

/// Workloads name `ecr.invalid/team/app`, and Harbor would bring it to `ecr.invalid/hub/team/app`.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_would_arrive_under_a_name_that_nobody_has_for_it_is_not_copied() {
    let harbor = harbor().robot(RobotSpec::system("replicator", "s3cret")).replication_target("ecr");
    let site = Site::with(harbor, Options { tune: add_target_of_another_name, ..with_target() }).await;
    site.harbor.upstream().push(two_platforms("team/app", "1.0"));
    let id = announce_for_target(&site, "team/app", "1.0").await;
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    let failed = |metrics: &str| metrics.contains(r#"replications_total{target="prod",outcome="failed"}"#);
    let refused = |metrics: &str| failed(metrics) && !metrics.contains(r#"outcome="failed"} 0"#);
    let deadline = tokio::time::Instant::now() + crate::site::PATIENCE;
    while !refused(&site.metrics().await) {
        assert!(tokio::time::Instant::now() < deadline, "no refusal is told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let why = "would bring main/hub/team/app:1.0 to ecr.invalid/hub/team/app:1.0, which no rule maps back to it";
    let view = site.wait_for_reason(&id, why).await;
    assert_eq!(view.summary.phase, Phase::Tagged);
    assert!(site.harbor.replication_target("ecr").repositories.is_empty());
}

fn keep_often(config: &mut Config) {
    for project in config.harbors.values_mut().flat_map(|harbor| harbor.projects.values_mut()) {
        project.keep_warm = KeepWarm::Every(Duration::from_secs(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_used_survives_the_retention_of_its_project() {
    let options = Options { tune: keep_often, ..Options::default() };
    let site = Site::with(harbor(), options).await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0").single_manifest());
    let id = site.announce("library/app", "1.0", "linux/amd64").await.image.unwrap();
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    let digest = image.children[0].digest.clone();
    let pulled = site.harbor.artifact_pulled_at("hub", "library/app", digest.as_str());
    site.wait_for(&id, |view| view.timeline.iter().any(|milestone| milestone.what.contains("kept"))).await;
    assert!(site.harbor.artifact_pulled_at("hub", "library/app", digest.as_str()) > pulled);
}
