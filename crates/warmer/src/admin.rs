//! The ports for people and machines of the site: probes, metrics, and the API that the command line uses.
//!
//! The API reads (`GET`) and acts (`POST`). It is reached by a Unix socket, or over TCP within the bounds of [`access`].
//! Probes and metrics have a port of their own where one is configured; the port of the API answers them too, as it
//! always has. Nothing here takes part in a hand-off by a policy.

mod access;
mod body;
mod error;
mod images;
mod probes;
mod reference;
mod socket;
#[cfg(test)]
mod tests;
mod warm;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use access::{Access, Entrance, Token};
pub use error::ErrorBody;
pub use probes::Probed;
pub(crate) use socket::Socket;

use crate::admin::error::ApiError;
use crate::config::{Config, small_file};
use crate::http::server::{Accept, Limits, Port, Proof};
use crate::intake::Intake;
use crate::plan::Planner;
use harbor_warmer_store::Store;

/// Probes, one or two Prometheus servers and some people.
const LIMITS: Limits = Limits { max_connections: 128, client_timeout: Duration::from_secs(30) };

/// Plans that are made at once: each asks Harbor about every blob of up to a thousand images.
const PLANS_AT_ONCE: usize = 2;

/// What the API shows and does.
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
    /// Places for plans.
    pub planning: Arc<Semaphore>,
}

impl AdminState {
    /// Nobody plans yet.
    pub(crate) fn new(config: Arc<Config>, store: Store, intake: Arc<Intake>, planner: Planner) -> Self {
        let planning = Arc::new(Semaphore::new(PLANS_AT_ONCE));
        Self { config, store, intake, planner: Arc::new(planner), planning }
    }
}

/// Serves API, probes and metrics until the shutdown, and lets requests under way end.
pub(crate) async fn serve(
    listener: impl Accept,
    state: AdminState,
    access: Access,
    probed: Probed,
    shutdown: CancellationToken,
) {
    serve_router("admin", listener, api(state, access).merge(probes::routes(probed)), shutdown).await;
}

/// Serves probes and metrics alone.
pub(crate) async fn serve_probes(listener: impl Accept, probed: Probed, shutdown: CancellationToken) {
    serve_router("probes", listener, probes::routes(probed), shutdown).await;
}

async fn serve_router(name: &'static str, listener: impl Accept, router: Router, shutdown: CancellationToken) {
    let router = router
        .fallback(|| async { ApiError::not_found("there is nothing here; see /api/v1/images, /metrics and /readyz") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method")
        });
    let port = Port { name, tls: None, limits: LIMITS, proof: Proof::Request, watcher: None, heartbeat: None };
    port.serve(listener, |_| TowerToHyperService::new(router.clone()), shutdown).await;
}

fn api(state: AdminState, access: Access) -> Router {
    Router::new()
        .route("/api/v1/images", get(images::list))
        .route("/api/v1/images/{id}", get(images::view))
        .route("/api/v1/images/{id}/requeue", post(images::requeue))
        .route("/api/v1/find", get(images::find))
        .route("/api/v1/warm", post(warm::warm))
        .route("/api/v1/plan", post(warm::plan))
        .route_layer(middleware::from_fn_with_state(access, guard))
        .with_state(state)
}

/// What an answer may not be used for by a page that shows it.
const HEADERS: [(&str, &str); 2] = [("x-content-type-options", "nosniff"), ("cache-control", "no-store")];

async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let mut answer = match access.allow(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    answer
}

/// Reads the token's file again and again, for ever. What can't be read is told once, until it can be again.
pub(crate) async fn keep_reading(path: PathBuf, token: Token, every: Duration) {
    let mut told = None;
    loop {
        tokio::time::sleep(every).await;
        let file = path.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || small_file::read(&file)).await else { continue };
        let fault = match read.as_deref().map(small_file::secret) {
            Ok(Ok(secret)) => {
                token.replace(secret);
                None
            }
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if fault.is_some() && fault != told {
            let fault = fault.as_deref().unwrap_or_default();
            tracing::warn!(fault, file = %path.display(), "the admin token of before stays in use");
        }
        told = fault;
    }
}
