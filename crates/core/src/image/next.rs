//! What follows from what was seen.

use std::fmt;
use std::time::Duration;

use harbor_warmer_protocol::{Digest, Tag, TargetName};

use crate::attempts::Attempt;

use super::{BlobState, Content, DeadReason, Image, ManifestState, TagStatus, Want};
use crate::project::Project;
use crate::project::{HarborKind, Transfer};
use crate::timers::Timers;
use crate::timestamp::Timestamp;

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// These steps; they don't depend on each other. The first ones matter most.
    Do(Vec<Step>),
    /// Nothing until then.
    WaitUntil(Timestamp, Waiting),
    /// Something can't go on as it is, and counts as a failure of that part: observe it as one, and plan again.
    Stuck(About, String),
    /// Harbor does not keep what it is given. A person mends that for the whole project, so it uses nothing up:
    /// observe it as Harbor's trouble, and plan again.
    Refused(About, String),
    /// Everything that was wanted is there. With a moment, it is looked at and pulled again then, to be kept.
    Done(Option<Timestamp>),
    /// Trying again won't help, or has been tried for long enough.
    Dead(DeadReason),
}

/// Which part of an image something is about. What fails of one part holds up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The image as a whole: its tags, its root, its replication.
    Image,
    /// One manifest.
    Manifest(Digest),
    /// One blob, of whichever manifests have it.
    Blob(Digest),
}

/// One request, or one transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for the image's turn at Harbor: nothing is asked of it before.
    Begin,
    /// HEAD the tag: opens Harbor's window for recording it.
    HeadTag(Tag),
    /// HEAD the root by digest: starts no clock of Harbor's, and tells an index from a manifest.
    LookAtRoot,
    /// GET the root by digest.
    ReadRoot {
        /// Through the project itself, which starts Harbor's clock for an index, or through its second one.
        through_project: bool,
    },
    /// GET a platform manifest by digest: makes Harbor look for its blobs.
    ReadChild {
        /// Which.
        digest: Digest,
        /// It was read before and Harbor did not record it.
        again: bool,
    },
    /// GET a recorded platform manifest by digest: Harbor counts it as a pull, and its retention keeps it.
    Keep(Digest),
    /// Ask whether Harbor has the blob.
    LookForBlob {
        /// The blob.
        digest: Digest,
        /// Its size: Harbor has it if it has so much of it.
        size_bytes: u64,
    },
    /// Ask for the blob until its transfer has begun; Harbor goes on by itself.
    TouchBlob {
        /// Which.
        digest: Digest,
        /// Bytes.
        size_bytes: u64,
        /// When it was asked for last, as far as this image knows.
        asked: Option<Timestamp>,
        /// Read it for a moment, to see how fast the upstream sends it.
        sample: bool,
    },
    /// Read the blob to its end.
    DrainBlob {
        /// Which.
        digest: Digest,
        /// Bytes.
        size_bytes: u64,
        /// When it was asked for last, as far as this image knows.
        asked: Option<Timestamp>,
    },
    /// Ask whether Harbor has the manifest as an artifact.
    LookForArtifact(Digest),
    /// Ask what Harbor has recorded for the tag.
    LookForTag(Tag),
    /// Start the target's replication for exactly these tags.
    Replicate {
        /// Where to.
        target: TargetName,
        /// The tags, all of this image.
        tags: Vec<Tag>,
    },
    /// Ask where an execution of the target's replication stands.
    LookAtExecution {
        /// Whose.
        target: TargetName,
        /// Its number in Harbor.
        execution: i64,
    },
}

/// What an image waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Its project is paused.
    Paused(String),
    /// The last try failed.
    Retry(Attempt),
    /// More requests were made for it than any good image needs: it is set aside for a while.
    SetAside,
    /// Other images stand before it at Harbor.
    Turn,
    /// Harbor copies blobs.
    Blobs,
    /// Harbor has all blobs and looks for them every 20 s.
    Record,
    /// Harbor records the tag once the index is complete, or its deadline is over.
    Tag(Tag),
    /// Harbor copies to the target, or will be asked to.
    Replication(TargetName),
    /// Harbor or its upstream limits requests, and nobody waits for what is left.
    Strain,
}

