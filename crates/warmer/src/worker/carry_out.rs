//! One step, carried out: the request that it is, and what its answer shows.

use bytes::Bytes;
use harbor_warmer_protocol::{Digest, HarborImage, Tag, TagOrDigest};

use super::Workshop;
use super::requests::Requests;
use super::trouble::{Counts, failure};
use crate::clock;
use crate::harbors::Harbor;
use crate::manifests::cache::is_manifest;
use crate::manifests::relay::RelayError;
use crate::metrics::BlobOutcome;
use crate::places::backlog::Position;
use crate::places::limiter::Priority;
use crate::places::{BlobKey, Taken};
use harbor_warmer_core::announcement::{self, Announcement};
use harbor_warmer_core::image::{About, Image, Observation, Step};
use harbor_warmer_core::manifest::Manifest;
use harbor_warmer_core::problem::{Failure, Problem};
use harbor_warmer_core::project::Project;
use harbor_warmer_core::project::{HarborKind, Transfer};
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_harbor::{AnswerClass, BlobHead, Client, HarborError, ManifestHead, Repository, Upstream, look_up};

/// Something that was seen, and when. None: the step has to wait for its turn.
pub(super) struct Seen {
    pub(super) observation: Option<Observation>,
    pub(super) at: Timestamp,
}

impl Seen {
    pub(super) fn now(observation: Observation) -> Vec<Self> {
        Self::at(observation, clock::now())
    }

    fn at(observation: Observation, at: Timestamp) -> Vec<Self> {
        vec![Self { observation: Some(observation), at }]
    }

    pub(super) fn nothing_yet() -> Vec<Self> {
        vec![Self { observation: None, at: clock::now() }]
    }
}

/// What asking for a tag brought.
enum Headed {
    /// And since when Harbor tries to attach it, if it does.
    Digest(Digest, Timestamp),
    Missing,
    Failed(HarborError),
}

impl Workshop {
    /// Asks for an announced tag.
    pub(super) async fn head_announced(&self, announcement: &Announcement) -> (announcement::Observation, Timestamp) {
        let place = &announcement.place;
        // A policy's look-up may have asked for it a moment ago, which opened Harbor's window for it just as well.
        if let Some((digest, at)) = self.front.known_tag(place, &announcement.tag, clock::now()) {
            return (announcement::Observation::Headed(digest), at);
        }
        let harbor = match self.harbors.get(place) {
            Ok(harbor) => harbor,
            Err(error) => {
                let failure = Failure::new(Problem::NotConfigured, error.to_string());
                return (announcement::Observation::Failed(failure), clock::now());
            }
        };
        let client = &harbor.client;
        // Never closed.
        let _slot = harbor.requests.acquire().await;
        let observation = match self.head_tag(client, place, &announcement.tag).await {
            Headed::Digest(digest, at) => return (announcement::Observation::Headed(digest), at),
            Headed::Missing => announcement::Observation::Missing,
            Headed::Failed(error) => match self.take_note(place, &error, clock::now()) {
                Counts::Held => announcement::Observation::Held,
                Counts::Throttled => announcement::Observation::Throttled(failure(&error)),
                Counts::Failure => announcement::Observation::Failed(failure(&error)),
            },
        };
        (observation, clock::now())
    }

