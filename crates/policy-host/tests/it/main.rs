//! The policy host against a registry of its own, and this project's policy against hostile payloads.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod capabilities;
mod command;
mod guests;
mod hostile;
mod lookups;
mod registry;
mod timeouts;
mod webhook;
