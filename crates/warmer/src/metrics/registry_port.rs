//! What Prometheus is told of the registry port: its connections, and every way in which a hand-off can fail.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A way in which a hand-off, or a look-up beside it, comes to nothing. Each is a label of
/// `harbor_warmer_hand_off_failures_total`, and a line of the log once a minute at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandOffFailure {
    /// The other side doesn't trust the certificate, or doesn't speak TLS.
    Handshake,
    /// The connection had proved nothing after two seconds.
    Late,
    /// The connection's place was needed for another.
    Crowded,
    /// The request names no user where one is asked for.
    NoCredentials,
    /// The request names a user that nobody configured.
    UnknownUser,
    /// The request has not its user's password.
    WrongPassword,
    /// The path is none of the contract's: another version of the policy, or no policy at all.
    OutsideTheContract,
    /// The configuration doesn't allow it.
    Refused,
    /// The disk took longer than a policy server waits.
    TooSlow,
    /// The queue can't be written.
    NotWritten,
    /// The client was gone before its answer.
    Abandoned,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    reason: &'static str,
}

/// The metrics of the port.
#[derive(Default)]
pub(super) struct RegistryPortMetrics {
    pub(super) connections: Gauge,
    failures: Family<FailureLabels, Counter>,
}

impl HandOffFailure {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Handshake,
        Self::Late,
        Self::Crowded,
        Self::NoCredentials,
        Self::UnknownUser,
        Self::WrongPassword,
        Self::OutsideTheContract,
        Self::Refused,
        Self::TooSlow,
        Self::NotWritten,
        Self::Abandoned,
    ];

    /// Its name in metrics and in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Late => "late",
            Self::Crowded => "crowded",
            Self::NoCredentials => "no-credentials",
            Self::UnknownUser => "unknown-user",
            Self::WrongPassword => "wrong-password",
            Self::OutsideTheContract => "outside-the-contract",
            Self::Refused => "refused",
            Self::TooSlow => "too-slow",
            Self::NotWritten => "not-written",
            Self::Abandoned => "abandoned",
        }
    }
}

impl RegistryPortMetrics {
    /// Counters at zero: an increase from nothing is none to Prometheus.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("registry_connections", "Open connections on the registry port", metrics.connections.clone());
        registry.register(
            "hand_off_failures",
            "Hand-offs and connections for them that came to nothing, by reason",
            metrics.failures.clone(),
        );
        for failure in HandOffFailure::ALL {
            drop(metrics.failures.get_or_create(&FailureLabels { reason: failure.label() }));
        }
        metrics
    }

    pub(super) fn failed(&self, failure: HandOffFailure) {
        self.failures.get_or_create(&FailureLabels { reason: failure.label() }).inc();
    }
}
