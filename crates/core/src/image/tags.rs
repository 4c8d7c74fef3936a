//! Whether Harbor records a tag, will yet, or won't any more.
//!
//! Harbor attaches a tag in one way only: a HEAD by tag starts a window of 600 s in which it tries every 10 s. Once an
//! index has been read it stands in Redis for 7 days, every HEAD is answered from there, and no window is started any
//! more. So a tag must be asked for before its index is read.

use std::time::Duration;

use harbor_warmer_protocol::{Digest, Tag};

use super::{Child, Content, Image, TagState};
use crate::project::HarborKind;
use crate::project::Project;
use crate::timestamp::Timestamp;

/// A tag that Harbor has not recorded in so many windows is not waited for any longer. One is enough as a rule, the
/// second is for a Harbor that restarted in the first.
const MOST_WINDOWS: u32 = 3;

/// A blocked tag is looked for so often: some thirty questions that Harbor answers by itself in the week that it lasts.
const BLOCKED_LOOK: Duration = Duration::from_secs(6 * 3_600);

/// So many of Harbor's tries after the manifest is recorded, its tag is attached as well: the first does it as a rule.
const TRIES_THAT_SUFFICE: u32 = 3;

/// Where a tag stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagStatus {
    /// Harbor's record of it is this image.
    Recorded,
    /// The tag means another image now.
    Moved,
    /// Harbor keeps no record of tags, or it may not be read.
    Unverifiable,
    /// Nobody looked since the image was asked for.
    Unseen,
    /// Not yet; Harbor tries until then.
    Expected {
        /// When it stops trying.
        until: Timestamp,
    },
    /// Harbor isn't trying; a HEAD makes it.
    WindowClosed,
    /// Harbor had the artifact and several windows to record the tag in, or can't have the artifact.
    NeverRecorded,
    /// Harbor will not record it before then.
    Blocked {
        /// When it forgets the index and can be asked again.
        heals_at: Timestamp,
        /// What came before its recording.
        by: BlockedBy,
    },
}

/// Why Harbor records a tag no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockedBy {
    /// The index was read for a workload that names it by its digest alone.
    UntaggedRead,
    /// The index was read for another tag of it, and this one was asked for later.
    EarlierRead,
    /// Not all of the index was there when Harbor's 400 s were over.
    Deadline,
}

impl BlockedBy {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::UntaggedRead, Self::EarlierRead, Self::Deadline];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::UntaggedRead => "untagged_read",
            Self::EarlierRead => "earlier_read",
            Self::Deadline => "deadline",
        }
    }
}

impl Image {
    /// Whether Harbor still answers for the index from Redis.
    pub(super) fn index_is_remembered(&self, project: &Project, now: Timestamp) -> bool {
        self.index_opened.is_some_and(|opened| now < opened + project.timers.index_remembered())
    }

    /// Where `tag` stands.
    pub fn tag_status(&self, tag: &Tag, project: &Project, now: Timestamp) -> TagStatus {
        let state = self.tags.get(tag).cloned().unwrap_or_default();
        let looked = state.checked.is_some_and(|checked| checked >= self.verify_since);
        if state.moved.is_some() {
            return TagStatus::Moved;
        }
        if project.kind == HarborKind::Distribution || (state.unreadable && looked) {
            return TagStatus::Unverifiable;
        }
        if !looked {
            return TagStatus::Unseen;
        }
        if state.recorded.is_some() {
            return TagStatus::Recorded;
        }
        let timers = project.timers;
        let window_ends = state.headed.map(|headed| headed + timers.tag_window());
        match self.content {
            Content::Index(_) if self.index_is_remembered(project, now) => {
                let opened = self.index_opened.unwrap_or(now);
                let heals_at = opened + timers.index_remembered();
                // The index is pushed with the first look after its children are there, at the latest when the
                // deadline is over; the tag follows at the next tick, if its window is still open.
                let pushed_by = opened + timers.index_deadline() + timers.manifest_look();
                let ticks = timers.tag_tick() + timers.tag_tick();
                let Some(window_ends) = window_ends.filter(|_| state.headed.is_some_and(|headed| headed <= opened))
                else {
                    // Whoever read the index may have asked for the tag before: Harbor tells, and until it had the time
                    // to record the tag nothing is known.
                    let until = pushed_by + ticks;
                    if now < until {
                        return TagStatus::Expected { until };
                    }
                    let by = if self.was_opened_for_a_tag(opened) {
                        BlockedBy::EarlierRead
                    } else {
                        BlockedBy::UntaggedRead
                    };
                    return TagStatus::Blocked { heals_at, by };
                };
                let until = pushed_by.min(window_ends) + ticks;
                if now < until {
                    TagStatus::Expected { until }
                } else {
                    TagStatus::Blocked { heals_at, by: BlockedBy::Deadline }
                }
            }
            _ => match window_ends.map(|ends| self.tag_is_late(&state, project).map_or(ends, |late| late.min(ends))) {
                _ if self.manifests.get(&self.root).is_some_and(|manifest| manifest.incompletable) => {
                    TagStatus::NeverRecorded
                }
                Some(until) if now < until => TagStatus::Expected { until },
                _ if state.windows >= MOST_WINDOWS => TagStatus::NeverRecorded,
                _ => TagStatus::WindowClosed,
            },
        }
    }

