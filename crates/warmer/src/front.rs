//! The bounded front: Harbor's manifests for policies, within a small budget of waiting, or "deferred" at once.
//!
//! A policy server has one lock for all its look-ups and no timeout on any of them, so a Harbor that is slow would stop
//! every admission. Here a look-up waits for Harbor only as long as its user's `budget` lasts, and not at all once
//! Harbor is known to be slow or down (`breaker`). The relay itself is never cut short: it goes on in the
//! background, once for all who ask, and what it finds is known to the next (`cache`).
//!
//! Reading a manifest starts deadlines in Harbor, so it is deferred, too, while more images stand in line there than
//! could keep one ([`crate::places::backlog`]).
//!
//! Deferring loses nothing. The image was announced before any look-up, and the warmer resolves it by itself.

mod budget;
mod circuit_breaker;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use harbor_warmer_protocol::{Digest, HandOff, HarborImage, Subject, Tag, TagOrDigest};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use budget::Caller;

use crate::clock;
use crate::config;
use crate::front::budget::{Budgets, Rules};
use crate::front::circuit_breaker::{Admission, Answered, CircuitBreakers};
use crate::harbors::{Harbors, NotAllowed};
use crate::manifests::cache::{Cached, ManifestCache};
use crate::manifests::relay::{Relay, RelayError};
use crate::metrics::{FrontOutcome, Metrics};
use crate::places::backlog::{Backlogs, Position};
use harbor_warmer_core::announcement::Resolved;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_harbor::{AnswerClass, ManifestBody, ManifestHead};
use harbor_warmer_store::Store;

/// Relays under way at once, those that nobody waits for any more included. A policy server asks for one after the
/// other, so only a crowd of clients without credentials comes near it.
const MAX_FLIGHTS: usize = 32;

/// The front.
pub struct Front {
    wait: Duration,
    harbors: Arc<Harbors>,
    backlogs: Arc<Backlogs>,
    store: Store,
    metrics: Arc<Metrics>,
    budgets: Mutex<Budgets>,
    breakers: Mutex<CircuitBreakers>,
    cache: Arc<Mutex<ManifestCache>>,
    in_flight: Mutex<HashMap<Sought, watch::Receiver<Option<Relayed>>>>,
}

/// Why a look-up was not answered with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontError {
    /// The Harbor or the project is not in the configuration.
    NotAllowed(NotAllowed),
    /// Harbor's upstream has no such manifest.
    Missing,
    /// Not now. The warmer looks it up by itself.
    Deferred(Deferral),
    /// Harbor answered with an error; a sentence.
    Failed(String),
}

/// Why a look-up was deferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// The user's look-ups have waited enough lately.
    BudgetSpent,
    /// Harbor, or the project's upstream, has been slow or down.
    Troubled,
    /// Harbor didn't answer within the wait.
    WaitedInVain,
    /// Harbor's upstream does not answer.
    UpstreamSilent,
    /// So many images stand before this one that a deadline of Harbor's that starts now could not be kept.
    Backlog,
}

impl fmt::Display for FrontError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed(error) => error.fmt(f),
            Self::Missing => f.write_str("Harbor's upstream has no such tag or manifest"),
            Self::Deferred(deferral) => write!(f, "deferred: {deferral}; the warmer resolves the image by itself"),
            Self::Failed(why) => write!(f, "{why}; the warmer tries again by itself"),
        }
    }
}

impl std::error::Error for FrontError {}

impl Deferral {
    /// Every one, so that each is told as zero before its first time.
    pub const ALL: [Self; 5] =
        [Self::BudgetSpent, Self::Troubled, Self::WaitedInVain, Self::UpstreamSilent, Self::Backlog];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::BudgetSpent => "budget_spent",
            Self::Troubled => "troubled",
            Self::WaitedInVain => "waited_in_vain",
            Self::UpstreamSilent => "upstream_silent",
            Self::Backlog => "backlog",
        }
    }
}

impl fmt::Display for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BudgetSpent => "look-ups have waited long enough for now",
            Self::Troubled => "Harbor has been slow or down",
            Self::WaitedInVain => "Harbor is slow to answer",
            Self::UpstreamSilent => "Harbor's upstream does not answer",
            Self::Backlog => "other images stand before it at Harbor",
        })
    }
}

