//! A recorded tag on its way to the target that a workload pulls from.
//!
//! Harbor copies by policy: its filters name a repository and tags, its executions are followed by their tasks, which
//! name no tags. So the tags of one image go together, and by themselves if one of them fails. A tag is replicated when
//! an execution for exactly it, started after the tag was recorded, ended well with a task: an execution that found
//! nothing to copy ends well, too.

use std::time::Duration;

use harbor_warmer_protocol::{Digest, Tag, TargetName};

use super::next::{Plan, Step, Waiting};
use super::{Image, ReplicationState};
use crate::attempts::{Attempt, Attempts};
use crate::problem::{Failure, Problem};
use crate::project::Project;
use crate::timestamp::Timestamp;

/// How an execution ended, as its tasks tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicationOutcome {
    /// A task of it goes on.
    Running,
    /// Every task ended well, and there was one.
    Succeeded,
    /// A task failed, or there was none.
    Failed(String),
}

impl ReplicationState {
    fn failed(&mut self, failure: Failure, seed: &Digest, now: Timestamp) {
        let step = format!("replicate {} to {}", self.tag, self.target);
        self.attempts.failed(&step, failure, seed, now);
    }
}

impl Image {
    /// The tags that a want brings to a target, as far as the project's Harbor replicates there.
    pub(super) fn wanted_replications(&self, project: &Project) -> Vec<(&Tag, &TargetName)> {
        let mut wanted: Vec<_> = self
            .wants
            .iter()
            .filter_map(|want| Some((want.tag.as_ref()?, want.target.as_ref()?)))
            .filter(|(tag, target)| {
                project.targets.contains(target) && self.tags.get(*tag).is_none_or(|state| state.moved.is_none())
            })
            .collect();
        wanted.sort();
        wanted.dedup();
        wanted
    }

    pub(super) fn replication(&self, tag: &Tag, target: &TargetName) -> Option<&ReplicationState> {
        self.replications.iter().find(|state| state.tag == *tag && state.target == *target)
    }

    /// Whether the tag is at the target: copied, and not so long before it was last asked for that the target may have
    /// lost it. ECR's lifecycle rules delete tags, and nobody tells Harbor.
    pub(super) fn is_replicated(&self, tag: &Tag, target: &TargetName, project: &Project) -> bool {
        let succeeded = self.replication(tag, target).and_then(|state| state.succeeded);
        succeeded.is_some_and(|at| self.verify_since < at + project.replicate_again_after)
    }

    /// The recorded tags that are not at their targets yet, with the moment when Harbor recorded them.
    pub fn waiting_replications(&self, project: &Project) -> Vec<(TargetName, Timestamp)> {
        let recorded = |tag: &Tag| self.tags.get(tag).and_then(|state| state.recorded);
        self.wanted_replications(project)
            .into_iter()
            .filter(|(tag, target)| !self.is_replicated(tag, target, project))
            .filter_map(|(tag, target)| Some((target.clone(), recorded(tag)?)))
            .collect()
    }

    /// Replicates what is recorded and not there yet; follows what is under way. Says so where it has failed for too
    /// long.
    pub(super) fn plan_replications(&self, project: &Project, now: Timestamp, plan: &mut Plan) -> Option<Attempt> {
        let mut due: Vec<(&TargetName, Vec<Tag>)> = Vec::new();
        let mut exhausted = None;
        for (tag, target) in self.wanted_replications(project) {
            let recorded = self.tags.get(tag).is_some_and(|state| state.recorded.is_some());
            if !recorded || self.is_replicated(tag, target, project) {
                continue;
            }
            let Some(state) = self.replication(tag, target) else {
                join(&mut due, target, tag, false);
                continue;
            };
            if let (Some(execution), Some(started)) = (state.execution, state.started) {
                let step = Step::LookAtExecution { target: target.clone(), execution };
                let looked = state.looked.unwrap_or(started);
                let look_at = looked + project.timers.poll(now.since(started));
                if !plan.steps.contains(&step) {
                    plan.at(look_at, now, step, Waiting::Replication(target.clone()));
                }
                continue;
            }
            let named = |failed: &Attempt| Attempt {
                error: format!("the replication of {tag} to {target}: {}", failed.error),
                ..failed.clone()
            };
            if state.attempts.exhausted(project.give_up_after) {
                exhausted = state.attempts.last.back().map(named);
                continue;
            }
            match state.attempts.backing_off(now) {
                Some((retry_at, failed)) => plan.wait(retry_at, Waiting::Retry(named(failed))),
                None => join(&mut due, target, tag, state.alone),
            }
        }
        plan.steps.extend(due.into_iter().map(|(target, tags)| Step::Replicate { target: target.clone(), tags }));
        exhausted
    }

