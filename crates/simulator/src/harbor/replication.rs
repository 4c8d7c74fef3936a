//! Replication: policies, their executions, and the registries at the other end.

pub(crate) mod records;

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::digest::Digest;
use crate::harbor::proxy::{BlobAnswer, ManifestOutcome, ManifestRequest};
use crate::harbor::replication::records::{Execution, PolicyBody, TargetRepository, Task, TaskStatus};
use crate::harbor::{ArtifactInfo, Harbor, Reference};
use crate::manifest::{self, Manifest};

/// What to copy of one repository: by tag what has tags, by digest the rest.
#[derive(Debug, Clone)]
struct Resource {
    repository: String,
    references: Vec<Reference>,
}

impl Harbor {
    /// Starts an execution of a policy as it stands now; later changes of the policy don't reach it.
    pub(crate) fn start_replication(self: &Arc<Self>, policy_id: u64) -> Option<u64> {
        let body = self.store.read(|tables| tables.policies.get(&policy_id).map(|policy| policy.body.clone()))?;
        Some(self.start_execution(policy_id, body, "manual", None))
    }

    /// An artifact was recorded. The event carries no tag, so only a tag filter that an empty name passes lets it
    /// through, and what arrives has none.
    pub(crate) fn replicate_event(self: &Arc<Self>, repository: &str, digest: &Digest) {
        let due: Vec<(u64, PolicyBody)> = self.store.read(|tables| {
            let policies = tables.policies.values().filter(|policy| {
                let body = &policy.body;
                body.enabled
                    && body.trigger() == "event_based"
                    && body.filter_matches("name", repository)
                    && body.filter_matches("tag", "")
            });
            policies.map(|policy| (policy.id, policy.body.clone())).collect()
        });
        for (policy_id, body) in due {
            let references = vec![Reference::Digest(digest.clone())];
            let resource = Resource { repository: repository.to_owned(), references };
            self.start_execution(policy_id, body, "event_based", Some(resource));
        }
    }

    fn start_execution(
        self: &Arc<Self>,
        policy_id: u64,
        body: PolicyBody,
        trigger: &'static str,
        resource: Option<Resource>,
    ) -> u64 {
        let started = self.clock.now();
        let id = self.store.write(|tables| {
            let id = tables.next_id();
            let execution = Execution {
                id,
                policy_id,
                trigger,
                started,
                ended: None,
                failed: false,
                status_text: String::new(),
                tasks: Vec::new(),
            };
            tables.executions.insert(id, execution);
            id
        });
        if body.single_active_replication && self.has_active_execution(policy_id, id) {
            self.end_execution(id, true, "Execution skipped: active replication still in progress.");
            return id;
        }
        let harbor = Arc::clone(self);
        self.job_service.spawn(async move { harbor.run_execution(id, &body, resource).await });
        id
    }

    fn has_active_execution(&self, policy_id: u64, but: u64) -> bool {
        self.store.read(|tables| {
            let mut others = tables.executions.values().filter(|it| it.policy_id == policy_id && it.id != but);
            others.any(|execution| execution.ended.is_none())
        })
    }

    async fn run_execution(self: &Arc<Self>, id: u64, body: &PolicyBody, resource: Option<Resource>) {
        self.clock.pauses().pause(self.timers.task_pickup).await;
        let resources = match resource {
            Some(resource) => vec![resource],
            None => self.matching_resources(body),
        };
        if resources.is_empty() {
            return self.end_execution(id, false, "no resources need to be replicated");
        }
        let mut planned = Vec::new();
        for resource in resources {
            let replace_count = body.dest_namespace_replace_count.unwrap_or(-1);
            match destination(&resource.repository, &body.dest_namespace, replace_count) {
                Ok(to) => planned.push((resource, to)),
                Err(message) => return self.end_execution(id, true, &message),
            }
        }
        let target = body.dest_registry.as_ref().map_or(0, |registry| registry.id);
        let mut running = Vec::new();
        for (resource, to) in planned {
            let task = self.add_task(id, &resource.repository, &to);
            running.push(async move {
                let outcome = self.copy_resource(&resource, target, &to, body.overrides).await;
                self.end_task(id, task, outcome);
            });
        }
        futures_util::future::join_all(running).await;
        self.end_execution(id, false, "");
    }

