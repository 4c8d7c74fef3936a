//! Images to push into the in-memory upstream: what they shall look like, and what became of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::digest::Digest;
use crate::manifest::{
    DOCKER_CONFIG, DOCKER_FOREIGN_LAYER, DOCKER_LAYER, DOCKER_LIST, DOCKER_MANIFEST, IN_TOTO_LAYER, OCI_CONFIG,
    OCI_INDEX, OCI_LAYER, OCI_MANIFEST, OCI_NONDISTRIBUTABLE_LAYER, print_indented,
};

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

    /// Another content under the same names: what a rebuilt image is to the one before.
    pub fn revision(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }
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
    /// The manifests: the platforms in the order of the spec, then the attestations.
    pub children: Vec<PushedChild>,
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

/// What a spec comes to: blobs and manifests to put into a repository, and the description of it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) blobs: Vec<(Digest, Content)>,
    pub(crate) manifests: Vec<(Digest, &'static str, Bytes)>,
    pub(crate) image: PushedImage,
}

#[derive(Serialize, Clone)]
struct Descriptor {
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    size: u64,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    urls: Option<[String; 1]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
}

#[derive(Serialize, Clone)]
struct Platform {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

#[derive(Serialize)]
struct ImageManifest {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
struct Index {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize)]
struct Config<'a> {
    architecture: &'a str,
    os: &'a str,
    config: BTreeMap<&'a str, &'a str>,
    rootfs: RootFs<'a>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    diff_ids: Vec<&'a Digest>,
}

impl ImageSpec {
    pub(crate) fn build(&self) -> Built {
        let mut built = Built {
            blobs: Vec::new(),
            manifests: Vec::new(),
            image: PushedImage {
                repository: self.repository.clone(),
                tag: self.tag.clone(),
                digest: Digest::of(b""),
                index: None,
                children: Vec::new(),
            },
        };
        let platforms = if self.single_manifest { &self.platforms[..1] } else { &self.platforms[..] };
        let mut listed = Vec::new();
        for platform in platforms {
            listed.push(self.build_platform(platform, &mut built));
        }
        if self.attestations && !self.single_manifest {
            for subject in listed.clone() {
                listed.push(self.build_attestation(&subject, &mut built));
            }
        }
        built.image.digest = listed[0].digest.clone();
        if !self.single_manifest {
            let media_type = if self.docker { DOCKER_LIST } else { OCI_INDEX };
            let index = Index { schema_version: 2, media_type, manifests: listed };
            let digest = self.add_manifest(media_type, &index, &mut built);
            built.image.digest = digest.clone();
            built.image.index = Some(digest);
        }
        built
    }

