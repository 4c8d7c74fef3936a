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
    assert!(images[1].reference.is_err());
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

#[rstest]
#[case::on_the_workload(json!({"metadata": {"annotations": {"harbor-warmer.io/skip": "true"}}}), true, false)]
#[case::on_the_template(json!({"spec": {"template": {"metadata": {"annotations": {"harbor-warmer.io/skip": "true"}}}}}), false, true)]
#[case::as_a_boolean(json!({"metadata": {"annotations": {"harbor-warmer.io/skip": true}}}), true, false)]
#[case::denied(json!({"metadata": {"annotations": {"harbor-warmer.io/skip": "false"}}}), false, false)]
#[case::other_value(json!({"metadata": {"annotations": {"harbor-warmer.io/skip": "yes"}}}), false, false)]
#[case::wrong_type(json!({"metadata": {"annotations": ["harbor-warmer.io/skip"]}}), false, false)]
fn annotations_opt_out(#[case] mut object: Value, #[case] workload_opts_out: bool, #[case] template_opts_out: bool) {
    object["spec"]["template"]["spec"] = json!({"containers": [{"image": "a"}]});
    let custom = CustomKinds::default();
    let workload = Workload::read("apps", "Deployment", &object, &custom);
    assert_eq!(workload.opts_out(), workload_opts_out);
    assert_eq!(workload.pods().iter().map(PodTemplate::opts_out).collect::<Vec<_>>(), [template_opts_out]);
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
