//! What was seen, taken in.

use std::time::Duration;

use harbor_warmer_protocol::{Digest, Tag, TargetName};

use super::replication::ReplicationOutcome;
use super::{About, Blob, BlobState, Child, Content, DeadReason, Image, ManifestState};
use crate::attempts::Attempts;
use crate::problem::{Failure, Problem};
use crate::project::Project;
use crate::timestamp::Timestamp;

/// Something that was seen of an image or happened to it.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Harbor answered for the tag with this digest.
    TagHeaded {
        /// The tag.
        tag: Tag,
        /// What it means now.
        digest: Digest,
    },
    /// The upstream says that there is no such tag any more.
    TagGone(Tag),
    /// The root is an index, or one manifest; nobody read it yet.
    RootLooked {
        /// An index.
        is_index: bool,
    },
    /// The root is an index.
    RootWasIndex {
        /// Its entries.
        children: Vec<Child>,
        /// It was read through the project itself, which starts Harbor's clock for it.
        through_project: bool,
    },
    /// The root is a manifest of one platform.
    RootWasManifest {
        /// Its blobs, config included.
        blobs: Vec<Blob>,
        /// It was read through the project itself, so that Harbor looks for its blobs already.
        through_project: bool,
    },
    /// A platform manifest was read through the project.
    ChildRead {
        /// Which.
        digest: Digest,
        /// Its blobs, config included.
        blobs: Vec<Blob>,
    },
    /// The upstream says that there is no such manifest.
    ManifestMissing(Digest),
    /// A manifest that can't be read, or is of a kind that Harbor does not cache.
    ManifestUnsupported {
        /// Which.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// Harbor has the blob.
    BlobLocal(Digest),
    /// Harbor does not have it (yet).
    BlobAbsent(Digest),
    /// Harbor has something under its name that has another size: it does not have the blob.
    BlobOfOtherSize {
        /// The blob.
        digest: Digest,
        /// Bytes that Harbor has.
        size_bytes: u64,
    },
    /// Harbor was asked to fetch it, and began to.
    BlobAsked(Digest),
    /// It was read for a moment; at the pace that it came in, the whole of it takes so long.
    BlobSampled {
        /// Which.
        digest: Digest,
        /// The whole of it.
        takes: Duration,
    },
    /// It was read to its end, and was what its digest says.
    BlobDrained(Digest),
    /// Harbor has the manifest as an artifact.
    ArtifactRecorded {
        /// The manifest.
        digest: Digest,
        /// `os`, `architecture` and `variant` of its config, as far as Harbor tells.
        platform: Option<(String, String, Option<String>)>,
    },
    /// It does not (yet).
    ArtifactAbsent(Digest),
    /// The credentials don't allow to ask.
    ArtifactUnreadable(Digest),
    /// Harbor's record of the tag.
    TagRecorded {
        /// The tag.
        tag: Tag,
        /// The recorded artifact.
        digest: Digest,
        /// What it refers to, where it is an index: a trimmed copy under a digest of its own.
        children: Vec<Digest>,
    },
    /// Harbor has no record of the tag (yet).
    TagAbsent(Tag),
    /// The credentials don't allow to ask.
    TagUnreadable(Tag),
    /// A recorded manifest was pulled, to be kept.
    Kept(Digest),
    /// The target's replication was started for exactly these tags.
    ReplicationStarted {
        /// Where to.
        target: TargetName,
        /// The tags.
        tags: Vec<Tag>,
        /// Its number in Harbor.
        execution: i64,
    },
    /// An execution was looked at.
    ReplicationLooked {
        /// Whose.
        target: TargetName,
        /// Its number in Harbor.
        execution: i64,
        /// Where it stands.
        outcome: ReplicationOutcome,
    },
    /// A replication could not be started.
    ReplicationFailed {
        /// Where to.
        target: TargetName,
        /// The tags.
        tags: Vec<Tag>,
        /// Why.
        failure: Failure,
        /// Somebody mends it; it is never given up for that.
        heals: bool,
    },
    /// Its turn came at Harbor.
    Begun,
    /// Something failed that may go better next time.
    Failed {
        /// What was done.
        step: String,
        /// Which part that was about.
        about: About,
        /// Why it failed.
        failure: Failure,
    },
    /// Something failed because Harbor is in trouble: it waits longer and longer, and is never given up for it.
    Throttled {
        /// What was done.
        step: String,
        /// Which part that was about.
        about: About,
        /// Why it failed.
        failure: Failure,
    },
    /// Everything that was wanted is there, and nothing more is to be done for now.
    Finished,
    /// Work on the project stands still; nothing of that is the image's fault.
    Held,
}

