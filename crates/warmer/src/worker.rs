//! Carries out what the core decides: leases units, does their steps, writes down what was seen, and lets go.
//!
//! A lease is held while requests are under way, and no longer: waiting is a due time in the store, so ten thousand
//! images that wait for Harbor's timers occupy no worker. A task that panics ends without a word; its lease runs out
//! and the next worker counts a crash.

mod carry_out;
mod replicate;
mod requests;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use harbor_warmer_protocol::{Digest, HarborImage, HarborName, Tag};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::clock;
use crate::config;
use crate::front::Front;
use crate::harbors::Harbors;
use crate::metrics::{Metrics, SettledAs, TimedStep};
use crate::places::Places;
use crate::places::backlog::{Backlogs, Position};
use crate::replication::replicator::Replicators;
use carry_out::Seen;
use harbor_warmer_core::announcement::{self, Resolved};
use harbor_warmer_core::image::{BlockedBy, DeadReason, Image, Milestones, Next, Observation, Step, Waiting};
use harbor_warmer_core::problem::{Failure, Problem};
use harbor_warmer_core::project::{Effect, Project};
use harbor_warmer_core::projects::{Needs, Projects};
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_store::{AcquireRequest, Lease, Leased, Settlement, Store, StoreError, Unit};
use requests::Requests;

/// What every worker works with.
pub(crate) struct Workshop {
    /// The queue.
    pub store: Store,
    /// The Harbors.
    pub harbors: Arc<Harbors>,
    /// The projects and their health.
    pub projects: Arc<Projects>,
    /// What the policies' look-ups have already found out.
    pub front: Arc<Front>,
    /// What starts replications.
    pub replicators: Replicators,
    /// The images that wait for their turn at each Harbor.
    pub backlogs: Arc<Backlogs>,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// Bounds of the work.
    pub queue: config::Queue,
}

/// A unit whose lease ran out so often in a row is not tried again.
const MOST_CRASHES: u32 = 5;

