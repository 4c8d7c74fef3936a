//! One image on its way into Harbor: what has been seen of it, and what to do next.
//!
//! This module decides; it does not act. [`Image::observe`] takes in what was seen, [`Image::next`] says what follows
//! from it, and both are given `now`, so a test can replay a fortnight of failures in a millisecond. The crate
//! `store` makes observations durable, and the warmer's `worker` carries the steps out.
//!
//! It is level-triggered: a crash, a requeue, a re-check and a restart of Harbor all do the same thing, which is to
//! look again and plan again. Phases are derived ([`phase`]), never stored: a restart knows no more and no less than
//! what was observed.

mod diagnosis;
mod index;
mod milestones;
mod next;
mod observe;
mod phase;
mod replication;
mod tags;
#[cfg(test)]
pub(crate) mod tests;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harbor_warmer_protocol::{Digest, HarborImage, Offer, Platform, Platforms, Tag, TargetName};
use serde::{Deserialize, Serialize};

pub use milestones::Milestones;
pub use next::{About, Next, Step, Waiting};
pub use observe::Observation;
pub use replication::ReplicationOutcome;
pub use tags::{BlockedBy, TagStatus};

use crate::attempts::{Attempt, Attempts};
use crate::problem::Problem;
use crate::projects::Needs;
use crate::requests::Requests;
use crate::timestamp::Timestamp;

/// An image: one root digest in one repository of one Harbor, whatever tags, platforms and clusters want it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Where it lives.
    pub place: HarborImage,
    /// What its tags resolved to: the digest of an index or of a single manifest.
    pub root: Digest,
    /// What the root was seen to be.
    pub(crate) content: Content,
    /// The upstream said that it has no such root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) root_missing: bool,
    /// What a HEAD said of the root before anybody read it: an index, or one manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) is_index: Option<bool>,
    /// When the index was first read through the project itself: Harbor waits 400 s from there for its children, and
    /// remembers it for 7 days.
    pub(crate) index_opened: Option<Timestamp>,
    /// The platform manifests seen so far; for a single manifest, the root itself.
    pub(crate) manifests: BTreeMap<Digest, ManifestState>,
    /// The blobs of those manifests.
    pub(crate) blobs: BTreeMap<Digest, BlobState>,
    /// The tags that were asked for.
    pub(crate) tags: BTreeMap<Tag, TagState>,
    /// Its tags on their way to targets.
    #[serde(default)]
    pub(crate) replications: Vec<ReplicationState>,
    /// When it was last pulled to be kept, or first complete.
    #[serde(default)]
    pub(crate) kept: Option<Timestamp>,
    /// When its turn came at Harbor: from there it is worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun: Option<Timestamp>,
    /// When somebody who asked for it last made it be tried at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hurried: Option<Timestamp>,
    /// The requests that were made for it lately.
    #[serde(default, skip_serializing_if = "Requests::is_empty")]
    pub(crate) requests: Requests,
    /// When it was first asked for since it was last finished.
    pub opened: Timestamp,
    /// What was verified before this moment counts as hearsay: the image was asked for again.
    pub(crate) verify_since: Timestamp,
    /// When every wanted platform was first seen recorded.
    pub(crate) warm_at: Option<Timestamp>,
    /// No trying again mends this.
    pub(crate) hopeless: Option<DeadReason>,
    /// Failures of this image: never its waiting, never what is wrong with its project.
    pub(crate) attempts: Attempts,
    /// Who asked for what. Kept in rows of their own, since they come in while a worker holds the image.
    #[serde(skip)]
    pub wants: Vec<Want>,
}

/// One party's interest in an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Want {
    /// The cluster, by its user name.
    pub cluster: String,
    /// The tag that the workload wrote, if it wrote one.
    pub tag: Option<Tag>,
    /// It wrote the digest too, so it means this image wherever the tag goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// What its nodes run.
    pub platforms: Platforms,
    /// Where it pulls from.
    pub target: Option<TargetName>,
    /// First asked for.
    pub first_asked: Timestamp,
    /// Last asked for, give or take an hour: it is not written for every Pod.
    pub last_asked: Timestamp,
    /// When Harbor was asked for the tag and answered with this image, if that was found out before the image had the
    /// want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headed: Option<Timestamp>,
}

/// What a root digest was seen to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Content {
    /// Nobody looked yet.
    Unread,
    /// One manifest, for whatever platform it is.
    Manifest,
    /// An index of them.
    Index(Vec<Child>),
}

