//! What the admin API shows of an image, as JSON. The command line reads the same types.

pub mod plan;

use harbor_warmer_protocol::{Digest, HarborImage, ImageState, Platforms, Tag, TargetName};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::timestamp::Timestamp;

/// `GET /api/v1/images`: a page of images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageList {
    /// The images, newest first.
    pub images: Vec<ImageSummary>,
    /// Pass it as `after` to see the next page; none on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSummary {
    /// The id, as in a receipt.
    pub id: String,
    /// Where it lives.
    #[serde(flatten)]
    pub place: HarborImage,
    /// The tags that were asked for.
    pub tags: Vec<Tag>,
    /// The digest of the index or manifest; none while a tag is not resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// Where it is on its way.
    pub phase: Phase,
    /// What it waits for, or why it failed; a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Blobs that Harbor has, of those wanted.
    pub blobs_local: usize,
    /// Blobs wanted, as far as known.
    pub blobs_total: usize,
    /// Bytes of the blobs that Harbor has.
    pub bytes_local: u64,
    /// Bytes of the blobs wanted.
    pub bytes_total: u64,
    /// Failures since it was last seen to move.
    pub failures: u32,
    /// First asked for.
    pub first_asked: Timestamp,
    /// Last asked for.
    pub last_asked: Timestamp,
    /// When the next step is due.
    pub due: Timestamp,
}

/// `GET /api/v1/images/<id>`: everything about one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageView {
    /// As in the list.
    #[serde(flatten)]
    pub summary: ImageSummary,
    /// Who asked for what.
    pub wants: Vec<WantView>,
    /// Its tags in Harbor.
    pub tag_records: Vec<TagView>,
    /// Its manifests.
    pub manifests: Vec<ManifestView>,
    /// Its blobs.
    pub blobs: Vec<BlobView>,
    /// The last 20 attempts that failed, oldest first.
    pub attempts: Vec<AttemptView>,
    /// What it went through, oldest first.
    pub timeline: Vec<MilestoneView>,
    /// What it waits for, or why it goes no further; none where its next step is due, or all is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<StuckView>,
    /// Harbor has read the index, and records no tag before then that is asked for from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_tags_blocked_until: Option<Timestamp>,
}

/// Where an image is stuck.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StuckView {
    /// The step that doesn't go on.
    pub step: String,
    /// The kind of the cause.
    #[serde(alias = "hindrance")]
    pub problem: Problem,
    /// Why it doesn't; a sentence.
    pub cause: String,
    /// What a person can do; whole sentences.
    pub cure: String,
}

impl StuckView {
    /// With the cure that goes with the kind.
    pub fn new(step: String, problem: Problem, cause: String) -> Self {
        Self { step, problem, cause, cure: problem.cure().to_owned() }
    }
}

/// Where an image is on its way; derived from what was observed, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Known by its tag only.
    Announced,
    /// Waiting for a worker.
    Queued,
    /// Its blobs are being pulled through Harbor.
    Warming,
    /// Harbor has every wanted blob, and has not recorded the artifact yet.
    Local,
    /// Harbor says that it has every wanted platform.
    Warm,
    /// Warm, and Harbor has recorded every wanted tag.
    Tagged,
    /// Tagged, and every wanted target has it.
    Replicated,
    /// A dead letter.
    Failed,
}

impl Phase {
    /// Every phase, in the order of an image's way.
    pub const ALL: [Self; 8] = [
        Self::Announced,
        Self::Queued,
        Self::Warming,
        Self::Local,
        Self::Warm,
        Self::Tagged,
        Self::Replicated,
        Self::Failed,
    ];

    /// Its name in JSON, on the command line and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Queued => "queued",
            Self::Warming => "warming",
            Self::Local => "local",
            Self::Warm => "warm",
            Self::Tagged => "tagged",
            Self::Replicated => "replicated",
            Self::Failed => "failed",
        }
    }
}

/// Who asked for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WantView {
    /// The cluster, by its user name; `anonymous` without credentials, `command-line` for `warm`.
    pub cluster: String,
    /// The tag, where one was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The platforms.
    pub platforms: Platforms,
    /// The replication target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// First asked for.
    pub first_asked: Timestamp,
    /// Last asked for.
    pub last_asked: Timestamp,
    /// Where this want stands.
    #[serde(with = "state_text")]
    pub state: ImageState,
    /// Why this want is not served, or not wholly; a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One tag's record in Harbor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagView {
    /// The tag.
    pub tag: Tag,
    /// Harbor attaches the tag until then, if the artifact arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ends: Option<Timestamp>,
    /// Seen recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Timestamp>,
    /// Why Harbor won't record it any more, and what mends that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
}

/// One manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestView {
    /// Its digest.
    pub digest: Digest,
    /// `os/architecture[/variant]`, as the index says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whether somebody asked for it, or it only completes the index.
    pub wanted: bool,
    /// Read through Harbor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Timestamp>,
    /// Seen recorded as an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Timestamp>,
}

/// One blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobView {
    /// Its digest.
    pub digest: Digest,
    /// Bytes, as the manifest says.
    pub size_bytes: u64,
    /// How often Harbor was asked to fetch it.
    pub asks: u32,
    /// Seen in Harbor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Timestamp>,
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// When.
    pub at: Timestamp,
    /// Which step.
    pub step: String,
    /// Why it failed.
    pub error: String,
}

/// Something that happened to an image for the first time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MilestoneView {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

/// `POST /api/v1/warm`: hand images over by hand, through the rules of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmRequest {
    /// Image references as a workload would write them.
    pub images: Vec<String>,
}

/// The answer to a [`WarmRequest`], an entry an image, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmResponse {
    /// The images.
    pub images: Vec<WarmEntry>,
}

/// What became of one image of a [`WarmRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmEntry {
    /// The reference as it was given.
    pub image: String,
    /// The id to follow; none for a refused one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it is.
    #[serde(with = "state_text")]
    pub state: ImageState,
    /// Why, where that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An [`ImageState`] as its text.
mod state_text {
    use harbor_warmer_protocol::ImageState;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(state: &ImageState, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(state)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ImageState, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
