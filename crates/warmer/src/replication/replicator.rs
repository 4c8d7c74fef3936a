//! Starts replications and follows them: one for each target, one start at a time.
//!
//! A policy of the warmer's own is set to exactly what is due before each start. Harbor reads a policy when an
//! execution starts, so executions of one policy may overlap; setting and starting may not. Nothing is started that
//! would arrive under a name that no workload has for it.
//!
//! Nobody waits here for a start of another image: a Harbor that is slow to answer would hold one worker after the other.
//! Who comes meanwhile comes again.

use std::collections::BTreeMap;
use std::time::Duration;

use harbor_warmer_protocol::{HarborImage, HarborName, Tag, TargetName};
use harbor_warmer_workload::RuleSet;
use tokio::sync::{Mutex, Semaphore};

use crate::config::{Config, Replication};
use crate::harbors::Harbors;
use crate::replication::arrival::misplaced;
use harbor_warmer_core::image::ReplicationOutcome;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_harbor::OwnPolicy;
use harbor_warmer_harbor::{
    ClientError, Destination, ExecutionId, Filters, HarborError, NewPolicy, PolicyId, ReplicationClient,
    ReplicationStatus, Repository,
};

/// The replicators of all targets.
pub(crate) struct Replicators {
    targets: BTreeMap<TargetName, Replicator>,
    rules: RuleSet,
}

struct Replicator {
    client: ReplicationClient,
    replication: Replication,
    /// Held while a policy is set and started.
    gate: Mutex<Gate>,
    /// Slots for looks at executions.
    looks: Semaphore,
}

#[derive(Default)]
struct Gate {
    policy: Option<PolicyId>,
    last: Option<(ExecutionId, Timestamp)>,
}

/// Why a replication could not be started or followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicatorError {
    /// Harbor says no.
    #[error(transparent)]
    Harbor(#[from] HarborError),
    /// There is no such policy, and it is somebody else's to make.
    #[error("Harbor has no replication policy `{0}`; create it, or name the one that there is in `existing`")]
    NoSuchPolicy(String),
    /// There is no such policy, and nothing says where it should copy to.
    #[error("Harbor has no replication policy `{0}`; name its endpoint in `replication.registry`, and it is created")]
    NoEndpointNamed(String),
    /// There is no such endpoint.
    #[error("Harbor has no registry endpoint `{0}`; mend `replication.registry`")]
    NoSuchEndpoint(String),
    /// It would arrive under a name that no workload has for it.
    #[error(transparent)]
    Misplaced(Box<Misplaced>),
    /// The target is not in the configuration any more.
    #[error("the target `{0}` is not in the configuration")]
    UnknownTarget(TargetName),
}

/// A tag would arrive under a name that no workload has for it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the policy `{policy}` would bring {place}:{tag} to {arrives}, which no rule maps back to it; mend the rule or the \
     policy's destination: `harbor-warmer check` says how"
)]
pub(crate) struct Misplaced {
    /// The policy.
    policy: String,
    /// What would be copied.
    place: HarborImage,
    /// Its tag.
    tag: Tag,
    /// Where to, or why nowhere.
    arrives: String,
}

/// Starts of somebody else's policy share an execution for so long, if it began after all of their tags were recorded.
const SHARED_FOR: Duration = Duration::from_secs(30);

/// So many executions of one target are looked at at once.
const MOST_LOOKS: usize = 4;

impl Replicators {
    /// The replicators of the configuration's targets.
    ///
    /// # Errors
    /// The credentials of a target can't be used.
    pub(crate) fn new(config: &Config, harbors: &Harbors) -> Result<Self, (HarborName, ClientError)> {
        let mut targets = BTreeMap::new();
        for (name, target) in &config.targets {
            let Some(client) = harbors.client(&target.harbor) else { continue };
            let client = client.replication(&target.credentials).map_err(|error| (target.harbor.clone(), error))?;
            let replicator = Replicator {
                client,
                replication: target.replication.clone(),
                gate: Mutex::default(),
                looks: Semaphore::new(MOST_LOOKS),
            };
            targets.insert(name.clone(), replicator);
        }
        Ok(Self { targets, rules: config.rules.clone() })
    }

