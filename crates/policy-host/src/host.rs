//! The host itself: settings, workers, and one evaluation from request to response.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wapc::WapcHost;
use wasmtime_provider::EpochDeadlines;

use crate::admission::{self, AdmissionResponse, Mode, ReviewError, Verdict};
use crate::cache;
use crate::capability::{AllowedCapabilities, Capability, CapabilityRequest};
use crate::console::Capture;
use crate::host_calls::{self, HostCalls, Live};
use crate::interactions::{Exchange, Recording, Replay};
use crate::module::{CompileError, CompiledPolicy};
use crate::sources::RegistrySources;

/// `timeoutEvalSeconds` and `--policy-timeout` where nobody sets them.
const DEFAULT_EVAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How often policy-server advances the epoch. A timeout of 2 is thus one of 1 to 2 s: the first tick may come at once.
const DEFAULT_EPOCH_TICK: Duration = Duration::from_secs(1);

/// policy-server's default is the number of CPUs; this many make its queueing visible.
const DEFAULT_WORKERS: usize = 2;

/// The text by which policy-evaluator, too, recognises a timeout: wasmtime-provider has no typed error for it.
const DEADLINE_EXCEEDED: &str = "execution deadline exceeded";

/// One policy on one policy server. Clones are the same policy server: they share workers and caches.
#[derive(Clone)]
pub struct PolicyHost {
    shared: Arc<Shared>,
}

struct Shared {
    policy: CompiledPolicy,
    deadlines: EpochDeadlines,
    settings: Value,
    mode: Mode,
    allowed: AllowedCapabilities,
    host_calls: HostCalls,
    workers: Arc<Semaphore>,
}

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

/// What the policy says of its settings. A policy server does not start with invalid ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsValidation {
    /// Whether they are valid.
    pub valid: bool,
    /// Why they are not.
    pub message: Option<String>,
}

/// One request's way through the policy.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// What the API server is told, with the mode applied.
    pub response: AdmissionResponse,
    /// The policy's own answer, byte for byte, where it gave one.
    pub answer: Option<Vec<u8>>,
    /// What the policy logged: the JSON of each `tracing/log` event in order, then its console lines.
    pub logs: Vec<String>,
    /// From the request's arrival to the answer, the wait for a worker included.
    pub duration: Duration,
    /// Where the time went.
    pub timings: Timings,
    /// How it ended.
    pub outcome: Outcome,
}

/// Where an evaluation's time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Making the fresh instance.
    pub instantiation: Duration,
    /// In guest code, host calls excluded.
    pub guest: Duration,
    /// In host calls, the wait for a capability's lock included.
    pub host_calls: Duration,
}

/// How an evaluation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The policy answered.
    Completed,
    /// The epoch deadline had passed when guest code went on.
    TimedOut,
    /// The guest panicked, trapped, returned an error, or answered something that is no ValidationResponse.
    Trapped {
        /// In the host's words.
        reason: String,
    },
}

/// What a call into a fresh instance gave.
struct GuestCall {
    result: Result<Vec<u8>, GuestError>,
    logs: Vec<String>,
    timings: Timings,
}

enum GuestError {
    /// The instance could not be made: monitor mode does not cover this.
    Init(String),
    TimedOut,
    Failed(String),
}

/// What host calls leave behind.
#[derive(Default)]
struct CallRecord {
    logs: Mutex<Vec<String>>,
    nanoseconds: AtomicU64,
}

impl PolicyHost {
    /// A host with policy-server's defaults: protect mode, every capability granted, 2 s, a cache of 60 s, two workers,
    /// empty settings.
    pub fn builder() -> PolicyHostBuilder {
        PolicyHostBuilder {
            wasm: None,
            settings: json!({}),
            registry: RegistrySources::default(),
            mode: Mode::Protect,
            allowed: AllowedCapabilities::all(),
            eval_timeout: Some(DEFAULT_EVAL_TIMEOUT),
            epoch_tick: DEFAULT_EPOCH_TICK,
            cache_ttl: cache::DEFAULT_TTL,
            workers: DEFAULT_WORKERS,
            answers: Answers::Live,
        }
    }