/// An entry of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// The manifest's digest.
    pub digest: Digest,
    /// `os`, `architecture` and `variant`, as the index says; none for what is no platform's (attestations,
    /// signatures), and where the index does not say.
    pub platform: Option<(String, String, Option<String>)>,
    /// The index does not say what platform it is for, so it may be for any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undeclared: bool,
}

impl Child {
    /// What it offers to a node.
    fn offer(&self) -> Offer<'_> {
        match &self.platform {
            Some((os, architecture, variant)) => Offer::Image { os, architecture, variant: variant.as_deref() },
            None if self.undeclared => Offer::Undeclared,
            None => Offer::Nothing,
        }
    }

    /// The entries of an index that nodes of these platforms pull, each once, in the order of the index.
    pub fn choose<'a>(children: &[Self], platforms: impl IntoIterator<Item = &'a Platform>) -> Vec<Digest> {
        let offers: Vec<_> = children.iter().map(Self::offer).collect();
        let platforms: BTreeSet<_> = platforms.into_iter().collect();
        let positions: BTreeSet<_> = platforms.into_iter().flat_map(|wanted| wanted.choose(&offers)).collect();
        let mut chosen = Vec::new();
        for child in positions.into_iter().map(|position| children[position].digest) {
            if !chosen.contains(&child) {
                chosen.push(child);
            }
        }
        chosen
    }
}

/// A blob as a manifest describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Bytes.
    pub size_bytes: u64,
    /// Whether Harbor can store it: non-distributable layers come from somewhere else.
    pub distributable: bool,
}

/// What was seen of one manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ManifestState {
    /// When it was last read through the project: Harbor then looks every 20 s, ten times, whether its blobs are there.
    pub(crate) read: Option<Timestamp>,
    /// When it was read for the first time since nothing was known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_read: Option<Timestamp>,
    /// How often it was read again because Harbor had not recorded it.
    pub(crate) nudges: u32,
    /// Its blobs, config included.
    pub(crate) blobs: Vec<Digest>,
    /// No trying again mends this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hopeless: Option<DeadReason>,
    /// Failures of this manifest and of blobs that it alone has: they hold up no other platform.
    #[serde(default, skip_serializing_if = "Attempts::is_empty")]
    pub(crate) attempts: Attempts,
    /// What it runs on, as Harbor's record says: of a manifest without an index nothing else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<(String, String, Option<String>)>,
    /// It has a blob that Harbor can't store, so Harbor never records it.
    pub(crate) incompletable: bool,
    /// When Harbor was seen to have it as an artifact.
    pub(crate) recorded: Option<Timestamp>,
    /// When that was last looked at.
    pub(crate) checked: Option<Timestamp>,
    /// Harbor's API may not be read; the blobs stand in for the record.
    pub(crate) by_blobs: bool,
}

/// What was seen of one blob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlobState {
    /// Bytes, as the manifest says.
    pub(crate) size_bytes: u64,
    /// Harbor can store it.
    pub(crate) distributable: bool,
    /// When Harbor was first seen to have it.
    pub(crate) local: Option<Timestamp>,
    /// When that was last looked at.
    pub(crate) checked: Option<Timestamp>,
    /// Harbor has something under its name that is of this size, which is not its own: a copy that broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) other_size: Option<u64>,
    /// How often Harbor was asked to fetch it.
    pub(crate) asks: u32,
    /// When it was first asked for since it was last seen there.
    pub(crate) first_asked: Option<Timestamp>,
    /// When it was last asked for.
    pub(crate) asked: Option<Timestamp>,
    /// When it was last read to its end: from there Harbor's own copy is finished too, or was refused.
    pub(crate) drained: Option<Timestamp>,
    /// How long a copy of it takes, as fast as the upstream sent it when it was asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) takes: Option<Duration>,
}

/// What was seen of one tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TagState {
    /// When Harbor was last asked for the tag and answered with this root: for 600 s from there it attaches the tag
    /// to the artifact, if that arrives.
    pub(crate) headed: Option<Timestamp>,
    /// How many such windows were opened since the image was asked for.
    pub(crate) windows: u32,
    /// When the tag was seen to mean another digest, or to be gone.
    pub(crate) moved: Option<Timestamp>,
    /// It was seen to be gone, and not to mean another image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
    /// How often in a row the upstream said that there is no such tag.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) missed: u32,
    /// When Harbor's record was seen to be this image.
    pub(crate) recorded: Option<Timestamp>,
    /// When that was last looked at.
    pub(crate) checked: Option<Timestamp>,
    /// Harbor's record may not be read.
    pub(crate) unreadable: bool,
    /// It was told that Harbor will not record it for days.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) blocked: bool,
}