    /// Starts the replication of these tags; the execution to follow, or none while another is being started. They were
    /// all recorded by `recorded`.
    pub(crate) async fn start(
        &self,
        target: &TargetName,
        place: &HarborImage,
        tags: &[Tag],
        recorded: Timestamp,
        now: Timestamp,
    ) -> Result<Option<i64>, ReplicatorError> {
        let replicator = self.get(target)?;
        let Ok(mut gate) = replicator.gate.try_lock() else { return Ok(None) };
        let filters = Filters { place: Repository::from(place), tags: tags.to_vec() };
        let well_placed = |policy: &str, destination: &Destination| {
            tags.iter().try_for_each(|tag| self.well_placed(policy, place, tag, target, destination))
        };
        let execution = match &replicator.replication {
            Replication::Own(own) => {
                let id = match gate.policy {
                    Some(id) => id,
                    None => replicator.own_policy(own, &filters, well_placed).await?,
                };
                gate.policy = Some(id);
                let set = async {
                    let policy = replicator.client.policy(id).await?;
                    well_placed(&own.name, &policy.destination())?;
                    replicator.client.set_filters(policy, &filters).await?;
                    Ok(replicator.client.start(id).await?)
                };
                set.await.inspect_err(|_: &ReplicatorError| {
                    // Somebody may have deleted the policy: look it up again.
                    gate.policy = None;
                })?
            }
            Replication::Existing { policy } => match gate.last {
                Some((execution, began)) if began > recorded && now.since(began) < SHARED_FOR => execution,
                _ => {
                    let found = replicator.client.find_policy(policy).await?;
                    let found = found.ok_or_else(|| ReplicatorError::NoSuchPolicy(policy.clone()))?;
                    well_placed(policy, &found.destination())?;
                    replicator.client.start(found.id).await?
                }
            },
        };
        gate.last = Some((execution, now));
        Ok(Some(execution.0))
    }

    /// Where an execution stands, as its tasks tell: Harbor shows an execution as under way for half a minute longer. None
    /// while many others are looked at.
    pub(crate) async fn look(
        &self,
        target: &TargetName,
        place: &HarborImage,
        execution: i64,
    ) -> Result<Option<ReplicationOutcome>, ReplicatorError> {
        let replicator = self.get(target)?;
        let Ok(_slot) = replicator.looks.try_acquire() else { return Ok(None) };
        let id = ExecutionId(execution);
        let mut tasks = replicator.client.tasks(id).await?;
        if matches!(replicator.replication, Replication::Existing { .. }) {
            // A wide policy has a task for each repository; the others are not this image's.
            let repository = format!("{}/{}", place.project, place.repository);
            tasks.retain(|task| task.source.as_deref().is_none_or(|source| source.starts_with(&repository)));
        }
        if tasks.is_empty() {
            let execution = replicator.client.execution(id).await?;
            return Ok(Some(match execution.status {
                ReplicationStatus::InProgress => ReplicationOutcome::Running,
                _ => ReplicationOutcome::Failed(format!(
                    "the execution {execution} found nothing to copy{}",
                    execution.status_text.map(|text| format!(": {text}")).unwrap_or_default(),
                    execution = execution.id.0,
                )),
            }));
        }
        if tasks.iter().any(|task| task.status == ReplicationStatus::InProgress) {
            return Ok(Some(ReplicationOutcome::Running));
        }
        let failed = tasks.iter().find(|task| task.status != ReplicationStatus::Succeed);
        Ok(Some(match failed {
            None => ReplicationOutcome::Succeeded,
            Some(task) => {
                // A log that can't be had makes the error vaguer, no more.
                let said = replicator.client.last_error(id, task.id).await.ok().flatten();
                let said = said.unwrap_or_else(|| "its log in Harbor says why".to_owned());
                ReplicationOutcome::Failed(format!(
                    "task {} of execution {execution} ended as {:?}: {said}",
                    task.id, task.status
                ))
            }
        }))
    }

    fn well_placed(
        &self,
        policy: &str,
        place: &HarborImage,
        tag: &Tag,
        target: &TargetName,
        destination: &Destination,
    ) -> Result<(), ReplicatorError> {
        let Some(arrives) = misplaced(&self.rules, place, tag, target, destination) else { return Ok(()) };
        let (policy, place, tag) = (policy.to_owned(), place.clone(), tag.clone());
        Err(ReplicatorError::Misplaced(Box::new(Misplaced { policy, place, tag, arrives })))
    }

    fn get(&self, target: &TargetName) -> Result<&Replicator, ReplicatorError> {
        self.targets.get(target).ok_or_else(|| ReplicatorError::UnknownTarget(target.clone()))
    }
}

impl Replicator {
    /// The policy of this name, made where there is none.
    async fn own_policy(
        &self,
        own: &OwnPolicy,
        filters: &Filters,
        well_placed: impl Fn(&str, &Destination) -> Result<(), ReplicatorError>,
    ) -> Result<PolicyId, ReplicatorError> {
        if let Some(policy) = self.client.find_policy(&own.name).await? {
            return Ok(policy.id);
        }
        let Some(registry) = &own.registry else { return Err(ReplicatorError::NoEndpointNamed(own.name.clone())) };
        let endpoint = self.client.find_endpoint(registry).await?;
        let endpoint = endpoint.ok_or_else(|| ReplicatorError::NoSuchEndpoint(registry.clone()))?;
        well_placed(&own.name, &endpoint.destination_of(own))?;
        let policy = NewPolicy {
            name: own.name.clone(),
            registry_id: endpoint.id,
            dest_namespace: own.dest_namespace.clone(),
            dest_namespace_replace_count: own.dest_namespace_replace_count,
            filters: filters.clone(),
        };
        Ok(self.client.create_policy(&policy).await?)
    }
}
