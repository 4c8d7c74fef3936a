use harbor_warmer_protocol::{ImageState, Lookup};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::host_error::HostError;
use crate::testing::{ARM64, ROOT, Registry, evaluate, index, payload, pod, receipt, registry_with_everything};

fn report(payload: &Value, mut registry: Registry) -> Report {
    evaluate(payload.to_string().as_bytes(), |call| registry.answer(call))
}

fn report_of_pod(images: &[&str], registry: Registry) -> Report {
    report(&payload("CREATE", "Pod", &pod(images), &json!({})), registry)
}

fn log_json(report: &Report) -> Vec<Value> {
    report.log.iter().map(|line| serde_json::to_value(line).unwrap()).collect()
}

fn announcing(state: ImageState, reason: &str) -> Registry {
    Registry::default().with("/v1/tag/", Ok(receipt(state, Lookup::No, Some(reason))))
}

#[test]
fn each_image_has_a_structured_log_line_and_another_after_its_look_up() {
    let report = report_of_pod(&["nginx:1.27", "quay.io/a/b:1"], registry_with_everything());
    let log = log_json(&report);
    assert_eq!(log.len(), 3);
    // What was there before the look-ups, and the one line that is new after them.
    assert_eq!(log[0]["message"], "docker.io/library/nginx:1.27: announced, its look-up has not ended");
    assert_eq!(
        log[2],
        json!({
            "level": "info", "message": "docker.io/library/nginx:1.27: resolved", "outcome": "resolved",
            "request.uid": "u-1", "workload.kind": "Pod", "workload.namespace": "shop", "workload.name": "web",
            "image.name": "docker.io/library/nginx:1.27", "image.repository": "main/hub/library/nginx",
            "image.platforms": "linux/amd64", "image.state": "queued", "image.id": "7", "image.manifests": "1",
        })
    );
    assert_eq!(log[1]["outcome"], "ignored");
    assert_eq!(log[1]["reason"], "no rule matches");
}

/// An evaluation that runs out of time is cut off where it waits, and says nothing any more.
#[test]
fn announcements_are_logged_before_the_first_look_up() {
    let payload = payload("CREATE", "Pod", &pod(&["a:1", "b:1", "quay.io/c/d:1"]), &json!({})).to_string();
    let log = std::cell::RefCell::new(Vec::new());
    let mut registry = registry_with_everything();
    crate::evaluate(
        payload.as_bytes(),
        |call| {
            let answer = registry.answer(call);
            let is_look_up = registry.calls.last().unwrap().contains("/v1/harbor/");
            assert_eq!(log.borrow().len(), if is_look_up || registry.calls.len() > 2 { 3 } else { 0 });
            answer
        },
        |line| log.borrow_mut().push(line.clone()),
    );
    assert_eq!(log.borrow().len(), 3);
}

#[test]
fn without_a_look_up_each_image_has_one_log_line() {
    assert_eq!(report_of_pod(&["a:1", "b:1"], announcing(ImageState::Warm, "")).log.len(), 2);
}

#[test]
fn twelve_hundred_images_are_all_counted() {
    let images: Vec<_> = (0..1200).map(|number| format!("i{number}")).collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let report = report_of_pod(&images, announcing(ImageState::Warm, ""));
    assert_eq!((report.audit["images"].as_str(), report.audit["announced"].as_str()), ("1200", "80"));
    assert_eq!(report.audit["failed"], "1120");
    let beyond = "harbor-warmer: 1120 images were not announced; one request announces 80";
    assert!(report.warnings.iter().any(|warning| warning == beyond), "{:?}", report.warnings);
}

#[test]
fn a_custom_resource_without_a_pod_spec_is_one_info_line_and_an_annotation() {
    let mut payload = payload(
        "CREATE",
        "Pod",
        &json!({"metadata": {"name": "web"}, "spec": {}}),
        &json!({
            "customResources": [{"group": "argoproj.io", "kind": "Rollout"}],
        }),
    );
    payload["request"]["kind"] = json!({"group": "argoproj.io", "version": "v1alpha1", "kind": "Rollout"});
    let report = report(&payload, Registry::default());
    let log = log_json(&report);
    assert_eq!(log.len(), 1);
    assert_eq!(
        (&log[0]["level"], &log[0]["message"]),
        (&json!("info"), &json!("Rollout web: no pod spec or image at /spec/template/spec"))
    );
    assert_eq!(report.audit, [("not-found".to_owned(), "/spec/template/spec".to_owned())].into());
    assert_eq!(report.warnings, [""; 0]);
}

