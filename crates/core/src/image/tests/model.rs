//! Harbor as the core sees it, in virtual time: when a blob is there, a manifest recorded, an index pushed and a tag
//! attached, all as functions of what was asked for when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harbor_warmer_protocol::{Digest, HarborImage, Tag};

use crate::image::{About, Blob, Child, Image, Next, Observation, ReplicationOutcome, Step};
use crate::problem::{Failure, Problem};
use crate::project::HarborKind;
use crate::project::Project;
use crate::timestamp::Timestamp;

pub(in crate::image) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const REQUEST: Duration = Duration::from_millis(10);
const ROOT: u8 = 200;

pub(in crate::image) fn digest(n: u8) -> Digest {
    Digest::from_bytes([n; 32])
}

pub(in crate::image) struct Model {
    pub(in crate::image) now: Timestamp,
    pub(in crate::image) artifacts_are_readable: bool,
    /// So many background copies are lost without a word.
    pub(in crate::image) copies_that_break: usize,
    children: Vec<Child>,
    blobs: BTreeMap<Digest, Vec<Blob>>,
    copy_takes: Duration,
    restart: Option<Timestamp>,
    /// What Harbor needs to write a manifest down after the look that found its blobs.
    recording_takes: Duration,
    local: BTreeMap<Digest, Timestamp>,
    transfers: BTreeMap<Digest, usize>,
    read: BTreeMap<Digest, Vec<Timestamp>>,
    index_opened: Option<Timestamp>,
    headed: BTreeMap<Tag, Vec<Timestamp>>,
    complete: bool,
    /// Executions: when each was started, and for which tags.
    executions: Vec<(Timestamp, Vec<Tag>)>,
    /// A target refuses this tag.
    pub(in crate::image) refused_tag: Option<Tag>,
    /// Manifests that the index names and the upstream lacks.
    pub(in crate::image) missing: BTreeSet<Digest>,
    /// Manifests and blobs that no request brings.
    pub(in crate::image) broken: BTreeSet<Digest>,
    /// How often each step was carried out.
    pub(in crate::image) requests: BTreeMap<String, usize>,
    /// When each manifest was pulled to be kept.
    pub(in crate::image) pulls: Vec<Timestamp>,
}

impl Model {
    /// An index of these platforms; two blobs each, one of them shared by all.
    pub(in crate::image) fn index(platforms: &[&str]) -> Self {
        let mut model = Self::empty();
        for (n, platform) in (0u8..).zip(platforms) {
            let mut parts = platform.split('/').map(str::to_owned);
            let (os, architecture, variant) = (parts.next().unwrap(), parts.next().unwrap(), parts.next());
            let platform = (os != "unknown").then_some((os, architecture, variant));
            let child = digest(100 + n);
            model.children.push(Child { digest: child, platform, undeclared: false });
            let own = Blob { digest: digest(n + 1), size_bytes: 8 << 20, distributable: true };
            let shared = Blob { digest: digest(50), size_bytes: 64 << 10, distributable: true };
            model.blobs.insert(child, vec![own, shared]);
        }
        model
    }

    /// One manifest without an index.
    pub(in crate::image) fn single() -> Self {
        let mut model = Self::empty();
        let blob = Blob { digest: digest(1), size_bytes: 1 << 20, distributable: true };
        model.blobs.insert(digest(ROOT), vec![blob]);
        model
    }

    fn empty() -> Self {
        Self {
            now: START,
            artifacts_are_readable: true,
            copies_that_break: 0,
            children: Vec::new(),
            blobs: BTreeMap::new(),
            copy_takes: Duration::from_secs(1),
            restart: None,
            recording_takes: Duration::ZERO,
            local: BTreeMap::new(),
            transfers: BTreeMap::new(),
            read: BTreeMap::new(),
            index_opened: None,
            headed: BTreeMap::new(),
            complete: false,
            executions: Vec::new(),
            refused_tag: None,
            missing: BTreeSet::new(),
            broken: BTreeSet::new(),
            requests: BTreeMap::new(),
            pulls: Vec::new(),
        }
    }

