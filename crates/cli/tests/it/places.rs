//! A place at a Harbor is held by a blob that moves, and by nothing that waits, was lost, or is given up; and what one
//! Harbor keeps busy holds up no other.

use std::collections::BTreeSet;
use std::time::Duration;

use harbor_warmer::config::Config;
use harbor_warmer_core::view::Phase;
use harbor_warmer_simulator::{
    Fault, FaultAction, ImageSpec, ProjectSpec, PushedImage, RequestRecord, RobotSpec, RouteClass, Simulator,
    UpstreamEffect, UpstreamFault, UpstreamRequest,
};
use rstest::rstest;

use crate::site::{Options, PATIENCE, SCALE, Site, harbor};

const AMD64: &str = "linux/amd64";

async fn until(site: &Site, condition: impl FnMut(&Simulator) -> bool) {
    site.harbor.wait_until(condition, PATIENCE).await.unwrap();
}

fn one_platform(repository: &str, layers: impl IntoIterator<Item = u64>) -> ImageSpec {
    ImageSpec::new(repository, "1.0").platforms([AMD64]).layer_sizes(layers)
}

/// The requests for the content of a blob, the oldest first.
fn asks(harbor: &Simulator, digest: &str) -> Vec<RequestRecord> {
    let asked = |request: &RequestRecord| request.class == RouteClass::BlobGet && request.path.contains(digest);
    harbor.requests().into_iter().filter(asked).collect()
}

fn largest(image: &PushedImage) -> String {
    let (digest, _) = image.child(AMD64).layers.iter().max_by_key(|(_, size)| *size).unwrap();
    digest.to_string()
}

