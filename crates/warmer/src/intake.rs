//! Where hand-offs come in, from policies and from the command line: allowed or refused, written down, answered.

mod targets;

use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_protocol::{HandOff, ImageState};

use crate::config::Config;
use crate::harbors::Harbors;
use crate::intake::targets::Targets;
use crate::metrics::Metrics;
use harbor_warmer_core::announcement::Resolved;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_store::{HandedOff, Store, StoreError};

/// A hand-off that isn't on the disk by then is answered with an error. A policy server can't interrupt a call, and has
/// 1 s in the worst case; what is written later is no loss.
const WRITTEN_WITHIN: Duration = Duration::from_millis(800);

/// The intake.
pub struct Intake {
    harbors: Arc<Harbors>,
    targets: Targets,
    store: Store,
    metrics: Arc<Metrics>,
}

/// What a hand-off came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum IntakeResult {
    /// It is on the disk, or was known.
    Taken(HandedOff),
    /// It was looked at only, and isn't known.
    Unknown,
    /// The configuration doesn't allow it; a sentence that says what to change.
    Refused(String),
}

/// A hand-off could not be written down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// The queue says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue says nothing.
    #[error("the queue did not answer within {} ms; is its disk slow?", WRITTEN_WITHIN.as_millis())]
    TooSlow,
}

impl Intake {
    /// An intake for what the configuration allows.
    pub fn new(config: &Config, harbors: Arc<Harbors>, store: Store, metrics: Arc<Metrics>) -> Self {
        Self { harbors, targets: Targets::new(&config.targets), store, metrics }
    }

    /// Takes a hand-off in. It is durable when this returns [`IntakeResult::Taken`].
    pub(crate) async fn take(
        &self,
        hand_off: HandOff,
        cluster: &str,
        known_root: Option<Resolved>,
        now: Timestamp,
    ) -> Result<IntakeResult, IntakeError> {
        if let Err(why) = self.allow(&hand_off) {
            tracing::info!(cluster, image.repository = %hand_off.image, reason = why, "a hand-off is refused");
            self.metrics.handed_off(cluster, ImageState::Refused);
            return Ok(IntakeResult::Refused(why));
        }
        let written = self.store.hand_off(hand_off, cluster, known_root, now);
        let handed_off = match tokio::time::timeout(WRITTEN_WITHIN, written).await.map_err(|_| IntakeError::TooSlow)? {
            Err(error @ StoreError::TooMany { .. }) => {
                tracing::warn!(cluster, "a hand-off is refused: {error}");
                self.metrics.handed_off(cluster, ImageState::Refused);
                return Ok(IntakeResult::Refused(error.to_string()));
            }
            handed_off => handed_off?,
        };
        self.metrics.handed_off(cluster, handed_off.state);
        Ok(IntakeResult::Taken(handed_off))
    }

    /// What a hand-off would come to, without taking it in. What this cluster has not asked for itself is unknown to it,
    /// or it could look up what others run.
    pub(crate) async fn look_at(
        &self,
        hand_off: &HandOff,
        cluster: &str,
        now: Timestamp,
    ) -> Result<IntakeResult, IntakeError> {
        if let Err(why) = self.allow(hand_off) {
            return Ok(IntakeResult::Refused(why));
        }
        let look = async {
            let Some(seen) = self.store.peek(hand_off).await? else { return Ok(None) };
            let view = self.store.view(&seen.id, now).await?;
            let is_own = view.is_some_and(|view| view.wants.iter().any(|want| want.cluster == cluster));
            Ok::<_, StoreError>(is_own.then_some(seen))
        };
        let seen = tokio::time::timeout(WRITTEN_WITHIN, look).await.map_err(|_| IntakeError::TooSlow)??;
        Ok(seen.map_or(IntakeResult::Unknown, IntakeResult::Taken))
    }

    fn allow(&self, hand_off: &HandOff) -> Result<(), String> {
        self.harbors.get(&hand_off.image).map_err(|error| error.to_string())?;
        self.targets.allow(hand_off).map_err(|error| error.to_string())
    }
}
