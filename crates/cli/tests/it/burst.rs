//! Many admissions at once through the real `.wasm`, with a policy server's timeout of 2 s: where one lock makes its
//! look-ups take turns (Kubewarden up to 1.37), and where they all reach the warmer at once (from 1.38).

use std::time::Duration;

use futures_util::future::join_all;
use harbor_warmer_policy_host::{Kubewarden, Mode, Outcome};
use harbor_warmer_simulator::{Fault, FaultAction};
use rstest::rstest;
use tokio::sync::Mutex;

use crate::policy_server::{TlsSite, admit, deployment};
use crate::site::{Options, two_platforms};

/// The timeout is a real one, so a burst doesn't share the cores with another.
static ONE_BURST: Mutex<()> = Mutex::const_new(());

const AMD64: &str = "linux/amd64";

/// In protect mode an evaluation that is cut off would be a refusal; in monitor mode it would only be counted.
#[rstest]
#[case::protect(Mode::Protect)]
#[case::monitor(Mode::Monitor)]
#[tokio::test(flavor = "multi_thread")]
async fn fifty_images_are_admitted_and_announced_while_harbor_hangs_and_warm_when_it_recovers(
    #[case] mode: Mode,
    #[values(Kubewarden::UpTo1_37, Kubewarden::From1_38)] kubewarden: Kubewarden,
) {
    let _burst = ONE_BURST.lock().await;
    let tune = |config: &mut harbor_warmer::config::Config| {
        for harbor in config.harbors.values_mut() {
            harbor.options.request_timeout = Duration::from_secs(1);
            harbor.options.stall_timeout = Duration::from_secs(1);
        }
    };
    let tls = TlsSite::start(Options { tune, ..Options::default() }).await;
    let site = &tls.site;
    let images: Vec<_> = (0..50)
        .map(|n| site.harbor.upstream().push(two_platforms(&format!("shop/app-{n}"), "1.0").layer_sizes([4096, 65536])))
        .collect();
    let hang = site.harbor.inject(Fault::new(FaultAction::Hang));
    let host = tls.policy_server().mode(mode).kubewarden(kubewarden).build().unwrap();
    let evaluations = join_all(images.iter().map(|image| {
        let review = deployment(&[&format!("docker.io/{}:1.0", image.repository)]);
        let host = host.clone();
        async move { host.validate(&review["request"]).await }
    }))
    .await;
    for evaluation in &evaluations {
        assert_eq!(evaluation.outcome, Outcome::Completed, "{evaluation:#?}");
        assert!(evaluation.response.allowed);
    }
    let announced = site.list().await.images;
    assert_eq!(announced.len(), 50);

    hang.clear();
    for image in &images {
        let listed = announced.iter().find(|one| one.place.repository.as_str() == image.repository);
        let listed = listed.unwrap_or_else(|| panic!("{} is not announced", image.repository));
        site.wait_until_warm(&listed.id).await;
        assert!(site.harbor_has(image, AMD64), "{}", image.repository);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn three_policy_servers_that_announce_one_image_at_once_cost_one_transfer_of_each_blob(
    #[values(Kubewarden::UpTo1_37, Kubewarden::From1_38)] kubewarden: Kubewarden,
) {
    let tls = TlsSite::start(Options::default()).await;
    let site = &tls.site;
    let image = site.harbor.upstream().push(two_platforms("shop/app", "1.0"));
    let hosts = [(); 3].map(|()| tls.policy_server().kubewarden(kubewarden).eval_timeout(None).build().unwrap());
    join_all(hosts.iter().flat_map(|host| (0..4).map(move |_| admit(host, &["docker.io/shop/app:1.0"])))).await;
    let images = site.list().await.images;
    assert_eq!(images.len(), 1, "{images:#?}");
    site.wait_until_warm(&images[0].id).await;
    site.assert_copied_once(&image, AMD64);
}
