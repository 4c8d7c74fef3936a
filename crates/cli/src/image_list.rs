//! Which images a person means: references, and Kubernetes manifests that name some.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use harbor_warmer_workload::{CustomKinds, images};
use serde_json::{Value, json};

use super::arguments::ImageArguments;

/// Why the arguments give no list of images.
#[derive(Debug, thiserror::Error)]
pub enum ImageListError {
    /// A manifest can't be read.
    #[error("can't read {name}")]
    Unreadable {
        /// The file, or standard input.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A manifest is not YAML.
    #[error("{name} is not YAML:\n{message}")]
    NotYaml {
        /// The file, or standard input.
        name: String,
        /// Where and why.
        message: String,
    },
    /// Objects, but none that runs Pods.
    #[error("{name} names no image; it holds {kinds}. For a custom resource add --custom-resource GROUP/KIND")]
    NoImages {
        /// The file, or standard input.
        name: String,
        /// The kinds that it holds.
        kinds: String,
    },
    /// `--custom-resource` is wrong.
    #[error("--custom-resource {0}")]
    CustomResource(String),
}

/// The images that the arguments name, each once, in order.
///
/// # Errors
/// [`ImageListError`].
pub(super) fn image_list(arguments: &ImageArguments) -> Result<Vec<String>, ImageListError> {
    let custom = custom_kinds(&arguments.custom_resource)?;
    let mut list = Vec::new();
    for argument in &arguments.images {
        match manifest_text(argument)? {
            None => list.push(argument.clone()),
            Some((name, text)) => list.extend(manifest_images(&name, &text, &custom)?),
        }
    }
    let mut seen = BTreeSet::new();
    list.retain(|image| seen.insert(image.clone()));
    Ok(list)
}

/// The text of a manifest; none for an image.
fn manifest_text(argument: &str) -> Result<Option<(String, String)>, ImageListError> {
    let unreadable = |name: &str, source| ImageListError::Unreadable { name: name.to_owned(), source };
    if argument == "-" {
        let name = "standard input";
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|source| unreadable(name, source))?;
        return Ok(Some((name.to_owned(), text)));
    }
    if !names_a_file(argument) {
        return Ok(None);
    }
    let text = std::fs::read_to_string(argument).map_err(|source| unreadable(argument, source))?;
    Ok(Some((argument.to_owned(), text)))
}

/// By its ending, or by where it starts: no image begins with a dot or a slash.
fn names_a_file(argument: &str) -> bool {
    let extension = Path::new(argument).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json")) || argument.starts_with(['.', '/'])
}

/// The images of every object of a manifest: several documents, and lists as `kubectl get -o yaml` prints them.
fn manifest_images(name: &str, text: &str, custom: &CustomKinds) -> Result<Vec<String>, ImageListError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| ImageListError::NotYaml { name: name.to_owned(), message: error.render() })?;
    let mut objects = Vec::new();
    for document in &documents {
        flatten(document, &mut objects);
    }
    let list: Vec<_> = objects.iter().flat_map(|object| images(object, custom)).map(|image| image.written).collect();
    if list.is_empty() {
        let kinds: BTreeSet<_> = objects.iter().filter_map(|object| object.get("kind")?.as_str()).collect();
        let kinds = match kinds.len() {
            0 => "no Kubernetes object".to_owned(),
            _ => kinds.into_iter().collect::<Vec<_>>().join(", "),
        };
        return Err(ImageListError::NoImages { name: name.to_owned(), kinds });
    }
    Ok(list)
}

fn flatten<'v>(document: &'v Value, objects: &mut Vec<&'v Value>) {
    let is_list = document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match document.get("items").and_then(Value::as_array).filter(|_| is_list) {
        Some(items) => items.iter().for_each(|item| flatten(item, objects)),
        None if document.is_null() => {}
        None => objects.push(document),
    }
}

fn custom_kinds(written: &[String]) -> Result<CustomKinds, ImageListError> {
    let entries = written.iter().map(|text| {
        let (kind, pointer) = text.split_once('=').map_or((text.as_str(), None), |(kind, at)| (kind, Some(at)));
        let (group, kind) = kind.rsplit_once('/').unwrap_or(("", kind));
        match pointer {
            Some(pointer) => json!({ "group": group, "kind": kind, "podSpec": pointer }),
            None => json!({ "group": group, "kind": kind }),
        }
    });
    CustomKinds::from_value(&Value::Array(entries.collect())).map_err(|mistakes| {
        let mistakes: Vec<_> = mistakes.into_iter().map(|mistake| mistake.message).collect();
        ImageListError::CustomResource(format!("{}: {}", written.join(" "), mistakes.join("; ")))
    })
}

#[cfg(test)]
mod tests {
    use super::{ImageListError, custom_kinds, image_list, manifest_images};
    use crate::arguments::ImageArguments;

    const MANIFEST: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers: [{name: i, image: busybox:1}]
      containers: [{name: c, image: nginx:1.27}]
---
# nothing
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  spec: {containers: [{name: c, image: quay.io/a/b:2}]}
";

    #[test]
    fn reads_every_document_and_lists() {
        let images = manifest_images("m.yaml", MANIFEST, &Default::default()).unwrap();
        assert_eq!(images, ["busybox:1", "nginx:1.27", "quay.io/a/b:2"]);
    }

    #[test]
    fn names_each_image_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.yaml");
        std::fs::write(&file, MANIFEST).unwrap();
        let images = ["nginx:1.27".to_owned(), file.display().to_string(), "redis".to_owned()].to_vec();

        let list = image_list(&ImageArguments { images, custom_resource: Vec::new() }).unwrap();

        assert_eq!(list, ["nginx:1.27", "busybox:1", "quay.io/a/b:2", "redis"]);
    }

    #[test]
    fn says_what_a_manifest_without_images_holds() {
        let text =
            "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {template: {spec: {containers: [{image: a:1}]}}}\n";
        let error = manifest_images("m.yaml", text, &Default::default()).unwrap_err();
        assert!(error.to_string().contains("m.yaml names no image; it holds Rollout"), "{error}");

        let custom = custom_kinds(&["argoproj.io/Rollout=/spec/template/spec".to_owned()]).unwrap();
        assert_eq!(manifest_images("m.yaml", text, &custom).unwrap(), ["a:1"]);
    }

    #[test]
    fn shows_where_yaml_breaks_off() {
        let error = manifest_images("m.yaml", "kind: Pod\nspec: {containers: [\n", &Default::default()).unwrap_err();
        assert!(matches!(&error, ImageListError::NotYaml { message, .. } if message.contains("containers")), "{error}");
    }

    #[test]
    fn a_file_that_is_absent_is_no_image() {
        let images = vec!["nowhere/deployment.yaml".to_owned()];
        let error = image_list(&ImageArguments { images, custom_resource: Vec::new() }).unwrap_err();
        assert_eq!(error.to_string(), "can't read nowhere/deployment.yaml");
    }

    #[test]
    fn a_custom_resource_without_kind_is_refused() {
        assert!(custom_kinds(&["argoproj.io/".to_owned()]).is_err());
    }
}
