use harbor_warmer_workload::{ReferenceError, Unpulled};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{pod, settings};

fn plan(request: &Value, changes: &Value) -> Plan {
    Plan::of(&AdmissionRequest::read(request), &settings(changes))
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.images.iter().map(|image| image.name.as_str()).collect()
}

fn create(object: Value) -> Value {
    json!({"operation": "CREATE", "kind": {"group": "", "kind": "Pod"}, "object": object})
}

fn platforms(plan: &Plan) -> Vec<String> {
    plan.images
        .iter()
        .map(|image| match &image.decision {
            Decision::HandOver { hand_off, .. } => hand_off.platforms.path_form(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn an_update_plans_only_images_that_the_old_object_did_not_have() {
    let request = json!({
        "operation": "UPDATE", "kind": {"group": "", "kind": "Pod"},
        "object": pod(&["nginx:latest", "redis:8", "nginx:2"]), "oldObject": pod(&["docker.io/library/nginx", "redis:7"]),
    });
    assert_eq!(names(&plan(&request, &json!({}))), ["docker.io/library/redis:8", "docker.io/library/nginx:2"]);
}

#[test]
fn an_ephemeral_container_is_an_update_of_the_pod() {
    let mut object = pod(&["nginx"]);
    object["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    let request = json!({
        "operation": "UPDATE", "kind": {"group": "", "kind": "Pod"}, "subResource": "ephemeralcontainers",
        "object": object, "oldObject": pod(&["nginx"]),
    });
    assert_eq!(names(&plan(&request, &json!({}))), ["docker.io/library/busybox:latest"]);
}

#[rstest]
#[case::delete("DELETE")]
#[case::connect("CONNECT")]
#[case::lower_case("create")]
#[case::nothing("")]
fn other_operations_plan_nothing(#[case] operation: &str) {
    let request = json!({"operation": operation, "kind": {"kind": "Pod"}, "object": pod(&["nginx"])});
    assert_eq!(plan(&request, &json!({})), Plan::default());
}

#[test]
fn the_node_selector_narrows_the_platforms_of_the_settings() {
    let mut object = pod(&["nginx"]);
    object["spec"]["nodeSelector"] = json!({"kubernetes.io/arch": "arm64"});
    let both = json!({"platforms": ["linux/amd64", "linux/arm64"]});
    assert_eq!(platforms(&plan(&create(object.clone()), &both)), ["linux-arm64"]);
    let none = plan(&create(object), &json!({}));
    assert!(matches!(none.images[0].decision, Decision::NoPlatform(_)), "{none:?}");
}

#[test]
fn two_pod_specs_with_one_image_ask_for_the_platforms_of_both() {
    let pod_of = |architecture: &str| json!({"spec": {"containers": [{"image": "nginx"}], "nodeSelector": {"kubernetes.io/arch": architecture}}});
    let request = json!({
        "operation": "CREATE", "kind": {"group": "batch.volcano.sh", "kind": "Job"},
        "object": {"spec": {"tasks": [{"template": pod_of("amd64")}, {"template": pod_of("arm64")}]}},
    });
    let changes = json!({
        "platforms": ["linux/amd64", "linux/arm64"],
        "customResources": [{"group": "batch.volcano.sh", "kind": "Job", "podSpec": "/spec/tasks/*/template/spec"}],
    });
    assert_eq!(platforms(&plan(&request, &changes)), ["linux-amd64_linux-arm64"]);
}

#[test]
fn images_that_are_one_in_harbor_are_handed_over_once() {
    let rules = json!({"rules": [{"pattern": "(docker|quay).io/", "harbor": "main", "project": "p", "repository": "app", "tag": "1"}]});
    assert_eq!(plan(&create(pod(&["a", "quay.io/b/c:2"])), &rules).images.len(), 1);
}

#[rstest]
#[case::no_rule("quay.io/a/b", Decision::Unmatched)]
#[case::excluded("docker.io/secret/app", Decision::Excluded(0))]
#[case::no_reference("bad image", Decision::Unreadable(ReferenceError::InvalidRepository))]
fn images_that_are_not_handed_over_say_why(#[case] image: &str, #[case] decision: Decision) {
    let rules = json!({"rules": [
        {"prefix": "docker.io/secret", "skip": true}, {"prefix": "docker.io", "harbor": "main", "project": "hub"},
    ]});
    assert_eq!(plan(&create(pod(&[image])), &rules).images[0].decision, decision);
}

#[test]
fn a_name_that_would_be_too_long_is_told_and_never_cut() {
    let plan = plan(&create(pod(&[&"a".repeat(240)])), &json!({}));
    assert!(matches!(plan.images[0].decision, Decision::TooLong(_)), "{plan:?}");
}

#[test]
fn an_annotation_opts_out() {
    let mut object = pod(&["nginx"]);
    object["metadata"]["annotations"] = json!({"harbor-warmer.io/skip": "true"});
    assert_eq!(plan(&create(object), &json!({})).images[0].decision, Decision::OptedOut);
}

/// What a person does to a Pod is theirs to be told of, whoever made the Pod.
#[rstest]
#[case::kubectl_debug("ephemeralcontainers", false)]
#[case::the_pod_itself("", true)]
#[case::another_part("status", true)]
fn a_debug_container_is_a_persons_doing(#[case] sub_resource: &str, #[case] controlled: bool) {
    let mut object = pod(&["nginx"]);
    object["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet", "controller": true}]);
    let request = json!({
        "operation": "UPDATE", "kind": {"group": "", "kind": "Pod"}, "subResource": sub_resource, "object": object,
        "oldObject": pod(&[]),
    });
    assert_eq!(plan(&request, &json!({})).controlled, controlled);
}

#[rstest]
#[case::never_pulled_before(json!({"spec": {"containers": [{"image": "nginx", "imagePullPolicy": "Never"}]}}), true)]
#[case::left_alone_before(json!({"metadata": {"annotations": {"harbor-warmer.io/skip": "yes"}}, "spec": {"containers": [{"image": "nginx"}]}}), true)]
#[case::on_other_nodes_before(json!({"spec": {"nodeSelector": {"kubernetes.io/arch": "arm64"}, "containers": [{"image": "nginx"}]}}), true)]
#[case::the_same_before(json!({"spec": {"containers": [{"image": "docker.io/library/nginx:latest"}]}}), false)]
fn an_update_asks_for_what_had_not_been_asked_for(#[case] old: Value, #[case] asked: bool) {
    let request = json!({
        "operation": "UPDATE", "kind": {"group": "", "kind": "Pod"}, "object": pod(&["nginx"]), "oldObject": old,
    });
    let both = json!({"platforms": ["linux/amd64", "linux/arm64"]});
    assert_eq!(plan(&request, &both).images.len(), usize::from(asked));
}

#[test]
fn what_is_never_pulled_is_not_handed_over() {
    let mut object = pod(&["nginx"]);
    object["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    assert_eq!(plan(&create(object), &json!({})).images[0].decision, Decision::Unpulled(Unpulled::Never));
}

#[test]
fn a_custom_resource_without_a_pod_spec_is_noted() {
    let request = json!({
        "operation": "CREATE", "kind": {"group": "argoproj.io", "kind": "Rollout"},
        "object": {"spec": {"workloadRef": {"kind": "Deployment"}}},
    });
    assert_eq!(plan(&request, &json!({"presets": ["argo-rollouts"]})).unfound, ["/spec/template/spec"]);
}

#[test]
fn a_hundred_thousand_images_are_read_up_to_a_bound() {
    let images: Vec<_> = (0..100_000).map(|number| format!("i{number}")).collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let plan = plan(&create(pod(&images)), &json!({}));
    assert_eq!((plan.images.len(), plan.unread), (READ_MAX, 100_000 - READ_MAX));
}
