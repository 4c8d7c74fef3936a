use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream::{self, StreamExt as _};
use rstest::rstest;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::{Server, answer, broken, chunked, client, digest_of, error, options, place, robot, stalled};
use crate::{AnswerClass, BlobHead, HarborError, Interception, Invalid, StorageFault};
use harbor_warmer_core::project::HarborKind;

const BLOB: &[u8] = b"a layer, in a manner of speaking";

#[rstest]
#[case::local(200, BlobHead::Stored { size_bytes: Some(BLOB.len() as u64) })]
#[case::absent(404, BlobHead::Absent)]
#[tokio::test]
async fn a_head_says_whether_a_blob_is_local(#[case] status: u16, #[case] expected: BlobHead) {
    let server = Server::start(move |_| answer(status, &[("content-length", "32")], "")).await;
    assert_eq!(server.client().head_blob(&place(), digest_of(BLOB)).await.unwrap(), expected);
    assert_eq!(server.targets(), [format!("HEAD /v2/proxy/team/app/blobs/{}", digest_of(BLOB))]);
}

#[tokio::test]
async fn a_head_that_is_refused_does_not_mean_that_the_blob_is_absent() {
    let server = Server::start(|_| answer(401, &[("www-authenticate", "Basic realm=\"harbor\"")], "")).await;
    let error = server.client().head_blob(&place(), digest_of(BLOB)).await.unwrap_err();
    assert_eq!(error.class(), AnswerClass::Unauthorized);
}

/// Tells when it is dropped: when the server's side of a transfer has ended.
struct Ends(Arc<Notify>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_touch_reads_the_first_bytes_of_an_endless_blob_and_closes_the_connection() {
    let ended = Arc::new(Notify::new());
    let ends = Arc::clone(&ended);
    let server = Server::start(move |_| {
        let ends = Ends(Arc::clone(&ends));
        let endless = stream::repeat(Bytes::from_static(&[7; 16 * 1024])).map(move |chunk| {
            let _held = &ends;
            Ok::<_, std::convert::Infallible>(chunk)
        });
        answer(200, &[], Body::from_stream(endless))
    })
    .await;
    let read = server.client().touch_blob(&place(), digest_of(BLOB), 1 << 40).await.unwrap();
    assert!((1..=1 << 20).contains(&read), "{read}");
    // The endless body is dropped only because its connection is gone.
    tokio::time::timeout(Duration::from_secs(10), ended.notified()).await.unwrap();
    assert_eq!(server.targets(), [format!("GET /v2/proxy/team/app/blobs/{}", digest_of(BLOB))]);
    assert_eq!(server.seen()[0].header("range"), "");
}

#[tokio::test]
async fn small_blobs_are_touched_whole_over_one_connection() {
    let server = Server::start(|_| answer(200, &[], BLOB)).await;
    let client = server.client();
    for _ in 0..3 {
        assert_eq!(client.touch_blob(&place(), digest_of(BLOB), BLOB.len() as u64).await.unwrap(), BLOB.len() as u64);
    }
    let peers: std::collections::BTreeSet<_> = server.seen().into_iter().map(|seen| seen.peer).collect();
    assert_eq!(peers.len(), 1);
}

#[tokio::test]
async fn a_touch_without_a_byte_has_not_provably_started_anything() {
    let server = Server::start(|_| answer(200, &[], "")).await;
    let error = server.client().touch_blob(&place(), digest_of(BLOB), 1 << 30).await.unwrap_err();
    assert!(matches!(error, HarborError::Invalid(Invalid::Truncated { read: 0, .. })), "{error:?}");
}

#[tokio::test]
async fn a_drained_blob_is_read_in_chunks_and_checked() {
    let server =
        Server::start(|_| answer(200, &[], chunked(BLOB.chunks(5).map(Bytes::copy_from_slice).collect()))).await;
    let size = BLOB.len() as u64;
    let read = server.client().drain_blob(&place(), digest_of(BLOB), size).await.unwrap();
    assert_eq!(read, size);
}

#[rstest]
#[case::truncated_but_looking_complete(chunked(vec![Bytes::from_static(&BLOB[..9])]), AnswerClass::Invalid, "9 of 32 bytes")]
#[case::other_content(Body::from("b layer, in a manner of speaking"), AnswerClass::Invalid, "other content")]
#[case::longer_than_the_manifest_says(Body::from([BLOB, b"!"].concat()), AnswerClass::Invalid, "larger than")]
#[case::broken(broken(BLOB.split_at(9).0), AnswerClass::Unreachable, "connection")]
#[tokio::test]
async fn a_transfer_that_went_wrong_is_none(
    #[case] body: Body,
    #[case] class: AnswerClass,
    #[case] sentence: &'static str,
) {
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let server = Server::start(move |_| answer(200, &[], body.lock().unwrap().take().unwrap())).await;
    let error = server.client().drain_blob(&place(), digest_of(BLOB), 32).await.unwrap_err();
    assert_eq!(error.class(), class, "{error:?}");
    assert!(error.to_string().contains(sentence), "{error}");
}

#[tokio::test]
async fn a_transfer_that_brings_no_more_bytes_is_given_up_though_no_time_limits_the_whole() {
    let server = Server::start(|_| answer(200, &[], stalled(b"a layer"))).await;
    let mut options = options(&server.url());
    options.stall_timeout = Duration::from_millis(50);
    let error = client(&options).drain_blob(&place(), digest_of(BLOB), 32).await.unwrap_err();
    assert_eq!(error.class(), AnswerClass::Timeout);
    assert!(error.to_string().contains("send another byte within 0.05 s"), "{error}");
}

#[tokio::test]
async fn a_slow_transfer_may_take_longer_than_any_request() {
    let server = Server::start(|_| {
        let slow = stream::iter(BLOB.chunks(4).map(Bytes::from_static)).then(|chunk| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, std::convert::Infallible>(chunk)
        });
        answer(200, &[], Body::from_stream(slow))
    })
    .await;
    let mut options = options(&server.url());
    options.request_timeout = Duration::from_millis(30);
    let read = client(&options).drain_blob(&place(), digest_of(BLOB), 32).await.unwrap();
    assert_eq!(read, 32);
}

