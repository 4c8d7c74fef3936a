//! The only place that reads the clock.
//!
//! Everything that decides is handed `now`, so that a test can replay a fortnight in a millisecond. The service reads
//! it here, once for each event. A simulation of the whole service makes it [`follow`] a clock of its own.

use std::sync::OnceLock;

use harbor_warmer_core::timestamp::Timestamp;

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
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
