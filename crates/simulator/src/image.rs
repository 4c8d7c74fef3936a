//! Images to push into the in-memory upstream: what they shall look like, and what became of it.

mod build;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What an image in the upstream shall look like. The content is derived from the repository, the tag and the
/// platform, so the same spec gives the same digests in every run.
///
/// Without further calls it is an OCI index of one platform, `linux/amd64`, with one layer of 64 KiB.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ImageSpec {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) platforms: Vec<String>,
    pub(crate) layer_sizes: Vec<u64>,
    pub(crate) shared_layers: Vec<SharedLayer>,
    pub(crate) attestations: bool,
    pub(crate) docker: bool,
    pub(crate) single_manifest: bool,
    pub(crate) nondistributable: Option<String>,
    pub(crate) revision: u64,
    pub(crate) declared_layers: Vec<u64>,
    pub(crate) nested: Vec<String>,
    pub(crate) listed_blobs: Vec<u64>,
    pub(crate) oddities: Vec<Odd>,
}

/// A layer that is the same in every image that names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SharedLayer {
    pub(crate) name: String,
    pub(crate) size: u64,
}

impl Default for ImageSpec {
    fn default() -> Self {
        Self {
            repository: String::new(),
            tag: String::new(),
            platforms: vec!["linux/amd64".to_owned()],
            layer_sizes: vec![65536],
            shared_layers: Vec::new(),
            attestations: false,
            docker: false,
            single_manifest: false,
            nondistributable: None,
            revision: 0,
            declared_layers: Vec::new(),
            nested: Vec::new(),
            listed_blobs: Vec::new(),
            oddities: Vec::new(),
        }
    }
}

impl ImageSpec {
    /// An image of this repository (as the upstream names it) and tag.
    pub fn new(repository: impl Into<String>, tag: impl Into<String>) -> Self {
        Self { repository: repository.into(), tag: tag.into(), ..Self::default() }
    }

    /// Its platforms, each `os/architecture[/variant]`.
    pub fn platforms<P: Into<String>>(mut self, platforms: impl IntoIterator<Item = P>) -> Self {
        self.platforms = platforms.into_iter().map(Into::into).collect();
        self
    }

    /// The sizes in bytes of the layers that each platform has for itself.
    pub fn layer_sizes(mut self, sizes: impl IntoIterator<Item = u64>) -> Self {
        self.layer_sizes = sizes.into_iter().collect();
        self
    }

    /// A layer below the others, the same for all platforms and for every image that names it with this size.
    pub fn shared_layer(mut self, name: impl Into<String>, size: u64) -> Self {
        self.shared_layers.push(SharedLayer { name: name.into(), size });
        self
    }

    /// Adds an attestation (platform `unknown/unknown`) for each platform, as BuildKit does.
    pub fn attestations(mut self) -> Self {
        self.attestations = true;
        self
    }

    /// Docker's media types, printed as the docker command line prints them: Harbor's own print of the whole list is
    /// then the same byte for byte.
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// No index: the tag names the manifest of the first platform.
    pub fn single_manifest(mut self) -> Self {
        self.single_manifest = true;
        self
    }

    /// This platform gets a layer that the upstream doesn't hold (a Windows base layer).
    pub fn nondistributable_layer(mut self, platform: impl Into<String>) -> Self {
        self.nondistributable = Some(platform.into());
        self
    }

    /// Layers above the others whose digests are given, not computed: their content streams at its whole length, but
    /// it doesn't hash to them. So a layer of 10 GB costs nothing to push. Harbor's storage takes them as they are
    /// named, and a client that reads one to its end and hashes it finds it wrong: they are for clients that don't.
    pub fn declared_layers(mut self, sizes: impl IntoIterator<Item = u64>) -> Self {
        self.declared_layers = sizes.into_iter().collect();
        self
    }

    /// These platforms stand in an index of their own, which is one more entry of the image's index.
    pub fn nested_index<P: Into<String>>(mut self, platforms: impl IntoIterator<Item = P>) -> Self {
        self.nested = platforms.into_iter().map(Into::into).collect();
        self
    }

    /// The index lists a blob of this size too, as the index of a build cache does.
    pub fn listed_blob(mut self, size: u64) -> Self {
        self.listed_blobs.push(size);
        self
    }

    /// Something is unusual about this platform's entry in the index, or about its manifest.
    pub fn odd(mut self, platform: impl Into<String>, oddity: Oddity) -> Self {
        self.oddities.push(Odd { platform: platform.into(), oddity });
        self
    }

    /// Another content under the same names: what a rebuilt image is to the one before.
    pub fn revision(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }
}

/// What is unusual about a platform, see [`ImageSpec::odd`]. All of these are found in public registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// Its entry has no `platform`.
    NoPlatform,
    /// Its entry has `"platform": {}`.
    EmptyPlatform,
    /// Its entry has a platform of empty texts.
    BlankPlatform,
    /// Its entry's platform has no `os`.
    NoOs,
    /// Its entry has no `mediaType`.
    NoMediaType,
    /// Its entry says this size, -1 for example.
    Size(i64),
    /// Its entry names the manifest by sha512, by which the upstream doesn't know it.
    Sha512,
    /// Its manifest has `"layers": null`.
    LayersNull,
    /// Its manifest has no `layers`.
    NoLayers,
}

/// An [`Oddity`] and whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Odd {
    platform: String,
    oddity: Oddity,
}

/// An image as it stands in the upstream.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushedImage {
    /// The repository, as the upstream names it.
    pub repository: String,
    /// The tag that was pushed.
    pub tag: String,
    /// What the tag names: the index, or the manifest where there is none.
    pub digest: Digest,
    /// The index, where there is one.
    pub index: Option<Digest>,
    /// The manifests: the platforms in the order of the spec, those of the nested index, then the attestations.
    pub children: Vec<PushedChild>,
    /// The index within the index, where there is one.
    pub nested: Option<Digest>,
}

/// One manifest of a [`PushedImage`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushedChild {
    /// `os/architecture[/variant]`; `unknown/unknown` for an attestation.
    pub platform: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The config blob and its size in bytes.
    pub config: (Digest, u64),
    /// The layers, lowest first, with their sizes in bytes.
    pub layers: Vec<(Digest, u64)>,
}

impl PushedImage {
    /// The manifest of a platform.
    ///
    /// # Panics
    /// If the image has no such platform: the test that asks is wrong.
    #[track_caller]
    pub fn child(&self, platform: &str) -> &PushedChild {
        match self.children.iter().find(|child| child.platform == platform) {
            Some(child) => child,
            None => panic!("{}:{} has no platform {platform}", self.repository, self.tag),
        }
    }

    /// Every distinct blob of the image with its size, configs included.
    pub fn blobs(&self) -> BTreeMap<Digest, u64> {
        self.children.iter().flat_map(PushedChild::blobs).collect()
    }

    /// The bytes of all distinct blobs.
    pub fn size_bytes(&self) -> u64 {
        self.blobs().values().sum()
    }
}

impl PushedChild {
    /// Its blobs with their sizes, the config first.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> {
        std::iter::once(&self.config).chain(&self.layers).cloned()
    }
}