/// What is looked up. Equal ones share a relay.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Sought {
    Head(HarborImage, TagOrDigest),
    Body(HarborImage, Digest),
}

/// What a look-up found.
#[derive(Clone)]
enum Found {
    Head(ManifestHead),
    Body(ManifestBody),
    Missing,
}

/// How a relay ended.
type Relayed = Result<Found, Arc<RelayError>>;

impl Front {
    /// A front that knows nothing yet.
    pub fn new(
        config: &config::Front,
        harbors: Arc<Harbors>,
        backlogs: Arc<Backlogs>,
        store: Store,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.may_defer(Deferral::ALL.map(Deferral::label));
        let rules = Rules { wait: config.wait, capacity: config.budget, window: config.budget_window };
        Self {
            wait: config.wait,
            harbors,
            backlogs,
            store,
            metrics,
            budgets: Mutex::new(Budgets::new(rules)),
            breakers: Mutex::default(),
            cache: Arc::new(Mutex::new(ManifestCache::new(config.cache_for))),
            in_flight: Mutex::default(),
        }
    }

    /// HEAD of a manifest, by tag or by digest.
    ///
    /// # Errors
    /// See [`FrontError`].
    pub async fn head(
        self: &Arc<Self>,
        caller: &Caller,
        image: &HarborImage,
        reference: &TagOrDigest,
    ) -> Result<ManifestHead, FrontError> {
        match self.look_up(caller, Sought::Head(image.clone(), reference.clone())).await? {
            Found::Head(head) => Ok(head),
            Found::Missing | Found::Body(_) => Err(FrontError::Missing),
        }
    }

    /// GET of a manifest by digest: Harbor's exact bytes. By tag it isn't offered, since a GET by tag makes Harbor keep
    /// an index without its tag for 7 days.
    ///
    /// # Errors
    /// See [`FrontError`].
    pub async fn get(
        self: &Arc<Self>,
        caller: &Caller,
        image: &HarborImage,
        digest: Digest,
    ) -> Result<ManifestBody, FrontError> {
        match self.look_up(caller, Sought::Body(image.clone(), digest)).await? {
            Found::Body(body) => Ok(body),
            Found::Missing | Found::Head(_) => Err(FrontError::Missing),
        }
    }

    /// Whether the policy should look the image of this hand-off up: what its receipt says.
    ///
    /// Not while Harbor is in trouble. But then no look-up comes any more that could show its recovery, so the front
    /// asks for the hand-off's tag itself, now and then, and nobody waits for it. And not while so many images stand
    /// before this one that what the policy would read is to be deferred anyway.
    pub fn invites(self: &Arc<Self>, caller: &Caller, hand_off: &HandOff, now: Timestamp) -> bool {
        let image = &hand_off.image;
        let tag = hand_off.subject.tag();
        let passage = lock(&self.breakers).admit(image, tag.is_some(), now);
        match (passage, tag) {
            (Admission::Wait, _) if !self.leaves_time(image, now) => {
                self.metrics.front_deferred(Deferral::Backlog.label());
                false
            }
            (Admission::Wait, _) => lock(&self.budgets).has_left(caller, now),
            (Admission::Probe, Some(tag)) => {
                if let Ok(relay) = self.relay(image) {
                    self.probe(Sought::Head(image.clone(), TagOrDigest::Tag(tag.clone())), relay);
                }
                false
            }
            (Admission::Probe | Admission::Defer, _) => false,
        }
    }

    /// The root that the platform manifest of a resolved hand-off belongs to, as far as look-ups have shown it. That is
    /// how the policy came to the manifest, so as a rule they have.
    pub fn known_root(&self, hand_off: &HandOff, now: Timestamp) -> Option<Resolved> {
        let image = &hand_off.image;
        match &hand_off.subject {
            Subject::Tag(_) | Subject::Pin { .. } => None,
            Subject::Layers { child, tag } => {
                let mut cache = lock(&self.cache);
                let root = cache.root_of_layers(image, *child, tag.as_ref(), now)?;
                let window = tag.as_ref().and_then(|tag| cache.window(image, tag, root));
                Some(Resolved { root, at: window.unwrap_or(now) })
            }
        }
    }

