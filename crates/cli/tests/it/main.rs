//! The whole service against a simulated Harbor that shares no code with it.

#![expect(clippy::unwrap_used, reason = "the helpers below the tests are tests as well")]

mod admin_access;
mod admission;
mod backlog;
mod burst;
mod configuration;
mod contract;
mod crowd;
mod distribution;
mod faults;
mod killed;
mod places;
mod policy_server;
mod process;
mod replication;
mod screens;
mod sharing;
mod shutdown;
mod site;
mod warming;