impl Step {
    /// What it is about.
    pub fn about(&self) -> About {
        match self {
            Self::ReadChild { digest, .. } | Self::LookForArtifact(digest) | Self::Keep(digest) => {
                About::Manifest(*digest)
            }
            Self::LookForBlob { digest, .. } | Self::TouchBlob { digest, .. } | Self::DrainBlob { digest, .. } => {
                About::Blob(*digest)
            }
            Self::Begin
            | Self::HeadTag(_)
            | Self::LookAtRoot
            | Self::ReadRoot { .. }
            | Self::LookForTag(_)
            | Self::Replicate { .. }
            | Self::LookAtExecution { .. } => About::Image,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("begin"),
            Self::HeadTag(tag) => write!(f, "HEAD tag {tag}"),
            Self::LookAtRoot => f.write_str("look whether the root is an index"),
            Self::ReadRoot { through_project: true } => f.write_str("read the root manifest"),
            Self::ReadRoot { through_project: false } => f.write_str("read the index through the second project"),
            Self::ReadChild { digest, .. } => write!(f, "read the manifest {digest}"),
            Self::Keep(digest) => write!(f, "pull the manifest {digest} to keep it"),
            Self::LookForBlob { digest, .. } => write!(f, "look for the blob {digest}"),
            Self::TouchBlob { digest, .. } => write!(f, "ask for the blob {digest}"),
            Self::DrainBlob { digest, .. } => write!(f, "read the blob {digest}"),
            Self::LookForArtifact(digest) => write!(f, "look for the artifact {digest}"),
            Self::LookForTag(tag) => write!(f, "look for the tag {tag}"),
            Self::Replicate { target, .. } => write!(f, "start the replication to {target}"),
            Self::LookAtExecution { target, execution } => {
                write!(f, "look at execution {execution} of the replication to {target}")
            }
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused(reason) => write!(f, "the project is paused: {reason}"),
            Self::Retry(failed) => write!(f, "tries again: {}", failed.error),
            Self::SetAside => f.write_str("set aside for an hour: it took far more requests than an image needs"),
            Self::Turn => f.write_str("waits for its turn at Harbor"),
            Self::Blobs => f.write_str("Harbor copies blobs"),
            Self::Record => f.write_str("Harbor has all blobs and has not recorded the artifact yet"),
            Self::Tag(tag) => write!(f, "Harbor has not recorded the tag {tag} yet"),
            Self::Replication(target) => write!(f, "Harbor replicates to {target}"),
            Self::Strain => f.write_str("what nobody waits for is left until Harbor's rate limit is over"),
        }
    }
}

/// So many repeated steps are looked at; one that goes in a circle is enough.
const REPEATS_LOOKED_AT: usize = 8;

/// Up to so many bytes a blob is asked for again without looking how fast it comes: its copy is over in a moment.
const WORTH_A_SAMPLE: u64 = 1 << 20;

/// A manifest is read again at most so often before that counts as a failure.
pub(super) const MOST_NUDGES: u32 = 4;

/// Steps due now and the next moment when there will be some.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    wake: Option<(Timestamp, Waiting)>,
    /// [`Next::Stuck`] or [`Next::Refused`].
    stuck: Option<Next>,
}

impl Plan {
    pub(super) fn wait(&mut self, until: Timestamp, waiting: Waiting) {
        if self.wake.as_ref().is_none_or(|(at, _)| until < *at) {
            self.wake = Some((until, waiting));
        }
    }

    /// `step` if `due` has come, else a wait for it.
    pub(super) fn at(&mut self, due: Timestamp, now: Timestamp, step: Step, waiting: Waiting) {
        if due <= now { self.steps.push(step) } else { self.wait(due, waiting) }
    }
}

