//! What Harbor says when the upstream or itself can't: the two kinds of 404, limits, quotas, read-only.

use harbor_warmer_simulator::{ImageSpec, ProjectSpec, UpstreamEffect, UpstreamFault, UpstreamRequest};
use reqwest::Method;
use serde_json::json;

use crate::client::{AMD64, Lab, SOON, assert_took, builder, measured_image};

const NO_SUCH_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

async fn message(lab: &Lab, path: &str) -> (u16, String) {
    let (status, shown) = lab.get_json(path).await;
    (status, shown["errors"][0]["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_missing_tag_and_a_failing_upstream_are_told_apart_by_a_gets_body_only() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().single_manifest().layer_sizes([4096]));
    let missing = lab.manifest("library/app", "2.0");
    let head = lab.head(&missing).await;
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (404, 0));
    let (status, said) = message(&lab, &missing).await;
    assert_eq!((status, said.as_str()), (404, "resource not found: repo proxy/library/app, tag 2.0 not found"));
    // The probe that starts nothing: a digest that can't exist.
    let probe = lab.manifest("library/app", NO_SUCH_DIGEST);
    assert_eq!(message(&lab, &probe).await.1, "resource not found: repo proxy/library/app, tag  not found");

    lab.simulator.upstream().set_down(true);
    let head = lab.head(&missing).await;
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (404, 0));
    assert_eq!(message(&lab, &missing).await, (404, "repository proxy/library/app not found".to_owned()));
    assert_eq!(message(&lab, &probe).await, (404, "repository proxy/library/app not found".to_owned()));
    let blob = lab.blob("library/app", &image.child(AMD64).layers[0].0);
    assert_eq!(message(&lab, &blob).await, (500, "internal server error".to_owned()));

    lab.simulator.upstream().set_down(false);
    lab.head_tag(&image).await;
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    lab.simulator.upstream().set_down(true);
    assert_eq!(message(&lab, &missing).await, (404, "artifact proxy/library/app:2.0 not found".to_owned()));
    let absent = format!("artifact proxy/library/app@{NO_SUCH_DIGEST} not found");
    assert_eq!(message(&lab, &probe).await, (404, absent));
    let cached = lab.head(&lab.manifest("library/app", "1.0")).await;
    assert_eq!(cached.headers()["etag"], format!("\"{}\"", image.digest), "a cached tag is served");
}

#[tokio::test]
async fn an_unhealthy_endpoint_is_not_asked_at_all() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    lab.simulator.set_endpoint_healthy(false);
    let said = message(&lab, &lab.manifest("library/app", "1.0")).await;
    assert_eq!(said, (404, "repository proxy/library/app not found".to_owned()));
    let blob = lab.blob("library/app", &image.child(AMD64).layers[0].0);
    assert_eq!(message(&lab, &blob).await, (404, "blob unknown to registry".to_owned()));
    assert_eq!(lab.simulator.upstream_stats().manifest_heads, 0);
    lab.simulator.set_endpoint_healthy(true);
    lab.head_tag(&image).await;
}

#[tokio::test]
async fn the_upstreams_refusals_of_a_blob_are_passed_through() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let blob = lab.blob("library/app", &image.child(AMD64).layers[0].0);
    for (upstream, expected) in [(401, 401), (403, 403), (429, 429), (500, 500), (503, 500)] {
        let fault = UpstreamFault::new(UpstreamEffect::Status(upstream)).on(UpstreamRequest::ClientStream);
        lab.simulator.upstream().fail_next(fault);
        let (status, said) = message(&lab, &blob).await;
        assert_eq!(status, expected, "{said}");
        assert_eq!(said.starts_with(&format!("http status code: {upstream}, body: ")), expected < 500, "{said}");
    }
    let (status, said) = message(&lab, &lab.blob("library/app", NO_SUCH_DIGEST)).await;
    assert_eq!(status, 404);
    assert!(said.starts_with("http status code: 404, body: ") && said.contains("BLOB_UNKNOWN"), "{said}");
}

#[tokio::test]
async fn the_upstreams_errors_on_manifests_fall_back_but_429_is_passed_on() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().single_manifest().layer_sizes([4096]));
    let tag = lab.manifest("library/app", "1.0");
    let fail = |status| {
        let fault = UpstreamFault::new(UpstreamEffect::Status(status)).on(UpstreamRequest::ManifestHead);
        lab.simulator.upstream().fail_next(fault);
    };
    fail(401);
    assert_eq!(message(&lab, &tag).await, (404, "repository proxy/library/app not found".to_owned()));
    fail(429);
    assert_eq!(message(&lab, &tag).await, (429, "too many requests to upstream registry".to_owned()));
    lab.head_tag(&image).await;
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    fail(429);
    assert_eq!(lab.head(&tag).await.status(), 200, "a cached tag is served instead");
}

#[tokio::test]
async fn more_upstream_connections_than_allowed_are_429() {
    let lab = Lab::with(builder().project(ProjectSpec::proxy("proxy").max_upstream_connections(1))).await;
    lab.simulator.upstream().rate(Some(1 << 10));
    let image = lab.simulator.upstream().push(measured_image());
    let layers = &image.child(AMD64).layers;
    let mut first = lab.get(&lab.blob("library/app", &layers[1].0)).await;
    first.chunk().await.unwrap();
    assert_eq!(lab.get(&lab.blob("library/app", &layers[1].0)).await.status(), 429);
    let other = lab.get(&lab.blob("library/app", &layers[0].0)).await;
    assert_eq!(other.status(), 200, "the limit is one of each blob");
    drop((first, other));

    let whole = builder().limit_on_project().project(ProjectSpec::proxy("proxy").max_upstream_connections(1));
    let lab = Lab::with(whole).await;
    lab.simulator.upstream().rate(Some(1 << 10));
    lab.simulator.upstream().push(measured_image());
    let mut first = lab.get(&lab.blob("library/app", &layers[1].0)).await;
    first.chunk().await.unwrap();
    assert_eq!(lab.get(&lab.blob("library/app", &layers[0].0)).await.status(), 429);
}

