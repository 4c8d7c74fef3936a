//! What an [`ImageSpec`] comes to: its blobs, and its manifests as registries print them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha512};

use crate::content::{Content, Generated};
use crate::digest::{Digest, hex};
use crate::image::{ImageSpec, Oddity, PushedChild, PushedImage};
use crate::manifest::{
    DOCKER_CONFIG, DOCKER_FOREIGN_LAYER, DOCKER_LAYER, DOCKER_LIST, DOCKER_MANIFEST, IN_TOTO_LAYER, OCI_CONFIG,
    OCI_INDEX, OCI_LAYER, OCI_MANIFEST, OCI_NONDISTRIBUTABLE_LAYER, print_indented,
};

/// What a spec comes to: blobs and manifests to put into a repository, and the description of it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) blobs: Vec<(Digest, Content)>,
    pub(crate) manifests: Vec<(Digest, &'static str, Bytes)>,
    pub(crate) image: PushedImage,
}

#[derive(Serialize, Clone)]
struct Descriptor {
    #[serde(rename = "mediaType", skip_serializing_if = "Option::is_none")]
    media_type: Option<&'static str>,
    size: i64,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    urls: Option<[String; 1]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
}

#[derive(Serialize, Clone, Default)]
struct Platform {
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

/// `layers` as it is printed: a list, `null`, or left out.
enum Layers {
    Listed(Vec<Descriptor>),
    Null,
    Missing,
}

impl Layers {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    fn listed(&self) -> &[Descriptor] {
        match self {
            Self::Listed(layers) => layers,
            Self::Null | Self::Missing => &[],
        }
    }
}

impl Serialize for Layers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Listed(layers) => layers.serialize(serializer),
            Self::Null | Self::Missing => serializer.serialize_unit(),
        }
    }
}

