//! How a policy is hosted: the choices, with policy-server's defaults, and the host that they make.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use wasmtime_provider::EpochDeadlines;

use super::{PolicyHost, Shared};
use crate::admission::Mode;
use crate::cache;
use crate::capability::AllowedCapabilities;
use crate::host_calls::{HostCalls, Live};
use crate::interactions::{Exchange, Recording, Replay};
use crate::kubewarden::Kubewarden;
use crate::module::{CompileError, CompiledPolicy};
use crate::sources::RegistrySources;

/// `timeoutEvalSeconds` and `--policy-timeout` where nobody sets them.
const DEFAULT_EVAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How often policy-server advances the epoch. A timeout of 2 is thus one of 1 to 2 s: the first tick may come at once.
const DEFAULT_EPOCH_TICK: Duration = Duration::from_secs(1);

/// policy-server's default is the number of CPUs; this many make its queueing visible.
const DEFAULT_WORKERS: usize = 2;

/// How to run a policy. [`PolicyHost::builder`] has policy-server's defaults.
#[derive(Debug)]
pub struct PolicyHostBuilder {
    wasm: Option<Wasm>,
    settings: Value,
    registry: RegistrySources,
    mode: Mode,
    allowed: AllowedCapabilities,
    eval_timeout: Option<Duration>,
    epoch_tick: Duration,
    kubewarden: Kubewarden,
    cache_ttl: Duration,
    workers: usize,
    answers: Answers,
}

/// A policy's code. Made of a path or of bytes.
#[derive(Debug)]
pub enum Wasm {
    /// A file.
    Path(PathBuf),
    /// The module itself, in WebAssembly's binary or text format.
    Bytes(Vec<u8>),
}

#[derive(Debug)]
enum Answers {
    Live,
    Recorded(Recording),
    Replayed(Vec<Exchange>),
}

/// Why a policy can't be hosted.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The builder was given no policy.
    #[error("no policy was given")]
    NoPolicy,
    /// The file can't be read.
    #[error("cannot read the policy {path}")]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is no module that a waPC host can run.
    #[error("the policy cannot be compiled")]
    NotAPolicy(#[source] Box<dyn Error + Send + Sync>),
}

impl PolicyHost {
    /// A host with policy-server's defaults: protect mode, every capability granted, 2 s, a cache of 60 s, two workers,
    /// empty settings. It plays the Kubewarden whose one lock is hardest on a policy, up to 1.37.
    pub fn builder() -> PolicyHostBuilder {
        PolicyHostBuilder {
            wasm: None,
            settings: json!({}),
            registry: RegistrySources::default(),
            mode: Mode::Protect,
            allowed: AllowedCapabilities::all(),
            eval_timeout: Some(DEFAULT_EVAL_TIMEOUT),
            epoch_tick: DEFAULT_EPOCH_TICK,
            kubewarden: Kubewarden::default(),
            cache_ttl: cache::DEFAULT_TTL,
            workers: DEFAULT_WORKERS,
            answers: Answers::Live,
        }
    }
}

impl PolicyHostBuilder {
    /// The policy: a path or bytes.
    #[must_use]
    pub fn wasm(mut self, wasm: impl Into<Wasm>) -> Self {
        self.wasm = Some(wasm.into());
        self
    }

    /// The policy's settings, `{}` by default. They are not validated here: [`PolicyHost::validate_settings`].
    #[must_use]
    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    /// How registries are reached.
    #[must_use]
    pub fn registry(mut self, registry: RegistrySources) -> Self {
        self.registry = registry;
        self
    }

    /// Monitor or protect.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The host capabilities granted to the policy, all by default.
    #[must_use]
    pub fn allowed_capabilities(mut self, allowed: AllowedCapabilities) -> Self {
        self.allowed = allowed;
        self
    }

    /// The evaluation timeout, 2 s by default, counted in whole epoch ticks and rounded up; `None` as in `kwctl run`.
    #[must_use]
    pub fn eval_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.eval_timeout = timeout.into();
        self
    }

    /// How often the epoch advances, 1 s by default. Shorter ticks only serve tests that can't wait.
    #[must_use]
    pub fn epoch_tick(mut self, tick: Duration) -> Self {
        self.epoch_tick = tick;
        self
    }

    /// Which Kubewarden is played, up to 1.37 by default.
    #[must_use]
    pub fn kubewarden(mut self, kubewarden: Kubewarden) -> Self {
        self.kubewarden = kubewarden;
        self
    }

    /// How long successful lookups are remembered, 60 s by default.
    #[must_use]
    pub fn cache_ttl(mut self, ttl: Duration) -> Self {
        self.cache_ttl = ttl;
        self
    }

    /// How many evaluations run at a time, 2 by default. None at all would never answer, so 0 is taken as 1.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Answers host calls as recorded, in order, and asks no registry.
    #[must_use]
    pub fn replay(mut self, exchanges: Vec<Exchange>) -> Self {
        self.answers = Answers::Replayed(exchanges);
        self
    }

    /// Records what registries answer.
    #[must_use]
    pub fn record(mut self, recording: Recording) -> Self {
        self.answers = Answers::Recorded(recording);
        self
    }

    /// Compiles the policy, unless this process has compiled it before.
    pub fn build(self) -> Result<PolicyHost, BuildError> {
        // The registry client takes the process's default provider. One that is installed already serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wasm = self.wasm.ok_or(BuildError::NoPolicy)?.into_bytes()?;
        let policy = CompiledPolicy::compile(&wasm, self.epoch_tick, self.kubewarden.memory_max_bytes())?;
        let ticks = ticks(self.eval_timeout, self.epoch_tick);
        let live = |registry| Live::new(registry, self.kubewarden, self.cache_ttl);
        let host_calls = match self.answers {
            Answers::Live => HostCalls::Live(live(self.registry)),
            Answers::Recorded(recording) => HostCalls::Recorded(live(self.registry), recording),
            Answers::Replayed(exchanges) => HostCalls::Replayed(Replay::new(exchanges)),
        };
        let shared = Shared {
            policy,
            deadlines: EpochDeadlines { wapc_init: ticks, wapc_func: ticks },
            settings: self.settings,
            mode: self.mode,
            allowed: self.allowed,
            host_calls,
            workers: Arc::new(Semaphore::new(self.workers)),
        };
        Ok(PolicyHost { shared: Arc::new(shared) })
    }
}

/// The deadline in ticks from now. It is added to the current epoch, so "never" is half the range.
fn ticks(timeout: Option<Duration>, tick: Duration) -> u64 {
    const NEVER: u64 = u64::MAX / 2;
    let Some(timeout) = timeout else { return NEVER };
    let ticks = timeout.as_nanos().div_ceil(tick.as_nanos().max(1));
    u64::try_from(ticks).unwrap_or(NEVER).clamp(1, NEVER)
}

impl Wasm {
    fn into_bytes(self) -> Result<Vec<u8>, BuildError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Path(path) => std::fs::read(&path).map_err(|source| BuildError::Unreadable { path, source }),
        }
    }
}

impl From<PathBuf> for Wasm {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&Path> for Wasm {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<Vec<u8>> for Wasm {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<CompileError> for BuildError {
    fn from(error: CompileError) -> Self {
        Self::NotAPolicy(Box::new(error))
    }
}
