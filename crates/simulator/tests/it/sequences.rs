//! The sequences that were measured: what becomes local, recorded and tagged, and when.

use harbor_warmer_simulator::{ImageSpec, RouteClass};

use crate::client::{AMD64, ARM64, Lab, SOON, assert_took, measured_image};

#[tokio::test]
async fn one_of_two_platforms_is_recorded_after_20_s_and_its_tag_after_400_s() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let child = image.child(AMD64);
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    lab.until_recorded(&image, &child.digest).await;
    let local = child.blobs().map(|(digest, _)| lab.simulator.blob_local_at("proxy", "library/app", &digest));
    let local: Option<Vec<_>> = local.collect();
    let recorded = lab.recorded_at(&image, &child.digest);
    assert!(local.and_then(|at| at.into_iter().max()) < recorded, "the blobs come first");
    assert_took(start, recorded, 20, SOON);
    lab.until_tagged(&image).await;
    assert_took(start, lab.tagged_at(&image), 399, 600);

    let recorded = lab.simulator.tag("proxy", "library/app", "1.0").unwrap();
    assert_ne!(recorded, image.digest, "Harbor prints the index anew");
    let children = lab.simulator.recorded_index_children("proxy", "library/app", "1.0");
    assert_eq!(children, Some(vec![child.digest.clone()]));
    assert!(!lab.simulator.artifact_recorded("proxy", "library/app", &image.child(ARM64).digest));
}

#[tokio::test]
async fn a_whole_index_is_tagged_soon() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_tagged(&image).await;
    assert_took(start, lab.tagged_at(&image), 39, SOON);
    let recorded = lab.simulator.tag("proxy", "library/app", "1.0").unwrap();
    assert_ne!(recorded, image.digest, "another digest although no child is missing");
    assert_eq!(lab.simulator.recorded_index_children("proxy", "library/app", &recorded).unwrap().len(), 2);
}

#[tokio::test]
async fn attestations_count_as_children() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().platforms([AMD64]).attestations());
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    assert_took(start, lab.tagged_at(&image), 399, 600);
}

#[tokio::test]
async fn an_index_with_one_child_is_tagged_soon() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().platforms([AMD64]));
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    assert_took(start, lab.tagged_at(&image), 39, SOON);
}

#[tokio::test]
async fn a_single_manifest_is_tagged_by_the_next_look_after_it_is_recorded() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().single_manifest());
    lab.head_tag(&image).await;
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    assert_took(start, lab.recorded_at(&image, &image.digest), 20, SOON);
    assert_took(start, lab.tagged_at(&image), 19, SOON);
    assert_eq!(lab.simulator.tag("proxy", "library/app", "1.0"), Some(image.digest));
}

#[tokio::test]
async fn draining_costs_the_upstream_twice_what_touching_does() {
    let lab = Lab::start().await;
    // At full speed a touch fills the buffers of both sockets first; this is what was measured at 8 MB/s.
    lab.simulator.upstream().rate(Some(1 << 20));
    let touched = lab.simulator.upstream().push(ImageSpec::new("touched", "1").layer_sizes([64 << 20]));
    lab.touch("touched", &touched.child(AMD64).layers[0].0).await;
    lab.until_local(&touched, [&*touched.child(AMD64).layers[0].0]).await;
    let bytes = lab.simulator.upstream_stats().blob_bytes as f64;
    assert!((1.0..1.3).contains(&(bytes / f64::from(64 << 20))), "{bytes} bytes");

    lab.simulator.upstream().rate(None);
    lab.simulator.upstream().reset_stats();
    let drained = lab.simulator.upstream().push(ImageSpec::new("drained", "1").layer_sizes([8 << 20]));
    let layer = &drained.child(AMD64).layers[0].0;
    assert_eq!(lab.drain("drained", layer).await, 8 << 20);
    lab.until_local(&drained, [&**layer]).await;
    assert_eq!(lab.simulator.upstream_stats().blob_bytes, 2 * (8 << 20));
    assert_eq!(lab.simulator.upstream_stats().blob_gets("drained", layer), 2);
    assert_eq!(lab.simulator.background_transfers("proxy", "drained", layer), 1);
}

