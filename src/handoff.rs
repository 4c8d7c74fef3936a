//! Hands the planned images to the warmer: which host call comes next, and what follows from its answer.
//!
//! Every image is announced before any is looked up. Whatever happens afterwards, an evaluation that runs out of time
//! included, the warmer knows of it and can resolve it by itself. A look-up is made only where the receipt asks for it:
//! the digest of the tag, the index, then each wanted platform manifest, which is handed over as `layers`. Its failure
//! takes nothing back.
//!
//! This is a machine without I/O ([`Session::next`], [`Session::answer`]), because the SDK's host calls answer nothing
//! outside of a policy server. It ends for any answers, after at most [`CALLS_MAX`] calls.

use std::collections::VecDeque;

use harbor_warmer_protocol::{
    Digest, HandOff, HarborImage, ImageState, Lookup, NameTooLong, Offer, Platforms, REPOSITORY_MAX_CHARACTERS,
    Receipt, ReceiptError, RegistryRequest, Subject, Tag, TagOrDigest,
};
use harbor_warmer_workload::{Decision, LookupAt, PolicySettings};
use kubewarden_policy_sdk::host_capabilities::oci::OciManifestResponse;
use oci_spec::image::{ImageIndex, ImageManifest};

use crate::host_error::HostError;
use crate::plan::Plan;

/// A host call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The digest that a tag stands for.
    Digest(String),
    /// A manifest.
    Manifest(String),
}

/// What a host call answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Digest(String),
    Manifest(OciManifestResponse),
}

/// A policy server counts the 2 s of an evaluation in ticks of a second, so that they may be 1 s. At 10 ms for a call, and
/// a busy policy server needs no less, 80 take 0.8 s of it.
const CALLS_MAX: usize = 80;
/// Announcements come first, and may take all calls: without its look-up an image is warmed a moment later, without its
/// announcement not at all.
pub(crate) const ANNOUNCED_MAX: usize = CALLS_MAX;
/// The children of an index that one platform's node could run are one or a few (variants of arm).
const CHILDREN_MAX: usize = 8;
/// One refused connection may be a warmer that restarts; two are one that is down.
const UNREACHABLE_MAX: usize = 2;

/// What came of one image that was to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// Nothing was asked: the request is a dry run.
    DryRun,
    /// Not tried, since calls before it failed for a reason that holds for all.
    NotTried,
    /// One of more images than one request can announce.
    BeyondLimit,
    /// The announcement failed.
    Failed(HostError),
    /// The answer is no receipt.
    NoReceipt(ReceiptError),
    /// The warmer has it, or says why not.
    Announced(Receipt, LookUp),
}

/// What came of looking an announced image up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// The receipt or the settings ask for none.
    NotAsked,
    /// One of more images than `maxImages`.
    BeyondLimit,
    /// Not ended: its turn has not come, the calls ran out, or none could succeed any more.
    Unfinished,
    /// A call failed; the warmer resolves the image.
    Failed(HostError),
    /// The upstream has no such tag.
    NoSuchTag,
    /// The index has none of the wanted platforms; it has these.
    NoSuchPlatform(Vec<String>),
    /// The answer makes no sense.
    Unexpected(&'static str),
    /// The references of the request would be too long.
    TooLong(NameTooLong),
    /// This many platform manifests were handed over.
    HandedOver(usize),
}

/// The hand-overs of one request.
#[derive(Debug)]
pub(crate) struct Session<'p> {
    settings: &'p PolicySettings,
    handed: Vec<Option<Handed>>,
    steps: VecDeque<Step<'p>>,
    pending: Option<Step<'p>>,
    calls: usize,
    /// How many calls in a row reached nobody.
    unreachable: usize,
}

#[derive(Clone, Copy, Debug)]
struct Step<'p> {
    /// The image's place in the plan.
    image: usize,
    hand_off: &'p HandOff,
    action: Action<'p>,
}

#[derive(Clone, Copy, Debug)]
enum Action<'p> {
    Announce { then: AfterReceipt },
    ResolveTag(&'p Tag),
    ReadRoot(Digest),
    ReadChild(Digest),
    HandOverChild(Digest),
}

