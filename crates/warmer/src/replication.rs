//! Replication of a recorded tag: one owner for each target's policy, and where an image arrives.

pub mod arrival;
pub(crate) mod replicator;
