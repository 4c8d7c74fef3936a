//! OCI lookups: who waits for whom, a cache of successes, and the requests on the wire.

use std::time::{Duration, Instant};

use harbor_warmer_policy_host::{DockerConfig, Evaluation, Kubewarden, Outcome, PolicyHost, PolicyHostBuilder};
use rstest::rstest;

use crate::guests::asking;
use crate::registry::{Registry, digest};

const DIGEST: &str = "v1/manifest_digest";
const MANIFEST: &str = "v1/oci_manifest";

/// A host without an evaluation timeout, with more workers than any test has evaluations.
fn host_asking(operation: &str, registry: &Registry) -> PolicyHostBuilder {
    PolicyHost::builder().wasm(asking(operation)).registry(registry.sources()).workers(8).eval_timeout(None)
}

async fn all(host: &PolicyHost, registry: &Registry, images: [&str; 4]) -> Vec<Evaluation> {
    let evaluations = images.map(|image| {
        let (host, payload) = (host.clone(), registry.asked_for(image));
        tokio::spawn(async move { host.validate_raw(payload).await })
    });
    let mut done = Vec::new();
    for evaluation in evaluations {
        done.push(evaluation.await.unwrap());
    }
    done
}

fn reason(evaluation: Evaluation) -> String {
    match evaluation.outcome {
        Outcome::Trapped { reason } => reason,
        other => panic!("the lookup should fail, but: {other:?}"),
    }
}

#[tokio::test]
async fn four_images_at_half_a_second_take_two_seconds_through_the_lock() {
    let registry = Registry::plain(Duration::from_millis(500)).await;
    let host = host_asking(DIGEST, &registry).build().unwrap();
    let started = Instant::now();
    let evaluations = all(&host, &registry, ["app:1", "app:2", "app:3", "app:4"]).await;
    assert!(started.elapsed() >= Duration::from_secs(2), "took {:?}", started.elapsed());
    assert!(evaluations.iter().all(|evaluation| evaluation.outcome == Outcome::Completed));
    assert_eq!(registry.manifest_requests(), 4);
}

#[tokio::test]
async fn from_1_38_four_images_are_asked_for_at_once() {
    let registry = Registry::plain(Duration::ZERO).await;
    let host = host_asking(DIGEST, &registry).kubewarden(Kubewarden::From1_38).build().unwrap();
    let images = ["held/app:1", "held/app:2", "held/app:3", "held/app:4"];
    let (asking, upstream) = (host.clone(), registry.clone());
    let evaluations = tokio::spawn(async move { all(&asking, &upstream, images).await });
    // None of them is answered before all four have arrived.
    for tag in 1..=4 {
        registry.saw(&format!("HEAD /v2/held/app/manifests/{tag}")).await;
    }
    for _ in images {
        registry.release();
    }
    let evaluations = evaluations.await.unwrap();
    assert!(evaluations.iter().all(|evaluation| evaluation.outcome == Outcome::Completed));
    assert_eq!(registry.manifest_requests(), 4);
}

#[rstest]
#[tokio::test]
async fn four_lookups_of_one_image_are_one_request_upstream(
    #[values(Kubewarden::UpTo1_37, Kubewarden::From1_38)] kubewarden: Kubewarden,
) {
    let registry = Registry::plain(Duration::from_millis(50)).await;
    let host = host_asking(MANIFEST, &registry).kubewarden(kubewarden).build().unwrap();
    let evaluations = all(&host, &registry, ["app:1"; 4]).await;
    assert!(evaluations.iter().all(|evaluation| evaluation.outcome == Outcome::Completed));
    assert_eq!(registry.manifest_requests(), 1);
}

#[tokio::test]
async fn a_cache_hit_waits_behind_another_images_miss() {
    let registry = Registry::plain(Duration::ZERO).await;
    let host = host_asking(DIGEST, &registry).build().unwrap();
    host.validate_raw(registry.asked_for("app:1")).await;

    let (missing, payload) = (host.clone(), registry.asked_for("held/app:1"));
    let miss = tokio::spawn(async move { missing.validate_raw(payload).await });
    registry.saw("HEAD /v2/held/app/manifests/1").await;
    let (hitting, payload) = (host.clone(), registry.asked_for("app:1"));
    let mut hit = tokio::spawn(async move { hitting.validate_raw(payload).await });

    let waited = tokio::time::timeout(Duration::from_millis(200), &mut hit).await;
    assert!(waited.is_err(), "the hit should wait while the miss is held");
    registry.release();
    assert_eq!(hit.await.unwrap().outcome, Outcome::Completed);
    assert_eq!(miss.await.unwrap().outcome, Outcome::Completed);
    assert_eq!(registry.manifest_requests(), 2);
}

