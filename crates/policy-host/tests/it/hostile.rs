//! Whatever the policy is given, it answers, and the answer is yes.

use std::path::Path;

use harbor_warmer_policy_host::{Evaluation, Kubewarden, Outcome, PolicyHost, SettingsValidation, policy_wasm};
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const MEBIBYTE: usize = 1024 * 1024;

/// The kinds that the policy reads, with their group and where their pod spec is.
const KINDS: [(&str, &str, &str); 9] = [
    ("", "Pod", "/spec"),
    ("", "ReplicationController", "/spec/template/spec"),
    ("apps", "Deployment", "/spec/template/spec"),
    ("apps", "ReplicaSet", "/spec/template/spec"),
    ("apps", "StatefulSet", "/spec/template/spec"),
    ("apps", "DaemonSet", "/spec/template/spec"),
    ("batch", "Job", "/spec/template/spec"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template/spec"),
    ("example.com", "Rollout", "/spec/template/spec"),
];

fn settings() -> Value {
    json!({
        "warmer": "127.0.0.1:1",
        "rules": [{"prefix": "docker.io/", "harbor": "main", "project": "dockerhub"}],
        "platforms": ["linux/amd64", "linux/arm64"],
    })
}

/// The real policy, where memory is bounded; every host call fails at once.
fn policy() -> PolicyHost {
    PolicyHost::builder()
        .wasm(policy_wasm())
        .settings(settings())
        .kubewarden(Kubewarden::From1_38)
        .replay(Vec::new())
        .eval_timeout(None)
        .build()
        .unwrap()
}

/// Puts `value` where `pointer` says, under maps.
fn nested_at(pointer: &str, value: Value) -> Value {
    pointer.rsplit('/').filter(|key| !key.is_empty()).fold(value, |value, key| json!({key: value}))
}

fn pod_spec() -> Value {
    json!({
        "containers": [{"name": "app", "image": "nginx:1.27", "env": [{"name": "A", "value": "b"}]}],
        "initContainers": [{"name": "init", "image": "docker.io/library/busybox"}],
        "ephemeralContainers": [{"name": "debug", "image": "alpine"}],
        "volumes": [{"name": "model", "image": {"reference": "docker.io/acme/model:1"}}],
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]}
        ]}}},
    })
}

fn request((group, kind, pointer): (&str, &str, &str)) -> Value {
    let mut object = nested_at(pointer, pod_spec());
    object["metadata"] = json!({"name": "app", "annotations": {"a": "b"}, "ownerReferences": [{"controller": true}]});
    json!({
        "uid": "u-1",
        "kind": {"group": group, "version": "v1", "kind": kind},
        "resource": {"group": group, "version": "v1", "resource": "things"},
        "subResource": "ephemeralcontainers",
        "name": "app",
        "namespace": "default",
        "operation": "UPDATE",
        "userInfo": {"username": "someone", "groups": ["a"]},
        "object": object,
        "oldObject": nested_at(pointer, json!({"containers": [{"image": "nginx:1.26"}]})),
        "dryRun": false,
        "options": {},
    })
}

/// Every place in `value`, as JSON pointers, itself included.
fn places(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                self::places(field, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), places);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                self::places(item, format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

#[track_caller]
fn assert_accepted(evaluation: &Evaluation, what: &str) {
    assert_eq!(evaluation.outcome, Outcome::Completed, "{what}");
    assert!(evaluation.response.allowed, "{what}: {:?}", evaluation.response.status);
}

#[tokio::test]
async fn the_policy_accepts_an_ordinary_workload_though_every_host_call_fails() {
    let policy = policy();
    assert_eq!(policy.validate_settings().await, SettingsValidation { valid: true, message: None });
    for kind in KINDS {
        assert_accepted(&policy.validate(&request(kind)).await, kind.1);
    }
}

#[tokio::test]
async fn settings_with_mistakes_are_refused_in_the_policys_own_words() {
    let mistaken = json!({"warmer": "warmer", "rulez": []});
    let host = PolicyHost::builder().wasm(policy_wasm()).settings(mistaken).build().unwrap();
    let validation = host.validate_settings().await;
    assert!(!validation.valid);
    let message = validation.message.unwrap();
    assert!(message.contains("rulez") && !message.contains("Error invoking settings validation"), "{message}");
}

#[tokio::test]
async fn the_hand_picked_payloads_are_accepted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test_data/hostile");
    let policy = policy();
    let mut payloads = 0;
    for entry in std::fs::read_dir(&directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        assert_accepted(&policy.validate_raw(std::fs::read(&path).unwrap()).await, &path.display().to_string());
        payloads += 1;
    }
    assert!(!directory.exists() || payloads > 0, "{} is empty", directory.display());
}