/// Whether an image may be looked up when its receipt asks for it.
#[derive(Clone, Copy, Debug)]
enum AfterReceipt {
    MayLookUp,
    BeyondLimit,
}

impl<'p> Session<'p> {
    pub(crate) fn new(plan: &'p Plan, settings: &'p PolicySettings, dry_run: bool) -> Self {
        let mut steps = VecDeque::new();
        let mut hand_offs = 0;
        let mut enqueue = |image, hand_off| {
            let then =
                if hand_offs < settings.max_images { AfterReceipt::MayLookUp } else { AfterReceipt::BeyondLimit };
            hand_offs += 1;
            if dry_run {
                return Handed::DryRun;
            }
            if hand_offs > ANNOUNCED_MAX {
                return Handed::BeyondLimit;
            }
            steps.push_back(Step { image, hand_off, action: Action::Announce { then } });
            Handed::NotTried
        };
        let handed = plan
            .images
            .iter()
            .enumerate()
            .map(|(index, image)| match &image.decision {
                Decision::HandOver { hand_off, .. } => Some(enqueue(index, hand_off)),
                _ => None,
            })
            .collect();
        Self { settings, handed, steps, pending: None, calls: 0, unreachable: 0 }
    }

    /// The next call, whose answer [`Session::answer`] takes. `None` when there is nothing left to do.
    pub(crate) fn next(&mut self) -> Option<Call> {
        while self.calls < CALLS_MAX {
            let step = self.steps.pop_front()?;
            match self.call(step) {
                Ok(call) => {
                    self.calls += 1;
                    self.pending = Some(step);
                    return Some(call);
                }
                Err(error) => self.looked_up(step.image, LookUp::TooLong(error)),
            }
        }
        None
    }

    /// Takes the answer to the call that [`Session::next`] gave.
    pub(crate) fn answer(&mut self, answer: Result<Answer, HostError>) {
        let Some(step) = self.pending.take() else { return };
        if let Err(error) = &answer {
            self.judge_connection(error);
        } else {
            self.unreachable = 0;
        }
        match step.action {
            Action::Announce { then } => self.announced(step, then, answer),
            Action::ResolveTag(_) => self.tag_resolved(step, answer),
            Action::ReadRoot(digest) => self.root_read(step, digest, answer),
            Action::ReadChild(_) => self.child_read(step, answer),
            Action::HandOverChild(_) => self.child_handed_over(step, answer),
        }
    }

    /// Whether the call that [`Session::next`] gave last is an announcement. They all come before the first look-up.
    pub(crate) fn is_announcing(&self) -> bool {
        self.pending.is_some_and(|step| matches!(step.action, Action::Announce { .. }))
    }

    /// What has come of each image so far.
    pub(crate) fn handed(&self) -> &[Option<Handed>] {
        &self.handed
    }

    /// What came of each image of the plan; `None` for those that weren't to be handed over.
    pub(crate) fn finish(self) -> Vec<Option<Handed>> {
        self.handed
    }

    fn call(&self, step: Step<'p>) -> Result<Call, NameTooLong> {
        let Step { hand_off, .. } = step;
        let warmer = self.settings.warmer.as_str();
        match step.action {
            Action::Announce { .. } => hand_off.to_reference(warmer).map(Call::Manifest),
            Action::ResolveTag(tag) => {
                self.lookup_reference(&hand_off.image, &TagOrDigest::Tag(tag.clone())).map(Call::Digest)
            }
            Action::ReadRoot(digest) | Action::ReadChild(digest) => {
                self.lookup_reference(&hand_off.image, &TagOrDigest::Digest(digest)).map(Call::Manifest)
            }
            Action::HandOverChild(child) => {
                let subject = Subject::Layers { child, tag: hand_off.subject.tag().cloned() };
                HandOff { subject, ..hand_off.clone() }.to_reference(warmer).map(Call::Manifest)
            }
        }
    }

