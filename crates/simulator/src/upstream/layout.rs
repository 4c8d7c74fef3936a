//! Reads an OCI image layout folder into the in-memory registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::content::Content;
use crate::digest::Digest;
use crate::manifest::{self, Manifest, OCI_INDEX, OCI_MANIFEST};
use crate::upstream::{Upstream, UpstreamManifest};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why a folder is not an OCI layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file is missing or unreadable.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is not an index or a manifest")]
    Content {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
struct TopLevel {
    manifests: Vec<TopDescriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopDescriptor {
    media_type: Option<String>,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Returns the names that can now be pulled, `repository:tag`.
pub(super) fn load(upstream: &Upstream, folder: &Path) -> Result<Vec<String>, LayoutError> {
    let path = folder.join("index.json");
    let top: TopLevel = serde_json::from_slice(&read(&path)?).map_err(|_| LayoutError::Content { path })?;
    let folder_name = folder.file_name().map_or_else(|| "image".to_owned(), |n| n.to_string_lossy().to_lowercase());
    let mut names = Vec::new();
    for listed in top.manifests {
        let name = listed.annotations.get(REF_NAME).map_or("latest", String::as_str);
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
            None => (folder_name.clone(), name.to_owned()),
        };
        let media_type = listed.media_type.unwrap_or_else(|| OCI_INDEX.to_owned());
        load_manifest(upstream, folder, &repository, &listed.digest, &media_type)?;
        let path = blob_path(folder, &listed.digest);
        let digest = Digest::parse(&listed.digest).ok_or(LayoutError::Content { path })?;
        upstream.move_tag(&repository, &tag, &digest);
        names.push(format!("{repository}:{tag}"));
    }
    Ok(names)
}

fn load_manifest(
    upstream: &Upstream,
    folder: &Path,
    repository: &str,
    digest: &str,
    media_type: &str,
) -> Result<(), LayoutError> {
    let path = blob_path(folder, digest);
    let bytes = read(&path)?;
    let bad = || LayoutError::Content { path: path.clone() };
    let parsed = manifest::parse(media_type, &bytes).ok_or_else(bad)?;
    let key = Digest::parse(digest).ok_or_else(bad)?;
    let held = UpstreamManifest { digest: key.clone(), media_type: media_type.to_owned(), bytes: bytes.into() };
    upstream.registry().repositories.entry(repository.to_owned()).or_default().manifests.insert(key, held);
    match parsed {
        Manifest::Index { children } => {
            for child in children {
                let media_type = if child.media_type.is_empty() { OCI_MANIFEST } else { &child.media_type };
                // A layout may hold some of an index's platforms only.
                if blob_path(folder, &child.digest).exists() {
                    load_manifest(upstream, folder, repository, &child.digest, media_type)?;
                }
            }
        }
        Manifest::Image { config, layers } => {
            for blob in std::iter::once(config).chain(layers) {
                let path = blob_path(folder, &blob.digest);
                if let Ok(metadata) = std::fs::metadata(&path) {
                    let content = Content::File { path: path.into(), size: metadata.len() };
                    let mut registry = upstream.registry();
                    let known = registry.repositories.entry(repository.to_owned()).or_default();
                    known.blobs.insert(blob.digest, content);
                }
            }
        }
    }
    Ok(())
}

fn blob_path(folder: &Path, digest: &str) -> PathBuf {
    folder.join("blobs").join(digest.replacen(':', "/", 1))
}

fn read(path: &Path) -> Result<Vec<u8>, LayoutError> {
    std::fs::read(path).map_err(|source| LayoutError::Read { path: path.to_owned(), source })
}
