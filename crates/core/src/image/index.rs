//! When the root is read, and through which project: that GET starts Harbor's clocks.

use std::time::Duration;

use harbor_warmer_protocol::{Digest, Tag};

use super::next::{Next, Plan, Step, Waiting};
use super::{Content, Image, TagStatus};
use crate::project::HarborKind;
use crate::project::Project;
use crate::timestamp::Timestamp;

/// So often Harbor looks whether the blobs of a manifest are there (`ManifestCache.CacheContent`).
const MOST_LOOKS: u32 = 10;

impl Image {
    /// Before the root may be read: every wanted tag has been asked for, for a tag that comes after the index is
    /// recorded no more.
    pub(super) fn plan_root(&self, project: &Project, now: Timestamp) -> Next {
        if self.root_missing && self.is_superseded() {
            return Next::Done(None);
        }
        // A window has to outlast the index deadline, so one that was opened a while ago is opened again.
        let fresh_for = (project.timers.tag_window() - project.timers.index_deadline()) / 2;
        let heads = self.tags_to_head(project, now, fresh_for);
        if !heads.is_empty() {
            return Next::Do(heads);
        }
        Next::Do(vec![Step::ReadRoot { through_project: !project.resolves_through }])
    }

    /// A HEAD for each wanted tag whose window was not opened in the last `fresh_for`.
    fn tags_to_head(&self, project: &Project, now: Timestamp, fresh_for: Duration) -> Vec<Step> {
        if project.kind == HarborKind::Distribution {
            return Vec::new();
        }
        self.wanted_tags()
            .into_iter()
            .filter(|tag| {
                let headed = self.tags.get(*tag).and_then(|state| state.headed);
                headed.is_none_or(|headed| now >= headed + fresh_for)
            })
            .map(|tag| Step::HeadTag(tag.clone()))
            .collect()
    }

    /// Where indexes are read through a second project, the project's own index is read once Harbor has the blobs: its
    /// deadline then starts when it can be kept.
    pub(super) fn plan_index(&self, wanted: &[Digest], project: &Project, now: Timestamp, plan: &mut Plan) {
        if !matches!(self.content, Content::Index(_)) || project.kind == HarborKind::Distribution {
            return;
        }
        if self.index_is_remembered(project, now) || self.wanted_tags().is_empty() {
            return;
        }
        let settled = |tag: &Tag| self.tag_status(tag, project, now) == TagStatus::Recorded;
        if self.wanted_tags().into_iter().all(settled) {
            return;
        }
        let others = if project.complete_index { self.other_children() } else { Vec::new() };
        // What can't be had is not waited for: Harbor records the index without it, after its deadline.
        let passes = |child: &Digest| self.has_its_blobs(child) || self.is_failing(child);
        if !wanted.iter().chain(&others).all(passes) {
            return;
        }
        // After a re-check, Harbor's record is looked at before anything is started anew.
        let unseen = |tag: &Tag| self.tag_status(tag, project, now) == TagStatus::Unseen;
        let looks: Vec<_> = self.wanted_tags().into_iter().filter(|tag| unseen(tag)).collect();
        if !looks.is_empty() {
            plan.steps.extend(looks.into_iter().map(|tag| Step::LookForTag(tag.clone())));
            return;
        }
        // Harbor looks for the children 20 s after this GET, and 20 s later again. A child that it is just about to write
        // down at the first look costs those 20 s.
        let (look, grace) = (project.timers.manifest_look(), project.timers.record_grace());
        let children = wanted.iter().chain(&others);
        let recorded_by = children.filter_map(|child| self.recorded_by(child, project)).max().map(|look| look + grace);
        if let Some(recorded_by) = recorded_by.filter(|recorded_by| now + look < *recorded_by) {
            plan.wait(now + recorded_by.since(now + look), Waiting::Record);
            return;
        }
        // A Harbor that restarted since the HEAD has forgotten the window, and after this GET it opens none for 7 days.
        let heads = self.tags_to_head(project, now, project.timers.tag_tick());
        if heads.is_empty() {
            plan.steps.push(Step::ReadRoot { through_project: true });
        } else {
            plan.steps.extend(heads);
        }
    }

    /// When Harbor's look comes that finds every blob of a manifest there. None once it is recorded, and where its blobs
    /// came after the last look.
    fn recorded_by(&self, digest: &Digest, project: &Project) -> Option<Timestamp> {
        let state = self.manifests.get(digest).filter(|state| state.recorded.is_none() && !state.incompletable)?;
        let read = state.read?;
        let local = state.blobs.iter().filter_map(|blob| self.blobs.get(blob)?.local).max().unwrap_or(read);
        (1..=MOST_LOOKS).map(|n| read + project.timers.manifest_look() * n).find(|look| *look >= local)
    }
}
