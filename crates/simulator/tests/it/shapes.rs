//! What registries really hold: layers of any size, indexes that are incomplete or odd, upstreams without digests.

use std::time::Duration;

use harbor_warmer_simulator::{ImageSpec, Oddity, PushedImage, Timers};
use rstest::rstest;
use serde_json::Value;

use crate::client::{AMD64, ARM64, Lab, SOON, assert_took, builder, json};

const TEN_GIGABYTES: u64 = 10_000_000_000;

async fn index_of(lab: &Lab, image: &PushedImage) -> Vec<Value> {
    let answer = lab.get(&lab.manifest(&image.repository, &image.digest)).await;
    assert_eq!(answer.status(), 200);
    json(answer).await["manifests"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_layer_of_ten_gigabytes_arrives_without_its_bytes_and_at_its_rate() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("model", "1").declared_layers([TEN_GIGABYTES]));
    let layer = image.child(AMD64).layers[1].0.clone();
    lab.simulator.upstream().rate(Some(1 << 30));
    let start = lab.simulator.now();
    lab.touch("model", &layer).await;
    lab.until_local(&image, [&*layer]).await;
    assert_took(start, lab.simulator.blob_local_at("proxy", "model", &layer), 9, SOON);
    let head = lab.head(&lab.blob("model", &layer)).await;
    assert_eq!(head.headers()["content-length"], TEN_GIGABYTES.to_string());
    assert_eq!(lab.simulator.upstream_stats().copied_bytes, TEN_GIGABYTES);
}

#[tokio::test]
async fn a_copy_under_way_follows_the_rate_and_is_cut_when_the_upstream_goes_down() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("model", "1").declared_layers([TEN_GIGABYTES]));
    let layer = image.child(AMD64).layers[1].0.clone();
    // It would take an hour at least.
    lab.simulator.upstream().rate(Some(1 << 20));
    lab.touch("model", &layer).await;
    lab.until("the copy runs", |it| it.upstream_stats().copy_streams == 1).await;
    lab.simulator.upstream().rate(Some(1 << 30));
    lab.until_local(&image, [&*layer]).await;

    let other = lab.simulator.upstream().push(ImageSpec::new("model", "2").declared_layers([TEN_GIGABYTES]));
    let layer = other.child(AMD64).layers[1].0.clone();
    lab.simulator.upstream().rate(Some(1 << 20));
    lab.touch("model", &layer).await;
    lab.until("the copy runs", |it| it.upstream_stats().copy_streams == 2).await;
    lab.simulator.upstream().set_down(true);
    lab.simulator.upstream().set_down(false);
    lab.simulator.upstream().rate(None);
    lab.touch("model", &layer).await;
    lab.until_local(&other, [&*layer]).await;
}

#[tokio::test]
async fn a_copy_that_takes_longer_than_harbors_client_waits_is_cut_and_not_stored() {
    let timers = Timers { upstream_timeout: Duration::from_secs(100), ..Timers::default() };
    let lab = Lab::with(builder().timers(timers)).await;
    let image = lab.simulator.upstream().push(ImageSpec::new("model", "1").declared_layers([2_000_000_000]));
    let layer = image.child(AMD64).layers[1].0.clone();
    // 200 s at first, half of which the client waits.
    lab.simulator.upstream().rate(Some(10_000_000));
    lab.touch("model", &layer).await;
    lab.pass(lab.simulator.now(), 250).await;
    assert!(!lab.simulator.blob_is_local("proxy", "model", &layer));
    lab.simulator.upstream().rate(Some(100_000_000));
    lab.touch("model", &layer).await;
    lab.until_local(&image, [&*layer]).await;
}

#[tokio::test]
async fn a_child_that_the_upstream_lacks_is_asked_for_there_each_time() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").platforms([AMD64, ARM64]));
    let gone = image.child(ARM64).digest.clone();
    lab.simulator.upstream().remove_manifest("app", &gone);
    for asked in 1..=3 {
        let (status, said) = lab.get_json(&lab.manifest("app", &gone)).await;
        assert_eq!(status, 404);
        assert_eq!(said["errors"][0]["message"], "resource not found: repo proxy/app, tag  not found");
        assert_eq!(lab.simulator.upstream_stats().manifest_requests("app", &gone), asked);
    }
    assert_eq!(lab.simulator.upstream_stats().requests_of("app"), 3);
    assert_eq!(lab.simulator.upstream_stats().requests_of("other"), 0);
}

