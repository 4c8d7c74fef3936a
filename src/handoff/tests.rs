use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::request::AdmissionRequest;
use crate::testing::{
    AMD64, ARM64, ATTESTATION, ROOT, Registry, image_manifest, index, pod, receipt, registry_with_everything, settings,
};

struct Outcome {
    handed: Vec<Option<Handed>>,
    registry: Registry,
}

fn run(images: &[&str], changes: &Value, mut registry: Registry) -> Outcome {
    let settings = settings(changes);
    let object = pod(images);
    let request = json!({"operation": "CREATE", "kind": {"group": "", "kind": "Pod"}, "object": object});
    let plan = Plan::of(&AdmissionRequest::read(&request), &settings);
    let mut session = Session::new(&plan, &settings, false);
    while let Some(call) = session.next() {
        let answer = registry.answer(&call);
        session.answer(answer);
    }
    Outcome { handed: session.finish(), registry }
}

fn look_up(outcome: &Outcome) -> &LookUp {
    match outcome.handed.as_slice() {
        [Some(Handed::Announced(_, look_up))] => look_up,
        other => panic!("{other:?}"),
    }
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap()
}

#[test]
fn a_new_tag_is_announced_resolved_and_handed_over() {
    let outcome = run(&["nginx:1.27"], &json!({}), registry_with_everything());
    assert_eq!(
        outcome.registry.calls,
        [
            "manifest warmer:8443/v1/tag/none/linux-amd64/main/hub/library/nginx:1.27".to_owned(),
            "digest warmer:8443/v1/harbor/main/hub/library/nginx:1.27".to_owned(),
            format!("manifest warmer:8443/v1/harbor/main/hub/library/nginx@{ROOT}"),
            format!("manifest warmer:8443/v1/harbor/main/hub/library/nginx@{AMD64}"),
            format!("manifest warmer:8443/v1/layers/{}/none/linux-amd64/main/hub/library/nginx:1.27", hex(AMD64)),
        ]
    );
    assert_eq!(look_up(&outcome), &LookUp::HandedOver(1));
}

#[test]
fn every_image_is_announced_before_any_is_looked_up() {
    let outcome = run(&["a:1", "b:1", "c:1"], &json!({}), registry_with_everything());
    let (announcements, look_ups) = outcome.registry.calls.split_at(3);
    assert!(announcements.iter().all(|call| call.contains("/v1/tag/")), "{announcements:?}");
    assert!(look_ups.iter().all(|call| !call.contains("/v1/tag/")), "{look_ups:?}");
}

#[test]
fn a_pin_is_read_without_asking_for_a_tags_digest() {
    let image = format!("nginx:1.27@{ROOT}");
    let outcome = run(&[&image], &json!({"platforms": ["linux/amd64", "linux/arm64"]}), registry_with_everything());
    let platforms = "none/linux-amd64_linux-arm64/main/hub/library/nginx:1.27";
    assert_eq!(
        outcome.registry.calls,
        [
            format!("manifest warmer:8443/v1/pin/{}/{platforms}", hex(ROOT)),
            format!("manifest warmer:8443/v1/harbor/main/hub/library/nginx@{ROOT}"),
            format!("manifest warmer:8443/v1/harbor/main/hub/library/nginx@{AMD64}"),
            format!("manifest warmer:8443/v1/layers/{}/{platforms}", hex(AMD64)),
            format!("manifest warmer:8443/v1/harbor/main/hub/library/nginx@{ARM64}"),
            format!("manifest warmer:8443/v1/layers/{}/{platforms}", hex(ARM64)),
        ]
    );
    assert_eq!(look_up(&outcome), &LookUp::HandedOver(2));
}

#[test]
fn a_hand_off_never_carries_a_digest_in_its_reference() {
    let image = format!("nginx@{ROOT}");
    let outcome = run(&[&image], &json!({}), registry_with_everything());
    let hand_offs = outcome.registry.calls.iter().filter(|call| !call.contains("/v1/harbor/"));
    assert!(hand_offs.clone().count() >= 2);
    hand_offs.for_each(|call| assert!(!call.contains('@'), "{call}"));
}

