use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec, StatefulSet, StatefulSetSpec,
};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec};
use k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, ImageVolumeSource, Pod, PodSpec, PodTemplateSpec, ReplicationController,
    ReplicationControllerSpec, Volume,
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn container(image: &str) -> Container {
    Container { name: "c".to_owned(), image: Some(image.to_owned()), ..Container::default() }
}

fn pod_spec() -> PodSpec {
    PodSpec {
        init_containers: Some(vec![container("init:1")]),
        containers: vec![container("main:1"), container("side:1"), container("main:1")],
        ephemeral_containers: Some(vec![EphemeralContainer {
            name: "debug".to_owned(),
            image: Some("debug:1".to_owned()),
            ..EphemeralContainer::default()
        }]),
        volumes: Some(vec![
            Volume { name: "empty".to_owned(), ..Volume::default() },
            Volume {
                name: "model".to_owned(),
                image: Some(ImageVolumeSource {
                    reference: Some("model:1".to_owned()),
                    ..ImageVolumeSource::default()
                }),
                ..Volume::default()
            },
        ]),
        ..PodSpec::default()
    }
}

fn template() -> PodTemplateSpec {
    PodTemplateSpec { spec: Some(pod_spec()), ..PodTemplateSpec::default() }
}

fn object<T: Resource + serde::Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap()
}

fn written(images: &[WorkloadImage]) -> Vec<&str> {
    images.iter().map(|image| image.written.as_str()).collect()
}

#[rstest]
#[case::pod(object(&Pod { spec: Some(pod_spec()), ..Pod::default() }))]
#[case::deployment(object(&Deployment {
    spec: Some(DeploymentSpec { template: template(), ..DeploymentSpec::default() }), ..Deployment::default()
}))]
#[case::replica_set(object(&ReplicaSet {
    spec: Some(ReplicaSetSpec { template: Some(template()), ..ReplicaSetSpec::default() }), ..ReplicaSet::default()
}))]
#[case::stateful_set(object(&StatefulSet {
    spec: Some(StatefulSetSpec { template: template(), ..StatefulSetSpec::default() }), ..StatefulSet::default()
}))]
#[case::daemon_set(object(&DaemonSet {
    spec: Some(DaemonSetSpec { template: template(), ..DaemonSetSpec::default() }), ..DaemonSet::default()
}))]
#[case::replication_controller(object(&ReplicationController {
    spec: Some(ReplicationControllerSpec { template: Some(template()), ..ReplicationControllerSpec::default() }),
    ..ReplicationController::default()
}))]
#[case::job(object(&Job { spec: Some(JobSpec { template: template(), ..JobSpec::default() }), ..Job::default() }))]
#[case::cron_job(object(&CronJob {
    spec: CronJobSpec {
        job_template: JobTemplateSpec {
            spec: Some(JobSpec { template: template(), ..JobSpec::default() }), ..JobTemplateSpec::default()
        },
        ..CronJobSpec::default()
    },
    ..CronJob::default()
}))]
fn every_kind_gives_each_image_once_and_in_order(#[case] object: Value) {
    let images = images(&object, &CustomKinds::default());
    assert_eq!(written(&images), ["init:1", "main:1", "side:1", "debug:1", "model:1"]);
}

#[test]
fn a_place_leads_to_the_image() {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": {
        "containers": [{"image": "a"}], "volumes": [{"name": "x"}, {"image": {"reference": "b"}}],
    }}}});
    let images = images(&deployment, &CustomKinds::default());
    let places: Vec<_> = images.iter().map(|image| image.place.as_str()).collect();
    assert_eq!(places, ["spec.template.spec.containers[0]", "spec.template.spec.volumes[1].image"]);
}

#[test]
fn a_malformed_field_hides_no_other_image() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {
        "initContainers": {"image": "not-a-list"},
        "containers": [null, 5, {"image": 7}, {"image": "good:1", "env": "wrong"}, {"image": ""}, ["x"], {"image": "Bad"}],
        "ephemeralContainers": "none",
        "volumes": [{"image": "text"}, {"image": {"reference": null}}, {"image": {"reference": "volume:1"}}],
    }});
    let images = images(&pod, &CustomKinds::default());
    assert_eq!(written(&images), ["good:1", "Bad", "volume:1"]);
    assert!(images[1].reference().is_err());
}

