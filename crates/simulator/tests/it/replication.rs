//! Replications: what arrives at the target, and what the API says of it.

use std::time::Duration;

use harbor_warmer_simulator::PushedImage;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{AMD64, ARM64, Lab, ROBOT, SECRET, SOON, SYSTEM_ROBOT, assert_took, measured_image};

const POLICIES: &str = "/api/v2.0/replication/policies";
const EXECUTIONS: &str = "/api/v2.0/replication/executions";

fn policy(trigger: &str, name: &str, tag: &str) -> Value {
    json!({
        "name": "to-ecr",
        "enabled": true,
        "override": true,
        "dest_registry": {"id": 2},
        "dest_namespace": "mirror",
        "dest_namespace_replace_count": 1,
        "trigger": {"type": trigger},
        "filters": [{"type": "name", "value": name}, {"type": "tag", "value": tag}],
    })
}

async fn create(lab: &mut Lab, body: &Value) -> String {
    lab.login(SYSTEM_ROBOT, SECRET);
    let created = lab.send_json(Method::POST, POLICIES, body).await;
    assert_eq!(created.status(), 201);
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    lab.login(ROBOT, SECRET);
    location
}

/// Starts an execution and returns its location.
async fn start(lab: &mut Lab, policy: &str) -> String {
    lab.login(SYSTEM_ROBOT, SECRET);
    let id: u64 = policy.rsplit('/').next().unwrap().parse().unwrap();
    let started = lab.send_json(Method::POST, EXECUTIONS, &json!({"policy_id": id})).await;
    assert_eq!(started.status(), 201);
    started.headers()["location"].to_str().unwrap().to_owned()
}

/// Follows an execution by its tasks, as one does, and returns it with them at its end.
async fn finished(lab: &Lab, execution: &str) -> (Value, Value) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let (_, shown) = lab.get_json(execution).await;
        if shown["status"] != "InProgress" {
            return (shown, lab.get_json(&format!("{execution}/tasks")).await.1);
        }
        assert!(tokio::time::Instant::now() < patience, "still {shown}");
        lab.pass(lab.simulator.now(), 2).await;
    }
}

async fn warm_all(lab: &Lab, image: &PushedImage) {
    lab.head_tag(image).await;
    lab.get_manifest(image, &image.digest).await;
    for child in &image.children {
        lab.warm_child(image, &child.platform).await;
    }
    lab.until_tagged(image).await;
}

#[tokio::test]
async fn a_manual_execution_copies_the_tag_with_upstreams_own_index_and_every_platform() {
    let mut lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.warm_child(&image, AMD64).await;
    let policy = create(&mut lab, &policy("manual", "proxy/library/app", "1.0")).await;
    // Before the tag is visible there is nothing to carry.
    let early = start(&mut lab, &policy).await;
    let (shown, tasks) = finished(&lab, &early).await;
    assert_eq!((&shown["status"], &shown["total"]), (&json!("Succeed"), &json!(0)));
    assert!(shown["status_text"].as_str().unwrap().starts_with("no resources"));
    assert_eq!(tasks, json!([]));

    lab.until_tagged(&image).await;
    let begun = lab.simulator.now();
    let execution = start(&mut lab, &policy).await;
    lab.until("the tag arrives", |it| it.replication_target("ecr").tag("mirror/library/app", "1.0").is_some()).await;
    let (_, shown) = lab.get_json(&execution).await;
    assert_eq!(shown["status"], "InProgress", "the status lags behind the tasks");
    let (shown, tasks) = finished(&lab, &execution).await;
    assert_took(begun, Some(lab.simulator.now()), 27, SOON);
    assert_eq!((&shown["status"], &shown["succeed"]), (&json!("Succeed"), &json!(1)));
    assert_eq!((&tasks[0]["status"], &tasks[0]["dst_resource"]), (&json!("Succeed"), &json!("mirror/library/app")));
    let target = lab.simulator.replication_target("ecr");
    assert_eq!(target.tag("mirror/library/app", "1.0"), Some(&image.digest), "not the trimmed one that is recorded");
    for child in &image.children {
        assert!(target.has_manifest("mirror/library/app", &child.digest));
    }
    for digest in image.blobs().keys() {
        assert!(target.has_blob("mirror/library/app", digest), "those not warmed came from upstream");
    }
}