#[test]
fn a_single_manifest_is_its_own_child() {
    let registry = Registry::default()
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("/v1/layers", Ok(receipt(ImageState::Queued, Lookup::No, None)))
        .with("@sha256:", Ok(image_manifest()))
        .with("/v1/harbor/", Ok(Answer::Digest(ROOT.to_owned())));
    let outcome = run(&["nginx"], &json!({}), registry);
    assert!(outcome.registry.calls.last().unwrap().contains(&format!("/v1/layers/{}/", hex(ROOT))));
    assert_eq!(look_up(&outcome), &LookUp::HandedOver(1));
}

#[rstest]
#[case::the_receipt_asks_for_none(ImageState::Warm, Lookup::No, json!({}))]
#[case::the_settings_ask_for_none(ImageState::New, Lookup::Yes, json!({"lookup": "none"}))]
#[case::the_warmer_refused_it(ImageState::Refused, Lookup::Yes, json!({}))]
fn nothing_is_looked_up_when(#[case] state: ImageState, #[case] lookup: Lookup, #[case] changes: Value) {
    let registry = Registry::default().with("", Ok(receipt(state, lookup, None)));
    let outcome = run(&["nginx"], &changes, registry);
    assert_eq!(outcome.registry.calls.len(), 1);
    assert_eq!(look_up(&outcome), &LookUp::NotAsked);
}

#[rstest]
#[case::no_such_tag(Err(HostError::NotFound), LookUp::NoSuchTag)]
#[case::deferred(Err(HostError::Deferred), LookUp::Failed(HostError::Deferred))]
#[case::no_digest(Ok(Answer::Digest("sha512:00".to_owned())), LookUp::Unexpected("the tag's digest is no sha256 digest"))]
#[case::a_manifest_instead(Ok(image_manifest()), LookUp::Unexpected("no digest was answered"))]
fn a_tag_that_does_not_resolve_leaves_the_announcement(
    #[case] answer: Result<Answer, HostError>,
    #[case] expected: LookUp,
) {
    let registry = Registry::default()
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("/v1/harbor/", answer);
    let outcome = run(&["nginx"], &json!({}), registry);
    assert_eq!(outcome.registry.calls.len(), 2);
    assert_eq!(look_up(&outcome), &expected);
}

#[rstest]
#[case::other_platforms(
    index(&[(ARM64, "linux/arm64/v8"), (ATTESTATION, "unknown/unknown")]),
    LookUp::NoSuchPlatform(vec!["linux/arm64/v8".to_owned()])
)]
#[case::empty(index(&[]), LookUp::Unexpected("the index names no platforms"))]
#[case::a_digest_instead(Answer::Digest(ROOT.to_owned()), LookUp::Unexpected("no manifest was answered"))]
fn an_index_without_a_wanted_platform_is_told(#[case] root: Answer, #[case] expected: LookUp) {
    let registry = Registry::default()
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("@sha256:", Ok(root))
        .with("/v1/harbor/", Ok(Answer::Digest(ROOT.to_owned())));
    let outcome = run(&["nginx"], &json!({}), registry);
    assert_eq!(look_up(&outcome), &expected);
    assert!(!outcome.registry.counts().contains_key("layers"));
}

#[test]
fn a_child_that_cannot_be_read_now_is_handed_over_all_the_same() {
    let registry = Registry::default()
        .with(&format!("@{AMD64}"), Err(HostError::Deferred))
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("/v1/layers", Ok(receipt(ImageState::Queued, Lookup::No, None)))
        .with("@sha256:", Ok(index(&[(AMD64, "linux/amd64")])))
        .with("/v1/harbor/", Ok(Answer::Digest(ROOT.to_owned())));
    assert_eq!(look_up(&run(&["nginx"], &json!({}), registry)), &LookUp::HandedOver(1));
}

#[test]
fn an_index_within_the_index_is_left_to_the_warmer() {
    let registry = Registry::default()
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("@sha256:", Ok(index(&[(AMD64, "linux/amd64")])))
        .with("/v1/harbor/", Ok(Answer::Digest(ROOT.to_owned())));
    let outcome = run(&["nginx"], &json!({}), registry);
    assert_eq!(look_up(&outcome), &LookUp::Unexpected("the index refers to another index"));
    assert!(!outcome.registry.counts().contains_key("layers"));
}

