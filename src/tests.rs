use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::testing::{Registry, evaluate, payload, pod, registry_with_everything};

/// Accepted, by the very function that the policy server calls. Outside of one, every host call fails, which is a
/// case of its own.
#[track_caller]
fn check_accepted(payload: &[u8]) -> ValidationResponse {
    let response = validate(payload).expect("the policy never fails");
    let response: ValidationResponse = serde_json::from_slice(&response).expect("the response is JSON");
    assert!(response.accepted);
    assert_eq!(response.message, None);
    assert!(response.mutated_object.is_none());
    response
}

#[rstest]
#[case::nothing(b"".as_slice())]
#[case::not_json(b"hello")]
#[case::not_utf8(b"\xff\xfe{")]
#[case::cut_off(br#"{"settings":{},"request":{"object":"#)]
#[case::null(b"null")]
#[case::list(b"[]")]
#[case::number(b"1e999")]
#[case::text(b"\"Pod\"")]
#[case::no_request(br#"{"settings":{}}"#)]
#[case::null_request(br#"{"settings":null,"request":null}"#)]
#[case::lone_surrogate(br#"{"request":{"uid":"\ud800"}}"#)]
#[case::zero_bytes(b"\0\0\0\0")]
fn what_is_no_request_is_accepted(#[case] payload: &[u8]) {
    check_accepted(payload);
}

#[rstest]
#[case::lists("[", "]")]
#[case::maps("{\"a\":", "}")]
fn megabytes_of_nesting_are_accepted(#[case] open: &str, #[case] close: &str) {
    let depth = 10_000_000 / open.len();
    check_accepted(format!("{}{}", open.repeat(depth), close.repeat(depth)).as_bytes());
    check_accepted(format!("{{\"request\":{{\"object\":{}", open.repeat(depth)).as_bytes());
}

#[test]
fn a_text_of_ten_megabytes_as_an_image_is_accepted() {
    let image = "a/".repeat(5_000_000);
    check_accepted(payload("CREATE", "Pod", &pod(&[&image]), &json!({})).to_string().as_bytes());
}

#[test]
fn invalid_settings_are_accepted_and_told_in_the_log() {
    let payload = json!({"settings": {"warmer": "w"}, "request": {}}).to_string();
    check_accepted(payload.as_bytes());
    let report = evaluate(payload.as_bytes(), |call| panic!("{call:?}"));
    assert_eq!(report.log.len(), 1);
}

/// Payloads that someone thought of, one a file; the policy host's tests run them through the built module.
#[test]
fn the_hand_picked_payloads_are_accepted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("test_data/hostile");
    let mut files = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        check_accepted(&fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files >= 40, "{files} in {}", directory.display());
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "settings",
        "request",
        "object",
        "oldObject",
        "kind",
        "group",
        "operation",
        "dryRun",
        "metadata",
        "annotations",
        "ownerReferences",
        "controller",
        "spec",
        "template",
        "jobTemplate",
        "containers",
        "initContainers",
        "volumes",
        "image",
        "reference",
        "nodeSelector",
        "affinity",
        "nodeAffinity",
        "nodeSelectorTerms",
        "matchExpressions",
        "key",
        "values",
        "kubernetes.io/arch",
        "harbor-warmer.io/skip",
        "warmer",
        "rules",
        "prefix",
        "pattern",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "CREATE",
            "UPDATE",
            "DELETE",
            "Pod",
            "Deployment",
            "nginx",
            "a@sha256:",
            "In",
            "true"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 96, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(Value::from_iter),
        ]
    })
}

/// A request that is right down to one place, where anything may stand.
fn nearly_valid() -> impl Strategy<Value = Value> {
    let pointer = prop::sample::select(vec![
        "/settings",
        "/settings/warmer",
        "/settings/rules",
        "/settings/rules/0",
        "/settings/platforms",
        "/request",
        "/request/uid",
        "/request/operation",
        "/request/kind",
        "/request/kind/kind",
        "/request/name",
        "/request/dryRun",
        "/request/object",
        "/request/oldObject",
        "/request/object/metadata",
        "/request/object/metadata/annotations",
        "/request/object/metadata/ownerReferences",
        "/request/object/spec",
        "/request/object/spec/containers",
        "/request/object/spec/containers/0",
        "/request/object/spec/containers/0/image",
        "/request/object/spec/volumes",
        "/request/object/spec/nodeSelector",
        "/request/object/spec/affinity/nodeAffinity",
        "/request/object/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0",
    ]);
    (pointer, any_json()).prop_map(|(pointer, anything)| {
        let mut object = pod(&["nginx", "redis:7"]);
        object["metadata"] = json!({"name": "web", "annotations": {}, "ownerReferences": []});
        object["spec"]["volumes"] = json!([{"image": {"reference": "model:1"}}]);
        object["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "linux"});
        object["spec"]["affinity"] = json!({"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": []}]},
        }});
        let mut payload = payload("UPDATE", "Pod", &object, &json!({"platforms": ["linux/amd64"]}));
        payload["request"]["oldObject"] = pod(&["nginx"]);
        payload["request"]["dryRun"] = json!(false);
        if let Some(place) = payload.pointer_mut(pointer) {
            *place = anything;
        }
        payload
    })
}

proptest! {
    #[test]
    fn any_bytes_are_accepted(payload: Vec<u8>) {
        check_accepted(&payload);
    }

    #[test]
    fn any_json_is_accepted(payload in any_json()) {
        check_accepted(payload.to_string().as_bytes());
    }

    #[test]
    fn a_request_that_is_wrong_in_one_place_is_accepted(payload in nearly_valid()) {
        check_accepted(payload.to_string().as_bytes());
        evaluate(payload.to_string().as_bytes(), |call| registry_with_everything().answer(call));
    }

    #[test]
    fn a_request_that_is_cut_off_is_accepted(payload in nearly_valid(), thousandths in 0..1000_usize) {
        let payload = payload.to_string();
        let bytes = payload.as_bytes();
        let end = bytes.len() * thousandths / 1000;
        check_accepted(&bytes[..end]);
    }
}

#[test]
fn a_failed_host_call_is_accepted_with_a_warning() {
    let response = check_accepted(payload("CREATE", "Pod", &pod(&["nginx"]), &json!({})).to_string().as_bytes());
    assert_eq!(response.warnings.map(|warnings| warnings.len()), Some(1));
    assert_eq!(response.audit_annotations.unwrap()["failed"], "1");
}

#[test]
fn a_workload_that_names_no_images_says_nothing() {
    let object = json!({"kind": "ConfigMap", "data": {}});
    let mut registry = Registry::default();
    let report = evaluate(payload("CREATE", "ConfigMap", &object, &json!({})).to_string().as_bytes(), |call| {
        registry.answer(call)
    });
    assert!(report.log.is_empty() && report.warnings.is_empty() && report.audit.is_empty());
    assert!(registry.calls.is_empty());
}
