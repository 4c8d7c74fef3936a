//! What a guest may ask, what it is told, and what it leaves behind.

use harbor_warmer_policy_host::{
    AllowedCapabilities, Capability, CapabilityRequest, Exchange, Outcome, PolicyHost, Recorded, Recording,
};
use rstest::rstest;

use crate::guests::{asking, talking};
use crate::registry::Registry;

#[rstest]
#[case::not_granted(
    "v1/oci_manifest",
    "Policy has not been granted access to the 'oci/v1/oci_manifest' host capability"
)]
#[case::not_provided("v1/verify", "unknown operation: v1/verify")]
#[tokio::test]
async fn a_call_that_is_not_allowed_is_an_error_for_the_guest(#[case] operation: &str, #[case] text: &str) {
    let allowed = AllowedCapabilities::of_patterns(["oci/v1/verify"]).unwrap();
    let host = PolicyHost::builder().wasm(asking(operation)).allowed_capabilities(allowed).build().unwrap();
    let Outcome::Trapped { reason } = host.validate_raw(*b"\"a.example/b:1\"").await.outcome else {
        panic!("the call should fail");
    };
    assert!(reason.contains(text), "{reason}");
}

#[tokio::test]
async fn a_console_line_is_among_the_logs() {
    let host = PolicyHost::builder().wasm(talking()).build().unwrap();
    let evaluation = host.validate_raw(*b"").await;
    assert_eq!(evaluation.logs, ["hello from the guest"]);
    assert_eq!(evaluation.response.warnings.as_deref(), Some(&["mind the gap".to_owned()][..]));
}

#[tokio::test]
async fn a_recording_is_replayed_without_the_registry() {
    let registry = Registry::plain(std::time::Duration::ZERO).await;
    let recording = Recording::default();
    let live = PolicyHost::builder()
        .wasm(asking("v1/oci_manifest"))
        .registry(registry.sources())
        .record(recording.clone())
        .build()
        .unwrap();
    let recorded = live.validate_raw(registry.asked_for("app:1")).await;

    let replayed = PolicyHost::builder().wasm(asking("v1/oci_manifest")).replay(recording.exchanges()).build().unwrap();
    let first = replayed.validate_raw(registry.asked_for("app:1")).await;
    let second = replayed.validate_raw(registry.asked_for("app:1")).await;

    assert_eq!(first.logs, recorded.logs);
    assert!(matches!(second.outcome, Outcome::Trapped { reason } if reason.contains("recorded responses is empty")));
    assert_eq!(registry.manifest_requests(), 1);
}

#[tokio::test]
async fn another_question_than_the_recorded_one_is_an_error_for_the_guest() {
    let image = "a.example/b:1".to_owned();
    let request = CapabilityRequest { capability: Capability::OciManifestDigest, image };
    let exchange = Exchange { request, response: Recorded::Success { payload: "{}".to_owned() } };
    let host = PolicyHost::builder().wasm(asking("v1/oci_manifest")).replay(vec![exchange]).build().unwrap();
    let evaluation = host.validate_raw(*b"\"a.example/b:1\"").await;
    assert!(matches!(evaluation.outcome, Outcome::Trapped { reason } if reason.contains("unexpected request")));
    assert!(host.unreplayed().is_empty());
}