impl Image {
    /// Says what to do now, until when to wait, or that all is done or dead and why.
    pub fn next(&self, project: &Project, now: Timestamp) -> Next {
        if let Some(reason) = &self.hopeless {
            return Next::Dead(reason.clone());
        }
        if self.wants.is_empty() {
            return Next::Done(None);
        }
        if let Some(pause) = project.pause.as_ref().filter(|pause| now < pause.probe_at) {
            return Next::WaitUntil(self.spread(pause.probe_at), Waiting::Paused(pause.reason.clone()));
        }
        if let Some(until) = self.requests.exceeded(self.parts(), &project.timers, now) {
            return Next::WaitUntil(until, Waiting::SetAside);
        }
        if self.attempts.exhausted(project.give_up_after) {
            return Next::Dead(DeadReason::gave_up(&self.attempts));
        }
        if let Some((retry_at, failed)) = self.attempts.backing_off(now) {
            return Next::WaitUntil(retry_at, Waiting::Retry(failed.clone()));
        }
        if self.content == Content::Unread {
            if self.begun.is_none() {
                return Next::Do(vec![Step::Begin]);
            }
            if project.skips_untagged && self.wants.iter().all(|want| want.tag.is_none()) {
                match self.is_index {
                    None => return Next::Do(vec![Step::LookAtRoot]),
                    Some(true) => return Next::Dead(DeadReason::Untagged),
                    Some(false) => {}
                }
            }
            return self.plan_root(project, now);
        }
        if self.wanted_children().is_empty() {
            return Next::Dead(self.no_such_platform(&self.wants));
        }
        let mut plan = Plan::default();
        let mut lost = None;
        let mut wanted = self.wanted_children();
        wanted.retain(|child| {
            let why = self.lost(child, project);
            let is_lost = why.is_some();
            lost = lost.take().or(why);
            !is_lost
        });
        if let (true, Some(why)) = (wanted.is_empty(), &lost) {
            return Next::Dead(why.clone());
        }
        for child in &wanted {
            self.plan_manifest(*child, project, now, &mut plan);
        }
        if project.complete_index && wanted.iter().all(|child| self.has_its_blobs(child) || self.is_failing(child)) {
            self.plan_completion(project, now, &mut plan);
        }
        self.plan_index(&wanted, project, now, &mut plan);
        let mut exhausted = None;
        // A platform that fails is tried again beside the others, and holds up nothing of theirs.
        let mut there = wanted.iter().filter(|child| !self.is_failing(child)).peekable();
        if there.peek().is_some() && there.all(|child| self.is_there(child, project)) {
            self.plan_tags(project, now, &mut plan);
            exhausted = self.plan_replications(project, now, &mut plan);
        }
        if let Some(why) = plan.stuck {
            return why;
        }
        if project.probes_storage {
            self.leave_one_transfer(&mut plan, project, now);
        }
        if !plan.steps.is_empty() {
            return Next::Do(plan.steps);
        }
        match (plan.wake, exhausted) {
            (Some((until, waiting)), _) => Next::WaitUntil(until, waiting),
            (None, Some(failed)) => Next::Dead(DeadReason::GaveUp(failed)),
            (None, None) => self.rest(project, now),
        }
    }

    /// Everything that can be had is there. What is left is looked at, and the image is kept, now and then.
    fn rest(&self, project: &Project, now: Timestamp) -> Next {
        let (due, look) = self.blocked_looks(project, now);
        if !due.is_empty() {
            return Next::Do(due.into_iter().map(|tag| Step::LookForTag(tag.clone())).collect());
        }
        match self.keep(project, now) {
            Next::Done(again) => Next::Done(match (again, look) {
                (Some(again), Some(look)) => Some(again.min(look)),
                (again, look) => again.or(look),
            }),
            next => next,
        }
    }

