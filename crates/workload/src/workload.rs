use std::collections::HashSet;

use harbor_warmer_protocol::Platforms;
use serde_json::Value;

use crate::{CustomKinds, Reference, ReferenceError, node_selection};

/// The annotation that opts out: `"true"` on a workload, or on its pod template. A workload's own annotations don't
/// reach its Pods, so it is the template's that keeps them out as well.
pub const SKIP_ANNOTATION: &str = "harbor-warmer.io/skip";

/// A Kubernetes object that runs Pods, read leniently: what isn't there or has another type than it should is passed
/// over, element by element.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    metadata: &'a Value,
    pods: Vec<PodTemplate<'a>>,
}

/// The pod spec of a workload. Most workloads have one; a custom resource may have several.
#[derive(Clone, Debug)]
pub struct PodTemplate<'a> {
    place: String,
    metadata: &'a Value,
    spec: &'a Value,
}

/// An image that a workload names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadImage {
    /// The text as it stands there.
    pub written: String,
    /// Where it stands: `spec.template.spec.containers[0]`.
    pub place: String,
    /// What it refers to.
    pub reference: Result<Reference, ReferenceError>,
}

/// The images that an object names, each once, in the order in which a kubelet needs them. None where the object is of
/// no kind that runs Pods. The kind is the object's own (`apiVersion` and `kind`).
pub fn images(object: &Value, custom: &CustomKinds) -> Vec<WorkloadImage> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let workload = Workload::read(group, text("kind"), object, custom);
    let mut seen = HashSet::new();
    workload
        .pods()
        .iter()
        .flat_map(PodTemplate::images)
        .filter(|image| match &image.reference {
            Ok(reference) => seen.insert(reference.to_string()),
            Err(_) => seen.insert(image.written.clone()),
        })
        .collect()
}

impl<'a> Workload<'a> {
    /// Reads an object of this API group and kind. A kind that runs no Pods is a workload without pod templates.
    pub fn read(group: &str, kind: &str, object: &'a Value, custom: &CustomKinds) -> Self {
        let mut pods = Vec::new();
        for pointer in custom.pod_specs(group, kind) {
            PodTemplate::find(object, pointer, &mut pods);
        }
        Self { metadata: object.get("metadata").unwrap_or(&Value::Null), pods }
    }

    /// Its pod templates.
    pub fn pods(&self) -> &[PodTemplate<'a>] {
        &self.pods
    }

    /// Whether its annotations opt out. Those of a pod template are [`PodTemplate::opts_out`].
    pub fn opts_out(&self) -> bool {
        opts_out(self.metadata)
    }

    /// Whether a controller made it, so that nobody waits at a terminal for what is said of it.
    pub fn is_controlled(&self) -> bool {
        let owners = self.metadata.get("ownerReferences").and_then(Value::as_array);
        owners.is_some_and(|owners| {
            owners.iter().any(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
        })
    }
}

fn opts_out(metadata: &Value) -> bool {
    match metadata.get("annotations").and_then(|annotations| annotations.get(SKIP_ANNOTATION)) {
        Some(Value::String(text)) => text == "true",
        Some(Value::Bool(boolean)) => *boolean,
        _ => false,
    }
}

impl<'a> PodTemplate<'a> {
    /// Follows a pointer; a part `*` goes to every element of a list.
    fn find(object: &'a Value, pointer: &str, found: &mut Vec<Self>) {
        let parts: Vec<_> = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
        let mut at = vec![(String::new(), &Value::Null, object)];
        for part in &parts {
            at = at.into_iter().flat_map(|(place, _, value)| step(place, value, part)).collect();
        }
        found.extend(at.into_iter().map(|(place, parent, spec)| Self {
            place,
            metadata: parent.get("metadata").unwrap_or(&Value::Null),
            spec,
        }));
    }

    /// Every image that the pod spec names, also several times: init containers, containers, ephemeral containers and
    /// image volumes.
    pub fn images(&self) -> impl Iterator<Item = WorkloadImage> {
        let containers = ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|list| {
            self.elements(list).filter_map(move |(index, container)| {
                Some((format!("{list}[{index}]"), container.get("image")?.as_str()?))
            })
        });
        let volumes = self.elements("volumes").filter_map(|(index, volume)| {
            Some((format!("volumes[{index}].image"), volume.get("image")?.get("reference")?.as_str()?))
        });
        // A template may leave an image empty for a controller to fill in.
        containers.chain(volumes).filter(|(_, written)| !written.is_empty()).map(|(place, written)| WorkloadImage {
            written: written.to_owned(),
            place: format!("{}.{place}", self.place),
            reference: written.parse(),
        })
    }

    /// Whether the template's annotations opt out.
    pub fn opts_out(&self) -> bool {
        opts_out(self.metadata)
    }

    /// Those of the platforms that the Pods can be scheduled on, by node selector and required node affinity. `None`
    /// where none is left: the workload runs on nodes that nobody wants images for.
    pub fn narrow(&self, platforms: &Platforms) -> Option<Platforms> {
        node_selection::narrow(self.spec, platforms)
    }

    fn elements(&self, list: &'static str) -> impl Iterator<Item = (usize, &'a Value)> {
        self.spec.get(list).and_then(Value::as_array).into_iter().flatten().enumerate()
    }
}

type Step<'a> = (String, &'a Value, &'a Value);

fn step<'a>(place: String, value: &'a Value, part: &str) -> Vec<Step<'a>> {
    let key = |part: &str| if place.is_empty() { part.to_owned() } else { format!("{place}.{part}") };
    match value {
        Value::Object(object) => object.get(part).map(|child| (key(part), value, child)).into_iter().collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .filter(|(index, _)| part == "*" || part.parse() == Ok(*index))
            .map(|(index, child)| (format!("{place}[{index}]"), value, child))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