#[tokio::test]
async fn an_event_brings_the_manifest_without_a_tag() {
    let mut lab = Lab::start().await;
    create(&mut lab, &policy("event_based", "proxy/**", "**")).await;
    let image = lab.simulator.upstream().push(measured_image().single_manifest().layer_sizes([4096]));
    lab.head_tag(&image).await;
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    let digest = image.digest.clone();
    lab.until("it arrives", |it| it.replication_target("ecr").has_manifest("mirror/library/app", &digest)).await;
    lab.pass(lab.simulator.now(), 30).await;
    assert_eq!(lab.simulator.replication_target("ecr").tag("mirror/library/app", "1.0"), None);
}

#[tokio::test]
async fn an_event_does_not_pass_a_filter_that_names_a_tag() {
    let mut lab = Lab::start().await;
    create(&mut lab, &policy("event_based", "proxy/**", "1.0")).await;
    let image = lab.simulator.upstream().push(measured_image().single_manifest().layer_sizes([4096]));
    lab.head_tag(&image).await;
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    lab.pass(lab.simulator.now(), 30).await;
    assert!(lab.simulator.replication_target("ecr").repositories.is_empty());
}

#[tokio::test]
async fn a_policy_is_read_at_the_start_so_a_change_brings_exactly_what_it_names() {
    let mut lab = Lab::start().await;
    let one = lab.simulator.upstream().push(measured_image().layer_sizes([4096]).platforms([AMD64]));
    warm_all(&lab, &one).await;
    let spec = harbor_warmer_simulator::ImageSpec::new("library/other", "2.0").layer_sizes([4096]);
    let other = lab.simulator.upstream().push(spec);
    warm_all(&lab, &other).await;
    let location = create(&mut lab, &policy("manual", "proxy/library/app", "1.0")).await;
    let first = start(&mut lab, &location).await;
    let changed = policy("manual", "proxy/library/other", "2.0");
    assert_eq!(lab.send_json(Method::PUT, &location, &changed).await.status(), 200);
    let second = start(&mut lab, &location).await;
    for (execution, repository) in [(&first, "mirror/library/app"), (&second, "mirror/library/other")] {
        let (_, tasks) = finished(&lab, execution).await;
        assert_eq!(tasks.as_array().unwrap().len(), 1);
        assert_eq!(tasks[0]["dst_resource"], repository);
    }
    // Deleting a policy deletes its history.
    assert_eq!(lab.send(Method::DELETE, &location).await.status(), 200);
    assert_eq!(lab.get(&first).await.status(), 404);
}

#[tokio::test]
async fn a_wide_policy_moves_other_tags_and_spoils_the_record_of_a_tag_that_moved_upstream() {
    let mut lab = Lab::start().await;
    let old = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    warm_all(&lab, &old).await;
    let new = lab.simulator.upstream().push(measured_image().layer_sizes([4096]).revision(2));
    let location = create(&mut lab, &policy("manual", "proxy/**", "**")).await;
    let execution = start(&mut lab, &location).await;
    finished(&lab, &execution).await;
    let arrived = lab.simulator.replication_target("ecr").tag("mirror/library/app", "1.0").cloned();
    assert_eq!(arrived, Some(new.digest.clone()), "nobody asked for that");
    // Its GET by tag was the first read of the new index: warmed in the right order, the tag still doesn't move.
    lab.login(ROBOT, SECRET);
    let before = lab.simulator.tag("proxy", "library/app", "1.0");
    lab.head_tag(&new).await;
    lab.get_manifest(&new, &new.digest).await;
    lab.warm_child(&new, AMD64).await;
    lab.warm_child(&new, ARM64).await;
    lab.until_recorded(&new, &new.child(ARM64).digest).await;
    lab.pass(lab.simulator.now(), 480).await;
    assert_eq!(lab.simulator.tag("proxy", "library/app", "1.0"), before);
}