/// What was seen of one tag on its way to one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReplicationState {
    /// The tag.
    pub(crate) tag: Tag,
    /// Where to.
    pub(crate) target: TargetName,
    /// The execution under way, by Harbor's number.
    pub(crate) execution: Option<i64>,
    /// When that was started.
    pub(crate) started: Option<Timestamp>,
    /// When it was last looked at.
    pub(crate) looked: Option<Timestamp>,
    /// When an execution that was started after the tag was recorded ended well.
    pub(crate) succeeded: Option<Timestamp>,
    /// It failed together with other tags, so it goes by itself now.
    pub(crate) alone: bool,
    /// Failures to get it there.
    pub(crate) attempts: Attempts,
}

/// Why an image is a dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadReason {
    /// The index has none of the wanted platforms.
    NoSuchPlatform {
        /// What was wanted.
        wanted: Vec<String>,
        /// What there is.
        offered: Vec<String>,
    },
    /// The upstream says that there is no such tag, and has said so for long.
    NoSuchTag,
    /// The upstream says that there is no such manifest.
    NoSuchManifest,
    /// A manifest that can't be read, or is of a kind that Harbor does not cache.
    Unsupported(String),
    /// An index that is named by its digest alone, and the configuration leaves those out.
    Untagged,
    /// It failed again and again; the last error.
    GaveUp(Attempt),
    /// The worker that held it ended without a word, again and again.
    Crashed,
}

impl std::fmt::Display for DeadReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchPlatform { wanted, offered } if offered.is_empty() => {
                write!(f, "the image has no {}, and nothing else that says it is an image", wanted.join(", "))
            }
            Self::NoSuchPlatform { wanted, offered } => {
                write!(f, "the image has no {}; it has {}", wanted.join(", "), offered.join(", "))
            }
            Self::NoSuchTag => f.write_str("the upstream has no such tag"),
            Self::NoSuchManifest => f.write_str("the upstream has no such manifest"),
            Self::Unsupported(why) => write!(f, "Harbor does not cache this: {why}"),
            Self::Untagged => f.write_str(
                "named by its digest alone: reading the index would keep Harbor from recording its tags for 7 days, \
                 and `warmUntagged: false` leaves it to the first pull",
            ),
            Self::GaveUp(last) => write!(f, "gave up: {}", last.error),
            Self::Crashed => f.write_str("its worker ended without a word several times; see the log for a panic"),
        }
    }
}

impl DeadReason {
    /// It failed for too long; what failed last.
    pub(crate) fn gave_up(attempts: &Attempts) -> Self {
        let unknown = || Attempt { at: Timestamp::default(), step: String::new(), error: String::new(), problem: None };
        Self::GaveUp(attempts.last.back().cloned().unwrap_or_else(unknown))
    }

    /// Of what kind that is.
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoSuchPlatform { .. } => Problem::NoSuchPlatform,
            Self::NoSuchTag => Problem::MissingTag,
            Self::NoSuchManifest => Problem::MissingManifest,
            Self::Unsupported(_) => Problem::Unsupported,
            Self::Untagged => Problem::Untagged,
            Self::Crashed => Problem::Crashed,
            Self::GaveUp(last) => last.problem.unwrap_or(Problem::Unknown),
        }
    }

    /// Every name in metrics.
    pub const LABELS: [&'static str; 7] =
        ["no_such_platform", "no_such_tag", "no_such_manifest", "unsupported", "untagged", "gave_up", "crashed"];

    /// Its name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoSuchPlatform { .. } => "no_such_platform",
            Self::NoSuchTag => "no_such_tag",
            Self::NoSuchManifest => "no_such_manifest",
            Self::Unsupported(_) => "unsupported",
            Self::Untagged => "untagged",
            Self::GaveUp(_) => "gave_up",
            Self::Crashed => "crashed",
        }
    }
}

