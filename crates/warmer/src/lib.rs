//! The warmer: pulls images through Harbor's proxy caches from a durable queue, and proves that Harbor has them.
//!
//! [`run`] is the whole service; tests call it as `main` does. Decisions are made by the pure [`image`] and
//! [`announcement`]; [`store`] makes them durable, [`worker`] carries them out, and [`harbor`] alone speaks to Harbor.

pub mod admin;
pub mod announcement;
mod arrival;
pub mod attempts;
pub mod backlog;
pub mod check;
pub mod cli;
pub mod clock;
pub mod cluster_auth;
pub mod config;
mod connections;
pub mod copies;
pub mod front;
pub mod harbor;
pub mod hindrance;
pub mod image;
pub mod import_veradco;
pub mod intake;
pub mod limiter;
mod lookup;
pub mod manifest;
pub mod metrics;
pub mod plan;
pub mod project;
pub mod projects;
mod recent;
pub mod registry_port;
pub mod replicator;
pub mod retention;
mod service;
pub mod store;
mod survey;
mod targets;
#[cfg(test)]
mod test_harbor;
pub mod timers;
pub mod tls;
pub mod transfers;
mod upkeep;
pub mod view;
pub mod worker;

pub use service::{Service, run};
