use std::collections::{HashMap, HashSet};

use harbor_warmer_protocol::{HarborImage, Platforms, Subject, TargetName};
use harbor_warmer_workload::{Decision, PolicySettings, Workload};

use crate::request::{AdmissionRequest, Operation};

/// How many different images of a workload are looked at. No workload that the API server stores names as many; a
/// request of 2 MB, which a policy server still takes, could name a hundred thousand.
const READ_MAX: usize = 1000;

/// The images of one request, each once and in order, and what is to be done about each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) images: Vec<PlannedImage>,
    /// How many more there are than are looked at.
    pub(crate) unread: usize,
    /// A controller made the object: nobody reads its warnings.
    pub(crate) controlled: bool,
    /// Where in a custom resource of the settings a pod spec or an image should have been, and nothing was.
    pub(crate) unfound: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedImage {
    /// In normal form; as it was written where it is no reference.
    pub(crate) name: String,
    pub(crate) decision: Decision,
}

impl Plan {
    pub(crate) fn of(request: &AdmissionRequest<'_>, settings: &PolicySettings) -> Self {
        let read = |object| Workload::read(request.group, request.kind, object, &settings.custom_kinds);
        let old = match request.operation {
            Operation::Create => Old::default(),
            Operation::Update => Old::of(&read(request.old_object), settings),
            Operation::Other => return Self::default(),
        };
        let workload = read(request.object);
        let judge = settings.judge();
        let mut builder = Builder::default();
        for pod in workload.pods() {
            let platforms = pod.narrow(&settings.platforms);
            for image in pod.images() {
                if builder.images.len() >= READ_MAX {
                    builder.unread.insert(image.written);
                    continue;
                }
                let name = image.name();
                if old.had(&name, platforms.as_ref()) {
                    continue;
                }
                let decision = judge.of(pod, &image, platforms.as_ref());
                builder.add(PlannedImage { name, decision });
            }
        }
        // `kubectl debug` is a person's doing, whoever made the Pod.
        let by_a_person = request.sub_resource == "ephemeralcontainers";
        Self {
            unread: builder.unread.len(),
            images: builder.finish(),
            controlled: workload.is_controlled() && !by_a_person,
            unfound: workload.unfound().to_vec(),
        }
    }
}

/// The images that the old object had asked for, with the platforms that its node selection left: an update asks for
/// what is new.
#[derive(Default)]
struct Old(HashSet<(String, Option<Platforms>)>);

impl Old {
    fn of(workload: &Workload<'_>, settings: &PolicySettings) -> Self {
        let pods = workload.pods().iter().filter(|pod| !pod.opts_out());
        let images = pods.flat_map(|pod| {
            let platforms = pod.narrow(&settings.platforms);
            let pulled = pod.images().filter(|image| image.unpulled.is_none());
            pulled.map(move |image| (image.name(), platforms.clone())).collect::<Vec<_>>()
        });
        Self(images.take(READ_MAX).collect())
    }

    fn had(&self, name: &str, platforms: Option<&Platforms>) -> bool {
        !self.0.is_empty() && self.0.contains(&(name.to_owned(), platforms.cloned()))
    }
}

/// Gathers images, each once: two that are one in Harbor become one hand-off for the platforms of both.
#[derive(Default)]
struct Builder {
    images: Vec<PlannedImage>,
    handed_over: HashMap<(HarborImage, Option<TargetName>, Subject), usize>,
    others: HashSet<String>,
    unread: HashSet<String>,
}

impl Builder {
    fn add(&mut self, new: PlannedImage) {
        let Decision::HandOver { hand_off, .. } = &new.decision else {
            if self.others.insert(new.name.clone()) {
                self.images.push(new);
            }
            return;
        };
        let key = (hand_off.image.clone(), hand_off.target.clone(), hand_off.subject.clone());
        let known = self.handed_over.get(&key).and_then(|index| self.images.get_mut(*index));
        match known {
            Some(PlannedImage { decision: Decision::HandOver { hand_off: known, .. }, .. }) => {
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

    /// With the platforms of several pod specs, a name can have become too long.
    fn finish(mut self) -> Vec<PlannedImage> {
        for image in &mut self.images {
            if let Decision::HandOver { hand_off, .. } = &image.decision
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