#[tokio::test]
async fn a_single_active_policy_and_a_disabled_one_refuse_to_start() {
    let mut lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]).platforms([AMD64]));
    warm_all(&lab, &image).await;
    let mut body = policy("manual", "proxy/library/app", "1.0");
    body["single_active_replication"] = json!(true);
    let location = create(&mut lab, &body).await;
    // Nothing that the target needs arrives while the first one runs.
    lab.simulator.upstream().latency(Duration::from_secs(200));
    let first = start(&mut lab, &location).await;
    let second = start(&mut lab, &location).await;
    let (_, shown) = lab.get_json(&second).await;
    assert_eq!(shown["status"], "Failed");
    assert_eq!(shown["status_text"], "Execution skipped: active replication still in progress.");
    lab.simulator.upstream().latency(Duration::ZERO);
    let (shown, _) = finished(&lab, &first).await;
    assert_eq!(shown["status"], "Succeed");
    body["enabled"] = json!(false);
    assert_eq!(lab.send_json(Method::PUT, &location, &body).await.status(), 200);
    let id: u64 = location.rsplit('/').next().unwrap().parse().unwrap();
    assert_eq!(lab.send_json(Method::POST, EXECUTIONS, &json!({"policy_id": id})).await.status(), 412);
}

#[tokio::test]
async fn one_refused_tag_fails_the_task_although_another_arrives() {
    let mut lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().single_manifest().layer_sizes([4096]));
    lab.simulator.upstream().move_tag("library/app", "b", &image.digest);
    lab.head(&lab.manifest("library/app", "b")).await;
    lab.head_tag(&image).await;
    lab.warm_child(&image, AMD64).await;
    lab.until("both tags are recorded", |it| it.tags("proxy", "library/app").len() == 2).await;
    lab.simulator.refuse_at_target("ecr", "mirror/library/app", "b", true);
    let location = create(&mut lab, &policy("manual", "proxy/library/app", "{1.0,b}")).await;
    let execution = start(&mut lab, &location).await;
    let (shown, tasks) = finished(&lab, &execution).await;
    assert_eq!((&shown["status"], &tasks[0]["status"]), (&json!("Failed"), &json!("Failed")));
    assert!(lab.simulator.replication_target("ecr").tag("mirror/library/app", "1.0").is_some());
    let task = tasks[0]["id"].as_u64().unwrap();
    let log = lab.get(&format!("{execution}/tasks/{task}/log")).await.text().await.unwrap();
    assert_eq!(log, "the target refuses the tag b");
}

#[tokio::test]
async fn a_non_distributable_layer_fails_the_replication_and_a_docker_foreign_one_is_skipped() {
    for (docker, expected) in [(false, "Failed"), (true, "Succeed")] {
        let mut lab = Lab::start().await;
        let windows = "windows/amd64";
        let mut spec = measured_image().platforms([AMD64, windows]).layer_sizes([4096]).nondistributable_layer(windows);
        if docker {
            spec = spec.docker();
        }
        let image = lab.simulator.upstream().push(spec);
        lab.head_tag(&image).await;
        lab.get_manifest(&image, &image.digest).await;
        lab.warm_child(&image, AMD64).await;
        lab.until_tagged(&image).await;
        let location = create(&mut lab, &policy("manual", "proxy/library/app", "1.0")).await;
        let execution = start(&mut lab, &location).await;
        let (shown, _) = finished(&lab, &execution).await;
        assert_eq!(shown["status"], expected);
    }
}
