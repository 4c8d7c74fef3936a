//! Runs the policy's `.wasm` as Kubewarden's policy-server does: for tests and the demo, never in a release.
//!
//! What a policy may do to a cluster depends on its host, so the host's awkward sides are here on purpose, as they
//! were measured on policy-server 1.36, and those of 1.38 as its sources and release notes tell them:
//!
//! - a fresh waPC instance for every request, so no state survives in the guest;
//! - OCI lookups by a real registry client that makes a new connection for every call, and turns a `HEAD` whose answer
//!   lacks `Docker-Content-Digest` into a `GET`;
//! - successes cached for 60 s ([`PolicyHostBuilder::cache_ttl`]), and up to Kubewarden 1.37 **one lock per capability**
//!   that is held while the registry answers and that cache hits wait for as well; from 1.38 one request per image that
//!   nothing else waits for, and 256 MiB of memory for an evaluation ([`PolicyHostBuilder::kubewarden`]);
//! - no timeout of host calls, and an evaluation timeout by wasmtime's epochs, which tick once a second and are only
//!   looked at while guest code runs;
//! - a limited number of workers, each evaluation holding one to its end;
//! - monitor mode, in which a timeout or a trap is an admission, and protect mode, in which it is a rejection.
//!
//! It deliberately has no other host capability, no policy groups, no signature verification and no Kubernetes client,
//! and knows nothing of this project's policy beyond where its `.wasm` is built ([`policy_wasm()`]).

mod admission;
mod cache;
mod capability;
mod console;
mod credentials;
mod host;
mod host_calls;
mod interactions;
mod kubewarden;
mod module;
mod policy_wasm;
mod registry;
mod sources;
mod webhook;

pub use admission::{AdmissionResponse, Mode, ReviewError, Status};
pub use capability::{AllowedCapabilities, Capability, CapabilityRequest, UnknownCapability};
pub use credentials::{DockerConfig, DockerConfigError};
pub use host::{BuildError, Evaluation, Outcome, PolicyHost, PolicyHostBuilder, SettingsValidation, Timings, Wasm};
pub use host_calls::HostCallError;
pub use interactions::{
    Exchange, InteractionsError, Recorded, Recording, ReplayError, parse_interactions, print_interactions,
};
pub use kubewarden::Kubewarden;
pub use policy_wasm::policy_wasm;
pub use sources::{RegistrySources, SourcesError};
pub use webhook::{BODY_MAX_BYTES, TlsIdentity, TlsIdentityError, Webhook};
