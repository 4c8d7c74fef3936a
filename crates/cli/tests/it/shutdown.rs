//! Signals: the first ends the service in order, the second at once, and the queue is whole either way.

use std::time::{Duration, Instant};

use harbor_warmer_simulator::{Fault, FaultAction, ImageSpec, PushedImage, RouteClass};
use rusqlite::Connection;

use crate::process::Installation;
use crate::site::{PATIENCE, SCALE, harbor};

/// A look-up may wait for Harbor longer than a shutdown does.
const PATIENT_FRONT: &str = "front: {wait: 10s, budget: 60s, budgetWindow: 60s}";

async fn installation() -> (Installation, PushedImage) {
    let site = Installation::with(harbor(), SCALE, PATIENT_FRONT).await;
    let image = ImageSpec::new("library/app", "1.0").platforms(["linux/amd64"]).layer_sizes([64 << 10]);
    let image = site.harbor.upstream().push(image);
    (site, image)
}

/// A look-up that Harbor doesn't answer. It is under way when this returns.
async fn hang_a_look_up(site: &Installation) -> tokio::task::JoinHandle<()> {
    let hanging = site.harbor.inject(Fault::new(FaultAction::Hang).on(RouteClass::ManifestHead).matching("other"));
    let url = site.registry_url("v1/harbor/main/hub/library/other/manifests/1.0");
    let request = site.http().head(url).send();
    let look_up = tokio::spawn(async move {
        // Its connection is cut when the process ends.
        let _cut = request.await;
    });
    site.eventually(async || hanging.hits() > 0).await;
    look_up
}

/// What the queue's file says of itself, and how many leases there are in it.
fn look_at_the_queue(site: &Installation) -> (String, i64) {
    let connection = Connection::open(site.data().join("queue.sqlite")).unwrap();
    let whole = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let leased = connection.query_row("SELECT count(*) FROM unit WHERE state = 1", [], |row| row.get(0)).unwrap();
    (whole, leased)
}

/// What is in the data directory.
fn files(site: &Installation) -> Vec<String> {
    let entries = std::fs::read_dir(site.data()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn assert_it_goes_on(site: &Installation, image: &PushedImage) {
    site.harbor.clear_faults();
    let process = site.start_and_wait().await;
    let child = image.child("linux/amd64");
    let recorded = || site.harbor.artifact_recorded("hub", &image.repository, child.digest.as_str());
    site.eventually(async || recorded()).await;
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_service_in_order_while_harbor_hangs() {
    let (site, image) = installation().await;
    let hanging = site.harbor.inject(Fault::new(FaultAction::Hang).on(RouteClass::ManifestGet));
    let mut process = site.start_and_wait().await;
    site.announce("library/app", "1.0").await.expect("a receipt");
    site.eventually(async || hanging.hits() > 0).await;
    let signalled = Instant::now();
    process.terminate().await;
    let status = tokio::time::timeout(PATIENCE, process.ended()).await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", site.end_of_the_log());
    let took = signalled.elapsed();
    assert!(took < Duration::from_secs(5), "nobody waits for an answer, and it took {took:?}");
    let left = ["queue.lock", "queue.reserve", "queue.sqlite"];
    assert_eq!(files(&site), left, "the queue is one file that can be copied");
    assert_eq!(look_at_the_queue(&site), ("ok".to_owned(), 0), "the lease was given back");
    assert_it_goes_on(&site, &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_waits_for_requests_under_way_but_not_for_ten_seconds() {
    let (site, image) = installation().await;
    let mut process = site.start_and_wait().await;
    let look_up = hang_a_look_up(&site).await;
    site.harbor.inject(Fault::new(FaultAction::Hang).on(RouteClass::ManifestGet));
    site.announce("library/app", "1.0").await.expect("a receipt");
    let signalled = Instant::now();
    process.terminate().await;
    let status = tokio::time::timeout(PATIENCE, process.ended()).await.expect("it ends");
    let took = signalled.elapsed();
    assert_eq!(status.code(), Some(0), "{}", site.end_of_the_log());
    assert!(took > Duration::from_secs(1), "a request under way is not cut off after {took:?}");
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    look_up.await.unwrap();
    assert_eq!(look_at_the_queue(&site).0, "ok");
    assert_it_goes_on(&site, &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let (site, image) = installation().await;
    let mut process = site.start_and_wait().await;
    let look_up = hang_a_look_up(&site).await;
    site.announce("library/app", "1.0").await.expect("a receipt");
    process.terminate().await;
    let refuses = async || site.announce("library/app", "1.0").await.is_none();
    site.eventually(refuses).await;
    let signalled = Instant::now();
    process.terminate().await;
    let status = tokio::time::timeout(PATIENCE, process.ended()).await.expect("it ends");
    let took = signalled.elapsed();
    assert_eq!(status.code(), Some(130), "{}", site.end_of_the_log());
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    look_up.await.unwrap();
    assert_eq!(look_at_the_queue(&site).0, "ok");
    assert_it_goes_on(&site, &image).await;
}
