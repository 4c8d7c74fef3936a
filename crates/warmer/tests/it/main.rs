//! The whole service against a simulated Harbor that shares no code with it.

mod admission;
mod burst;
mod contract;
mod faults;
mod policy_server;
mod replication;
mod sharing;
mod site;
mod warming;
