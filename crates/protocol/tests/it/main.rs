//! The contract's names, paths and receipts, as the outside sees them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod golden;
mod names;
mod paths;
mod receipts;