#[tokio::test]
async fn a_redirect_to_harbors_storage_is_followed_without_the_credentials() {
    let storage = Server::start(|seen| match seen.target.as_str() {
        "/bucket/data?X-Signature=s3cr3t" => answer(200, &[], BLOB),
        _ => answer(403, &[], "no"),
    })
    .await;
    let location = format!("{}/bucket/data?X-Signature=s3cr3t", storage.url());
    let server = Server::start(move |_| answer(307, &[("location", location.as_str())], "")).await;
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&server.url());
    options.credentials = robot(&directory, "robots-secret");
    let client = client(&options);
    client.drain_blob(&place(), digest_of(BLOB), 32).await.unwrap();
    assert_eq!(server.seen()[0].authorization(), super::basic("robots-secret"));
    assert_eq!(storage.seen()[0].authorization(), "");
}

#[tokio::test]
async fn a_storage_that_is_not_there_is_told_without_its_path_and_query() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("http://{}/bucket/data?X-Signature=s3cr3t", listener.local_addr().unwrap());
    drop(listener);
    let server = Server::start(move |_| answer(307, &[("location", location.as_str())], "")).await;
    let error = server.client().drain_blob(&place(), digest_of(BLOB), 32).await.unwrap_err();
    assert!(matches!(&error, HarborError::Storage { fault: StorageFault::Connection(_), .. }), "{error:?}");
    let told = format!("{error} {error:?}");
    assert!(!told.contains("s3cr3t") && !told.contains("bucket"), "{told}");
}

#[tokio::test]
async fn redirects_without_end_are_left() {
    let server = Server::start(|seen| {
        let next = format!("/storage/{}", seen.target.len() + seen.target.matches('/').count());
        answer(307, &[("location", next.as_str())], "")
    })
    .await;
    let error = server.client().drain_blob(&place(), digest_of(BLOB), 32).await.unwrap_err();
    assert!(matches!(error, HarborError::Storage { fault: StorageFault::Endless, .. }), "{error:?}");
    assert_eq!(server.seen().len(), 4);
}

/// As docker-registry with its `redirect` storage middleware answers, and Harbor on S3, Azure or Google's storage: the
/// place of the content, on a host that need not be one that the warmer can reach.
fn bucket() -> String {
    let digest = digest_of(BLOB).to_string();
    let hex = digest.strip_prefix("sha256:").unwrap();
    format!("https://bucket.invalid/docker/registry/v2/blobs/sha256/{}/{hex}/data?X-Signature=s3cr3t", &hex[..2])
}

#[rstest]
#[case::by_harbor(HarborKind::Harbor, 307)]
#[case::by_a_cache(HarborKind::Distribution, 307)]
#[case::changed_on_the_way(HarborKind::Harbor, 302)]
#[tokio::test]
async fn a_redirect_to_the_storage_says_that_a_blob_is_there_and_nobody_goes_there(
    #[case] kind: HarborKind,
    #[case] status: u16,
) {
    let server = Server::start(move |_| answer(status, &[("location", bucket().as_str())], "")).await;
    let mut options = options(&server.url());
    options.kind = kind;
    let client = client(&options);
    let stored = client.head_blob(&place(), digest_of(BLOB)).await.unwrap();
    assert_eq!(stored, BlobHead::Stored { size_bytes: None });
    assert!(stored.is_there(32));
    assert_eq!(client.touch_blob(&place(), digest_of(BLOB), 1 << 30).await.unwrap(), 0);
    assert_eq!(server.seen().len(), 2);
}

