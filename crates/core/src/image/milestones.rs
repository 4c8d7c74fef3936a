//! When an image reached each step on its way, as far as was seen since it was asked for.

use std::collections::BTreeMap;

use harbor_warmer_protocol::Tag;

use super::{BlockedBy, Image, TagStatus};
use crate::project::Project;
use crate::timestamp::Timestamp;

/// The steps of an image, each with the moment when it was first seen done for everything that is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Milestones {
    /// Harbor has every wanted blob.
    pub local: Option<Timestamp>,
    /// Harbor has recorded every wanted platform.
    pub recorded: Option<Timestamp>,
    /// Harbor has recorded every wanted tag.
    pub tagged: Option<Timestamp>,
    /// Every wanted target has its tags.
    pub replicated: Option<Timestamp>,
}

impl Image {
    /// The steps done so far. What was done before the image was asked for is no step of its way.
    pub fn milestones(&self, project: &Project) -> Milestones {
        let since = |at: Option<Timestamp>| at.filter(|at| *at >= self.opened);
        let blobs = self.wanted_blobs();
        let tags = self.wanted_tags();
        let replications = self.wanted_replications(project);
        Milestones {
            local: since(latest(blobs.values().map(|blob| blob.local))),
            recorded: since(self.warm_at),
            tagged: since(latest(tags.iter().map(|tag| self.tags.get(*tag).and_then(|state| state.recorded)))),
            replicated: since(latest(
                replications
                    .iter()
                    .map(|(tag, target)| self.replication(tag, target).and_then(|state| state.succeeded)),
            )),
        }
    }

    /// The wanted tags that Harbor will not record for a long time, and why; each is told once while that lasts. It comes
    /// by time as well, between two turns.
    pub fn tell_blocked_tags(&mut self, project: &Project, now: Timestamp) -> BTreeMap<Tag, BlockedBy> {
        let blocked = |tag: &Tag| match self.tag_status(tag, project, now) {
            TagStatus::Blocked { by, .. } => Some((tag.clone(), by)),
            _ => None,
        };
        let blocked: BTreeMap<_, _> = self.wanted_tags().into_iter().filter_map(blocked).collect();
        let mut newly = BTreeMap::new();
        for (tag, state) in &mut self.tags {
            let by = blocked.get(tag);
            if let Some(by) = by.filter(|_| !state.blocked) {
                newly.insert(tag.clone(), *by);
            }
            state.blocked = by.is_some();
        }
        newly
    }
}

/// The last of them, if there are any and none is missing.
fn latest(moments: impl Iterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
    moments.collect::<Option<Vec<_>>>()?.into_iter().max()
}
