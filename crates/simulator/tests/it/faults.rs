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
async fn what_stands_before_harbor_answers_with_pages_and_headers_of_its_own() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let path = lab.manifest("library/app", &image.digest);
    for status in [400, 403, 408, 425, 500, 507, 522] {
        let fault = lab.simulator.inject(Fault::page(status).times(1));
        let answer = lab.get(&path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (status, &"text/html".parse().unwrap())
        );
        assert!(answer.text().await.unwrap().starts_with("<html>"));
        assert_eq!(fault.hits(), 1);
    }
    lab.simulator.inject(Fault::login_page().times(1));
    let answer = lab.head(&path).await;
    assert_eq!(answer.status(), 302);
    assert!(answer.headers()["location"].to_str().unwrap().starts_with("https://login.invalid/"));
    for (status, wait) in [(429, "120"), (503, "Wed, 21 Oct 2099 07:28:00 GMT")] {
        lab.simulator.inject(Fault::new(FaultAction::Respond(status)).retry_after(wait).times(1));
        let answer = lab.get(&path).await;
        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (status, &wait.parse().unwrap()));
        assert!(answer.text().await.unwrap().starts_with(r#"{"errors""#), "it is Harbor that answers");
    }
    lab.simulator.inject(Fault::refuses_double_encoding());
    assert_eq!(lab.get("/api/v2.0/projects/proxy/repositories/library%252Fapp/artifacts/1.0").await.status(), 400);
    assert_eq!(lab.get(&path).await.status(), 200);
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
async fn requests_and_connections_are_counted_by_who_and_how_many_at_once() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    let layer = image.child(AMD64).layers[0].0.clone();
    let held = lab.simulator.inject(Fault::new(FaultAction::Hang).on(RouteClass::BlobHead));
    let path = lab.blob("app", &layer);
    let heads = futures_util::future::join_all((0..5).map(|_| lab.head(&path)));
    tokio::select! {
        _ = heads => panic!("they hang"),
        () = lab.until("all five came", |it| it.request_counts().waiting == 5) => {}
    }
    let counts = lab.simulator.request_counts();
    assert_eq!((counts.most_connections, counts.of(RouteClass::BlobHead), counts.total()), (5, 5, 5));
    assert_eq!(counts.by_user["robot$proxy+warmer"][&RouteClass::BlobHead], 5);
    held.clear();
    lab.until("their client left", |it| it.request_counts().connections == 0).await;
    lab.drain("app", &layer).await;
    let counts = lab.simulator.request_counts();
    assert_eq!((counts.waiting, counts.most_waiting, counts.of(RouteClass::BlobGet)), (0, 5, 1));
    lab.simulator.clear_requests();
    assert_eq!((lab.simulator.request_counts().total(), lab.simulator.request_counts().most_waiting), (0, 0));
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