    /// Everything that was wanted is there: pulls it again before Harbor's retention would take it for forgotten.
    ///
    /// Only a GET of a platform manifest by its digest counts as a pull of it and of the recorded index above it; a
    /// HEAD never does, and what names the tag or the upstream's index is answered from Redis.
    fn keep(&self, project: &Project, now: Timestamp) -> Next {
        let Some(every) = project.keep_warm_every else { return Next::Done(None) };
        let pulls = self.manifests.values().filter_map(|manifest| manifest.read);
        // What was there already may have been pulled long ago by others, and be dropped tonight.
        let pulled = pulls.chain(self.kept).max();
        // Spread over an eighth of the time: what was warmed together need not be kept together.
        let every = project.timers.of(every);
        let early = every.mul_f64(f64::from(self.root.as_bytes()[1]) / 255.0 / 8.0);
        if let Some(due) = pulled.map(|pulled| pulled + (every - early)).filter(|due| now < *due) {
            return Next::Done(Some(due));
        }
        if project.strained {
            return Next::WaitUntil(now + project.timers.of(Duration::from_secs(600)), Waiting::Strain);
        }
        let others = if project.complete_index { self.other_children() } else { Vec::new() };
        let recorded = |child: &Digest| self.manifests.get(child).is_some_and(|state| state.recorded.is_some());
        let children = self.wanted_children().into_iter().chain(others).filter(recorded);
        let pulls: Vec<_> = children.map(Step::Keep).collect();
        if pulls.is_empty() { Next::Done(None) } else { Next::Do(pulls) }
    }

    /// Of all transfers the largest, read to its end: that proves whether Harbor keeps what it is given. What comes
    /// after it waits for the answer.
    fn leave_one_transfer(&self, plan: &mut Plan, project: &Project, now: Timestamp) {
        let given = self.blobs.values().any(|blob| blob.local.is_none() && blob.drained.is_some());
        let size_of = |step: &Step| match step {
            Step::TouchBlob { size_bytes, .. } | Step::DrainBlob { size_bytes, .. } => Some(*size_bytes),
            _ => None,
        };
        let (mut transfers, mut others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut plan.steps).into_iter().partition(|step| size_of(step).is_some());
        transfers.sort_by_key(|step| std::cmp::Reverse(size_of(step)));
        match transfers.into_iter().next() {
            Some(Step::TouchBlob { digest, size_bytes, asked, .. } | Step::DrainBlob { digest, size_bytes, asked })
                if !given =>
            {
                others.push(Step::DrainBlob { digest, size_bytes, asked });
            }
            Some(_) => plan.wait(now + project.timers.poll(Duration::ZERO), Waiting::Blobs),
            None => {}
        }
        plan.steps = others;
    }

    /// The rest of the index, which nobody waits for.
    fn plan_completion(&self, project: &Project, now: Timestamp, plan: &mut Plan) {
        let mut rest = Plan::default();
        for child in self.other_children().into_iter().filter(|child| self.lost(child, project).is_none()) {
            self.plan_manifest(child, project, now, &mut rest);
        }
        if project.strained && !rest.steps.is_empty() {
            plan.wait(now + project.timers.of(Duration::from_secs(30)), Waiting::Strain);
            return;
        }
        plan.steps.append(&mut rest.steps);
        plan.stuck = plan.stuck.take().or(rest.stuck);
        if let Some((until, waiting)) = rest.wake {
            plan.wait(until, waiting);
        }
    }

    /// All images of a paused project would probe it at once: each waits a little longer, by its digest.
    fn spread(&self, probe_at: Timestamp) -> Timestamp {
        probe_at + Duration::from_millis(u64::from(self.root.as_bytes()[0]) * 8)
    }

    fn plan_manifest(&self, digest: Digest, project: &Project, now: Timestamp, plan: &mut Plan) {
        let state = self.manifests.get(&digest).cloned().unwrap_or_default();
        if self.is_there(&digest, project) {
            return;
        }
        if let Some((retry_at, failed)) = state.attempts.backing_off(now) {
            plan.wait(retry_at, Waiting::Retry(failed.clone()));
            return;
        }
        let looked = state.checked.is_some_and(|checked| checked >= self.verify_since);
        let asks_harbor = project.kind == HarborKind::Harbor && !state.by_blobs && !state.incompletable;
        if asks_harbor && !looked {
            // Perhaps it is there already; then nothing needs to be moved.
            plan.steps.push(Step::LookForArtifact(digest));
            return;
        }
        let Some(read) = state.read else {
            plan.steps.push(Step::ReadChild { digest, again: false });
            return;
        };
        let blobs: Vec<_> = state.blobs.iter().filter_map(|blob| Some((*blob, self.blobs.get(blob)?))).collect();
        let mut missing: Vec<_> =
            blobs.iter().filter(|(_, blob)| blob.distributable && !self.blob_is_fresh(blob)).collect();
        // The largest first: it is the one that everything else ends up waiting for.
        missing.sort_by_key(|(digest, blob)| (std::cmp::Reverse(blob.size_bytes), *digest));
        for (digest, blob) in missing.iter() {
            self.plan_blob(*digest, blob, project, now, plan);
        }
        if missing.is_empty() && asks_harbor {
            let local_at = blobs.iter().filter_map(|(_, blob)| blob.local).max().unwrap_or(read);
            self.plan_record(digest, &state, read, local_at, project, now, plan);
        }
    }

