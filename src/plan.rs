use std::collections::{HashMap, HashSet};

use harbor_warmer_protocol::{HandOff, HarborImage, NameTooLong, Platforms, Subject, TargetName};
use harbor_warmer_workload::{MapError, Mapping, PodTemplate, ReferenceError, Workload, WorkloadImage};

use crate::request::{AdmissionRequest, Operation};
use crate::settings::Settings;

/// How many different images of a workload are looked at. No workload that the API server stores names as many; a
/// request of 2 MB, which a policy server still takes, could name a hundred thousand.
const READ_MAX: usize = 1000;

/// The images of one request, each once and in order, and what is to be done about each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) images: Vec<PlannedImage>,
    /// A controller made the object: nobody reads its warnings.
    pub(crate) controlled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedImage {
    /// In normal form; as it was written where it is no reference.
    pub(crate) name: String,
    pub(crate) decision: Decision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    HandOver(HandOff),
    /// The announcement would not be a valid reference.
    TooLong(NameTooLong),
    /// No reference, so no node can pull it either.
    Unreadable(ReferenceError),
    /// None of the rules is for it.
    Unmatched,
    /// A rule says to leave it alone.
    Excluded,
    /// The workload's annotations say so.
    OptedOut,
    /// A rule makes of it what is no valid name.
    Unmappable(MapError),
    /// The workload runs on none of these platforms, which are the settings' own.
    NoPlatform(Platforms),
}

impl Plan {
    pub(crate) fn of(request: &AdmissionRequest<'_>, settings: &Settings) -> Self {
        let read = |object| Workload::read(request.group, request.kind, object, &settings.custom_kinds);
        let old_images: HashSet<String> = match request.operation {
            Operation::Create => HashSet::new(),
            Operation::Update => {
                let old = read(request.old_object);
                old.pods().iter().flat_map(PodTemplate::images).map(|image| name_of(&image)).collect()
            }
            Operation::Other => return Self::default(),
        };
        let workload = read(request.object);
        let mut builder = Builder::default();
        for pod in workload.pods() {
            let opted_out = workload.opts_out() || pod.opts_out();
            let platforms = pod.narrow(&settings.platforms);
            for image in pod.images() {
                let name = name_of(&image);
                if old_images.contains(&name) {
                    continue;
                }
                if builder.images.len() >= READ_MAX {
                    break;
                }
                let decision =
                    if opted_out { Decision::OptedOut } else { Decision::of(&image, platforms.as_ref(), settings) };
                builder.add(PlannedImage { name, decision });
            }
        }
        Self { images: builder.finish(), controlled: workload.is_controlled() }
    }
}

fn name_of(image: &WorkloadImage) -> String {
    image.reference.as_ref().map_or_else(|_| image.written.clone(), ToString::to_string)
}

impl Decision {
    fn of(image: &WorkloadImage, platforms: Option<&Platforms>, settings: &Settings) -> Self {
        let reference = match &image.reference {
            Ok(reference) => reference,
            Err(error) => return Self::Unreadable(*error),
        };
        match (settings.rules.map(reference), platforms) {
            (Mapping::Unmatched, _) => Self::Unmatched,
            (Mapping::Skipped, _) => Self::Excluded,
            (Mapping::Failed(error), _) => Self::Unmappable(error),
            (Mapping::Mapped(_), None) => Self::NoPlatform(settings.platforms.clone()),
            (Mapping::Mapped(mapped), Some(platforms)) => Self::HandOver(HandOff {
                image: mapped.image,
                target: mapped.target,
                platforms: platforms.clone(),
                subject: mapped.subject,
            }),
        }
    }
}

/// Gathers images, each once: two that are one in Harbor become one hand-off for the platforms of both.
#[derive(Default)]
struct Builder {
    images: Vec<PlannedImage>,
    handed_over: HashMap<(HarborImage, Option<TargetName>, Subject), usize>,
    others: HashSet<String>,
}

impl Builder {
    fn add(&mut self, new: PlannedImage) {
        let Decision::HandOver(hand_off) = &new.decision else {
            if self.others.insert(new.name.clone()) {
                self.images.push(new);
            }
            return;
        };
        let key = (hand_off.image.clone(), hand_off.target.clone(), hand_off.subject.clone());
        let known = self.handed_over.get(&key).and_then(|index| self.images.get_mut(*index));
        match known {
            Some(PlannedImage { decision: Decision::HandOver(known), .. }) => {
                let both = known.platforms.iter().chain(hand_off.platforms.iter()).cloned();
                if let Ok(both) = Platforms::new(both) {
                    known.platforms = both;
                }
            }
            _ => {
                self.handed_over.insert(key, self.images.len());
                self.images.push(new);
            }
        }
    }

    fn finish(mut self) -> Vec<PlannedImage> {
        for image in &mut self.images {
            if let Decision::HandOver(hand_off) = &image.decision
                && let Err(error) = hand_off.to_name()
            {
                image.decision = Decision::TooLong(error);
            }
        }
        self.images
    }
}

#[cfg(test)]
mod tests;
