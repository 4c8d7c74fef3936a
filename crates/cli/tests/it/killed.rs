//! The real program, killed again and again at random moments while hand-offs come in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use harbor_warmer_protocol::ImageState;
use harbor_warmer_simulator::{ImageSpec, PushedImage, RouteClass};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::process::Installation;
use crate::site::{PATIENCE, harbor};

const KILLS: usize = 200;
const IMAGES: usize = 400;

/// No process lives longer; it takes hand-offs some 20 ms after its start on an idle machine.
const LONGEST_LIFE_MILLIS: u64 = 300;

/// How long a process waits for a small copy before it asks for the blob again, in Harbor's time.
const COPIES_ARE_WAITED_FOR: Duration = Duration::from_secs(30);

/// Harbor's 20 s between two looks are 0.2 s here, the life of a process.
const SCALE: f64 = 0.01;

/// An image that was in hand at four deaths waits for two hours, here a hundredth of that.
const LONGEST_PAUSE: Duration = Duration::from_secs(72);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_ends_in_harbor_however_often_the_process_is_killed() {
    let began = Instant::now();
    let seed = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    let site = Installation::with(harbor(), SCALE, "queue: {workers: 16}").await;
    let push = |n| {
        let image = ImageSpec::new(format!("library/app{n}"), "1.0").platforms(["linux/amd64"]);
        site.harbor.upstream().push(image.layer_sizes([1 << 10, 8 << 10]))
    };
    let images: Vec<_> = (0..IMAGES).map(push).collect();

    // The client: hands the images over one after the other, each until it is acknowledged, at a pace that spreads
    // them over the whole test.
    let acknowledged = Mutex::new(BTreeSet::new());
    let refused = Mutex::new(0);
    let hand_over = async {
        for (n, image) in images.iter().enumerate() {
            loop {
                match site.announce(&image.repository, "1.0").await {
                    Some(receipt) => {
                        assert_ne!(receipt.state, ImageState::Refused, "{receipt:?}");
                        acknowledged.lock().unwrap().insert(n);
                        break;
                    }
                    None => *refused.lock().unwrap() += 1,
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    let mut kills = Vec::new();
    let kill_again_and_again = async {
        for _ in 0..KILLS {
            let process = site.start();
            // The start is a moment like any other.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..LONGEST_LIFE_MILLIS))).await;
            process.kill().await;
            kills.push(site.harbor.now());
        }
        site.start_and_wait().await
    };
    let (process, ()) = tokio::join!(kill_again_and_again, hand_over);

    let acknowledged = acknowledged.into_inner().unwrap();
    assert_eq!(acknowledged.len(), IMAGES);
    let is_there = |image: &PushedImage| {
        let child = image.child("linux/amd64");
        let local = |blob: &str| site.harbor.blob_is_local("hub", &image.repository, blob);
        child.blobs().all(|(blob, _)| local(blob.as_str()))
            && site.harbor.artifact_recorded("hub", &image.repository, child.digest.as_str())
    };
    // Harbor's own word, not the warmer's. What was in hand at several deaths is left alone for some time.
    let ends = Instant::now() + LONGEST_PAUSE + PATIENCE;
    while !acknowledged.iter().all(|n| is_there(&images[*n])) {
        assert!(Instant::now() < ends, "seed {seed}: the log ends with\n{}", site.end_of_the_log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process.kill().await;

    // No process asked for a blob twice, and Harbor copied none more often than it was asked for. One that a busy machine
    // let live on has waited for its copies long enough to ask again; and what a process sent as it was killed is counted
    // with the next one's.
    let began_at = |process: usize| process.checked_sub(1).map_or(Duration::ZERO, |before| kills[before]);
    let lived_on =
        |process: usize| kills.get(process).is_some_and(|killed| *killed - began_at(process) > COPIES_ARE_WAITED_FOR);
    let mut asked: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for request in site.harbor.requests().into_iter().filter(|request| request.class == RouteClass::BlobGet) {
        let process = kills.iter().filter(|killed| **killed < request.at).count();
        *asked.entry((process, request.path)).or_default() += 1;
    }
    let twice: Vec<_> = asked.iter().filter(|((process, _), times)| **times > 2 && !lived_on(*process)).collect();
    assert!(twice.is_empty(), "seed {seed}: {twice:#?}");
    let mut copied_again = 0;
    for image in &images {
        for blob in image.blobs().into_keys() {
            let path = format!("/v2/hub/{}/blobs/{blob}", image.repository);
            let asks = asked.keys().filter(|(_, asked)| *asked == path).count();
            let copies = site.harbor.background_transfers("hub", &image.repository, blob.as_str());
            // Of an image that is left alone after two deaths, Harbor fetches by itself what its manifest names.
            assert!((1..=asks.max(1)).contains(&copies), "seed {seed}: {copies} copies of {path} for {asks} asks");
            copied_again += copies - 1;
        }
    }
    println!(
        "{KILLS} kills and {IMAGES} images in {:.1?}: {} tries were not acknowledged, {} blobs were asked for {} times \
         and {copied_again} of them copied again; seed {seed}",
        began.elapsed(),
        refused.into_inner().unwrap(),
        images.iter().map(|image| image.blobs().len()).sum::<usize>(),
        asked.len(),
    );
}
