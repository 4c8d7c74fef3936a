//! What a manifest's bytes say: an index of platforms, or the blobs of one.
//!
//! Anybody who can push to a mapped upstream writes these bytes, so they are read leniently and within bounds. Leniently:
//! entry by entry, each for itself, so that one that nobody can use hides no other; what a manifest says beside that is
//! not looked at. Within bounds: what is not needed is skipped and not kept, so a manifest of 4 MB costs what its
//! [`MAX_LAYERS`] or [`MAX_CHILDREN`] cost. As in Go, a key that stands twice counts the last time.
//!
//! What a broken entry means is told where it matters: an index is one of the entries that are left, and an image with
//! a layer that can't be named is no image. Pure.

mod read;
#[cfg(test)]
mod tests;

use harbor_warmer_protocol::Digest;

use crate::image::{Blob, Child};
use read::{Descriptor, Document, List, Scalar};

/// No image has more layers: overlayfs mounts 500 at most, and Docker builds 127.
pub const MAX_LAYERS: usize = 1_000;

/// No index has more entries: the largest official images have some 20 with their attestations.
pub const MAX_CHILDREN: usize = 512;

/// A manifest, as far as warming goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// An image index or a Docker manifest list; its usable entries.
    Index(Vec<Child>),
    /// An image manifest; config first.
    Image(Vec<Blob>),
}

/// Why a manifest can't be warmed. Reads well after "Harbor does not cache this".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no JSON object.
    #[error("it is not JSON that a manifest could be")]
    NotJson,
    /// Docker's first kind of manifest, which registries and containerd have given up.
    #[error("the manifest has the old schema version 1")]
    SchemaVersion1,
    /// Neither `manifests` nor `config`.
    #[error("it is neither an image manifest nor an index")]
    NeitherImageNorIndex,
    /// More than [`MAX_LAYERS`].
    #[error("it has {found} layers, and more than {MAX_LAYERS} nobody can mount")]
    TooManyLayers {
        /// How many there are.
        found: usize,
    },
    /// More than [`MAX_CHILDREN`].
    #[error("the index has {found} entries, and more than {MAX_CHILDREN} are not looked at")]
    TooManyChildren {
        /// How many there are.
        found: usize,
    },
    /// The index has entries, and each is broken; what is wrong with the first.
    #[error("no entry of the index can be used: {0}")]
    NoUsableEntry(BrokenEntry),
    /// A part stands in it twice (CVE-2021-41190 is of this kind).
    #[error("a part of the manifest stands in it twice")]
    Ambiguous,
    /// The image's config, or one of its layers, is broken.
    #[error("{role} can't be used: {fault}")]
    BrokenBlob {
        /// `the config`, or `layer` and its number from 1.
        role: String,
        /// What is wrong with it.
        fault: BrokenEntry,
    },
}

/// What is wrong with an entry of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenEntry {
    /// It is something else than an object.
    #[error("it is not an object")]
    NotAnObject,
    /// It names no digest.
    #[error("it has no digest")]
    NoDigest,
    /// Its digest is of another algorithm, or none.
    #[error("its digest {0} is not a sha256 digest")]
    Digest(String),
    /// Its size is no number of bytes.
    #[error("its size is {0}")]
    Size(String),
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Why it can't be warmed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let document: Document = serde_json::from_slice(bytes).map_err(|_| Unusable::NotJson)?;
        if document.schema_version == Scalar::Integer(1) {
            return Err(Unusable::SchemaVersion1);
        }
        if document.is_ambiguous {
            return Err(Unusable::Ambiguous);
        }
        // Media types are optional in an OCI manifest, so what is there tells the kinds apart.
        match document {
            Document { manifests: Some(entries), .. } => index(entries),
            Document { config: Some(config), layers, .. } => image(&config, layers.unwrap_or_default()),
            Document { .. } => Err(Unusable::NeitherImageNorIndex),
        }
    }
}

fn index(entries: List<MAX_CHILDREN>) -> Result<Manifest, Unusable> {
    if entries.found > MAX_CHILDREN {
        return Err(Unusable::TooManyChildren { found: entries.found });
    }
    let mut broken = None;
    let mut children = Vec::new();
    for entry in entries.kept {
        match child(&entry) {
            Ok(child) => children.push(child),
            Err(fault) => broken = broken.or(Some(fault)),
        }
    }
    match broken {
        Some(fault) if children.is_empty() => Err(Unusable::NoUsableEntry(fault)),
        Some(_) | None => Ok(Manifest::Index(children)),
    }
}

fn image(config: &Descriptor, layers: List<MAX_LAYERS>) -> Result<Manifest, Unusable> {
    if layers.found > MAX_LAYERS {
        return Err(Unusable::TooManyLayers { found: layers.found });
    }
    let broken = |role: String| move |fault| Unusable::BrokenBlob { role, fault };
    let mut blobs = vec![blob(config).map_err(broken("the config".to_owned()))?];
    for (number, layer) in layers.kept.iter().enumerate() {
        blobs.push(blob(layer).map_err(broken(format!("layer {}", number + 1)))?);
    }
    Ok(Manifest::Image(blobs))
}

fn child(entry: &Descriptor) -> Result<Child, BrokenEntry> {
    let digest = digest(entry)?;
    size(entry)?;
    // An attestation says `unknown/unknown`: it runs nowhere, and belongs to the index all the same. Who names no
    // processor says nothing of its platform.
    let (platform, undeclared) = match &entry.platform {
        None => (None, true),
        Some(platform) => {
            let [os, architecture, variant] = [&platform.os, &platform.architecture, &platform.variant];
            match (os.text(), architecture.text()) {
                (_, "") => (None, true),
                ("unknown", _) | (_, "unknown") => (None, false),
                (os, architecture) => {
                    let variant = Some(variant.text()).filter(|variant| !variant.is_empty());
                    (Some((os.to_owned(), architecture.to_owned(), variant.map(str::to_owned))), false)
                }
            }
        }
    };
    Ok(Child { digest, platform, undeclared })
}

fn blob(entry: &Descriptor) -> Result<Blob, BrokenEntry> {
    // image-spec layer.md, "Non-Distributable Layers", and Docker's foreign layers: they are served from elsewhere.
    let media_type = entry.media_type.text();
    let distributable = !media_type.contains("nondistributable") && !media_type.contains(".foreign.");
    Ok(Blob { digest: digest(entry)?, size_bytes: size(entry)?, distributable })
}

fn digest(entry: &Descriptor) -> Result<Digest, BrokenEntry> {
    match &entry.digest {
        _ if !entry.is_object => Err(BrokenEntry::NotAnObject),
        Scalar::Absent => Err(BrokenEntry::NoDigest),
        Scalar::Text(text) => text.parse().map_err(|_| BrokenEntry::Digest(text.clone())),
        other @ (Scalar::Integer(_) | Scalar::Other) => Err(BrokenEntry::Digest(other.to_string())),
    }
}

/// Zero where it isn't told, as Go reads it, and as containerd takes for a size that nobody knows.
fn size(entry: &Descriptor) -> Result<u64, BrokenEntry> {
    match &entry.size {
        Scalar::Absent => Ok(0),
        Scalar::Integer(size) => u64::try_from(*size).map_err(|_| BrokenEntry::Size(size.to_string())),
        other @ (Scalar::Text(_) | Scalar::Other) => Err(BrokenEntry::Size(other.to_string())),
    }
}