/// A tag that meant this image a moment ago is gone when the upstream has said so this often in a row. Harbor says "not
/// found" as well when one of the two requests that a HEAD costs fails there, and the upstream may answer the next one.
const MISSED_IS_GONE: u32 = 3;

impl Image {
    /// Takes in what was seen.
    pub fn observe(&mut self, project: &Project, observation: Observation, now: Timestamp) {
        match observation {
            Observation::TagHeaded { tag, digest } => self.tag_headed(project, tag, digest, now),
            Observation::TagGone(tag) => self.tag_gone(tag, now),
            Observation::RootLooked { is_index } => self.is_index = Some(is_index),
            Observation::RootWasIndex { children, through_project } => {
                self.root_missing = false;
                self.content = Content::Index(children);
                if through_project {
                    self.index_opened = Some(now);
                }
                self.attempts.progressed();
            }
            Observation::RootWasManifest { blobs, through_project } => {
                self.root_missing = false;
                self.content = Content::Manifest;
                self.attempts.progressed();
                if through_project {
                    self.child_read(self.root, blobs, now);
                }
            }
            Observation::ChildRead { digest, blobs } => self.child_read(digest, blobs, now),
            Observation::ManifestMissing(digest) => self.manifest_missing(digest, now),
            Observation::ManifestUnsupported { digest, why } => self.hopeless(digest, DeadReason::Unsupported(why)),
            Observation::BlobLocal(digest) => {
                let blob = self.blobs.entry(digest).or_default();
                blob.checked = Some(now);
                blob.other_size = None;
                if blob.local.is_none() {
                    blob.local = Some(now);
                    self.progressed(About::Blob(digest));
                }
            }
            Observation::BlobAbsent(digest) => self.blob_absent(digest, None, now),
            Observation::BlobOfOtherSize { digest, size_bytes } => self.blob_absent(digest, Some(size_bytes), now),
            Observation::BlobAsked(digest) => self.blob_asked(digest, now),
            Observation::BlobSampled { digest, takes } => {
                self.blobs.entry(digest).or_default().takes = Some(takes);
            }
            Observation::BlobDrained(digest) => {
                self.blob_asked(digest, now);
                self.blobs.entry(digest).or_default().drained = Some(now);
            }
            Observation::ArtifactRecorded { digest, platform } => {
                let manifest = self.manifests.entry(digest).or_default();
                manifest.platform = platform.or(manifest.platform.take());
                let is_news = manifest.recorded.is_none() || manifest.checked < Some(self.verify_since);
                manifest.checked = Some(now);
                manifest.recorded.get_or_insert(now);
                if is_news {
                    self.progressed(About::Manifest(digest));
                }
            }
            Observation::ArtifactAbsent(digest) => self.artifact_absent(digest, now),
            Observation::ArtifactUnreadable(digest) => {
                let manifest = self.manifests.entry(digest).or_default();
                manifest.checked = Some(now);
                manifest.by_blobs = true;
            }
            Observation::TagRecorded { tag, digest, children } => self.tag_recorded(tag, digest, &children, now),
            Observation::TagAbsent(tag) => {
                let state = self.tags.entry(tag).or_default();
                state.checked = Some(now);
                state.recorded = None;
            }
            Observation::TagUnreadable(tag) => {
                let state = self.tags.entry(tag).or_default();
                state.checked = Some(now);
                state.unreadable = true;
            }
            Observation::Kept(_) => {
                self.kept = Some(now);
                self.attempts.progressed();
            }
            Observation::ReplicationStarted { target, tags, execution } => {
                self.replication_started(&target, &tags, execution, now);
            }
            Observation::ReplicationLooked { target, execution, outcome } => {
                self.replication_looked(&target, execution, &outcome, now);
            }
            Observation::ReplicationFailed { target, tags, failure, heals } => {
                self.replication_failed(&target, &tags, &failure, heals, now);
            }
            Observation::Begun => self.begun = Some(now),
            Observation::Failed { step, about, failure } => {
                self.failed(about, &step, &failure, false, now);
                self.forget_refused_copies(project, now);
            }
            Observation::Throttled { step, about, failure } => {
                self.failed(about, &step, &failure, true, now);
                self.forget_refused_copies(project, now);
            }
            // What failed on the way was made good, or nobody waits for it. It must not count against the next time.
            Observation::Finished => self.attempts.progressed(),
            // A pause is nobody's failure, so the time that an image may keep failing starts anew after it.
            Observation::Held => {
                self.attempts.failing_since = None;
                for manifest in self.manifests.values_mut() {
                    manifest.attempts.failing_since = None;
                }
                self.forget_whole_transfers();
            }
        }
        if self.warm_at.is_none() && self.is_warm(project) {
            self.warm_at = Some(now);
        }
    }

