//! Harbor's own registry behind the core: what may be stored, and what it becomes in the database.

use std::sync::Arc;

use bytes::Bytes;

use crate::content::Content;
use crate::digest::Digest;
use crate::harbor::store::{Artifact, Link, Repository, StoredManifest, Tag};
use crate::harbor::{Harbor, Reference};
use crate::manifest::{self, Manifest};

/// Why a push into Harbor's own registry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PushRefused {
    #[error("MANIFEST_BLOB_UNKNOWN: {0}")]
    BlobUnknown(String),
    #[error("the manifest doesn't hash to its digest")]
    DigestInvalid,
    #[error("the manifest can't be parsed")]
    Unparsable,
    #[error("the system is in read only mode")]
    ReadOnly,
    #[error("the project's quota is exceeded")]
    QuotaExceeded,
}

impl Harbor {
    /// Links a blob into a repository. The quota is looked at when the whole blob has arrived.
    pub(crate) fn store_blob(&self, repository: &str, digest: &Digest, content: Content) -> Result<(), PushRefused> {
        let now = self.clock.now();
        self.store.write(|tables| {
            if tables.read_only {
                return Err(PushRefused::ReadOnly);
            }
            let size = content.size();
            let project = repository.split('/').next().unwrap_or_default();
            let quota = tables.projects.get(project).and_then(|project| project.spec.quota_bytes);
            if quota.is_some_and(|quota| tables.used_bytes(project) + size > quota) {
                return Err(PushRefused::QuotaExceeded);
            }
            tables.blobs.insert(digest.clone(), content);
            let links = tables.links.entry(repository.to_owned()).or_default();
            links.entry(digest.clone()).or_insert(Link { at: now, size });
            Ok(())
        })
    }

    /// The storage lost all of a blob but its first bytes. Whether it was there.
    pub(crate) fn truncate_stored_blob(&self, digest: &str, bytes: u64) -> bool {
        self.store.write(|tables| {
            let Some(content) = tables.blobs.get_mut(digest) else { return false };
            let size = bytes.min(content.size());
            *content = Content::Beginning { of: Arc::new(content.clone()), size };
            true
        })
    }

    /// `PUT` of a manifest: docker/distribution insists on every blob or child being there, then Harbor records the
    /// artifact. The event that this fires has no tag, as the push by digest comes first.
    pub(crate) fn push_manifest(
        self: &Arc<Self>,
        repository: &str,
        reference: &Reference,
        media_type: &str,
        bytes: &Bytes,
    ) -> Result<Digest, PushRefused> {
        let digest = Digest::of(bytes);
        if reference.digest().is_some_and(|wanted| *wanted != digest) {
            return Err(PushRefused::DigestInvalid);
        }
        let parsed = manifest::parse(media_type, bytes).ok_or(PushRefused::Unparsable)?;
        let now = self.clock.now();
        let created = self.store.write(|tables| {
            if tables.read_only {
                return Err(PushRefused::ReadOnly);
            }
            let children = match parsed {
                Manifest::Image { config, layers } => {
                    if let Some(missing) =
                        layers.iter().chain([&config]).find(|blob| !tables.has_blob(repository, &blob.digest))
                    {
                        return Err(PushRefused::BlobUnknown(missing.digest.to_string()));
                    }
                    Vec::new()
                }
                Manifest::Index { children } => {
                    if let Some(missing) =
                        children.iter().find(|child| tables.artifact(repository, &child.digest).is_none())
                    {
                        return Err(PushRefused::BlobUnknown(missing.digest.clone()));
                    }
                    children.iter().filter_map(|child| Digest::parse(&child.digest)).collect()
                }
            };
            let stored = StoredManifest { media_type: media_type.to_owned(), bytes: bytes.clone() };
            tables.manifests.insert(digest.clone(), stored);
            let (repository_id, artifact_id, tag_id) = (tables.next_id(), tables.next_id(), tables.next_id());
            let row = tables
                .repositories
                .entry(repository.to_owned())
                .or_insert_with(|| Repository { id: repository_id, ..Repository::default() });
            let created = !row.artifacts.contains_key(&digest);
            let artifact = Artifact { id: artifact_id, pushed: now, pulled: now, children };
            row.artifacts.entry(digest.clone()).or_insert(artifact);
            if let Reference::Tag(name) = reference {
                let tag = Tag { id: tag_id, digest: digest.clone(), pushed: now, pulled: now };
                row.tags.insert(name.clone(), tag);
            }
            Ok(created)
        })?;
        if created {
            self.replicate_event(repository, &digest);
        }
        Ok(digest)
    }

    /// `tag.Ctl.Ensure`: a tag is attached, or moved, to an artifact that exists. No event is fired.
    pub(crate) fn attach_tag(&self, repository: &str, digest: &str, name: &str) -> bool {
        let now = self.clock.now();
        self.store.write(|tables| {
            let id = tables.next_id();
            let Some(row) = tables.repositories.get_mut(repository) else { return false };
            let Some((digest, _)) = row.artifacts.get_key_value(digest) else { return false };
            let digest = digest.clone();
            match row.tags.get_mut(name) {
                Some(tag) if tag.digest == digest => tag.pulled = now,
                Some(_) | None => {
                    row.tags.insert(name.to_owned(), Tag { id, digest, pushed: now, pulled: now });
                }
            }
            true
        })
    }
}