#[tokio::test]
async fn over_its_quota_harbor_transfers_and_serves_but_never_stores() {
    let lab = Lab::with(builder().project(ProjectSpec::proxy("proxy").quota_bytes(1 << 20))).await;
    let image = lab.simulator.upstream().push(ImageSpec::new("big", "1").layer_sizes([4 << 20]));
    let layer = image.children[0].layers[0].0.clone();
    for copies in 1..=2 {
        assert_eq!(lab.drain("big", &layer).await, 4 << 20);
        lab.until("the copy ends", |it| it.background_transfers("proxy", "big", &layer) == copies).await;
        assert_eq!(lab.head(&lab.blob("big", &layer)).await.status(), 404);
    }
    assert_eq!(lab.simulator.upstream_stats().blob_bytes, 4 * (4 << 20));
    lab.simulator.set_quota("proxy", None);
    lab.touch("big", &layer).await;
    lab.until_local(&image, [&*layer]).await;
}

#[tokio::test]
async fn an_administrator_sets_a_quota_and_a_robot_does_not() {
    let mut lab = Lab::start().await;
    assert_eq!(lab.get("/api/v2.0/quotas").await.status(), 403);
    lab.login("admin", "Harbor12345");
    let (_, project) = lab.get_json("/api/v2.0/projects/proxy").await;
    let quotas = format!("/api/v2.0/quotas?reference=project&reference_id={}", project["project_id"]);
    let (_, shown) = lab.get_json(&quotas).await;
    assert_eq!((&shown[0]["ref"]["name"], &shown[0]["hard"]["storage"]), (&json!("proxy"), &json!(-1)));
    let quota = format!("/api/v2.0/quotas/{}", shown[0]["id"]);
    for storage in [1000, -1] {
        let body = json!({"hard": {"storage": storage}});
        assert_eq!(lab.send_json(Method::PUT, &quota, &body).await.status(), 200);
        assert_eq!(lab.get_json(&quotas).await.1[0]["hard"]["storage"], storage);
    }
    assert_eq!(
        lab.send_json(Method::PUT, "/api/v2.0/quotas/999", &json!({"hard": {"storage": 1}})).await.status(),
        404
    );
    assert_eq!(lab.send_json(Method::PUT, &quota, &json!({})).await.status(), 400);
}

#[tokio::test]
async fn a_read_only_harbor_serves_and_stores_nothing() {
    let lab = Lab::start().await;
    lab.simulator.set_read_only(true);
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    let layer = image.children[0].layers[0].0.clone();
    assert_eq!(lab.drain("app", &layer).await, 65536);
    lab.until("the copy was started", |it| it.upstream_stats().copy_streams == 1).await;
    assert_eq!(lab.simulator.background_transfers("proxy", "app", &layer), 0);
    lab.simulator.set_read_only(false);
    lab.touch("app", &layer).await;
    lab.until_local(&image, [&*layer]).await;
}

#[tokio::test]
async fn a_background_copy_that_fails_once_is_not_tried_again_until_somebody_asks() {
    for effect in [UpstreamEffect::TruncateAfter(1000), UpstreamEffect::Corrupt, UpstreamEffect::Disconnect] {
        let lab = Lab::start().await;
        let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
        let layer = image.children[0].layers[0].0.clone();
        lab.simulator.upstream().fail_next(UpstreamFault::new(effect).on(UpstreamRequest::CacheCopy));
        assert_eq!(lab.drain("app", &layer).await, 65536, "the client's stream is another one");
        lab.until("the copy was started", |it| it.upstream_stats().copy_streams == 1).await;
        lab.pass(lab.simulator.now(), 5).await;
        assert!(!lab.simulator.blob_is_local("proxy", "app", &layer));
        lab.touch("app", &layer).await;
        lab.until_local(&image, [&*layer]).await;
    }
}

#[tokio::test]
async fn a_stream_that_the_upstream_cuts_looks_complete_to_the_client() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    let layer = image.children[0].layers[0].0.clone();
    let fault = UpstreamFault::new(UpstreamEffect::TruncateAfter(1000)).on(UpstreamRequest::ClientStream);
    lab.simulator.upstream().fail_next(fault);
    let body = lab.get(&lab.blob("app", &layer)).await.bytes().await.unwrap();
    assert!((1000..2000).contains(&body.len()), "{} bytes and no error", body.len());
}

#[tokio::test]
async fn both_streams_keep_to_the_projects_speed() {
    let lab = Lab::with(builder().project(ProjectSpec::proxy("proxy").speed_kb(100))).await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").layer_sizes([2 << 20]));
    let layer = image.children[0].layers[0].0.clone();
    let start = lab.simulator.now();
    lab.drain("app", &layer).await;
    let drained = lab.simulator.now();
    lab.until_local(&image, [&*layer]).await;
    assert_took(start, Some(drained), 20, SOON);
    assert_took(start, lab.simulator.blob_local_at("proxy", "app", &layer), 20, SOON);
}

#[tokio::test]
async fn a_cached_tag_that_is_gone_upstream_is_404_unless_the_project_says_otherwise() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().single_manifest().layer_sizes([4096]));
    lab.head_tag(&image).await;
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    lab.simulator.upstream().remove_tag("library/app", "1.0");
    assert_eq!(lab.head(&lab.manifest("library/app", "1.0")).await.status(), 404);
    lab.simulator.update_project(ProjectSpec::proxy("proxy").local_on_not_found());
    lab.head_tag(&image).await;
}
