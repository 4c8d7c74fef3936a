//! The validating webhook that an API server talks to: AdmissionReview in, AdmissionReview out.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::host::PolicyHost;

/// The largest body, as axum limits policy-server's. Larger ones are answered 413.
pub const BODY_MAX_BYTES: usize = 2 * 1024 * 1024;

/// How long a client may take for its TLS handshake before its connection is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound webhook.
pub struct Webhook {
    listener: TcpListener,
    local_addr: SocketAddr,
    tls: Option<TlsIdentity>,
    routes: Router,
}

/// A certificate chain with its key.
#[derive(Clone)]
pub struct TlsIdentity(TlsAcceptor);

/// Why a certificate and key can't be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsIdentityError {
    /// A file is missing or not PEM.
    #[error("cannot read {path}")]
    Unreadable {
        /// The certificate's or the key's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// They do not belong together, or are of a kind that rustls does not serve.
    #[error("the certificate and its key cannot be served")]
    Unusable(#[source] rustls::Error),
}

/// Accepts TLS connections. Handshakes are made on tasks of their own, so a slow client delays nobody else.
struct TlsListener {
    connections: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local_addr: SocketAddr,
}

#[derive(Clone)]
struct Hosted {
    policy_id: Arc<str>,
    host: PolicyHost,
}

impl Webhook {
    /// Binds `addr`, in plain HTTP without an identity. The policy answers at `/validate/<policy_id>`.
    pub async fn bind(
        addr: SocketAddr,
        tls: Option<TlsIdentity>,
        policy_id: &str,
        host: PolicyHost,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let routes = Router::new()
            .route("/readiness", get(async || StatusCode::OK))
            .route("/validate/{policy_id}", post(validate))
            .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
            .with_state(Hosted { policy_id: policy_id.into(), host });
        Ok(Self { listener, local_addr, tls, routes })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` completes and the requests under way are answered.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        match self.tls {
            None => axum::serve(self.listener, self.routes).with_graceful_shutdown(shutdown).await,
            Some(tls) => {
                let listener = TlsListener::new(self.listener, self.local_addr, tls);
                axum::serve(listener, self.routes).with_graceful_shutdown(shutdown).await
            }
        }
    }
}

/// Parses the body by hand: policy-server answers 422 to what is no AdmissionReview, and so does serde_json's limit of
/// 128 levels of nesting.
async fn validate(State(hosted): State<Hosted>, UrlPath(policy_id): UrlPath<String>, body: Bytes) -> Response {
    if *policy_id != *hosted.policy_id {
        return (StatusCode::NOT_FOUND, format!("there is no policy {policy_id}")).into_response();
    }
    let review = match serde_json::from_slice(&body) {
        Ok(review) => review,
        Err(error) => return (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    };
    match hosted.host.admission_review(&review).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
}

impl TlsIdentity {
    /// Reads a PEM chain and its PEM key.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsIdentityError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsIdentityError::Unreadable { path, source }
        };
        let chain =
            CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(unreadable(certificate))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(TlsIdentityError::Unusable)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

impl TlsListener {
    fn new(listener: TcpListener, local_addr: SocketAddr, TlsIdentity(acceptor): TlsIdentity) -> Self {
        // Not more than a few finished handshakes wait for axum, which takes them at once.
        let (sender, connections) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut listener = listener;
            while !sender.is_closed() {
                // axum's own accept, which rides out errors such as too many open files.
                let (stream, peer) = Listener::accept(&mut listener).await;
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        // A receiver that is gone has shut down.
                        Ok(Ok(stream)) => drop(sender.send((stream, peer)).await),
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
                    }
                });
            }
        });
        Self { connections, local_addr }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            // The accepting task has ended with its runtime; there is nothing more to wait for.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.local_addr)
    }
}
