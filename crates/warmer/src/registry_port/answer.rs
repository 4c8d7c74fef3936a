//! The registry port's answers, in the distribution spec's form. Pure.

use bytes::Bytes;
use harbor_warmer_protocol::{Digest, RequestError};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// An answer. Its body is small and whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// The media type of a receipt (image-spec, manifest.md).
pub(super) const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REGISTRY_2: HeaderValue = HeaderValue::from_static("registry/2.0");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"harbor-warmer\"");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The distribution spec's error codes that the port uses ("Error Codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// No credentials, or wrong ones.
    Unauthorized,
    /// The configuration doesn't allow it.
    Denied,
    /// The port doesn't do that.
    Unsupported,
    /// No such manifest.
    ManifestUnknown,
    /// No such blob.
    BlobUnknown,
    /// Not now. Not in the spec's table; CNCF Distribution has it for 503.
    Unavailable,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported | Self::ManifestUnknown | Self::BlobUnknown => StatusCode::NOT_FOUND,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The answer to the version check.
pub(super) fn version() -> Answer {
    content(Bytes::from_static(b"{}"), JSON)
}

/// A manifest. A `HEAD` gets the same answer: hyper sends its headers alone.
pub(super) fn manifest(bytes: Bytes, media_type: &str, digest: Digest) -> Answer {
    let mut answer = content(bytes, media_type_header(media_type));
    answer.headers_mut().insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
    answer
}

/// The headers of a manifest whose bytes are elsewhere.
pub(super) fn manifest_head(digest: Digest, media_type: Option<&str>, size_bytes: Option<u64>) -> Answer {
    let mut answer = Answer::default();
    let headers = answer.headers_mut();
    headers.insert(API_VERSION, REGISTRY_2);
    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
    if let Some(media_type) = media_type {
        headers.insert(CONTENT_TYPE, media_type_header(media_type));
    }
    if let Some(size_bytes) = size_bytes {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size_bytes));
    }
    answer
}

/// A blob.
pub(super) fn blob(bytes: Bytes, digest: Digest) -> Answer {
    let mut answer = content(bytes, OCTETS);
    answer.headers_mut().insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
    answer
}

/// An error with one of the port's own codes.
pub(super) fn error(code: Code, message: &str) -> Answer {
    let mut answer = error_json(code.status(), code.text(), message);
    if code == Code::Unauthorized {
        answer.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    }
    answer
}

/// A path that is none of the contract's.
pub(super) fn bad_request(error: &RequestError) -> Answer {
    let status = match error {
        RequestError::UnknownPath | RequestError::UnknownVersion => StatusCode::NOT_FOUND,
        RequestError::InvalidName(..) | RequestError::InvalidReference(_) => StatusCode::BAD_REQUEST,
    };
    error_json(status, error.code(), &error.to_string())
}

/// Anything but GET and HEAD.
pub(super) fn method_not_allowed() -> Answer {
    let message = "the warmer's registry is read-only: GET and HEAD are all it answers";
    let mut answer = error_json(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported.text(), message);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

/// A request that brings a body.
pub(super) fn body_not_allowed() -> Answer {
    let message = "a GET or HEAD of this registry has no body";
    error_json(StatusCode::BAD_REQUEST, Code::Unsupported.text(), message)
}

/// What every answer to a `HEAD` must have. A policy server repeats a HEAD without `Docker-Content-Digest` as a GET,
/// errors included, so an error has zeros there.
pub(super) fn to_method(method: &Method, mut answer: Answer) -> Answer {
    if method == Method::HEAD && !answer.headers().contains_key(DOCKER_CONTENT_DIGEST) {
        answer.headers_mut().insert(DOCKER_CONTENT_DIGEST, digest_header(Digest::ZERO));
    }
    answer
}

fn error_json(status: StatusCode, code: &'static str, message: &str) -> Answer {
    #[derive(Serialize)]
    struct Errors<'a> {
        errors: [OciError<'a>; 1],
    }
    #[derive(Serialize)]
    struct OciError<'a> {
        code: &'static str,
        message: &'a str,
        /// The spec has it optional; some clients don't.
        detail: (),
    }
    let errors = Errors { errors: [OciError { code, message, detail: () }] };
    let bytes = serde_json::to_vec(&errors).expect("strings serialise");
    let mut answer = content(Bytes::from(bytes), JSON);
    *answer.status_mut() = status;
    answer
}

