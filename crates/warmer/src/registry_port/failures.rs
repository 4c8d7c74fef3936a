//! Hand-offs that come to nothing leave a trace: each is counted by its reason, and of each reason a line is logged, once
//! a minute at most, so that five thousand wrong passwords are no five thousand lines.
//!
//! Of what a client sends nothing is logged but its address and the names of the configuration: a user name that nobody
//! configured may be a password in the wrong place.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::http::server::{Ending, Watcher};
use crate::metrics::{HandOffFailure, Metrics};

/// Between two lines of one reason.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Counts and tells.
pub(super) struct Failures {
    metrics: Arc<Metrics>,
    lines: Mutex<Lines>,
}

/// When each reason was last told of, and how often it happened since. Pure.
#[derive(Default)]
struct Lines([Line; HandOffFailure::ALL.len()]);

#[derive(Clone, Copy, Default)]
struct Line {
    told: Option<Instant>,
    untold: u64,
}

impl Lines {
    /// It happened once more: how often since the last line, if it is time for another.
    fn happened(&mut self, failure: HandOffFailure, now: Instant) -> Option<u64> {
        let line = self.0.get_mut(failure as usize)?;
        line.untold += 1;
        if line.told.is_some_and(|told| now.duration_since(told) < LINE_EVERY) {
            return None;
        }
        line.told = Some(now);
        Some(std::mem::take(&mut line.untold))
    }
}

impl Failures {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, lines: Mutex::default() }
    }

    /// Counts a failure. `who` is the cluster, where it is known.
    pub(super) fn count(&self, failure: HandOffFailure, peer: IpAddr, who: &str, why: &dyn std::fmt::Display) {
        self.metrics.hand_off_failed(failure);
        let line = self.lines.lock().unwrap_or_else(PoisonError::into_inner).happened(failure, Instant::now());
        if let Some(times) = line {
            tracing::warn!(
                reason = failure.label(),
                %peer,
                cluster = who,
                times,
                "{}: {why}",
                sentence(failure)
            );
        }
    }
}

/// What is wrong, and what to do about it.
fn sentence(failure: HandOffFailure) -> &'static str {
    match failure {
        HandOffFailure::Handshake => {
            "a client can't make a TLS connection; does its policy server have this warmer's authority in \
             spec.sourceAuthorities, and does nobody speak plain HTTP to the port?"
        }
        HandOffFailure::Late => {
            "a connection was cut: within 2 s it had neither shaken hands nor sent a request with credentials that are known"
        }
        HandOffFailure::Crowded => {
            "a connection was cut since its place was needed; raise registry.maxConnections, or let fewer hosts reach the \
             port"
        }
        HandOffFailure::NoCredentials => {
            "a hand-off has no credentials; the policy server's image pull secret must name this address exactly"
        }
        HandOffFailure::UnknownUser => {
            "a hand-off names a user that registry.credentials doesn't have; the user is the cluster's name"
        }
        HandOffFailure::WrongPassword => {
            "a hand-off has not its cluster's password; has one side been rotated and not the other?"
        }
        HandOffFailure::OutsideTheContract => {
            "a request is none of the contract's; is the policy of a version that this warmer knows?"
        }
        HandOffFailure::Refused => "a hand-off is not allowed by the configuration",
        HandOffFailure::TooSlow => "a hand-off was not on the disk in time",
        HandOffFailure::NotWritten => "a hand-off can't be written down",
        HandOffFailure::Abandoned => "a client was gone before its answer",
    }
}

impl Watcher for Failures {
    fn opened(&self) {
        self.metrics.connection_opened();
    }

    fn closed(&self) {
        self.metrics.connection_closed();
    }

    fn ended(&self, peer: IpAddr, ending: &Ending) {
        match ending {
            Ending::Handshake(error) => self.count(HandOffFailure::Handshake, peer, "", error),
            Ending::Late => self.count(HandOffFailure::Late, peer, "", &"it proved nothing"),
            Ending::Crowded => self.count(HandOffFailure::Crowded, peer, "", &"there are too many"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_line_of_its_own_and_a_label_of_its_own() {
        for (index, failure) in HandOffFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, index);
        }
        let labels: std::collections::BTreeSet<_> = HandOffFailure::ALL.map(HandOffFailure::label).into();
        assert_eq!(labels.len(), HandOffFailure::ALL.len());
    }

    #[test]
    fn a_reason_is_told_once_a_minute_with_how_often_it_happened() {
        let mut lines = Lines::default();
        let start = Instant::now();
        let mut at = |failure, seconds| lines.happened(failure, start + Duration::from_secs(seconds));
        assert_eq!(at(HandOffFailure::WrongPassword, 0), Some(1));
        assert_eq!(at(HandOffFailure::WrongPassword, 1), None);
        assert_eq!(at(HandOffFailure::Late, 1), Some(1), "another reason has its own line");
        assert_eq!(at(HandOffFailure::WrongPassword, 59), None);
        assert_eq!(at(HandOffFailure::WrongPassword, 60), Some(3));
        assert_eq!(at(HandOffFailure::WrongPassword, 200), Some(1));
    }
}