    /// So many requests are about to be made for it.
    pub fn requests(&mut self, requests: usize, project: &Project, now: Timestamp) {
        self.requests.make(requests, &project.timers, now);
    }

    /// Takes note of a failure where it belongs. `heals`: nobody is given up for it.
    fn failed(&mut self, about: About, step: &str, failure: &Failure, heals: bool, now: Timestamp) {
        for (seed, attempts) in self.attempts_of(about) {
            attempts.failed(step, failure.clone(), &seed, now);
            if heals {
                attempts.failing_since = None;
            }
        }
    }

    /// Something moved.
    fn progressed(&mut self, about: About) {
        for (_, attempts) in self.attempts_of(about) {
            attempts.progressed();
        }
    }

    /// Where failures of a part are counted: those of a platform of an index with the platform, and all others with the
    /// image.
    fn attempts_of(&mut self, about: About) -> Vec<(Digest, &mut Attempts)> {
        let is_index = matches!(self.content, Content::Index(_));
        let mut found: Vec<(Digest, &mut Attempts)> = Vec::new();
        if is_index {
            let concerns = |(digest, state): &(&Digest, &mut ManifestState)| match about {
                About::Image => false,
                About::Manifest(manifest) => **digest == manifest,
                About::Blob(blob) => state.blobs.contains(&blob),
            };
            let concerned = self.manifests.iter_mut().filter(concerns);
            found.extend(concerned.map(|(digest, state)| (*digest, &mut state.attempts)));
        }
        if found.is_empty() {
            found.push((self.root, &mut self.attempts));
        }
        found
    }

    fn child_read(&mut self, digest: Digest, blobs: Vec<Blob>, now: Timestamp) {
        let manifest = self.manifests.entry(digest).or_default();
        manifest.first_read.get_or_insert(now);
        if manifest.read.replace(now).is_some() {
            manifest.nudges += 1;
        } else {
            manifest.attempts.progressed();
            self.attempts.progressed();
        }
        let manifest = self.manifests.entry(digest).or_default();
        manifest.incompletable = blobs.iter().any(|blob| !blob.distributable);
        manifest.blobs = blobs.iter().map(|blob| blob.digest).collect();
        // Two layers of one manifest may be the same blob, which is one transfer.
        manifest.blobs.sort();
        manifest.blobs.dedup();
        for blob in blobs {
            let state = self.blobs.entry(blob.digest).or_default();
            state.size_bytes = blob.size_bytes;
            state.distributable = blob.distributable;
        }
    }

    fn blob_absent(&mut self, digest: Digest, other_size: Option<u64>, now: Timestamp) {
        let blob = self.blobs.entry(digest).or_default();
        if blob.local.is_some() {
            // It was there and is gone: a new story, in which nobody asked for it yet.
            *blob = BlobState { size_bytes: blob.size_bytes, distributable: true, ..BlobState::default() };
        }
        blob.checked = Some(now);
        blob.other_size = other_size;
    }

    fn blob_asked(&mut self, digest: Digest, now: Timestamp) {
        let blob = self.blobs.entry(digest).or_default();
        blob.asks += 1;
        blob.asked = Some(now);
        blob.first_asked.get_or_insert(now);
    }

    fn artifact_absent(&mut self, digest: Digest, now: Timestamp) {
        let manifest = self.manifests.entry(digest).or_default();
        manifest.checked = Some(now);
        if manifest.recorded.take().is_none() {
            return;
        }
        // It was recorded and is gone: retention or a person removed it. Its blobs may be gone with it.
        let gone = std::mem::replace(manifest, ManifestState { checked: Some(now), ..ManifestState::default() });
        for digest in gone.blobs {
            let blob = self.blobs.entry(digest).or_default();
            *blob =
                BlobState { size_bytes: blob.size_bytes, distributable: blob.distributable, ..BlobState::default() };
        }
        // Its tags went with it, or will have to be looked at.
        for tag in self.tags.values_mut() {
            tag.recorded = None;
            tag.checked = None;
        }
        self.warm_at = None;
    }