/// What a person needs of a warning has to be before the 120 characters at which it is cut.
#[rstest]
#[case::capitals(
    "docker.io/acme-platform-engineering/a-very-long-name-of-a-service/Server:1.0",
    "its repository has capital letters; write lower case"
)]
#[case::template(
    "docker.io/${TEAM_OF_THE_PLATFORM}/a-very-long-name-of-a-service:${VERSION}",
    "a variable of a template was not filled in"
)]
#[case::scheme(
    "https://docker.io/acme/a-very-long-name-of-a-service-of-the-platform:1.0",
    "an image has no scheme; leave out what ends in `://`"
)]
#[case::other_digest(
    "docker.io/acme/a-very-long-name-of-a-service-of-the-platform@sha512:0123456789",
    "its digest is not sha256, the only kind that Harbor has"
)]
#[case::tag(
    "docker.io/acme/a-very-long-name-of-a-service-of-the-platform:1.0+build.123",
    "its tag may hold up to 128 letters, digits, `_`, `.` and `-`"
)]
fn the_reason_is_never_what_is_cut(#[case] image: &str, #[case] reason: &str) {
    let report = report_of_pod(&[image], Registry::default());
    let [warning] = report.warnings.as_slice() else { panic!("{:?}", report.warnings) };
    assert!(warning.ends_with(reason), "{warning}");
}

#[test]
fn nothing_of_the_environment_is_ever_said() {
    let mut object = pod(&["nginx", "Not An Image"]);
    object["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "value": "hunter2"}]);
    object["metadata"]["annotations"] = json!({"note": "hunter2"});
    for registry in [registry_with_everything(), Registry::default()] {
        let report = report(&payload("CREATE", "Pod", &object, &json!({})), registry);
        let said = format!("{:?}{:?}{:?}", log_json(&report), report.warnings, report.audit);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn audit_annotations_count_the_outcomes() {
    let report = report_of_pod(&["nginx", "redis", "quay.io/a/b", "Bad"], registry_with_everything());
    let expected = [("images", "4"), ("resolved", "2"), ("ignored", "1"), ("failed", "1")];
    assert_eq!(report.audit, expected.map(|(name, count)| (name.to_owned(), count.to_owned())).into());
}

#[test]
fn a_workload_that_goes_well_has_no_warnings() {
    assert_eq!(report_of_pod(&["nginx"], registry_with_everything()).warnings, [""; 0]);
}

#[rstest]
#[case::no_such_tag(
    Registry::default().with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None))),
    "harbor-warmer: docker.io/library/nginx:1.27: Harbor's upstream has no such tag"
)]
#[case::no_such_platform(
    Registry::default()
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("@", Ok(index(&[(ARM64, "linux/arm64")])))
        .with("/v1/harbor/", Ok(crate::handoff::Answer::Digest(ROOT.to_owned()))),
    "harbor-warmer: docker.io/library/nginx:1.27: nothing in it for linux/amd64, only linux/arm64"
)]
#[case::refused(
    announcing(ImageState::Refused, "project `hub` is not configured"),
    "harbor-warmer: docker.io/library/nginx:1.27: refused by the warmer: project `hub` is not configured"
)]
#[case::failed_before(
    announcing(ImageState::Failed, "no such tag"),
    "harbor-warmer: docker.io/library/nginx:1.27: could not be warmed before: no such tag"
)]
#[case::unreachable(
    Registry::default().with("", Err(HostError::Unreachable("connection refused".to_owned()))),
    "harbor-warmer: 1 image was not handed to the warmer: not reachable: connection refused"
)]
#[case::credentials(
    Registry::default().with("", Err(HostError::Unauthorized)),
    "harbor-warmer: 1 image was not handed to the warmer: the policy server's credentials are refused"
)]
#[case::not_a_warmer(
    Registry::default().with("", Ok(index(&[]))),
    "harbor-warmer: docker.io/library/nginx:1.27: the answer is not a receipt of a warmer; is this the warmer's address?"
)]
fn people_are_warned_of_what_they_can_act_on(#[case] registry: Registry, #[case] warning: &str) {
    assert_eq!(report_of_pod(&["nginx:1.27"], registry).warnings, [warning]);
}

