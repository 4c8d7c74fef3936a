//! Which images a person means: references, and the objects of Kubernetes manifests.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use harbor_warmer::yaml::{NotText, SyntaxError, text_of};
use harbor_warmer_workload::{CustomKinds, Reference, images};
use serde_json::{Value, json};

use super::arguments::ImageArguments;
use super::manifest::each_object;
use super::unread::{Unread, note_unread};

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
    /// A directory, not a file.
    #[error("{name} is a directory; name the files in it, or hand over `kubectl kustomize {name}` on standard input")]
    Directory {
        /// The directory.
        name: String,
    },
    /// A manifest is in another encoding.
    #[error("{name} is no text")]
    NotText {
        /// The file, or standard input.
        name: String,
        /// Where, and what to do.
        #[source]
        source: NotText,
    },
    /// A manifest is neither YAML nor JSON.
    #[error("{name}: {error}")]
    Syntax {
        /// The file, or standard input.
        name: String,
        /// Where and why.
        error: SyntaxError,
    },
    /// Objects, but none that runs Pods.
    #[error("{name} names no image; it holds {kinds}{}", lines(.unread))]
    NoImages {
        /// The file, or standard input.
        name: String,
        /// The kinds that it holds.
        kinds: String,
        /// What looks like an image all the same.
        unread: Vec<String>,
    },
    /// With `--strict`: something was not read.
    #[error("some images would be left out{}", lines(.0))]
    Unread(Vec<String>),
    /// `--custom-resource` is wrong.
    #[error("--custom-resource {0}")]
    CustomResource(String),
}

fn lines(unread: &[String]) -> String {
    unread.iter().map(|text| format!("\n  {text}")).collect()
}

/// What the arguments name.
#[derive(Debug, Default)]
pub(super) struct ImageList {
    /// The images, each once, in order.
    pub(super) images: Vec<String>,
    /// What there is to note, for standard error.
    pub(super) notes: Vec<String>,
}

/// One thing that the arguments name.
#[derive(Debug)]
pub(super) enum Named<'a> {
    Image(&'a str),
    Object(&'a Value),
}

/// The images that the arguments name.
///
/// # Errors
/// [`ImageListError`].
pub(super) fn image_list(arguments: &ImageArguments) -> Result<ImageList, ImageListError> {
    let custom = custom_kinds(arguments)?;
    let mut list = Vec::new();
    let mut seen = BTreeSet::new();
    let notes = each_named(&arguments.images, &custom, arguments.strict, &mut |named| {
        let found: Vec<_> = match named {
            Named::Image(image) => vec![image.to_owned()],
            Named::Object(object) => images(object, &custom).into_iter().map(|image| image.written).collect(),
        };
        let count = found.len();
        list.extend(found.into_iter().filter(|image| seen.insert(image.clone())));
        count
    })?;
    Ok(ImageList { images: list, notes })
}

/// Hands on what the arguments name, one thing at a time; `each` says how many images it found in it. What is noted comes
/// back.
///
/// # Errors
/// [`ImageListError`].
pub(super) fn each_named(
    arguments: &[String],
    custom: &CustomKinds,
    strict: bool,
    each: &mut dyn FnMut(Named<'_>) -> usize,
) -> Result<Vec<String>, ImageListError> {
    let (mut notes, mut unread) = (Vec::new(), Vec::new());
    for argument in arguments {
        match source(argument) {
            Source::Image { file } => {
                each(Named::Image(argument));
                if file {
                    notes.push(format!(
                        "`{argument}` is taken for an image, but there is a file of that name too; write ./{argument} \
                         for the file"
                    ));
                }
            }
            Source::StandardInput | Source::File => {
                let (name, text) = manifest_text(argument)?;
                each_in_manifest(&name, &text, custom, each, &mut notes, &mut unread)?;
            }
        }
    }
    let unread: Vec<_> = unread.iter().map(Unread::text).collect();
    if strict && !unread.is_empty() {
        return Err(ImageListError::Unread(unread));
    }
    notes.extend(unread);
    Ok(notes)
}

/// What an argument means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    StandardInput,
    File,
    /// `file`: there is one of that name too.
    Image {
        file: bool,
    },
}

/// A file by its ending, or by where it starts: no image begins with a dot or a slash. Else what can't be an image is a
/// file if there is one, and what can is an image.
fn source(argument: &str) -> Source {
    let path = Path::new(argument);
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_manifest = ["yaml", "yml", "json"].iter().any(|known| known.eq_ignore_ascii_case(extension));
    match argument {
        "-" => Source::StandardInput,
        _ if is_manifest || argument.starts_with(['.', '/']) => Source::File,
        _ if argument.parse::<Reference>().is_err() && path.exists() => Source::File,
        _ => Source::Image { file: path.is_file() },
    }
}

/// A manifest's name and its text.
fn manifest_text(argument: &str) -> Result<(String, String), ImageListError> {
    let (name, read) = if argument == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes).map(|_| bytes);
        ("standard input".to_owned(), read)
    } else if Path::new(argument).is_dir() {
        return Err(ImageListError::Directory { name: argument.to_owned() });
    } else {
        (argument.to_owned(), std::fs::read(argument))
    };
    let bytes = read.map_err(|source| ImageListError::Unreadable { name: name.clone(), source })?;
    let text = text_of(bytes).map_err(|source| ImageListError::NotText { name: name.clone(), source })?;
    Ok((name, text))
}