#[test]
fn of_a_thousand_children_of_one_platform_the_first_is_handed_over() {
    let digests: Vec<_> = (0..1000).map(|number| format!("sha256:{number:064x}")).collect();
    let children: Vec<_> = digests.iter().map(|digest| (digest.as_str(), "linux/amd64")).collect();
    let registry = Registry::default()
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("/v1/layers", Ok(receipt(ImageState::Queued, Lookup::No, None)))
        .with(&format!("@{ROOT}"), Ok(index(&children)))
        .with("@sha256:", Ok(image_manifest()))
        .with("/v1/harbor/", Ok(Answer::Digest(ROOT.to_owned())));
    let outcome = run(&["nginx"], &json!({}), registry);
    assert_eq!(look_up(&outcome), &LookUp::HandedOver(1));
    assert_eq!(outcome.registry.calls.len(), 3 + 2);
}

#[rstest]
#[case::not_a_receipt(image_manifest(), ReceiptError::NotAReceipt)]
#[case::an_index(index(&[]), ReceiptError::NotAReceipt)]
fn an_answer_that_is_no_receipt_is_told(#[case] answer: Answer, #[case] error: ReceiptError) {
    let outcome = run(&["nginx"], &json!({}), Registry::default().with("", Ok(answer)));
    assert_eq!(outcome.handed, [Some(Handed::NoReceipt(error))]);
}

#[test]
fn a_warmer_that_is_down_costs_two_connections_and_not_one_per_image() {
    let images: Vec<_> = (0..30).map(|number| format!("image-{number}:1")).collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let down = HostError::Unreachable("connection refused".to_owned());
    let outcome = run(&images, &json!({}), Registry::default().with("", Err(down.clone())));
    assert_eq!(outcome.registry.calls.len(), 2);
    assert_eq!(outcome.handed[1], Some(Handed::Failed(down)));
    assert!(outcome.handed[2..].iter().all(|handed| *handed == Some(Handed::NotTried)));
}

#[test]
fn one_connection_that_fails_stops_nothing() {
    let down = HostError::Unreachable("connection reset".to_owned());
    let registry =
        Registry::default().with("library/a:1", Err(down)).with("", Ok(receipt(ImageState::Warm, Lookup::No, None)));
    let outcome = run(&["a:1", "b:1", "c:1"], &json!({}), registry);
    assert_eq!(outcome.registry.calls.len(), 3);
}

#[rstest]
#[case::credentials(HostError::Unauthorized)]
#[case::capability(HostError::NotGranted)]
fn an_error_that_holds_for_all_images_is_met_once(#[case] error: HostError) {
    let outcome = run(&["a:1", "b:1", "c:1"], &json!({}), Registry::default().with("", Err(error)));
    assert_eq!(outcome.registry.calls.len(), 1);
}

#[test]
fn images_beyond_max_images_are_announced_only() {
    let outcome = run(&["a:1", "b:1", "c:1"], &json!({"maxImages": 1}), registry_with_everything());
    assert_eq!(outcome.registry.counts()["tag"], 3);
    assert_eq!(outcome.registry.counts()["layers"], 1);
    let beyond = outcome.handed.iter().filter(|h| matches!(h, Some(Handed::Announced(_, LookUp::BeyondLimit)))).count();
    assert_eq!(beyond, 2);
}

#[test]
fn five_hundred_containers_make_a_bounded_number_of_calls() {
    let images: Vec<_> = (0..500).map(|number| format!("image-{number}:1")).collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let outcome = run(
        &images,
        &json!({"maxImages": 50, "platforms": ["linux/amd64", "linux/arm64"]}),
        registry_with_everything(),
    );
    assert_eq!(outcome.registry.calls.len(), CALLS_MAX);
    assert_eq!(outcome.registry.counts()["tag"], ANNOUNCED_MAX);
    assert_eq!(
        outcome.handed.iter().filter(|handed| **handed == Some(Handed::BeyondLimit)).count(),
        500 - ANNOUNCED_MAX
    );
}

