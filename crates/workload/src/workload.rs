use std::collections::HashSet;

use harbor_warmer_protocol::Platforms;
use serde_json::Value;

use crate::pointer::{self, Found};
use crate::{CustomKinds, Reference, ReferenceError, marks, node_selection};

/// A Kubernetes object that runs Pods, read leniently: what isn't there or has another type than it should is passed
/// over, element by element.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    metadata: &'a Value,
    pods: Vec<PodTemplate<'a>>,
    unfound: Vec<String>,
}

/// A place of a workload that has images, most often its pod spec. A custom resource may have several, and images that
/// are in no pod spec.
#[derive(Clone, Debug)]
pub struct PodTemplate<'a> {
    place: String,
    /// The metadata of everything on the way to it.
    metadata: Vec<&'a Value>,
    /// What has the node selection.
    scheduled: &'a Value,
    source: Source<'a>,
    origin: Origin,
}

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    PodSpec(&'a Value),
    /// The text, and the map that it stands in.
    Image(&'a str, &'a Value),
}

/// What its Pods are made by, which decides whether an image can still change before it is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It is a Pod itself. Webhooks that change Pods have done so before a validating one sees it.
    Pod,
    /// A controller of Kubernetes' own, which copies the template. Webhooks may change the Pods.
    Template,
    /// Another controller, which may fill in what it likes.
    Custom,
}

/// An image that a workload names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadImage {
    /// The text as it stands there.
    pub written: String,
    /// Where it stands: `spec.template.spec.containers[0]`.
    pub place: String,
    /// Why nothing would be pulled by this text, if that is so.
    pub unpulled: Option<Unpulled>,
}

/// Why an image is not pulled by the text that stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpulled {
    /// The pull policy is `Never`: the node has it, or the Pod doesn't start.
    Never,
    /// A placeholder, such as the `auto` of a service mesh's gateway, that a webhook replaces in the Pods.
    Placeholder,
}

impl WorkloadImage {
    /// What it refers to.
    ///
    /// # Errors
    /// Why it is no reference.
    pub fn reference(&self) -> Result<Reference, ReferenceError> {
        self.written.parse()
    }

    /// In normal form, by which one image in two spellings is one; as it was written where it is no reference.
    pub fn name(&self) -> String {
        self.reference().map_or_else(|_| self.written.clone(), |reference| reference.to_string())
    }
}

/// The images that an object names and that would be pulled, each once, in the order in which a kubelet needs them,
/// without those that its author wants left alone. None where the object is of no kind that runs Pods. The kind is the
/// object's own (`apiVersion` and `kind`).
pub fn images(object: &Value, custom: &CustomKinds) -> Vec<WorkloadImage> {
    let workload = Workload::of(object, custom);
    let mut seen = HashSet::new();
    let pods = workload.pods().iter().filter(|pod| !pod.opts_out());
    let pulled = pods.flat_map(PodTemplate::images).filter(|image| image.unpulled.is_none());
    pulled.filter(|image| seen.insert(image.name())).collect()
}

impl<'a> Workload<'a> {
    /// Reads an object of the kind that it says of itself.
    pub fn of(object: &'a Value, custom: &CustomKinds) -> Self {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        Self::read(group, text("kind"), object, custom)
    }

    /// Reads an object of this API group and kind. A kind that runs no Pods is a workload without pod templates.
    pub fn read(group: &str, kind: &str, object: &'a Value, custom: &CustomKinds) -> Self {
        let places = custom.places(group, kind);
        let origin = match (places.custom, group, kind) {
            (true, _, _) => Origin::Custom,
            (false, "", "Pod") => Origin::Pod,
            (false, _, _) => Origin::Template,
        };
        let pod_specs = places.pod_specs.iter().flat_map(|pointer| pointer::find(object, pointer));
        let mut pods: Vec<_> = pod_specs.map(|found| PodTemplate::pod_spec(found, origin)).collect();
        let images = places.images.iter().flat_map(|pointer| pointer::find(object, pointer));
        pods.extend(images.filter_map(PodTemplate::image));
        let unfound = match pods.is_empty() && places.custom {
            true => places.pod_specs.iter().chain(&places.images).map(|place| (*place).to_owned()).collect(),
            false => Vec::new(),
        };
        Self { metadata: object.get("metadata").unwrap_or(&Value::Null), pods, unfound }
    }

    /// Its pod templates.
    pub fn pods(&self) -> &[PodTemplate<'a>] {
        &self.pods
    }

