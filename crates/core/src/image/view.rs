//! An image as people are shown it.

use std::collections::BTreeMap;

use harbor_warmer_protocol::{Digest, ImageState, Tag};

use super::diagnosis::never_recorded;
use super::{BlobState, BlockedBy, Content, Image, Next, TagStatus, Want};
use crate::attempts::Attempts;
use crate::project::Project;
use crate::timestamp::Timestamp;
use crate::view::{
    AttemptView, BlobView, ImageSummary, ImageView, ManifestView, MilestoneView, Phase, TagView, WantView,
};

/// What the row of a unit adds to its body.
#[derive(Clone, Debug)]
pub struct RowFacts {
    /// Its id, as in a receipt.
    pub id: String,
    /// Whether it was given up.
    pub dead: bool,
    /// When the next step is due.
    pub due: Timestamp,
    /// When it was first handed over.
    pub created: Timestamp,
    /// What it waits for, or why it was given up.
    pub reason: Option<String>,
}

impl Image {
    /// Whether anything was asked of Harbor for it.
    pub fn has_begun(&self) -> bool {
        self.begun.is_some() || self.content != Content::Unread
    }

    /// Whether a finished image answers `want` as well, so that nothing needs to be done for it.
    pub fn answers(&self, want: &Want, project: &Project) -> bool {
        let knows_tag = want.tag.as_ref().is_none_or(|tag| self.tags.contains_key(tag));
        match self.state_of(want, project) {
            ImageState::Warm => knows_tag,
            // It is not served, and looking again would find the same: what a digest names doesn't change.
            ImageState::Failed => self.is_settled_for(want),
            _ => false,
        }
    }

    /// A line of a list.
    pub fn summary(&self, row: RowFacts, project: &Project, now: Timestamp) -> ImageSummary {
        let blobs = self.wanted_blobs();
        let phase = if row.dead { Phase::Failed } else { self.phase(project, now) };
        // Blobs are only looked at where the artifact isn't recorded yet.
        let all = phase >= Phase::Local && phase != Phase::Failed;
        let local = || blobs.values().filter(|blob| all || blob.local.is_some());
        let mut tags: Vec<_> = self.wants.iter().filter_map(|want| want.tag.clone()).collect();
        tags.sort();
        tags.dedup();
        let reason = row.reason.clone().or_else(|| match self.next(project, now) {
            Next::WaitUntil(_, waiting) => Some(waiting.to_string()),
            Next::Stuck(_, why) | Next::Refused(_, why) => Some(why),
            Next::Dead(reason) => Some(reason.to_string()),
            Next::Done(_) => self.stuck(row.dead, None, project, now).map(|stuck| stuck.cause),
            Next::Do(_) => None,
        });
        ImageSummary {
            id: row.id,
            place: self.place.clone(),
            tags,
            root: Some(self.root),
            phase,
            reason,
            blobs_local: local().count(),
            blobs_total: blobs.len(),
            bytes_local: local().map(|blob| blob.size_bytes).sum(),
            bytes_total: blobs.values().map(|blob| blob.size_bytes).sum(),
            failures: self.all_attempts().map(Attempts::counted).max().unwrap_or_default(),
            first_asked: self.wants.iter().map(|want| want.first_asked).min().unwrap_or(row.created),
            last_asked: self.wants.iter().map(|want| want.last_asked).max().unwrap_or(row.created),
            due: row.due,
        }
    }

    /// Everything about it.
    pub fn view(&self, row: RowFacts, project: &Project, now: Timestamp) -> ImageView {
        let dead = row.dead;
        let stuck = self.stuck(dead, row.reason.as_deref(), project, now);
        let remembered = self.index_opened.filter(|_| self.index_is_remembered(project, now));
        let wants = self.wants.iter().map(|want| {
            let state = if dead { harbor_warmer_protocol::ImageState::Failed } else { self.state_of(want, project) };
            WantView { reason: self.note_of(want, project), ..want_view(want, state) }
        });
        ImageView {
            wants: wants.collect(),
            tag_records: self.tag_views(project, now),
            manifests: self.manifest_views(),
            blobs: self
                .blobs
                .iter()
                .map(|(digest, blob)| BlobView {
                    digest: *digest,
                    size_bytes: blob.size_bytes,
                    asks: blob.asks,
                    local: blob.local,
                })
                .collect(),
            attempts: self.attempt_views(),
            timeline: self.timeline(),
            stuck,
            new_tags_blocked_until: remembered.map(|opened| opened + project.timers.index_remembered()),
            summary: self.summary(row, project, now),
        }
    }

    /// The failures of the image and of each of its parts.
    fn all_attempts(&self) -> impl Iterator<Item = &Attempts> {
        std::iter::once(&self.attempts).chain(self.manifests.values().map(|manifest| &manifest.attempts))
    }

    /// The last of all failures, oldest first. One request that failed for two platforms is one.
    fn attempt_views(&self) -> Vec<AttemptView> {
        let mut attempts: Vec<_> = self.all_attempts().flat_map(attempt_views).collect();
        attempts.sort_by_key(|attempt| attempt.at);
        attempts.dedup();
        attempts.split_off(attempts.len().saturating_sub(Attempts::KEPT))
    }

