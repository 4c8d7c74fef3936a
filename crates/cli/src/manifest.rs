//! The objects of Kubernetes manifests in all the forms that people have them: YAML with several documents, JSON, NDJSON,
//! lists of either, and what `kubectl get --raw` and a watch print.
//!
//! A document is read, handed on and forgotten before the next one, so that the length of a stream costs nothing but its
//! text. Which of the objects run Pods is not known here.

use harbor_warmer::yaml::{Documents, Repeated, SyntaxError};
use serde_json::Value;

/// Hands every object of a text on, and what there is to note of each document.
///
/// # Errors
/// The first place where the text is neither YAML nor JSON. What stands before it has been handed on.
pub(super) fn each_object(
    text: &str,
    each: &mut dyn FnMut(Value),
    note: &mut dyn FnMut(String),
) -> Result<(), SyntaxError> {
    for document in Documents::of(text) {
        let (value, repeated) = document?;
        repeated.iter().for_each(|key| note(repeated_text(key)));
        flatten(value, each);
    }
    Ok(())
}

/// As Helm reads it; `kubectl` hands it on, and the API server may refuse it.
fn repeated_text(key: &Repeated) -> String {
    format!(
        "line {}: `{}` stands there a second time, after line {}; the last one counts, as for Helm",
        key.at.line, key.path, key.first_line
    )
}

fn flatten(document: Value, each: &mut dyn FnMut(Value)) {
    match document {
        Value::Array(documents) => documents.into_iter().for_each(|document| flatten(document, each)),
        Value::Object(mut object) => {
            let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (api_version, kind) = (text("apiVersion"), text("kind"));
            let inner = match kind.as_str() {
                // A watch's, with `type` beside it.
                "" if object.contains_key("type") => "object",
                // OpenShift's.
                "Template" => "objects",
                kind if kind.is_empty() || kind.ends_with("List") => "items",
                _ => return each(Value::Object(object)),
            };
            match object.remove(inner) {
                Some(Value::Array(items)) => {
                    let of_one = kind.strip_suffix("List").unwrap_or_default();
                    items.into_iter().for_each(|item| flatten(with_kind(item, &api_version, of_one), each));
                }
                Some(inner @ Value::Object(_)) => flatten(inner, each),
                Some(other) => {
                    object.insert(inner.to_owned(), other);
                    each(Value::Object(object));
                }
                None => each(Value::Object(object)),
            }
        }
        Value::Null => {}
        scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => each(scalar),
    }
}

/// The items of an API's list are all of one kind, so they don't say it.
fn with_kind(mut item: Value, api_version: &str, kind: &str) -> Value {
    if let Some(object) = item.as_object_mut()
        && !kind.is_empty()
        && !object.contains_key("kind")
    {
        object.insert("kind".to_owned(), kind.into());
        object.entry("apiVersion").or_insert_with(|| api_version.into());
    }
    item
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::Value;

    use super::each_object;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let (mut names, mut notes) = (Vec::new(), Vec::new());
        let name = |object: Value| {
            let text = |key: &str| object[key].as_str().unwrap_or("?").to_owned();
            names.push(format!("{} {} {}", text("apiVersion"), text("kind"), object["metadata"]["name"]));
        };
        each_object(text, &mut { name }, &mut |note| notes.push(note))
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        (names, notes)
    }

    const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#;

    #[rstest]
    #[case::yaml("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n".to_owned(), 1)]
    #[case::documents("---\n# Source: chart/pod.yaml\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n".to_owned(), 1)]
    #[case::list_of_yaml("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n".to_owned(), 1)]
    #[case::bare_list_of_yaml("- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n".to_owned(), 1)]
    #[case::json(POD.to_owned(), 1)]
    #[case::json_array(format!("[{POD},\n{POD}]"), 2)]
    #[case::json_lines(format!("{POD}\n{POD}\n{POD}\n"), 3)]
    #[case::json_list(format!(r#"{{"apiVersion":"v1","kind":"List","items":[{POD}]}}"#), 1)]
    #[case::list_of_lists(format!(r#"{{"kind":"List","items":[{{"kind":"List","items":[{POD}]}}]}}"#), 1)]
    #[case::raw_list(r#"{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"a"}}]}"#.to_owned(), 1)]
    #[case::list_without_kind(format!(r#"{{"items":[{POD}]}}"#), 1)]
    #[case::functions_list(format!(r#"{{"kind":"ResourceList","apiVersion":"config.kubernetes.io/v1","items":[{POD}]}}"#), 1)]
    #[case::watch(format!("{{\"type\":\"ADDED\",\"object\":{POD}}}\n{{\"type\":\"MODIFIED\",\"object\":{POD}}}\n"), 2)]
    #[case::template(format!(r#"{{"apiVersion":"template.openshift.io/v1","kind":"Template","objects":[{POD}]}}"#), 1)]
    #[case::json_between_markers(format!("{POD}\n---\n{POD}\n"), 2)]
    fn every_form_gives_its_objects(#[case] text: String, #[case] count: usize) {
        assert_eq!(read(&text).0, vec!["v1 Pod \"a\""; count]);
    }

    #[rstest]
    #[case::empty("")]
    #[case::comments("# nothing\n---\n# at all\n")]
    #[case::empty_list("apiVersion: v1\nkind: List\nitems: []\n")]
    #[case::nulls("null\n---\nnull\n")]
    fn nothing_gives_no_object(#[case] text: &str) {
        assert_eq!(read(text).0, Vec::<String>::new());
    }

    #[rstest]
    #[case::kind_that_ends_like_a_list(
        "kind: AllowList\napiVersion: a.io/v1\nmetadata: {name: x}\n",
        "a.io/v1 AllowList \"x\""
    )]
    #[case::type_of_its_own("type: x\nmetadata: {name: x}\n", "? ? \"x\"")]
    #[case::text("hello\n", "? ? null")]
    fn what_is_no_list_stays_as_it_is(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(read(text).0, [expected]);
    }

    #[test]
    fn a_label_twice_is_read_as_helm_does_and_noted() {
        let (objects, notes) = read("kind: Pod\nmetadata:\n  name: a\n  labels:\n    app: x\n    app: y\n");

        assert_eq!(objects, ["? Pod \"a\""]);
        assert_eq!(
            notes,
            [
                "line 6: `metadata.labels.app` stands there a second time, after line 5; the last one counts, as for Helm"
            ]
        );
    }

    #[test]
    fn a_line_is_that_of_the_whole_stream() {
        let error = each_object("a: 1\n---\nb: [\n", &mut |_| {}, &mut |_| {}).unwrap_err();
        assert!(error.at.line >= 3, "{error}");
    }
}