#[tokio::test]
async fn any_bytes_are_accepted() {
    let policy = policy();
    for seed in 0_u32..100 {
        // Blocks of SHA-256 over a counter: arbitrary, and the same in every run.
        let blocks = (0..seed).map(|block| Sha256::digest([seed.to_le_bytes(), block.to_le_bytes()].concat()));
        let bytes: Vec<u8> = blocks.flat_map(Vec::from_iter).collect();
        assert_accepted(&policy.validate_raw(bytes).await, &format!("random bytes of seed {seed}"));
    }
}

#[tokio::test]
async fn a_payload_that_ends_too_early_is_accepted() {
    let policy = policy();
    let whole = json!({"request": request(KINDS[2]), "settings": settings()}).to_string();
    for end in (0..whole.len()).step_by(whole.len() / 150) {
        assert_accepted(&policy.validate_raw(&whole.as_bytes()[..end]).await, &whole[..end]);
    }
}

#[rstest]
#[case::as_the_payload("", "")]
#[case::as_the_request(r#"{"settings":{},"request":"#, "}")]
#[case::as_the_object(
    r#"{"settings":{},"request":{"kind":{"group":"","kind":"Pod"},"operation":"CREATE","object":"#,
    "}}"
)]
#[case::as_the_containers(
    r#"{"settings":{},"request":{"kind":{"group":"","kind":"Pod"},"operation":"CREATE","object":{"spec":{"containers":"#,
    "}}}}"
)]
#[case::as_the_settings(r#"{"request":{},"settings":"#, "}")]
#[tokio::test]
async fn nesting_is_accepted_at_any_depth(#[case] before: &str, #[case] after: &str) {
    let policy = policy();
    for levels in [100, 120, 127, 128, 129, 1_000, 10_000, 100_000] {
        for (open, innermost, close) in [("[", "", "]"), (r#"{"spec":"#, "1", "}"), ("[[", "{}", "")] {
            let payload = [before, &open.repeat(levels), innermost, &close.repeat(levels), after].concat();
            assert_accepted(&policy.validate_raw(payload).await, &format!("{levels} levels of {open}"));
        }
    }
}

#[rstest]
#[case::one_long_image(json!({"containers": [{"image": "a".repeat(10 * MEBIBYTE)}]}))]
#[case::a_long_path(json!({"containers": [{"image": "docker.io/".to_owned() + &"a/".repeat(5 * MEBIBYTE)}]}))]
#[case::much_environment(json!({"containers": [{"image": "nginx", "env": [{"name": "A", "value": "x".repeat(10 * MEBIBYTE)}]}]}))]
#[case::many_containers(json!({"containers": vec![json!({"image": "nginx:1.27"}); 300_000]}))]
#[case::many_images(json!({"containers": (0..200_000).map(|n| json!({"image": format!("docker.io/acme/app:{n}")})).collect::<Vec<_>>()}))]
#[case::many_nulls(json!({"containers": vec![Value::Null; 2_000_000]}))]
#[case::many_terms(json!({"containers": [{"image": "nginx"}], "affinity": {"nodeAffinity": {
    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": vec![json!({"matchExpressions": []}); 300_000]}}}}))]
#[tokio::test]
async fn ten_megabytes_are_accepted(#[case] pod_spec: Value) {
    let mut request = request(KINDS[0]);
    request["operation"] = json!("CREATE");
    request["object"]["spec"] = pod_spec;
    assert_accepted(&policy().validate(&request).await, "ten megabytes");
}

#[rstest]
#[tokio::test]
async fn a_wrong_type_in_any_place_is_accepted(
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8)] kind: usize,
    #[values(Value::Null, json!(true), json!(-1.5e300), json!("\u{0}\u{fffd} ://@:"), json!([[]]), json!({"": {}}))]
    wrong: Value,
) {
    let policy = policy();
    let payload = json!({"request": request(KINDS[kind]), "settings": settings()});
    let mut everywhere = Vec::new();
    places(&payload, String::new(), &mut everywhere);
    for place in everywhere {
        let mut payload = payload.clone();
        *payload.pointer_mut(&place).unwrap() = wrong.clone();
        assert_accepted(&policy.validate_raw(payload.to_string()).await, &format!("{wrong} at {place}"));
    }
}
