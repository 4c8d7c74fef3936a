//! What Prometheus is told. No image and no tag is ever a label: their number has no bound.

mod registry_port;

use std::sync::atomic::AtomicU64;

use harbor_warmer_harbor::Counters;
use harbor_warmer_protocol::{HarborName, ProjectName, TargetName};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub(crate) use registry_port::HandOffFailure;

use harbor_warmer_core::image::{BlockedBy, DeadReason};
use harbor_warmer_core::project::Cause;
use harbor_warmer_core::view::Phase;
use registry_port::RegistryPortMetrics;

/// Every metric of the service. Cheap to share behind an `Arc`.
pub struct Metrics {
    registry: Registry,
    hand_offs: Family<HandOffLabels, Counter>,
    images: Family<PhaseLabels, Gauge>,
    images_settled: Family<OutcomeLabels, Counter>,
    oldest_due_seconds: Gauge<f64, AtomicU64>,
    admission_to_warm_seconds: Histogram,
    blobs: Family<BlobLabels, Counter>,
    blob_read_bytes: Counter,
    harbor_answers: Family<AnswerLabels, Counter>,
    harbor_concurrency: Family<HarborLabels, Gauge>,
    front: Family<FrontLabels, Counter>,
    front_deferrals: Family<ReasonLabels, Counter>,
    backlog_images: Family<HarborLabels, Gauge>,
    registry_port: RegistryPortMetrics,
    project_paused: Family<PauseLabels, Gauge>,
    dead_letters: Family<ReasonLabels, Counter>,
    tags_blocked: Family<ReasonLabels, Counter>,
    requests_exceeded: Counter,
    replications: Family<ReplicationLabels, Counter>,
    replication_oldest_due_seconds: Family<TargetLabels, Gauge<f64, AtomicU64>>,
    robot_expires: Family<RobotLabels, Gauge>,
    step_seconds: Family<StepLabels, Histogram>,
    disk_free_bytes: Gauge,
    queue_unfinished: Family<ClusterLabels, Gauge>,
    queue_unreadable_units: Gauge,
    queue_files_moved_aside: Gauge,
    queue_disk_full: Gauge,
    clock_ahead_seconds: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandOffLabels {
    cluster: String,
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BlobLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HarborLabels {
    harbor: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    harbor: String,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FrontLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PauseLabels {
    harbor: String,
    project: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplicationLabels {
    target: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabels {
    target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RobotLabels {
    harbor: String,
    robot: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

/// A step of an image's way, timed from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedStep {
    /// From the hand-off until Harbor has every wanted blob.
    Local,
    /// From there until Harbor has recorded every wanted platform.
    Recorded,
    /// From there until Harbor has recorded every wanted tag.
    Tagged,
    /// From there until every wanted target has it.
    Replicated,
}

/// What became of a replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationEvent {
    /// Harbor was asked for an execution.
    Started,
    /// It brought what it should.
    Succeeded,
    /// It could not be started, or did not bring it.
    Failed,
}

/// What became of a blob that an image needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobOutcome {
    /// Harbor was asked to fetch it.
    Fetched,
    /// Harbor had it already.
    Skipped,
}

/// What became of a look-up through the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontOutcome {
    /// Harbor answered within the budget.
    Relayed,
    /// Answered from the front's own cache.
    Cached,
    /// Refused at once or after the wait: the budget is spent, or Harbor is slow.
    Deferred,
    /// Harbor's upstream has no such tag.
    Missing,
    /// Harbor answered with an error.
    Failed,
}

/// What became of an image when its worker let go of it for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettledAs {
    /// Everything that was wanted is verified.
    Done,
    /// A dead letter.
    Dead,
}

// From a hit in Harbor's cache to an image slower than Harbor's index deadline of 400 s, and an hour.
const SECONDS: [f64; 16] =
    [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 240.0, 480.0, 900.0, 1800.0, 3600.0];

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("harbor_warmer");
        let metrics = Self {
            hand_offs: Family::default(),
            images: Family::default(),
            images_settled: Family::default(),
            oldest_due_seconds: Gauge::default(),
            admission_to_warm_seconds: Histogram::new(SECONDS),
            blobs: Family::default(),
            blob_read_bytes: Counter::default(),
            harbor_answers: Family::default(),
            harbor_concurrency: Family::default(),
            front: Family::default(),
            front_deferrals: Family::default(),
            backlog_images: Family::default(),
            registry_port: RegistryPortMetrics::register(&mut registry),
            project_paused: Family::default(),
            dead_letters: Family::default(),
            tags_blocked: Family::default(),
            requests_exceeded: Counter::default(),
            replications: Family::default(),
            replication_oldest_due_seconds: Family::default(),
            robot_expires: Family::default(),
            step_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            disk_free_bytes: Gauge::default(),
            queue_unfinished: Family::default(),
            queue_unreadable_units: Gauge::default(),
            queue_files_moved_aside: Gauge::default(),
            queue_disk_full: Gauge::default(),
            clock_ahead_seconds: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("hand_offs", "Hand-offs answered, by cluster and receipt state", metrics.hand_offs.clone());
        registry.register("queue_images", "Images in the queue, by phase", metrics.images.clone());
        registry.register("images", "Images settled, by outcome", metrics.images_settled.clone());
        registry.register(
            "queue_oldest_due_seconds",
            "How long the image that waits longest for a worker has been due",
            metrics.oldest_due_seconds.clone(),
        );
        registry.register(
            "admission_to_warm_seconds",
            "From the first hand-off to Harbor's record of every wanted platform",
            metrics.admission_to_warm_seconds.clone(),
        );
        registry.register(
            "blobs",
            "Blobs of images, fetched by Harbor or skipped as already there",
            metrics.blobs.clone(),
        );
        registry.register("blob_read_bytes", "Bytes of blobs read from Harbor", metrics.blob_read_bytes.clone());
        registry.register("harbor_answers", "Harbor's answers, by class", metrics.harbor_answers.clone());
        registry.register(
            "harbor_concurrency",
            "Requests for content that the warmer allows itself at once, by Harbor",
            metrics.harbor_concurrency.clone(),
        );
        registry.register("front_lookups", "Look-ups of policies through the front, by outcome", metrics.front.clone());
        registry.register(
            "front_deferrals",
            "Look-ups of policies put off, when they came or already at the hand-off, by reason",
            metrics.front_deferrals.clone(),
        );
        registry.register(
            "backlog_images",
            "Images that nothing was read of yet and that wait for their turn, by Harbor",
            metrics.backlog_images.clone(),
        );
        registry.register(
            "project_paused",
            "1 while work on the project stands still, by reason",
            metrics.project_paused.clone(),
        );
        registry.register("dead_letters", "Images and tags given up, by reason", metrics.dead_letters.clone());
        registry.register(
            "tags_blocked",
            "Tags that Harbor will not record for a long time, by reason",
            metrics.tags_blocked.clone(),
        );
        registry.register(
            "requests_exceeded",
            "Times an image was set aside, because far more requests were made for it than one needs",
            metrics.requests_exceeded.clone(),
        );
        registry.register("replications", "Replications, by target and outcome", metrics.replications.clone());
        registry.register(
            "replication_oldest_due_seconds",
            "How long the tag that waits longest for a target has been recorded, by target",
            metrics.replication_oldest_due_seconds.clone(),
        );
        registry.register(
            "robot_expires_timestamp_seconds",
            "When a robot expires, as far as it may read that itself",
            metrics.robot_expires.clone(),
        );
        registry.register(
            "step_seconds",
            "Time of each step of an image's way, from the step before",
            metrics.step_seconds.clone(),
        );
        registry.register(
            "queue_disk_free_bytes",
            "Bytes that are free where the queue is",
            metrics.disk_free_bytes.clone(),
        );
        registry.register(
            "queue_unfinished",
            "Images and tags that are not finished, by the cluster that asked for them first",
            metrics.queue_unfinished.clone(),
        );
        registry.register(
            "queue_unreadable_units",
            "Images and tags whose row in the queue can't be read",
            metrics.queue_unreadable_units.clone(),
        );
        registry.register(
            "queue_files_moved_aside",
            "Queue files that were gone or couldn't be read since the start, and that another one was begun for",
            metrics.queue_files_moved_aside.clone(),
        );
        registry.register(
            "queue_disk_full",
            "1 while the queue's disk is full, so that nothing new is taken in",
            metrics.queue_disk_full.clone(),
        );
        registry.register(
            "clock_ahead_seconds",
            "How far the system's clock was set since the start; negative where it was set back",
            metrics.clock_ahead_seconds.clone(),
        );
        Self { registry, ..metrics }
    }

    /// A hand-off was answered.
    pub fn handed_off(&self, cluster: &str, state: harbor_warmer_protocol::ImageState) {
        let labels = HandOffLabels { cluster: cluster.to_owned(), state: state.to_string() };
        self.hand_offs.get_or_create(&labels).inc();
    }

    /// The queue was counted. Phases without an image are given as zero.
    pub fn queue_counted(&self, phase: Phase, images: i64) {
        self.images.get_or_create(&PhaseLabels { phase: phase.label() }).set(images);
    }

    /// How long the image that waits longest for a worker has been due.
    pub fn oldest_due(&self, seconds: f64) {
        self.oldest_due_seconds.set(seconds);
    }

    /// A worker let go of an image for good.
    pub fn settled(&self, outcome: SettledAs) {
        let outcome = match outcome {
            SettledAs::Done => "done",
            SettledAs::Dead => "dead",
        };
        self.images_settled.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// An image became warm, so long after it was first handed over.
    pub fn warm_after(&self, seconds: f64) {
        self.admission_to_warm_seconds.observe(seconds);
    }

    /// A blob was asked for, or found to be there.
    pub fn blob(&self, outcome: BlobOutcome) {
        let outcome = match outcome {
            BlobOutcome::Fetched => "fetched",
            BlobOutcome::Skipped => "skipped",
        };
        self.blobs.get_or_create(&BlobLabels { outcome }).inc();
    }

    /// The concurrency allowed towards a Harbor changed.
    pub fn concurrency(&self, harbor: &HarborName, allowed: usize) {
        let labels = HarborLabels { harbor: harbor.to_string() };
        self.harbor_concurrency.get_or_create(&labels).set(i64::try_from(allowed).unwrap_or(i64::MAX));
    }

    /// A look-up through the front was answered.
    pub fn front_answered(&self, outcome: FrontOutcome) {
        let outcome = match outcome {
            FrontOutcome::Relayed => "relayed",
            FrontOutcome::Cached => "cached",
            FrontOutcome::Deferred => "deferred",
            FrontOutcome::Missing => "missing",
            FrontOutcome::Failed => "failed",
        };
        self.front.get_or_create(&FrontLabels { outcome }).inc();
    }

    /// The reasons that a look-up may be put off for, each at zero until it first is.
    pub fn may_defer(&self, reasons: impl IntoIterator<Item = &'static str>) {
        for reason in reasons {
            drop(self.front_deferrals.get_or_create(&ReasonLabels { reason }));
        }
    }

    /// A look-up was put off, or not asked for.
    pub fn front_deferred(&self, reason: &'static str) {
        self.front_deferrals.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// So many images wait for their turn at a Harbor.
    pub fn backlog(&self, harbor: &HarborName, images: usize) {
        let labels = HarborLabels { harbor: harbor.to_string() };
        self.backlog_images.get_or_create(&labels).set(i64::try_from(images).unwrap_or(i64::MAX));
    }

    /// A connection to the registry port was opened.
    pub fn connection_opened(&self) {
        self.registry_port.connections.inc();
    }

    /// A connection to the registry port was closed.
    pub fn connection_closed(&self) {
        self.registry_port.connections.dec();
    }

    /// A hand-off came to nothing.
    pub fn hand_off_failed(&self, failure: HandOffFailure) {
        self.registry_port.failed(failure);
    }

    /// Whether work on a project stands still, for this reason.
    pub fn project_paused(&self, harbor: &HarborName, project: &ProjectName, reason: Cause, paused: bool) {
        let labels = PauseLabels { harbor: harbor.to_string(), project: project.to_string(), reason: reason.label() };
        self.project_paused.get_or_create(&labels).set(i64::from(paused));
    }

    /// An image or a tag was given up.
    pub fn given_up(&self, reason: &DeadReason) {
        self.dead_letters.get_or_create(&ReasonLabels { reason: reason.label() }).inc();
    }

    /// A tag turned out to be blocked.
    pub fn tag_blocked(&self, by: BlockedBy) {
        self.tags_blocked.get_or_create(&ReasonLabels { reason: by.label() }).inc();
    }

    /// An image was set aside.
    pub fn requests_exceeded(&self) {
        self.requests_exceeded.inc();
    }

    /// Something became of a replication.
    pub fn replication(&self, target: &TargetName, event: ReplicationEvent) {
        let outcome = match event {
            ReplicationEvent::Started => "started",
            ReplicationEvent::Succeeded => "succeeded",
            ReplicationEvent::Failed => "failed",
        };
        self.replications.get_or_create(&ReplicationLabels { target: target.to_string(), outcome }).inc();
    }

    /// How long the tag that waits longest for `target` has been recorded in Harbor.
    pub fn replication_oldest_due(&self, target: &TargetName, seconds: f64) {
        let labels = TargetLabels { target: target.to_string() };
        self.replication_oldest_due_seconds.get_or_create(&labels).set(seconds);
    }

    /// When a robot expires, in seconds since the Unix epoch; none of one that never does.
    pub fn robot_expires(&self, harbor: &HarborName, robot: &str, at_seconds: Option<i64>) {
        let labels = RobotLabels { harbor: harbor.to_string(), robot: robot.to_owned() };
        match at_seconds {
            Some(at) => drop(self.robot_expires.get_or_create(&labels).set(at)),
            None => drop(self.robot_expires.remove(&labels)),
        }
    }

    /// Puts the counters that alerts watch at zero: an increase from nothing is none to Prometheus.
    pub fn start_at_zero<'a>(
        &self,
        clusters: impl Iterator<Item = &'a str>,
        targets: impl Iterator<Item = &'a TargetName>,
    ) {
        for cluster in clusters {
            let state = harbor_warmer_protocol::ImageState::New.to_string();
            drop(self.hand_offs.get_or_create(&HandOffLabels { cluster: cluster.to_owned(), state }));
        }
        for reason in DeadReason::LABELS {
            drop(self.dead_letters.get_or_create(&ReasonLabels { reason }));
        }
        for by in BlockedBy::ALL {
            drop(self.tags_blocked.get_or_create(&ReasonLabels { reason: by.label() }));
        }
        for target in targets {
            self.replication_oldest_due(target, 0.0);
            for outcome in ["started", "succeeded", "failed"] {
                let labels = ReplicationLabels { target: target.to_string(), outcome };
                drop(self.replications.get_or_create(&labels));
            }
        }
    }

    /// So many images and tags of a cluster are not finished.
    pub fn unfinished(&self, cluster: &str, units: usize) {
        let labels = ClusterLabels { cluster: cluster.to_owned() };
        self.queue_unfinished.get_or_create(&labels).set(i64::try_from(units).unwrap_or(i64::MAX));
    }

    /// So many rows of the queue can't be read.
    pub fn unreadable_units(&self, units: usize) {
        self.queue_unreadable_units.set(i64::try_from(units).unwrap_or(i64::MAX));
    }

    /// What became of the queue's files.
    pub fn queue_files(&self, moved_aside: usize, is_full: bool) {
        self.queue_files_moved_aside.set(i64::try_from(moved_aside).unwrap_or(i64::MAX));
        self.queue_disk_full.set(i64::from(is_full));
    }

    /// The system's clock was set so far ahead since the start.
    pub fn clock_ahead(&self, seconds: f64) {
        self.clock_ahead_seconds.set(seconds);
    }

    /// An image took so long for a step.
    pub fn step_took(&self, step: TimedStep, seconds: f64) {
        let step = match step {
            TimedStep::Local => "local",
            TimedStep::Recorded => "recorded",
            TimedStep::Tagged => "tagged",
            TimedStep::Replicated => "replicated",
        };
        self.step_seconds.get_or_create(&StepLabels { step }).observe(seconds);
    }

    /// So much room is left for the queue.
    pub fn disk_free(&self, bytes: u64) {
        self.disk_free_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Everything in Prometheus' text format (OpenMetrics).
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String can't fail.
        text::encode(&mut out, &self.registry).expect("a String takes any text");
        out
    }
}

impl Counters for Metrics {
    fn answered(&self, harbor: &HarborName, class: &'static str) {
        self.harbor_answers.get_or_create(&AnswerLabels { harbor: harbor.to_string(), class }).inc();
    }

    fn blob_bytes(&self, bytes: u64) {
        self.blob_read_bytes.inc_by(bytes);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
