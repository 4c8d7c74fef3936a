//! Tags: which are recorded, which never are, and what becomes of one that moves.

use harbor_warmer_simulator::ImageSpec;

use crate::client::{AMD64, ARM64, Lab, SOON, assert_took, measured_image};

#[tokio::test]
async fn a_second_tag_of_an_index_that_was_read_is_never_recorded_until_redis_forgets_it() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    lab.simulator.upstream().move_tag("library/app", "b", &image.digest);
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_tagged(&image).await;
    let asked = lab.simulator.now();
    let answer = lab.head(&lab.manifest("library/app", "b")).await;
    assert_eq!(answer.headers()["docker-content-digest"], image.digest.as_str());
    lab.pass(asked, 640).await;
    assert_eq!(lab.simulator.tag("proxy", "library/app", "b"), None);

    // The cure that an administrator has: both keys of the index.
    let key = format!("cache:manifestlist:proxy/library/app:{}", image.digest);
    assert!(lab.simulator.delete_redis_key(&format!("{key}:contenttype")));
    assert!(lab.simulator.delete_redis_key(&key));
    let cured = lab.simulator.now();
    lab.head(&lab.manifest("library/app", "b")).await;
    lab.until("the second tag is recorded", |it| it.tag("proxy", "library/app", "b").is_some()).await;
    assert_took(cured, lab.simulator.tag_recorded_at("proxy", "library/app", "b"), 10, SOON);
}

#[tokio::test]
async fn redis_forgets_an_index_after_7_days() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    lab.get_manifest(&image, &image.digest).await;
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_recorded(&image, &image.child(ARM64).digest).await;
    let (digest_key, tables) = (image.digest.to_string(), "cache:trimmedmanifestlist:");
    lab.until("the index is recorded", |it| {
        it.redis_keys().iter().any(|key| key.strip_prefix(tables) == Some(&digest_key))
    })
    .await;
    lab.simulator.advance(std::time::Duration::from_secs(7 * 24 * 3600 + 1));
    lab.head_tag(&image).await;
    lab.until_tagged(&image).await;
}

#[tokio::test]
async fn two_tags_asked_for_before_the_index_is_read_are_both_recorded() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    lab.simulator.upstream().move_tag("library/app", "b", &image.digest);
    lab.head_tag(&image).await;
    lab.head(&lab.manifest("library/app", "b")).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until("both tags are recorded", |it| it.tags("proxy", "library/app").len() == 2).await;
    let tags = lab.simulator.tags("proxy", "library/app");
    assert_eq!(tags["1.0"], tags["b"]);
}

#[tokio::test]
async fn a_second_tag_of_a_single_manifest_is_recorded_within_seconds() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("one", "a").single_manifest());
    lab.simulator.upstream().move_tag("one", "b", &image.digest);
    lab.head_tag(&image).await;
    lab.warm_child(&image, AMD64).await;
    lab.until_tagged(&image).await;
    let asked = lab.simulator.now();
    lab.head(&lab.manifest("one", "b")).await;
    lab.until("the second tag is recorded", |it| it.tag("proxy", "one", "b").is_some()).await;
    assert_took(asked, lab.simulator.tag_recorded_at("proxy", "one", "b"), 10, SOON);
}

#[tokio::test]
async fn a_restart_between_the_read_of_the_index_and_its_record_loses_the_tag() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.simulator.restart().await;
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_recorded(&image, &image.child(ARM64).digest).await;
    let recorded = lab.simulator.now();
    lab.head_tag(&image).await;
    lab.pass(recorded, 500).await;
    assert_eq!(lab.tagged_at(&image), None);
}

#[tokio::test]
async fn a_tag_moved_upstream_goes_on_naming_the_old_artifact_until_the_new_one_is_recorded() {
    let lab = Lab::start().await;
    let old = lab.simulator.upstream().push(ImageSpec::new("app", "latest").layer_sizes([4096]));
    let artifact = "/api/v2.0/projects/proxy/repositories/app/artifacts/latest?with_tag=true";
    lab.head_tag(&old).await;
    lab.get_manifest(&old, &old.digest).await;
    lab.warm_child(&old, AMD64).await;
    lab.until_tagged(&old).await;
    let before = lab.simulator.tag("proxy", "app", "latest").unwrap();

    let new = lab.simulator.upstream().push(ImageSpec::new("app", "latest").layer_sizes([4096]).revision(2));
    assert_ne!(new.digest, old.digest);
    let answer = lab.head(&lab.manifest("app", "latest")).await;
    assert_eq!(answer.headers()["docker-content-digest"], new.digest.as_str(), "the registry knows at once");
    let (status, shown) = lab.get_json(artifact).await;
    assert_eq!((status, shown["digest"].as_str()), (200, Some(before.as_str())), "the API does not");
    assert_eq!(shown["references"][0]["child_digest"], old.children[0].digest.as_str());

    lab.get_manifest(&new, &new.digest).await;
    lab.warm_child(&new, AMD64).await;
    lab.until("the tag moves", |it| it.tag("proxy", "app", "latest").is_some_and(|now| now != before)).await;
    let (_, shown) = lab.get_json(artifact).await;
    assert_eq!(shown["references"][0]["child_digest"], new.children[0].digest.as_str());
}

#[tokio::test]
async fn a_docker_list_keeps_its_digest_and_is_served_locally_by_it() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]).docker());
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_tagged(&image).await;
    assert_eq!(lab.simulator.tag("proxy", "library/app", "1.0"), Some(image.digest));
}

#[tokio::test]
async fn a_non_distributable_layer_keeps_its_platform_out_and_the_tag_waiting() {
    let lab = Lab::start().await;
    let windows = "windows/amd64";
    let spec = measured_image().platforms([AMD64, windows]).layer_sizes([4096]).nondistributable_layer(windows);
    let image = lab.simulator.upstream().push(spec);
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    let start = lab.simulator.now();
    lab.warm_child(&image, AMD64).await;
    let child = image.child(windows);
    lab.get_manifest(&image, &child.digest).await;
    lab.touch("library/app", &child.layers[0].0).await;
    let foreign = lab.get(&lab.blob("library/app", &child.layers[1].0)).await;
    assert_eq!(foreign.status(), 404);
    lab.until_tagged(&image).await;
    assert_took(start, lab.tagged_at(&image), 399, 600);
    assert_eq!(lab.recorded_at(&image, &child.digest), None);
}