    /// Asks the policy whether its settings are valid.
    pub async fn validate_settings(&self) -> SettingsValidation {
        let settings = self.shared.settings.to_string().into_bytes();
        let message = match self.call("validate_settings", settings).await.result {
            Ok(answer) => match serde_json::from_slice(&answer) {
                Ok(validation) => return validation,
                Err(error) => format!("error: {error}"),
            },
            Err(GuestError::TimedOut) => admission::TIMED_OUT.to_owned(),
            Err(GuestError::Init(reason) | GuestError::Failed(reason)) => {
                format!("Error invoking settings validation callback: {reason}")
            }
        };
        SettingsValidation { valid: false, message: Some(message) }
    }

    /// Evaluates an AdmissionRequest, given to the policy with its settings as policy-server does. A policy server
    /// parses the request into its own type first and leaves out what is null.
    pub async fn validate(&self, request: &Value) -> Evaluation {
        let uid = request.get("uid").and_then(Value::as_str).unwrap_or_default();
        let payload = match request.as_object() {
            Some(fields) => {
                let fields: BTreeMap<_, _> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
                json!({"request": fields, "settings": self.shared.settings})
            }
            None => json!({"request": request, "settings": self.shared.settings}),
        };
        self.evaluate(uid.to_owned(), payload.to_string().into_bytes()).await
    }

    /// Hands any bytes to the policy's `validate`, as no policy server would.
    pub async fn validate_raw(&self, payload: impl Into<Vec<u8>>) -> Evaluation {
        self.evaluate(String::new(), payload.into()).await
    }

    /// Answers an AdmissionReview with an AdmissionReview.
    pub async fn admission_review(&self, review: &Value) -> Result<Value, ReviewError> {
        let evaluation = self.validate(admission::request_of(review)?).await;
        Ok(admission::review_of(&evaluation.response))
    }

    /// The recorded exchanges that no evaluation has asked for; empty when nothing is replayed.
    pub fn unreplayed(&self) -> Vec<Exchange> {
        match &self.shared.host_calls {
            HostCalls::Replayed(replay) => replay.leftovers(),
            HostCalls::Live(_) | HostCalls::Recorded(..) => Vec::new(),
        }
    }

    async fn evaluate(&self, uid: String, payload: Vec<u8>) -> Evaluation {
        let arrived = Instant::now();
        let GuestCall { result, logs, timings } = self.call("validate", payload).await;
        let parsed = result.and_then(|answer| match serde_json::from_slice::<Verdict>(&answer) {
            Ok(verdict) => Ok((answer, verdict)),
            Err(error) => Err(GuestError::Failed(format!("invalid response format: {error}"))),
        });
        let mode = self.shared.mode;
        let (answer, response, outcome) = match parsed {
            Ok((answer, verdict)) => {
                (Some(answer), AdmissionResponse::of_verdict(uid, verdict).in_mode(mode), Outcome::Completed)
            }
            Err(GuestError::TimedOut) => {
                let response = AdmissionResponse::internal_error(uid, admission::TIMED_OUT.to_owned());
                (None, response.in_mode(mode), Outcome::TimedOut)
            }
            Err(GuestError::Failed(reason)) => {
                let response = AdmissionResponse::internal_error(uid, reason.clone()).in_mode(mode);
                (None, response, Outcome::Trapped { reason })
            }
            Err(GuestError::Init(reason)) => {
                (None, AdmissionResponse::internal_error(uid, reason.clone()), Outcome::Trapped { reason })
            }
        };
        Evaluation { response, answer, logs, duration: arrived.elapsed(), timings, outcome }
    }