    fn plan_blob(&self, digest: Digest, blob: &BlobState, project: &Project, now: Timestamp, plan: &mut Plan) {
        let timers = project.timers;
        let BlobState { size_bytes, asked, .. } = *blob;
        let look = Step::LookForBlob { digest, size_bytes };
        let drain = Step::DrainBlob { digest, size_bytes, asked };
        let sample = blob.asks > 0 && blob.takes.is_none() && size_bytes > WORTH_A_SAMPLE;
        let ask = match project.transfer {
            Transfer::Touch => Step::TouchBlob { digest, size_bytes, asked, sample },
            Transfer::Drain => drain.clone(),
        };
        // A Distribution cache fetches a blob for a HEAD too, and answers when it has it: asking would be fetching.
        let looking_is_free = project.kind == HarborKind::Harbor;
        let looked = blob.checked.is_some_and(|checked| checked >= self.verify_since);
        let Some(asked) = blob.asked.filter(|asked| *asked >= self.verify_since || looked || !looking_is_free) else {
            plan.steps.push(if looking_is_free && !looked { look } else { ask });
            return;
        };
        if blob.copy_was_refused(project, now) {
            let instead = blob.other_size.map(|kept| format!(" (it has {kept} bytes of {size_bytes})"));
            plan.stuck = Some(Next::Refused(
                About::Blob(digest),
                format!(
                    "Harbor was given the blob {digest} again and again and does not keep it{}: its project's quota \
                     may be used up, Harbor may be read-only, or its storage may be down",
                    instead.unwrap_or_default()
                ),
            ));
            return;
        }
        let first_asked = blob.first_asked.unwrap_or(asked);
        let drained = blob.drained.filter(|drained| *drained >= asked);
        let patience = timers.copy_patience(size_bytes);
        let patience_ends = first_asked + (patience * 2).max(blob.takes.unwrap_or_default() * 3);
        if drained.is_none() && now >= patience_ends && blob.asks >= 2 {
            plan.steps.push(drain);
            return;
        }
        // Before patience is half over in any case: reading the blob to its end would cost the upstream its bytes twice.
        let half_time = Some(first_asked + patience).filter(|half_time| asked < *half_time);
        let again = blob.ask_again_at(asked, timers);
        let again = half_time.map_or(again, |half_time| half_time.min(again));
        let lost = match drained {
            // Read to its end once, looked for after that, and not there.
            Some(drained) => now >= drained + timers.copy_grace() && blob.checked.is_some_and(|at| at >= drained),
            None => now >= again,
        };
        if lost {
            plan.steps.push(ask);
            return;
        }
        let last_look = blob.checked.unwrap_or(asked).max(asked);
        let mut due = last_look + timers.poll(now.since(first_asked));
        if !looking_is_free && drained.is_none() {
            // 20 MB/s is a guess at what the copy needs; a look before its end costs another copy.
            due = due.max(asked + Duration::from_millis(200 + size_bytes / 20_000));
        }
        plan.at(due, now, look, Waiting::Blobs);
        match drained.map(|drained| drained + timers.copy_grace()) {
            None if blob.asks >= 2 => plan.wait(patience_ends.min(again), Waiting::Blobs),
            None => plan.wait(again, Waiting::Blobs),
            // After that it is looked for once more.
            Some(settled) if now < settled => plan.wait(settled, Waiting::Blobs),
            Some(_) => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the facts that one decision is made from")]
    fn plan_record(
        &self,
        digest: Digest,
        state: &ManifestState,
        read: Timestamp,
        local_at: Timestamp,
        project: &Project,
        now: Timestamp,
        plan: &mut Plan,
    ) {
        let timers = project.timers;
        let ready = read.max(local_at);
        // Blobs that came after Harbor's last look, or while another copy of them was under way then: it has given up
        // this manifest without a word.
        let missed = local_at > read + timers.manifest_late();
        let nudge_at = if missed { ready } else { ready + timers.nudge_after() };
        let looked_since = state.checked.is_some_and(|checked| checked >= nudge_at.min(now));
        if now >= nudge_at && (missed || looked_since || state.checked.is_some_and(|checked| checked >= ready)) {
            if state.nudges >= MOST_NUDGES {
                plan.stuck = Some(Next::Stuck(
                    About::Manifest(digest),
                    format!("Harbor has every blob of {digest} and does not record it; see the log of its core"),
                ));
                return;
            }
            let heads = self.wanted_tags().into_iter().filter(|tag| {
                !matches!(self.tag_status(tag, project, now), TagStatus::Recorded | TagStatus::Unverifiable)
            });
            plan.steps.extend(heads.map(|tag| Step::HeadTag(tag.clone())));
            plan.steps.push(Step::ReadChild { digest, again: true });
            return;
        }
        let first_look = read + timers.manifest_look();
        let last_look = state.checked.unwrap_or(first_look);
        let due = if last_look < first_look.max(local_at) {
            first_look.max(local_at)
        } else {
            last_look + timers.poll(now.since(first_look.max(local_at)))
        };
        plan.at(due, now, Step::LookForArtifact(digest), Waiting::Record);
        plan.wait(nudge_at, Waiting::Record);
    }

    fn plan_tags(&self, project: &Project, now: Timestamp, plan: &mut Plan) {
        for tag in self.wanted_tags() {
            let state = self.tags.get(tag).cloned().unwrap_or_default();
            match self.tag_status(tag, project, now) {
                TagStatus::Recorded
                | TagStatus::Moved
                | TagStatus::Unverifiable
                | TagStatus::NeverRecorded
                | TagStatus::Blocked { .. } => {}
                TagStatus::Unseen => plan.steps.push(Step::LookForTag(tag.clone())),
                // An index is opened by plan_index, which asks for its tags first.
                TagStatus::WindowClosed if matches!(self.content, Content::Index(_)) => {}
                TagStatus::WindowClosed => plan.steps.push(Step::HeadTag(tag.clone())),
                TagStatus::Expected { until } => {
                    let expected_since = self.index_opened.max(self.warm_at).max(state.headed).unwrap_or(now);
                    let due = state.checked.unwrap_or(now) + project.timers.poll(now.since(expected_since));
                    plan.at(due.min(until), now, Step::LookForTag(tag.clone()), Waiting::Tag(tag.clone()));
                }
            }
        }
    }

    /// Whether `manifest` was verified since the image was asked for.
    pub(super) fn is_there(&self, digest: &Digest, project: &Project) -> bool {
        let Some(state) = self.manifests.get(digest) else { return false };
        let fresh = state.checked.is_some_and(|checked| checked >= self.verify_since);
        if state.recorded.is_some() {
            return fresh;
        }
        let blobs_stand_in = state.by_blobs || state.incompletable || project.kind == HarborKind::Distribution;
        blobs_stand_in && state.read.is_some() && self.has_its_blobs(digest)
    }

    /// Whether Harbor has every blob of `manifest` that it can have.
    pub(super) fn has_its_blobs(&self, digest: &Digest) -> bool {
        let Some(state) = self.manifests.get(digest) else { return false };
        if state.recorded.is_some() && state.checked.is_some_and(|checked| checked >= self.verify_since) {
            return true;
        }
        let fresh =
            |blob: &Digest| self.blobs.get(blob).is_some_and(|blob| !blob.distributable || self.blob_is_fresh(blob));
        state.read.is_some() && state.blobs.iter().all(fresh)
    }

    /// Why a manifest is not to be had, where no trying again helps or has been tried for long enough.
    pub(super) fn lost(&self, digest: &Digest, project: &Project) -> Option<DeadReason> {
        let state = self.manifests.get(digest)?;
        let gave_up = || state.attempts.exhausted(project.give_up_after).then(|| DeadReason::gave_up(&state.attempts));
        state.hopeless.clone().or_else(gave_up)
    }

    /// Whether what was last asked of a manifest failed.
    pub(super) fn is_failing(&self, digest: &Digest) -> bool {
        self.manifests.get(digest).is_some_and(|state| state.attempts.failures > 0 || state.hopeless.is_some())
    }

    /// A step that was just done and follows again from what it showed: going on so would be a storm. `done` are the
    /// steps of the last round, each with the moment of its answer.
    pub fn repeats<'a>(&self, project: &Project, done: &'a [(Step, Timestamp)], steps: &[Step]) -> Option<&'a Step> {
        let repeated = done.iter().filter(|(step, _)| steps.contains(step));
        // A round that took long may well be followed by another look; at the moment of the answer it may not.
        repeated
            .take(REPEATS_LOOKED_AT)
            .map(|(step, at)| (step, self.next(project, *at)))
            .find_map(|(step, next)| matches!(next, Next::Do(steps) if steps.contains(step)).then_some(step))
    }

