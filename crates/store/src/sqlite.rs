//! SQLite, embedded: one file, one process, one writing thread.

pub(crate) mod lock;
mod migration;
pub(crate) mod schema;
pub(crate) mod writer;
