//! An image as people are shown it.

use std::collections::BTreeMap;

use harbor_warmer_protocol::Digest;

use super::{BlobState, Content, Image, Next, TagStatus, Want};
use crate::attempts::Attempts;
use crate::clock::Timestamp;
use crate::project::Project;
use crate::view::{
    AttemptView, BlobView, ImageSummary, ImageView, ManifestView, MilestoneView, Phase, TagView, WantView,
};

/// What the row of a unit adds to its body.
#[derive(Clone, Debug)]
pub(crate) struct RowFacts {
    pub(crate) id: String,
    pub(crate) dead: bool,
    pub(crate) due: Timestamp,
    pub(crate) created: Timestamp,
    pub(crate) reason: Option<String>,
}

impl Image {
    /// Whether anything was asked of Harbor for it.
    pub fn has_begun(&self) -> bool {
        self.content != Content::Unread
    }

    /// Whether a finished image answers `want` as well, so that nothing needs to be done for it.
    pub fn answers(&self, want: &Want, project: &Project) -> bool {
        let knows_tag = want.tag.as_ref().is_none_or(|tag| self.tags.contains_key(tag));
        knows_tag && self.state_of(want, project) == harbor_warmer_protocol::ImageState::Warm
    }

    pub(crate) fn summary(&self, row: RowFacts, project: &Project, now: Timestamp) -> ImageSummary {
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
            Next::Stuck(why) | Next::Refused(why) => Some(why),
            Next::Dead(reason) => Some(reason.to_string()),
            Next::Do(_) | Next::Done(_) => None,
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
            failures: self.attempts.failures,
            first_asked: self.wants.iter().map(|want| want.first_asked).min().unwrap_or(row.created),
            last_asked: self.wants.iter().map(|want| want.last_asked).max().unwrap_or(row.created),
            due: row.due,
        }
    }

    pub(crate) fn view(&self, row: RowFacts, project: &Project, now: Timestamp) -> ImageView {
        let dead = row.dead;
        let wants = self.wants.iter().map(|want| {
            let state = if dead { harbor_warmer_protocol::ImageState::Failed } else { self.state_of(want, project) };
            want_view(want, state)
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
                    read_bytes: None,
                })
                .collect(),
            attempts: attempt_views(&self.attempts),
            timeline: self.timeline(),
            summary: self.summary(row, project, now),
        }
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
                        TagStatus::Blocked { heals_at } => Some(self.blocked_reason(heals_at)),
                        TagStatus::NeverRecorded => {
                            Some("Harbor does not record it; see the log of its core".to_owned())
                        }
                        TagStatus::Moved => Some("the tag means another image now".to_owned()),
                        _ => None,
                    },
                }
            })
            .collect()
    }

    /// Why Harbor records a tag no more, when that heals, and what an administrator can do.
    fn blocked_reason(&self, heals_at: Timestamp) -> String {
        let repository = format!("{}/{}", self.place.project, self.place.repository);
        let key = format!("cache:manifestlist:{repository}:{}", self.root);
        format!(
            "Harbor has read this index and starts nothing for its tags until {heals_at}; once the Redis keys {key} \
             and {key}:contenttype are deleted, it is enough to ask for the image again"
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

    fn timeline(&self) -> Vec<MilestoneView> {
        let mut timeline = Vec::new();
        let mut add = |at: Option<Timestamp>, what: &str| {
            timeline.extend(at.map(|at| MilestoneView { at, what: what.to_owned() }));
        };
        add(self.wants.iter().map(|want| want.first_asked).min(), "handed off");
        add(self.tags.values().filter_map(|tag| tag.headed).min(), "tag asked for");
        add(self.manifests.values().filter_map(|manifest| manifest.read).min(), "first platform manifest read");
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

pub(crate) fn want_view(want: &Want, state: harbor_warmer_protocol::ImageState) -> WantView {
    WantView {
        cluster: want.cluster.clone(),
        tag: want.tag.clone(),
        platforms: want.platforms.clone(),
        target: want.target.clone(),
        first_asked: want.first_asked,
        last_asked: want.last_asked,
        state,
    }
}

pub(crate) fn attempt_views(attempts: &Attempts) -> Vec<AttemptView> {
    attempts
        .last
        .iter()
        .map(|attempt| AttemptView { at: attempt.at, step: attempt.step.clone(), error: attempt.error.clone() })
        .collect()
}