#[test]
fn a_warmer_that_is_down_is_told_once() {
    let down = || Registry::default().with("", Err(HostError::Unreachable("connection refused".to_owned())));
    let report = report_of_pod(&["a", "b", "c", "d"], down());
    assert_eq!(
        report.warnings,
        ["harbor-warmer: 4 images were not handed to the warmer: not reachable: connection refused"]
    );
    assert_eq!(report.log.len(), 4);
}

#[test]
fn images_that_are_announced_only_are_told_once() {
    let object = pod(&["a", "b", "c"]);
    let report = report(&payload("CREATE", "Pod", &object, &json!({"maxImages": 1})), registry_with_everything());
    assert_eq!(report.warnings, ["harbor-warmer: 2 of 3 images were announced, but not looked up (maxImages is 1)"]);
}

#[test]
fn images_that_are_not_announced_are_told_once() {
    let images: Vec<_> = (0..82).map(|number| format!("i{number}")).collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let report = report_of_pod(&images, announcing(ImageState::Warm, ""));
    assert_eq!(report.warnings, ["harbor-warmer: 2 images were not announced; one request announces 80"]);
}

#[test]
fn a_node_selection_that_allows_no_platform_is_told_once() {
    let mut object = pod(&["a", "b"]);
    object["spec"]["nodeSelector"] = json!({"kubernetes.io/arch": "arm64"});
    let report = report(&payload("CREATE", "Pod", &object, &json!({})), Registry::default());
    assert_eq!(report.warnings, ["harbor-warmer: nothing is warmed: the node selection allows none of linux/amd64"]);
}

#[rstest]
#[case::switched_off(json!({"warnings": false}), json!({}))]
#[case::made_by_a_controller(json!({}), json!({"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}))]
fn there_are_no_warnings_when(#[case] settings: Value, #[case] metadata: Value) {
    let mut object = pod(&["nginx"]);
    object["metadata"] = metadata;
    let report =
        report(&payload("CREATE", "Pod", &object, &settings), Registry::default().with("", Err(HostError::NotFound)));
    assert_eq!(report.warnings, [""; 0]);
    assert_eq!(log_json(&report)[0]["level"], "warning");
}

#[test]
fn a_dry_run_says_what_would_happen() {
    let mut payload = payload("CREATE", "Pod", &pod(&["nginx", "Bad"]), &json!({}));
    payload["request"]["dryRun"] = json!(true);
    let report = evaluate(payload.to_string().as_bytes(), |call| panic!("{call:?}"));
    assert_eq!(log_json(&report)[0]["outcome"], "dry-run");
    assert_eq!(report.warnings.len(), 1);
}

#[test]
fn many_warnings_are_cut_to_a_few() {
    let images: Vec<_> = (0..60).map(|number| format!("i{number}")).collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let report = report_of_pod(&images, announcing(ImageState::Refused, "no"));
    assert_eq!(report.warnings.len(), WARNINGS_MAX);
    assert_eq!(report.warnings.last().unwrap(), "harbor-warmer: 51 more of these are in the policy server's log");
}

#[test]
fn a_text_is_cut_in_its_middle_and_made_one_line() {
    assert_eq!(legible("registry.example.com/a/very/long/name:1.27", 20), "registry....ame:1.27");
    assert_eq!(legible("a\nb\u{1b}[31m", 20), "a b [31m");
    assert_eq!(legible("äöü", 3), "äöü");
}

proptest! {
    #[test]
    fn a_warning_is_one_line_of_at_most_120_characters(image in any::<String>(), reason in any::<String>(), state in 0..3_usize) {
        let state = [ImageState::Refused, ImageState::Failed, ImageState::New][state];
        let report = report_of_pod(&[&image, "nginx"], announcing(state, &reason));
        for warning in &report.warnings {
            prop_assert!(warning.chars().count() <= WARNING_MAX, "{warning}");
            prop_assert!(!warning.chars().any(char::is_control), "{warning:?}");
        }
    }

    #[test]
    fn a_text_never_grows_beyond_its_bound(text in any::<String>(), max in 3..40_usize) {
        prop_assert!(legible(&text, max).chars().count() <= max);
    }
}
