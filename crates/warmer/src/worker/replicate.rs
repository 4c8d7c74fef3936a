//! The steps that bring a recorded tag to a target, and the one that keeps an image.

use harbor_warmer_protocol::{Digest, HarborImage, Tag, TagOrDigest, TargetName};

use super::Workshop;
use super::carry_out::Seen;
use super::trouble::{Counts, failure, judge};
use crate::clock;
use crate::metrics::ReplicationEvent;
use crate::replication::replicator::ReplicatorError;
use harbor_warmer_core::image::{About, Observation, ReplicationOutcome};
use harbor_warmer_core::problem::{Failure, Problem};
use harbor_warmer_harbor::{Client, HarborError, Repository};

impl Workshop {
    /// Pulls a recorded manifest, so that Harbor's retention counts it as used; or finds that it is gone.
    pub(super) async fn keep(
        &self,
        client: &Client,
        here: &Repository,
        digest: Digest,
    ) -> Result<Vec<Seen>, HarborError> {
        // A GET of what is gone would start Harbor's clocks for it before its blobs are asked for.
        if client.artifact(here, &TagOrDigest::Digest(digest)).await?.is_none() {
            return Ok(Seen::now(Observation::ArtifactAbsent(digest)));
        }
        client.get_manifest(here, digest).await?;
        Ok(Seen::now(Observation::Kept(digest)))
    }

    pub(super) async fn replicate(&self, place: &HarborImage, target: &TargetName, tags: &[Tag]) -> Vec<Seen> {
        // The tags were seen recorded before this step was planned.
        let now = clock::now();
        match self.replicators.start(target, place, tags, now, now).await {
            Ok(None) => Seen::nothing_yet(),
            Ok(Some(execution)) => {
                self.metrics.replication(target, ReplicationEvent::Started);
                tracing::info!(
                    image.repository = %place,
                    replication.target = %target,
                    replication.execution = execution,
                    "replicates {place} to {target}"
                );
                let (target, tags) = (target.clone(), tags.to_vec());
                Seen::now(Observation::ReplicationStarted { target, tags, execution })
            }
            Err(error) => {
                self.metrics.replication(target, ReplicationEvent::Failed);
                tracing::warn!(image.repository = %place, replication.target = %target, "not replicated: {error}");
                let (target, tags, heals) = (target.clone(), tags.to_vec(), heals(&error));
                Seen::now(Observation::ReplicationFailed { target, tags, failure: not_started(&error), heals })
            }
        }
    }

    pub(super) async fn look_at(&self, place: &HarborImage, target: &TargetName, execution: i64) -> Vec<Seen> {
        match self.replicators.look(target, place, execution).await {
            Ok(None) => Seen::nothing_yet(),
            Ok(Some(outcome)) => {
                match &outcome {
                    ReplicationOutcome::Running => {}
                    ReplicationOutcome::Succeeded => self.metrics.replication(target, ReplicationEvent::Succeeded),
                    ReplicationOutcome::Failed(error) => {
                        self.metrics.replication(target, ReplicationEvent::Failed);
                        tracing::warn!(image.repository = %place, replication.target = %target, "{error}");
                    }
                }
                let target = target.clone();
                Seen::now(Observation::ReplicationLooked { target, execution, outcome })
            }
            Err(error) => {
                let step = format!("look at execution {execution} of the replication to {target}");
                Seen::now(Observation::Throttled { step, about: About::Image, failure: not_started(&error) })
            }
        }
    }
}

/// Why a replication could not be started or followed.
fn not_started(error: &ReplicatorError) -> Failure {
    match error {
        ReplicatorError::Harbor(error) => failure(error),
        ReplicatorError::NoSuchPolicy(_)
        | ReplicatorError::NoEndpointNamed(_)
        | ReplicatorError::NoSuchEndpoint(_)
        | ReplicatorError::Misplaced(_)
        | ReplicatorError::UnknownTarget(_) => Failure::new(Problem::ReplicationSetUp, error.to_string()),
    }
}

/// Whether a person or time mends it, so that the image is never given up for it.
fn heals(error: &ReplicatorError) -> bool {
    match error {
        ReplicatorError::Harbor(error) => judge(error).0 != Counts::Failure,
        ReplicatorError::NoSuchPolicy(_)
        | ReplicatorError::NoEndpointNamed(_)
        | ReplicatorError::NoSuchEndpoint(_)
        | ReplicatorError::Misplaced(_)
        | ReplicatorError::UnknownTarget(_) => true,
    }
}
