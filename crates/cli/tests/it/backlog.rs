//! More images at once than Harbor's deadlines have room for, over an upstream that is slow.

use std::time::Duration;

use harbor_warmer_core::view::Phase;
use harbor_warmer_protocol::Lookup;
use harbor_warmer_simulator::{ImageSpec, PushedImage};

use crate::site::{Options, Site, harbor};

const AMD64: &str = "linux/amd64";

/// So many that all of them take longer than Harbor keeps a tag's window open, and twice its deadline for an index.
const IMAGES: usize = 60;

/// In Harbor's time; its window for a tag is 600 s, its deadline for an index 400 s.
const AT_LEAST: Duration = Duration::from_secs(800);

/// Looks the image up as a policy does: HEAD of the tag, then what its digest names.
async fn look_up(site: &Site, image: &PushedImage) {
    let front = |reference: &str| {
        let (address, repository) = (site.service.registry_address, &image.repository);
        format!("http://{address}/v2/v1/harbor/main/hub/{repository}/manifests/{reference}")
    };
    let head = site.http.head(front(&image.tag)).send().await.unwrap();
    if !head.status().is_success() {
        return;
    }
    for digest in [image.digest.as_str(), image.child(AMD64).digest.as_str()] {
        if !site.http.get(front(digest)).send().await.unwrap().status().is_success() {
            return;
        }
    }
}

/// Were all begun at once, Harbor's deadline would be over for most before their layer is there, and their tags lost
/// for 7 days.
#[tokio::test(flavor = "multi_thread")]
async fn more_images_than_harbors_deadlines_have_room_for_all_end_tagged() {
    let options = Options {
        harbor: "concurrency: {initial: 4, max: 4}".to_owned(),
        project: "completeIndex: true".to_owned(),
        // A policy server that may wait for each of them: the budget is not what keeps the clocks from being started.
        front: "wait: 5s, budget: 30s".to_owned(),
        ..Options::default()
    };
    let site = Site::with(harbor(), options).await;
    let images: Vec<_> = (0..IMAGES)
        .map(|n| {
            let spec = ImageSpec::new(format!("shop/app-{n}"), "1.0").platforms([AMD64]).layer_sizes([64 << 10]);
            site.harbor.upstream().push(spec)
        })
        .collect();
    site.harbor.upstream().rate(Some((64 << 10) / 60));
    let mut invited = 0;
    for image in &images {
        let receipt = site.announce(&image.repository, &image.tag, AMD64).await;
        if receipt.lookup == Lookup::Yes {
            invited += 1;
            look_up(&site, image).await;
        }
    }
    assert!(invited < IMAGES, "the line is too long for most of them");

    let tagged = || async {
        let images = site.list().await.images;
        images.iter().filter(|image| image.phase == Phase::Tagged).count()
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while tagged().await < IMAGES {
        if tokio::time::Instant::now() >= deadline {
            let images = site.list().await.images;
            let others: Vec<_> = images.iter().filter(|image| image.phase != Phase::Tagged).collect();
            panic!("{} of {IMAGES} are not tagged: {others:#?}", others.len());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let recorded = images.iter().map(|image| {
        let recorded = site.harbor.tag_recorded_at("hub", &image.repository, &image.tag);
        recorded.unwrap_or_else(|| panic!("Harbor has no tag of {}", image.repository))
    });
    let last = recorded.max().unwrap();
    assert!(last > AT_LEAST, "the burst was too quick to show anything: {last:?}");
    let metrics = site.metrics().await;
    let blocked: Vec<_> = metrics.lines().filter(|line| line.starts_with("harbor_warmer_tags_blocked_total")).collect();
    assert!(!blocked.is_empty() && blocked.iter().all(|line| line.ends_with(" 0")), "{blocked:#?}");
}
