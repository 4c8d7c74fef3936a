//! Retention, garbage collection, and which pulls keep an image from them.

use std::time::Duration;

use crate::client::{AMD64, ARM64, Lab, measured_image};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_get_of_a_child_by_digest_renews_the_index_above_it_and_nothing_else_does() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_tagged(&image).await;
    let index = lab.simulator.tag("proxy", "library/app", "1.0").unwrap();
    let pulled = |digest: &str| lab.simulator.artifact_pulled_at("proxy", "library/app", digest).unwrap();

    lab.simulator.advance(3 * DAY);
    let (before, child) = (pulled(&index), &image.child(AMD64).digest);
    lab.head_tag(&image).await;
    lab.get_manifest(&image, "1.0").await;
    lab.get_manifest(&image, &image.digest).await;
    lab.head(&lab.manifest("library/app", child)).await;
    assert_eq!(pulled(&index), before, "Redis answers the index, and a HEAD is no pull");
    lab.get_manifest(&image, child).await;
    assert!(pulled(&index) >= before + 3 * DAY);

    lab.simulator.advance(5 * DAY);
    assert_eq!(lab.simulator.run_retention("proxy"), 0, "8 days after the record, 5 after the pull");
    lab.simulator.advance(3 * DAY);
    assert_eq!(lab.simulator.run_retention("proxy"), 3, "the index, and its children with it");
    assert_eq!(lab.simulator.tag("proxy", "library/app", "1.0"), None);
    assert!(lab.simulator.blob_is_local("proxy", "library/app", &image.child(AMD64).layers[0].0));
    assert_eq!(lab.simulator.collect_garbage(false), image.blobs().len());
    let layer = lab.blob("library/app", &image.child(AMD64).layers[0].0);
    assert_eq!(lab.head(&layer).await.status(), 404);
}

#[tokio::test]
async fn collecting_untagged_artifacts_leaves_what_a_tag_holds() {
    let lab = Lab::start().await;
    let tagged = lab.simulator.upstream().push(measured_image().layer_sizes([4096]).platforms([AMD64]));
    lab.head_tag(&tagged).await;
    lab.get_manifest(&tagged, &tagged.digest).await;
    lab.warm_child(&tagged, AMD64).await;
    lab.until_tagged(&tagged).await;
    let bare = lab.simulator.upstream().push(measured_image().layer_sizes([8192]).single_manifest().revision(1));
    lab.warm_child(&bare, AMD64).await;
    lab.until_recorded(&bare, &bare.digest).await;
    lab.simulator.advance(DAY);
    lab.simulator.collect_garbage(true);
    assert!(lab.simulator.artifact_recorded("proxy", "library/app", &tagged.children[0].digest));
    assert!(lab.simulator.blob_is_local("proxy", "library/app", &tagged.children[0].layers[0].0));
    assert!(!lab.simulator.artifact_recorded("proxy", "library/app", &bare.digest));
    assert!(!lab.simulator.blob_is_local("proxy", "library/app", &bare.children[0].layers[0].0));
}
