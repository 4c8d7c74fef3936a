//! What the admin API says when it can't do what was asked.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use harbor_warmer_store::StoreError;

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A sentence for a person.
    pub error: String,
}

/// A text that a terminal shows as it stands: what a request or a Harbor put into it moves no cursor, changes no colour and
/// turns no reading direction.
pub(super) fn printable(text: &str) -> String {
    const DIRECTIONS: [std::ops::RangeInclusive<char>; 3] =
        ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    let is_harmless = |c: &char| !c.is_control() && !DIRECTIONS.iter().any(|range| range.contains(c));
    text.chars().map(|c| if is_harmless(&c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// An error and its status.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    sentence: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: printable(&sentence.into()) }
    }

    pub(super) fn bad_request(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    pub(super) fn not_found(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, sentence)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the queue can't answer the admin API");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.sentence })).into_response()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::printable;

    #[rstest]
    #[case("Zürich: 3 × 2", "Zürich: 3 × 2")]
    #[case("a\u{1b}[31mb\r\nc\u{7}\u{9b}", "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}\u{fffd}")]
    #[case("app\u{202e}gpj.exe\u{2069}", "app\u{fffd}gpj.exe\u{fffd}")]
    fn what_moves_a_terminal_is_replaced(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(printable(text), shown);
    }
}
