//! Ports that speak HTTP: connections with bounds, TLS with certificates that rotate, and answers that nobody reads.

mod connections;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod write_timeout;