#[tokio::test]
async fn an_index_that_was_read_by_tag_first_is_recorded_but_never_tagged() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let start = lab.simulator.now();
    let answer = lab.get(&lab.manifest("library/app", "1.0")).await;
    assert_eq!(answer.headers()["docker-content-digest"], "", "the cold case");
    assert_eq!(answer.headers()["etag"], "");
    lab.head_tag(&image).await;
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_recorded(&image, &image.child(ARM64).digest).await;
    assert_took(start, lab.recorded_at(&image, &image.child(AMD64).digest), 20, SOON);
    lab.pass(start, 660).await;
    assert_eq!(lab.tagged_at(&image), None);
    let again = lab.get(&lab.manifest("library/app", "1.0")).await;
    assert_eq!(again.headers()["docker-content-digest"], image.digest.as_str(), "Redis knows the digest");
}

#[tokio::test]
async fn without_a_blob_being_asked_for_harbor_fetches_them_itself_after_200_s() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let child = image.child(AMD64);
    lab.get_manifest(&image, "1.0").await;
    let start = lab.simulator.now();
    lab.get_manifest(&image, &child.digest).await;
    lab.until_recorded(&image, &child.digest).await;
    assert_took(start, lab.recorded_at(&image, &child.digest), 199, 399);
    let layer = lab.simulator.blob_local_at("proxy", "library/app", &child.layers[1].0);
    assert_took(start, layer, 199, 399);
    lab.pass(start, 660).await;
    assert_eq!(lab.tagged_at(&image), None);
    let blobs = lab.simulator.requests().into_iter().filter(|request| request.class == RouteClass::BlobGet).count();
    assert_eq!(blobs, 0);
}

#[tokio::test]
async fn a_layer_slower_than_200_s_keeps_its_manifest_from_being_recorded_until_it_is_asked_for_again() {
    let lab = Lab::start().await;
    lab.simulator.upstream().rate(Some(250_000));
    let image = lab.simulator.upstream().push(ImageSpec::new("slow", "1").single_manifest().layer_sizes([95_000_064]));
    let layer = image.children[0].layers[0].0.clone();
    lab.head_tag(&image).await;
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    lab.until_local(&image, [&*layer]).await;
    assert_took(start, lab.simulator.blob_local_at("proxy", "slow", &layer), 379, 600);
    lab.pass(start, 480).await;
    assert_eq!(lab.recorded_at(&image, &image.digest), None, "MANIFEST_BLOB_UNKNOWN at 200 s, and no second try");
    assert_eq!(lab.simulator.background_transfers("proxy", "slow", &layer), 1, "the late fetch found it in flight");

    lab.head_tag(&image).await;
    let cured = lab.simulator.now();
    lab.get_manifest(&image, &image.digest).await;
    lab.until_tagged(&image).await;
    assert_took(cured, lab.recorded_at(&image, &image.digest), 20, SOON);
    // The first window of 600 s may still be open, so the tag comes with one of its looks or the second's.
    assert_took(cured, lab.tagged_at(&image), 20, SOON);
}

#[tokio::test]
async fn an_image_slower_than_the_400_s_deadline_is_recorded_but_not_tagged() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    let start = lab.simulator.now();
    lab.pass(start, 500).await;
    lab.warm_child(&image, AMD64).await;
    lab.until_recorded(&image, &image.child(AMD64).digest).await;
    let late = lab.simulator.now();
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.pass(late, 150).await;
    assert_eq!(lab.tagged_at(&image), None, "HEAD and GET were answered out of Redis");
    let heads = lab.simulator.requests().into_iter().filter(|request| request.class == RouteClass::ManifestHead);
    assert_eq!(heads.count(), 2);
}

#[tokio::test]
async fn an_index_read_through_a_second_project_leaves_the_real_ones_deadline_unopened() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let start = lab.simulator.now();
    let answer = lab.client.get(format!("{}/v2/resolve/library/app/manifests/{}", lab.simulator.url(), image.digest));
    let answer = answer.basic_auth("robot$replicator", Some("secret")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    lab.warm_child(&image, AMD64).await;
    lab.until_recorded(&image, &image.child(AMD64).digest).await;
    lab.pass(start, 500).await;
    // Later than any deadline that the first read could have opened.
    lab.head_tag(&image).await;
    let index = lab.simulator.now();
    lab.get_manifest(&image, &image.digest).await;
    lab.until_tagged(&image).await;
    assert_took(index, lab.tagged_at(&image), 399, 600);
    assert_eq!(lab.simulator.tags("resolve", "library/app").len(), 0, "the second project stores nothing");
}

#[tokio::test]
async fn the_real_index_asked_for_right_after_the_children_makes_the_tag_faster() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.until_tagged(&image).await;
    // By hand it is 32 s; here a slow look at the children may cost one more interval of 20 s.
    assert_took(start, lab.tagged_at(&image), 20, SOON);
}