    /// Manifests, blobs and tags: what requests are made for.
    fn parts(&self) -> usize {
        self.manifests.len() + self.blobs.len() + self.tags.len() + self.replications.len()
    }

    fn blob_is_fresh(&self, blob: &BlobState) -> bool {
        blob.local.is_some() && blob.checked.is_some_and(|checked| checked >= self.verify_since)
    }

    /// That the image has none of the platforms of these wants.
    pub(super) fn no_such_platform(&self, wants: &[Want]) -> DeadReason {
        let mut wanted: Vec<_> = wants.iter().flat_map(|want| &want.platforms).map(ToString::to_string).collect();
        wanted.sort();
        wanted.dedup();
        let single = self.manifests.get(&self.root).and_then(|state| state.platform.as_ref());
        let children = match &self.content {
            Content::Index(children) => children.as_slice(),
            Content::Manifest | Content::Unread => &[],
        };
        let mut offered: Vec<_> = children
            .iter()
            .filter_map(|child| child.platform.as_ref())
            .chain(single)
            .map(|(os, architecture, variant)| match variant {
                Some(variant) => format!("{os}/{architecture}/{variant}"),
                None => format!("{os}/{architecture}"),
            })
            .collect();
        offered.dedup();
        DeadReason::NoSuchPlatform { wanted, offered }
    }
}

