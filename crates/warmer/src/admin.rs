//! The port for probes, metrics and the command line. It belongs inside the cluster: nobody proves who he is here.
//!
//! `/readyz` speaks of the warmer alone. A Harbor that is down doesn't make it unready: hand-offs have to be taken in
//! then above all.

mod body;
mod error;
mod images;
mod reference;
#[cfg(test)]
mod tests;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use error::ErrorBody;

use crate::admin::error::ApiError;
use crate::config::Config;
use crate::http::server::{Limits, Port};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::plan::Planner;
use crate::registry_port::Listening;
use harbor_warmer_store::Store;

/// Probes, one or two Prometheus servers and some people.
const LIMITS: Limits = Limits { max_connections: 128, client_timeout: Duration::from_secs(30) };

/// As Prometheus asks for it (OpenMetrics 1.0, "ABNF" and "Content-Type").
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin port shows and does.
#[derive(Clone)]
pub struct AdminState {
    /// Rules and platforms of the command line.
    pub config: Arc<Config>,
    /// The queue.
    pub store: Store,
    /// Where hand-offs come in.
    pub intake: Arc<Intake>,
    /// What answers `plan`.
    pub planner: Arc<Planner>,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// Whether the registry port takes connections.
    pub registry: Listening,
}

/// Serves until the shutdown, and lets requests under way end.
pub async fn serve(listener: TcpListener, state: AdminState, shutdown: CancellationToken) {
    let router = router(state, shutdown.clone());
    let port = Port { name: "admin", tls: None, limits: LIMITS, metrics: None };
    port.serve(listener, |_| TowerToHyperService::new(router.clone()), shutdown).await;
}

fn router(state: AdminState, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(|state| readyz(state, shutdown)))
        .route("/metrics", get(metrics))
        .route("/api/v1/images", get(images::list))
        .route("/api/v1/images/{id}", get(images::view))
        .route("/api/v1/images/{id}/requeue", post(images::requeue))
        .route("/api/v1/find", get(images::find))
        .route("/api/v1/warm", post(warm::warm))
        .route("/api/v1/plan", post(warm::plan))
        .fallback(|| async { ApiError::not_found("there is nothing here; see /api/v1/images, /metrics and /readyz") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method")
        })
        .with_state(state)
}

async fn readyz(State(state): State<AdminState>, shutdown: CancellationToken) -> (StatusCode, &'static str) {
    if shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    if !state.registry.is_listening() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the registry port is not open yet\n");
    }
    if !state.store.is_healthy() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the queue can't be written; is its disk full?\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPEN_METRICS)], state.metrics.to_text())
}
