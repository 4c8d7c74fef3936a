//! What was seen on a real Harbor v2.15.2, asked of the simulator by a plain HTTP client.
//!
//! Times are in Harbor's seconds. A lower bound is exact, since a timer never fires early; an upper bound leaves room
//! for a busy machine.

#![expect(clippy::unwrap_used, reason = "the helpers below the tests are tests as well")]

mod access;
mod client;
mod failures;
mod faults;
mod keep_warm;
mod process;
mod proxying;
mod replication;
mod sequences;
mod shapes;
mod storage;
mod tags;
mod versions;