#[test]
fn one_image_in_two_spellings_is_one_image() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [
        {"image": "nginx"}, {"image": "docker.io/library/nginx:latest"}
    ]}});
    assert_eq!(written(&images(&pod, &CustomKinds::default())), ["nginx"]);
}

#[rstest]
#[case::volcano_job(json!({"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}))]
#[case::config_map(json!({"apiVersion": "v1", "kind": "ConfigMap", "spec": {"containers": [{"image": "a"}]}}))]
#[case::no_kind(json!({"spec": {"containers": [{"image": "a"}]}}))]
#[case::not_an_object(json!("Pod"))]
#[case::null(Value::Null)]
fn what_runs_no_pods_has_no_images(#[case] object: Value) {
    assert_eq!(images(&object, &CustomKinds::default()), []);
}

#[test]
fn custom_resources_are_read_where_the_settings_say() {
    let custom = CustomKinds::from_value(&json!([
        {"group": "argoproj.io", "kind": "Rollout"},
        {"group": "batch.volcano.sh", "kind": "Job", "podSpec": "/spec/tasks/*/template/spec"},
        {"group": "example.io", "kind": "Odd", "podSpec": "/spec/a~1b/1/c~0d"},
    ]))
    .unwrap();
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}});
    assert_eq!(written(&images(&rollout, &custom)), ["a"]);
    let volcano = json!({"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "spec": {"tasks": [
        {"template": {"spec": {"containers": [{"image": "a"}]}}},
        {"template": {"spec": {"containers": [{"image": "b"}]}}},
    ]}});
    let found = images(&volcano, &custom);
    assert_eq!(written(&found), ["a", "b"]);
    assert_eq!(found[1].place, "spec.tasks[1].template.spec.containers[0]");
    let odd = json!({"apiVersion": "example.io/v1", "kind": "Odd", "spec": {"a/b": [{}, {"c~d": {"containers": [{"image": "a"}]}}]}});
    assert_eq!(written(&images(&odd, &custom)), ["a"]);
}

/// A mark on a CronJob's parts, each of which keeps its images out.
#[rstest]
#[case::on_the_workload("/metadata/annotations", true)]
#[case::label_on_the_workload("/metadata/labels", true)]
#[case::on_the_job_template("/spec/jobTemplate/metadata/annotations", true)]
#[case::label_on_the_job_template("/spec/jobTemplate/metadata/labels", true)]
#[case::on_the_pod_template("/spec/jobTemplate/spec/template/metadata/annotations", true)]
#[case::label_on_the_pod_template("/spec/jobTemplate/spec/template/metadata/labels", true)]
#[case::in_the_environment("/spec/jobTemplate/spec/template/spec/annotations", false)]
fn a_mark_on_anything_above_the_pod_spec_opts_out(#[case] place: &str, #[case] opts_out: bool) {
    let marks = json!({"harbor-warmer.io/skip": "True"});
    let nothing = json!({"annotations": {}, "labels": {}});
    let mut cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": nothing,
        "spec": {"jobTemplate": {"metadata": nothing, "spec": {"template": {
            "metadata": nothing, "spec": {"annotations": {}, "containers": [{"image": "a"}]},
        }}}},
    });
    *cron_job.pointer_mut(place).unwrap() = marks;
    let custom = CustomKinds::default();
    let workload = Workload::of(&cron_job, &custom);
    assert_eq!(workload.pods().iter().map(PodTemplate::opts_out).collect::<Vec<_>>(), [opts_out]);
    assert_eq!(images(&cron_job, &custom).is_empty(), opts_out);
}

#[test]
fn a_mark_keeps_out_the_part_of_a_custom_resource_that_it_is_on() {
    let custom = CustomKinds::from_value(&json!([
        {"group": "batch.volcano.sh", "kind": "Job", "podSpec": "/spec/tasks/*/template/spec"},
    ]))
    .unwrap();
    let template = |image: &str, skip: &str| json!({"template": {"metadata": {"labels": {"harbor-warmer.io/skip": skip}}, "spec": {"containers": [{"image": image}]}}});
    let job = json!({"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "spec": {"tasks": [
        template("a", "no"), template("b", "yes"),
    ]}});
    assert_eq!(written(&images(&job, &custom)), ["a"]);
}