#[derive(Serialize)]
struct ImageManifest {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(rename = "mediaType")]
    media_type: &'static str,
    config: Descriptor,
    #[serde(skip_serializing_if = "Layers::is_missing")]
    layers: Layers,
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
    diff_ids: Vec<&'a str>,
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
                nested: None,
            },
        };
        let platforms = if self.single_manifest { &self.platforms[..1] } else { &self.platforms[..] };
        let mut listed = Vec::new();
        for platform in platforms {
            listed.push(self.build_platform(platform, &mut built));
        }
        let nested: Vec<_> = self.nested.iter().map(|platform| self.build_platform(platform, &mut built)).collect();
        if self.attestations && !self.single_manifest {
            for subject in listed.clone() {
                listed.push(self.build_attestation(&subject, &mut built));
            }
        }
        built.image.digest = built.image.children[0].digest.clone();
        if !self.single_manifest {
            let media_type = if self.docker { DOCKER_LIST } else { OCI_INDEX };
            if !nested.is_empty() {
                let index = Index { schema_version: 2, media_type, manifests: nested };
                let digest = self.add_manifest(media_type, &index, &mut built);
                listed.push(descriptor(media_type, &digest, built.last_size()));
                built.image.nested = Some(digest);
            }
            for (place, size) in self.listed_blobs.iter().enumerate() {
                let seed = format!("{}:{}#{}/listed/{place}", self.repository, self.tag, self.revision);
                listed.push(self.add_layer(&seed, *size, &mut built));
            }
            let index = Index { schema_version: 2, media_type, manifests: listed };
            let digest = self.add_manifest(media_type, &index, &mut built);
            built.image.digest = digest.clone();
            built.image.index = Some(digest);
        }
        built
    }

    fn build_platform(&self, platform: &str, built: &mut Built) -> Descriptor {
        let own_seed = format!("{}:{}#{}@{platform}", self.repository, self.tag, self.revision);
        let shared = self.shared_layers.iter().map(|layer| (format!("shared:{}", layer.name), layer.size));
        let own = self.layer_sizes.iter().enumerate().map(|(place, size)| (format!("{own_seed}/{place}"), *size));
        let mut layers: Vec<_> = shared.chain(own).map(|(seed, size)| self.add_layer(&seed, size, built)).collect();
        for (place, size) in self.declared_layers.iter().enumerate() {
            let seed = format!("{own_seed}/declared/{place}/{size}");
            let digest = Digest::of(seed.as_bytes());
            built.blobs.push((digest.clone(), Content::generated(hash(&seed), *size)));
            layers.push(descriptor(self.layer_type(), &digest, *size));
        }
        if self.nondistributable.as_deref() == Some(platform) {
            // Named, but held by nobody here.
            let media_type = if self.docker { DOCKER_FOREIGN_LAYER } else { OCI_NONDISTRIBUTABLE_LAYER };
            let mut foreign = descriptor(media_type, &Digest::of(own_seed.as_bytes()), 4096);
            foreign.urls = Some(["https://layers.invalid/base".to_owned()]);
            layers.push(foreign);
        }
        let layers = match self.oddities_of(platform).find(|odd| matches!(odd, Oddity::LayersNull | Oddity::NoLayers)) {
            Some(Oddity::LayersNull) => Layers::Null,
            Some(_) => Layers::Missing,
            None => Layers::Listed(layers),
        };
        let mut parts = platform.splitn(3, '/').map(str::to_owned);
        let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
        let config = Config {
            architecture: architecture.as_deref().unwrap_or_default(),
            os: os.as_deref().unwrap_or_default(),
            config: BTreeMap::from([("User", own_seed.as_str())]),
            rootfs: RootFs { kind: "layers", diff_ids: layers.listed().iter().map(|layer| &*layer.digest).collect() },
        };
        let config = self.add_config(&config, built);
        let mut listed = self.add_image(platform, config, layers, built);
        listed.platform = Some(Platform { architecture, os, variant });
        for oddity in self.oddities_of(platform) {
            listed.become_odd(oddity, built);
        }
        listed
    }

    fn oddities_of(&self, platform: &str) -> impl Iterator<Item = Oddity> {
        self.oddities.iter().filter(move |odd| odd.platform == platform).map(|odd| odd.oddity)
    }

    fn layer_type(&self) -> &'static str {
        if self.docker { DOCKER_LAYER } else { OCI_LAYER }
    }

    fn add_layer(&self, seed: &str, size: u64, built: &mut Built) -> Descriptor {
        let content = Generated::new(hash(seed), size);
        let digest = content.digest();
        built.blobs.push((digest.clone(), Content::Generated(Arc::new(content))));
        descriptor(self.layer_type(), &digest, size)
    }

    fn build_attestation(&self, subject: &Descriptor, built: &mut Built) -> Descriptor {
        let statement =
            Bytes::from(format!(r#"{{"_type":"https://in-toto.io/Statement/v0.1","subject":"{}"}}"#, subject.digest));
        let digest = Digest::of(&statement);
        let layer = descriptor(IN_TOTO_LAYER, &digest, statement.len() as u64);
        built.blobs.push((digest, Content::Bytes(statement)));
        let config = Config {
            architecture: "unknown",
            os: "unknown",
            config: BTreeMap::new(),
            rootfs: RootFs { kind: "layers", diff_ids: vec![&*layer.digest] },
        };
        let config = self.add_config(&config, built);
        let mut listed = self.add_image("unknown/unknown", config, Layers::Listed(vec![layer]), built);
        listed.annotations = BTreeMap::from([
            ("vnd.docker.reference.digest", subject.digest.to_string()),
            ("vnd.docker.reference.type", "attestation-manifest".to_owned()),
        ]);
        listed.platform =
            Some(Platform { architecture: Some("unknown".into()), os: Some("unknown".into()), variant: None });
        listed
    }

    fn add_config(&self, config: &Config<'_>, built: &mut Built) -> Descriptor {
        let bytes = Bytes::from(serde_json::to_vec(config).expect("plain structs with string keys always print"));
        let digest = Digest::of(&bytes);
        let listed = descriptor(if self.docker { DOCKER_CONFIG } else { OCI_CONFIG }, &digest, bytes.len() as u64);
        built.blobs.push((digest, Content::Bytes(bytes)));
        listed
    }

    fn add_image(&self, platform: &str, config: Descriptor, layers: Layers, built: &mut Built) -> Descriptor {
        let media_type = if self.docker { DOCKER_MANIFEST } else { OCI_MANIFEST };
        let (config_blob, layer_blobs) = (config.blob(), layers.listed().iter().map(Descriptor::blob).collect());
        let manifest = ImageManifest { schema_version: 2, media_type, config, layers };
        let digest = self.add_manifest(media_type, &manifest, built);
        let listed = descriptor(media_type, &digest, built.last_size());
        let platform = platform.to_owned();
        built.image.children.push(PushedChild { platform, digest, config: config_blob, layers: layer_blobs });
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

fn descriptor(media_type: &'static str, digest: &Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: Some(media_type),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        digest: digest.to_string(),
        urls: None,
        annotations: BTreeMap::new(),
        platform: None,
    }
}

impl Descriptor {
    /// As it was made, by sha256 and with the right size.
    fn blob(&self) -> (Digest, u64) {
        let digest = Digest::parse(&self.digest).expect("descriptors are made of digests");
        (digest, u64::try_from(self.size).unwrap_or(0))
    }

    /// Spoils an entry of the index. The manifest that it names was built last.
    fn become_odd(&mut self, oddity: Oddity, built: &Built) {
        let platform = self.platform.get_or_insert_default();
        match oddity {
            Oddity::NoPlatform => self.platform = None,
            Oddity::EmptyPlatform => *platform = Platform::default(),
            Oddity::BlankPlatform => {
                *platform = Platform { architecture: Some(String::new()), os: Some(String::new()), variant: None };
            }
            Oddity::NoOs => platform.os = None,
            Oddity::NoMediaType => self.media_type = None,
            Oddity::Size(size) => self.size = size,
            Oddity::Sha512 => {
                let bytes = built.manifests.last().map(|(_, _, bytes)| bytes.clone()).unwrap_or_default();
                self.digest = format!("sha512:{}", hex(&Sha512::digest(&bytes)));
            }
            Oddity::LayersNull | Oddity::NoLayers => {}
        }
    }
}

impl Built {
    /// The size of the manifest that was added last.
    fn last_size(&self) -> u64 {
        self.manifests.last().map_or(0, |(_, _, bytes)| bytes.len() as u64)
    }
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