    /// Calls the guest on a thread of its own. The worker is given back when the guest is through, even if nobody waits
    /// for its answer any more.
    async fn call(&self, operation: &'static str, payload: Vec<u8>) -> GuestCall {
        let shared = Arc::clone(&self.shared);
        let runtime = Handle::current();
        let permit = Arc::clone(&shared.workers).acquire_owned().await;
        let called = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shared.call_guest(operation, &payload, runtime)
        });
        called.await.unwrap_or_else(|error| GuestCall {
            result: Err(GuestError::Failed(format!("the host gave up: {error}"))),
            logs: Vec::new(),
            timings: Timings::default(),
        })
    }
}

impl Shared {
    fn call_guest(self: &Arc<Self>, operation: &str, payload: &[u8], runtime: Handle) -> GuestCall {
        let record = Arc::new(CallRecord::default());
        let console = Capture::start();
        let started = Instant::now();
        let instance = self.instantiate(Arc::clone(&record), runtime);
        let mut timings = Timings { instantiation: started.elapsed(), ..Timings::default() };
        let result = instance.and_then(|instance| {
            let called = Instant::now();
            let result = instance.call(operation, payload).map_err(|error| GuestError::of_call(&error));
            timings.host_calls = Duration::from_nanos(record.nanoseconds.load(Ordering::Relaxed));
            timings.guest = called.elapsed().saturating_sub(timings.host_calls);
            result
        });
        let mut logs = std::mem::take(&mut *record.logs.lock().unwrap_or_else(PoisonError::into_inner));
        logs.extend(console.finish());
        GuestCall { result, logs, timings }
    }

    fn instantiate(self: &Arc<Self>, record: Arc<CallRecord>, runtime: Handle) -> Result<WapcHost, GuestError> {
        let engine =
            self.policy.pre().rehydrate(Some(self.deadlines)).map_err(|error| GuestError::Init(error.to_string()))?;
        let shared = Arc::clone(self);
        let callback = move |_module: u64, binding: &str, namespace: &str, operation: &str, payload: &[u8]| {
            let called = Instant::now();
            let answer = shared.host_call(&record, &runtime, [binding, namespace, operation], payload);
            let nanoseconds = u64::try_from(called.elapsed().as_nanos()).unwrap_or(u64::MAX);
            record.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
            answer.map_err(Into::into)
        };
        WapcHost::new(Box::new(engine), Some(Box::new(callback))).map_err(|error| GuestError::Init(error.to_string()))
    }

    /// Answers the guest. It waits here without any limit, and no epoch is looked at meanwhile.
    fn host_call(
        &self,
        record: &CallRecord,
        runtime: &Handle,
        [binding, namespace, operation]: [&str; 3],
        payload: &[u8],
    ) -> Result<Vec<u8>, String> {
        if binding != "kubewarden" {
            return Err(format!("unknown binding: {binding}"));
        }
        if (namespace, operation) == ("tracing", "log") {
            let line = String::from_utf8_lossy(payload).into_owned();
            record.logs.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            return Ok(Vec::new());
        }
        let path = format!("{namespace}/{operation}");
        if !self.allowed.allows(&path) {
            return Err(format!(
                "Policy has not been granted access to the '{path}' host capability. The violation has been reported."
            ));
        }
        let capability =
            Capability::of_operation(namespace, operation).ok_or_else(|| format!("unknown operation: {operation}"))?;
        let image = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        let request = CapabilityRequest { capability, image };
        runtime.block_on(self.host_calls.answer(&request)).map_err(|error| host_calls::as_guests_read_it(&error))
    }
}

impl GuestError {
    fn of_call(error: &wapc::errors::Error) -> Self {
        let reason = error.to_string();
        match reason.contains(DEADLINE_EXCEEDED) {
            true => Self::TimedOut,
            false => Self::Failed(reason),
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
        let policy = CompiledPolicy::compile(&wasm, self.epoch_tick)?;
        let ticks = ticks(self.eval_timeout, self.epoch_tick);
        let live = |registry| Live::new(registry, self.cache_ttl);
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
