//! Faults on demand, by library call; and restarts.

use std::time::Duration;

use harbor_warmer_simulator::{Digest, Fault, FaultAction, ImageSpec, RouteClass};

use crate::client::{AMD64, Lab, SECRET, measured_image};

#[tokio::test]
async fn a_burst_of_errors_ends_by_itself() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let path = lab.manifest("library/app", &image.digest);
    for status in [401, 403, 404, 429, 500, 502, 503] {
        let fault = lab.simulator.inject(Fault::new(FaultAction::Respond(status)).on(RouteClass::ManifestGet).times(1));
        assert_eq!(lab.get(&path).await.status(), status);
        assert_eq!(lab.get(&path).await.status(), 200);
        assert_eq!(fault.hits(), 1);
    }
}

#[tokio::test]
async fn connections_are_reset_cut_and_held() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let url = format!("{}{}", lab.simulator.url(), lab.manifest("library/app", &image.digest));
    let send = || lab.client.get(&url).basic_auth("robot$proxy+warmer", Some(SECRET)).send();

    let fault = lab.simulator.inject(Fault::new(FaultAction::Reset));
    assert!(send().await.is_err());
    fault.clear();
    let fault = lab.simulator.inject(Fault::new(FaultAction::TruncateAfter(10)));
    assert!(send().await.unwrap().bytes().await.is_err());
    fault.clear();
    let fault = lab.simulator.inject(Fault::new(FaultAction::Corrupt).matching(&*image.digest));
    assert_ne!(Digest::of(&send().await.unwrap().bytes().await.unwrap()), image.digest);
    fault.clear();
    let fault = lab.simulator.inject(Fault::new(FaultAction::Hang));
    assert!(tokio::time::timeout(Duration::from_millis(200), send()).await.is_err());
    fault.clear();
    let fault = lab.simulator.inject(Fault::new(FaultAction::DelayMilliseconds(100)));
    let start = tokio::time::Instant::now();
    assert_eq!(send().await.unwrap().status(), 200);
    assert!(start.elapsed() >= Duration::from_millis(100));
    lab.simulator.clear_faults();
    assert_eq!(fault.hits(), 1);
}

#[tokio::test]
async fn a_restart_forgets_copies_under_way_and_keeps_what_is_stored() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").layer_sizes([65536, 8 << 20]));
    let layers = &image.child(AMD64).layers;
    lab.touch("app", &layers[0].0).await;
    lab.until_local(&image, [&*layers[0].0]).await;
    lab.simulator.upstream().rate(Some(1 << 20));
    let mut running = lab.get(&lab.blob("app", &layers[1].0)).await;
    running.chunk().await.unwrap();
    let address = lab.simulator.url();
    lab.simulator.restart().await;
    assert_eq!(lab.simulator.url(), address);
    assert!(running.bytes().await.is_err(), "the connection broke");
    lab.pass(lab.simulator.now(), 20).await;
    assert!(!lab.simulator.blob_is_local("proxy", "app", &layers[1].0));
    assert!(lab.simulator.blob_is_local("proxy", "app", &layers[0].0));
    lab.touch("app", &layers[1].0).await;
    lab.until_local(&image, [&*layers[1].0]).await;
}

#[tokio::test]
async fn requests_are_recorded_with_user_status_and_bytes() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    let layer = image.child(AMD64).layers[0].0.clone();
    lab.drain("app", &layer).await;
    let requests = lab.simulator.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].class, requests[0].status), (RouteClass::BlobGet, 200));
    assert_eq!((requests[0].bytes_sent, requests[0].user.as_deref()), (65536, Some("robot$proxy+warmer")));
}
