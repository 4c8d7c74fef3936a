//! Objects that name images which nobody reads: custom resources, most of all. Pure.
//!
//! It guesses by the names of keys, so it says "looks like" where it can't know, and decides nothing.

use harbor_warmer_workload::{CustomKinds, PRESETS, Reference, Workload};
use serde_json::Value;

/// The kinds of one place that hold images which aren't read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    group: String,
    kind: String,
    /// The place of the pod spec, or of the image itself.
    place: Place,
    /// An object, and an image in it.
    example: (String, String),
    /// How many objects there are of the kind.
    objects: usize,
}

/// Where the image is, as a JSON pointer in which `*` is any element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    PodSpec(String),
    Image(String),
}

/// Where custom resources most often have their pod spec; what `--custom-resource` takes without a pointer.
const USUAL_PLACE: &str = "/spec/template/spec";

/// Kinds whose texts are other programs' files, or descriptions of other kinds.
const OTHER_CONTENT: [&str; 4] = ["ConfigMap", "Secret", "CustomResourceDefinition", "Node"];

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Notes an object in the list if it names an image that is not read.
pub(super) fn note_unread(object: &Value, custom: &CustomKinds, list: &mut Vec<Unread>) {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (group, kind) = (text("apiVersion").split_once('/').map_or("", |(group, _)| group), text("kind"));
    let is_read = !Workload::read(group, kind, object, custom).pods().is_empty();
    if is_read || OTHER_CONTENT.contains(&kind) {
        return;
    }
    let own =
        object.as_object().into_iter().flatten().filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"));
    let Some((place, image)) = own
        .clone()
        .find_map(|(key, value)| pod_spec(value, &part("", key)))
        .or_else(|| own.clone().find_map(|(key, value)| image_field(value, key, &part("", key))))
    else {
        return;
    };
    let known = list.iter_mut().find(|known| known.group == group && known.kind == kind && known.place == place);
    match known {
        Some(known) => known.objects += 1,
        None => {
            let metadata = |key: &str| object.get("metadata").and_then(|metadata| metadata.get(key)?.as_str());
            let name = metadata("name").or_else(|| metadata("generateName")).unwrap_or("without a name").to_owned();
            let (group, kind) = (group.to_owned(), kind.to_owned());
            list.push(Unread { group, kind, place, example: (name, image.to_owned()), objects: 1 });
        }
    }
}

/// The first list of containers with an image, and that image.
fn pod_spec<'v>(value: &'v Value, pointer: &str) -> Option<(Place, &'v str)> {
    let containers = CONTAINERS.iter().filter_map(|key| value.get(key)?.as_array()).flatten();
    let image =
        containers.filter_map(|container| container.get("image")?.as_str()).find(|image| !image.trim().is_empty());
    match image {
        Some(image) => Some((Place::PodSpec(pointer.to_owned()), image)),
        None => children(value, pointer).find_map(|(_, child, pointer)| pod_spec(child, &pointer)),
    }
}

/// The first text that is called an image and is one.
fn image_field<'v>(value: &'v Value, key: &str, pointer: &str) -> Option<(Place, &'v str)> {
    match value {
        Value::String(text) => {
            let is_called = matches!(key, "image" | "imageName") || key.ends_with("Image");
            // A word alone may be anything.
            let is_image = text.contains(['/', ':']) && text.parse::<Reference>().is_ok();
            (is_called && is_image).then(|| (Place::Image(pointer.to_owned()), text.as_str()))
        }
        _ => children(value, pointer).find_map(|(key, child, pointer)| image_field(child, key, &pointer)),
    }
}

fn children<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = (&'v str, &'v Value, String)> {
    let in_map = value.as_object().into_iter().flatten().map(|(key, child)| (key.as_str(), child));
    let in_list = value.as_array().into_iter().flatten().map(|child| ("*", child));
    in_map.chain(in_list).map(move |(key, child)| (key, child, part(pointer, key)))
}