/// The default of `maxImages`, on clusters of two architectures.
#[test]
fn eight_images_of_two_platforms_are_all_looked_up() {
    let images: Vec<_> = (0..8).map(|number| format!("image-{number}:1")).collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let outcome = run(&images, &json!({"platforms": ["linux/amd64", "linux/arm64"]}), registry_with_everything());
    assert!(outcome.registry.calls.len() <= CALLS_MAX);
    for handed in &outcome.handed {
        assert!(matches!(handed, Some(Handed::Announced(_, LookUp::HandedOver(2)))), "{handed:?}");
    }
}

#[test]
fn look_ups_go_to_harbor_itself_where_the_settings_say_so() {
    let registry = Registry::default()
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("/v1/layers", Ok(receipt(ImageState::Queued, Lookup::No, None)))
        .with(&format!("@{ROOT}"), Ok(index(&[(AMD64, "linux/amd64")])))
        .with("@sha256:", Ok(image_manifest()))
        .with("harbor.example.com", Ok(Answer::Digest(ROOT.to_owned())));
    let outcome = run(&["nginx:1"], &json!({"lookupRegistry": "harbor.example.com"}), registry);
    assert_eq!(outcome.registry.calls[1], "digest harbor.example.com/hub/library/nginx:1");
    assert_eq!(outcome.registry.calls[2], format!("manifest harbor.example.com/hub/library/nginx@{ROOT}"));
    assert!(outcome.registry.calls[4].contains("warmer:8443/v1/layers/"));
}

#[test]
fn a_repository_whose_announcement_fits_and_whose_layers_do_not_stays_announced() {
    let image = format!("{}:1", "a".repeat(200));
    let outcome = run(&[&image], &json!({}), registry_with_everything());
    assert!(matches!(look_up(&outcome), LookUp::TooLong(_)), "{:?}", outcome.handed);
}

#[test]
fn a_dry_run_makes_no_call() {
    let settings = settings(&json!({}));
    let object = pod(&["nginx"]);
    let request = json!({"operation": "CREATE", "kind": {"kind": "Pod"}, "object": object});
    let plan = Plan::of(&AdmissionRequest::read(&request), &settings);
    let mut session = Session::new(&plan, &settings, true);
    assert_eq!(session.next(), None);
    assert_eq!(session.finish(), [Some(Handed::DryRun)]);
}

fn any_answer() -> impl Strategy<Value = Result<Answer, HostError>> {
    prop_oneof![
        Just(Ok(receipt(ImageState::New, Lookup::Yes, None))),
        Just(Ok(receipt(ImageState::Warm, Lookup::No, None))),
        Just(Ok(index(&[(AMD64, "linux/amd64"), (ARM64, "linux/arm64")]))),
        Just(Ok(image_manifest())),
        Just(Ok(Answer::Digest(ROOT.to_owned()))),
        "[ -~]{0,20}".prop_map(|text| Ok(Answer::Digest(text))),
        Just(Err(HostError::NotFound)),
        Just(Err(HostError::Deferred)),
        Just(Err(HostError::Unauthorized)),
        "[ -~]{0,20}".prop_map(|text| Err(HostError::from_text(&text))),
        Just(Err(HostError::Unreachable(String::new()))),
    ]
}

proptest! {
    #[test]
    fn any_answers_lead_to_an_end(answers in prop::collection::vec(any_answer(), 1..20), count in 1..140_usize) {
        let settings = settings(&json!({"platforms": ["linux/amd64", "linux/arm64"]}));
        let images: Vec<_> = (0..count).map(|number| format!("image-{number}")).collect();
        let images: Vec<_> = images.iter().map(String::as_str).collect();
        let object = pod(&images);
        let request = json!({"operation": "CREATE", "kind": {"kind": "Pod"}, "object": object});
        let plan = Plan::of(&AdmissionRequest::read(&request), &settings);
        let mut session = Session::new(&plan, &settings, false);
        let mut answers = answers.iter().cycle();
        let mut calls = 0;
        while session.next().is_some() {
            calls += 1;
            session.answer(answers.next().unwrap().clone());
        }
        prop_assert!(calls <= CALLS_MAX);
        prop_assert_eq!(session.finish().len(), count);
    }
}