fn content(bytes: Bytes, media_type: HeaderValue) -> Answer {
    let length = HeaderValue::from(bytes.len());
    let mut answer = Answer::new(Full::new(bytes));
    let headers = answer.headers_mut();
    headers.insert(API_VERSION, REGISTRY_2);
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_LENGTH, length);
    answer
}

fn digest_header(digest: Digest) -> HeaderValue {
    HeaderValue::try_from(digest.to_string()).expect("a digest is visible ASCII")
}

/// Harbor's media type as it is; one that can't be a header's value was none.
fn media_type_header(media_type: &str) -> HeaderValue {
    match media_type {
        IMAGE_MANIFEST => HeaderValue::from_static(IMAGE_MANIFEST),
        other => HeaderValue::from_str(other).unwrap_or(OCTETS),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use rstest::rstest;

    use super::*;

    async fn json(answer: Answer) -> serde_json::Value {
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[rstest]
    #[case(Code::Unauthorized, 401, "UNAUTHORIZED")]
    #[case(Code::Denied, 403, "DENIED")]
    #[case(Code::Unsupported, 404, "UNSUPPORTED")]
    #[case(Code::ManifestUnknown, 404, "MANIFEST_UNKNOWN")]
    #[case(Code::BlobUnknown, 404, "BLOB_UNKNOWN")]
    #[case(Code::Unavailable, 503, "UNAVAILABLE")]
    #[tokio::test]
    async fn errors_are_the_specs(#[case] code: Code, #[case] status: u16, #[case] text: &str) {
        let answer = error(code, "why \"it\" is so");
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().contains_key(WWW_AUTHENTICATE), code == Code::Unauthorized);
        assert_eq!(answer.headers()[API_VERSION], "registry/2.0");
        let expected = serde_json::json!({"errors": [{"code": text, "message": "why \"it\" is so", "detail": null}]});
        assert_eq!(json(answer).await, expected);
    }

    #[rstest]
    #[case("/v3/", 404, "UNSUPPORTED")]
    #[case("/v2/_catalog", 404, "UNSUPPORTED")]
    #[case("/v2/v1/harbor/main/hub/library/nginx/tags/list", 404, "UNSUPPORTED")]
    #[case("/v2/v9/harbor/main/hub/library/nginx/manifests/1", 404, "NAME_INVALID")]
    #[case("/v2/v1/boil/none/linux-amd64/main/hub/library/nginx/manifests/1", 400, "NAME_INVALID")]
    #[case("/v2/v1/harbor/main/hub/library/nginx/manifests/.1", 400, "MANIFEST_INVALID")]
    #[tokio::test]
    async fn paths_outside_the_contract_are_refused(#[case] path: &str, #[case] status: u16, #[case] code: &str) {
        let answer = bad_request(&harbor_warmer_protocol::RegistryRequest::parse(path).unwrap_err());
        assert_eq!(answer.status(), status);
        assert_eq!(json(answer).await["errors"][0]["code"], code);
    }

    #[test]
    fn every_head_has_a_digest_and_a_get_only_where_there_is_content() {
        let zeros = format!("sha256:{}", "0".repeat(64));
        let head = to_method(&Method::HEAD, error(Code::Unavailable, "later"));
        assert_eq!(head.headers()[DOCKER_CONTENT_DIGEST], zeros);
        let get = to_method(&Method::GET, error(Code::Unavailable, "later"));
        assert!(!get.headers().contains_key(DOCKER_CONTENT_DIGEST));
        let digest = Digest::from_bytes([7; 32]);
        let head = to_method(&Method::HEAD, manifest_head(digest, Some(IMAGE_MANIFEST), Some(42)));
        assert_eq!(head.headers()[DOCKER_CONTENT_DIGEST], digest.to_string());
        assert_eq!(head.headers()[CONTENT_LENGTH], "42");
    }
}
