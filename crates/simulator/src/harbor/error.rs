//! Harbor's error answers: `{"errors":[{"code":…,"message":…}]}`.

use http::StatusCode;

use crate::upstream::UpstreamError;

/// An error as Harbor answers it. The codes are those of `src/lib/errors/const.go`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct HarborError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The `Www-Authenticate` of a 401, which may be empty.
    pub(crate) challenge: Option<String>,
}

impl HarborError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), challenge: None }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(crate) fn blob_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry")
    }

    pub(crate) fn manifest_unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>, challenge: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
        error.challenge = Some(challenge.into());
        error
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", "forbidden")
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(crate) fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    pub(crate) fn precondition_failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "PRECONDITION", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "CONFLICT", message)
    }

    pub(crate) fn too_many_requests() -> Self {
        let message = "too many requests to upstream registry";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUEST", message)
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "internal server error")
    }

    /// What a blob's GET makes of the upstream's error: its refusals are passed through in words, the rest is 500.
    pub(crate) fn of_blob(error: &UpstreamError) -> Self {
        let UpstreamError::Status { status, .. } = error else { return Self::internal() };
        match *status {
            StatusCode::UNAUTHORIZED => Self::unauthorized(error.to_string(), ""),
            StatusCode::FORBIDDEN => Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", error.to_string()),
            StatusCode::NOT_FOUND => Self::not_found(error.to_string()),
            StatusCode::TOO_MANY_REQUESTS => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUEST", error.to_string())
            }
            _ => Self::internal(),
        }
    }
}
