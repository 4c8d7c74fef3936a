//! The list, by what is wrong.

pub(crate) mod access;
pub(crate) mod blobs;
pub(crate) mod framing;
pub(crate) mod indexes;
pub(crate) mod manifests;
pub(crate) mod redirects;
pub(crate) mod right;
pub(crate) mod statuses;
