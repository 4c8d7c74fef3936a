use rstest::rstest;
use serde_json::json;

use super::*;

#[test]
fn a_job_of_another_group_is_not_taken_for_a_kubernetes_job() {
    let custom = CustomKinds::default();
    assert_eq!(custom.places("batch", "Job").pod_specs.len(), 1);
    assert_eq!(custom.places("batch.volcano.sh", "Job").pod_specs.len(), 0);
}

#[test]
fn a_kind_may_have_several_pod_specs() {
    let custom = CustomKinds::from_value(&json!([
        {"group": "leaderworkerset.x-k8s.io", "kind": "LeaderWorkerSet", "podSpec": "/spec/a/spec"},
        {"group": "leaderworkerset.x-k8s.io", "kind": "LeaderWorkerSet", "podSpec": "/spec/b/spec"},
        {"group": "argoproj.io", "kind": "Rollout"},
    ]))
    .unwrap();
    let places = custom.places("leaderworkerset.x-k8s.io", "LeaderWorkerSet");
    assert_eq!(places.pod_specs, ["/spec/a/spec", "/spec/b/spec"]);
    assert_eq!(custom.places("argoproj.io", "Rollout").pod_specs, [TEMPLATE]);
}

#[rstest]
#[case::not_a_list(json!({}), "customResources: must be a list, not a map")]
#[case::not_a_map(json!(["Rollout"]), "customResources[0]: must be a map of keys, not a text")]
#[case::no_group(json!([{"kind": "Rollout"}]), "customResources[0].group: missing; write the API group, for example argoproj.io")]
#[case::no_kind(json!([{"group": "argoproj.io"}]), "customResources[0].kind: missing; write the kind, for example Rollout")]
#[case::no_pointer(
    json!([{"group": "a.io", "kind": "B", "podSpec": "spec.template"}]),
    "customResources[0].podSpec: `spec.template`: a JSON pointer is written like /spec/template"
)]
#[case::group_with_its_version(json!([{"group": "argoproj.io/v1alpha1", "kind": "Rollout"}]), "customResources[0].group: `argoproj.io/v1alpha1`: write the API group alone: argoproj.io")]
#[case::group_with_a_blank(json!([{"group": "argoproj.io ", "kind": "Rollout"}]), "customResources[0].group: `argoproj.io `: write the API group alone: argoproj.io")]
#[case::group_without_a_dot(json!([{"group": "argoproj", "kind": "Rollout"}]), "customResources[0].group: `argoproj`: an API group is written like argoproj.io; `kubectl api-resources` has it")]
#[case::version_for_a_group(json!([{"group": "v1", "kind": "Rollout"}]), "customResources[0].group: `v1`: an API group is written like argoproj.io; `kubectl api-resources` has it")]
#[case::group_in_capitals(json!([{"group": "Argoproj.io", "kind": "Rollout"}]), "customResources[0].group: `Argoproj.io`: an API group is written like argoproj.io; `kubectl api-resources` has it")]
#[case::known_plural(json!([{"group": "argoproj.io", "kind": "rollouts"}]), "customResources[0].kind: `rollouts`: a kind is a singular with capitals; write Rollout")]
#[case::known_plural_of_several_words(json!([{"group": "kubeflow.org", "kind": "pytorchjobs"}]), "customResources[0].kind: `pytorchjobs`: a kind is a singular with capitals; write PyTorchJob")]
#[case::known_singular(json!([{"group": "argoproj.io", "kind": "rollout"}]), "customResources[0].kind: `rollout`: a kind is a singular with capitals; write Rollout")]
#[case::kind_with_a_blank(json!([{"group": "argoproj.io", "kind": " Rollout"}]), "customResources[0].kind: ` Rollout`: a kind is a singular with capitals; write Rollout")]
#[case::unknown_plural(json!([{"group": "a.io", "kind": "runners"}]), "customResources[0].kind: `runners`: a kind is a singular with capitals, like Rollout; `kubectl api-resources` has it")]
#[case::kind_with_its_group(json!([{"group": "a.io", "kind": "Runner.a.io"}]), "customResources[0].kind: `Runner.a.io`: a kind is a singular with capitals, like Rollout; `kubectl api-resources` has it")]
#[case::containers(json!([{"group": "a.io", "kind": "B", "podSpec": "/spec/template/spec/containers"}]), "customResources[0].podSpec: `/spec/template/spec/containers`: the pod spec is what holds the containers; write /spec/template/spec")]
#[case::brackets(json!([{"group": "a.io", "kind": "B", "podSpec": "/spec/tasks[*]/template/spec"}]), "customResources[0].podSpec: `/spec/tasks[*]/template/spec`: a JSON pointer is written like /spec/tasks/*/template/spec")]
#[case::slash_at_the_end(json!([{"group": "a.io", "kind": "B", "podSpec": "/spec/template/spec/"}]), "customResources[0].podSpec: `/spec/template/spec/`: a JSON pointer is written like /spec/template/spec")]
#[case::an_image_for_a_pod_spec(json!([{"group": "a.io", "kind": "B", "podSpec": "/spec/image"}]), "customResources[0].podSpec: `/spec/image`: this leads to an image; write images: [/spec/image]")]
#[case::image_pointer(json!([{"group": "a.io", "kind": "B", "images": ["/spec/a", "spec.image"]}]), "customResources[0].images[1]: `spec.image`: a JSON pointer is written like /spec/image")]
#[case::images_as_a_text(json!([{"group": "a.io", "kind": "B", "images": "/spec/image"}]), "customResources[0].images: must be a list, not a text")]
#[case::built_in(json!([{"group": "apps", "kind": "Deployment"}]), "customResources[0]: this kind is read anyway; remove it")]
#[case::unknown_key(
    json!([{"group": "a.io", "kind": "B", "version": "v1"}]),
    "customResources[0].version: unknown key; the keys here are group, kind, podSpec, images"
)]
fn mistakes_name_the_key_and_say_what_to_write(#[case] value: Value, #[case] message: &str) {
    let mistakes: Vec<_> = CustomKinds::from_value(&value).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(mistakes, [message]);
}

#[test]
fn presets_and_lists_add_up() {
    let custom =
        CustomKinds::from_value(&json!([{"group": "argoproj.io", "kind": "Rollout", "images": ["/spec/extra"]}]))
            .unwrap()
            .with_presets(vec!["argo-rollouts".parse().unwrap()]);
    let places = custom.places("argoproj.io", "Rollout");
    assert_eq!((places.pod_specs, places.images), (vec![TEMPLATE], vec!["/spec/extra"]));
}