    pub(super) fn wanted_blobs(&self) -> BTreeMap<Digest, &BlobState> {
        self.wanted_children()
            .iter()
            .filter_map(|child| self.manifests.get(child))
            .flat_map(|manifest| &manifest.blobs)
            .filter_map(|digest| Some((*digest, self.blobs.get(digest)?)))
            .collect()
    }

    fn tag_views(&self, project: &Project, now: Timestamp) -> Vec<TagView> {
        self.tags
            .iter()
            .map(|(tag, state)| {
                let status = self.tag_status(tag, project, now);
                TagView {
                    tag: tag.clone(),
                    window_ends: state.headed.map(|headed| headed + project.timers.tag_window()),
                    recorded: state.recorded,
                    blocked: match status {
                        TagStatus::Blocked { heals_at, by } => Some(self.blocked_reason(tag, by, heals_at)),
                        TagStatus::NeverRecorded => Some(never_recorded(tag)),
                        TagStatus::Moved => Some(self.moved_reason(tag)),
                        _ => None,
                    },
                }
            })
            .collect()
    }

    /// Why a tag is not waited for any more.
    pub(super) fn moved_reason(&self, tag: &Tag) -> String {
        match self.tags.get(tag) {
            Some(state) if state.gone && state.recorded.is_some() => format!(
                "the upstream has no tag {tag} any more; Harbor keeps what it recorded until its retention drops it"
            ),
            Some(state) if state.gone => format!("the upstream has no tag {tag} any more"),
            _ => format!("the tag {tag} means another image now"),
        }
    }

    /// Why Harbor records a tag no more, when that heals, and what an administrator can do.
    pub(super) fn blocked_reason(&self, tag: &Tag, by: BlockedBy, heals_at: Timestamp) -> String {
        let why = match by {
            BlockedBy::UntaggedRead => format!(
                "its index was read for a workload that names it by its digest alone, before {tag} was asked for"
            ),
            BlockedBy::EarlierRead => format!("its index was read for another tag before {tag} was asked for"),
            BlockedBy::Deadline => "its index was not complete when Harbor's 400 s for it were over".to_owned(),
        };
        let repository = format!("{}/{}", self.place.project, self.place.repository);
        let key = format!("cache:manifestlist:{repository}:{}", self.root);
        format!(
            "{why}; Harbor starts nothing for the tags of this index until {heals_at}; once the Redis keys {key} and \
             {key}:contenttype are deleted, it is enough to ask for the image again"
        )
    }

    fn manifest_views(&self) -> Vec<ManifestView> {
        let wanted = self.wanted_children();
        let platform = |digest: &Digest| match &self.content {
            Content::Index(children) => {
                let child = children.iter().find(|child| child.digest == *digest)?;
                let (os, architecture, variant) = child.platform.as_ref()?;
                Some(match variant {
                    Some(variant) => format!("{os}/{architecture}/{variant}"),
                    None => format!("{os}/{architecture}"),
                })
            }
            Content::Manifest | Content::Unread => None,
        };
        self.manifests
            .iter()
            .map(|(digest, state)| ManifestView {
                digest: *digest,
                platform: platform(digest),
                wanted: wanted.contains(digest),
                read: state.read,
                recorded: state.recorded,
            })
            .collect()
    }

    pub(super) fn timeline(&self) -> Vec<MilestoneView> {
        let mut timeline = Vec::new();
        let mut add = |at: Option<Timestamp>, what: &str| {
            timeline.extend(at.map(|at| MilestoneView { at, what: what.to_owned() }));
        };
        add(self.wants.iter().map(|want| want.first_asked).min(), "handed off");
        add(self.tags.values().filter_map(|tag| tag.headed).min(), "tag asked for");
        add(self.manifests.values().filter_map(|manifest| manifest.first_read).min(), "first platform manifest read");
        let blobs = self.wanted_blobs();
        if !blobs.is_empty() && blobs.values().all(|blob| blob.local.is_some()) {
            add(blobs.values().filter_map(|blob| blob.local).max(), "Harbor has all wanted blobs");
        }
        add(self.index_opened, "index read through the project");
        add(self.warm_at, "every wanted platform recorded: warm");
        for (tag, state) in &self.tags {
            add(state.recorded, &format!("tag {tag} recorded"));
        }
        for state in &self.replications {
            let (tag, target) = (&state.tag, &state.target);
            add(state.started, &format!("replication of {tag} to {target} started"));
            add(state.succeeded, &format!("{tag} replicated to {target}"));
        }
        add(self.kept, "pulled again to be kept");
        timeline.sort_by_key(|milestone| milestone.at);
        timeline
    }
}

/// A want, which stands so.
pub fn want_view(want: &Want, state: harbor_warmer_protocol::ImageState) -> WantView {
    WantView {
        cluster: want.cluster.clone(),
        tag: want.tag.clone(),
        platforms: want.platforms.clone(),
        target: want.target.clone(),
        first_asked: want.first_asked,
        last_asked: want.last_asked,
        state,
        reason: None,
    }
}

/// The attempts that failed last.
pub fn attempt_views(attempts: &Attempts) -> Vec<AttemptView> {
    attempts
        .last
        .iter()
        .map(|attempt| AttemptView { at: attempt.at, step: attempt.step.clone(), error: attempt.error.clone() })
        .collect()
}
