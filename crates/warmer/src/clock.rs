//! The only place that reads the clock.
//!
//! Everything that decides is handed `now`, so that a test can replay a fortnight in a millisecond. The service reads
//! it here, once for each event. A simulation of the whole service makes it [`follow`] a clock of its own.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, in whole milliseconds since the Unix epoch: what the store keeps and the core compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

static FOLLOWED: OnceLock<fn() -> Timestamp> = OnceLock::new();

/// Makes `clock` the one that [`now`] reads in this process, in place of the system's. The first stays.
pub fn follow(clock: fn() -> Timestamp) {
    FOLLOWED.get_or_init(|| clock);
}

/// The moment by the system's clock, or by the one that is followed.
pub fn now() -> Timestamp {
    FOLLOWED.get().map_or_else(system_time, |clock| clock())
}

#[expect(clippy::disallowed_methods, reason = "this is the place that reads it")]
fn system_time() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

impl Timestamp {
    /// Later than any moment that comes.
    pub const NEVER: Self = Self(i64::MAX);

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero where it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}
