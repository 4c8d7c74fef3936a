//! The contract's names, paths and receipts, as the outside sees them.

mod golden;
mod names;
mod paths;
mod receipts;
