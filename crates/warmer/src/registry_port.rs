//! The port that policy servers hand images over to: a pull-only OCI registry whose manifests are receipts, and the
//! bounded front for Harbor's.
//!
//! A Kubewarden policy has no HTTP call, only OCI ones, so a hand-off *is* a manifest request; `harbor-warmer-protocol`
//! has the paths. As a policy server does it, each call is a new connection: handshake, `GET /v2/`, one manifest.
//!
//! A hand-off is answered once it is durable. What the configuration doesn't allow is answered with a receipt too, since
//! the text of an error is all but lost on its way to a person.

mod answer;
mod cluster_auth;
mod receipts;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use harbor_warmer_protocol::{
    Digest, EMPTY_CONFIG, EMPTY_CONFIG_DIGEST, HandOff, HarborImage, ImageState, Lookup, Receipt, RegistryRequest,
    TagOrDigest,
};
use http::header::AUTHORIZATION;
use http::{Method, Request};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config;
use crate::front::{Caller, Front, FrontError};
use crate::http::server::{Limits, Port};
use crate::http::tls::{ServerCertificate, TlsError};
use crate::intake::{Intake, IntakeError, IntakeResult};
use crate::metrics::Metrics;
use crate::registry_port::answer::{Answer, Code};
use crate::registry_port::cluster_auth::{ANONYMOUS, ClusterAuth, PasswordError};
use crate::registry_port::receipts::Receipts;

/// How often certificate and passwords are looked at. The kubelet itself takes up to a minute to update a mounted
/// secret.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// The port before it serves.
pub(crate) struct RegistryPort {
    port: Port,
    secrets: Arc<Secrets>,
    registry: Arc<Registry>,
    listening: Listening,
    reload_every: Duration,
}

/// Why the port can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryPortError {
    /// A password can't be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The certificate can't be served.
    #[error("the registry port's certificate can't be served")]
    Tls(#[from] TlsError),
}

/// Whether the port takes connections, for the readiness probe.
#[derive(Clone, Debug, Default)]
pub struct Listening(Arc<AtomicBool>);

/// What is read again while the port serves.
struct Secrets {
    clusters: ClusterAuth,
    certificate: Option<ServerCertificate>,
}

/// What answers requests.
struct Registry {
    intake: Arc<Intake>,
    front: Arc<Front>,
    receipts: Receipts,
    empty_config: Digest,
}

impl Listening {
    /// Whether it does.
    pub fn is_listening(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, listening: bool) {
        self.0.store(listening, Ordering::Release);
    }
}

impl RegistryPort {
    /// Reads certificate and passwords. Blocks on the files.
    ///
    /// # Errors
    /// One of them can't be used.
    pub(crate) fn new(
        config: &config::RegistryPort,
        intake: Arc<Intake>,
        front: Arc<Front>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RegistryPortError> {
        let certificate = config.tls.as_ref().map(ServerCertificate::load).transpose()?;
        let tls = certificate.as_ref().map(ServerCertificate::acceptor).transpose()?;
        let limits = Limits { max_connections: config.max_connections, client_timeout: config.client_timeout };
        let empty_config = EMPTY_CONFIG_DIGEST.parse().expect("the contract's constant is a digest");
        Ok(Self {
            port: Port { name: "registry", tls, limits, metrics: Some(metrics) },
            secrets: Arc::new(Secrets { clusters: ClusterAuth::load(&config.credentials)?, certificate }),
            registry: Arc::new(Registry { intake, front, receipts: Receipts::new(), empty_config }),
            listening: Listening::default(),
            reload_every: RELOAD_EVERY,
        })
    }

    /// Whether it takes connections, also once it serves.
    pub(crate) fn listening(&self) -> Listening {
        self.listening.clone()
    }

    /// Serves until the shutdown, and lets requests under way end.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let reloading = tokio::spawn(reload(Arc::clone(&self.secrets), self.reload_every, shutdown.clone()));
        let service_for = |peer| {
            let (registry, secrets) = (Arc::clone(&self.registry), Arc::clone(&self.secrets));
            service_fn(move |request| {
                let (registry, secrets) = (Arc::clone(&registry), Arc::clone(&secrets));
                async move { Ok::<_, Infallible>(registry.answer(&secrets, peer, &request).await) }
            })
        };
        self.listening.set(true);
        self.port.serve(listener, service_for, shutdown).await;
        self.listening.set(false);
        reloading.abort();
    }
}

/// Reads the files again and again. What can't be read is told once, until it can be again.
async fn reload(secrets: Arc<Secrets>, every: Duration, shutdown: CancellationToken) {
    let mut told = Vec::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shutdown.cancelled() => return,
        }
        let secrets = Arc::clone(&secrets);
        let Ok(faults) = tokio::task::spawn_blocking(move || secrets.reload()).await else { continue };
        for fault in faults.iter().filter(|fault| !told.contains(*fault)) {
            tracing::warn!(fault, "what was read before stays in use");
        }
        told = faults;
    }
}

impl Secrets {
    /// Reads the files again; what can't be read.
    fn reload(&self) -> Vec<String> {
        let mut faults: Vec<_> = self.clusters.reload().iter().map(ToString::to_string).collect();
        match self.certificate.as_ref().map(ServerCertificate::reload) {
            Some(Ok(true)) => tracing::info!("the registry port serves a new certificate"),
            Some(Err(error)) => faults.push(error.to_string()),
            Some(Ok(false)) | None => {}
        }
        faults
    }
}