    /// Carries out one step of an image.
    pub(super) async fn carry_out(
        &self,
        image: &Image,
        project: &Project,
        step: &Step,
        requests: &Requests,
    ) -> Vec<Seen> {
        let (place, root) = (&image.place, image.root);
        let (harbor, terms) = match self.harbors.entry(place) {
            Ok(entry) => entry,
            Err(error) => {
                let failure = Failure::new(Problem::NotConfigured, error.to_string());
                return Seen::now(Observation::Failed { step: step.to_string(), about: step.about(), failure });
            }
        };
        let client = &harbor.client;
        let here = Repository::from(place);
        let _slot = match step {
            // Those of a transfer have a place, and those of replications bounds of their own.
            Step::TouchBlob { .. } | Step::DrainBlob { .. } => None,
            Step::Replicate { .. } | Step::LookAtExecution { .. } => None,
            _ => match requests.slot(&harbor.requests).await {
                Some(slot) => Some(slot),
                None => return Vec::new(),
            },
        };
        let result = match step {
            // Reading starts Harbor's clocks, and each HEAD of a tag a window: nothing of that before the image's turn.
            Step::Begin if self.may_begin(harbor, place, root) => Ok(Seen::now(Observation::Begun)),
            Step::Begin => Ok(Seen::nothing_yet()),
            Step::HeadTag(tag) => match self.head_tag(client, place, tag).await {
                Headed::Digest(digest, at) => Ok(Seen::at(Observation::TagHeaded { tag: tag.clone(), digest }, at)),
                Headed::Missing => Ok(Seen::now(Observation::TagGone(tag.clone()))),
                Headed::Failed(error) => Err(error),
            },
            Step::LookAtRoot => self.look_at_root(client, place, root).await,
            Step::ReadRoot { through_project: true } => self.read_root(client, place, &here, root, true).await,
            Step::ReadRoot { through_project: false } => {
                let elsewhere = match &terms.resolve_through {
                    Some(project) => Repository { project: project.clone(), repository: place.repository.clone() },
                    None => here.clone(),
                };
                match self.is_manifest(client, place, &elsewhere, root).await {
                    // Harbor would store it there as well.
                    Ok(true) => self.read_root(client, place, &here, root, true).await,
                    Ok(false) => self.read_root(client, place, &elsewhere, root, false).await,
                    Err(error) => Err(error),
                }
            }
            Step::ReadChild { digest, again } => self.read_child(client, place, *digest, *again).await,
            Step::LookForBlob { digest, size_bytes } => self.look_for_blob(harbor, place, *digest, *size_bytes).await,
            Step::TouchBlob { digest, size_bytes, asked, sample } => {
                let blob = Wanted::new(image, *digest, *size_bytes, *asked);
                self.touch(harbor, project, &blob, *sample).await
            }
            Step::DrainBlob { digest, size_bytes, asked } => {
                let blob = Wanted::new(image, *digest, *size_bytes, *asked);
                self.drain(harbor, project, &blob).await
            }
            Step::LookForArtifact(digest) => self.look_for_artifact(client, &here, *digest).await,
            Step::LookForTag(tag) => match client.artifact(&here, &TagOrDigest::Tag(tag.clone())).await {
                Ok(Some(artifact)) => Ok(Seen::now(Observation::TagRecorded {
                    tag: tag.clone(),
                    digest: artifact.digest,
                    children: artifact.references,
                })),
                Ok(None) => Ok(Seen::now(Observation::TagAbsent(tag.clone()))),
                Err(error) if error.bars_reading() => Ok(Seen::now(Observation::TagUnreadable(tag.clone()))),
                Err(error) => Err(error),
            },
            Step::Keep(digest) => self.keep(client, &here, *digest).await,
            Step::Replicate { target, tags } => return self.replicate(place, target, tags).await,
            Step::LookAtExecution { target, execution } => return self.look_at(place, target, *execution).await,
        };
        match result {
            Ok(seen) => seen,
            Err(error) => self.failed(place, step, &told_apart(client, &here, error, step).await, requests),
        }
    }

    fn failed(&self, place: &HarborImage, step: &Step, error: &HarborError, requests: &Requests) -> Vec<Seen> {
        let now = clock::now();
        let counts = self.take_note(place, error, now);
        if counts != Counts::Failure {
            requests.leave();
        }
        tracing::debug!(image.repository = %place, "failed to {step}: {error}");
        let (step, about, failure) = (step.to_string(), step.about(), failure(error));
        Seen::now(match counts {
            Counts::Held => Observation::Held,
            Counts::Throttled => Observation::Throttled { step, about, failure },
            Counts::Failure => Observation::Failed { step, about, failure },
        })
    }

