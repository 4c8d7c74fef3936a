//! The whole service against a simulated Harbor that shares no code with it.

mod faults;
mod replication;
mod site;
mod warming;
