//! Tag retention and garbage collection, run when a test or the nightly timer asks for them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;
use crate::harbor::Harbor;
use crate::harbor::store::Artifact;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Harbor {
    /// Runs every project's rule once a night, from now on.
    pub(crate) fn run_every_night(self: &Arc<Self>) {
        let harbor = Arc::clone(self);
        self.job_service.spawn(async move {
            let mut pauses = harbor.clock.pauses();
            loop {
                pauses.pause(DAY).await;
                let projects: Vec<String> = harbor.store.read(|tables| tables.projects.keys().cloned().collect());
                for project in projects {
                    harbor.run_retention(&project);
                }
            }
        });
    }

    /// The project's rule, "retain what was pulled in the last N days", over tagged and untagged artifacts alike.
    /// Children of a recorded index are not looked at: they stay while it does, and go with it. Returns how many were deleted.
    pub(crate) fn run_retention(&self, project: &str) -> usize {
        let now = self.clock.now();
        self.store.write(|tables| {
            let Some(days) = tables.projects.get(project).and_then(|project| project.spec.retention_days) else {
                return 0;
            };
            let kept_for = DAY * u32::try_from(days).unwrap_or(u32::MAX);
            let mut deleted = 0;
            for (name, repository) in &mut tables.repositories {
                if name.split('/').next() != Some(project) {
                    continue;
                }
                let children: HashSet<Digest> =
                    repository.artifacts.values().flat_map(|artifact| artifact.children.clone()).collect();
                let before = repository.artifacts.len();
                let expired = |(digest, artifact): &(&Digest, &Artifact)| {
                    !children.contains(*digest) && now > artifact.pulled + kept_for
                };
                let expired: Vec<_> =
                    repository.artifacts.iter().filter(expired).map(|(digest, _)| digest.clone()).collect();
                for digest in expired {
                    repository.delete(&digest);
                }
                deleted += before - repository.artifacts.len();
            }
            deleted
        })
    }

    /// Deletes the blobs that no artifact refers to and that are older than the window of two hours; first, if asked
    /// to, the artifacts that have no tag. Returns how many blobs went.
    pub(crate) fn collect_garbage(&self, delete_untagged: bool) -> usize {
        let now = self.clock.now();
        self.store.write(|tables| {
            let mut removed = 0;
            for (name, repository) in &mut tables.repositories {
                if delete_untagged {
                    let tagged: HashSet<Digest> = repository.tags.values().map(|tag| tag.digest.clone()).collect();
                    let children: HashSet<Digest> = repository
                        .artifacts
                        .iter()
                        .filter(|(digest, _)| tagged.contains(*digest))
                        .flat_map(|(_, artifact)| artifact.children.clone())
                        .collect();
                    repository.artifacts.retain(|digest, _| tagged.contains(digest) || children.contains(digest));
                }
                let manifests = repository.artifacts.keys().filter_map(|digest| tables.manifests.get(digest));
                let used: HashSet<Digest> = manifests
                    .filter_map(|stored| crate::manifest::parse(&stored.media_type, &stored.bytes))
                    .flat_map(|manifest| manifest.blob_digests())
                    .collect();
                if let Some(links) = tables.links.get_mut(name) {
                    let before = links.len();
                    links.retain(|digest, link| used.contains(digest) || now < link.at + self.timers.garbage_window);
                    removed += before - links.len();
                }
            }
            removed
        })
    }
}