/// With nothing due, the queue is looked at again after this at the latest. Whatever becomes due sooner wakes the
/// workers by itself; only a clock that is set forward doesn't.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// While the disk takes no writes, work is looked for so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Copies that nobody asks for again lose their places so soon: a second is nothing to a transfer.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Workshop {
    /// Works until `shutdown`, then gives back what is in hand.
    ///
    /// Each Harbor has workers of its own, so that one that hangs keeps none of another's.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let harbors = self.harbor_names().await;
        // In one task: were one of them to end, the service would see it.
        join_all(harbors.iter().map(|harbor| self.run_for(harbor, &tasks, &shutdown))).await;
        shutdown.cancelled().await;
        tasks.close();
        tasks.wait().await;
    }

    /// The Harbors of the configuration, and those that left it since something was handed over for them: that waits until
    /// somebody writes them down again.
    async fn harbor_names(&self) -> BTreeSet<HarborName> {
        let queued = self.store.harbors().await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the queue can't be read");
            Vec::new()
        });
        self.harbors.names().cloned().chain(queued).collect()
    }

    /// A copy that nobody looks for any more, of an image that waits or is given up, must not keep its place at Harbor.
    pub(crate) async fn keep_sweeping(self: Arc<Self>) {
        join_all(self.harbors.names().filter_map(|harbor| self.harbors.places(harbor)).map(sweep)).await;
        std::future::pending().await
    }

    /// Works on the units of one Harbor.
    async fn run_for(self: &Arc<Self>, harbor: &HarborName, tasks: &TaskTracker, shutdown: &CancellationToken) {
        let workers = Arc::new(Semaphore::new(self.queue.workers));
        while !shutdown.is_cancelled() {
            // A free worker first, then as many units as there are workers: a leased unit never waits for one.
            let first = tokio::select! {
                worker = Arc::clone(&workers).acquire_owned() => worker,
                () = shutdown.cancelled() => break,
            };
            let Ok(first) = first else { break };
            let mut free = vec![first];
            while let Ok(worker) = Arc::clone(&workers).try_acquire_owned() {
                free.push(worker);
            }
            let woken = self.store.woken();
            let limit = free.len();
            let request =
                AcquireRequest { harbor: harbor.clone(), limit, begin: self.room(harbor), lease: self.queue.lease };
            let leased = self.store.acquire(request, clock::now()).await;
            if let Err(error) = &leased {
                tracing::error!(error = error as &dyn std::error::Error, "no work can be taken from the queue");
            }
            let is_broken = leased.is_err();
            let leased = leased.unwrap_or_default();
            let idle = leased.is_empty();
            for (leased, worker) in leased.into_iter().zip(free.drain(..)) {
                tasks.spawn(Arc::clone(self).hold(leased, worker, shutdown.clone()));
            }
            if idle {
                drop(free);
                // What is due stays due while the disk is full; asking for it at once would only fill the log.
                let nap = if is_broken { LOOK_AGAIN } else { self.nap(harbor).await };
                tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep(nap) => {}
                    () = shutdown.cancelled() => break,
                }
            }
        }
    }

    /// How many images may begin at a Harbor. One that left the configuration has all the room: its images only wait.
    fn room(&self, harbor: &HarborName) -> usize {
        let places = self.harbors.places(harbor);
        places.map_or(usize::MAX, |places| self.backlogs.room(harbor, places.limiter(), clock::now()))
    }

    async fn nap(&self, harbor: &HarborName) -> Duration {
        match self.store.next_due(harbor, self.room(harbor) > 0).await {
            Ok(Some(due)) => due.since(clock::now()).clamp(Duration::from_millis(5), LONGEST_NAP),
            Ok(None) | Err(_) => LONGEST_NAP,
        }
    }

    /// Holds a unit until it is settled, with its lease renewed meanwhile.
    async fn hold(self: Arc<Self>, leased: Leased, worker: OwnedSemaphorePermit, shutdown: CancellationToken) {
        let lease = leased.lease;
        let span = tracing::info_span!("unit", unit.id = lease.name());
        let work = async {
            let renewing = self.keep_renewing(lease);
            let working = self.work(leased);
            tokio::select! {
                result = working => if let Err(error) = result {
                    // The lease runs out, and the unit is looked at again with nothing forgotten.
                    tracing::error!(error = &error as &dyn std::error::Error, "what was seen can't be written down");
                },
                () = renewing => tracing::warn!("the lease was lost; somebody else has the unit"),
                () = shutdown.cancelled() => {
                    if let Err(error) = self.store.release(lease, clock::now()).await {
                        tracing::warn!(error = &error as &dyn std::error::Error, "the lease is not given back");
                    }
                }
            }
        };
        work.instrument(span).await;
        drop(worker);
    }

    /// Ends only when the lease is lost.
    async fn keep_renewing(&self, lease: Lease) {
        loop {
            tokio::time::sleep(self.queue.lease / 3).await;
            match self.store.renew(lease, clock::now() + self.queue.lease).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the lease is not renewed; trying again");
                }
            }
        }
    }

    async fn work(&self, leased: Leased) -> Result<(), StoreError> {
        let Leased { lease, unit, crashes } = leased;
        if crashes > MOST_CRASHES {
            tracing::error!(unit.crashes = crashes, "{}", DeadReason::Crashed);
            self.metrics.settled(SettledAs::Dead);
            self.metrics.given_up(&DeadReason::Crashed);
            let mut unit = unit;
            match &mut unit {
                Unit::Announcement(announcement) => announcement.give_up(DeadReason::Crashed),
                Unit::Image(image) => image.give_up(DeadReason::Crashed),
            }
            let reason = DeadReason::Crashed.to_string();
            self.store.settle(lease, unit, Settlement::Dead { reason }, Vec::new(), clock::now()).await?;
            return Ok(());
        }
        match unit {
            Unit::Announcement(announcement) => self.resolve(lease, announcement).await,
            Unit::Image(image) => self.warm(lease, *image).await,
        }
    }

    /// Finds out what an announced tag means.
    async fn resolve(&self, lease: Lease, mut announcement: announcement::Announcement) -> Result<(), StoreError> {
        let settlement = loop {
            let now = clock::now();
            let waits = announcement.attempts.retry_at.is_some_and(|at| now < at);
            let needs = if waits { Needs::Nothing } else { Needs::Answer };
            let unit = format!("{}:{}", announcement.place, announcement.tag);
            let project = self.projects.enter(&announcement.place, &unit, needs, now);
            match announcement.next(&project, self.queue.missing_tag_for, now) {
                announcement::Next::HeadTag => {
                    announcement.requests(1, &project, now);
                    let (observation, at) = self.head_announced(&announcement).await;
                    announcement.observe(observation, at);
                }
                announcement::Next::WaitUntil(due, reason) => {
                    if project.pause.is_some() {
                        announcement.observe(announcement::Observation::Held, now);
                    }
                    break Settlement::Wait { due, reason: Some(reason) };
                }
                announcement::Next::Resolved(resolved) => break Settlement::Resolved(resolved),
                announcement::Next::Dead(reason) => {
                    let (place, tag) = (&announcement.place, &announcement.tag);
                    tracing::warn!(image.repository = %place, image.tag = %tag, "{place}:{tag} is given up: {reason}");
                    self.metrics.settled(SettledAs::Dead);
                    self.metrics.given_up(&reason);
                    let told = reason.to_string();
                    announcement.give_up(reason);
                    break Settlement::Dead { reason: told };
                }
                announcement::Next::Idle => break Settlement::Done { again: None },
            }
        };
        let unit = Unit::Announcement(announcement);
        self.store.settle(lease, unit, settlement, Vec::new(), clock::now()).await?;
        Ok(())
    }

    /// Takes an image as far as it goes now.
    async fn warm(&self, lease: Lease, mut image: Image) -> Result<(), StoreError> {
        let mut moved: Vec<(Tag, Resolved)> = Vec::new();
        let before = self.milestones(&image);
        let mut stand = Position::Gone;
        // The steps of the last round, each with the moment of its answer.
        let mut done: Vec<(Step, Timestamp)> = Vec::new();
        let unit = format!("{}@{}", image.place, image.root);
        let settlement = loop {
            let now = clock::now();
            let strained = self.projects.get(&image.place, now).strained;
            let project = self.projects.enter(&image.place, &unit, image.needs(strained, now), now);
            match image.next(&project, now) {
                Next::Do(steps) if let Some(step) = image.repeats(&project, &done, &steps) => {
                    let (step, about) = (step.to_string(), step.about());
                    let error =
                        format!("the answer to `{step}` shows nothing new, and it would be asked again at once");
                    tracing::warn!(image.repository = %image.place, image.digest = %image.root, "{error}");
                    let failure = Failure::new(Problem::NoProgress, error);
                    image.observe(&project, Observation::Failed { step, about, failure }, now);
                    done.clear();
                }
                Next::Do(steps) => {
                    let requests = Requests::new();
                    let mut under_way: FuturesUnordered<_> = steps
                        .iter()
                        .map(async |step| (step, self.carry_out(&image, &project, step, &requests).await))
                        .collect();
                    let mut seen = Vec::new();
                    done.clear();
                    while let Some((step, results)) = under_way.next().await {
                        done.extend(results.iter().map(|seen| (step.clone(), seen.at)));
                        seen.extend(results);
                    }
                    drop(under_way);
                    // What waits for its turn asked Harbor for nothing.
                    let made = seen.iter().filter(|seen| seen.observation.is_some()).count();
                    image.requests(made, &project, now);
                    let mut held_back = false;
                    for Seen { observation, at } in seen {
                        match observation {
                            None => held_back = true,
                            Some(observation) => {
                                if let Observation::TagHeaded { tag, digest } = &observation
                                    && *digest != image.root
                                {
                                    moved.push((tag.clone(), Resolved { root: *digest, at }));
                                }
                                image.observe(&project, observation, at);
                            }
                        }
                    }
                    if held_back {
                        // Harbor has as much to copy as it may; the places come free as blobs arrive.
                        stand = self.stands(&image, &project);
                        let due = clock::now() + project.timers.poll(self.wait_for_turn(&image, stand));
                        break Settlement::Wait { due, reason: Some(Waiting::Turn.to_string()) };
                    }
                }
                Next::WaitUntil(due, waiting) => {
                    match waiting {
                        Waiting::Paused(_) => image.observe(&project, Observation::Held, now),
                        Waiting::Blobs => stand = self.stands(&image, &project),
                        Waiting::SetAside => {
                            self.metrics.requests_exceeded();
                            tracing::error!(image.repository = %image.place, image.digest = %image.root, "{waiting}");
                        }
                        _ => {}
                    }
                    break Settlement::Wait { due, reason: Some(waiting.to_string()) };
                }
                Next::Stuck(about, error) => {
                    tracing::warn!(image.repository = %image.place, image.digest = %image.root, "{error}");
                    let failure = Failure::new(Problem::NeverRecorded, error);
                    image.observe(&project, Observation::Failed { step: "verify".to_owned(), about, failure }, now);
                }
                Next::Refused(about, error) => {
                    tracing::warn!(image.repository = %image.place, image.digest = %image.root, "{error}");
                    let failure = Failure::new(Problem::StorageRefused, error);
                    self.projects.observe(&image.place, Effect::StorageRefused(failure.clone()), now);
                    image.observe(&project, Observation::Throttled { step: "verify".to_owned(), about, failure }, now);
                }
                Next::Done(again) => {
                    image.observe(&project, Observation::Finished, now);
                    self.metrics.settled(SettledAs::Done);
                    break Settlement::Done { again };
                }
                Next::Dead(reason) => {
                    self.metrics.settled(SettledAs::Dead);
                    self.metrics.given_up(&reason);
                    let (place, root) = (&image.place, image.root);
                    if reason == DeadReason::Untagged {
                        tracing::info!(image.repository = %place, image.digest = %root, "{place}@{root} is left out: {reason}");
                    } else {
                        tracing::warn!(image.repository = %place, image.digest = %root, "{place}@{root} is given up: {reason}");
                    }
                    break Settlement::Dead { reason: reason.to_string() };
                }
            }
        };
        self.backlogs.stands(&image.place, image.root, stand, clock::now());
        self.let_go(lease, image, before, settlement, moved).await
    }

    /// Where an image stands that waits for blobs, or for a place. One that only completes its index stands before nobody.
    fn stands(&self, image: &Image, project: &Project) -> Position {
        if !image.has_begun() {
            Position::Waits
        } else if image.milestones(project).local.is_some() {
            Position::Gone
        } else {
            Position::UnderWay
        }
    }

    /// How long an image has to wait for a place: in a long line it asks less often.
    fn wait_for_turn(&self, image: &Image, stand: Position) -> Duration {
        match (stand, self.harbors.get(&image.place)) {
            (Position::Waits, Ok(harbor)) => {
                self.backlogs.wait(harbor.client.name(), harbor.places.limiter(), clock::now())
            }
            (Position::Waits | Position::UnderWay | Position::Gone, _) => Duration::ZERO,
        }
    }

    /// How far an image is, to tell what a worker has brought about.
    fn milestones(&self, image: &Image) -> Milestones {
        image.milestones(&self.projects.get(&image.place, clock::now()))
    }

    async fn let_go(
        &self,
        lease: Lease,
        mut image: Image,
        before: Milestones,
        settlement: Settlement,
        moved: Vec<(Tag, Resolved)>,
    ) -> Result<(), StoreError> {
        let now = clock::now();
        let after = self.milestones(&image);
        let blocked = image.tell_blocked_tags(&self.projects.get(&image.place, now), now);
        let admitted = image.opened;
        let (place, root) = (image.place.clone(), image.root);
        let held = self.store.settle(lease, Unit::Image(Box::new(image)), settlement, moved, now).await?;
        // Told once it is on the disk: a worker that lost its lease has nothing to tell.
        if held {
            self.tell(&place, root, admitted, before, after);
            self.tell_blocked(&place, root, blocked);
        }
        Ok(())
    }

    fn tell(&self, place: &HarborImage, root: Digest, admitted: Timestamp, before: Milestones, after: Milestones) {
        let steps = [
            (TimedStep::Local, before.local, after.local),
            (TimedStep::Recorded, before.recorded, after.recorded),
            (TimedStep::Tagged, before.tagged, after.tagged),
            (TimedStep::Replicated, before.replicated, after.replicated),
        ];
        let mut from = admitted;
        for (step, reached, reaches) in steps {
            let Some(at) = reaches else { continue };
            if reached.is_none() {
                self.metrics.step_took(step, at.since(from).as_secs_f64());
                if step == TimedStep::Local
                    && let Ok(harbor) = self.harbors.get(place)
                {
                    self.backlogs.image_done(harbor.client.name(), harbor.places.limiter());
                }
                if step == TimedStep::Recorded {
                    let seconds = at.since(admitted).as_secs_f64();
                    self.metrics.warm_after(seconds);
                    tracing::info!(
                        image.repository = %place,
                        image.digest = %root,
                        warm_after_seconds = seconds,
                        "{place}@{root} is warm"
                    );
                }
            }
            from = at;
        }
    }

    fn tell_blocked(&self, place: &HarborImage, root: Digest, blocked: BTreeMap<Tag, BlockedBy>) {
        for (tag, by) in blocked {
            self.metrics.tag_blocked(by);
            tracing::warn!(
                image.repository = %place,
                image.digest = %root,
                image.tag = %tag,
                reason = by.label(),
                "Harbor will not record the tag {tag} of {place} for days; `harbor-warmer status` says why"
            );
        }
    }
}

/// Takes the places at one Harbor that nobody asks for again.
async fn sweep(places: &Places) {
    loop {
        places.any_copies().await;
        tokio::time::sleep(SWEEP_EVERY).await;
        places.sweep(clock::now());
    }
}
