//! Probes and metrics: what the kubelet and Prometheus ask for, and nobody has to prove anything for.
//!
//! `/livez` is the heartbeat. `/readyz` speaks of the warmer alone: a Harbor that is down doesn't make it unready, since
//! hand-offs have to be taken in then above all.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::registry_port::Listening;
use crate::service::heartbeat::Heartbeat;
use harbor_warmer_store::Store;

/// As Prometheus asks for it (OpenMetrics 1.0, "ABNF" and "Content-Type").
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What probes and metrics are made of.
#[derive(Clone)]
pub struct Probed {
    /// The queue.
    pub store: Store,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// Whether the registry port takes connections.
    pub registry: Listening,
    /// Whether the service turns.
    pub heartbeat: Heartbeat,
    /// A service that shuts down is not ready, and its heart may stop.
    pub shutdown: CancellationToken,
}

pub(super) fn routes(probed: Probed) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(probed)
}

async fn livez(State(probed): State<Probed>) -> (StatusCode, String) {
    match probed.heartbeat.silent_for() {
        Some(silent) if !probed.shutdown.is_cancelled() => {
            let sentence = format!("the registry port has not turned for {} s\n", silent.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, sentence)
        }
        _ => (StatusCode::OK, "ok\n".to_owned()),
    }
}

async fn readyz(State(probed): State<Probed>) -> (StatusCode, &'static str) {
    if probed.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    if !probed.registry.is_listening() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the registry port is not open yet\n");
    }
    if !probed.store.is_healthy() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the queue can't be written; is its disk full?\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(probed): State<Probed>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPEN_METRICS)], probed.metrics.to_text())
}
