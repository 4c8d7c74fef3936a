//! A request's JSON body, read within bounds of size and time.

use std::time::Duration;

use axum::extract::Request;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::admin::access::is_json;
use crate::admin::error::ApiError;

/// A thousand references fit in it many times.
const MAX_BYTES: usize = 1024 * 1024;

const READ_WITHIN: Duration = Duration::from_secs(10);

/// Reads the body. It has to say that it is JSON: a web page elsewhere can't make a browser send that unasked.
pub(super) async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    if !request.headers().get(CONTENT_TYPE).is_some_and(is_json) {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON, as content-type application/json"));
    }
    let bytes = tokio::time::timeout(READ_WITHIN, axum::body::to_bytes(request.into_body(), MAX_BYTES)).await;
    let bytes = bytes
        .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 10 s"))?
        .map_err(|error| refused(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("the body: {error}")))
}

fn refused(error: &axum::Error) -> ApiError {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<http_body_util::LengthLimitError>() {
            return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body may have {MAX_BYTES} bytes"));
        }
        source = cause.source();
    }
    ApiError::bad_request("the body can't be read")
}