    /// Where a pod spec or an image was looked for in a custom resource, and none was found anywhere.
    pub fn unfound(&self) -> &[String] {
        &self.unfound
    }

    /// Whether a controller made it, so that nobody waits at a terminal for what is said of it.
    pub fn is_controlled(&self) -> bool {
        let owners = self.metadata.get("ownerReferences").and_then(Value::as_array);
        owners.is_some_and(|owners| {
            owners.iter().any(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
        })
    }
}

impl<'a> PodTemplate<'a> {
    fn pod_spec(found: Found<'a>, origin: Origin) -> Self {
        let Found { place, value, above } = found;
        Self { place, metadata: metadata(&above), scheduled: value, source: Source::PodSpec(value), origin }
    }

    fn image(found: Found<'a>) -> Option<Self> {
        let Found { place, value, above } = found;
        // The map that is nearest has the last word, as a template of a workflow has over the workflow.
        let is_scheduled = |value: &&&Value| value.get("nodeSelector").or_else(|| value.get("affinity")).is_some();
        let scheduled = above.iter().rev().find(is_scheduled).copied().unwrap_or(&Value::Null);
        let source = Source::Image(value.as_str()?, above.last().copied().unwrap_or(&Value::Null));
        Some(Self { place, metadata: metadata(&above), scheduled, source, origin: Origin::Custom })
    }

    /// Every image that stands here, also several times: of a pod spec its init containers, containers, ephemeral
    /// containers and image volumes.
    pub fn images(&self) -> impl Iterator<Item = WorkloadImage> {
        let pod_spec = match self.source {
            Source::PodSpec(spec) => spec,
            Source::Image(..) => &Value::Null,
        };
        let elements =
            move |list: &'static str| pod_spec.get(list).and_then(Value::as_array).into_iter().flatten().enumerate();
        let containers = ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |list| {
            elements(list).filter_map(move |(index, container)| {
                Some((format!(".{list}[{index}]"), container.get("image")?.as_str()?, container.get("imagePullPolicy")))
            })
        });
        let volumes = elements("volumes").filter_map(|(index, volume)| {
            let image = volume.get("image")?;
            Some((format!(".volumes[{index}].image"), image.get("reference")?.as_str()?, image.get("pullPolicy")))
        });
        let alone = match self.source {
            Source::Image(written, map) => Some((String::new(), written, map.get("imagePullPolicy"))),
            Source::PodSpec(_) => None,
        };
        // A template may leave an image empty for a controller to fill in, or put a blank there.
        let named = containers.chain(volumes).chain(alone).filter(|(_, written, _)| !written.trim().is_empty());
        named.map(|(place, written, pull_policy)| WorkloadImage {
            written: written.to_owned(),
            place: format!("{}{place}", self.place),
            unpulled: match pull_policy.and_then(Value::as_str) {
                Some("Never") => Some(Unpulled::Never),
                _ => self.is_placeholder(written).then_some(Unpulled::Placeholder),
            },
        })
    }

    /// A name without registry, tag and digest, where a webhook is asked to inject something. A Pod has been through
    /// the webhooks, so there only the name that the meshes' own documents use is one.
    fn is_placeholder(&self, written: &str) -> bool {
        let bare = !written.contains(['/', ':', '@']);
        let fits = if self.origin == Origin::Pod { written == "auto" } else { bare };
        fits && self.metadata.iter().any(|metadata| marks::asks_for_injection(metadata))
    }

    /// Whether annotations or labels opt out: the template's own or those of anything that it is in, up to the workload.
    pub fn opts_out(&self) -> bool {
        self.metadata.iter().any(|metadata| marks::opts_out(metadata))
    }

    /// Whether a controller may fill in variables before an image is pulled.
    pub(crate) fn may_be_filled_in(&self) -> bool {
        self.origin == Origin::Custom
    }

    /// Those of the platforms that the Pods can be scheduled on, by operating system, node selector and required node
    /// affinity. `None` where none is left: the workload runs on nodes that nobody wants images for.
    pub fn narrow(&self, platforms: &Platforms) -> Option<Platforms> {
        node_selection::narrow(self.scheduled, platforms)
    }
}

fn metadata<'a>(above: &[&'a Value]) -> Vec<&'a Value> {
    above.iter().filter_map(|value| value.get("metadata")).collect()
}

#[cfg(test)]
mod tests;