#[tokio::test]
async fn from_1_38_a_cache_hit_waits_for_nobody() {
    let registry = Registry::plain(Duration::ZERO).await;
    let host = host_asking(DIGEST, &registry).kubewarden(Kubewarden::From1_38).build().unwrap();
    host.validate_raw(registry.asked_for("app:1")).await;

    let (missing, payload) = (host.clone(), registry.asked_for("held/app:1"));
    let miss = tokio::spawn(async move { missing.validate_raw(payload).await });
    registry.saw("HEAD /v2/held/app/manifests/1").await;
    assert_eq!(host.validate_raw(registry.asked_for("app:1")).await.outcome, Outcome::Completed);

    registry.release();
    assert_eq!(miss.await.unwrap().outcome, Outcome::Completed);
    assert_eq!(registry.manifest_requests(), 2);
}

#[rstest]
#[tokio::test]
async fn a_success_is_forgotten_when_its_time_is_over(
    #[values(Kubewarden::UpTo1_37, Kubewarden::From1_38)] kubewarden: Kubewarden,
) {
    let registry = Registry::plain(Duration::ZERO).await;
    let host = host_asking(DIGEST, &registry).kubewarden(kubewarden).cache_ttl(Duration::ZERO).build().unwrap();
    host.validate_raw(registry.asked_for("app:1")).await;
    host.validate_raw(registry.asked_for("app:1")).await;
    assert_eq!(registry.manifest_requests(), 2);
}

#[tokio::test]
async fn a_failure_is_asked_again_each_time() {
    let registry = Registry::plain(Duration::ZERO).await;
    let host = host_asking(MANIFEST, &registry).build().unwrap();
    for _ in 0..2 {
        let reason = reason(host.validate_raw(registry.asked_for("missing/app:1")).await);
        assert!(reason.contains("Callback evaluation failure: Registry error: url"), "{reason}");
        assert!(reason.contains("no such tag"), "{reason}");
    }
    assert_eq!(registry.manifest_requests(), 2);
}

#[tokio::test]
async fn a_head_without_a_digest_is_repeated_as_a_get() {
    let registry = Registry::plain(Duration::ZERO).await;
    let host = host_asking(DIGEST, &registry).build().unwrap();
    let evaluation = host.validate_raw(registry.asked_for("bare/app:1")).await;
    assert_eq!(evaluation.logs, [format!(r#"{{"digest":"{}"}}"#, digest())]);
    let path = "/v2/bare/app/manifests/1";
    let expected = ["GET /v2/".to_owned(), format!("HEAD {path}"), "GET /v2/".to_owned(), format!("GET {path}")];
    assert_eq!(registry.requests(), expected);
}

#[tokio::test]
async fn with_the_registrys_authority_a_lookup_is_two_requests_with_credentials() {
    let registry = Registry::tls().await;
    let mut sources = registry.sources();
    sources.docker_config = DockerConfig::default().with_credentials(&registry.host(), "policy", "secret");
    let host = host_asking(DIGEST, &registry).registry(sources).build().unwrap();
    let evaluation = host.validate_raw(registry.asked_for("app:1")).await;
    assert_eq!(evaluation.outcome, Outcome::Completed);
    assert_eq!(registry.requests(), ["GET /v2/", "HEAD /v2/app/manifests/1"]);
}

#[tokio::test]
async fn without_credentials_the_guest_reads_that_it_is_not_authorized() {
    let registry = Registry::tls().await;
    let host = host_asking(MANIFEST, &registry).build().unwrap();
    let reason = reason(host.validate_raw(registry.asked_for("app:1")).await);
    assert!(reason.contains("Not authorized"), "{reason}");
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_nothing_less_is_tried() {
    let registry = Registry::tls().await;
    let host = host_asking(MANIFEST, &registry).registry(Default::default()).build().unwrap();
    let reason = reason(host.validate_raw(registry.asked_for("app:1")).await);
    assert!(reason.contains("\n\nCaused by:\n"), "{reason}");
    assert_eq!(registry.requests(), [""; 0]);
}

#[tokio::test]
async fn the_guest_gets_the_manifest_with_its_annotations() {
    let registry = Registry::plain(Duration::ZERO).await;
    let host = host_asking(MANIFEST, &registry).build().unwrap();
    let evaluation = host.validate_raw(registry.asked_for("app:1")).await;
    let manifest: serde_json::Value = serde_json::from_str(&evaluation.logs[0]).unwrap();
    assert_eq!(manifest["annotations"]["state"], "new");
    assert!(evaluation.timings.host_calls > Duration::ZERO);
}

#[tokio::test]
async fn evaluations_wait_for_a_worker() {
    let registry = Registry::plain(Duration::ZERO).await;
    let host = host_asking(DIGEST, &registry).workers(1).build().unwrap();
    let (held, payload) = (host.clone(), registry.asked_for("held/app:1"));
    let held = tokio::spawn(async move { held.validate_raw(payload).await });
    registry.saw("HEAD /v2/held/app/manifests/1").await;
    // Not even a lookup: the host refuses this name before it asks anyone.
    let mut refused = Box::pin(host.validate_raw(*b"\"NOT A REFERENCE\""));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut refused).await.is_err());
    registry.release();
    assert!(reason(refused.await).contains("Callback evaluation failure"));
    assert_eq!(held.await.unwrap().outcome, Outcome::Completed);
}
