//! A moment, and what can be said of two.

use std::cell::Cell;
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

/// A moment, in whole milliseconds since the Unix epoch: what the store keeps and the core compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

thread_local! {
    /// No moment that this thread reads is later.
    static LATEST: Cell<i64> = const { Cell::new(i64::MAX) };
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(|millis| Self(millis.min(LATEST.get())))
    }
}

impl Timestamp {
    /// What `read` reads with every moment after `latest` as that: it was written by a clock that was ahead.
    pub fn not_after<T>(latest: Self, read: impl FnOnce() -> T) -> T {
        let before = LATEST.replace(latest.0);
        let value = read();
        LATEST.set(before);
        value
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_clock_that_was_ahead_count_as_now_while_they_are_read() {
        let read = || serde_json::from_str::<Vec<Timestamp>>("[1,5,9]").unwrap();
        let all = [1, 5, 9].map(Timestamp::from_millis);
        assert_eq!(read(), all);
        assert_eq!(Timestamp::not_after(all[1], read), [all[0], all[1], all[1]]);
        assert_eq!(read(), all, "and only then");
    }
}