fn pod_with(container: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}})
}

#[rstest]
#[case::empty(json!({"image": ""}), &[])]
#[case::blank(json!({"image": " "}), &[])]
#[case::blanks(json!({"image": "\t \n"}), &[])]
#[case::never_pulled(json!({"image": "a", "imagePullPolicy": "Never"}), &[])]
#[case::pulled_always(json!({"image": "a", "imagePullPolicy": "Always"}), &["a"])]
#[case::pulled_if_not_present(json!({"image": "a", "imagePullPolicy": "IfNotPresent"}), &["a"])]
#[case::policy_of_another_type(json!({"image": "a", "imagePullPolicy": 5}), &["a"])]
#[case::policy_that_there_is_none_of(json!({"image": "a", "imagePullPolicy": "never"}), &["a"])]
fn nothing_is_asked_for_that_is_not_pulled(#[case] container: Value, #[case] expected: &[&str]) {
    assert_eq!(written(&images(&pod_with(container), &CustomKinds::default())), expected);
}

#[test]
fn an_image_volume_that_is_never_pulled_is_not_asked_for() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"volumes": [
        {"image": {"reference": "here", "pullPolicy": "Never"}}, {"image": {"reference": "model"}},
    ]}});
    assert_eq!(written(&images(&pod, &CustomKinds::default())), ["model"]);
}

#[rstest]
#[case::gateway_of_istio(json!({"annotations": {"inject.istio.io/templates": "gateway"}, "labels": {"sidecar.istio.io/inject": "true"}}), "auto", &[])]
#[case::any_bare_name(json!({"labels": {"sidecar.istio.io/inject": "true"}}), "proxy", &[])]
#[case::linkerd(json!({"annotations": {"linkerd.io/inject": "enabled"}}), "auto", &[])]
#[case::with_a_tag(json!({"labels": {"sidecar.istio.io/inject": "true"}}), "nginx:1.27", &["nginx:1.27"])]
#[case::with_an_owner(json!({"labels": {"sidecar.istio.io/inject": "true"}}), "grafana/loki", &["grafana/loki"])]
#[case::with_a_registry(json!({"labels": {"sidecar.istio.io/inject": "true"}}), "ghcr.io/app", &["ghcr.io/app"])]
#[case::injection_refused(json!({"labels": {"sidecar.istio.io/inject": "false"}}), "nginx", &["nginx"])]
#[case::no_injection(json!({"labels": {"app": "web"}}), "nginx", &["nginx"])]
fn a_bare_name_that_a_webhook_fills_in_is_not_asked_for(
    #[case] metadata: Value,
    #[case] image: &str,
    #[case] expected: &[&str],
) {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {
        "metadata": metadata, "spec": {"containers": [{"image": image}]},
    }}});
    assert_eq!(written(&images(&deployment, &CustomKinds::default())), expected);
}

/// Validating webhooks come after those that change a Pod: what stands there now is what will be pulled.
#[rstest]
#[case::left_over("auto", &[])]
#[case::an_image("nginx", &["nginx"])]
fn in_a_pod_itself_a_bare_name_is_an_image(#[case] image: &str, #[case] expected: &[&str]) {
    let mut pod = pod_with(json!({"image": image}));
    pod["metadata"] = json!({"labels": {"sidecar.istio.io/inject": "true"}});
    assert_eq!(written(&images(&pod, &CustomKinds::default())), expected);
}