    /// The digest that a tag has, and when Harbor said so: its window of 600 s for the tag began then.
    pub fn known_tag(&self, image: &HarborImage, tag: &Tag, now: Timestamp) -> Option<(Digest, Timestamp)> {
        lock(&self.cache).tag(image, tag, now)
    }

    /// When Harbor last opened a window for the tag of this digest: with the last HEAD before the index was read.
    pub(crate) fn window(&self, image: &HarborImage, tag: &Tag, digest: Digest) -> Option<Timestamp> {
        lock(&self.cache).window(image, tag, digest)
    }

    /// Harbor answered for a tag, and it wasn't the front that asked: no look-up needs to ask again for a while.
    pub(crate) fn saw_tag(&self, image: &HarborImage, tag: &Tag, head: ManifestHead, at: Timestamp) {
        let reference = TagOrDigest::Tag(tag.clone());
        lock(&self.cache).saw_head(image, &reference, &Cached::There(head), at);
    }

    /// Opens Harbor's window for every announced tag that may mean this digest, for one who is about to read it.
    ///
    /// # Errors
    /// A tag's answer is lost. Reading on would lose the tag for 7 days.
    pub(crate) async fn head_announced_tags(&self, image: &HarborImage, digest: Digest) -> Result<(), RelayError> {
        // What isn't allowed is never announced.
        let Ok(relay) = self.relay(image) else { return Ok(()) };
        relay.head_announced_tags(image, digest).await
    }

    /// A manifest's bytes and media type, and when it was read through exactly this project: Harbor's clocks began
    /// then. What was read through the project's second one is known under that one's name.
    pub fn known_manifest(
        &self,
        image: &HarborImage,
        digest: Digest,
        now: Timestamp,
    ) -> Option<(Bytes, String, Timestamp)> {
        let (at, body) = lock(&self.cache).body(image, digest, now)?;
        Some((body.bytes, body.media_type, at))
    }

    /// What a digest names, as far as a HEAD or a GET told lately.
    pub(crate) fn known_media_type(&self, image: &HarborImage, digest: Digest, now: Timestamp) -> Option<String> {
        match lock(&self.cache).head(image, &TagOrDigest::Digest(digest), now) {
            Some(Cached::There(head)) => head.media_type,
            Some(Cached::Missing) | None => None,
        }
    }

    /// The root of a child manifest, as far as indexes were read through the front.
    pub fn root_of_child(&self, image: &HarborImage, child: Digest) -> Option<Digest> {
        lock(&self.cache).root_of_child(image, child)
    }

