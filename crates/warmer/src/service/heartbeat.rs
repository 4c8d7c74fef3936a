//! Whether the service still turns, for the liveness probe: the loop that accepts hand-offs beats once a second.
//!
//! A disk that hangs stops no heart, since another process would find the same disk; `/readyz` speaks of that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Beats are so far apart.
pub(crate) const BEAT_EVERY: Duration = Duration::from_secs(1);

/// After so long without a beat the service is dead. A machine with no processor time to spare makes a beat late by
/// seconds, and a restart would not help it.
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// The last beat. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mutex<Instant>>);

impl Heartbeat {
    /// A heart that has just begun to beat.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(crate) fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long ago it was due and did not come; none while it beats.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        let silent = self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        (silent >= DEAD_AFTER).then_some(silent)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_heart_is_silent_after_fifteen_seconds_without_a_beat() {
        let heartbeat = Heartbeat::new();
        tokio::time::advance(Duration::from_secs(14)).await;
        assert_eq!(heartbeat.silent_for(), None);
        heartbeat.beat();
        tokio::time::advance(Duration::from_secs(14)).await;
        assert_eq!(heartbeat.silent_for(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(heartbeat.silent_for(), Some(Duration::from_secs(15)));
    }
}