fn each_in_manifest(
    name: &str,
    text: &str,
    custom: &CustomKinds,
    each: &mut dyn FnMut(Named<'_>) -> usize,
    notes: &mut Vec<String>,
    unread: &mut Vec<Unread>,
) -> Result<(), ImageListError> {
    let mut kinds = BTreeSet::new();
    let mut found = 0;
    let mut unread_here = Vec::new();
    each_object(
        text,
        &mut |object| {
            kinds.extend(object.get("kind").and_then(Value::as_str).map(str::to_owned));
            note_unread(&object, custom, &mut unread_here);
            found += each(Named::Object(&object));
        },
        &mut |note| notes.push(format!("{name}: {note}")),
    )
    .map_err(|error| ImageListError::Syntax { name: name.to_owned(), error })?;
    if found == 0 {
        let kinds = match kinds.len() {
            0 => "no Kubernetes object".to_owned(),
            _ => kinds.into_iter().collect::<Vec<_>>().join(", "),
        };
        let unread = unread_here.iter().map(Unread::text).collect();
        return Err(ImageListError::NoImages { name: name.to_owned(), kinds, unread });
    }
    unread.extend(unread_here);
    Ok(())
}

/// The kinds that `--custom-resource` and `--preset` name.
///
/// # Errors
/// [`ImageListError::CustomResource`].
pub(super) fn custom_kinds(arguments: &ImageArguments) -> Result<CustomKinds, ImageListError> {
    let entries = arguments.custom_resource.iter().map(|text| {
        let (kind, pointer) = text.split_once('=').map_or((text.as_str(), None), |(kind, at)| (kind, Some(at)));
        let (group, kind) = kind.rsplit_once('/').unwrap_or(("", kind));
        match pointer {
            Some(pointer) if is_image(pointer) => json!({ "group": group, "kind": kind, "images": [pointer] }),
            Some(pointer) => json!({ "group": group, "kind": kind, "podSpec": pointer }),
            None => json!({ "group": group, "kind": kind }),
        }
    });
    let custom = CustomKinds::from_value(&Value::Array(entries.collect())).map_err(|mistakes| {
        let mistakes: Vec<_> = mistakes.into_iter().map(|mistake| mistake.message).collect();
        let written = arguments.custom_resource.join(" ");
        ImageListError::CustomResource(format!("{written}: {}", mistakes.join("; ")))
    })?;
    Ok(custom.with_presets(arguments.preset.clone()))
}

/// Whether a pointer is to an image and not to a pod spec.
fn is_image(pointer: &str) -> bool {
    let last = pointer.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    last.ends_with("image") || last == "imagename"
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tempfile::TempDir;

    use super::{ImageListError, custom_kinds, image_list};
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

    const ROLLOUT: &str =
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {template: {spec: {containers: [{image: a:1}]}}}\n";

    /// Writes a file, and reads it by its path.
    struct Files(TempDir);

    impl Files {
        fn with(name: &str, bytes: impl AsRef<[u8]>) -> (Self, String) {
            let files = Self(tempfile::tempdir().unwrap());
            let path = files.0.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            (files, path.display().to_string())
        }
    }

    fn arguments(images: &[&str]) -> ImageArguments {
        let images = images.iter().map(|image| (*image).to_owned()).collect();
        ImageArguments { images, custom_resource: Vec::new(), preset: Vec::new(), strict: false }
    }

    fn error(images: &[&str]) -> String {
        let error = anyhow::Error::new(image_list(&arguments(images)).unwrap_err());
        format!("{error:#}")
    }

    #[test]
    fn reads_every_document_and_lists_and_names_each_image_once() {
        let (_files, path) = Files::with("m.yaml", MANIFEST);

        let list = image_list(&arguments(&["nginx:1.27", &path, "redis"])).unwrap();

        assert_eq!(list.images, ["nginx:1.27", "busybox:1", "quay.io/a/b:2", "redis"]);
        assert_eq!(list.notes, Vec::<String>::new());
    }

    #[rstest]
    #[case::upper_case("deployment.YAML")]
    #[case::json("deployment.JSON")]
    #[case::blanks("my deployment")]
    #[case::capitals_that_no_image_has("Deployment")]
    #[case::two_endings("deployment.tmpl.yml")]
    fn a_file_is_known_by_its_name_or_by_what_no_image_is_called(#[case] name: &str) {
        let (_files, path) = Files::with(name, "kind: Pod\napiVersion: v1\nspec: {containers: [{image: a:1}]}\n");

        assert_eq!(image_list(&arguments(&[&path])).unwrap().images, ["a:1"]);
    }

    #[test]
    fn what_is_an_image_and_a_file_is_taken_for_an_image_and_noted() {
        // The tests run in the crate's directory, which has this file.
        let list = image_list(&arguments(&["src/lib.rs"])).unwrap();

        assert_eq!(list.images, ["src/lib.rs"]);
        assert_eq!(
            list.notes,
            [
                "`src/lib.rs` is taken for an image, but there is a file of that name too; write ./src/lib.rs for the file"
            ]
        );
    }

    #[test]
    fn what_is_not_read_is_noted_and_with_strict_an_error() {
        let (_files, path) = Files::with("m.yaml", format!("{MANIFEST}---\n{ROLLOUT}"));
        let told = "not read: Rollout without a name of argoproj.io names a:1; add --preset argo-rollouts";

        assert_eq!(image_list(&arguments(&[&path])).unwrap().notes, [told]);

        let strict = ImageArguments { strict: true, ..arguments(&[&path]) };
        assert_eq!(image_list(&strict).unwrap_err().to_string(), format!("some images would be left out\n  {told}"));
        let read = ImageArguments { custom_resource: vec!["argoproj.io/Rollout".to_owned()], ..strict };
        assert_eq!(image_list(&read).unwrap().images, ["busybox:1", "nginx:1.27", "quay.io/a/b:2", "a:1"]);
    }

    #[rstest]
    #[case::unread("m.yaml", ROLLOUT.as_bytes(), "names no image; it holds Rollout\n  not read: Rollout without a name of argoproj.io names a:1; add --preset argo-rollouts")]
    #[case::others("m.yaml", b"kind: Service\n---\nkind: ConfigMap\n", "names no image; it holds ConfigMap, Service")]
    #[case::empty("m.yaml", b"", "names no image; it holds no Kubernetes object")]
    #[case::syntax("m.yaml", b"kind: Pod\nspec: {containers: [\n", ": line ")]
    #[case::powershell("m.yaml", b"\xff\xfek\0", "is no text: it is UTF-16")]
    #[case::latin("m.yaml", b"a: 1\nb: \xe9\n", "is no text: line 2 holds the byte 0xE9")]
    fn a_file_that_gives_no_image_is_told_with_its_name(
        #[case] name: &str,
        #[case] bytes: &[u8],
        #[case] fragment: &str,
    ) {
        let (_files, path) = Files::with(name, bytes);
        let told = error(&[&path]);
        assert!(told.starts_with(&path) && told.contains(fragment), "{told}");
    }

    #[rstest]
    #[case::absent(
        "nowhere/deployment.yaml",
        "can't read nowhere/deployment.yaml: No such file or directory (os error 2)"
    )]
    #[case::directory(
        "./src",
        "./src is a directory; name the files in it, or hand over `kubectl kustomize ./src` on standard input"
    )]
    fn a_path_without_a_file_is_told(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(error(&[path]), expected);
    }

    #[rstest]
    #[case::without_kind("argoproj.io/")]
    #[case::version("argoproj.io/v1alpha1/Rollout")]
    #[case::no_pointer("argoproj.io/Rollout=spec")]
    fn a_custom_resource_that_is_none_is_refused(#[case] written: &str) {
        let written = ImageArguments { custom_resource: vec![written.to_owned()], ..arguments(&[]) };
        assert!(matches!(custom_kinds(&written), Err(ImageListError::CustomResource(_))));
    }

    #[test]
    fn a_pointer_to_an_image_and_a_preset_are_read() {
        let text = "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nspec: {imageName: 'a/b:1'}\n";
        let (_files, path) = Files::with("m.yaml", text);

        let named = ImageArguments {
            custom_resource: vec!["postgresql.cnpg.io/Cluster=/spec/imageName".to_owned()],
            ..arguments(&[&path])
        };
        assert_eq!(image_list(&named).unwrap().images, ["a/b:1"]);
        let preset = ImageArguments { preset: vec!["cloudnative-pg".parse().unwrap()], ..arguments(&[&path]) };
        assert_eq!(image_list(&preset).unwrap().images, ["a/b:1"]);
    }
}