    fn lookup_reference(&self, image: &HarborImage, reference: &TagOrDigest) -> Result<String, NameTooLong> {
        let LookupAt::Registry(registry) = &self.settings.lookup else {
            return RegistryRequest::front_reference(self.settings.warmer.as_str(), image, reference);
        };
        let separator = if matches!(reference, TagOrDigest::Tag(_)) { ':' } else { '@' };
        let name = format!("{}/{}", image.project, image.repository);
        if name.len() > REPOSITORY_MAX_CHARACTERS {
            return Err(NameTooLong { characters: name.len() });
        }
        Ok(format!("{}/{name}{separator}{reference}", registry.as_str()))
    }

    /// Gives up on all that is left where it can't succeed: a warmer that is down must not cost a connection attempt
    /// for every image.
    fn judge_connection(&mut self, error: &HostError) {
        self.unreachable = if matches!(error, HostError::Unreachable(_)) { self.unreachable + 1 } else { 0 };
        if error.is_lasting() || self.unreachable >= UNREACHABLE_MAX {
            self.steps.clear();
        }
    }

    fn announced(&mut self, step: Step<'p>, then: AfterReceipt, answer: Result<Answer, HostError>) {
        let handed = match answer {
            Err(error) => Handed::Failed(error),
            Ok(answer) => match receipt(&answer) {
                Err(error) => Handed::NoReceipt(error),
                Ok(receipt) => {
                    let look_up = self.plan_look_up(step, then, &receipt);
                    Handed::Announced(receipt, look_up)
                }
            },
        };
        self.set(step.image, handed);
    }

    fn plan_look_up(&mut self, step: Step<'p>, then: AfterReceipt, receipt: &Receipt) -> LookUp {
        let asked = receipt.lookup == Lookup::Yes && receipt.state != ImageState::Refused;
        if !asked || self.settings.lookup == LookupAt::Nobody {
            return LookUp::NotAsked;
        }
        if let AfterReceipt::BeyondLimit = then {
            return LookUp::BeyondLimit;
        }
        let action = match &step.hand_off.subject {
            Subject::Tag(tag) => Action::ResolveTag(tag),
            Subject::Pin { digest, .. } => Action::ReadRoot(*digest),
            // Announcements aren't about layers.
            Subject::Layers { .. } => return LookUp::NotAsked,
        };
        // At the end of the queue: after every announcement.
        self.steps.push_back(Step { action, ..step });
        LookUp::Unfinished
    }

    fn tag_resolved(&mut self, step: Step<'p>, answer: Result<Answer, HostError>) {
        match answer {
            Ok(Answer::Digest(digest)) => match digest.parse() {
                Ok(digest) => self.steps.push_front(Step { action: Action::ReadRoot(digest), ..step }),
                Err(_) => self.looked_up(step.image, LookUp::Unexpected("the tag's digest is no sha256 digest")),
            },
            Ok(Answer::Manifest(_)) => self.looked_up(step.image, LookUp::Unexpected("no digest was answered")),
            Err(HostError::NotFound) => self.looked_up(step.image, LookUp::NoSuchTag),
            Err(error) => self.looked_up(step.image, LookUp::Failed(error)),
        }
    }

    fn root_read(&mut self, step: Step<'p>, root: Digest, answer: Result<Answer, HostError>) {
        let index = match answer {
            // A single manifest is its own only child.
            Ok(Answer::Manifest(OciManifestResponse::Image(_))) => {
                self.steps.push_front(Step { action: Action::HandOverChild(root), ..step });
                return;
            }
            Ok(Answer::Manifest(OciManifestResponse::ImageIndex(index))) => index,
            Ok(Answer::Digest(_)) => {
                return self.looked_up(step.image, LookUp::Unexpected("no manifest was answered"));
            }
            Err(error) => return self.looked_up(step.image, LookUp::Failed(error)),
        };
        let children = wanted_children(&index, &step.hand_off.platforms);
        if children.is_empty() {
            let look_up = match platforms_of(&index) {
                offered if offered.is_empty() => LookUp::Unexpected("the index names no platforms"),
                offered => LookUp::NoSuchPlatform(offered),
            };
            return self.looked_up(step.image, look_up);
        }
        for child in children.into_iter().rev() {
            self.steps.push_front(Step { action: Action::HandOverChild(child), ..step });
            self.steps.push_front(Step { action: Action::ReadChild(child), ..step });
        }
    }

