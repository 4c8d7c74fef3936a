//! Images made up here: their bytes follow from a seed, so two runs with different names share no blob.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

/// What an image shall look like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// The tag names a manifest.
    Single,
    /// The tag names an index of so many platforms.
    Index(usize),
    /// The tag names an index of two platforms; the second has a layer that no registry may hand on.
    ForeignLayer,
}

/// The platforms of an index, in order; the first is the one that scenarios of one platform ask for.
const ARCHITECTURES: [&str; 3] = ["amd64", "arm64", "s390x"];

/// A blob.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) bytes: Bytes,
}

/// A platform's manifest.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) manifest: Blob,
    /// Its config and the layers that a registry may have.
    pub(crate) blobs: Vec<Blob>,
}

/// An image as it is pushed.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) repository: String,
    pub(crate) children: Vec<Child>,
    /// The index, where there is one.
    pub(crate) index: Option<Blob>,
}

impl Image {
    /// `layer_sizes` are those of each platform, in bytes. Images of different seeds share no blob.
    pub(crate) fn new(repository: String, seed: &str, shape: Shape, layer_sizes: &[usize]) -> Self {
        let platforms = match shape {
            Shape::Single => 1,
            Shape::Index(platforms) => platforms,
            Shape::ForeignLayer => 2,
        };
        let children: Vec<Child> = ARCHITECTURES[..platforms]
            .iter()
            .enumerate()
            .map(|(place, architecture)| {
                let foreign = matches!(shape, Shape::ForeignLayer) && place == 1;
                Child::new(&format!("{seed}/{architecture}"), architecture, layer_sizes, foreign)
            })
            .collect();
        let index = (!matches!(shape, Shape::Single)).then(|| {
            let listed = children.iter().zip(ARCHITECTURES).map(|(child, architecture)| {
                let mut descriptor = child.manifest.descriptor(OCI_MANIFEST);
                descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
                descriptor
            });
            Blob::new(print(
                &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed.collect::<Vec<_>>()}),
            ))
        });
        Self { repository, children, index }
    }

    /// What the tag names: the index, or the only manifest.
    pub(crate) fn root(&self) -> &Blob {
        self.index.as_ref().unwrap_or(&self.children[0].manifest)
    }
}

impl Child {
    fn new(seed: &str, architecture: &str, layer_sizes: &[usize], foreign: bool) -> Self {
        let layers: Vec<Blob> = layer_sizes
            .iter()
            .enumerate()
            .map(|(place, size)| Blob::new(generate(&format!("{seed}/{place}"), *size)))
            .collect();
        let mut listed: Vec<Value> = layers.iter().map(|layer| layer.descriptor(OCI_LAYER)).collect();
        if foreign {
            let layer = Blob::new(generate(&format!("{seed}/foreign"), 4096));
            let mut descriptor = layer.descriptor(FOREIGN_LAYER);
            descriptor["urls"] = json!([format!("https://layers.example.com/{}", layer.digest)]);
            listed.push(descriptor);
        }
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = Blob::new(print(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"User": seed},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })));
        let manifest = Blob::new(print(&json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(OCI_CONFIG),
            "layers": listed,
        })));
        Self { manifest, blobs: std::iter::once(config).chain(layers).collect() }
    }
}

impl Blob {
    fn new(bytes: Bytes) -> Self {
        Self { digest: digest_of(&bytes), bytes }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// `sha256:…` of these bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn print(value: &Value) -> Bytes {
    value.to_string().into()
}

/// Bytes that no other seed gives, cheap enough for layers of many megabytes: a block of the seed's own, numbered.
fn generate(seed: &str, size: usize) -> Bytes {
    const BLOCK_BYTES: usize = 4096;
    let block = Sha256::digest(seed.as_bytes()).repeat(BLOCK_BYTES / 32);
    let mut bytes = Vec::with_capacity(size + BLOCK_BYTES);
    let mut number = 0_u64;
    while bytes.len() < size {
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&block[8..]);
        number += 1;
    }
    bytes.truncate(size);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_different_seeds_share_no_blob() {
        let [one, other] = ["one", "other"].map(|seed| Image::new("app".to_owned(), seed, Shape::Index(2), &[64, 256]));
        let digests = |image: &Image| -> Vec<String> {
            image.children.iter().flat_map(|child| &child.blobs).map(|blob| blob.digest.clone()).collect()
        };
        let (one, other) = (digests(&one), digests(&other));
        assert_eq!(one.len(), 6);
        assert!(one.iter().all(|digest| !other.contains(digest)));
    }

    #[test]
    fn a_foreign_layer_is_listed_and_is_no_blob_of_the_registry() {
        let image = Image::new("app".to_owned(), "one", Shape::ForeignLayer, &[64]);
        let layers = |child: &Child| -> usize {
            let manifest: Value = serde_json::from_slice(&child.manifest.bytes).unwrap();
            manifest["layers"].as_array().unwrap().len()
        };
        assert_eq!(image.children.iter().map(layers).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(image.children.iter().map(|child| child.blobs.len()).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn a_single_manifest_is_its_own_root() {
        let image = Image::new("app".to_owned(), "one", Shape::Single, &[64]);
        assert_eq!(image.root().digest, image.children[0].manifest.digest);
    }
}