impl Registry {
    async fn answer(&self, secrets: &Secrets, peer: IpAddr, request: &Request<Incoming>) -> Answer {
        let method = request.method();
        let answer = if method != Method::GET && method != Method::HEAD {
            answer::method_not_allowed()
        } else if !request.body().is_end_stream() {
            answer::body_not_allowed()
        } else {
            match secrets.clusters.authenticate(request.headers().get(AUTHORIZATION)) {
                Ok(cluster) => {
                    self.answer_caller(
                        &cluster.map_or(Caller::Peer(peer), Caller::Cluster),
                        method,
                        request.uri().path(),
                    )
                    .await
                }
                Err(_) => answer::error(
                    Code::Unauthorized,
                    "user name and password of a cluster are needed; the warmer's `registry.credentials` has them",
                ),
            }
        };
        answer::to_method(method, answer)
    }

    async fn answer_caller(&self, caller: &Caller, method: &Method, path: &str) -> Answer {
        let request = match RegistryRequest::parse(path) {
            Ok(request) => request,
            Err(error) => return answer::bad_request(&error),
        };
        let is_head = method == Method::HEAD;
        match request {
            RegistryRequest::Version => answer::version(),
            RegistryRequest::HandOff(hand_off) => self.hand_off(caller, hand_off, is_head).await,
            RegistryRequest::Manifest { image, reference } => self.manifest(caller, &image, reference, is_head).await,
            RegistryRequest::ReceiptByDigest { digest } => match self.receipts.find(&digest) {
                Some(bytes) => answer::manifest(bytes, answer::IMAGE_MANIFEST, digest),
                None => answer::error(Code::ManifestUnknown, "no receipt of that digest was given lately"),
            },
            RegistryRequest::Blob { digest } if digest == self.empty_config => {
                answer::blob(Bytes::from_static(EMPTY_CONFIG.as_bytes()), digest)
            }
            RegistryRequest::Blob { .. } => {
                answer::error(Code::BlobUnknown, "the warmer keeps no blobs; the only one here is the empty config")
            }
        }
    }

    /// A GET hands over. A HEAD only looks, so that no client hands anything over by being curious.
    async fn hand_off(&self, caller: &Caller, hand_off: HandOff, is_head: bool) -> Answer {
        let now = clock::now();
        let outcome = if is_head {
            self.intake.look_at(&hand_off).await
        } else {
            let known_root = self.front.known_root(&hand_off, now);
            self.intake.take(hand_off.clone(), cluster_of(caller), known_root, now).await
        };
        let receipt = match outcome {
            Ok(IntakeResult::Taken(handed_off)) => {
                let look_up = !handed_off.resolved && self.front.invites(caller, &hand_off, now);
                let lookup = if look_up { Lookup::Yes } else { Lookup::No };
                Receipt { state: handed_off.state, lookup, image: Some(handed_off.id), reason: handed_off.reason }
            }
            Ok(IntakeResult::Unknown) => {
                Receipt { state: ImageState::New, lookup: Lookup::No, image: None, reason: None }
            }
            Ok(IntakeResult::Refused(reason)) => {
                Receipt { state: ImageState::Refused, lookup: Lookup::No, image: None, reason: Some(reason) }
            }
            Err(error) => return unavailable(caller, &hand_off.image, &error),
        };
        let (bytes, digest) = self.receipts.issue(&receipt);
        answer::manifest(bytes, answer::IMAGE_MANIFEST, digest)
    }

    async fn manifest(&self, caller: &Caller, image: &HarborImage, reference: TagOrDigest, is_head: bool) -> Answer {
        if is_head {
            return match self.front.head(caller, image, &reference).await {
                Ok(head) => answer::manifest_head(head.digest, head.media_type.as_deref(), head.size_bytes),
                Err(error) => front_error(&error),
            };
        }
        let TagOrDigest::Digest(digest) = reference else {
            return answer::error(
                Code::ManifestUnknown,
                "a tag is not read through the front: ask for its digest with HEAD, then GET by digest",
            );
        };
        match self.front.get(caller, image, digest).await {
            Ok(body) => answer::manifest(body.bytes, &body.media_type, digest),
            Err(error) => front_error(&error),
        }
    }
}

/// The name in status and metrics.
fn cluster_of(caller: &Caller) -> &str {
    match caller {
        Caller::Cluster(cluster) => cluster,
        Caller::Peer(_) => ANONYMOUS,
    }
}

/// The one case in which an image is not handed over although it could be: worth a line each time.
fn unavailable(caller: &Caller, image: &HarborImage, error: &IntakeError) -> Answer {
    tracing::error!(
        cluster = cluster_of(caller),
        image.repository = %image,
        error = error as &dyn std::error::Error,
        "a hand-off can't be written down"
    );
    answer::error(Code::Unavailable, &error.to_string())
}

fn front_error(error: &FrontError) -> Answer {
    let code = match error {
        FrontError::NotAllowed(_) => Code::Denied,
        FrontError::Missing => Code::ManifestUnknown,
        FrontError::Deferred(_) | FrontError::Failed(_) => Code::Unavailable,
    };
    answer::error(code, &error.to_string())
}
