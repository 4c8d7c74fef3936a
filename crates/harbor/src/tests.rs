//! The client against servers that answer as Harbor does, and as nobody should.

mod api;
mod authorization;
mod blobs;
mod confinement;
mod connections;
mod manifests;
mod replication;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use harbor_warmer_protocol::{Digest, TagOrDigest};
use http::{HeaderMap, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Client, Options, Repository, Uncounted};
use crate::Credentials;
use harbor_warmer_core::project::HarborKind;

/// A server that answers with a function and remembers what it was asked. Gone when dropped.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    peer: SocketAddr,
    method: Method,
    /// Path and query as they were sent.
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn authorization(&self) -> &str {
        self.header(header::AUTHORIZATION)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Server {
    async fn start(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&seen);
        let service = axum::routing::any(move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
            let (remember, answer) = (Arc::clone(&remember), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let target = parts.uri.path_and_query().unwrap().to_string();
                let seen = Seen { peer, method: parts.method, target, headers: parts.headers, body };
                let answer = answer(&seen);
                remember.lock().unwrap().push(seen);
                answer
            }
        });
        let router = axum::Router::new().fallback_service(service);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
        });
        Self { address, seen, task }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }

    fn client(&self) -> Client {
        client(&options(&self.url()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn options(url: &str) -> Options {
    Options {
        kind: HarborKind::Harbor,
        url: url.parse().unwrap(),
        credentials: Credentials::Anonymous,
        token_realm: None,
        blob_hosts: Vec::new(),
        ca_file: None,
        insecure_skip_verify: false,
        // Long: a test that waits for one says so itself.
        stall_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(30),
    }
}

fn client(options: &Options) -> Client {
    Client::new("main".parse().unwrap(), options, Arc::new(Uncounted)).unwrap()
}

/// Credentials of `robot$proxy+warmer` with this secret, out of a file in the directory.
fn robot(directory: &tempfile::TempDir, secret: &str) -> Credentials {
    let path = directory.path().join("secret");
    std::fs::write(&path, secret).unwrap();
    Credentials::Basic { username: "robot$proxy+warmer".to_owned(), password: crate::Secret::File(path) }
}

fn basic(secret: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("robot$proxy+warmer:{secret}"));
    format!("Basic {encoded}")
}

fn place() -> Repository {
    Repository { project: "proxy".parse().unwrap(), repository: "team/app".parse().unwrap() }
}

fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(text.parse().unwrap())
}

fn digest_of(content: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(content).into())
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    answer(status.as_u16(), &[("content-type", "application/json")], body.to_string())
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    json(StatusCode::from_u16(status).unwrap(), &body)
}

/// A body in chunks, without a length: as Harbor sends a cold blob.
fn chunked(chunks: Vec<Bytes>) -> Body {
    Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>)))
}

/// A body that begins and then says no more, and never ends.
fn stalled(beginning: &'static [u8]) -> Body {
    let beginning = stream::iter([Ok::<_, Infallible>(Bytes::from_static(beginning))]);
    Body::from_stream(beginning.chain(stream::pending()))
}

/// A body whose connection breaks after its beginning.
fn broken(beginning: &'static [u8]) -> Body {
    let chunks = [Ok(Bytes::from_static(beginning)), Err(std::io::Error::other("broken"))];
    // A pause, so that the beginning is on its way before the connection is cut.
    Body::from_stream(stream::iter(chunks).then(|chunk| async {
        tokio::task::yield_now().await;
        chunk
    }))
}