    pub(in crate::image) fn with_blobs_of(mut self, copy_takes: Duration) -> Self {
        self.copy_takes = copy_takes;
        // At 250 kB/s, as the slowest upstream that is waited for.
        for blob in self.blobs.values_mut().flatten().filter(|blob| blob.size_bytes > 1 << 20) {
            blob.size_bytes = copy_takes.as_secs() * 250_000;
        }
        self
    }

    pub(in crate::image) fn with_a_foreign_layer(mut self) -> Self {
        let foreign = Blob { digest: digest(77), size_bytes: 1 << 30, distributable: false };
        self.blobs.values_mut().next().unwrap().push(foreign);
        self
    }

    /// Harbor's goroutines are gone; what it has stored stays.
    pub(in crate::image) fn that_records_within(mut self, recording_takes: Duration) -> Self {
        self.recording_takes = recording_takes;
        self
    }

    pub(in crate::image) fn restarts_at(&mut self, at: Timestamp) {
        self.restart = Some(at);
    }

    pub(in crate::image) fn has_everything(&mut self) {
        self.complete = true;
    }

    /// Retention removed it all, and Redis has forgotten the index.
    pub(in crate::image) fn loses_everything(&mut self) {
        self.local.clear();
        self.read.clear();
        self.headed.clear();
        self.index_opened = None;
    }

    /// An administrator deleted the index's keys in Redis.
    pub(in crate::image) fn forgets_the_index(&mut self) {
        self.index_opened = None;
    }

    pub(in crate::image) fn place(&self) -> HarborImage {
        HarborImage {
            harbor: "main".parse().unwrap(),
            project: "hub".parse().unwrap(),
            repository: "library/app".parse().unwrap(),
        }
    }

    pub(in crate::image) fn root(&self) -> Digest {
        digest(ROOT)
    }

    pub(in crate::image) fn second(&self, at: Timestamp) -> u64 {
        at.since(START).as_secs()
    }

    pub(in crate::image) fn most_transfers_of_a_blob(&self) -> usize {
        self.transfers.values().copied().max().unwrap_or(0)
    }

    pub(in crate::image) fn whole_transfers_of_other_platforms(&self, image: &Image) -> usize {
        let wanted: BTreeSet<_> =
            image.wanted_children().iter().flat_map(|child| &self.blobs[child]).map(|blob| blob.digest).collect();
        self.transfers.iter().filter(|(blob, _)| !wanted.contains(blob)).map(|(_, n)| n).sum()
    }

    /// Does what the core says until it says that there is nothing more to do.
    pub(in crate::image) fn run(&mut self, image: &mut Image, project: &Project) -> Next {
        for _ in 0..200_000 {
            match image.next(project, self.now) {
                Next::Do(steps) => self.carry_out(image, project, steps),
                Next::WaitUntil(until, waiting) => {
                    assert!(until > self.now, "waits for the past: {waiting:?}");
                    self.now = until;
                }
                Next::Stuck(about, error) => {
                    image.observe(
                        project,
                        Observation::Failed {
                            step: "verify".to_owned(),
                            about,
                            failure: Failure::new(Problem::NeverRecorded, error),
                        },
                        self.now,
                    );
                }
                Next::Refused(about, error) => {
                    image.observe(
                        project,
                        Observation::Throttled {
                            step: "verify".to_owned(),
                            about,
                            failure: Failure::new(Problem::StorageRefused, error),
                        },
                        self.now,
                    );
                }
                end @ (Next::Done(_) | Next::Dead(_)) => return end,
            }
        }
        panic!("no end in sight after {} s: {image:?}", self.second(self.now));
    }

    pub(in crate::image) fn carry_out(&mut self, image: &mut Image, project: &Project, steps: Vec<Step>) {
        assert!(!steps.is_empty());
        self.now = self.now + REQUEST;
        for step in steps {
            let observation = self.answer(step, project);
            image.observe(project, observation, self.now);
        }
    }

