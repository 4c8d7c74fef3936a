//! A real registry as origin and as pull-through cache: Debian's `docker-registry` (CNCF Distribution 2.8). Without it
//! these tests are skipped, unless `HARBOR_WARMER_REQUIRE_REGISTRY=1` says that it has to be there.

mod origin;
mod redirects;
mod registry;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use harbor_warmer::Service;
use harbor_warmer::config::document;
use harbor_warmer_core::view::{ImageView, Phase};
use harbor_warmer_protocol::{HandOff, HarborImage, Platforms, Receipt, Subject};
use rstest::rstest;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::process::free_address;
use crate::site::PATIENCE;
use origin::{Image, push};
use registry::{Registry, is_installed, slow_link};

/// The large layer of each platform; it can't be compressed.
const LAYER: usize = 32 << 20;

/// The registry knows no other time, so what is measured is measured in it.
const REAL_TIME: f64 = 1.0;

/// Retries come sooner.
const FAST: f64 = 0.05;

/// An origin, a cache in front of it, and a warmer that fills the cache.
struct Site {
    origin: Registry,
    cache: Registry,
    service: Service,
    http: reqwest::Client,
    image: Image,
    _shutdown: CancellationToken,
    _directory: TempDir,
}

impl Site {
    /// None where there is no registry to be had. `scale` is that of the warmer's waiting times, `upstream` where the
    /// cache finds the origin.
    async fn with(
        transfer: &str,
        scale: f64,
        layer: usize,
        upstream: impl FnOnce(SocketAddr) -> SocketAddr,
    ) -> Option<Self> {
        Self::with_middleware(transfer, scale, layer, upstream, "").await
    }

    async fn with_middleware(
        transfer: &str,
        scale: f64,
        layer: usize,
        upstream: impl FnOnce(SocketAddr) -> SocketAddr,
        middleware: &str,
    ) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        harbor_warmer_harbor::install_crypto_provider();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut origin = Registry::new(free_address(), None);
        origin.start().await;
        let image = push(&http, origin.address, layer).await;
        let mut cache = Registry::with(free_address(), Some(upstream(origin.address)), middleware);
        cache.start().await;
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            r#"
dataDir: {data}
registry: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0"}}
harbors:
  main:
    kind: distribution
    url: http://{cache}
    credentials: anonymous
    timeScale: {scale}
    projects: {{anything: {{transfer: {transfer}}}}}
"#,
            data = directory.path().display(),
            cache = cache.address,
        );
        let config = document::parse(&text, directory.path()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        let shutdown = CancellationToken::new();
        let service = Service::start(config, shutdown.clone()).await.unwrap();
        Some(Self { origin, cache, service, http, image, _shutdown: shutdown, _directory: directory })
    }

    /// Announces the image for one of its platforms; the id to follow.
    async fn announce(&self, platform: &str) -> String {
        let hand_off = HandOff {
            image: HarborImage {
                harbor: "main".parse().unwrap(),
                // A label of the configuration: it stands in no path of a Distribution registry.
                project: "anything".parse().unwrap(),
                repository: origin::REPOSITORY.parse().unwrap(),
            },
            target: None,
            platforms: Platforms::new([platform.parse().unwrap()]).unwrap(),
            subject: Subject::Tag(origin::TAG.parse().unwrap()),
        };
        let (name, tag) = hand_off.to_name().unwrap();
        let url = format!("http://{}/v2/{name}/manifests/{tag}", self.service.registry_address);
        let answer = self.http.get(url).send().await.unwrap().error_for_status().unwrap();
        Receipt::from_manifest(&answer.bytes().await.unwrap()).unwrap().image.unwrap()
    }

    async fn wait_for(&self, id: &str, condition: impl Fn(&ImageView) -> bool) {
        let url = format!("http://{}/api/v1/images/{id}", self.service.admin_address);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.http.get(&url).send().await.unwrap().error_for_status().unwrap();
            let view: ImageView = answer.json().await.unwrap();
            assert_ne!(view.summary.phase, Phase::Failed, "{view:#?}");
            if condition(&view) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {view:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_until_warm(&self, id: &str) {
        self.wait_for(id, |view| view.summary.phase >= Phase::Warm).await;
    }

    /// What the warmer says it read of blobs.
    async fn blob_bytes_read(&self) -> u64 {
        let url = format!("http://{}/metrics", self.service.admin_address);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with("harbor_warmer_blob_read_bytes_total "));
        line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("no such metric: {text}"))
    }

    /// The cache's storage has the platform, whole and unspoilt, and nothing else.
    #[track_caller]
    fn assert_the_cache_has_exactly(&self, platform: &str) {
        let expected: BTreeSet<String> = self.image.contents_of(platform);
        assert_eq!(self.cache.whole_contents(), expected);
    }
}

#[rstest]
#[case::touch("touch", |bytes, read| read * 100 < bytes)]
#[case::drain("drain", |bytes, read| read == bytes)]
#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_platforms_is_warmed_and_nothing_else(
    #[case] transfer: &str,
    #[case] reads_as_it_should: fn(u64, u64) -> bool,
) {
    let Some(site) = Site::with(transfer, REAL_TIME, LAYER, |origin| origin).await else { return };
    let id = site.announce("linux/arm64").await;
    site.wait_until_warm(&id).await;
    site.assert_the_cache_has_exactly("linux/arm64");
    let (bytes, read) = (site.image.blob_bytes_of("linux/arm64"), site.blob_bytes_read().await);
    println!("{transfer}: {read} of {bytes} bytes read, {:.3} %", read as f64 * 100.0 / bytes as f64);
    assert!(reads_as_it_should(bytes, read), "{transfer}: {read} of {bytes} bytes read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_spoilt_at_the_origin_is_noticed_by_its_digest_and_heals() {
    let Some(site) = Site::with("drain", FAST, 1 << 20, |origin| origin).await else { return };
    let layer = site.image.large_layer_of("linux/amd64");
    let good = site.origin.spoil(&layer);
    let id = site.announce("linux/amd64").await;
    site.wait_for(&id, |view| view.attempts.iter().any(|attempt| attempt.error.contains(&layer))).await;
    site.origin.restore(&layer, &good);
    site.wait_until_warm(&id).await;
    site.assert_the_cache_has_exactly("linux/amd64");
}

#[rstest]
#[case::touch("touch")]
#[case::drain("drain")]
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_was_down_is_asked_again(#[case] transfer: &str) {
    let Some(mut site) = Site::with(transfer, FAST, 1 << 20, |origin| origin).await else { return };
    site.origin.kill().await;
    let id = site.announce("linux/amd64").await;
    site.wait_for(&id, |view| view.summary.reason.is_some()).await;
    site.origin.start().await;
    site.wait_until_warm(&id).await;
    site.assert_the_cache_has_exactly("linux/amd64");
}

#[rstest]
#[case::touch("touch")]
#[case::drain("drain")]
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_was_killed_while_it_stored_a_layer_is_filled_again(#[case] transfer: &str) {
    // The large layer takes some 2 s, so the cache is in the middle of it when its upload is seen.
    let Some(mut site) = Site::with(transfer, REAL_TIME, 8 << 20, |origin| slow_link(origin, 4 << 20)).await else {
        return;
    };
    let id = site.announce("linux/amd64").await;
    site.cache.wait_until_it_stores(1 << 20).await;
    site.cache.kill().await;
    let large = site.image.large_layer_of("linux/amd64");
    assert!(!site.cache.whole_contents().contains(&large), "it was killed in the middle");
    site.cache.start().await;
    site.wait_until_warm(&id).await;
    site.assert_the_cache_has_exactly("linux/amd64");
}