    /// `FetchArtifacts`: the repositories that pass the name filter, their artifacts that no index refers to, and of
    /// those the tags that pass the tag filter. What has no tag goes by digest.
    fn matching_resources(&self, body: &PolicyBody) -> Vec<Resource> {
        self.store.read(|tables| {
            let repositories = tables.repositories.iter().filter(|(name, _)| body.filter_matches("name", name));
            repositories
                .filter_map(|(name, row)| {
                    let tags = row.tags.keys().filter(|tag| body.filter_matches("tag", tag));
                    let mut references: Vec<_> = tags.map(|tag| Reference::Tag(tag.clone())).collect();
                    if body.filter_matches("tag", "") {
                        let tagged: HashSet<&Digest> = row.tags.values().map(|tag| &tag.digest).collect();
                        let children: HashSet<&Digest> =
                            row.artifacts.values().flat_map(|artifact| &artifact.children).collect();
                        let bare = |digest: &&Digest| !tagged.contains(digest) && !children.contains(digest);
                        references.extend(row.artifacts.keys().filter(bare).cloned().map(Reference::Digest));
                    }
                    (!references.is_empty()).then(|| Resource { repository: name.clone(), references })
                })
                .collect()
        })
    }

    /// One refused tag fails the task, although the others arrive.
    async fn copy_resource(
        self: &Arc<Self>,
        resource: &Resource,
        target: u64,
        to: &str,
        overrides: bool,
    ) -> Result<(), String> {
        let mut outcome = Ok(());
        for reference in &resource.references {
            let info = ArtifactInfo {
                project: resource.repository.split('/').next().unwrap_or_default().to_owned(),
                repository: resource.repository.clone(),
                reference: reference.clone(),
            };
            if let Err(message) = self.copy_artifact(info, target, to, overrides).await {
                outcome = Err(message);
            }
        }
        outcome
    }

