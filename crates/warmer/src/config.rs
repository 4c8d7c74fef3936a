//! The configuration as the service uses it: parsed, checked, and free of anything that could be wrong.
//!
//! [`document`] reads the YAML file and tells every mistake in it at once; nothing else constructs these types outside
//! of tests.

pub mod document;
pub(crate) mod small_file;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_core::project::{Project as Terms, Transfer};
use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timers::Timers;
use harbor_warmer_harbor::{Credentials, OwnPolicy, Secret};
use harbor_warmer_protocol::{HarborName, Platforms, ProjectName, TargetName};
pub use harbor_warmer_settings::{DurationError, duration_text, parse_duration};
use harbor_warmer_workload::RuleSet;

use crate::yaml::{NotText, text_of};

/// All that `harbor-warmer serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the queue lives: a directory on a local disk or a block volume.
    pub data_dir: PathBuf,
    /// The port that policy servers hand images over to.
    pub registry: RegistryPort,
    /// The port and the socket of the admin API.
    pub admin: AdminPort,
    /// A port for probes and metrics alone.
    pub probes: Option<ProbePort>,
    /// The bounded front for Harbor's manifests.
    pub front: Front,
    /// The queue and its workers.
    pub queue: Queue,
    /// The Harbors, by the name that rules and paths use.
    pub harbors: BTreeMap<HarborName, Harbor>,
    /// The replication targets, by the name that rules and paths use.
    pub targets: BTreeMap<TargetName, Target>,
    /// The mapping rules for `warm` and `plan` on the command line; the same as the policy's.
    pub rules: RuleSet,
    /// The platforms that `warm` and `plan` on the command line ask for.
    pub platforms: Platforms,
    /// Images that are kept warm whether or not a workload asks for them, as a workload would write them.
    pub pinned: Vec<String>,
}

/// The registry port.
#[derive(Clone, Debug)]
pub struct RegistryPort {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Who may hand over, each with the name that status and metrics call the cluster by. Empty: anybody.
    pub credentials: Vec<ClusterCredential>,
    /// Connections at once; one more waits to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send a request's headers, and to take an answer.
    pub client_timeout: Duration,
}

/// PEM files, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// One cluster's user name, and where its password stands.
#[derive(Clone, Debug)]
pub struct ClusterCredential {
    /// The user name: the cluster's name.
    pub cluster: String,
    /// Its password.
    pub password: Secret,
}

/// Where the admin API is.
#[derive(Clone, Debug)]
pub struct AdminPort {
    /// Address to listen on. On another one than a loopback address the API wants the token, and is closed without one.
    pub listen: SocketAddr,
    /// A Unix socket, for who may write to its file.
    pub socket: Option<PathBuf>,
    /// The file with the token, read again when it changes.
    pub token_file: Option<PathBuf>,
}

/// The port for probes and metrics.
#[derive(Clone, Debug)]
pub struct ProbePort {
    /// Address to listen on.
    pub listen: SocketAddr,
}

/// The bounded front: how long a policy's look-ups may wait for Harbor.
#[derive(Clone, Debug)]
pub struct Front {
    /// The most that one look-up may wait.
    pub wait: Duration,
    /// The most that the look-ups of one user may wait in sum within [`Front::budget_window`].
    pub budget: Duration,
    /// The time in which a spent budget is full again.
    pub budget_window: Duration,
    /// How long Harbor's answer to a tag is repeated.
    pub cache_for: Duration,
}

/// The queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Images worked on at once, at each Harbor.
    pub workers: usize,
    /// How long a worker holds an image before another may take it, renewed while it works.
    pub lease: Duration,
    /// A tag seen warm is looked at again when it is asked for after this.
    pub recheck_after: Duration,
    /// An image that keeps failing is a dead letter after this.
    pub give_up_after: Duration,
    /// A tag that its upstream doesn't have is asked for during this time.
    pub missing_tag_for: Duration,
    /// A replicated tag that is asked for so long after is replicated again: the target may have lost it.
    pub replicate_again_after: Duration,
    /// An image nobody asked for during this time is forgotten.
    pub forget_after: Duration,
    /// Images and tags of one cluster at most that are not finished.
    pub most_unfinished: usize,
}

/// One Harbor.
#[derive(Clone, Debug)]
pub struct Harbor {
    /// What its client has to know.
    pub options: harbor_warmer_harbor::Options,
    /// The proxy-cache projects that may be warmed.
    pub projects: BTreeMap<ProjectName, Project>,
    /// Requests for content under way at once: the first guess, and the bound that it may grow to.
    pub concurrency: Concurrency,
    /// Factor on Harbor's own waiting times. 1 for every real Harbor; less for a simulated one.
    pub time_scale: f64,
}

