//! Places at a Harbor: how many transfers it may have at once, which blob holds one, and whose turn is next.

pub(crate) mod backlog;
pub(crate) mod copies;
pub(crate) mod limiter;
pub(crate) mod transfers;
