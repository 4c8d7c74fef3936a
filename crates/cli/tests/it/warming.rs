//! An announcement makes Harbor fill, and Harbor itself says so.

use harbor_warmer_core::problem::Problem;
use harbor_warmer_core::view::Phase;
use harbor_warmer_core::view::{ImageView, StuckView};
use harbor_warmer_protocol::{ImageState, Receipt, Subject};
use harbor_warmer_simulator::PushedImage;

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

async fn pin(site: &Site, image: &PushedImage) -> Receipt {
    let digest = image.digest.as_str().parse().unwrap();
    site.hand_off("library/app", "linux/amd64", Subject::Pin { digest, tag: None }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_named_by_its_digest_alone_is_warmed_and_the_tag_that_it_blocks_is_told() {
    let site = Site::start().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    let id = pin(&site, &image).await.image.unwrap();
    let view = site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, "linux/amd64"));
    assert!(view.new_tags_blocked_until.is_some(), "{view:#?}");

    let announced = site.announce("library/app", "1.0", "linux/amd64").await.image.unwrap();
    let told = |view: &ImageView, stuck: &StuckView| {
        stuck.problem == Problem::TagBlocked && view.summary.reason.as_ref() == Some(&stuck.cause)
    };
    let view = site.wait_for(&announced, |view| view.stuck.as_ref().is_some_and(|stuck| told(view, stuck))).await;
    let stuck = view.stuck.unwrap();
    assert_eq!(stuck.step, "record the tag 1.0 in Harbor");
    assert!(stuck.cause.contains("names it by its digest alone, before 1.0 was asked for"), "{stuck:#?}");
    assert!(site.harbor.tag("hub", "library/app", "1.0").is_none());
    let told = "harbor_warmer_tags_blocked_total{reason=\"untagged_read\"} 1";
    let metrics = site.metrics().await;
    assert!(metrics.contains(told), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_named_by_its_digest_alone_is_left_out_where_the_project_says_so_until_it_has_a_tag() {
    let options = Options { project: "warmUntagged: false".to_owned(), ..Options::default() };
    let site = Site::with(harbor(), options).await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    let id = pin(&site, &image).await.image.unwrap();
    let told = site.wait_for_dead_letter(&id).await;
    assert!(told.contains("`warmUntagged: false`"), "{told}");
    let receipt = pin(&site, &image).await;
    assert_eq!(receipt.state, ImageState::Failed);
    assert!(receipt.reason.unwrap().starts_with(&told));
    assert_eq!(site.harbor.upstream_stats().manifest_gets, 0, "nothing is read");

    let announced = site.announce("library/app", "1.0", "linux/amd64").await.image.unwrap();
    site.wait_for(&announced, |view| view.summary.phase == Phase::Tagged).await;
}