    /// Pulls through the proxy cache like any client: a tag brings upstream's own index, and with it every platform,
    /// be it cached or not.
    fn copy_artifact<'a>(
        self: &'a Arc<Self>,
        info: ArtifactInfo,
        target: u64,
        to: &'a str,
        overrides: bool,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(async move {
            let core = self.core();
            let request = ManifestRequest { head: false, from_replication: true, accept: None };
            let answer = match self.manifest(&core, &info, request).await.map_err(|error| error.to_string())? {
                ManifestOutcome::Found(answer) => answer,
                ManifestOutcome::LibraryRedirect(_) => return Err("the source redirects".to_owned()),
            };
            let bytes = answer.body.unwrap_or_default();
            let digest = Digest::of(&bytes);
            if let Reference::Tag(tag) = &info.reference {
                let (there, refused) = self.store.read(|tables| {
                    let known = tables.targets.get(&target);
                    let there = known.and_then(|known| known.tag(to, tag)).cloned();
                    (there, known.is_none_or(|known| known.refused.contains(&format!("{to}:{tag}"))))
                });
                if there.is_some_and(|there| there == digest || !overrides) {
                    return Ok(());
                }
                if refused {
                    return Err(format!("the target refuses the tag {tag}"));
                }
            }
            match manifest::parse(&answer.media_type, &bytes).ok_or("the manifest can't be parsed")? {
                Manifest::Index { children } => {
                    for child in children {
                        let child = Digest::parse(&child.digest).ok_or("a child's digest is none")?;
                        let info = ArtifactInfo { reference: Reference::Digest(child), ..info.clone() };
                        self.copy_artifact(info, target, to, overrides).await?;
                    }
                }
                Manifest::Image { config, layers } => {
                    for blob in layers.into_iter().chain([config]).filter(|blob| !blob.is_docker_foreign()) {
                        let there = self
                            .store
                            .read(|tables| tables.targets.get(&target).is_some_and(|it| it.has_blob(to, &blob.digest)));
                        if there {
                            continue;
                        }
                        let info = ArtifactInfo { reference: Reference::Digest(blob.digest.clone()), ..info.clone() };
                        match self.blob(&core, &info, &blob.digest).await.map_err(|error| error.to_string())? {
                            BlobAnswer::Local(_) => {}
                            BlobAnswer::Proxied { reader, permit } => {
                                let copied = reader.copy().await.map_err(|error| error.to_string())?;
                                copied.ok_or("a blob doesn't hash to its digest")?;
                                drop(permit);
                            }
                            BlobAnswer::LibraryRedirect(_) => return Err("the source redirects".to_owned()),
                        }
                        self.at_target(target, to, |there| there.blobs.insert(blob.digest));
                    }
                }
            }
            self.at_target(target, to, |there| {
                there.manifests.insert(digest.clone());
                if let Reference::Tag(tag) = info.reference {
                    there.tags.insert(tag, digest);
                }
            });
            Ok(())
        })
    }

    fn at_target<T>(&self, target: u64, repository: &str, change: impl FnOnce(&mut TargetRepository) -> T) {
        self.store.write(|tables| {
            if let Some(known) = tables.targets.get_mut(&target) {
                change(known.repositories.entry(repository.to_owned()).or_default());
            }
        });
    }

    fn add_task(&self, execution: u64, source: &str, destination: &str) -> u64 {
        let started = self.clock.now();
        self.store.write(|tables| {
            let id = tables.next_id();
            if let Some(execution) = tables.executions.get_mut(&execution) {
                execution.tasks.push(Task {
                    id,
                    status: TaskStatus::InProgress,
                    source: source.to_owned(),
                    destination: destination.to_owned(),
                    started,
                    ended: None,
                    log: String::new(),
                });
            }
            id
        })
    }

    fn end_task(&self, execution: u64, task: u64, outcome: Result<(), String>) {
        let now = self.clock.now();
        self.store.write(|tables| {
            let tasks = tables.executions.get_mut(&execution).map(|execution| &mut execution.tasks);
            if let Some(task) = tasks.and_then(|tasks| tasks.iter_mut().find(|known| known.id == task)) {
                task.status = if outcome.is_ok() { TaskStatus::Succeed } else { TaskStatus::Failed };
                task.ended = Some(now);
                task.log = outcome.err().unwrap_or_default();
            }
        });
    }

    fn end_execution(&self, id: u64, failed: bool, status_text: &str) {
        let now = self.clock.now();
        self.store.write(|tables| {
            if let Some(execution) = tables.executions.get_mut(&id) {
                execution.ended = Some(now);
                execution.failed = failed;
                status_text.clone_into(&mut execution.status_text);
            }
        });
    }
}

/// `replaceNamespace`: the name at the target. A negative count is the legacy way, which keeps the last segment only.
fn destination(repository: &str, namespace: &str, replace_count: i8) -> Result<String, String> {
    if namespace.is_empty() {
        return Ok(repository.to_owned());
    }
    let parts: Vec<&str> = repository.split('/').collect();
    let (name, parents) = parts.split_last().ok_or("an empty repository name")?;
    let kept = match usize::try_from(replace_count) {
        Err(_) => &[],
        Ok(count) => parents.get(count..).ok_or_else(|| {
            format!(
                "the source repository {repository:?} contains only {} path components {parents:?} excepting the last \
                 one, but the destination namespace flattening level is {count}",
                parents.len()
            )
        })?,
    };
    Ok([&[namespace], kept, &[*name]].concat().join("/"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_namespace_keeps_the_project("", -1, Some("proxy/library/nginx"))]
    #[case::legacy_keeps_the_last_segment("mirror", -1, Some("mirror/nginx"))]
    #[case::nothing_replaced("mirror", 0, Some("mirror/proxy/library/nginx"))]
    #[case::the_project_replaced("mirror", 1, Some("mirror/library/nginx"))]
    #[case::all_parents_replaced("mirror", 2, Some("mirror/nginx"))]
    #[case::more_than_there_is("mirror", 3, None)]
    fn computes_the_name_at_the_target(#[case] namespace: &str, #[case] count: i8, #[case] expected: Option<&str>) {
        assert_eq!(destination("proxy/library/nginx", namespace, count).ok().as_deref(), expected);
    }
}
