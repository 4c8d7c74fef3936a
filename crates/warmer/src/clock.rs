//! The only place that reads the clock.
//!
//! Everything that decides is handed `now`, so that a test can replay a fortnight in a millisecond. The service reads
//! it here, once for each event. A simulation of the whole service makes it [`follow`] a clock of its own.
//!
//! The system's clock is read once, at the start. From there time goes on by the time since the system was booted, which
//! nobody sets, and which goes on while the machine sleeps: whoever sets the clock while the service runs changes
//! nothing of its waits. [`ahead`] tells how far it was set.

use std::sync::OnceLock;
use std::time::Duration;

use harbor_warmer_core::timestamp::Timestamp;
use rustix::time::{ClockId, clock_gettime};

static FOLLOWED: OnceLock<fn() -> Timestamp> = OnceLock::new();
static START: OnceLock<Start> = OnceLock::new();

/// The two clocks at the start.
#[derive(Clone, Copy, Debug)]
struct Start {
    system: Timestamp,
    since_boot: Duration,
}

/// Makes `clock` the one that [`now`] reads in this process, in place of the system's. The first stays.
pub fn follow(clock: fn() -> Timestamp) {
    FOLLOWED.get_or_init(|| clock);
}

/// The moment that the service goes by, or that of the clock that is followed. It never goes back.
pub fn now() -> Timestamp {
    FOLLOWED.get().map_or_else(|| Start::get().now(since_boot()), |clock| clock())
}

/// How many milliseconds the system's clock is ahead of the moment that the service goes by; negative where it is
/// behind. Zero unless somebody has set it since the start.
pub fn ahead() -> i64 {
    match FOLLOWED.get() {
        Some(_) => 0,
        None => Start::get().ahead(since_boot(), system_time()),
    }
}

impl Start {
    fn get() -> Self {
        *START.get_or_init(|| Self { system: system_time(), since_boot: since_boot() })
    }

    fn now(&self, since_boot: Duration) -> Timestamp {
        self.system + since_boot.saturating_sub(self.since_boot)
    }

    fn ahead(&self, since_boot: Duration, system: Timestamp) -> i64 {
        system.as_millis().saturating_sub(self.now(since_boot).as_millis())
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "this is the place that reads it")]
fn system_time() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;
    const BOOTED: Duration = Duration::from_secs(1_000);

    #[rstest]
    #[case::left_alone(0)]
    #[case::back_by_a_second(-1_000)]
    #[case::back_by_an_hour(-HOUR)]
    #[case::back_by_a_year(-YEAR)]
    #[case::ahead_by_a_second(1_000)]
    #[case::ahead_by_a_year(YEAR)]
    #[case::to_1970(-1_764_000_000_000)]
    fn a_clock_that_is_set_changes_no_wait_and_is_told(#[case] set_by: i64) {
        let start = Start { system: Timestamp::from_millis(1_764_000_000_000), since_boot: BOOTED };
        let passed = Duration::from_secs(90);
        assert_eq!(start.now(BOOTED + passed), start.system + passed);
        let system = Timestamp::from_millis(1_764_000_090_000 + set_by);
        assert_eq!(start.ahead(BOOTED + passed, system), set_by);
    }

    #[test]
    fn time_goes_on_and_never_back() {
        let moments: Vec<_> = (0..1_000).map(|_| now()).collect();
        assert!(moments.is_sorted());
    }
}
