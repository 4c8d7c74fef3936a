//! What the front has seen in Harbor: a bounded cache for the policy servers, and a memory for the worker.
//!
//! Everything is kept under the place it was read *through*. An index read through a second project is known there and
//! not in the real project, whose clocks it didn't start.

use std::time::Duration;

use harbor_warmer_protocol::{Digest, HarborImage, Tag, TagOrDigest};

use crate::lru::{Bounds, Lru};
use harbor_warmer_core::manifest::Manifest;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_harbor::{ManifestBody, ManifestHead};

/// How long what a digest names is kept. It can't change; it can be withdrawn.
const DIGESTS_FOR: Duration = Duration::from_secs(60 * 60);

/// How long "no such tag" is repeated: long enough for the replicas of a burst, short enough for a tag pushed late.
const MISSING_FOR: Duration = Duration::from_secs(5);

const HEADS: Bounds = Bounds { entries: 4096, bytes: usize::MAX };
const BODIES: Bounds = Bounds { entries: 4096, bytes: 8 * 1024 * 1024 };
const ROOTS: Bounds = Bounds { entries: 8192, bytes: usize::MAX };

/// The children of an index that are remembered: images have a few dozen at most.
const MAX_CHILDREN: usize = 256;

/// What was seen. The maps forget what was used longest ago.
pub(crate) struct ManifestCache {
    tags_for: Duration,
    heads: Lru<(HarborImage, TagOrDigest), (Timestamp, Option<ManifestHead>)>,
    bodies: Lru<(HarborImage, Digest), (Timestamp, ManifestBody)>,
    roots: Lru<(HarborImage, Digest), Digest>,
    windows: Lru<(HarborImage, Tag, Digest), Timestamp>,
}

/// What a HEAD or a GET found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cached<T> {
    /// This.
    There(T),
    /// Harbor's upstream has no such thing.
    Missing,
}

impl ManifestCache {
    /// Knows nothing yet, and will repeat what a tag means for `tags_for`.
    pub(crate) fn new(tags_for: Duration) -> Self {
        Self {
            tags_for,
            heads: Lru::new(HEADS),
            bodies: Lru::new(BODIES),
            roots: Lru::new(ROOTS),
            windows: Lru::new(HEADS),
        }
    }

    /// A HEAD's answer, if it is still good.
    pub(crate) fn head(
        &mut self,
        image: &HarborImage,
        reference: &TagOrDigest,
        now: Timestamp,
    ) -> Option<Cached<ManifestHead>> {
        if let TagOrDigest::Digest(digest) = reference
            && let Some((_, body)) = self.body(image, *digest, now)
        {
            let media_type = Some(body.media_type.clone()).filter(|media_type| !media_type.is_empty());
            let size_bytes = Some(body.bytes.len() as u64);
            return Some(Cached::There(ManifestHead { digest: *digest, media_type, size_bytes, from_storage: false }));
        }
        let (at, head) = self.heads.get(&(image.clone(), reference.clone()))?;
        let good_for = match (head, reference) {
            (None, _) => MISSING_FOR.min(self.tags_for),
            (Some(_), TagOrDigest::Tag(_)) => self.tags_for,
            (Some(_), TagOrDigest::Digest(_)) => DIGESTS_FOR,
        };
        (now.since(*at) < good_for).then(|| head.clone().map_or(Cached::Missing, Cached::There))
    }

    /// The digest that a tag has, and when Harbor said so, if it is still good.
    pub(crate) fn tag(&mut self, image: &HarborImage, tag: &Tag, now: Timestamp) -> Option<(Digest, Timestamp)> {
        let (at, head) = self.heads.get(&(image.clone(), TagOrDigest::Tag(tag.clone())))?;
        let digest = head.as_ref()?.digest;
        (now.since(*at) < self.tags_for).then_some((digest, *at))
    }

    /// When Harbor last opened a window of 600 s for the tag of this digest: with the last HEAD before the index was read,
    /// for once it was, Harbor answers from Redis and opens none.
    pub(crate) fn window(&mut self, image: &HarborImage, tag: &Tag, digest: Digest) -> Option<Timestamp> {
        self.windows.get(&(image.clone(), tag.clone(), digest)).copied()
    }

