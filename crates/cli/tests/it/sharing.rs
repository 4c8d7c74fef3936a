//! Nothing is fetched twice without need: one image however many ask, one transfer of a blob however many images have
//! it. Counted by the simulated Harbor.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use harbor_warmer_core::view::Phase;
use harbor_warmer_protocol::{ImageState, Subject};
use harbor_warmer_simulator::{Fault, FaultAction, ImageSpec, RouteClass, Simulator};

use crate::site::{Options, PATIENCE, Site, harbor, two_platforms};

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";

async fn recheck_at_once() -> Site {
    let tune = |config: &mut harbor_warmer::config::Config| config.queue.recheck_after = Duration::ZERO;
    let front = "cacheFor: 0ms".to_owned();
    Site::with(harbor(), Options { front, tune, ..Options::default() }).await
}

async fn until(site: &Site, condition: impl FnMut(&Simulator) -> bool) {
    site.harbor.wait_until(condition, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_hand_offs_of_three_clusters_at_once_are_one_image_and_one_transfer_of_each_blob() {
    let clusters = ["red", "green", "blue"];
    let credentials = clusters.map(|cluster| format!("{{cluster: {cluster}, passwordFile: password}}")).join(", ");
    let options = Options { registry: format!("credentials: [{credentials}]"), ..Options::default() };
    let site = Site::with(harbor(), options).await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    let subject = Subject::Tag("1.0".parse().unwrap());
    let hand_offs = (0..100).map(|n| site.hand_off_as(clusters[n % 3], "library/app", AMD64, subject.clone()));
    let receipts = join_all(hand_offs).await;
    assert_eq!(receipts.iter().filter(|receipt| receipt.state == ImageState::New).count(), 1, "one is the first");
    let view = site.wait_until_warm(receipts[0].image.as_ref().unwrap()).await;
    site.assert_copied_once(&image, AMD64);
    let wanting: BTreeSet<_> = view.wants.iter().map(|want| want.cluster.as_str()).collect();
    assert_eq!(wanting, BTreeSet::from(clusters));
    assert_eq!(view.wants.len(), 3, "one want of each cluster: {:#?}", view.wants);
    assert_eq!(site.list().await.images.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tags_of_one_digest_are_one_image_and_both_are_recorded() {
    let site = Site::start().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    site.harbor.upstream().move_tag("library/app", "latest", &image.digest);
    // Both are announced before Harbor has answered for either, and it answers for one of them much later.
    let slow = Fault::new(FaultAction::DelayMilliseconds(200)).on(RouteClass::ManifestHead);
    site.harbor.inject(slow.clone());
    site.harbor.inject(slow.matching("/manifests/latest"));
    let first = site.announce("library/app", "1.0", AMD64).await.image.unwrap();
    let second = site.announce("library/app", "latest", AMD64).await.image.unwrap();
    for id in [&first, &second] {
        site.wait_for(id, |view| view.summary.phase == Phase::Tagged).await;
    }
    site.assert_copied_once(&image, AMD64);
    let tags: Vec<_> = site.harbor.tags("hub", "library/app").into_keys().collect();
    assert_eq!(tags, ["1.0", "latest"]);
    assert_eq!(site.list().await.images.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_images_of_a_repository_that_share_a_layer_have_it_transferred_once() {
    let site = Site::start().await;
    let images = ["1.0", "2.0"].map(|tag| {
        let spec = ImageSpec::new("library/app", tag).shared_layer("base", 3 << 20);
        site.harbor.upstream().push(spec)
    });
    let receipts = join_all(images.iter().map(|image| site.announce("library/app", &image.tag, AMD64))).await;
    for (receipt, image) in receipts.iter().zip(&images) {
        site.wait_until_warm(receipt.image.as_ref().unwrap()).await;
        site.assert_copied_once(image, AMD64);
    }
    assert_eq!(site.list().await.images.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_while_its_image_is_warmed_is_an_image_of_its_own() {
    let site = recheck_at_once().await;
    let old = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    site.harbor.upstream().rate(Some(50_000));
    let first = site.announce("library/app", "1.0", AMD64).await.image.unwrap();
    until(&site, |harbor| harbor.requests().iter().any(|request| request.class == RouteClass::BlobGet)).await;
    let new = site.harbor.upstream().push(two_platforms("library/app", "1.0").revision(2));
    site.harbor.upstream().rate(None);
    let second = site.announce("library/app", "1.0", AMD64).await.image.unwrap();
    site.wait_until_warm(&first).await;
    site.wait_until_warm(&second).await;
    until(&site, |_| site.harbor_has(&new, AMD64)).await;
    assert!(site.harbor_has(&old, AMD64), "what was begun for a Pod that is starting is finished");
    until(&site, |harbor| {
        let children = harbor.recorded_index_children("hub", "library/app", "1.0").unwrap_or_default();
        children.contains(&new.child(AMD64).digest)
    })
    .await;
    assert_eq!(site.list().await.images.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_seen_warm_lately_costs_harbor_no_request() {
    let site = Site::start().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    let id = site.announce("library/app", "1.0", AMD64).await.image.unwrap();
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    site.harbor.clear_requests();
    for _ in 0..20 {
        assert_eq!(site.announce("library/app", "1.0", AMD64).await.state, ImageState::Warm);
    }
    assert!(site.harbor.requests().is_empty(), "{:#?}", site.harbor.requests());
    site.assert_copied_once(&image, AMD64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_retention_removed_is_found_gone_and_warmed_again() {
    let site = recheck_at_once().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    let id = site.announce("library/app", "1.0", AMD64).await.image.unwrap();
    site.wait_until_warm(&id).await;
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    site.harbor.advance(Duration::from_secs(8 * 86_400));
    assert!(site.harbor.run_retention("hub") > 0);
    assert!(site.harbor.collect_garbage(true) > 0);
    assert!(!site.harbor_has(&image, AMD64));
    let again = site.announce("library/app", "1.0", AMD64).await;
    assert_eq!(again.state, ImageState::Queued);
    until(&site, |_| site.harbor_has(&image, AMD64)).await;
    site.wait_until_warm(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requeued_dead_letter_is_warmed() {
    let tune = |config: &mut harbor_warmer::config::Config| config.queue.missing_tag_for = Duration::ZERO;
    let site = Site::with(harbor(), Options { tune, ..Options::default() }).await;
    let id = site.announce("library/app", "1.0", AMD64).await.image.unwrap();
    site.wait_for_dead_letter(&id).await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    site.requeue(&id).await;
    site.wait_until_warm(&id).await;
    site.assert_copied_once(&image, AMD64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_platform_that_is_wanted_later_is_added_to_the_image() {
    let site = Site::start().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0"));
    let id = site.announce("library/app", "1.0", AMD64).await.image.unwrap();
    site.wait_until_warm(&id).await;
    let later = site.announce("library/app", "1.0", ARM64).await;
    assert_ne!(later.state, ImageState::Warm, "the receipt speaks of the want of its hand-off");
    until(&site, |_| site.harbor_has(&image, ARM64)).await;
    site.wait_until_warm(&id).await;
    site.assert_copied_once(&image, AMD64);
    site.assert_copied_once(&image, ARM64);
    assert_eq!(site.list().await.images.len(), 1);
}