/// A pointer's next part (RFC 6901).
fn part(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

// === impl Unread ===

impl Unread {
    /// What is not read, and what to do.
    pub(super) fn text(&self) -> String {
        let Self { group, kind, place, example: (name, image), objects } = self;
        let of = if group.is_empty() { String::new() } else { format!(" of {group}") };
        let subject = match objects {
            1 => format!("{kind} {name}{of} names {image}"),
            objects => format!("{objects} objects {kind}{of} name images, such as {name} {image}"),
        };
        let preset = PRESETS
            .iter()
            .find(|preset| preset.resources.iter().any(|known| known.group == group && known.kind == kind));
        let advice = match place {
            _ if preset.is_some() => format!("add --preset {}", preset.map(|preset| preset.name).unwrap_or_default()),
            Place::PodSpec(pointer) if pointer == USUAL_PLACE => format!("add --custom-resource {group}/{kind}"),
            Place::PodSpec(pointer) | Place::Image(pointer) => {
                format!("add --custom-resource '{group}/{kind}={pointer}'")
            }
        };
        format!("not read: {subject}; {advice}")
    }
}

#[cfg(test)]
mod tests {
    use harbor_warmer_workload::CustomKinds;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::note_unread;

    fn told(objects: &[Value]) -> Vec<String> {
        let mut list = Vec::new();
        objects.iter().for_each(|object| note_unread(object, &CustomKinds::default(), &mut list));
        list.iter().map(super::Unread::text).collect()
    }

    fn object(api_version: &str, kind: &str, spec: Value) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "web"}, "spec": spec})
    }

    #[rstest]
    #[case::rollout(
        object("argoproj.io/v1alpha1", "Rollout", json!({"template": {"spec": {"containers": [{"image": "a/b:1"}]}}})),
        "not read: Rollout web of argoproj.io names a/b:1; add --preset argo-rollouts"
    )]
    #[case::cron_workflow(
        object("argoproj.io/v1alpha1", "X", json!({"a": [{"initContainers": [{"image": "a/b:1"}]}]})),
        "not read: X web of argoproj.io names a/b:1; add --custom-resource 'argoproj.io/X=/spec/a/*'"
    )]
    #[case::image_of_an_operator(
        object("postgresql.cnpg.io/v1", "Cluster", json!({"imageName": "ghcr.io/cloudnative-pg/postgresql:17"})),
        "not read: Cluster web of postgresql.cnpg.io names ghcr.io/cloudnative-pg/postgresql:17; add --preset \
         cloudnative-pg"
    )]
    #[case::field_of_an_unknown_operator(
        object("a.io/v1", "X", json!({"db": {"sideImage": "ghcr.io/a/b:1"}})),
        "not read: X web of a.io names ghcr.io/a/b:1; add --custom-resource 'a.io/X=/spec/db/sideImage'"
    )]
    #[case::usual_place_of_an_unknown_kind(
        object("a.io/v1", "X", json!({"template": {"spec": {"containers": [{"image": "a/b:1"}]}}})),
        "not read: X web of a.io names a/b:1; add --custom-resource a.io/X"
    )]
    #[case::slash_in_a_key(
        object("a.io/v1", "X", json!({"a/b": {"containers": [{"image": "a/b:1"}]}})),
        "not read: X web of a.io names a/b:1; add --custom-resource 'a.io/X=/spec/a~1b'"
    )]
    #[case::other_group_of_a_known_kind(
        object("batch.volcano.sh/v1alpha1", "Job", json!({"tasks": [{"template": {"spec": {"containers": [{"image": "a/b"}]}}}]})),
        "not read: Job web of batch.volcano.sh names a/b; add --custom-resource \
         'batch.volcano.sh/Job=/spec/tasks/*/template/spec'"
    )]
    fn an_image_that_is_not_read_is_told_with_what_reads_it(#[case] object: Value, #[case] expected: &str) {
        assert_eq!(told(&[object]), [expected]);
    }

    #[rstest]
    #[case::pod(object("v1", "Pod", json!({"containers": [{"image": "a/b:1"}]})))]
    #[case::service(object("v1", "Service", json!({"ports": [{"port": 80}]})))]
    #[case::config_map(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"image": "a/b:1"}}))]
    #[case::definition(object("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({"image": "a/b:1"})))]
    #[case::picture(object("a.io/v1", "Page", json!({"image": "logo"})))]
    #[case::address(object("a.io/v1", "Page", json!({"image": "https://a.example/logo.png"})))]
    #[case::in_the_status(json!({"apiVersion": "a.io/v1", "kind": "X", "status": {"image": "a/b:1"}}))]
    #[case::empty_image(object("a.io/v1", "X", json!({"containers": [{"image": " "}]})))]
    #[case::text(json!("a/b:1"))]
    fn what_names_no_unread_image_is_not_told(#[case] object: Value) {
        assert_eq!(told(&[object]), Vec::<String>::new());
    }

    #[test]
    fn objects_of_one_kind_are_told_once() {
        let rollout = object(
            "argoproj.io/v1alpha1",
            "Rollout",
            json!({"template": {"spec": {"containers": [{"image": "a/b:1"}]}}}),
        );
        let other = object("a.io/v1", "X", json!({"containers": [{"image": "a/b:1"}]}));
        assert_eq!(
            told(&[rollout.clone(), other, rollout]),
            [
                "not read: 2 objects Rollout of argoproj.io name images, such as web a/b:1; add --preset \
                 argo-rollouts",
                "not read: X web of a.io names a/b:1; add --custom-resource 'a.io/X=/spec'",
            ]
        );
    }
}
