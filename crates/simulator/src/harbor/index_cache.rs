//! How an index gets into Harbor (`ManifestListCache`).
//!
//! At its first GET upstream's index goes into Redis, which answers for it during 7 days. Then up to twenty looks,
//! 20 s apart, whether all children are recorded; at the end an index of those that are is pushed, if there are any.
//! Nothing is fetched, and nothing is tried again while Redis answers.

use std::sync::Arc;

use bytes::Bytes;
use tracing::error;

use crate::digest::Digest;
use crate::harbor::store::RedisEntry;
use crate::harbor::{ArtifactInfo, Harbor, Reference};
use crate::manifest::{IndexChild, print_index};
use crate::upstream::UpstreamManifest;

pub(super) async fn cache(
    harbor: &Arc<Harbor>,
    info: &ArtifactInfo,
    found: &UpstreamManifest,
    children: Vec<IndexChild>,
) {
    let digest = info.reference.digest().unwrap_or(&found.digest);
    let expires = Some(harbor.clock.now() + harbor.timers.index_in_redis);
    harbor.store.write(|tables| {
        let media_type = Bytes::from(found.media_type.clone());
        let entry = RedisEntry { value: media_type, expires };
        tables.redis.insert(redis_content_type_key(&info.repository, digest), entry);
        let entry = RedisEntry { value: found.bytes.clone(), expires };
        tables.redis.insert(redis_key(&info.repository, digest), entry);
    });

    let mut recorded = Vec::new();
    let mut pauses = harbor.clock.pauses();
    for _ in 0..harbor.timers.index_looks {
        pauses.pause(harbor.timers.dependency_interval).await;
        recorded = harbor.store.read(|tables| {
            let exists = |child: &&IndexChild| tables.artifact(&info.repository, &child.digest).is_some();
            children.iter().filter(exists).cloned().collect::<Vec<_>>()
        });
        if recorded.len() == children.len() {
            break;
        }
    }
    if recorded.is_empty() {
        error!(repository = %info.repository, %digest, "manifest list doesn't contain any pushed manifest");
        return;
    }
    let (media_type, bytes) = print_index(&recorded);
    let bytes = Bytes::from(bytes);
    let trimmed = Digest::of(&bytes);
    // `cacheTrimmedDigest` takes the digest of the request, which a GET by tag doesn't have: the tag's window then
    // never finds the recorded index.
    let requested = info.reference.digest().map(Digest::as_str).unwrap_or_default();
    let entry = RedisEntry { value: Bytes::from(trimmed.to_string()), expires: None };
    harbor.store.write(|tables| tables.redis.insert(trimmed_key(requested), entry));
    let reference = Reference::Digest(trimmed);
    if let Err(cause) = harbor.push_manifest(&info.repository, &reference, media_type, &bytes) {
        error!(repository = %info.repository, %cause, "error when push manifest list to local");
    }
}

/// The key that an administrator may delete, as it stands in Redis.
pub(super) fn redis_key(repository: &str, digest: &str) -> String {
    format!("cache:manifestlist:{repository}:{digest}")
}

pub(super) fn redis_content_type_key(repository: &str, digest: &str) -> String {
    format!("{}:contenttype", redis_key(repository, digest))
}

/// Where the digest of Harbor's own print is found by upstream's digest, in whatever repository.
pub(super) fn trimmed_key(upstream: &str) -> String {
    format!("cache:trimmedmanifestlist:{upstream}")
}
