//! The host itself: workers, and one evaluation from request to response.

use std::collections::BTreeMap;
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
use crate::capability::{AllowedCapabilities, Capability, CapabilityRequest};
use crate::console::Capture;
use crate::host_calls::{self, HostCalls};
use crate::interactions::Exchange;
use crate::module::CompiledPolicy;

mod builder;

pub use builder::{BuildError, PolicyHostBuilder, Wasm};

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