    fn tag_headed(&mut self, project: &Project, tag: Tag, digest: Digest, now: Timestamp) {
        let remembered = self.index_is_remembered(project, now);
        let state = self.tags.entry(tag).or_default();
        state.missed = 0;
        state.moved = (digest != self.root).then_some(now);
        state.gone = false;
        // Once the index was read, Harbor answers a HEAD from Redis and starts no window for the tag.
        if state.moved.is_none() && !remembered {
            state.headed = Some(now);
            state.windows += 1;
        }
    }

    fn tag_gone(&mut self, tag: Tag, now: Timestamp) {
        let state = self.tags.entry(tag.clone()).or_default();
        state.missed += 1;
        if state.missed >= MISSED_IS_GONE {
            state.moved = Some(now);
            state.gone = true;
            return;
        }
        let seed = self.root;
        let failure = Failure::new(Problem::MissingTag, "the upstream has no such tag");
        self.attempts.failed(&format!("HEAD tag {tag}"), failure, &seed, now);
    }

    fn tag_recorded(&mut self, tag: Tag, digest: Digest, children: &[Digest], now: Timestamp) {
        let is_this_image = match &self.content {
            // The recorded index is a trimmed copy with a digest of its own: its children tell.
            Content::Index(_) => {
                let wanted = self.wanted_children();
                digest == self.root || (!wanted.is_empty() && wanted.iter().all(|child| children.contains(child)))
            }
            Content::Manifest | Content::Unread => digest == self.root,
        };
        let state = self.tags.entry(tag).or_default();
        let is_news = state.recorded.is_none() || state.checked < Some(self.verify_since);
        state.checked = Some(now);
        if is_this_image {
            if is_news {
                self.attempts.progressed();
            }
            state.recorded.get_or_insert(now);
        } else {
            // Harbor goes on showing the old image until it records the new one.
            state.recorded = None;
        }
    }

    fn manifest_missing(&mut self, digest: Digest, now: Timestamp) {
        let is_pinned = self.wants.iter().any(|want| want.pinned || want.tag.is_none());
        if digest != self.root && !self.wanted_children().contains(&digest) {
            // Nobody asked for this platform; it would only complete the index.
            let error = "the upstream has no such manifest, although the index names it";
            let attempts = &mut self.manifests.entry(digest).or_default().attempts;
            let step = format!("read the manifest {digest}");
            attempts.failed(&step, Failure::new(Problem::MissingManifest, error), &digest, now);
            return;
        }
        if digest != self.root || is_pinned {
            self.hopeless(digest, DeadReason::NoSuchManifest);
            return;
        }
        self.root_missing = true;
        let tags: Vec<Tag> = self.wanted_tags().into_iter().cloned().collect();
        if tags.is_empty() {
            return;
        }
        // A tag named it a moment ago. Either it has moved since, or Harbor answered for the tag with the digest of its
        // own copy of the index, as it does when the upstream doesn't answer. The tag is asked for again.
        for tag in tags {
            self.tags.entry(tag).or_default().headed = None;
        }
        let error = "the upstream has no such manifest, although its tag was said to mean it";
        self.attempts.failed("read the root manifest", Failure::new(Problem::MissingManifest, error), &digest, now);
    }

    fn hopeless(&mut self, digest: Digest, reason: DeadReason) {
        if digest == self.root {
            self.hopeless = Some(reason);
        } else {
            self.manifests.entry(digest).or_default().hopeless = Some(reason);
        }
    }

    /// The project is paused. What Harbor was given whole before the pause and does not have proves nothing about its
    /// storage after it, so such blobs are looked for and asked for afresh.
    fn forget_whole_transfers(&mut self) {
        for blob in self.blobs.values_mut().filter(|blob| blob.local.is_none() && blob.drained.is_some()) {
            blob.forget();
            blob.checked = None;
        }
    }

    /// A failure was taken note of. If it was that Harbor refuses to keep a blob, the next try asks for it afresh.
    fn forget_refused_copies(&mut self, project: &Project, now: Timestamp) {
        for blob in self.blobs.values_mut() {
            if blob.copy_was_refused(project, now) {
                blob.forget();
            }
        }
        for manifest in self.manifests.values_mut() {
            if manifest.nudges >= super::next::MOST_NUDGES && manifest.recorded.is_none() {
                manifest.nudges = 0;
            }
        }
    }
}

impl BlobState {
    /// As if it had never been asked for.
    fn forget(&mut self) {
        *self = Self {
            size_bytes: self.size_bytes,
            distributable: self.distributable,
            checked: self.checked,
            takes: self.takes,
            ..Self::default()
        };
    }
}
