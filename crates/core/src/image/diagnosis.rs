//! Where an image is stuck, why, and what a person can do.
//!
//! Derived like the phase: from what was observed and from what follows from it now.

use super::{Content, Image, Next, Step, TagStatus, Waiting};
use crate::problem::Problem;
use crate::project::Project;
use crate::timestamp::Timestamp;
use crate::view::StuckView;

impl Image {
    /// What it waits for, or why it goes no further; none where its next step is due or all is there. `reason` is what
    /// its worker took down when it let go of it, and `dead` whether it gave it up.
    pub fn stuck(&self, dead: bool, reason: Option<&str>, project: &Project, now: Timestamp) -> Option<StuckView> {
        let step = self.stage(project, now);
        let stuck = |problem, cause: String| Some(StuckView::new(step.clone(), problem, cause));
        match self.next(project, now) {
            Next::Dead(reason) => stuck(reason.problem(), reason.to_string()),
            _ if dead => stuck(Problem::Crashed, reason.unwrap_or_default().to_owned()),
            Next::WaitUntil(_, waiting) => self.why_waiting(step, waiting, project),
            Next::Stuck(_, why) => stuck(Problem::NeverRecorded, why),
            Next::Refused(_, why) => stuck(Problem::StorageRefused, why),
            // It is due all the time, and its worker is told that others are before it.
            Next::Do(steps) if reason.is_some() && steps.contains(&Step::Begin) => {
                stuck(Problem::Turn, "the places at Harbor are taken by other images".to_owned())
            }
            Next::Do(_) => None,
            Next::Done(_) => self.unrecorded_tag(project, now),
        }
    }

    /// The step that it has come to.
    fn stage(&self, project: &Project, now: Timestamp) -> String {
        let wanted = self.wanted_children();
        if self.content == Content::Unread {
            return "read the image's manifest".to_owned();
        }
        if wanted.is_empty() {
            return "find a wanted platform in the index".to_owned();
        }
        if !wanted.iter().all(|child| self.has_its_blobs(child)) {
            return "copy the blobs into Harbor".to_owned();
        }
        if !wanted.iter().all(|child| self.is_there(child, project)) {
            return "record the image in Harbor".to_owned();
        }
        let unrecorded = |tag: &&harbor_warmer_protocol::Tag| {
            !matches!(self.tag_status(tag, project, now), TagStatus::Recorded | TagStatus::Unverifiable)
        };
        if let Some(tag) = self.wanted_tags().into_iter().find(unrecorded) {
            return format!("record the tag {tag} in Harbor");
        }
        let replications = self.wanted_replications(project);
        match replications.into_iter().find(|(tag, target)| !self.is_replicated(tag, target, project)) {
            Some((tag, target)) => format!("replicate {tag} to {target}"),
            None => "keep the image".to_owned(),
        }
    }

    fn why_waiting(&self, step: String, waiting: Waiting, project: &Project) -> Option<StuckView> {
        let stuck = |problem, cause: String| Some(StuckView::new(step.clone(), problem, cause));
        match waiting {
            Waiting::Paused(_) => {
                let pause = project.pause.as_ref()?;
                stuck(pause.problem, format!("work on the project stands still: {}", pause.reason))
            }
            Waiting::Retry(failed) => {
                Some(StuckView::new(failed.step, failed.problem.unwrap_or(Problem::Unknown), failed.error))
            }
            waiting @ Waiting::SetAside => stuck(Problem::RequestsExceeded, waiting.to_string()),
            waiting @ Waiting::Replication(_) => stuck(Problem::Replicating, waiting.to_string()),
            waiting @ Waiting::Turn => stuck(Problem::Turn, waiting.to_string()),
            waiting @ Waiting::Blobs => stuck(Problem::Copying, waiting.to_string()),
            waiting @ Waiting::Record => stuck(Problem::Recording, waiting.to_string()),
            waiting @ Waiting::Tag(_) => {
                let mut view = StuckView::new(step, Problem::TagPending, waiting.to_string());
                // What is on already is no advice.
                let sooner = match (project.complete_index, project.resolves_through) {
                    (true, true) => "",
                    (true, false) => " `resolveThrough` on the project has Harbor record tags sooner.",
                    (false, true) => " `completeIndex: true` on the project has Harbor record tags sooner.",
                    (false, false) => return Some(view),
                };
                view.cure = format!("Nothing, but it may take 7 minutes.{sooner}");
                Some(view)
            }
            waiting @ Waiting::Strain => stuck(Problem::Strain, waiting.to_string()),
        }
    }

    /// A wanted tag that is not waited for any more.
    fn unrecorded_tag(&self, project: &Project, now: Timestamp) -> Option<StuckView> {
        let wants = self.wants.iter().filter_map(|want| want.tag.as_ref());
        wants.into_iter().find_map(|tag| {
            let stuck =
                |problem, cause| Some(StuckView::new(format!("record the tag {tag} in Harbor"), problem, cause));
            match self.tag_status(tag, project, now) {
                TagStatus::Blocked { heals_at, by } => {
                    stuck(Problem::TagBlocked, self.blocked_reason(tag, by, heals_at))
                }
                TagStatus::NeverRecorded => stuck(Problem::TagNeverRecorded, never_recorded(tag)),
                TagStatus::Moved => stuck(Problem::TagMoved, self.moved_reason(tag)),
                TagStatus::Unverifiable if project.kind == crate::project::HarborKind::Harbor => {
                    stuck(Problem::TagUnreadable, "the robot may not read what Harbor has recorded".to_owned())
                }
                TagStatus::Unverifiable
                | TagStatus::Recorded
                | TagStatus::Unseen
                | TagStatus::Expected { .. }
                | TagStatus::WindowClosed => None,
            }
        })
    }
}

/// Of a tag that Harbor had the time to record.
pub(super) fn never_recorded(tag: &harbor_warmer_protocol::Tag) -> String {
    format!("Harbor had the image and the time to record the tag {tag}, and does not do it")
}