    /// A manifest and when it was read through this very place.
    pub(crate) fn body(
        &mut self,
        image: &HarborImage,
        digest: Digest,
        now: Timestamp,
    ) -> Option<(Timestamp, ManifestBody)> {
        let (at, body) = self.bodies.get(&(image.clone(), digest))?;
        (now.since(*at) < DIGESTS_FOR).then(|| (*at, body.clone()))
    }

    /// The digest of the index that has this child, or of the manifest itself where a tag names it directly.
    pub(crate) fn root_of_child(&mut self, image: &HarborImage, child: Digest) -> Option<Digest> {
        self.roots.get(&(image.clone(), child)).copied()
    }

    /// The root of `child` that `tag` names: a child can be in several indexes, and the tag tells which is meant.
    pub(crate) fn root_of_layers(
        &mut self,
        image: &HarborImage,
        child: Digest,
        tag: Option<&Tag>,
        now: Timestamp,
    ) -> Option<Digest> {
        let root = self.root_of_child(image, child)?;
        let Some(tag) = tag else { return Some(root) };
        match self.head(image, &TagOrDigest::Tag(tag.clone()), now) {
            Some(Cached::There(head)) => (head.digest == root).then_some(root),
            Some(Cached::Missing) | None => Some(root),
        }
    }

    /// Harbor answered a HEAD.
    pub(crate) fn saw_head(
        &mut self,
        image: &HarborImage,
        reference: &TagOrDigest,
        seen: &Cached<ManifestHead>,
        now: Timestamp,
    ) {
        let head = match seen {
            Cached::There(head) => Some(head.clone()),
            Cached::Missing => None,
        };
        if let (TagOrDigest::Tag(tag), Some(head)) = (reference, &head) {
            if self.bodies.get(&(image.clone(), head.digest)).is_none() {
                self.windows.insert((image.clone(), tag.clone(), head.digest), now, 0);
            }
            // What the digest is, is known now as well.
            let by_digest = (image.clone(), TagOrDigest::Digest(head.digest));
            self.heads.insert(by_digest, (now, Some(head.clone())), 0);
            if head.media_type.as_deref().is_some_and(is_manifest) {
                self.roots.insert((image.clone(), head.digest), head.digest, 0);
            }
        }
        self.heads.insert((image.clone(), reference.clone()), (now, head), 0);
    }

    /// Harbor sent a manifest of `image`, read through `through`.
    pub(crate) fn saw_body(
        &mut self,
        image: &HarborImage,
        through: &HarborImage,
        body: &ManifestBody,
        digest: Digest,
        now: Timestamp,
    ) {
        if let Ok(Manifest::Index(children)) = Manifest::parse(&body.bytes) {
            for child in children.into_iter().take(MAX_CHILDREN) {
                self.roots.insert((image.clone(), child.digest), digest, 0);
            }
        }
        self.bodies.insert((through.clone(), digest), (now, body.clone()), body.bytes.len());
    }
}

