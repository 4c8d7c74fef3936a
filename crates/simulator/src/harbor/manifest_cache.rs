//! How an image manifest gets into Harbor (`ManifestCache.CacheContent`).
//!
//! Ten looks, 20 s apart, whether all blobs are there; after 200 s the missing ones are fetched, one after the other,
//! and the first that fails ends it. Every GET of a manifest that isn't recorded starts one more of these.

use std::sync::Arc;

use tracing::{debug, error};

use crate::digest::Digest;
use crate::harbor::core::Core;
use crate::harbor::{ArtifactInfo, Harbor, Reference};
use crate::upstream::UpstreamManifest;

pub(super) async fn cache(
    harbor: &Arc<Harbor>,
    core: &Arc<Core>,
    info: &ArtifactInfo,
    found: &UpstreamManifest,
    blobs: Vec<Digest>,
) {
    let mut missing = Vec::new();
    let mut pauses = harbor.clock.pauses();
    for _ in 0..harbor.timers.manifest_looks {
        pauses.pause(harbor.timers.dependency_interval).await;
        missing = harbor
            .store
            .read(|tables| blobs.iter().filter(|digest| !tables.has_blob(&info.repository, digest)).cloned().collect());
        if missing.is_empty() {
            break;
        }
    }
    for digest in missing {
        debug!(repository = %info.repository, %digest, "waiting blobs not empty, push it to local repo directly");
        if let Err(cause) = harbor.put_blob_to_local(core, info, &digest).await {
            error!(repository = %info.repository, %digest, %cause, "failed to push blob to local repo");
            return;
        }
    }
    // By digest first, which fires the event; the tag of a GET by tag comes second and fires nothing.
    let digest = info.reference.digest().unwrap_or(&found.digest).clone();
    let tag = info.reference.tag().filter(|_| harbor.version().records_the_tag_of_a_get());
    let references = [Some(Reference::Digest(digest)), tag.map(|tag| Reference::Tag(tag.to_owned()))];
    for reference in references.into_iter().flatten() {
        if let Err(cause) = harbor.push_manifest(&info.repository, &reference, &found.media_type, &found.bytes) {
            error!(repository = %info.repository, reference = reference.as_str(), %cause, "failed to push manifest");
        }
    }
}