#[rstest]
#[case::oauth2_proxy(302, "/oauth2/start?rd=%2Fv2%2F")]
#[case::elsewhere(302, "https://login.example.com/realms/main/protocol/openid-connect/auth?client_id=harbor")]
#[case::with_a_307(307, "https://idp.example.com/saml2/idp?SAMLRequest=x")]
#[case::see_other(303, "https://sso.invalid/")]
#[case::cloudflare(302, "https://team.cloudflareaccess.com/cdn-cgi/access/login/harbor.example")]
#[tokio::test]
async fn a_redirect_to_a_login_page_is_neither_a_blob_nor_followed(#[case] status: u16, #[case] to: &'static str) {
    let server = Server::start(move |_| answer(status, &[("location", to)], "")).await;
    let client = server.client();
    let errors = [
        client.head_blob(&place(), digest_of(BLOB)).await.unwrap_err(),
        client.touch_blob(&place(), digest_of(BLOB), 32).await.unwrap_err(),
        client.drain_blob(&place(), digest_of(BLOB), 32).await.unwrap_err(),
        client.get_manifest(&place(), digest_of(BLOB)).await.unwrap_err(),
        client.artifact(&place(), &super::tag("1")).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, HarborError::Intercepted(Interception::LogIn { .. })), "{error:?}");
        assert!(error.to_string().starts_with("a login proxy stands before Harbor"), "{error}");
    }
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_web_page_is_no_blob_and_no_manifest() {
    let page = "<!DOCTYPE html><title>Sign in</title>";
    let server = Server::start(move |_| answer(200, &[("content-type", "text/html; charset=utf-8")], page)).await;
    let client = server.client();
    let errors = [
        client.head_blob(&place(), digest_of(BLOB)).await.unwrap_err(),
        client.touch_blob(&place(), digest_of(BLOB), 32).await.unwrap_err(),
        client.head_manifest(&place(), &super::tag("1")).await.unwrap_err(),
        client.get_manifest(&place(), digest_of(BLOB)).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, HarborError::Intercepted(Interception::Page(200))), "{error:?}");
    }
}

#[rstest]
#[case::same(Some(32), 32, true)]
#[case::nothing_stored(Some(0), 32, false)]
#[case::half(Some(16), 32, false)]
#[case::more(Some(33), 32, false)]
#[case::not_told_by_harbor(None, 32, true)]
#[case::not_told_by_the_manifest(Some(16), 0, true)]
fn a_blob_of_another_size_is_not_there(#[case] told: Option<u64>, #[case] expected: u64, #[case] is_there: bool) {
    assert_eq!(BlobHead::Stored { size_bytes: told }.is_there(expected), is_there);
    assert!(!BlobHead::Absent.is_there(expected));
}

#[rstest]
#[case::upstream_refuses(401, "UNAUTHORIZED", "http status code: 401, body: x", AnswerClass::UpstreamRefused)]
#[case::missing(404, "NOT_FOUND", "http status code: 404, body: x", AnswerClass::MissingBlob)]
#[case::rate_limited(429, "TOO_MANY_REQUEST", "http status code: 429, body: x", AnswerClass::RateLimited)]
#[case::down(500, "UNKNOWN", "internal server error", AnswerClass::ServerError)]
#[tokio::test]
async fn what_harbor_says_of_a_blob_is_read_from_its_body(
    #[case] status: u16,
    #[case] code: &'static str,
    #[case] message: &'static str,
    #[case] expected: AnswerClass,
) {
    let server = Server::start(move |_| error(status, code, message)).await;
    let error = server.client().touch_blob(&place(), digest_of(BLOB), 32).await.unwrap_err();
    assert_eq!(error.class(), expected);
}

/// While a Distribution cache stores a blob it answers a HEAD with 200; only what it has stored it gives in parts.
#[rstest]
#[case::stored(206, &[("content-range", "bytes 0-0/32")], "x", BlobHead::Stored { size_bytes: Some(32) })]
#[case::not_stored_yet(200, &[], "the whole of the upstream's blob", BlobHead::Absent)]
#[case::unknown(404, &[], r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#, BlobHead::Absent)]
#[tokio::test]
async fn a_distribution_cache_has_what_it_gives_a_part_of(
    #[case] status: u16,
    #[case] headers: &'static [(&'static str, &'static str)],
    #[case] body: &'static str,
    #[case] expected: BlobHead,
) {
    let server = Server::start(move |_| answer(status, headers, body)).await;
    let mut options = options(&server.url());
    options.kind = HarborKind::Distribution;
    assert_eq!(client(&options).head_blob(&place(), digest_of(BLOB)).await.unwrap(), expected);
    let asked = &server.seen()[0];
    assert_eq!((asked.method.as_str(), asked.header("range")), ("GET", "bytes=0-0"));
}
