//! How many requests a unit may make in a time: far more than a good one needs, and few enough that one that goes wrong
//! in a way nobody thought of is no storm. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timers::Timers;
use crate::timestamp::Timestamp;

/// The requests that were made in the window that began last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// When the window began.
    began: Option<Timestamp>,
    /// How many were made since.
    made: u64,
}

/// Long enough that the polls of a slow layer are even, short enough that what is set aside comes back the same day.
const WINDOW: Duration = Duration::from_secs(3_600);

/// What a unit may ask for whatever it consists of: tags, records, executions, and failures with their retries.
const BASE: u64 = 2_000;

/// What it may ask for by part, be it a blob or a manifest. A poll each 15 s is 240 an hour, and close polls at the
/// beginning are some tens more.
const EACH: u64 = 400;

impl Requests {
    /// So many requests are about to be made.
    pub fn make(&mut self, requests: usize, timers: &Timers, now: Timestamp) {
        // A clock that was set back begins a new window, too.
        if self.began.is_none_or(|began| now < began || now >= began + timers.of(WINDOW)) {
            *self = Self { began: Some(now), made: 0 };
        }
        self.made = self.made.saturating_add(requests as u64);
    }

    /// Until when a unit of so many parts is set aside, if it has made more than it may.
    pub fn exceeded(&self, parts: usize, timers: &Timers, now: Timestamp) -> Option<Timestamp> {
        let ends = self.began? + timers.of(WINDOW);
        let allowed = BASE.saturating_add(EACH.saturating_mul(parts as u64));
        (self.made > allowed && now < ends).then_some(ends)
    }

    /// None were made lately.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn a_unit_that_asks_without_end_is_set_aside_until_the_window_is_over() {
        let mut requests = Requests::default();
        for n in 0..100 {
            requests.make(30, &Timers::REAL, START + Duration::from_secs(n));
        }
        let ends = START + WINDOW;
        assert_eq!(requests.exceeded(0, &Timers::REAL, START + Duration::from_secs(100)), Some(ends));
        assert_eq!(requests.exceeded(10, &Timers::REAL, START + Duration::from_secs(100)), None, "a large image may");
        assert_eq!(requests.exceeded(0, &Timers::REAL, ends), None);
        requests.make(1, &Timers::REAL, ends);
        assert_eq!(requests.exceeded(0, &Timers::REAL, ends), None);
    }

    #[test]
    fn polls_of_a_slow_layer_every_fifteen_seconds_are_never_too_many() {
        let mut requests = Requests::default();
        for n in 0..5_000 {
            let now = START + Duration::from_secs(15 * n);
            requests.make(1, &Timers::REAL, now);
            assert_eq!(requests.exceeded(1, &Timers::REAL, now), None);
        }
    }
}
