//! Manifests that were read of a Harbor: kept for a while, and asked for in an order that harms no tag.

pub(crate) mod cache;
pub(crate) mod relay;
