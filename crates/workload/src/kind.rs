use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use serde_json::Value;

use crate::fields::type_name;
use crate::pointer::{check_image, check_pod_spec};
use crate::preset::PRESETS;
use crate::{Fields, Mistake, Preset};

/// The kinds that Kubernetes itself runs Pods for, with the place of their pod spec. Matched by group as well as by
/// kind: other groups have a `Job` too. Versions don't count, since the place has never moved.
const BUILT_IN: [(&str, &str, &str); 8] = [
    (Pod::GROUP, Pod::KIND, "/spec"),
    (ReplicationController::GROUP, ReplicationController::KIND, TEMPLATE),
    (Deployment::GROUP, Deployment::KIND, TEMPLATE),
    (ReplicaSet::GROUP, ReplicaSet::KIND, TEMPLATE),
    (StatefulSet::GROUP, StatefulSet::KIND, TEMPLATE),
    (DaemonSet::GROUP, DaemonSet::KIND, TEMPLATE),
    (Job::GROUP, Job::KIND, TEMPLATE),
    (CronJob::GROUP, CronJob::KIND, "/spec/jobTemplate/spec/template/spec"),
];

const TEMPLATE: &str = "/spec/template/spec";

/// Custom resources that run Pods, by API group and kind, with the places of their pod specs and of images outside of
/// any pod spec. A kind may stand there several times, once for each of its pod specs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomKinds {
    kinds: Vec<CustomKind>,
    presets: Vec<&'static Preset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CustomKind {
    group: String,
    kind: String,
    pod_spec: Option<String>,
    images: Vec<String>,
}

/// Where a kind has its images.
#[derive(Debug, Default)]
pub(crate) struct Places<'k> {
    pub(crate) pod_specs: Vec<&'k str>,
    pub(crate) images: Vec<&'k str>,
    /// A custom resource: its controller makes Pods of it, and may fill in templates before.
    pub(crate) custom: bool,
}

impl CustomKinds {
    /// Reads the list under the key `customResources`: `group`, `kind`, `podSpec` and `images`, JSON pointers (RFC 6901)
    /// in which a part `*` stands for every element of a list and every value of a map. Where neither of the two is
    /// written, `podSpec` is `/spec/template/spec`.
    ///
    /// # Errors
    /// Every mistake in it, each with its path.
    pub fn from_value(value: &Value) -> Result<Self, Vec<Mistake>> {
        let Some(list) = value.as_array() else {
            let message = format!("must be a list, not {}", type_name(value));
            return Err(vec![Mistake::new("customResources", message)]);
        };
        let mut mistakes = Vec::new();
        let mut kinds = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let path = format!("customResources[{index}]");
            kinds.extend(CustomKind::read(value, &path, &mut mistakes));
        }
        if mistakes.is_empty() { Ok(Self { kinds, presets: Vec::new() }) } else { Err(mistakes) }
    }

    /// With the kinds of these presets too.
    #[must_use]
    pub fn with_presets(self, presets: Vec<&'static Preset>) -> Self {
        Self { presets, ..self }
    }

    /// With the kinds of another list too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.kinds.extend(other.kinds);
        self.presets.extend(other.presets);
        self
    }

    /// Where a kind has its images. Nowhere where it is not known to run Pods.
    pub(crate) fn places<'k>(&'k self, group: &str, kind: &str) -> Places<'k> {
        let mut places = Places::default();
        places
            .pod_specs
            .extend(BUILT_IN.iter().filter(|(g, k, _)| *g == group && *k == kind).map(|(_, _, place)| *place));
        for custom in self.kinds.iter().filter(|custom| custom.group == group && custom.kind == kind) {
            places.custom = true;
            places.pod_specs.extend(custom.pod_spec.as_deref());
            places.images.extend(custom.images.iter().map(String::as_str));
        }
        let resources = self.presets.iter().flat_map(|preset| preset.resources);
        for resource in resources.filter(|resource| resource.group == group && resource.kind == kind) {
            places.custom = true;
            places.pod_specs.extend(resource.pod_specs);
            places.images.extend(resource.images);
        }
        places
    }
}

impl CustomKind {
    fn read(value: &Value, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let before = mistakes.len();
        let mut fields = Fields::of(value, path, mistakes)?;
        let group = fields.text("group", mistakes);
        let kind = fields.text("kind", mistakes);
        let pod_spec = fields.text("podSpec", mistakes);
        let images: Vec<String> = fields.parsed_list("images", mistakes).unwrap_or_default();
        if fields.get("group").is_none() {
            mistakes.push(Mistake::new(fields.path("group"), "missing; write the API group, for example argoproj.io"));
        }
        if kind.is_none_or(str::is_empty) && mistakes.len() == before {
            mistakes.push(Mistake::new(fields.path("kind"), "missing; write the kind, for example Rollout"));
        }
        let mut refuse = |path: String, text: &str, told: Result<(), String>| {
            if let Err(message) = told {
                mistakes.push(Mistake::new(path, format!("`{text}`: {message}")));
            }
        };
        if let Some(group) = group {
            refuse(fields.path("group"), group, check_group(group));
        }
        if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
            refuse(fields.path("kind"), kind, check_kind(kind));
        }
        if let Some(pod_spec) = pod_spec {
            refuse(fields.path("podSpec"), pod_spec, check_pod_spec(pod_spec));
        }
        for (index, image) in images.iter().enumerate() {
            refuse(format!("{}[{index}]", fields.path("images")), image, check_image(image));
        }
        if BUILT_IN.iter().any(|(g, k, _)| Some(*g) == group && Some(*k) == kind) {
            mistakes.push(Mistake::new(path, "this kind is read anyway; remove it"));
        }
        fields.finish(mistakes);
        let pod_spec = pod_spec.or_else(|| images.is_empty().then_some(TEMPLATE));
        (mistakes.len() == before).then_some(()).and_then(|()| {
            Some(Self {
                group: group?.to_owned(),
                kind: kind?.to_owned(),
                pod_spec: pod_spec.map(str::to_owned),
                images,
            })
        })
    }
}

/// The groups of Kubernetes' own that have no dot.
const DOTLESS_GROUPS: [&str; 5] = ["", "apps", "batch", "autoscaling", "policy"];

fn check_group(text: &str) -> Result<(), String> {
    let group = text.trim().split('/').next().unwrap_or_default();
    if group != text {
        return Err(format!("write the API group alone: {group}"));
    }
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if !text.chars().all(valid) || !(text.contains('.') || DOTLESS_GROUPS.contains(&text)) {
        return Err("an API group is written like argoproj.io; `kubectl api-resources` has it".to_owned());
    }
    Ok(())
}

fn check_kind(text: &str) -> Result<(), String> {
    let mut characters = text.chars();
    let valid =
        characters.next().is_some_and(|c| c.is_ascii_uppercase()) && characters.all(|c| c.is_ascii_alphanumeric());
    if valid {
        return Ok(());
    }
    let name = text.trim().to_ascii_lowercase();
    let known = PRESETS.iter().flat_map(|preset| preset.resources);
    let kind = known
        .map(|resource| (resource.plural, resource.kind))
        .find(|(plural, kind)| *plural == name || kind.eq_ignore_ascii_case(&name));
    Err(match kind {
        Some((_, kind)) => format!("a kind is a singular with capitals; write {kind}"),
        None => "a kind is a singular with capitals, like Rollout; `kubectl api-resources` has it".to_owned(),
    })
}

#[cfg(test)]
mod tests;