    fn answer(&mut self, step: Step, project: &Project) -> Observation {
        *self.requests.entry(step.to_string()).or_default() += 1;
        let failed = |about| Observation::Failed {
            step: step.to_string(),
            about,
            failure: Failure::new(Problem::ServerError, "Harbor answered 500"),
        };
        match step {
            Step::ReadChild { digest, .. } if self.missing.contains(&digest) => Observation::ManifestMissing(digest),
            Step::ReadChild { digest, .. } if self.broken.contains(&digest) => failed(About::Manifest(digest)),
            Step::TouchBlob { digest, .. } | Step::DrainBlob { digest, .. } if self.broken.contains(&digest) => {
                failed(About::Blob(digest))
            }
            Step::Begin => Observation::Begun,
            Step::HeadTag(tag) => {
                if !self.redis_has_index() {
                    self.headed.entry(tag.clone()).or_default().push(self.now);
                }
                Observation::TagHeaded { tag, digest: self.root() }
            }
            Step::LookAtRoot => Observation::RootLooked { is_index: !self.children.is_empty() },
            Step::ReadRoot { through_project } => {
                if self.children.is_empty() {
                    if through_project {
                        self.read.entry(digest(ROOT)).or_default().push(self.now);
                    }
                    let blobs = self.blobs[&digest(ROOT)].clone();
                    return Observation::RootWasManifest { blobs, through_project };
                }
                if through_project {
                    self.index_opened.get_or_insert(self.now);
                }
                Observation::RootWasIndex { children: self.children.clone(), through_project }
            }
            Step::ReadChild { digest, .. } => {
                self.read.entry(digest).or_default().push(self.now);
                Observation::ChildRead { digest, blobs: self.blobs[&digest].clone() }
            }
            Step::LookForBlob { digest, .. } => {
                if self.blob_is_local(digest, self.now) {
                    Observation::BlobLocal(digest)
                } else {
                    assert!(project.kind == HarborKind::Harbor || self.transfers.contains_key(&digest));
                    Observation::BlobAbsent(digest)
                }
            }
            Step::TouchBlob { digest, .. } => {
                self.copy(digest);
                Observation::BlobAsked(digest)
            }
            Step::DrainBlob { digest, .. } => {
                self.copy(digest);
                if self.local.contains_key(&digest) {
                    self.now = self.now.max(self.local[&digest]);
                } else {
                    self.now = self.now + self.copy_takes;
                }
                Observation::BlobDrained(digest)
            }
            Step::Keep(digest) => {
                if self.recorded_at(digest).is_none_or(|at| at > self.now) {
                    return Observation::ArtifactAbsent(digest);
                }
                self.pulls.push(self.now);
                Observation::Kept(digest)
            }
            Step::Replicate { target, tags } => {
                self.executions.push((self.now, tags.clone()));
                let execution = i64::try_from(self.executions.len() - 1).unwrap();
                Observation::ReplicationStarted { target, tags, execution }
            }
            Step::LookAtExecution { target, execution } => {
                let outcome = self.outcome(execution);
                Observation::ReplicationLooked { target, execution, outcome }
            }
            Step::LookForArtifact(digest) if !self.artifacts_are_readable => Observation::ArtifactUnreadable(digest),
            Step::LookForArtifact(digest) => match self.recorded_at(digest) {
                Some(at) if at <= self.now => Observation::ArtifactRecorded { digest, platform: None },
                _ => Observation::ArtifactAbsent(digest),
            },
            Step::LookForTag(tag) if !self.artifacts_are_readable => Observation::TagUnreadable(tag),
            Step::LookForTag(tag) => match self.tagged_at(&tag) {
                Some(at) if at <= self.now => {
                    let children: Vec<_> =
                        self.children.iter().map(|child| child.digest).filter(|child| self.has(*child)).collect();
                    // The recorded index is written anew, under another digest.
                    let digest = if self.children.is_empty() { self.root() } else { digest(250) };
                    Observation::TagRecorded { tag, digest, children }
                }
                _ => Observation::TagAbsent(tag),
            },
        }
    }

