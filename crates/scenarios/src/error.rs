//! Why a scenario ends before its end.

use reqwest::StatusCode;

use crate::upstream::UpstreamError;

/// Why a scenario could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// An image could not be pushed.
    #[error("failed to push an image")]
    Upstream(#[from] UpstreamError),
    /// Harbor doesn't answer.
    #[error("Harbor can't be reached")]
    Unreachable(#[from] reqwest::Error),
    /// Harbor answers something else.
    #[error("Harbor answered {status} to {request}: {body}")]
    Unexpected {
        /// Method and path.
        request: String,
        /// The status.
        status: StatusCode,
        /// The start of the body.
        body: String,
    },
    /// An image could not be made.
    #[error("failed to make an image")]
    Made(#[source] tokio::task::JoinError),
    /// A relay in front of the upstream could not be started.
    #[error("failed to relay to the upstream")]
    Relay(#[source] std::io::Error),
    /// The warmer could not be started, or asked.
    #[error("the warmer: {0}")]
    Warmer(String),
}
