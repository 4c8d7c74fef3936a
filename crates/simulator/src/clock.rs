//! Harbor's clock and its timers.
//!
//! One scale factor applies to everything that Harbor and its upstream do: at a scale of 0.01 the 400 s that an index
//! waits for its children pass in 4 s. Durations inside the simulator are Harbor's ("Harbor time"); only this module
//! turns them into real ones. What is done to a client's request on demand (a fault's delay) is in real time, since
//! the client's own timeouts are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

/// Harbor's waiting times, each as its source has it (v2.15.2; the file names are Harbor's).
#[derive(Debug, Clone)]
pub struct Timers {
    /// `sleepIntervalSec` in `src/controller/proxy/manifestcache.go`: the pause before each look at the blobs of a
    /// manifest or the children of an index. So nothing is recorded sooner than 20 s after its GET.
    pub dependency_interval: Duration,
    /// `maxManifestWait`: looks at a manifest's blobs before the missing ones are fetched one by one (200 s).
    pub manifest_looks: u32,
    /// `maxManifestListWait`: looks at an index's children before it is recorded with those that exist (400 s).
    pub index_looks: u32,
    /// `REGISTRY_HTTP_CLIENT_TIMEOUT`, of core's client for upstreams: 30 min for a whole body. What takes longer is cut,
    /// and never cached (#22393); sites with large layers or slow lines raise it.
    pub upstream_timeout: Duration,
    /// `manifestListCacheInterval`: how long Redis answers for an index that was read once.
    pub index_in_redis: Duration,
    /// `ensureTagInterval` in `src/server/middleware/repoproxy/proxy.go`: the pause before each try to record a tag.
    pub tag_interval: Duration,
    /// `ensureTagMaxRetry`: tries to record a tag after its HEAD (600 s).
    pub tag_tries: u32,
    /// How long a replication's task waits for a worker of the job service; executions measured on a real Harbor
    /// brought their tag within 2.3 s.
    pub task_pickup: Duration,
    /// How long the API shows a finished execution as `InProgress`: 24 to 31 s, measured on a real Harbor.
    pub execution_status_lag: Duration,
    /// Blobs without a manifest that are younger than this survive garbage collection (`GC_TIME_WINDOW_HOURS`).
    pub garbage_window: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            dependency_interval: Duration::from_secs(20),
            manifest_looks: 10,
            index_looks: 20,
            upstream_timeout: Duration::from_secs(30 * 60),
            index_in_redis: Duration::from_secs(7 * 24 * 3600),
            tag_interval: Duration::from_secs(10),
            tag_tries: 60,
            task_pickup: Duration::from_secs(1),
            execution_status_lag: Duration::from_secs(27),
            garbage_window: Duration::from_secs(2 * 3600),
        }
    }
}

/// Harbor time: how long the simulator has been running, divided by the scale, plus what was added by hand.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_at: Timestamp,
    scale: f64,
    added_seconds: AtomicU64,
}

impl Clock {
    pub(crate) fn start(scale: f64) -> Self {
        Self { started: Instant::now(), started_at: Timestamp::now(), scale, added_seconds: AtomicU64::new(0) }
    }

    /// Harbor time since the start.
    pub(crate) fn now(&self) -> Duration {
        let added = Duration::from_secs(self.added_seconds.load(Ordering::Relaxed));
        self.started.elapsed().div_f64(self.scale) + added
    }

    /// Lets the calendar jump: pull times age, Redis entries expire. Goroutines that sleep go on sleeping.
    pub(crate) fn add(&self, harbor_time: Duration) {
        self.added_seconds.fetch_add(harbor_time.as_secs(), Ordering::Relaxed);
    }

    /// Harbor time as a real duration.
    pub(crate) fn real(&self, harbor_time: Duration) -> Duration {
        harbor_time.mul_f64(self.scale)
    }

    /// A moment of Harbor time as the API prints it.
    pub(crate) fn timestamp(&self, at: Duration) -> String {
        let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX / 2);
        let moment = self.started_at.saturating_add(SignedDuration::new(seconds, 0)).unwrap_or(Timestamp::MAX);
        moment.round(jiff::Unit::Millisecond).unwrap_or(moment).to_string()
    }

    /// Pauses that follow one another without drifting, however late each one is noticed on a busy machine.
    pub(crate) fn pauses(&self) -> Pauses<'_> {
        Pauses { clock: self, last: Instant::now() }
    }
}

/// A goroutine's series of sleeps, see [`Clock::pauses`].
#[derive(Debug)]
pub(crate) struct Pauses<'a> {
    clock: &'a Clock,
    last: Instant,
}

impl Pauses<'_> {
    pub(crate) async fn pause(&mut self, harbor_time: Duration) {
        self.last += self.clock.real(harbor_time);
        sleep_until(self.last).await;
    }
}