    fn build_platform(&self, platform: &str, built: &mut Built) -> Descriptor {
        let layer_type = if self.docker { DOCKER_LAYER } else { OCI_LAYER };
        let own_seed = format!("{}:{}#{}@{platform}", self.repository, self.tag, self.revision);
        let shared = self.shared_layers.iter().map(|layer| (format!("shared:{}", layer.name), layer.size));
        let own = self.layer_sizes.iter().enumerate().map(|(place, size)| (format!("{own_seed}/{place}"), *size));
        let mut layers = Vec::new();
        for (seed, size) in shared.chain(own) {
            let content = Content::generated(hash(&seed), size);
            let Content::Generated(generated) = &content else { unreachable!("generated on the line above") };
            let digest = generated.digest();
            built.blobs.push((digest.clone(), content));
            layers.push(descriptor(layer_type, digest, size));
        }
        if self.nondistributable.as_deref() == Some(platform) {
            // Named, but held by nobody here.
            let media_type = if self.docker { DOCKER_FOREIGN_LAYER } else { OCI_NONDISTRIBUTABLE_LAYER };
            let mut foreign = descriptor(media_type, Digest::of(own_seed.as_bytes()), 4096);
            foreign.urls = Some(["https://layers.invalid/base".to_owned()]);
            layers.push(foreign);
        }
        let mut parts = platform.splitn(3, '/');
        let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
        let (os, architecture) = (os.unwrap_or_default(), architecture.unwrap_or_default());
        let config = Config {
            architecture,
            os,
            config: BTreeMap::from([("User", own_seed.as_str())]),
            rootfs: RootFs { kind: "layers", diff_ids: layers.iter().map(|layer| &layer.digest).collect() },
        };
        let config = self.add_config(&config, built);
        let mut listed = self.add_image(platform, config, layers, built);
        listed.platform = Some(Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
        });
        listed
    }

    fn build_attestation(&self, subject: &Descriptor, built: &mut Built) -> Descriptor {
        let statement =
            Bytes::from(format!(r#"{{"_type":"https://in-toto.io/Statement/v0.1","subject":"{}"}}"#, subject.digest));
        let digest = Digest::of(&statement);
        let layer = descriptor(IN_TOTO_LAYER, digest.clone(), statement.len() as u64);
        built.blobs.push((digest, Content::Bytes(statement)));
        let config = Config {
            architecture: "unknown",
            os: "unknown",
            config: BTreeMap::new(),
            rootfs: RootFs { kind: "layers", diff_ids: vec![&layer.digest] },
        };
        let config = self.add_config(&config, built);
        let mut listed = self.add_image("unknown/unknown", config, vec![layer], built);
        listed.annotations = BTreeMap::from([
            ("vnd.docker.reference.digest", subject.digest.to_string()),
            ("vnd.docker.reference.type", "attestation-manifest".to_owned()),
        ]);
        listed.platform =
            Some(Platform { architecture: "unknown".to_owned(), os: "unknown".to_owned(), variant: None });
        listed
    }

    fn add_config(&self, config: &Config<'_>, built: &mut Built) -> Descriptor {
        let bytes = Bytes::from(serde_json::to_vec(config).expect("plain structs with string keys always print"));
        let digest = Digest::of(&bytes);
        let listed =
            descriptor(if self.docker { DOCKER_CONFIG } else { OCI_CONFIG }, digest.clone(), bytes.len() as u64);
        built.blobs.push((digest, Content::Bytes(bytes)));
        listed
    }

    fn add_image(&self, platform: &str, config: Descriptor, layers: Vec<Descriptor>, built: &mut Built) -> Descriptor {
        let media_type = if self.docker { DOCKER_MANIFEST } else { OCI_MANIFEST };
        let mut child = PushedChild {
            platform: platform.to_owned(),
            digest: config.digest.clone(),
            config: (config.digest.clone(), config.size),
            layers: layers.iter().map(|layer| (layer.digest.clone(), layer.size)).collect(),
        };
        let manifest = ImageManifest { schema_version: 2, media_type, config, layers };
        child.digest = self.add_manifest(media_type, &manifest, built);
        let size = built.manifests.last().map_or(0, |(_, _, bytes)| bytes.len() as u64);
        let listed = descriptor(media_type, child.digest.clone(), size);
        built.image.children.push(child);
        listed
    }

    fn add_manifest(&self, media_type: &'static str, manifest: &impl Serialize, built: &mut Built) -> Digest {
        let bytes = if self.docker {
            print_indented(manifest)
        } else {
            serde_json::to_vec(manifest).expect("plain structs with string keys always print")
        };
        let digest = Digest::of(&bytes);
        built.manifests.push((digest.clone(), media_type, bytes.into()));
        digest
    }
}

fn descriptor(media_type: &'static str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type, size, digest, urls: None, annotations: BTreeMap::new(), platform: None }
}

/// FNV-1a: a seed from a name.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, parse, print_index};

    fn reprinted(spec: ImageSpec) -> (Digest, Digest) {
        let built = spec.build();
        let (digest, media_type, bytes) = built.manifests.last().unwrap();
        let Some(Manifest::Index { children }) = parse(media_type, bytes) else { panic!("an index was expected") };
        (digest.clone(), Digest::of(&print_index(&children).1))
    }

    #[test]
    fn only_an_index_in_dockers_own_format_keeps_its_digest_in_harbor() {
        let (upstream, harbor) = reprinted(ImageSpec::new("a", "1").platforms(["linux/amd64", "linux/arm64/v8"]));
        assert_ne!(upstream, harbor);
        let (upstream, harbor) =
            reprinted(ImageSpec::new("a", "1").platforms(["linux/amd64", "linux/arm64/v8"]).docker());
        assert_eq!(upstream, harbor);
    }

    #[test]
    fn a_shared_layer_is_one_blob_for_all_that_name_it() {
        let spec =
            |name: &str| ImageSpec::new(name, "1").shared_layer("base", 4096).platforms(["linux/amd64", "linux/arm64"]);
        let (one, other) = (spec("one").build().image, spec("other").build().image);
        assert_eq!(one.children[0].layers[0], one.children[1].layers[0]);
        assert_eq!(one.children[0].layers[0], other.children[0].layers[0]);
        assert_ne!(one.children[0].layers[1], one.children[1].layers[1]);
        assert_ne!(one.children[0].layers[1], other.children[0].layers[1]);
    }
}