#[rstest]
#[case::instead_of_a_pod_spec(json!({"images": ["/spec/imageName"]}), &["pg:17"])]
#[case::beside_a_pod_spec(json!({"images": ["/spec/imageName"], "podSpec": "/spec/template/spec"}), &["side:1", "pg:17"])]
#[case::of_every_element(json!({"images": ["/spec/steps/*/image"]}), &["one:1"])]
#[case::of_every_value_of_a_map(json!({"images": ["/spec/roles/*/image"]}), &["x:1", "y:1"])]
#[case::a_list_of_texts(json!({"images": ["/spec/extra/*"]}), &["e:1", "f:1"])]
#[case::of_another_type(json!({"images": ["/spec/roles", "/spec/number"]}), &[])]
#[case::nothing_there(json!({"images": ["/spec/nothing"]}), &[])]
fn images_outside_of_a_pod_spec_are_found(#[case] mut place: Value, #[case] expected: &[&str]) {
    place["group"] = json!("example.io");
    place["kind"] = json!("Database");
    let custom = CustomKinds::from_value(&json!([place])).unwrap();
    let object = json!({"apiVersion": "example.io/v1", "kind": "Database", "spec": {
        "imageName": "pg:17", "number": 7,
        "template": {"spec": {"containers": [{"image": "side:1"}]}},
        "steps": [{"image": "one:1"}, {"image": "two:1", "imagePullPolicy": "Never"}, {"image": " "}, {"script": ""}],
        "roles": {"x": {"image": "x:1"}, "y": {"image": "y:1"}},
        "extra": ["e:1", "f:1"],
    }});
    assert_eq!(written(&images(&object, &custom)), expected);
}

#[test]
fn the_nearest_node_selection_is_that_of_an_image_outside_of_a_pod_spec() {
    let custom = CustomKinds::from_value(&json!([
        {"group": "argoproj.io", "kind": "Workflow", "images": ["/spec/templates/*/container/image"]},
    ]))
    .unwrap();
    let workflow = json!({"spec": {"nodeSelector": {"kubernetes.io/arch": "arm64"}, "templates": [
        {"container": {"image": "a"}},
        {"container": {"image": "b"}, "nodeSelector": {"kubernetes.io/arch": "amd64"}},
    ]}});
    let workload = Workload::read("argoproj.io", "Workflow", &workflow, &custom);
    let both = Platforms::new(["linux/amd64", "linux/arm64"].map(|text| text.parse().unwrap())).unwrap();
    let narrowed: Vec<_> = workload.pods().iter().map(|pod| pod.narrow(&both).unwrap().path_form()).collect();
    assert_eq!(narrowed, ["linux-arm64", "linux-amd64"]);
}

#[rstest]
#[case::reference_to_a_deployment(json!({"spec": {"workloadRef": {"kind": "Deployment"}}}), &["/spec/template/spec"])]
#[case::an_empty_object(json!({}), &["/spec/template/spec"])]
#[case::found(json!({"spec": {"template": {"spec": {}}}}), &[])]
fn a_listed_kind_in_which_nothing_was_found_is_known(#[case] object: Value, #[case] unfound: &[&str]) {
    let custom = CustomKinds::from_value(&json!([{"group": "argoproj.io", "kind": "Rollout"}])).unwrap();
    assert_eq!(Workload::read("argoproj.io", "Rollout", &object, &custom).unfound(), unfound);
    assert_eq!(Workload::read("apps", "Deployment", &object, &custom).unfound(), [""; 0]);
}

#[rstest]
#[case::controller(json!([{"kind": "ReplicaSet", "controller": true}]), true)]
#[case::other_owner(json!([{"kind": "Node"}, {"controller": false}]), false)]
#[case::wrong_types(json!([null, {"controller": "true"}]), false)]
#[case::none(json!(null), false)]
fn a_controllers_pod_is_known_by_its_owner(#[case] owners: Value, #[case] controlled: bool) {
    let object = json!({"metadata": {"ownerReferences": owners}});
    let custom = CustomKinds::default();
    assert_eq!(Workload::read("", "Pod", &object, &custom).is_controlled(), controlled);
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("spec".to_owned()),
        Just("template".to_owned()),
        Just("containers".to_owned()),
        Just("image".to_owned()),
        Just("volumes".to_owned()),
        Just("reference".to_owned()),
        Just("metadata".to_owned()),
        "[a-z]{0,3}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z/:@.]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_is_read_without_a_panic(mut object in any_json(), kind in "(Pod|Deployment|CronJob|X)") {
        if object.is_object() {
            object["apiVersion"] = if kind == "Pod" { json!("v1") } else { json!("apps/v1") };
            object["kind"] = json!(kind);
        }
        drop(images(&object, &CustomKinds::default()));
    }
}