    fn child_read(&mut self, step: Step<'p>, answer: Result<Answer, HostError>) {
        // Its digest is known from the index, so a child that can't be read now is handed over all the same. An index
        // within the index is no platform manifest: the warmer knows how to go on from the announcement.
        if let Ok(Answer::Manifest(OciManifestResponse::ImageIndex(_))) = answer {
            self.steps.pop_front();
            self.looked_up(step.image, LookUp::Unexpected("the index refers to another index"));
        }
    }

    fn child_handed_over(&mut self, step: Step<'p>, answer: Result<Answer, HostError>) {
        match answer {
            Err(error) => self.looked_up(step.image, LookUp::Failed(error)),
            Ok(answer) => match receipt(&answer) {
                Err(_) => self.looked_up(step.image, LookUp::Unexpected("the answer is no receipt")),
                Ok(receipt) => {
                    let before = match self.handed.get(step.image) {
                        Some(Some(Handed::Announced(_, LookUp::HandedOver(children)))) => *children,
                        _ => 0,
                    };
                    self.set(step.image, Handed::Announced(receipt, LookUp::HandedOver(before + 1)));
                }
            },
        }
    }

    fn looked_up(&mut self, image: usize, outcome: LookUp) {
        if let Some(Some(Handed::Announced(_, look_up))) = self.handed.get_mut(image) {
            *look_up = outcome;
        }
    }

    fn set(&mut self, image: usize, outcome: Handed) {
        if let Some(handed) = self.handed.get_mut(image) {
            *handed = Some(outcome);
        }
    }
}

fn receipt(answer: &Answer) -> Result<Receipt, ReceiptError> {
    match answer {
        Answer::Manifest(OciManifestResponse::Image(manifest)) => receipt_of(manifest),
        Answer::Manifest(OciManifestResponse::ImageIndex(_)) | Answer::Digest(_) => Err(ReceiptError::NotAReceipt),
    }
}

fn receipt_of(manifest: &ImageManifest) -> Result<Receipt, ReceiptError> {
    let artifact_type = manifest.artifact_type().as_ref().map(ToString::to_string);
    let annotations = manifest.annotations().as_ref();
    Receipt::from_parts(artifact_type.as_deref(), |key| annotations?.get(key).cloned())
}

/// The digests of the children that a wanted platform's nodes pull, each once and in the index's order.
fn wanted_children(index: &ImageIndex, platforms: &Platforms) -> Vec<Digest> {
    let declared: Vec<_> = index
        .manifests()
        .iter()
        .map(|child| {
            let platform = child.platform().as_ref();
            platform
                .map(|platform| (platform.os().to_string(), platform.architecture().to_string(), platform.variant()))
        })
        .collect();
    let offers: Vec<_> = declared
        .iter()
        .map(|platform| match platform {
            Some((os, architecture, variant)) => Offer::Image { os, architecture, variant: variant.as_deref() },
            None => Offer::Undeclared,
        })
        .collect();
    let mut positions: Vec<_> = platforms.iter().flat_map(|wanted| wanted.choose(&offers)).collect();
    positions.sort_unstable();
    let mut children = Vec::new();
    for position in positions {
        if let Ok(digest) = index.manifests()[position].digest().to_string().parse::<Digest>()
            && !children.contains(&digest)
            && children.len() < CHILDREN_MAX
        {
            children.push(digest);
        }
    }
    children
}

/// The platforms that an index has something for. Attestations say `unknown/unknown` of themselves.
fn platforms_of(index: &ImageIndex) -> Vec<String> {
    let mut platforms: Vec<_> = index
        .manifests()
        .iter()
        .filter_map(|child| child.platform().as_ref())
        .map(|platform| match platform.variant() {
            Some(variant) => format!("{}/{}/{variant}", platform.os(), platform.architecture()),
            None => format!("{}/{}", platform.os(), platform.architecture()),
        })
        .filter(|platform| platform != "unknown/unknown")
        .collect();
    platforms.sort_unstable();
    platforms.dedup();
    platforms
}

#[cfg(test)]
mod tests;
