//! HTTP in front of the simulated Harbor: connections, the order of checks, and the faults between.

mod admin;
mod body;
mod bucket;
mod registry;
mod route;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::body::Body;
pub(crate) use self::bucket::Bucket;
pub use self::bucket::BucketRequest;
use self::route::Route;
use self::socket::Socket;
pub use self::socket::Traffic;
use crate::fault::{Dress, FaultAction, Faults};
use crate::harbor::api;
use crate::harbor::api::answer::{ApiAnswer, ApiBody};
use crate::harbor::{Core, Harbor, HarborError};
use crate::request_log::{Entry, RequestLog, RequestRecord};

/// The API's bodies are policies of a few hundred bytes.
const REQUEST_BODY_LIMIT: usize = 1 << 20;

/// Everything a request needs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) harbor: Arc<Harbor>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) log: RequestLog,
    pub(crate) time_scale: f64,
    pub(crate) traffic: Traffic,
    /// Where stored blobs are redirected to.
    pub(crate) bucket: Option<Arc<Bucket>>,
}

/// The listening socket. It outlives restarts of the core, so the port stays.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stopped: CancellationToken,
    connections: TaskTracker,
}

/// The service's error: the connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset on demand")]
struct Reset;

impl Server {
    pub(crate) fn start(listener: TcpListener, address: SocketAddr, site: Arc<Site>) -> Self {
        let (stopped, connections) = (CancellationToken::new(), TaskTracker::new());
        let (own_stopped, own_connections) = (stopped.clone(), connections.clone());
        connections.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = own_stopped.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                // A client that is gone already is no reason to stop.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let (site, stopped) = (Arc::clone(&site), own_stopped.clone());
                own_connections.spawn(async move {
                    let _open = site.log.connected();
                    let core = site.harbor.core();
                    let ended = core.ended();
                    let reset = Arc::new(AtomicBool::new(false));
                    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&reset), site.traffic.clone()));
                    let service = service_fn(|request| serve(Arc::clone(&site), Arc::clone(&core), request, &reset));
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = ended.cancelled() => {}
                        // How a client leaves is its own business.
                        _ = http1::Builder::new().serve_connection(socket, service) => {}
                    }
                });
            }
        });
        Self { address, stopped, connections }
    }

    /// Serves the object storage as long as Harbor itself.
    pub(crate) fn serve_bucket(&self, bucket: Arc<Bucket>, listener: TcpListener, harbor: Arc<Harbor>) {
        self.connections.spawn(bucket.serve(listener, harbor, self.stopped.clone()));
    }

    pub(crate) async fn stop(&self) {
        self.stopped.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

async fn serve(
    site: Arc<Site>,
    core: Arc<Core>,
    request: Request<Incoming>,
    reset: &AtomicBool,
) -> Result<Response<Body>, Reset> {
    let (head, incoming) = request.into_parts();
    let route = Route::parse(&head.method, head.uri.path());
    if let Route::Admin(path) = &route {
        let bytes = collect(incoming).await.unwrap_or_default();
        return Ok(admin::answer(&site, &head.method, path, &bytes));
    }
    let authorization = text(&head.headers, AUTHORIZATION.as_str());
    let caller = site.harbor.identify(authorization);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let class = route.class(&head.method);
    let entry = site.log.enter(RequestRecord {
        at: site.harbor.clock.now(),
        method: head.method.to_string(),
        path: path.to_owned(),
        class,
        user: caller.name().map(str::to_owned),
        user_agent: text(&head.headers, USER_AGENT.as_str()).unwrap_or_default().to_owned(),
        status: 0,
        bytes_sent: 0,
    });
    let _waits = site.log.waits(caller.name(), class);
    site.harbor.store.touch();

    let verdict = site.faults.judge(class, path);
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    let answer = match verdict.action {
        Some(FaultAction::Hang) => std::future::pending().await,
        Some(FaultAction::Reset) => {
            reset.store(true, Ordering::Relaxed);
            return Err(Reset);
        }
        Some(FaultAction::Respond(status)) => {
            let response = dressed(error_response(&injected(status), &entry), &verdict.dress, &entry);
            entry.answered(status);
            return Ok(response);
        }
        Some(FaultAction::DelayMilliseconds(_) | FaultAction::TruncateAfter(_) | FaultAction::Corrupt) | None => {
            let context = registry::Context {
                site: &site,
                core: &core,
                caller: &caller,
                headers: &head.headers,
                host: text(&head.headers, HOST.as_str()).unwrap_or("localhost"),
            };
            match route {
                Route::Api(path) => match collect(incoming).await {
                    Ok(bytes) => {
                        let query = route::query(head.uri.query());
                        let answer = api::answer(&site.harbor, &caller, &head.method, &path, &query, &bytes);
                        answer.map(|answer| api_response(answer, &entry))
                    }
                    Err(error) => Err(error),
                },
                route => {
                    registry::answer(&context, &head.method, head.uri.path(), head.uri.query(), route, &entry).await
                }
            }
        }
    };
    let response = answer.unwrap_or_else(|error| error_response(&error, &entry));
    entry.answered(response.status().as_u16());
    Ok(match verdict.action {
        Some(FaultAction::TruncateAfter(kept)) => response.map(|body| body.truncated_after(kept)),
        Some(FaultAction::Corrupt) => response.map(Body::corrupted),
        _ => response,
    })
}

async fn collect(incoming: Incoming) -> Result<Bytes, HarborError> {
    let collected = Limited::new(incoming, REQUEST_BODY_LIMIT).collect().await;
    collected.map(|body| body.to_bytes()).map_err(|error| HarborError::bad_request(error.to_string()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn api_response(answer: ApiAnswer, entry: &Arc<Entry>) -> Response<Body> {
    let (media_type, bytes) = match answer.body {
        ApiBody::Empty => (None, Bytes::new()),
        ApiBody::Text(text) => (Some("text/plain; charset=utf-8"), text.into()),
        ApiBody::Json(value) => (Some("application/json"), format!("{value}\n").into()),
    };
    let mut response = fixed(answer.status, media_type, bytes, entry);
    for (name, value) in answer.headers {
        set(&mut response, name, &value);
    }
    response
}

fn error_response(error: &HarborError, entry: &Arc<Entry>) -> Response<Body> {
    let shown = serde_json::json!({"errors": [{"code": error.code, "message": error.message}]});
    let json = Some("application/json; charset=utf-8");
    let mut response = fixed(error.status, json, format!("{shown}\n").into(), entry);
    if let Some(challenge) = &error.challenge {
        set(&mut response, WWW_AUTHENTICATE.as_str(), challenge);
        set(&mut response, "docker-distribution-api-version", "registry/2.0");
    }
    response
}

/// A response whose length is known.
fn fixed(status: StatusCode, media_type: Option<&str>, bytes: Bytes, entry: &Arc<Entry>) -> Response<Body> {
    let length = bytes.len();
    let mut response = Response::new(Body::whole(bytes, entry));
    *response.status_mut() = status;
    set(&mut response, CONTENT_LENGTH.as_str(), &length.to_string());
    if let Some(media_type) = media_type {
        set(&mut response, CONTENT_TYPE.as_str(), media_type);
    }
    response
}

fn set(response: &mut Response<Body>, name: &'static str, value: &str) {
    // What can't be a header comes from an upstream's media type; it is left out as Go would.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// An answer on demand, with the headers and the page that it shall have.
fn dressed(mut response: Response<Body>, dress: &Dress, entry: &Arc<Entry>) -> Response<Body> {
    if let Some(html) = &dress.html {
        response = fixed(response.status(), Some("text/html"), html.clone().into(), entry);
    }
    for (name, value) in &dress.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn injected(status: u16) -> HarborError {
    let message = format!("status {status} on demand");
    match status {
        401 => HarborError::unauthorized(message, r#"Basic realm="harbor""#),
        403 => HarborError::denied(message),
        404 => HarborError::not_found(message),
        429 => HarborError::too_many_requests(),
        _ => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            HarborError { status, ..HarborError::internal() }
        }
    }
}
