use harbor_warmer_protocol::{Digest, TagOrDigest};
use rstest::rstest;

use super::{Server, answer, chunked, client, digest_of, error, options, place, tag};
use crate::{AnswerClass, HarborError, Invalid, MANIFEST_MAX_BYTES, Upstream};
use harbor_warmer_core::project::HarborKind;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

#[tokio::test]
async fn a_head_by_tag_accepts_all_four_types_and_gives_the_upstreams_digest() {
    let digest = digest_of(MANIFEST).to_string();
    let server = Server::start(move |_| {
        let headers = [("docker-content-digest", digest.as_str()), ("content-type", INDEX), ("content-length", "1234")];
        answer(200, &headers, "")
    })
    .await;
    let head = server.client().head_manifest(&place(), &tag("1.0")).await.unwrap();
    assert_eq!(head.digest, digest_of(MANIFEST));
    assert_eq!((head.media_type.as_deref(), head.size_bytes), (Some(INDEX), Some(1234)));
    assert_eq!(server.targets(), ["HEAD /v2/proxy/team/app/manifests/1.0"]);
    let accept = server.seen()[0].header("accept").to_owned();
    for media_type in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ] {
        assert!(accept.contains(media_type), "{accept}");
    }
}

#[rstest]
#[case::quoted("\"sha256:{}\"")]
#[case::bare("sha256:{}")]
#[tokio::test]
async fn an_empty_digest_header_leaves_the_etag(#[case] etag: &str) {
    let etag = etag.replace("{}", &digest_of(MANIFEST).hex());
    let server =
        Server::start(move |_| answer(200, &[("docker-content-digest", ""), ("etag", etag.as_str())], "")).await;
    let head = server.client().head_manifest(&place(), &tag("1.0")).await.unwrap();
    assert_eq!(head.digest, digest_of(MANIFEST));
}

#[rstest]
#[case::no_digest(200)]
#[case::not_found(404)]
#[case::server_error(500)]
#[case::method_not_allowed(405)]
#[tokio::test]
async fn a_head_that_brings_nothing_is_never_followed_by_a_get(#[case] status: u16) {
    let server = Server::start(move |_| answer(status, &[("docker-content-digest", ""), ("etag", "")], "")).await;
    server.client().head_manifest(&place(), &tag("1.0")).await.unwrap_err();
    assert_eq!(server.targets(), ["HEAD /v2/proxy/team/app/manifests/1.0"]);
}

#[tokio::test]
async fn a_head_by_digest_that_names_another_digest_is_refused() {
    let other = digest_of(b"other").to_string();
    let server = Server::start(move |_| answer(200, &[("docker-content-digest", other.as_str())], "")).await;
    let asked = TagOrDigest::Digest(digest_of(MANIFEST));
    let error = server.client().head_manifest(&place(), &asked).await.unwrap_err();
    assert!(matches!(error, HarborError::Invalid(Invalid::WrongDigest { .. })), "{error:?}");
}

#[tokio::test]
async fn a_manifest_is_what_its_digest_says_whatever_the_header_says() {
    let server = Server::start(|_| {
        let headers = [("docker-content-digest", ""), ("content-type", "application/vnd.oci.image.index.v1+json; a=b")];
        answer(200, &headers, MANIFEST)
    })
    .await;
    let manifest = server.client().get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    assert_eq!((manifest.bytes.as_ref(), manifest.media_type.as_str()), (MANIFEST, INDEX));
    assert_eq!(server.targets(), [format!("GET /v2/proxy/team/app/manifests/{}", digest_of(MANIFEST))]);
}

#[tokio::test]
async fn other_content_than_was_asked_for_is_refused() {
    let server = Server::start(|_| answer(200, &[], "other content")).await;
    let error = server.client().get_manifest(&place(), digest_of(MANIFEST)).await.unwrap_err();
    match error {
        HarborError::Invalid(Invalid::WrongDigest { expected, actual }) => {
            assert_eq!((expected, actual), (digest_of(MANIFEST), digest_of(b"other content")));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_manifest_without_end_is_left_at_4_mib() {
    let server = Server::start(|_| {
        let chunk = axum::body::Bytes::from(vec![b' '; 64 * 1024]);
        answer(200, &[], chunked(vec![chunk; 100]))
    })
    .await;
    let error = server.client().get_manifest(&place(), digest_of(MANIFEST)).await.unwrap_err();
    let limit = MANIFEST_MAX_BYTES as u64;
    assert!(matches!(error, HarborError::Invalid(Invalid::TooLarge { limit: l }) if l == limit), "{error:?}");
}

#[rstest]
#[case::answers("resource not found: repo team/app, tag  not found", Upstream::Answers)]
#[case::silent("artifact proxy/team/app@sha256:00 not found", Upstream::Silent)]
#[case::silent_and_unknown("repository proxy/team/app not found", Upstream::Silent)]
#[tokio::test]
async fn a_probe_tells_a_missing_tag_from_a_silent_upstream_without_touching_a_tag(
    #[case] message: &'static str,
    #[case] expected: Upstream,
) {
    let server = Server::start(move |_| error(404, "NOT_FOUND", message)).await;
    assert_eq!(server.client().probe(&place()).await.unwrap(), expected);
    assert_eq!(server.targets(), [format!("GET /v2/proxy/team/app/manifests/{}", Digest::ZERO)]);
}

#[tokio::test]
async fn a_probe_that_is_rate_limited_says_so() {
    let server = Server::start(|_| error(429, "TOO_MANY_REQUEST", "too many requests to upstream registry")).await;
    assert_eq!(server.client().probe(&place()).await.unwrap_err().class(), AnswerClass::RateLimited);
}

#[tokio::test]
async fn a_distribution_cache_has_no_projects_in_its_paths() {
    let server = Server::start(|_| answer(200, &[], MANIFEST)).await;
    let mut options = options(&server.url());
    options.kind = HarborKind::Distribution;
    client(&options).get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    assert_eq!(server.targets(), [format!("GET /v2/team/app/manifests/{}", digest_of(MANIFEST))]);
}

#[tokio::test]
async fn a_distribution_cache_is_not_probed() {
    let server = Server::start(|_| answer(200, &[], MANIFEST)).await;
    let mut options = options(&server.url());
    options.kind = HarborKind::Distribution;
    assert_eq!(client(&options).probe(&place()).await.unwrap_err().class(), AnswerClass::NotFoundAmbiguous);
    assert_eq!(server.seen().len(), 0);
}
