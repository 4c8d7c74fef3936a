//! An announcement makes Harbor fill, and Harbor itself says so.

use harbor_warmer::view::Phase;
use harbor_warmer_protocol::ImageState;

use crate::site::{Options, Site, harbor, two_platforms};

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_image_ends_warm_and_tagged_in_harbor() {
    let site = Site::start().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    let receipt = site.announce("library/app", "1.0", "linux/amd64").await;
    assert_eq!(receipt.state, ImageState::New);
    let id = receipt.image.unwrap();
    site.wait_for(&id, |view| view.summary.phase >= Phase::Warm).await;
    assert!(site.harbor_has(&image, "linux/amd64"));
    for (blob, _) in image.child("linux/amd64").blobs() {
        assert_eq!(site.harbor.background_transfers("hub", "library/app", blob.as_str()), 1);
    }
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    assert!(site.harbor.tag("hub", "library/app", "1.0").is_some());
    assert!(!site.harbor_has(&image, "linux/arm64"), "only the wanted platform is moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_index_is_tagged_long_before_harbors_deadline() {
    let options = Options { project: "completeIndex: true".to_owned(), ..Options::default() };
    let site = Site::with(harbor(), options).await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    let id = site.announce("library/app", "1.0", "linux/amd64").await.image.unwrap();
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    assert!(site.harbor_has(&image, "linux/amd64") && site.harbor_has(&image, "linux/arm64"));
    let tagged = site.harbor.tag_recorded_at("hub", "library/app", "1.0").unwrap();
    assert!(tagged.as_secs() < 300, "{tagged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_stopped() {
    let site = Site::start().await;
    site.harbor.upstream().set_down(true);
    let receipt = site.announce("library/app", "1.0", "linux/amd64").await;
    let site = site.restart().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    site.harbor.upstream().set_down(false);
    let id = receipt.image.unwrap();
    site.wait_for(&id, |view| view.summary.phase >= Phase::Warm && view.summary.phase != Phase::Failed).await;
    assert!(site.harbor_has(&image, "linux/amd64"));
}
