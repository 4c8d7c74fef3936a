//! SQLite, embedded: one file, one process, one writing thread.

pub(crate) mod connection;
pub(crate) mod lock;
mod migration;
pub(crate) mod rescue;
pub(crate) mod reserve;
mod schema;
pub(crate) mod watch;
pub(crate) mod writer;