    pub(super) fn replication_started(&mut self, target: &TargetName, tags: &[Tag], execution: i64, now: Timestamp) {
        for tag in tags {
            let state = self.replication_mut(tag, target);
            state.execution = Some(execution);
            state.started = Some(now);
            state.looked = None;
        }
    }

    pub(super) fn replication_looked(
        &mut self,
        target: &TargetName,
        execution: i64,
        outcome: &ReplicationOutcome,
        now: Timestamp,
    ) {
        let seed = self.root;
        let under_way = |state: &&mut ReplicationState| state.target == *target && state.execution == Some(execution);
        let together = self.replications.iter_mut().filter(under_way).count() > 1;
        for state in self.replications.iter_mut().filter(under_way) {
            state.looked = Some(now);
            match outcome {
                // An execution that never ends, for its jobservice was lost, is started anew.
                ReplicationOutcome::Running if state.started.is_some_and(|at| now.since(at) > LONGEST_EXECUTION) => {
                    state.execution = None;
                    let failure = Failure::new(Problem::ReplicationFailed, "the execution did not end in a day");
                    state.failed(failure, &seed, now);
                }
                ReplicationOutcome::Running => {}
                ReplicationOutcome::Succeeded => {
                    state.execution = None;
                    state.succeeded = Some(now);
                    state.attempts.progressed();
                }
                ReplicationOutcome::Failed(error) => {
                    state.execution = None;
                    if together {
                        // One refused tag fails the task although another arrived: each by itself tells which.
                        state.alone = true;
                    } else {
                        let failure = Failure::new(Problem::ReplicationFailed, error);
                        state.failed(failure, &seed, now);
                    }
                }
            }
        }
    }

    /// It could not be started or followed. `heals`: that is nobody's failure here, and never given up for.
    pub(super) fn replication_failed(
        &mut self,
        target: &TargetName,
        tags: &[Tag],
        failure: &Failure,
        heals: bool,
        now: Timestamp,
    ) {
        let seed = self.root;
        for tag in tags {
            let state = self.replication_mut(tag, target);
            state.failed(failure.clone(), &seed, now);
            if heals {
                state.attempts.failing_since = None;
            }
        }
    }

    fn replication_mut(&mut self, tag: &Tag, target: &TargetName) -> &mut ReplicationState {
        let known = self.replications.iter().position(|state| state.tag == *tag && state.target == *target);
        let position = known.unwrap_or_else(|| {
            self.replications.push(ReplicationState {
                tag: tag.clone(),
                target: target.clone(),
                execution: None,
                started: None,
                looked: None,
                succeeded: None,
                alone: false,
                attempts: Attempts::default(),
            });
            self.replications.len() - 1
        });
        &mut self.replications[position]
    }
}

/// Far longer than any image takes; Harbor itself ends what hangs within a day.
const LONGEST_EXECUTION: Duration = Duration::from_secs(86_400);

/// The tags of one target share an execution, but for those that go alone: one at a time, since the target's policy is
/// one.
fn join<'a>(due: &mut Vec<(&'a TargetName, Vec<Tag>)>, target: &'a TargetName, tag: &Tag, alone: bool) {
    match due.iter_mut().find(|(name, _)| *name == target) {
        Some((_, tags)) if !alone => tags.push(tag.clone()),
        Some(_) => {}
        None => due.push((target, vec![tag.clone()])),
    }
}