#[tokio::test]
async fn a_blob_that_the_upstream_lacks_is_404_in_its_words() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    let layer = image.child(AMD64).layers[0].0.clone();
    lab.simulator.upstream().remove_blob("app", &layer);
    let (status, said) = lab.get_json(&lab.blob("app", &layer)).await;
    assert_eq!(status, 404);
    assert!(said.to_string().contains("BLOB_UNKNOWN"), "{said}");
}

#[rstest]
#[case::no_platform(Oddity::NoPlatform, "/platform", Value::Null)]
#[case::empty_platform(Oddity::EmptyPlatform, "/platform", serde_json::json!({}))]
#[case::blank_platform(Oddity::BlankPlatform, "/platform/os", "".into())]
#[case::no_os(Oddity::NoOs, "/platform", serde_json::json!({"architecture": "arm64"}))]
#[case::no_media_type(Oddity::NoMediaType, "/mediaType", Value::Null)]
#[case::negative_size(Oddity::Size(-1), "/size", (-1).into())]
#[tokio::test]
async fn an_odd_entry_stands_in_the_index_and_harbor_records_what_can_be_had(
    #[case] oddity: Oddity,
    #[case] place: &str,
    #[case] expected: Value,
) {
    let lab = Lab::start().await;
    let spec = ImageSpec::new("app", "1").platforms([AMD64, ARM64]).odd(ARM64, oddity);
    let image = lab.simulator.upstream().push(spec);
    lab.head_tag(&image).await;
    let entries = index_of(&lab, &image).await;
    assert_eq!(entries[1].pointer(place).unwrap_or(&Value::Null), &expected, "{entries:?}");
    assert_eq!(entries[0].pointer("/platform/os").unwrap(), "linux");
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_tagged(&image).await;
}

#[tokio::test]
async fn an_entry_by_sha512_can_not_be_had() {
    let lab = Lab::start().await;
    let spec = ImageSpec::new("app", "1").platforms([AMD64, ARM64]).odd(ARM64, Oddity::Sha512);
    let image = lab.simulator.upstream().push(spec);
    let entries = index_of(&lab, &image).await;
    let digest = entries[1]["digest"].as_str().unwrap();
    assert_eq!((&digest[..7], digest.len()), ("sha512:", 135));
    assert_eq!(lab.get(&lab.manifest("app", digest)).await.status(), 404);
}

#[rstest]
#[case::null(Oddity::LayersNull)]
#[case::missing(Oddity::NoLayers)]
#[tokio::test]
async fn a_manifest_without_layers_has_its_config_alone(#[case] oddity: Oddity) {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").odd(AMD64, oddity));
    let child = image.child(AMD64);
    assert_eq!(child.blobs().count(), 1);
    let (_, manifest) = lab.get_json(&lab.manifest("app", &child.digest)).await;
    let layers = manifest.as_object().unwrap().get("layers");
    assert_eq!(layers, (oddity == Oddity::LayersNull).then_some(&Value::Null));
    lab.warm_child(&image, AMD64).await;
    lab.until_recorded(&image, &child.digest).await;
}

#[tokio::test]
async fn an_index_within_an_index_and_a_blob_among_its_entries_keep_it_from_being_whole() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").nested_index([ARM64]).listed_blob(100));
    let start = lab.simulator.now();
    lab.head_tag(&image).await;
    let entries = index_of(&lab, &image).await;
    assert_eq!(entries.len(), 3);
    let nested = image.nested.as_ref().unwrap();
    assert_eq!(entries[1]["digest"], nested.as_str());
    let (_, inner) = lab.get_json(&lab.manifest("app", nested)).await;
    assert_eq!(inner["manifests"][0]["digest"], image.child(ARM64).digest.as_str());
    assert_eq!(entries[2]["size"], 100);
    assert_eq!(lab.get(&lab.manifest("app", entries[2]["digest"].as_str().unwrap())).await.status(), 404);
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_tagged(&image).await;
    assert_took(start, lab.tagged_at(&image), 400, 800);
}

#[tokio::test]
async fn an_upstream_that_sends_no_digest_leaves_the_header_empty_and_no_tag_recorded() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").single_manifest());
    lab.simulator.upstream().send_no_digests(true);
    let head = lab.head(&lab.manifest("app", "1")).await;
    assert_eq!((head.status().as_u16(), head.headers()["docker-content-digest"].as_bytes()), (200, &b""[..]));
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    lab.until_recorded(&image, &image.digest).await;
    lab.pass(start, 60).await;
    assert!(lab.tagged_at(&image).is_none());
    lab.simulator.upstream().send_no_digests(false);
    lab.head_tag(&image).await;
    lab.until_tagged(&image).await;
}
