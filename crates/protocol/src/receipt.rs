use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The `artifactType` of every receipt.
pub const RECEIPT_ARTIFACT_TYPE: &str = "application/vnd.harbor-warmer.receipt.v1+json";

/// The content of the empty config that a receipt refers to (image-spec, manifest.md, "Guidance for an Empty
/// Descriptor").
pub const EMPTY_CONFIG: &str = "{}";

/// The digest of [`EMPTY_CONFIG`].
pub const EMPTY_CONFIG_DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";
const STATE: &str = "io.harbor-warmer.state";
const LOOKUP: &str = "io.harbor-warmer.lookup";
const IMAGE: &str = "io.harbor-warmer.image";
const REASON: &str = "io.harbor-warmer.reason";

/// Where the image is on its way into Harbor, as far as the hand-off's own want goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageState {
    /// This hand-off made it known.
    New,
    /// Known and waiting for its turn.
    Queued,
    /// Being pulled through Harbor.
    Warming,
    /// Harbor says that it has everything that was wanted.
    Warm,
    /// Given up; the reason says why. Another announcement tries again.
    Failed,
    /// Not accepted: the reason says what to change.
    Refused,
}

impl ImageState {
    const ALL: [(Self, &'static str); 6] = [
        (Self::New, "new"),
        (Self::Queued, "queued"),
        (Self::Warming, "warming"),
        (Self::Warm, "warm"),
        (Self::Failed, "failed"),
        (Self::Refused, "refused"),
    ];
}

impl fmt::Display for ImageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(state, _)| state == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for ImageState {
    type Err = ReceiptError;

    fn from_str(text: &str) -> Result<Self, ReceiptError> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(state, _)| *state).ok_or(ReceiptError::UnknownState)
    }
}

/// Whether the policy should resolve the image now. The host repeats a receipt from its cache for 60 s, so the state
/// alone can't say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// Resolve it, through the front.
    Yes,
    /// The warmer does or did it itself.
    No,
}

/// The warmer's answer to a hand-off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the image is.
    pub state: ImageState,
    /// Whether to resolve it.
    pub lookup: Lookup,
    /// The image's id in the warmer's API; none for a refused one.
    pub image: Option<String>,
    /// Why, in a sentence for a person.
    pub reason: Option<String>,
}

/// Why a manifest is not a [`Receipt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptError {
    /// Some other artifact, or no artifact type: not a warmer that answered.
    NotAReceipt,
    /// The state is missing or unknown.
    UnknownState,
    /// Not JSON, or not an image manifest.
    InvalidManifest,
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAReceipt => "the answer is not a receipt of a warmer; is this the warmer's address?",
            Self::UnknownState => "the receipt's state is not known; update whichever of policy and warmer is older",
            Self::InvalidManifest => "the answer is not an OCI image manifest",
        })
    }
}

impl std::error::Error for ReceiptError {}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Receipt {
    /// The receipt as the bytes of an OCI image manifest. Equal receipts are equal bytes.
    pub fn to_manifest(&self) -> Vec<u8> {
        let mut annotations = BTreeMap::from([
            (STATE.to_owned(), self.state.to_string()),
            (LOOKUP.to_owned(), if self.lookup == Lookup::Yes { "yes" } else { "no" }.to_owned()),
        ]);
        if let Some(image) = &self.image {
            annotations.insert(IMAGE.to_owned(), image.clone());
        }
        if let Some(reason) = &self.reason {
            annotations.insert(REASON.to_owned(), reason.clone());
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST_MEDIA_TYPE.to_owned(),
            artifact_type: Some(RECEIPT_ARTIFACT_TYPE.to_owned()),
            config: Descriptor {
                media_type: EMPTY_MEDIA_TYPE.to_owned(),
                digest: EMPTY_CONFIG_DIGEST.to_owned(),
                size: EMPTY_CONFIG.len() as u64,
            },
            layers: Vec::new(),
            annotations,
        };
        serde_json::to_vec(&manifest).expect("strings and numbers serialise")
    }

    /// Reads the bytes of a manifest.
    ///
    /// # Errors
    /// Says why it is not a receipt.
    pub fn from_manifest(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|_| ReceiptError::InvalidManifest)?;
        let annotations = manifest.annotations;
        Self::from_parts(manifest.artifact_type.as_deref(), |key| annotations.get(key).cloned())
    }

    /// Reads a manifest that somebody else has parsed: its artifact type, and its annotations by key.
    ///
    /// # Errors
    /// Says why it is not a receipt.
    pub fn from_parts(
        artifact_type: Option<&str>,
        annotation: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ReceiptError> {
        if artifact_type != Some(RECEIPT_ARTIFACT_TYPE) {
            return Err(ReceiptError::NotAReceipt);
        }
        Ok(Self {
            state: annotation(STATE).ok_or(ReceiptError::UnknownState)?.parse()?,
            // Anything but a clear yes is a no: a look-up costs Harbor, none costs nothing.
            lookup: if annotation(LOOKUP).as_deref() == Some("yes") { Lookup::Yes } else { Lookup::No },
            image: annotation(IMAGE),
            reason: annotation(REASON),
        })
    }
}