impl BlobState {
    /// When it is asked for again. Nobody sees whether Harbor's copy moves or broke, and Harbor doesn't repeat one that
    /// broke. To a copy under way another request is cheap, for its second copy ends at once. So it is asked for each
    /// minute while the first may still be under way, as fast as the upstream sends it. After that each request is a
    /// whole transfer, which Harbor may refuse to keep, and they get rarer.
    fn ask_again_at(&self, asked: Timestamp, timers: Timers) -> Timestamp {
        const RAREST: u64 = 64 * 60;
        let minute = timers.ask_again();
        let since_first = asked.since(self.first_asked.unwrap_or(asked));
        match self.takes {
            Some(takes) if since_first > takes * 3 / 2 + minute => {
                asked + since_first.min(timers.of(Duration::from_secs(RAREST)))
            }
            Some(_) | None => asked + minute,
        }
    }

    /// It was given to Harbor several times, the last time to its end, and Harbor still does not have it.
    pub(super) fn copy_was_refused(&self, project: &Project, now: Timestamp) -> bool {
        self.local.is_none()
            && (self.asks >= 2 || project.probes_storage)
            && self.drained.is_some_and(|drained| {
                let settled = drained + project.timers.copy_grace();
                now >= settled && self.checked.is_some_and(|checked| checked >= drained)
            })
    }
}
