//! Where an image is stuck, why, and what a person can do.
//!
//! Derived like the phase: from what was observed and from what follows from it now.

use super::{Content, DeadReason, Image, Next, TagStatus, Waiting};
use crate::attempts::Attempt;
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
            Next::Dead(reason) => {
                let problem = self.why_dead(&reason);
                stuck(problem, reason.to_string())
            }
            _ if dead => stuck(Problem::Crashed, reason.unwrap_or_default().to_owned()),
            Next::WaitUntil(_, waiting) => self.why_waiting(step, waiting, project),
            Next::Stuck(why) => stuck(Problem::NeverRecorded, why),
            Next::Refused(why) => stuck(Problem::StorageRefused, why),
            // The step is due, and its worker was told that others are before it.
            Next::Do(_) if reason == Some(&Waiting::Turn.to_string()) => {
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
        match replications.into_iter().find(|(tag, target)| !self.is_replicated(tag, target)) {
            Some((tag, target)) => format!("replicate {tag} to {target}"),
            None => "keep the image".to_owned(),
        }
    }

    fn why_dead(&self, reason: &DeadReason) -> Problem {
        match reason {
            DeadReason::NoSuchPlatform { .. } => Problem::NoSuchPlatform,
            DeadReason::NoSuchTag => Problem::MissingTag,
            DeadReason::NoSuchManifest => Problem::MissingManifest,
            DeadReason::Unsupported(_) => Problem::Unsupported,
            DeadReason::Untagged => Problem::Untagged,
            DeadReason::Crashed => Problem::Crashed,
            DeadReason::GaveUp(error) => {
                self.attempt_of(error).and_then(|attempt| attempt.problem).unwrap_or(Problem::Unknown)
            }
        }
    }

    /// The last attempt, of the image itself or of a replication, that failed with what this error says.
    fn attempt_of(&self, error: &str) -> Option<&Attempt> {
        let replications = self.replications.iter().map(|state| &state.attempts);
        let mut last = std::iter::once(&self.attempts).chain(replications).filter_map(|all| all.last.back());
        last.find(|attempt| error.ends_with(&attempt.error))
    }

    fn why_waiting(&self, step: String, waiting: Waiting, project: &Project) -> Option<StuckView> {
        let stuck = |problem, cause: String| Some(StuckView::new(step.clone(), problem, cause));
        match waiting {
            Waiting::Paused(_) => {
                let pause = project.pause.as_ref()?;
                stuck(pause.problem, format!("work on the project stands still: {}", pause.reason))
            }
            Waiting::Retry(error) => match self.attempt_of(&error) {
                Some(last) => Some(StuckView::new(last.step.clone(), last.problem.unwrap_or(Problem::Unknown), error)),
                None => stuck(Problem::Unknown, error),
            },
            waiting @ Waiting::Replication(_) => stuck(Problem::Replicating, waiting.to_string()),
            waiting @ Waiting::Turn => stuck(Problem::Turn, waiting.to_string()),
            waiting @ Waiting::Blobs => stuck(Problem::Copying, waiting.to_string()),
            waiting @ Waiting::Record => stuck(Problem::Recording, waiting.to_string()),
            waiting @ Waiting::Tag(_) => stuck(Problem::TagPending, waiting.to_string()),
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
                TagStatus::Moved => stuck(Problem::TagMoved, format!("the tag {tag} means another image now")),
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