    /// Blocked tags that are due to be looked for all the same, and when the next one is: an administrator may have
    /// deleted Harbor's keys, and other clients ask Harbor for tags, too.
    pub(super) fn blocked_looks(&self, project: &Project, now: Timestamp) -> (Vec<&Tag>, Option<Timestamp>) {
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for tag in self.wanted_tags() {
            if !matches!(self.tag_status(tag, project, now), TagStatus::Blocked { .. }) {
                continue;
            }
            let checked = self.tags.get(tag).and_then(|state| state.checked).unwrap_or(now);
            let look = checked + project.timers.of(BLOCKED_LOOK);
            if now >= look {
                due.push(tag);
            } else {
                next = Some(next.map_or(look, |next| next.min(look)));
            }
        }
        (due, next)
    }

    /// When the tag of a single manifest should long have been attached: Harbor tries every 10 s once it has recorded the
    /// manifest, unless it was restarted since the HEAD. None while it is no matter, and in the last window, which is
    /// waited for to its end.
    fn tag_is_late(&self, state: &TagState, project: &Project) -> Option<Timestamp> {
        let recorded = self.manifests.get(&self.root)?.recorded?;
        let tries = project.timers.tag_tick() * TRIES_THAT_SUFFICE;
        (state.windows < MOST_WINDOWS).then(|| state.headed.map_or(recorded, |headed| headed.max(recorded)) + tries)
    }

    /// Whether every tag that it is wanted for means another image now, and nobody wrote its digest.
    pub(super) fn is_superseded(&self) -> bool {
        let elsewhere = |tag: &Tag| self.tags.get(tag).is_some_and(|state| state.moved.is_some());
        self.wants.iter().all(|want| !want.pinned && want.tag.as_ref().is_some_and(elsewhere))
    }

    /// Whether a tag of the index was asked for before it was read.
    fn was_opened_for_a_tag(&self, opened: Timestamp) -> bool {
        self.tags.values().any(|state| state.headed.is_some_and(|headed| headed <= opened))
    }

    /// The tags that somebody wants and that still mean this image, each once.
    pub(super) fn wanted_tags(&self) -> Vec<&Tag> {
        let mut tags: Vec<_> = self
            .wants
            .iter()
            .filter_map(|want| want.tag.as_ref())
            .filter(|tag| self.tags.get(*tag).is_none_or(|state| state.moved.is_none()))
            .collect();
        tags.sort();
        tags.dedup();
        tags
    }

    /// The platform manifests that somebody wants, in the order of the index.
    pub(super) fn wanted_children(&self) -> Vec<Digest> {
        match &self.content {
            Content::Unread => Vec::new(),
            Content::Manifest => vec![self.root],
            Content::Index(children) => Child::choose(children, self.wants.iter().flat_map(|want| &want.platforms)),
        }
    }

    /// The rest of the index, attestations too.
    pub(super) fn other_children(&self) -> Vec<Digest> {
        let wanted = self.wanted_children();
        let Content::Index(children) = &self.content else { return Vec::new() };
        let mut seen = Vec::new();
        for child in children {
            if !wanted.contains(&child.digest) && !seen.contains(&child.digest) {
                seen.push(child.digest);
            }
        }
        seen
    }
}