/// One proxy-cache project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// How blobs are asked for.
    pub transfer: Transfer,
    /// Whether the rest of an index is warmed after the wanted platforms, so that Harbor records its tag soon.
    pub complete_index: bool,
    /// A second proxy project of the same endpoint through which indexes are read.
    pub resolve_through: Option<ProjectName>,
    /// Whether an index that a workload names by its digest alone is warmed where reading it blocks its tags.
    pub warm_untagged: bool,
    /// Whether and when images that are still asked for are pulled again, so that the project's retention rules keep
    /// them.
    pub keep_warm: KeepWarm,
}

/// Whether and when an image is pulled again after its last pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepWarm {
    /// Not: images are left to the rules.
    Never,
    /// In half of the time of the project's rules, as far as the robot may read them; else after
    /// [`KeepWarm::USUALLY`].
    ByRule,
    /// After so long.
    Every(Duration),
}

impl KeepWarm {
    /// Half of the 7 days that Harbor gives a new proxy project.
    pub const USUALLY: Duration = Duration::from_secs(84 * 3_600);

    /// What holds as long as nobody has read the rules.
    pub fn every(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::ByRule => Some(Self::USUALLY),
            Self::Every(time) => Some(time),
        }
    }
}

/// Bounds of the adaptive concurrency of one Harbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Where it starts.
    pub initial: usize,
    /// What it never exceeds.
    pub max: usize,
}

/// A replication target: the registry that workloads pull from.
#[derive(Clone, Debug)]
pub struct Target {
    /// The Harbor that replicates to it.
    pub harbor: HarborName,
    /// Credentials with the right to start replications; never the pull robot's.
    pub credentials: Credentials,
    /// How its replication is started.
    pub replication: Replication,
}

/// How a replication is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// A policy of the warmer's own: its filters are set to exactly what is due before each start.
    Own(OwnPolicy),
    /// Somebody else's policy, started as it is.
    Existing {
        /// The policy's name in Harbor.
        policy: String,
    },
}

/// A log of SQLite grows to 4 MiB before it is written back, and forgetting a batch of units takes as much again.
const RESERVE_BYTES: u64 = 16 << 20;

impl Config {
    /// What the queue of these projects has to know.
    pub fn store_options(&self, projects: Arc<Projects>) -> harbor_warmer_store::Options {
        harbor_warmer_store::Options {
            recheck_after: self.queue.recheck_after,
            projects,
            most_unfinished: self.queue.most_unfinished,
            reserve_bytes: RESERVE_BYTES,
            timers: Timers::scaled_by(self.harbors.values().map(|harbor| harbor.time_scale).fold(1.0, f64::min)),
        }
    }

    /// The projects that may be warmed, all of them open.
    pub fn projects(&self) -> Projects {
        let terms = self.harbors.iter().flat_map(|(harbor_name, harbor)| {
            let targets: Vec<_> = self
                .targets
                .iter()
                .filter(|(_, target)| target.harbor == *harbor_name)
                .map(|(name, _)| name.clone())
                .collect();
            harbor.projects.iter().map(move |(project_name, project)| {
                let terms = Terms {
                    kind: harbor.options.kind,
                    transfer: project.transfer,
                    complete_index: project.complete_index,
                    resolves_through: project.resolve_through.is_some(),
                    skips_untagged: !project.warm_untagged,
                    timers: Timers::scaled_by(harbor.time_scale),
                    give_up_after: self.queue.give_up_after,
                    replicate_again_after: self.queue.replicate_again_after,
                    targets: targets.clone(),
                    keep_warm_every: project.keep_warm.every(),
                    pause: None,
                    strained: false,
                    probes_storage: false,
                };
                (harbor_name.clone(), project_name.clone(), terms)
            })
        });
        Projects::new(terms)
    }
}

/// One mistake in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1. For a missing key the map that it is missing from.
    pub line: u64,
    /// The column, from 1, in characters.
    pub column: u64,
    /// The key, as a path from the top, such as `harbors.main.url`; empty for a syntax error.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "line {}: {}", self.line, self.message)
        } else {
            write!(f, "line {}: {}: {}", self.line, self.path, self.message)
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is in no encoding that YAML has.
    #[error("the configuration {} is no text", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where, and what to do.
        source: NotText,
    },
    /// The file says something that can't be.
    #[error("{}", mistakes_text(.path, .mistakes))]
    Mistaken {
        /// The file.
        path: PathBuf,
        /// Every mistake, by line.
        mistakes: Vec<Mistake>,
    },
}

fn mistakes_text(path: &Path, mistakes: &[Mistake]) -> String {
    let count = match mistakes.len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    let mut text = format!("{count} in the configuration {}", path.display());
    for mistake in mistakes {
        text.push_str(&format!("\n  {}", mistake.to_string().replace('\n', "\n  ")));
    }
    text
}

/// Reads the configuration file.
///
/// # Errors
/// [`ConfigError`], whose text holds every mistake on a line of its own.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let text = text_of(bytes).map_err(|source| ConfigError::NotText { path: path.to_owned(), source })?;
    let directory = path.parent().unwrap_or(Path::new(""));
    document::parse(&text, directory).map_err(|mistakes| ConfigError::Mistaken { path: path.to_owned(), mistakes })
}
