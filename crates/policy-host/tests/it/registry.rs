//! A registry that says what it was asked, and answers when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use harbor_warmer_policy_host::RegistrySources;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Every image is this one.
pub(crate) const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"annotations":{"state":"new"}}"#;

/// What the repository's first segment makes the registry do.
const HELD: &str = "/v2/held/";
const MISSING: &str = "/v2/missing/";
const BARE: &str = "/v2/bare/";

/// `Basic` of `policy:secret`.
const AUTHORIZATION: &str = "Basic cG9saWN5OnNlY3JldA==";

#[derive(Clone)]
pub(crate) struct Registry {
    addr: SocketAddr,
    authority: Option<String>,
    shared: Arc<Shared>,
}

struct Shared {
    delay: Duration,
    demands_credentials: bool,
    requests: watch::Sender<Vec<String>>,
    releases: Semaphore,
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Registry {
    /// Plain HTTP; each manifest takes `delay`.
    pub(crate) async fn plain(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Shared::new(delay, false);
        tokio::spawn(axum::serve(listener, routes(&shared)).into_future());
        Self { addr, authority: None, shared }
    }

    /// HTTPS with an authority of its own, and credentials demanded.
    pub(crate) async fn tls() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Shared::new(Duration::ZERO, true);
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TlsListener { listener, acceptor };
        tokio::spawn(axum::serve(listener, routes(&shared)).into_future());
        Self { addr, authority: Some(authority.pem()), shared }
    }

    /// `host:port`, as references write it.
    pub(crate) fn host(&self) -> String {
        self.addr.to_string()
    }

    /// How a policy host reaches this registry, without credentials.
    pub(crate) fn sources(&self) -> RegistrySources {
        let mut sources = RegistrySources::default();
        match &self.authority {
            None => {
                sources.insecure.insert(self.host());
            }
            Some(pem) => {
                sources.source_authorities.insert(self.host(), vec![pem.clone()]);
            }
        }
        sources
    }

    /// A guest's request for `image`, `repository:tag` of this registry: a JSON string.
    pub(crate) fn asked_for(&self, image: &str) -> Vec<u8> {
        format!("\"{}/{image}\"", self.addr).into_bytes()
    }

    /// `METHOD path` of every request so far, `GET /v2/` included.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.borrow().clone()
    }

    /// How many of them ask for a manifest.
    pub(crate) fn manifest_requests(&self) -> usize {
        self.requests().iter().filter(|request| request.contains("/manifests/")).count()
    }

    /// Waits until `request` has arrived.
    pub(crate) async fn saw(&self, request: &str) {
        let mut requests = self.shared.requests.subscribe();
        let arrived = requests.wait_for(|requests| requests.iter().any(|seen| seen == request));
        tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("the request should arrive").unwrap();
    }

    /// Lets one held request go on.
    pub(crate) fn release(&self) {
        self.shared.releases.add_permits(1);
    }
}

impl Shared {
    fn new(delay: Duration, demands_credentials: bool) -> Arc<Self> {
        Arc::new(Self { delay, demands_credentials, requests: watch::Sender::default(), releases: Semaphore::new(0) })
    }
}

fn routes(shared: &Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(Arc::clone(shared))
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    shared.requests.send_modify(|requests| requests.push(format!("{} {path}", request.method())));
    let authorized = headers.get(header::AUTHORIZATION).is_some_and(|value| value == AUTHORIZATION);
    if shared.demands_credentials && !authorized {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"test\"")]).into_response();
    }
    if path == "/v2/" {
        return StatusCode::OK.into_response();
    }
    tokio::time::sleep(shared.delay).await;
    if path.starts_with(HELD) {
        shared.releases.acquire().await.unwrap().forget();
    }
    if path.starts_with(MISSING) {
        let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}"#;
        return (StatusCode::NOT_FOUND, body).into_response();
    }
    let mut response =
        ([(header::CONTENT_TYPE, "application/vnd.oci.image.manifest.v1+json")], MANIFEST).into_response();
    if !path.starts_with(BARE) {
        response.headers_mut().insert("docker-content-digest", digest().parse().unwrap());
    }
    if request.method() == Method::HEAD {
        *response.body_mut() = axum::body::Body::empty();
    }
    response
}

/// The digest of [`MANIFEST`].
pub(crate) fn digest() -> String {
    let hex: String = Sha256::digest(MANIFEST).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