/// A Harbor whose clients wait for longer than any test does.
fn patient(config: &mut Config) {
    for harbor in config.harbors.values_mut() {
        harbor.options.request_timeout = Duration::from_secs(120);
        harbor.options.stall_timeout = Duration::from_secs(120);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_copy_of_a_large_layer_is_asked_for_again_after_a_minute() {
    let site = Site::start().await;
    // 250 kB/s, the slowest upstream that is waited for blindly, would need 400 s for it.
    let image = site.harbor.upstream().push(one_platform("library/large", [100 << 20]));
    let layer = largest(&image);
    let lost = UpstreamFault::new(UpstreamEffect::TruncateAfter(1000)).on(UpstreamRequest::CacheCopy);
    site.harbor.upstream().fail_next(lost.matching(&layer).times(1));
    let id = site.announce("library/large", "1.0", AMD64).await.image.unwrap();
    site.wait_until_warm(&id).await;
    let asks = asks(&site.harbor, &layer);
    // Harbor fetches by itself what is missing after 200 s.
    assert_eq!(asks.len(), 2, "{asks:#?}");
    let waited = asks[1].at - asks[0].at;
    assert!((Duration::from_secs(59)..Duration::from_secs(200)).contains(&waited), "{waited:?}");
}

#[rstest]
#[case::slow(60 << 20, 250_000)]
#[case::quicker(1 << 30, 5_000_000)]
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_only_slow_costs_the_upstream_its_bytes_once(#[case] size: u64, #[case] rate: u64) {
    let site = Site::start().await;
    let image = site.harbor.upstream().push(one_platform("library/slow", [size]));
    let layer = largest(&image);
    site.harbor.upstream().rate(Some(rate));
    let id = site.announce("library/slow", "1.0", AMD64).await.image.unwrap();
    site.wait_until_warm(&id).await;
    assert_eq!(site.harbor.background_transfers("hub", "library/slow", &layer), 1);
    let asks = asks(&site.harbor, &layer).len();
    assert!(asks >= 2, "it is asked for again, since nobody sees that it moves: {asks}");
    let moved = site.harbor.upstream_stats().blob_bytes;
    assert!(moved < size + size / 8, "{moved} bytes for {size}, in {asks} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_comes_after_a_restart_does_not_wait_for_the_copies_that_were_lost_in_it() {
    let options = Options { harbor: "concurrency: {initial: 8, max: 8}".to_owned(), ..Options::default() };
    let site = Site::with(harbor(), options).await;
    site.harbor.upstream().push(one_platform("library/large", [100 << 20; 8]));
    let small = site.harbor.upstream().push(one_platform("library/small", [10 << 10]));
    site.harbor.upstream().rate(Some(100_000));
    let large = site.announce("library/large", "1.0", AMD64).await.image.unwrap();
    let asked = |harbor: &Simulator| {
        let blobs = harbor.requests();
        blobs.iter().filter(|request| request.class == RouteClass::BlobGet && request.bytes_sent > 0).count()
    };
    until(&site, |harbor| asked(harbor) >= 8).await;
    site.harbor.restart().await;
    site.harbor.upstream().rate(None);
    let announced = site.harbor.now();
    let id = site.announce("library/small", "1.0", AMD64).await.image.unwrap();
    site.wait_until_warm(&id).await;
    let layer = largest(&small);
    let there = site.harbor.blob_local_at("hub", "library/small", &layer).unwrap();
    assert!(there - announced < Duration::from_secs(250), "{:?}", there - announced);
    site.wait_until_warm(&large).await;
}

/// Another Harbor, and how the warmer knows it.
async fn another_harbor() -> (Simulator, String) {
    let other = Simulator::builder()
        .time_scale(SCALE)
        .project(ProjectSpec::proxy("hub"))
        .robot(RobotSpec::project("hub", "warmer", "s3cret"));
    let other = other.start().await.unwrap();
    let entry = format!(
        "other: {{url: \"{}\", credentials: {{username: \"robot$hub+warmer\", passwordFile: password}}, timeScale: \
         {SCALE}, projects: {{hub: {{transfer: touch}}}}}}",
        other.url()
    );
    (other, entry)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_a_harbor_that_hangs_hold_up_no_other_harbor() {
    let (other, harbors) = another_harbor().await;
    let site = Site::with(harbor(), Options { harbors, tune: patient, ..Options::default() }).await;
    site.harbor.inject(Fault::new(FaultAction::Hang));
    for n in 0..40 {
        site.announce(&format!("library/app-{n}"), "1.0", AMD64).await;
    }
    other.upstream().push(one_platform("library/app", [64 << 10]));
    until(&site, |harbor| harbor.requests().len() >= 32).await;
    let id = site.announce_at("other", "library/app", "1.0", AMD64).await.image.unwrap();
    site.wait_until_warm(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wanted_blob_gets_the_next_place_before_those_that_only_complete_an_index() {
    let options = Options {
        harbor: "concurrency: {initial: 4, max: 4}".to_owned(),
        project: "completeIndex: true".to_owned(),
        ..Options::default()
    };
    let site = Site::with(harbor(), options).await;
    let layer = 200_000;
    let others: Vec<_> = (0..12).map(|n| if n == 0 { AMD64.to_owned() } else { format!("linux/arm/v{n}") }).collect();
    let index = ImageSpec::new("library/index", "1.0").platforms(others).layer_sizes([layer; 4]);
    site.harbor.upstream().push(index);
    let wanted = site.harbor.upstream().push(one_platform("library/wanted", [layer; 12]));
    // A layer takes 20 s, so the wanted ones take 60 s by themselves, and those of the index four minutes.
    site.harbor.upstream().rate(Some(10_000));
    let index = site.announce("library/index", "1.0", AMD64).await.image.unwrap();
    site.wait_for(&index, |view| view.summary.phase >= Phase::Local).await;
    let completes = |harbor: &Simulator| {
        let blobs = harbor.requests();
        blobs.iter().filter(|request| request.class == RouteClass::BlobGet && request.bytes_sent > 0).count() > 8
    };
    until(&site, completes).await;
    let announced = site.harbor.now();
    let id = site.announce("library/wanted", "1.0", AMD64).await.image.unwrap();
    site.wait_for(&id, |view| view.summary.phase >= Phase::Local).await;
    let child = wanted.child(AMD64);
    let at = |digest: &str| site.harbor.blob_local_at("hub", "library/wanted", digest).unwrap();
    let last = child.layers.iter().map(|(digest, _)| at(digest.as_str())).max().unwrap();
    assert!(last - announced < Duration::from_secs(150), "{:?}", last - announced);
    assert!(site.view(&index).await.summary.phase < Phase::Tagged, "the index is still being completed");
}

/// Images and blobs that content was asked for.
fn asked_for(harbor: &Simulator) -> BTreeSet<String> {
    let requests = harbor.requests();
    requests.into_iter().filter(|request| request.class == RouteClass::BlobGet).map(|request| request.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_refuses_is_tried_with_one_blob_of_one_image() {
    let site = Site::start().await;
    site.harbor.set_quota("hub", Some(1_000));
    for n in 0..6 {
        let repository = format!("library/app-{n}");
        site.harbor.upstream().push(one_platform(&repository, [1 << 20, 2 << 20]));
        site.announce(&repository, "1.0", AMD64).await;
    }
    let paused = |n: usize| {
        let site = &site;
        async move {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            loop {
                let images = site.list().await.images;
                let paused = images.iter().filter(|image| {
                    image.reason.as_deref().is_some_and(|reason| reason.contains("the project is paused"))
                });
                if paused.count() >= n {
                    return;
                }
                assert!(tokio::time::Instant::now() < deadline, "{images:#?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    paused(6).await;
    site.harbor.clear_requests();
    // The next pauses are two and four minutes long, so this is one probe or two.
    until(&site, |harbor| !asked_for(harbor).is_empty()).await;
    paused(6).await;
    let asked = asked_for(&site.harbor);
    assert_eq!(asked.len(), 1, "{asked:#?}");
    site.harbor.set_quota("hub", None);
    for image in site.list().await.images {
        site.wait_until_warm(&image.id).await;
    }
}

#[rstest]
#[case::of_one_image(1, 900, 900)]
#[case::of_many_images(32, 100, 800)]
#[tokio::test(flavor = "multi_thread")]
async fn requests_to_a_harbor_are_bounded_whatever_the_number_of_layers(
    #[case] images: usize,
    #[case] layers: u64,
    #[case] requests: usize,
) {
    const MOST: usize = 100;
    let site = Site::start().await;
    // Harbor takes a while for each answer, so that those under way are many.
    site.harbor.inject(Fault::new(FaultAction::DelayMilliseconds(20)).on(RouteClass::BlobHead));
    for n in 0..images {
        let repository = format!("library/app-{n}");
        site.harbor.upstream().push(one_platform(&repository, (0..layers).map(|layer| 1024 + layer)));
        site.announce(&repository, "1.0", AMD64).await;
    }
    let heads = |harbor: &Simulator| {
        let requests = harbor.requests();
        requests.iter().filter(|request| request.class == RouteClass::BlobHead).count()
    };
    // Not all images are begun at once.
    until(&site, |harbor| heads(harbor) >= requests).await;
    let counts = site.harbor.request_counts();
    assert!(counts.most_connections <= MOST, "{counts:?}");
}