    pub(in crate::image) fn executions(&self) -> Vec<Vec<&str>> {
        self.executions.iter().map(|(_, tags)| tags.iter().map(Tag::as_str).collect()).collect()
    }

    /// Three seconds each; Harbor copies the tags that it has recorded.
    fn outcome(&self, execution: i64) -> ReplicationOutcome {
        let (started, tags) = &self.executions[usize::try_from(execution).unwrap()];
        if self.now < *started + Duration::from_secs(3) {
            return ReplicationOutcome::Running;
        }
        let recorded = |tag: &Tag| self.tagged_at(tag).is_some_and(|at| at <= *started);
        if tags.iter().any(|tag| self.refused_tag.as_ref() == Some(tag)) || !tags.iter().any(recorded) {
            return ReplicationOutcome::Failed("the target refused".to_owned());
        }
        ReplicationOutcome::Succeeded
    }

    fn copy(&mut self, digest: Digest) {
        *self.transfers.entry(digest).or_default() += 1;
        if self.copies_that_break > 0 {
            self.copies_that_break -= 1;
            return;
        }
        let arrives = self.now + self.copy_takes;
        self.local.entry(digest).or_insert(arrives);
    }

    fn blob_is_local(&self, digest: Digest, at: Timestamp) -> bool {
        self.complete || self.local.get(&digest).is_some_and(|local| *local <= at)
    }

    fn has(&self, child: Digest) -> bool {
        self.recorded_at(child).is_some_and(|at| at <= self.now)
    }

    /// A goroutine that was started before a restart does nothing after it.
    fn lives(&self, started: Timestamp, at: Timestamp) -> bool {
        !self.restart.is_some_and(|restart| started < restart && restart <= at)
    }

    fn recorded_at(&self, manifest: Digest) -> Option<Timestamp> {
        if self.complete {
            return Some(START);
        }
        let blobs = self.blobs.get(&manifest)?;
        if blobs.iter().any(|blob| !blob.distributable) {
            return None;
        }
        self.read.get(&manifest)?.iter().filter_map(|read| self.recorded_by(*read, blobs)).min()
    }

    /// Ten looks, 20 s apart. The one at 200 s fetches what is missing, unless a copy of it is under way.
    fn recorded_by(&self, read: Timestamp, blobs: &[Blob]) -> Option<Timestamp> {
        (1..=10u32)
            .map(|n| read + Duration::from_secs(20) * n)
            .find(|look| self.lives(read, *look) && blobs.iter().all(|blob| self.blob_is_local(blob.digest, *look)))
            .map(|look| look + self.recording_takes)
    }

    fn redis_has_index(&self) -> bool {
        self.complete || self.index_opened.is_some_and(|at| self.now < at + Duration::from_secs(7 * 86_400))
    }

    /// Twenty looks, 20 s apart; the last one pushes what there is.
    fn pushed_at(&self) -> Option<Timestamp> {
        if self.children.is_empty() {
            return self.recorded_at(self.root());
        }
        let opened = self.index_opened?;
        let all_by = |at: Timestamp| {
            self.children.iter().all(|child| self.recorded_at(child.digest).is_some_and(|recorded| recorded <= at))
        };
        let any_by = |at: Timestamp| {
            self.children.iter().any(|child| self.recorded_at(child.digest).is_some_and(|recorded| recorded <= at))
        };
        let mut looks = (1..=20u32).map(|n| opened + Duration::from_secs(20) * n);
        let deadline = opened + Duration::from_secs(400);
        let pushed = looks.find(|look| all_by(*look)).or_else(|| any_by(deadline).then_some(deadline));
        pushed.filter(|pushed| self.lives(opened, *pushed))
    }

    fn tagged_at(&self, tag: &Tag) -> Option<Timestamp> {
        if self.complete {
            return Some(START);
        }
        let pushed = self.pushed_at()?;
        self.headed.get(tag)?.iter().find_map(|headed| {
            let mut ticks = (1..=60u32).map(|n| *headed + Duration::from_secs(10) * n);
            ticks.find(|tick| *tick >= pushed && self.lives(*headed, *tick))
        })
    }
}