/// Whether a media type is that of a single manifest. Anything else is treated as an index, whose reading has
/// consequences.
pub(crate) fn is_manifest(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json"
            | "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws"
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    fn image(project: &str) -> HarborImage {
        HarborImage {
            harbor: "main".parse().unwrap(),
            project: project.parse().unwrap(),
            repository: "library/nginx".parse().unwrap(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    fn tag(tag: &str) -> TagOrDigest {
        TagOrDigest::Tag(tag.parse().unwrap())
    }

    fn head(byte: u8, media_type: &str) -> ManifestHead {
        ManifestHead {
            digest: digest(byte),
            media_type: Some(media_type.to_owned()),
            size_bytes: Some(7),
            from_storage: false,
        }
    }

    fn index(children: &[u8]) -> ManifestBody {
        let manifests: Vec<_> = children
            .iter()
            .map(|child| serde_json::json!({"mediaType": MANIFEST, "digest": digest(*child), "size": 7}))
            .collect();
        let index = serde_json::json!({"schemaVersion": 2, "manifests": manifests});
        let bytes = serde_json::to_vec(&index).unwrap();
        ManifestBody { bytes: Bytes::from(bytes), media_type: INDEX.to_owned() }
    }

    fn cache() -> ManifestCache {
        ManifestCache::new(Duration::from_secs(60))
    }

    #[test]
    fn a_tag_is_repeated_for_its_time_and_its_digest_for_longer() {
        let mut cache = cache();
        cache.saw_head(&image("hub"), &tag("1"), &Cached::There(head(1, INDEX)), at(0));
        assert_eq!(cache.head(&image("hub"), &tag("1"), at(59)), Some(Cached::There(head(1, INDEX))));
        assert_eq!(cache.head(&image("hub"), &tag("1"), at(60)), None);
        let by_digest = TagOrDigest::Digest(digest(1));
        assert_eq!(cache.head(&image("hub"), &by_digest, at(3599)), Some(Cached::There(head(1, INDEX))));
        assert_eq!(cache.head(&image("hub"), &by_digest, at(3600)), None);
        assert_eq!(cache.head(&image("quay"), &tag("1"), at(0)), None);
    }

    #[test]
    fn a_missing_tag_is_repeated_for_a_moment_only() {
        let mut cache = cache();
        cache.saw_head(&image("hub"), &tag("1"), &Cached::Missing, at(0));
        assert_eq!(cache.head(&image("hub"), &tag("1"), at(4)), Some(Cached::Missing));
        assert_eq!(cache.head(&image("hub"), &tag("1"), at(5)), None);
    }

    #[test]
    fn the_moment_of_a_window_is_the_last_head_before_the_index_was_read_and_outlives_the_tag() {
        let mut cache = cache();
        let tag: Tag = "1".parse().unwrap();
        let head = |cache: &mut ManifestCache, seconds| {
            cache.saw_head(&image("hub"), &TagOrDigest::Tag(tag.clone()), &Cached::There(head(1, INDEX)), at(seconds));
        };
        head(&mut cache, 0);
        head(&mut cache, 10);
        cache.saw_body(&image("hub"), &image("hub"), &index(&[2]), digest(1), at(11));
        head(&mut cache, 600);
        assert_eq!(cache.window(&image("hub"), &tag, digest(1)), Some(at(10)));
        assert_eq!(cache.window(&image("hub"), &tag, digest(2)), None);
    }

    #[test]
    fn a_read_manifest_answers_its_head_too() {
        let mut cache = cache();
        let body = index(&[2]);
        cache.saw_body(&image("hub"), &image("hub"), &body, digest(1), at(0));
        let size_bytes = Some(body.bytes.len() as u64);
        let expected = ManifestHead { size_bytes, ..head(1, INDEX) };
        let seen = cache.head(&image("hub"), &TagOrDigest::Digest(digest(1)), at(0));
        assert_eq!(seen, Some(Cached::There(expected)));
    }

    #[test]
    fn an_index_read_through_a_second_project_is_unknown_in_the_first_but_its_children_are_not() {
        let mut cache = cache();
        let body = index(&[2, 3]);
        cache.saw_body(&image("hub"), &image("hub-resolve"), &body, digest(1), at(0));
        assert_eq!(cache.body(&image("hub"), digest(1), at(0)), None);
        assert_eq!(cache.body(&image("hub-resolve"), digest(1), at(1)), Some((at(0), body)));
        assert_eq!(cache.root_of_child(&image("hub"), digest(3)), Some(digest(1)));
    }

    #[test]
    fn a_tag_that_names_a_manifest_names_its_own_root() {
        let mut cache = cache();
        cache.saw_head(&image("hub"), &tag("1"), &Cached::There(head(1, MANIFEST)), at(0));
        assert_eq!(cache.root_of_child(&image("hub"), digest(1)), Some(digest(1)));
    }

    #[test]
    fn a_child_of_several_indexes_belongs_to_the_one_that_the_tag_names_or_to_none() {
        let mut cache = cache();
        cache.saw_head(&image("hub"), &tag("old"), &Cached::There(head(1, INDEX)), at(0));
        cache.saw_head(&image("hub"), &tag("new"), &Cached::There(head(9, INDEX)), at(0));
        cache.saw_body(&image("hub"), &image("hub"), &index(&[2]), digest(1), at(0));
        cache.saw_body(&image("hub"), &image("hub"), &index(&[2]), digest(9), at(0));
        let root = |cache: &mut ManifestCache, tag: Option<&str>| {
            let tag = tag.map(|tag| tag.parse().unwrap());
            cache.root_of_layers(&image("hub"), digest(2), tag.as_ref(), at(1))
        };
        assert_eq!(root(&mut cache, Some("new")), Some(digest(9)));
        assert_eq!(root(&mut cache, Some("old")), None, "the worker finds out");
        assert_eq!(root(&mut cache, Some("unseen")), Some(digest(9)));
        assert_eq!(root(&mut cache, None), Some(digest(9)));
    }
}
