//! What has to be done now and then: count the queue, wake what rests, ask for pinned images, forget old ones.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::config::Config;
use crate::hand_off_by_rule;
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::places::backlog::Backlogs;
use harbor_warmer_core::project::Cause;
use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::Phase;
use harbor_warmer_store::Store;

/// The upkeep of the queue.
pub(crate) struct Upkeep {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) projects: Arc<Projects>,
    pub(crate) backlogs: Arc<Backlogs>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A third of the usual scrape interval; and what rests is woken no later than that after its time.
const EVERY: Duration = Duration::from_secs(5);

/// What nobody asked for in a long time is looked for so often.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Pinned images are asked for so often: twice a day their tags are looked up anew.
const PIN_EVERY: Duration = Duration::from_secs(12 * 3600);

/// What `ntpd` corrects by steps is more than an eighth of a second; anything below a second is nobody's business.
const CLOCK_SET_MILLIS: u64 = 1_000;

/// The name that pinned images are asked for under.
const PINNED: &str = "configuration";

impl Upkeep {
    /// Goes on for ever.
    pub(crate) async fn run(self) {
        let clusters = self.config.registry.credentials.iter().map(|credential| credential.cluster.as_str());
        self.metrics.start_at_zero(clusters, self.config.targets.keys());
        self.look_at_the_clock_of_the_start().await;
        let mut told_ahead = 0;
        let (mut forgotten, mut pinned): (Option<Timestamp>, Option<Timestamp>) = (None, None);
        loop {
            let now = clock::now();
            let is_time = |last: Option<Timestamp>, every| last.is_none_or(|last| now.since(last) >= every);
            if is_time(pinned, PIN_EVERY) {
                self.ask_for_pinned(now).await;
                pinned = Some(now);
            }
            if is_time(forgotten, FORGET_EVERY) {
                self.forget(now).await;
                forgotten = Some(now);
            }
            if let Err(error) = self.store.wake(now).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "what rests can't be woken");
            }
            told_ahead = self.look_at_the_clock(told_ahead);
            self.count(now).await;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Moments of the days before would be waited for.
    async fn look_at_the_clock_of_the_start(&self) {
        let set_back = self.store.set_back();
        if set_back.is_zero() {
            return;
        }
        tracing::warn!(
            seconds = set_back.as_secs_f64(),
            "the clock was set back since the last run: all that waits is due"
        );
        if let Err(error) = self.store.forgive_the_clock(clock::now()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "what waits for the clock can't be made due");
        }
    }

    /// Says so when the system's clock was set; `told` is what was said last, in milliseconds.
    fn look_at_the_clock(&self, told: i64) -> i64 {
        let ahead = clock::ahead();
        self.metrics.clock_ahead(ahead as f64 / 1e3);
        if ahead.abs_diff(told) < CLOCK_SET_MILLIS {
            return told;
        }
        tracing::warn!(
            clock.ahead_seconds = ahead as f64 / 1e3,
            "the system's clock was set while the service runs; it goes on by its own until it is started again"
        );
        ahead
    }

    async fn count(&self, now: Timestamp) {
        match self.store.counts().await {
            Ok(counts) => {
                for phase in Phase::ALL {
                    let images = counts.phases.get(&phase).copied().unwrap_or_default();
                    self.metrics.queue_counted(phase, i64::try_from(images).unwrap_or(i64::MAX));
                }
                for harbor in self.config.harbors.keys() {
                    self.backlogs.stand_before(harbor, counts.waiting.get(harbor).copied().unwrap_or_default());
                }
                for credential in &self.config.registry.credentials {
                    let cluster = &credential.cluster;
                    self.metrics.unfinished(cluster, counts.unfinished.get(cluster).copied().unwrap_or_default());
                }
                self.metrics.unreadable_units(counts.unreadable);
                let due_for = counts.oldest_due.map_or(Duration::ZERO, |due| now.since(due));
                self.metrics.oldest_due(due_for.as_secs_f64());
                for target in self.config.targets.keys() {
                    let waiting = counts.oldest_replications.get(target).map_or(Duration::ZERO, |at| now.since(*at));
                    self.metrics.replication_oldest_due(target, waiting.as_secs_f64());
                }
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the queue can't be counted"),
        }
        for (harbor, project, causes) in self.projects.causes() {
            for cause in Cause::ALL {
                self.metrics.project_paused(&harbor, &project, cause, causes.contains(&cause));
            }
        }
        for (harbor, images) in self.backlogs.waiting(now) {
            self.metrics.backlog(harbor, images);
        }
        self.metrics.queue_files(self.store.moved_aside(), self.store.is_full());
        if let Some(bytes) = free_bytes(&self.config.data_dir) {
            self.metrics.disk_free(bytes);
        }
    }

    async fn forget(&self, now: Timestamp) {
        match self.store.forget(now - self.config.queue.forget_after).await {
            Ok(0) => {}
            Ok(images) => tracing::info!(images, "forgotten: nobody asked for them any more"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "nothing can be forgotten"),
        }
    }

    async fn ask_for_pinned(&self, now: Timestamp) {
        for image in &self.config.pinned {
            let hand_off = match hand_off_by_rule::hand_off(&self.config.rules, &self.config.platforms, image) {
                Ok(hand_off) => hand_off,
                Err(error) => {
                    tracing::warn!(image, "a pinned image is not asked for: {error}");
                    continue;
                }
            };
            if let Err(error) = self.intake.take(hand_off, PINNED, None, now).await {
                tracing::warn!(image, "a pinned image is not asked for: {error}");
            }
        }
    }
}

/// Bytes that this process may still write where `directory` is.
fn free_bytes(directory: &Path) -> Option<u64> {
    let file_system = rustix::fs::statvfs(directory).ok()?;
    file_system.f_bavail.checked_mul(file_system.f_frsize)
}
