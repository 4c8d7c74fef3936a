//! Timeouts, memory, traps and rejections in both modes.

use std::time::Duration;

use harbor_warmer_policy_host::{Kubewarden, Mode, Outcome, PolicyHost, PolicyHostBuilder};
use rstest::rstest;
use serde_json::{Value, json};

use crate::guests::{asking, endless, endless_start, growing_by, rejecting, trapping};
use crate::registry::Registry;

/// A host whose clock ticks twenty times as fast as a policy server's.
fn hasty(wasm: Vec<u8>, mode: Mode) -> PolicyHostBuilder {
    PolicyHost::builder()
        .wasm(wasm)
        .mode(mode)
        .epoch_tick(Duration::from_millis(50))
        .eval_timeout(Duration::from_millis(100))
}

fn request() -> Value {
    json!({"uid": "u-1", "operation": "CREATE", "object": {}})
}

#[rstest]
#[case::monitor(Mode::Monitor, json!({"uid": "u-1", "allowed": true, "auditAnnotations": null, "warnings": null}))]
#[case::protect(Mode::Protect, json!({
    "uid": "u-1", "allowed": false, "auditAnnotations": null, "warnings": null,
    "status": {"code": 500, "message": "Policy execution interrupted because it exceeded the allowed execution time"},
}))]
#[tokio::test]
async fn a_policy_that_runs_too_long_is_interrupted(#[case] mode: Mode, #[case] expected: Value) {
    let host = hasty(endless(), mode).build().unwrap();
    let evaluation = host.validate(&request()).await;
    assert_eq!(evaluation.outcome, Outcome::TimedOut);
    assert_eq!(serde_json::to_value(&evaluation.response).unwrap(), expected);
}

#[tokio::test]
async fn two_seconds_are_one_to_two_because_the_clock_ticks_once_a_second() {
    let host = PolicyHost::builder().wasm(endless()).build().unwrap();
    let evaluation = host.validate(&request()).await;
    assert_eq!(evaluation.outcome, Outcome::TimedOut);
    let guest = evaluation.timings.guest;
    assert!(guest > Duration::from_millis(900) && guest < Duration::from_secs(4), "took {guest:?}");
}

#[tokio::test]
async fn a_host_call_is_waited_for_beyond_the_timeout_which_strikes_when_the_guest_goes_on() {
    let registry = Registry::plain(Duration::from_millis(400)).await;
    let host = hasty(asking("v1/manifest_digest"), Mode::Protect).registry(registry.sources()).build().unwrap();
    let evaluation = host.validate_raw(registry.asked_for("app:1")).await;
    assert_eq!(evaluation.outcome, Outcome::TimedOut);
    assert!(evaluation.timings.host_calls >= Duration::from_millis(400));
    assert_eq!(evaluation.response.status.unwrap().code, Some(500));
}

#[rstest]
#[case::monitor(Mode::Monitor, true)]
#[case::protect(Mode::Protect, false)]
#[tokio::test]
async fn a_trap_is_an_admission_only_in_monitor_mode(#[case] mode: Mode, #[case] allowed: bool) {
    let host = hasty(trapping(), mode).build().unwrap();
    let evaluation = host.validate(&request()).await;
    assert!(matches!(&evaluation.outcome, Outcome::Trapped { reason } if reason.contains("Guest call failure")));
    assert_eq!(evaluation.response.allowed, allowed);
}

/// The guest begins with 4 pages; 256 MiB are 4096.
#[rstest]
#[case::up_to_the_bound(Kubewarden::From1_38, 4092, true)]
#[case::one_page_beyond_it(Kubewarden::From1_38, 4093, false)]
#[case::there_was_none(Kubewarden::UpTo1_37, 4093, true)]
#[tokio::test]
async fn an_evaluation_has_256_mebibytes_of_memory(
    #[case] kubewarden: Kubewarden,
    #[case] pages: u32,
    #[case] has_them: bool,
) {
    let host = hasty(growing_by(pages), Mode::Protect).kubewarden(kubewarden).build().unwrap();
    let evaluation = host.validate(&request()).await;
    assert_eq!(evaluation.outcome == Outcome::Completed, has_them, "{evaluation:?}");
    assert_eq!(evaluation.response.allowed, has_them);
}

#[rstest]
#[case::monitor(Mode::Monitor, true)]
#[case::protect(Mode::Protect, false)]
#[tokio::test]
async fn a_rejection_counts_only_in_protect_mode(#[case] mode: Mode, #[case] allowed: bool) {
    let host = hasty(rejecting(), mode).build().unwrap();
    let evaluation = host.validate(&request()).await;
    assert_eq!(evaluation.outcome, Outcome::Completed);
    assert_eq!(evaluation.response.allowed, allowed);
}

#[tokio::test]
async fn monitor_mode_does_not_cover_a_policy_that_cannot_start() {
    let host = hasty(endless_start(), Mode::Monitor).build().unwrap();
    assert!(!host.validate(&request()).await.response.allowed);
}