/// Whoever asks again makes what backs off be tried at once, at most so often.
pub(crate) const HURRIED_EVERY: Duration = Duration::from_secs(60);

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Image {
    /// An image that nothing is known of but its digest.
    pub fn new(place: HarborImage, root: Digest, now: Timestamp) -> Self {
        Self {
            place,
            root,
            content: Content::Unread,
            root_missing: false,
            is_index: None,
            index_opened: None,
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            tags: BTreeMap::new(),
            replications: Vec::new(),
            kept: None,
            begun: None,
            hurried: None,
            requests: Requests::default(),
            opened: now,
            verify_since: now,
            warm_at: None,
            hopeless: None,
            attempts: Attempts::default(),
            wants: Vec::new(),
        }
    }

    /// It is asked for again: what was verified before is looked at again, and failures are forgotten.
    pub fn reopen(&mut self, now: Timestamp) {
        self.opened = now;
        self.verify_since = now;
        self.warm_at = None;
        self.root_missing = false;
        self.hopeless = None;
        for tag in self.tags.values_mut() {
            tag.windows = 0;
        }
        // Redis may have forgotten the index since, as when an administrator deleted its keys: that is tried, and costs
        // a HEAD and a GET that Harbor else answers from there.
        if self.tags.values().any(|tag| tag.recorded.is_none() && tag.moved.is_none()) {
            self.index_opened = None;
        }
        // A right that was missing may have been granted since.
        for manifest in self.manifests.values_mut() {
            manifest.by_blobs = false;
            manifest.hopeless = None;
            manifest.attempts = manifest.attempts.reopened();
        }
        if self.content == Content::Unread {
            self.begun = None;
        }
        self.requests = Requests::default();
        self.attempts = self.attempts.reopened();
    }

    /// It is a dead letter for this, whatever is planned.
    pub fn give_up(&mut self, reason: DeadReason) {
        self.hopeless = Some(reason);
    }

    /// Somebody asks for it. If it backs off, it is tried at once, but not more often than once a minute, so that Pods that
    /// are created again and again don't undo the waits. Whether it is.
    pub fn hurry(&mut self, now: Timestamp) -> bool {
        let replications = self.replications.iter().map(|state| &state.attempts);
        let manifests = self.manifests.values().map(|state| &state.attempts);
        let mut all = std::iter::once(&self.attempts).chain(manifests).chain(replications);
        if all.all(|attempts| attempts.backing_off(now).is_none()) {
            return false;
        }
        if self.hurried.is_some_and(|at| at <= now && now < at + HURRIED_EVERY) {
            return false;
        }
        self.hurried = Some(now);
        self.attempts.try_now();
        for manifest in self.manifests.values_mut() {
            manifest.attempts.try_now();
        }
        for replication in &mut self.replications {
            replication.attempts.try_now();
        }
        true
    }

    /// Whether somebody waits for this blob; others only complete the index.
    pub fn wants_blob(&self, digest: &Digest) -> bool {
        let of =
            |child: &Digest| self.manifests.get(child).is_some_and(|state| state.blobs.binary_search(digest).is_ok());
        self.wanted_children().iter().any(of)
    }

    /// What it needs of its project next.
    pub fn needs(&self, strained: bool, now: Timestamp) -> Needs {
        if self.attempts.retry_at.is_some_and(|at| now < at) {
            return Needs::Nothing;
        }
        // What nobody waits for is left while Harbor limits requests, so it finds out nothing.
        let wanted = self.wanted_blobs();
        let asked_for = self.blobs.iter().filter(|(digest, _)| !strained || wanted.contains_key(*digest));
        let missing = asked_for.map(|(_, blob)| blob).filter(|blob| blob.distributable && blob.local.is_none());
        match missing.map(|blob| blob.size_bytes).max() {
            Some(bytes) => Needs::Storage(bytes),
            None if self.content == Content::Unread => Needs::Storage(0),
            // What is left is mostly told by Harbor alone, whatever is wrong behind it.
            None => Needs::Nothing,
        }
    }

    /// What went wrong last.
    pub fn last_error(&self) -> Option<&str> {
        self.attempts.last_error()
    }

    /// Gives it its wants, and takes in what was found out on the way to them.
    pub fn set_wants(&mut self, wants: Vec<Want>) {
        for want in &wants {
            let (Some(tag), Some(headed)) = (&want.tag, want.headed) else { continue };
            let state = self.tags.entry(tag.clone()).or_default();
            // A tag that was rolled back means this image again.
            state.moved = state.moved.filter(|moved| *moved >= headed);
            // Once the index was read, a HEAD opens no window for the tag any more.
            if self.index_opened.is_none_or(|opened| headed <= opened) {
                state.headed = state.headed.max(Some(headed));
            }
        }
        self.wants = wants;
    }
}
