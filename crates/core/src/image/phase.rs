//! The phase that people see, derived from what was observed.

use harbor_warmer_protocol::ImageState;

use super::{Child, Content, DeadReason, Image, Want};
use crate::project::Project;
use crate::timestamp::Timestamp;
use crate::view::Phase;

impl Image {
    /// Whether Harbor has every wanted platform, as far as was seen since the image was asked for.
    pub(super) fn is_warm(&self, project: &Project) -> bool {
        let wanted = self.wanted_children();
        !wanted.is_empty() && wanted.iter().all(|child| self.is_there(child, project))
    }

    /// Where the image is on its way.
    pub fn phase(&self, project: &Project, now: Timestamp) -> Phase {
        if self.hopeless.is_some() {
            return Phase::Failed;
        }
        if self.is_warm(project) {
            let tags = self.wanted_tags();
            let recorded = |tag| self.tag_status(tag, project, now) == super::TagStatus::Recorded;
            if tags.is_empty() || !tags.into_iter().all(recorded) {
                return Phase::Warm;
            }
            let replications = self.wanted_replications(project);
            let replicated = |(tag, target): (&_, &_)| self.is_replicated(tag, target, project);
            return if !replications.is_empty() && replications.into_iter().all(replicated) {
                Phase::Replicated
            } else {
                Phase::Tagged
            };
        }
        let wanted = self.wanted_children();
        if !wanted.is_empty() && wanted.iter().all(|child| self.has_its_blobs(child)) {
            return Phase::Local;
        }
        if self.content == Content::Unread { Phase::Queued } else { Phase::Warming }
    }

    /// Where `want` stands: the state of a receipt for it.
    pub fn state_of(&self, want: &Want, project: &Project) -> ImageState {
        if self.content == Content::Unread && self.hopeless.is_none() {
            return ImageState::Queued;
        }
        if self.why_not(want, project).is_some() {
            return ImageState::Failed;
        }
        if self.children_for(want).iter().all(|child| self.is_there(child, project)) {
            ImageState::Warm
        } else {
            ImageState::Warming
        }
    }

    /// Why `want` is not served, in a sentence; none where it is, or will be.
    pub fn reason_of(&self, want: &Want, project: &Project) -> Option<String> {
        self.why_not(want, project).map(|reason| reason.to_string())
    }

    /// Why `want` is not served, or what is left out for it.
    pub fn note_of(&self, want: &Want, project: &Project) -> Option<String> {
        self.reason_of(want, project).or_else(|| {
            let target = want.target.as_ref().filter(|target| project.targets.contains(target))?;
            want.tag.is_none().then(|| {
                format!(
                    "named by its digest alone: Harbor replicates tags, so it is not copied to {target}; write the tag \
                     beside the digest"
                )
            })
        })
    }

    /// Whether what keeps `want` from being served is in the image itself, so that no other look finds anything else.
    pub(super) fn is_settled_for(&self, want: &Want) -> bool {
        let permanent = |reason: &DeadReason| matches!(reason, DeadReason::Unsupported(_));
        if self.content == Content::Unread {
            return false;
        }
        let children = self.children_for(want);
        let hopeless = |child| self.manifests.get(child).and_then(|state| state.hopeless.as_ref());
        children.is_empty() || children.iter().any(|child| hopeless(child).is_some_and(permanent))
    }

    /// Why `want` won't be served: each want has reasons of its own.
    fn why_not(&self, want: &Want, project: &Project) -> Option<DeadReason> {
        if let Some(reason) = &self.hopeless {
            return Some(reason.clone());
        }
        if self.content == Content::Unread {
            return None;
        }
        let children = self.children_for(want);
        if children.is_empty() {
            return Some(self.no_such_platform(std::slice::from_ref(want)));
        }
        children.iter().find_map(|child| self.lost(child, project))
    }

    fn children_for(&self, want: &Want) -> Vec<harbor_warmer_protocol::Digest> {
        let accepts = |(os, architecture, variant): &(String, String, Option<String>)| {
            want.platforms.iter().any(|wanted| wanted.rank(os, architecture, variant.as_deref()).is_some())
        };
        // It is warmed whatever it runs on, since nodes pull it whatever it runs on. That is not what was asked for.
        let single = || self.manifests.get(&self.root).and_then(|state| state.platform.as_ref()).is_none_or(accepts);
        match &self.content {
            Content::Unread => Vec::new(),
            Content::Manifest => single().then_some(self.root).into_iter().collect(),
            Content::Index(children) => Child::choose(children, &want.platforms),
        }
    }
}
