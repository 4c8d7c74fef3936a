//! A registry whose storage is a bucket: it sends its clients there for what it has stored, as Harbor does on S3, Azure and
//! Google's storage unless that is switched off.

use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_core::project::HarborKind;
use harbor_warmer_harbor::{BlobHead, Client, Credentials, HarborError, Options, Repository, StorageFault, Uncounted};
use harbor_warmer_protocol::Digest;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::origin::{REPOSITORY, push};
use super::registry::{Registry, is_installed};
use super::{FAST, Site};
use crate::process::free_address;

/// `docker-registry`'s middleware that redirects to a bucket.
fn redirect_to(bucket: &str) -> String {
    format!("storage: [{{name: redirect, options: {{baseurl: '{bucket}'}}}}]")
}

/// Nobody can reach the bucket: what is redirected there is known to be stored, and nothing is read from there.
#[rstest]
#[case::touch("touch")]
#[case::drain("drain")]
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_on_object_storage_is_filled_without_a_way_to_its_bucket(#[case] transfer: &str) {
    let middleware = redirect_to("http://bucket.invalid/");
    let site = Site::with_middleware(transfer, FAST, 1 << 20, |origin| origin, &middleware).await;
    let Some(site) = site else { return };
    let id = site.announce("linux/amd64").await;
    site.wait_until_warm(&id).await;
    site.assert_the_cache_has_exactly("linux/amd64");
}

/// What Harbor passes on from its registry.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_blob_is_told_by_its_redirect_and_read_from_the_bucket_where_that_is_wanted() {
    if !is_installed() {
        return;
    }
    harbor_warmer_harbor::install_crypto_provider();
    let bucket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = bucket.local_addr().unwrap();
    let mut registry = Registry::with(free_address(), None, &redirect_to(&format!("http://{address}/")));
    registry.start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let image = push(&http, registry.address, 1 << 20).await;
    let layer: Digest = image.large_layer_of("linux/amd64").parse().unwrap();

    let (project, repository) = REPOSITORY.split_once('/').unwrap();
    let place = Repository { project: project.parse().unwrap(), repository: repository.parse().unwrap() };
    let options = Options {
        kind: HarborKind::Harbor,
        url: format!("http://{}", registry.address).parse().unwrap(),
        credentials: Credentials::Anonymous,
        token_realm: None,
        blob_hosts: Vec::new(),
        ca_file: None,
        insecure_skip_verify: false,
        stall_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(30),
    };
    let client = |options: &Options| Client::new("main".parse().unwrap(), options, Arc::new(Uncounted)).unwrap();
    let here = client(&options);
    assert_eq!(here.head_blob(&place, layer).await.unwrap(), BlobHead::Stored { size_bytes: None });
    assert_eq!(here.head_blob(&place, Digest::ZERO).await.unwrap(), BlobHead::Absent);
    assert_eq!(here.touch_blob(&place, layer, 1 << 20).await.unwrap(), 0);

    let serving = tokio::spawn(async move {
        let (mut connection, _) = bucket.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let read = connection.read(&mut asked).await.unwrap();
        let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
        let path = asked.split(' ').nth(1).unwrap().to_owned();
        let content = registry.stored_at(&path).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len());
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&content).await.unwrap();
        (asked, registry)
    });
    assert_eq!(here.drain_blob(&place, layer, 1 << 20).await.unwrap(), 1 << 20);
    let (asked, _registry) = serving.await.unwrap();
    assert!(!asked.to_ascii_lowercase().contains("authorization"), "{asked}");

    // A site that lists its buckets is not sent elsewhere.
    let bounded = client(&Options { blob_hosts: vec!["bucket.example.com".to_owned()], ..options });
    let error = bounded.drain_blob(&place, layer, 1 << 20).await.unwrap_err();
    assert!(matches!(error, HarborError::Storage { fault: StorageFault::Barred(_), .. }), "{error:?}");
}
