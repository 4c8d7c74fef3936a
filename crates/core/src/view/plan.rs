//! What `POST /api/v1/plan` takes and gives.

use harbor_warmer_protocol::{Digest, TargetName};
use serde::{Deserialize, Serialize};

/// `POST /api/v1/plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRequest {
    /// Image references as a workload would write them.
    pub images: Vec<String>,
    /// Read platform manifests that Harbor hasn't recorded, to learn of their blobs. Harbor then fetches the image by
    /// itself some minutes later.
    #[serde(default)]
    pub read_manifests: bool,
}

/// The answer, an entry an image, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanResponse {
    /// The images.
    pub images: Vec<PlanEntry>,
    /// Blobs missing in all, each once for each repository: Harbor keeps them so.
    pub blobs_missing: usize,
    /// Their bytes.
    pub bytes_missing: u64,
    /// Bytes of all platforms of the images that are replicated, as far as known, each blob once for each repository.
    #[serde(default)]
    pub bytes_replicated: u64,
    /// Those of them that Harbor lacks, and fetches for the replication.
    #[serde(default)]
    pub bytes_replicated_missing: u64,
}

/// What warming one image would bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanEntry {
    /// The reference as it was given.
    pub image: String,
    /// Where it would be in Harbor, `harbor/project/repository`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The digest that its tag has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// How much is there.
    pub state: PlanState,
    /// Why it is refused or unknown; a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its blobs for the wanted platforms, as far as known.
    pub blobs: Vec<PlanBlob>,
    /// Bytes of all of them.
    pub bytes_total: u64,
    /// Bytes of the missing ones.
    pub bytes_missing: u64,
    /// What its replication copies; none without a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<PlanReplication>,
}

/// What a replication copies. Harbor replicates a tag with its whole index: every platform and attestation, whatever
/// the workload runs on, and fetches from its upstream what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReplication {
    /// Where to.
    pub target: TargetName,
    /// How many manifests the tag has, attestations too; 0 where its index could not be read.
    pub manifests: usize,
    /// How many of them could not be read without having Harbor fetch them: their bytes are in no sum.
    pub manifests_unknown: usize,
    /// Bytes of all blobs.
    pub bytes_total: u64,
    /// Bytes of those that Harbor lacks.
    pub bytes_missing: u64,
    /// The blobs, to be counted once where images share them.
    #[serde(skip)]
    pub blobs: Vec<PlanBlob>,
}

/// How much of an image Harbor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanState {
    /// Every blob.
    Complete,
    /// Not every blob.
    Missing,
    /// Can't be told without having Harbor fetch it.
    Unknown,
    /// It would not be warmed at all.
    Refused,
}

/// One blob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanBlob {
    /// Its digest.
    pub digest: Digest,
    /// Bytes, as the manifest says.
    pub size_bytes: u64,
    /// Whether Harbor has it in this repository; none where it can't be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
}

/// Bytes of all, or of those that Harbor lacks.
pub fn bytes_of(blobs: &[PlanBlob], missing_only: bool) -> u64 {
    blobs.iter().filter(|blob| !missing_only || blob.local == Some(false)).map(|blob| blob.size_bytes).sum()
}

impl PlanEntry {
    /// An image of which no blob is known, and why.
    pub fn without_blobs(image: &str, state: PlanState, reason: String) -> Self {
        Self {
            image: image.to_owned(),
            place: None,
            root: None,
            state,
            reason: Some(reason),
            blobs: Vec::new(),
            bytes_total: 0,
            bytes_missing: 0,
            replication: None,
        }
    }

    /// An image of which these blobs are known, and why not all are.
    pub fn with_blobs(image: &str, root: Digest, blobs: Vec<PlanBlob>, unknown: Option<String>) -> Self {
        let state = match &unknown {
            Some(_) => PlanState::Unknown,
            None if blobs.iter().all(|blob| blob.local == Some(true)) => PlanState::Complete,
            None => PlanState::Missing,
        };
        Self {
            image: image.to_owned(),
            place: None,
            root: Some(root),
            state,
            reason: unknown,
            bytes_total: bytes_of(&blobs, false),
            bytes_missing: bytes_of(&blobs, true),
            blobs,
            replication: None,
        }
    }
}