    /// What a reference means. That there is an answer shows that the upstream answers, unless it is a digest that Harbor
    /// has in its own storage.
    async fn look_up(
        &self,
        client: &Client,
        place: &HarborImage,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<ManifestHead>, HarborError> {
        let head = look_up(client, repository, reference).await?;
        let by_digest = matches!(reference, TagOrDigest::Digest(_));
        if !(by_digest && head.as_ref().is_some_and(|head| head.from_storage)) {
            self.served(place, clock::now());
        }
        Ok(head)
    }

    /// A manifest out of Harbor. That there is an answer, if only that it doesn't exist, shows that the upstream answers.
    async fn get_manifest(
        &self,
        client: &Client,
        place: &HarborImage,
        repository: &Repository,
        digest: Digest,
    ) -> Result<(Bytes, Timestamp), HarborError> {
        let body = client.get_manifest(repository, digest).await;
        let now = clock::now();
        if body.as_ref().err().is_none_or(|error| error.class() == AnswerClass::MissingTag) {
            self.served(place, now);
        }
        Ok((body?.bytes, now))
    }

    /// HEAD of a tag, and what else is needed to rely on its answer.
    async fn head_tag(&self, client: &Client, place: &HarborImage, tag: &Tag) -> Headed {
        match self.look_up(client, place, &Repository::from(place), &TagOrDigest::Tag(tag.clone())).await {
            Ok(Some(head)) => {
                let (digest, now) = (head.digest, clock::now());
                self.front.saw_tag(place, tag, head, now);
                Headed::Digest(digest, self.front.window(place, tag, digest).unwrap_or(now))
            }
            Ok(None) => Headed::Missing,
            Err(error) => Headed::Failed(error),
        }
    }

    /// A manifest by digest: what a policy's look-up brought a moment ago, or Harbor's answer now.
    async fn manifest(
        &self,
        client: &Client,
        place: &HarborImage,
        repository: &Repository,
        digest: Digest,
    ) -> Result<(Bytes, Timestamp), HarborError> {
        if *repository == Repository::from(place)
            && let Some((bytes, _, read_at)) = self.front.known_manifest(place, digest, clock::now())
        {
            return Ok((bytes, read_at));
        }
        self.get_manifest(client, place, repository, digest).await
    }

    /// Whether it is the image's turn.
    fn may_begin(&self, harbor: &Harbor, place: &HarborImage, root: Digest) -> bool {
        let now = clock::now();
        if self.front.known_manifest(place, root, now).is_some() {
            // It was read for a policy: its clocks run already.
            self.backlogs.stands(place, root, Position::UnderWay, now);
            return true;
        }
        harbor.places.sweep(now);
        self.backlogs.may_begin(place, root, harbor.places.limiter(), now)
    }

    /// Whether the root is no index. By digest a HEAD starts no clock of Harbor's, in neither project.
    async fn is_manifest(
        &self,
        client: &Client,
        place: &HarborImage,
        elsewhere: &Repository,
        root: Digest,
    ) -> Result<bool, HarborError> {
        let media_type = match self.front.known_media_type(place, root, clock::now()) {
            Some(media_type) => Some(media_type),
            // Of one that is missing, the GET will say so.
            None => {
                let head = self.look_up(client, place, elsewhere, &TagOrDigest::Digest(root)).await?;
                head.and_then(|head| head.media_type)
            }
        };
        Ok(media_type.as_deref().is_some_and(is_manifest))
    }

    /// HEAD of the root by digest, which starts no clock of Harbor's.
    async fn look_at_root(&self, client: &Client, place: &HarborImage, root: Digest) -> Result<Vec<Seen>, HarborError> {
        let head = self.look_up(client, place, &Repository::from(place), &TagOrDigest::Digest(root)).await?;
        Ok(Seen::now(head.map_or(Observation::ManifestMissing(root), |head| Observation::RootLooked {
            is_index: !head.media_type.as_deref().is_some_and(is_manifest),
        })))
    }

    async fn read_root(
        &self,
        client: &Client,
        place: &HarborImage,
        repository: &Repository,
        root: Digest,
        through_project: bool,
    ) -> Result<Vec<Seen>, HarborError> {
        let records_tags = through_project && client.kind() == HarborKind::Harbor;
        if records_tags && self.front.known_manifest(place, root, clock::now()).is_none() {
            // Somebody may have announced another tag of it a moment ago, which the image doesn't know of yet.
            match self.front.head_announced_tags(place, root).await {
                Ok(()) => {}
                Err(RelayError::Harbor(error)) => return Err(error),
                Err(RelayError::UpstreamSilent) => return Err(HarborError::UpstreamSilent),
                Err(error @ RelayError::Store(_)) => {
                    let step = Step::ReadRoot { through_project }.to_string();
                    let failure = Failure::new(Problem::Queue, error.to_string());
                    return Ok(Seen::now(Observation::Failed { step, about: About::Image, failure }));
                }
            }
        }
        let (bytes, at) = match self.manifest(client, place, repository, root).await {
            Ok(read) => read,
            Err(error) if error.class() == AnswerClass::MissingTag => {
                return Ok(Seen::now(Observation::ManifestMissing(root)));
            }
            Err(error) => return Err(error),
        };
        let observation = match Manifest::parse(&bytes) {
            Ok(Manifest::Index(children)) => Observation::RootWasIndex { children, through_project },
            Ok(Manifest::Image(blobs)) => Observation::RootWasManifest { blobs, through_project },
            Err(why) => Observation::ManifestUnsupported { digest: root, why: why.to_string() },
        };
        Ok(Seen::at(observation, at))
    }

    /// `again`: read it from Harbor whoever has read it before, for that is what makes Harbor look for the blobs anew.
    async fn read_child(
        &self,
        client: &Client,
        place: &HarborImage,
        digest: Digest,
        again: bool,
    ) -> Result<Vec<Seen>, HarborError> {
        let here = Repository::from(place);
        let read = if again {
            self.get_manifest(client, place, &here, digest).await
        } else {
            self.manifest(client, place, &here, digest).await
        };
        let (bytes, at) = match read {
            Ok(read) => read,
            Err(error) if error.class() == AnswerClass::MissingTag => {
                return Ok(Seen::now(Observation::ManifestMissing(digest)));
            }
            Err(error) => return Err(error),
        };
        let observation = match Manifest::parse(&bytes) {
            Ok(Manifest::Image(blobs)) => Observation::ChildRead { digest, blobs },
            Ok(Manifest::Index(_)) => {
                Observation::ManifestUnsupported { digest, why: "an index within an index".to_owned() }
            }
            Err(why) => Observation::ManifestUnsupported { digest, why: why.to_string() },
        };
        Ok(Seen::at(observation, at))
    }

    async fn look_for_blob(
        &self,
        harbor: &Harbor,
        place: &HarborImage,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<Vec<Seen>, HarborError> {
        let here = Repository::from(place);
        Ok(match harbor.client.head_blob(&here, digest).await? {
            head if head.is_there(size_bytes) => {
                if harbor.places.arrived(&BlobKey { place: here, digest }) {
                    self.stored(place, clock::now());
                } else {
                    self.metrics.blob(BlobOutcome::Skipped);
                }
                Seen::now(Observation::BlobLocal(digest))
            }
            BlobHead::Stored { size_bytes: Some(size_bytes) } => {
                Seen::now(Observation::BlobOfOtherSize { digest, size_bytes })
            }
            BlobHead::Stored { size_bytes: None } | BlobHead::Absent => Seen::now(Observation::BlobAbsent(digest)),
        })
    }

    async fn touch(
        &self,
        harbor: &Harbor,
        project: &Project,
        blob: &Wanted<'_>,
        sample: bool,
    ) -> Result<Vec<Seen>, HarborError> {
        let Wanted { digest, size_bytes, .. } = *blob;
        let here = Repository::from(blob.place);
        // Waiting here would hold a worker that is needed to see blobs arrive, and this image's may be among them.
        let taken = harbor.places.take(blob.key(), blob.priority, blob.asked, self.line_waits(harbor), clock::now());
        let place = match taken {
            Taken::Place(place) => place,
            taken => return Ok(not_now(digest, &taken)),
        };
        let touched = if sample {
            let sampled = harbor.client.sample_blob(&here, digest, size_bytes, project.timers.sample()).await;
            sampled.map(|(_, takes)| Some(takes))
        } else {
            harbor.client.touch_blob(&here, digest, size_bytes).await.map(|_| None)
        };
        let now = clock::now();
        let takes = match touched {
            Ok(takes) => takes,
            Err(error) => {
                place.failed(&error);
                return Err(error);
            }
        };
        place.begun(now);
        self.served(blob.place, now);
        self.metrics.blob(BlobOutcome::Fetched);
        let mut seen = Seen::at(Observation::BlobAsked(digest), now);
        if let Some(takes) = takes {
            seen.extend(Seen::at(Observation::BlobSampled { digest, takes }, now));
        }
        Ok(seen)
    }

    async fn drain(&self, harbor: &Harbor, project: &Project, blob: &Wanted<'_>) -> Result<Vec<Seen>, HarborError> {
        let digest = blob.digest;
        let places = &harbor.places;
        let taken = match project.transfer {
            // Transfers end by themselves, so there is no harm in waiting for a place.
            Transfer::Drain => places.wait(blob.key(), blob.priority, blob.asked, clock::now()).await,
            // Places are held by copies, which end when they are seen to have; perhaps by this very worker.
            Transfer::Touch => {
                places.take(blob.key(), blob.priority, blob.asked, self.line_waits(harbor), clock::now())
            }
        };
        let place = match taken {
            Taken::Place(place) => place,
            taken => return Ok(not_now(digest, &taken)),
        };
        let drained = harbor.client.drain_blob(&Repository::from(blob.place), digest, blob.size_bytes).await;
        let now = clock::now();
        if let Err(error) = drained {
            place.failed(&error);
            return Err(error);
        }
        place.read_whole(now);
        self.served(blob.place, now);
        self.metrics.blob(BlobOutcome::Fetched);
        Ok(Seen::at(Observation::BlobDrained(digest), now))
    }

    /// Whether images wait for their turn: what only completes an index goes after them.
    fn line_waits(&self, harbor: &Harbor) -> bool {
        self.backlogs.anyone_waits(harbor.client.name())
    }

    async fn look_for_artifact(
        &self,
        client: &Client,
        here: &Repository,
        digest: Digest,
    ) -> Result<Vec<Seen>, HarborError> {
        match client.artifact(here, &TagOrDigest::Digest(digest)).await {
            // A record of something else proves nothing of this.
            Ok(Some(artifact)) if artifact.digest != digest => Ok(Seen::now(Observation::ArtifactAbsent(digest))),
            Ok(Some(artifact)) => Ok(Seen::now(Observation::ArtifactRecorded { digest, platform: artifact.platform })),
            Ok(None) => Ok(Seen::now(Observation::ArtifactAbsent(digest))),
            Err(error) if error.bars_reading() => Ok(Seen::now(Observation::ArtifactUnreadable(digest))),
            Err(error) => Err(error),
        }
    }
}

/// For a blob, Harbor answers 500 whether its upstream is away or something of its own is broken. A probe tells.
async fn told_apart(client: &Client, here: &Repository, error: HarborError, step: &Step) -> HarborError {
    let of_a_blob = matches!(step, Step::TouchBlob { .. } | Step::DrainBlob { .. });
    let is_ambiguous = of_a_blob && matches!(error, HarborError::ServerError { status: 500, .. });
    if is_ambiguous && matches!(client.probe(here).await, Ok(Upstream::Silent)) {
        return HarborError::UpstreamSilent;
    }
    error
}

/// A blob that is to be asked for, for an image.
struct Wanted<'a> {
    place: &'a HarborImage,
    digest: Digest,
    size_bytes: u64,
    /// When it was asked for last, as far as the image knows.
    asked: Option<Timestamp>,
    priority: Priority,
}

impl<'a> Wanted<'a> {
    fn new(image: &'a Image, digest: Digest, size_bytes: u64, asked: Option<Timestamp>) -> Self {
        let priority = if image.wants_blob(&digest) { Priority::Wanted } else { Priority::Completion };
        Self { place: &image.place, digest, size_bytes, asked, priority }
    }

    fn key(&self) -> BlobKey {
        BlobKey { place: Repository::from(self.place), digest: self.digest }
    }
}

/// What is seen of a blob that is not asked for now.
fn not_now(digest: Digest, taken: &Taken) -> Vec<Seen> {
    match taken {
        Taken::Asked { at, whole: true } => Seen::at(Observation::BlobDrained(digest), *at),
        Taken::Asked { at, whole: false } => Seen::at(Observation::BlobAsked(digest), *at),
        Taken::Place(_) | Taken::Later => Seen::nothing_yet(),
    }
}
