//! The only place that speaks to Harbor: its registry API, its own API, and what its answers mean.
//!
//! [`Client`] is one Harbor, or one pull-through cache of CNCF Distribution. A call is one question: nothing here retries, waits for Harbor's timers or decides what follows; that is the
//! core's. No blob is ever held whole.
//!
//! # Two kinds
//! With [`HarborKind::Harbor`] a repository's path on the wire is `<project>/<repository>`. A pull-through cache of
//! Distribution has no projects: with [`HarborKind::Distribution`] the path is `<repository>` alone, and the project
//! is a label in the configuration and in the warmer's own names.
//!
//! On Harbor, `HEAD` of a blob says whether it is *local* and costs nothing. On Distribution it says nothing: a HEAD of
//! an absent blob fetches it whole before it answers, and while a fetch is under way a further HEAD is answered from
//! the upstream, stored or not. What tells is a GET of the first byte: Distribution gives a part of what it has stored,
//! and all of what it hasn't (`proxyBlobStore.ServeBlob` ignores the range then). It starts a transfer where there is
//! none, so it is asked after [`Client::touch_blob`] and not before.

mod api;
mod credentials;
pub mod docker_config;
mod errors;
mod lookup;
mod options;
mod redirect;
mod registry;
mod replication;
mod request;
pub mod retention;
mod robot;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
mod transport;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use harbor_warmer_core::project::HarborKind;
use harbor_warmer_protocol::{HarborImage, HarborName, ProjectName, RepositoryPath};

pub use api::{Artifact, ProjectSummary, SystemInfo};
pub use errors::{AnswerClass, Barred, HarborError, Heals, Interception, Invalid, Refusal, StorageFault};
pub use lookup::look_up;
pub use options::{Credentials, Options, OwnPolicy, Secret};
pub use registry::{BlobHead, MANIFEST_MAX_BYTES, ManifestBody, ManifestHead, Upstream};
pub use replication::{
    Destination, Endpoint, Execution, ExecutionId, Filters, Naming, NewPolicy, Parts, Policy, PolicyId,
    ReplicationClient, ReplicationRight, ReplicationStatus, ReplicationTask, Unnameable,
};
pub use robot::RobotExpiry;
pub use tls::cause_of;
pub use transport::install_crypto_provider;

use transport::Transport;

/// One Harbor. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    name: HarborName,
    transport: Transport,
    counters: Arc<dyn Counters>,
}

/// What is counted of a Harbor's answers; the service hands in its metrics.
pub trait Counters: Send + Sync {
    /// Harbor answered; `class` is one of a small fixed set.
    fn answered(&self, harbor: &HarborName, class: &'static str);

    /// So many bytes of a blob came in.
    fn blob_bytes(&self, bytes: u64);
}

/// Counts nothing: for a program that asks once and ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uncounted;

impl Counters for Uncounted {
    fn answered(&self, _harbor: &HarborName, _class: &'static str) {}

    fn blob_bytes(&self, _bytes: u64) {}
}

/// A repository of a Harbor: the place that manifests and blobs live in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// The proxy-cache project; for a Distribution cache no more than a label.
    pub project: ProjectName,
    /// The repository as the upstream names it.
    pub repository: RepositoryPath,
}

/// Why there can be no client for a configured Harbor.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of certificate authorities can't be read.
    #[error("caFile {}: can't be read", path.display())]
    CaFileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of certificate authorities holds none, or something else.
    #[error("caFile {}: is not a list of PEM certificates", path.display())]
    CaFileInvalid {
        /// The file.
        path: PathBuf,
    },
    /// The environment variable that should hold the secret isn't set.
    #[error("the environment variable {0} that should hold a secret is not set")]
    EnvironmentUnset(String),
    /// The HTTP client can't be built: no certificate authorities on this system, as a rule.
    #[error("no HTTP client: {cause}; name the certificate authorities with `caFile`")]
    Http {
        /// The innermost cause.
        cause: String,
        /// The whole chain.
        #[source]
        source: reqwest::Error,
    },
}

impl Client {
    /// A client of the Harbor that the configuration calls `name`. Connects to nothing yet.
    ///
    /// # Errors
    /// What the options name can't be used; credentials are looked at with the first request.
    pub fn new(name: HarborName, options: &Options, counters: Arc<dyn Counters>) -> Result<Self, ClientError> {
        let transport = Transport::new(options)?;
        Ok(Self { shared: Arc::new(Shared { name, transport, counters }) })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &HarborName {
        &self.shared.name
    }

    /// What speaks there.
    pub fn kind(&self) -> HarborKind {
        self.shared.transport.kind()
    }

    fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    /// Counts an answer by its class.
    fn counted<T>(&self, answer: Result<T, HarborError>) -> Result<T, HarborError> {
        let class = answer.as_ref().map_or_else(|error| error.class().label(), |_| "ok");
        self.shared.counters.answered(&self.shared.name, class);
        answer
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl From<&HarborImage> for Repository {
    fn from(image: &HarborImage) -> Self {
        Self { project: image.project.clone(), repository: image.repository.clone() }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.repository)
    }
}