    /// A manifest's bytes, however long Harbor takes, for one who has time: no budget is spent.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn read(&self, image: &HarborImage, digest: Digest) -> Result<Bytes, String> {
        let relay = self.relay(image).map_err(|error| error.to_string())?;
        match relay.body(image, digest).await {
            Ok(Cached::There(body)) => Ok(body.bytes),
            Ok(Cached::Missing) => Err(FrontError::Missing.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn look_up(self: &Arc<Self>, caller: &Caller, sought: Sought) -> Result<Found, FrontError> {
        let answer = self.find(caller, sought).await;
        let outcome = match &answer {
            Ok((_, outcome)) => *outcome,
            Err(FrontError::Missing) => FrontOutcome::Missing,
            Err(FrontError::Deferred(_)) => FrontOutcome::Deferred,
            Err(FrontError::NotAllowed(_) | FrontError::Failed(_)) => FrontOutcome::Failed,
        };
        self.metrics.front_answered(outcome);
        if let Err(FrontError::Deferred(deferral)) = &answer {
            self.metrics.front_deferred(deferral.label());
        }
        answer.map(|(found, _)| found)
    }

    async fn find(self: &Arc<Self>, caller: &Caller, sought: Sought) -> Result<(Found, FrontOutcome), FrontError> {
        let relay = self.relay(sought.image()).map_err(FrontError::NotAllowed)?;
        let now = clock::now();
        if let Some(found) = self.known(&sought, &relay, now) {
            return match found {
                Found::Missing => Err(FrontError::Missing),
                found => Ok((found, FrontOutcome::Cached)),
            };
        }
        // Only a HEAD is harmless enough to be asked for the sake of asking: a GET starts Harbor's clocks, which the
        // image's own worker starts when its turn has come.
        let may_probe = matches!(sought, Sought::Head(..));
        if !may_probe && !self.leaves_time(sought.image(), now) {
            return Err(FrontError::Deferred(Deferral::Backlog));
        }
        let passage = lock(&self.breakers).admit(sought.image(), may_probe, now);
        match passage {
            Admission::Defer => return Err(FrontError::Deferred(Deferral::Troubled)),
            Admission::Probe => {
                self.probe(sought, relay);
                return Err(FrontError::Deferred(Deferral::Troubled));
            }
            Admission::Wait => {}
        }
        let allowance = Allowance::begin(self, caller, now).ok_or(FrontError::Deferred(Deferral::BudgetSpent))?;
        self.stands_in_line(&sought, now);
        let mut flight = self.fly(sought, relay).ok_or(FrontError::Deferred(Deferral::BudgetSpent))?;
        let landed = match tokio::time::timeout(allowance.granted, flight.wait_for(Option::is_some)).await {
            Ok(Ok(landed)) => landed.clone(),
            // The relay panicked, which its own guard has cleaned up after.
            Ok(Err(_)) => None,
            Err(_) => return Err(FrontError::Deferred(Deferral::WaitedInVain)),
        };
        match landed {
            Some(Ok(Found::Missing)) => Err(FrontError::Missing),
            Some(Ok(found)) => Ok((found, FrontOutcome::Relayed)),
            Some(Err(error)) => Err(match &*error {
                RelayError::UpstreamSilent => FrontError::Deferred(Deferral::UpstreamSilent),
                error => FrontError::Failed(error.to_string()),
            }),
            None => Err(FrontError::Failed("the look-up broke off".to_owned())),
        }
    }

    /// Whether what stands before an image that comes now leaves the time to keep a deadline of Harbor's.
    fn leaves_time(&self, image: &HarborImage, now: Timestamp) -> bool {
        let harbor = self.harbors.get(image);
        harbor.is_ok_and(|harbor| self.backlogs.leaves_time(harbor.client.name(), harbor.places.limiter(), now))
    }

    /// What is read for a policy has begun like what a worker reads: those who come after it count it.
    fn stands_in_line(&self, sought: &Sought, now: Timestamp) {
        if let Sought::Body(image, digest) = sought {
            let root = self.root_of_child(image, *digest).unwrap_or(*digest);
            self.backlogs.stands(image, root, Position::UnderWay, now);
        }
    }

    fn relay(&self, image: &HarborImage) -> Result<Relay, NotAllowed> {
        let (harbor, project) = self.harbors.entry(image)?;
        let client = &harbor.client;
        Ok(Relay {
            client: client.clone(),
            project: project.clone(),
            store: self.store.clone(),
            cache: Arc::clone(&self.cache),
        })
    }

    /// What needs no asking.
    fn known(&self, sought: &Sought, relay: &Relay, now: Timestamp) -> Option<Found> {
        let mut cache = lock(&self.cache);
        match sought {
            Sought::Head(image, reference) => cache.head(image, reference, now).map(|seen| match seen {
                Cached::There(head) => Found::Head(head),
                Cached::Missing => Found::Missing,
            }),
            Sought::Body(image, digest) => {
                let through = relay.project.resolve_through.as_ref();
                let second = through.map(|project| HarborImage { project: project.clone(), ..image.clone() });
                let body = cache
                    .body(image, *digest, now)
                    .or_else(|| second.and_then(|second| cache.body(&second, *digest, now)));
                if let Some((_, body)) = body {
                    return Some(Found::Body(body));
                }
                let head = cache.head(image, &TagOrDigest::Digest(*digest), now);
                (head == Some(Cached::Missing)).then_some(Found::Missing)
            }
        }
    }

    /// Asks for the sake of asking.
    fn probe(self: &Arc<Self>, sought: Sought, relay: Relay) {
        let image = sought.image().clone();
        let flight = self.fly(sought, relay);
        // What doesn't fly can't land, and the next probe waits for this one's landing.
        if flight.is_none_or(|flight| flight.borrow().is_some()) {
            lock(&self.breakers).give_up_probe(&image);
        }
    }

    /// Joins the relay of the same thing that is under way, or starts one. None where too many are.
    fn fly(self: &Arc<Self>, sought: Sought, relay: Relay) -> Option<watch::Receiver<Option<Relayed>>> {
        let mut in_flight = lock(&self.in_flight);
        if let Some(flight) = in_flight.get(&sought) {
            return Some(flight.clone());
        }
        // One may have landed since this look-up began.
        if let Some(found) = self.known(&sought, &relay, clock::now()) {
            return Some(watch::channel(Some(Ok(found))).1);
        }
        if in_flight.len() >= MAX_FLIGHTS {
            return None;
        }
        let (landing, flight) = watch::channel(None);
        in_flight.insert(sought.clone(), flight.clone());
        drop(in_flight);
        let flying = InFlight { front: Arc::clone(self), sought, answered: Answered::Troubled };
        tokio::spawn(async move {
            let mut flying = flying;
            let started = Instant::now();
            let landed = flying.sought.relay(&relay).await;
            let late = started.elapsed() > flying.front.wait;
            flying.answered =
                if late || landed.as_ref().is_err_and(is_trouble) { Answered::Troubled } else { Answered::Promptly };
            if let Err(error) = &landed {
                tracing::debug!(image.repository = %flying.sought.image(), error = %error, "a look-up failed");
            }
            // ManifestCache is in place, so those who come from here on find it there.
            drop(flying);
            landing.send_replace(Some(landed.map_err(Arc::new)));
        });
        Some(flight)
    }
}

impl Sought {
    fn image(&self) -> &HarborImage {
        match self {
            Self::Head(image, _) | Self::Body(image, _) => image,
        }
    }

    async fn relay(&self, relay: &Relay) -> Result<Found, RelayError> {
        Ok(match self {
            Self::Head(image, reference) => match relay.head(image, reference).await? {
                Cached::There(head) => Found::Head(head),
                Cached::Missing => Found::Missing,
            },
            Self::Body(image, digest) => match relay.body(image, *digest).await? {
                Cached::There(body) => Found::Body(body),
                Cached::Missing => Found::Missing,
            },
        })
    }
}

/// Whether an error means that the next look-up will fare no better.
fn is_trouble(error: &RelayError) -> bool {
    match error {
        RelayError::Harbor(error) => match error.class() {
            AnswerClass::RateLimited
            | AnswerClass::Outage
            | AnswerClass::ServerError
            | AnswerClass::Timeout
            | AnswerClass::Unreachable => true,
            AnswerClass::MissingTag
            | AnswerClass::MissingBlob
            | AnswerClass::NotFoundAmbiguous
            | AnswerClass::UpstreamSilent
            | AnswerClass::Unauthorized
            | AnswerClass::Forbidden
            | AnswerClass::UpstreamRefused
            | AnswerClass::PolicyRefused
            | AnswerClass::Intercepted
            | AnswerClass::Storage
            | AnswerClass::Invalid => false,
        },
        RelayError::UpstreamSilent | RelayError::Store(_) => false,
    }
}

/// A relay under way. Dropped when it lands, however it does.
struct InFlight {
    front: Arc<Front>,
    sought: Sought,
    answered: Answered,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.front.breakers).observe(self.sought.image(), self.answered);
        lock(&self.front.in_flight).remove(&self.sought);
    }
}

/// The waiting that one look-up was granted. It ends when this is dropped, also when the client goes away.
struct Allowance<'a> {
    front: &'a Front,
    caller: &'a Caller,
    granted: Duration,
}

impl<'a> Allowance<'a> {
    fn begin(front: &'a Front, caller: &'a Caller, now: Timestamp) -> Option<Self> {
        let granted = lock(&front.budgets).begin(caller, now)?;
        Some(Self { front, caller, granted })
    }
}

impl Drop for Allowance<'_> {
    fn drop(&mut self) {
        lock(&self.front.budgets).end(self.caller, clock::now());
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
