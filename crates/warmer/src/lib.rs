//! The service: takes hand-offs, keeps them in the durable queue, and makes each Harbor fetch and record its images.
//!
//! [`run`] is the whole of it; tests call it as the command line does. Decisions are made by the pure
//! [`harbor_warmer_core`]; [`harbor_warmer_store`] makes them durable, [`worker`] carries them out, and
//! [`harbor_warmer_harbor`] alone speaks to Harbor.

pub mod admin;
pub mod clock;
pub mod config;
mod front;
mod hand_off_by_rule;
mod harbors;
mod http;
mod intake;
mod lru;
mod maintenance;
mod manifests;
mod metrics;
mod places;
mod plan;
mod registry_port;
pub mod replication;
mod service;
#[cfg(test)]
mod test_harbor;
mod worker;
pub mod yaml;

pub use service::{Service, run};
