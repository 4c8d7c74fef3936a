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
mod failures;
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
use crate::http::server::{Limits, Port, Proof, Visitor, Watcher};
use crate::http::tls::{ServerCertificate, TlsError};
use crate::intake::{Intake, IntakeError, IntakeResult};
use crate::metrics::{HandOffFailure, Metrics};
use crate::registry_port::answer::{Answer, Code};
use crate::registry_port::cluster_auth::{ANONYMOUS, ClusterAuth, PasswordError, Unauthorized};
use crate::registry_port::failures::Failures;
use crate::registry_port::receipts::Receipts;
use crate::service::heartbeat::Heartbeat;

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
    failures: Arc<Failures>,
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
        heartbeat: Heartbeat,
    ) -> Result<Self, RegistryPortError> {
        let certificate = config.tls.as_ref().map(ServerCertificate::load).transpose()?;
        let tls = certificate.as_ref().map(ServerCertificate::acceptor).transpose()?;
        let limits = Limits { max_connections: config.max_connections, client_timeout: config.client_timeout };
        let empty_config = EMPTY_CONFIG_DIGEST.parse().expect("the contract's constant is a digest");
        let failures = Arc::new(Failures::new(metrics));
        let watcher = Some(Arc::clone(&failures) as Arc<dyn Watcher>);
        Ok(Self {
            port: Port { name: "registry", tls, limits, proof: Proof::Service, watcher, heartbeat: Some(heartbeat) },
            secrets: Arc::new(Secrets { clusters: ClusterAuth::load(&config.credentials)?, certificate }),
            registry: Arc::new(Registry { intake, front, receipts: Receipts::new(), empty_config, failures }),
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
        let reloading = reload(Arc::clone(&self.secrets), self.reload_every, shutdown.clone());
        let service_for = |visitor: Visitor| {
            let (registry, secrets) = (Arc::clone(&self.registry), Arc::clone(&self.secrets));
            service_fn(move |request| {
                let (registry, secrets, visitor) = (Arc::clone(&registry), Arc::clone(&secrets), visitor.clone());
                async move { Ok::<_, Infallible>(registry.answer(&secrets, &visitor, &request).await) }
            })
        };
        self.listening.set(true);
        // One task: if either of them panics, the port ends, and the service with it.
        tokio::join!(self.port.serve(listener, service_for, shutdown), reloading);
        self.listening.set(false);
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
    async fn answer(&self, secrets: &Secrets, visitor: &Visitor, request: &Request<Incoming>) -> Answer {
        let (method, path, peer) = (request.method(), request.uri().path(), visitor.peer);
        let cluster = match secrets.clusters.authenticate(request.headers().get(AUTHORIZATION)) {
            Ok(cluster) => cluster,
            Err(why) => return answer::to_method(method, self.challenge(path, peer, &why)),
        };
        visitor.has_proved();
        let answer = if method != Method::GET && method != Method::HEAD {
            answer::method_not_allowed()
        } else if !request.body().is_end_stream() {
            answer::body_not_allowed()
        } else {
            let caller = cluster.map_or(Caller::Peer(peer), Caller::Cluster);
            let answering = Answering { failures: &self.failures, caller: &caller, peer, done: false };
            let answer = self.answer_caller(&caller, peer, method, path).await;
            answering.done();
            answer
        };
        answer::to_method(method, answer)
    }

    /// Every OCI client asks for `/v2/` without credentials first, so that alone is no failure.
    fn challenge(&self, path: &str, peer: IpAddr, why: &Unauthorized) -> Answer {
        let advice = "user name and password of a cluster are needed; the warmer's `registry.credentials` has them";
        let asked = matches!(RegistryRequest::parse(path), Ok(RegistryRequest::Version));
        match why {
            Unauthorized::NoCredentials if asked => {}
            Unauthorized::NoCredentials => {
                self.failures.count(HandOffFailure::NoCredentials, peer, "", &"it is refused");
            }
            Unauthorized::UnknownUser => self.failures.count(HandOffFailure::UnknownUser, peer, "", &"it is refused"),
            Unauthorized::WrongPassword(cluster) => {
                self.failures.count(HandOffFailure::WrongPassword, peer, cluster, &"it is refused");
            }
        }
        answer::error(Code::Unauthorized, advice)
    }

    async fn answer_caller(&self, caller: &Caller, peer: IpAddr, method: &Method, path: &str) -> Answer {
        let request = match RegistryRequest::parse(path) {
            Ok(request) => request,
            Err(error) => {
                self.failures.count(HandOffFailure::OutsideTheContract, peer, cluster_of(caller), &error);
                return answer::bad_request(&error);
            }
        };
        let is_head = method == Method::HEAD;
        match request {
            RegistryRequest::Version => answer::version(),
            RegistryRequest::HandOff(hand_off) => self.hand_off(caller, peer, hand_off, is_head).await,
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
    async fn hand_off(&self, caller: &Caller, peer: IpAddr, hand_off: HandOff, is_head: bool) -> Answer {
        let now = clock::now();
        let outcome = if is_head {
            self.intake.look_at(&hand_off, cluster_of(caller), now).await
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
                self.failures.count(HandOffFailure::Refused, peer, cluster_of(caller), &reason);
                Receipt { state: ImageState::Refused, lookup: Lookup::No, image: None, reason: Some(reason) }
            }
            Err(error) => return self.unavailable(caller, peer, &hand_off.image, &error),
        };
        let (bytes, digest) = self.receipts.issue(&receipt);
        answer::manifest(bytes, answer::IMAGE_MANIFEST, digest)
    }

    /// The one case in which an image is not handed over although it could be.
    fn unavailable(&self, caller: &Caller, peer: IpAddr, image: &HarborImage, error: &IntakeError) -> Answer {
        let failure = match error {
            IntakeError::TooSlow => HandOffFailure::TooSlow,
            IntakeError::Store(_) => HandOffFailure::NotWritten,
        };
        self.failures.count(failure, peer, cluster_of(caller), &format_args!("{image}: {error}"));
        answer::error(Code::Unavailable, &error.to_string())
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

/// A request that is being answered. Dropped before it is done, its client has gone.
struct Answering<'a> {
    failures: &'a Failures,
    caller: &'a Caller,
    peer: IpAddr,
    done: bool,
}

impl Answering<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if !self.done {
            let who = cluster_of(self.caller);
            self.failures.count(HandOffFailure::Abandoned, self.peer, who, &"what it handed over stands all the same");
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

fn front_error(error: &FrontError) -> Answer {
    let code = match error {
        FrontError::NotAllowed(_) => Code::Denied,
        FrontError::Missing => Code::ManifestUnknown,
        FrontError::Deferred(_) | FrontError::Failed(_) => Code::Unavailable,
    };
    answer::error(code, &error.to_string())
}
