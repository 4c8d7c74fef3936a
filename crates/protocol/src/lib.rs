//! The contract between the harbor-warmer policy and the warmer.
//!
//! Kubewarden offers a policy no HTTP, only OCI requests. So a hand-off *is* an OCI request for a manifest: everything
//! that the policy says stands in the path, and the warmer answers with a [`Receipt`], which is itself a valid OCI
//! image manifest. This crate alone knows those names; the policy prints them, the warmer parses them, and both are
//! each other's inverse.
//!
//! It deliberately does no I/O and knows no async, so that it builds for wasm and for the service alike. What is not
//! a valid name can't be put into its types, so nothing that a workload's author writes can change a path's meaning.

mod digest;
mod hand_off;
mod name;
mod platform;
mod receipt;
mod request;
mod tag;

pub use digest::{Digest, DigestError};
pub use hand_off::{HandOff, NameTooLong, Subject};
pub use name::{HarborImage, HarborName, NameError, ProjectName, RepositoryPath, TargetName};
pub use platform::{Offer, Platform, PlatformError, Platforms, PlatformsError};
pub use receipt::{
    EMPTY_CONFIG, EMPTY_CONFIG_DIGEST, ImageState, Lookup, RECEIPT_ARTIFACT_TYPE, Receipt, ReceiptError,
};
pub use request::{RegistryRequest, RequestError};
pub use tag::{Tag, TagError, TagOrDigest};

/// The contract's version, the first segment of every repository name. Policy and warmer roll out separately, so a
/// change of meaning gets a new version beside the old one.
pub const VERSION: &str = "v1";

/// The longest repository name that OCI clients accept (`NAME_TOTAL_LENGTH_MAX` of the Docker reference grammar).
pub const REPOSITORY_MAX_CHARACTERS: usize = 255;
