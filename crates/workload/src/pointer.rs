//! JSON pointers (RFC 6901) to the places of custom resources, in which a part `*` stands for every element of a list
//! and every value of a map.
//!
//! Following one never fails: what isn't there is not found. Reading one is strict, and says what its author meant.

use serde_json::Value;

/// Lists of a pod spec. Who points at one means the pod spec that holds it.
const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// What a pointer leads to.
#[derive(Clone, Debug)]
pub(crate) struct Found<'a> {
    /// `spec.tasks[0].template.spec`.
    pub(crate) place: String,
    pub(crate) value: &'a Value,
    /// The values on the way to it, the whole object first.
    pub(crate) above: Vec<&'a Value>,
}

/// Follows a pointer.
pub(crate) fn find<'a>(object: &'a Value, pointer: &str) -> Vec<Found<'a>> {
    let parts = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
    let mut found = vec![Found { place: String::new(), value: object, above: Vec::new() }];
    for part in parts {
        found = found.into_iter().flat_map(|found| step(found, &part)).collect();
    }
    found
}

fn step<'a>(from: Found<'a>, part: &str) -> Vec<Found<'a>> {
    let to = |place: String, value: &'a Value| {
        let above = from.above.iter().copied().chain([from.value]).collect();
        Found { place, value, above }
    };
    let key = |key: &str| match from.place.as_str() {
        "" => key.to_owned(),
        place => format!("{place}.{key}"),
    };
    match from.value {
        Value::Object(object) if part == "*" => object.iter().map(|(name, child)| to(key(name), child)).collect(),
        Value::Object(object) => object.get(part).map(|child| to(key(part), child)).into_iter().collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .filter(|(index, _)| part == "*" || part.parse() == Ok(*index))
            .map(|(index, child)| to(format!("{}[{index}]", from.place), child))
            .collect(),
        _ => Vec::new(),
    }
}

/// Judges a pointer to a pod spec.
///
/// # Errors
/// What to write instead.
pub(crate) fn check_pod_spec(text: &str) -> Result<(), String> {
    check(text)?;
    let parts: Vec<_> = text.split('/').collect();
    if let Some(at) = parts.iter().position(|part| CONTAINER_LISTS.contains(part)) {
        let pod_spec = parts.get(..at).unwrap_or_default().join("/");
        return Err(format!("the pod spec is what holds the containers; write {}", or_example(pod_spec)));
    }
    match parts.last() {
        Some(&"image") => Err(format!("this leads to an image; write images: [{text}]")),
        _ => Ok(()),
    }
}

/// Judges a pointer to an image.
///
/// # Errors
/// What to write instead.
pub(crate) fn check_image(text: &str) -> Result<(), String> {
    check(text)?;
    let (above, last) = text.rsplit_once('/').unwrap_or_default();
    if CONTAINER_LISTS.contains(&last) {
        return Err(format!("this leads to a list; write podSpec: {}", or_example(above.to_owned())));
    }
    Ok(())
}

fn or_example(pointer: String) -> String {
    if pointer.is_empty() { "/spec/template/spec".to_owned() } else { pointer }
}

fn check(text: &str) -> Result<(), String> {
    // As kubectl's and jq's paths are written.
    let mut meant = text.trim().trim_start_matches('$').replace("[]", "/*").replace('[', "/").replace(']', "");
    if !meant.contains('/') || meant.starts_with('.') {
        meant = meant.replace('.', "/");
    }
    let parts: Vec<_> = meant.split('/').filter(|part| !part.is_empty()).collect();
    let meant = or_example(parts.iter().map(|part| format!("/{part}")).collect());
    if meant == text { Ok(()) } else { Err(format!("a JSON pointer is written like {meant}")) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::key("/a/b", &["a.b"])]
    #[case::index("/list/1", &["list[1]"])]
    #[case::every_element("/list/*/x", &["list[0].x", "list[1].x"])]
    #[case::every_value_of_a_map("/map/*/x", &["map.one.x", "map.two.x"])]
    #[case::escapes("/o~1d/t~0", &["o/d.t~"])]
    #[case::nothing_there("/a/c", &[])]
    #[case::beyond_a_text("/a/b/c", &[])]
    #[case::no_such_element("/list/7", &[])]
    fn a_pointer_leads_to_every_place_that_it_means(#[case] pointer: &str, #[case] expected: &[&str]) {
        let object = json!({
            "a": {"b": "text"}, "list": [{"x": 1}, {"x": 2}], "map": {"one": {"x": 1}, "two": {"x": 2}},
            "o/d": {"t~": 1},
        });
        let places: Vec<_> = find(&object, pointer).into_iter().map(|found| found.place).collect();
        assert_eq!(places, expected);
    }

    #[rstest]
    #[case::as_a_path("spec.template.spec", "a JSON pointer is written like /spec/template/spec")]
    #[case::as_kubectl_writes_it(".spec.template.spec", "a JSON pointer is written like /spec/template/spec")]
    #[case::as_jsonpath("$.spec.tasks[*].template.spec", "a JSON pointer is written like /spec/tasks/*/template/spec")]
    #[case::brackets("/spec/tasks[*]/template/spec", "a JSON pointer is written like /spec/tasks/*/template/spec")]
    #[case::an_index_in_brackets(
        "/spec/tasks[0]/template/spec",
        "a JSON pointer is written like /spec/tasks/0/template/spec"
    )]
    #[case::as_jq_writes_it(
        ".spec.tasks[].template.spec",
        "a JSON pointer is written like /spec/tasks/*/template/spec"
    )]
    #[case::without_the_first_slash("spec/template/spec", "a JSON pointer is written like /spec/template/spec")]
    #[case::slash_at_the_end("/spec/template/spec/", "a JSON pointer is written like /spec/template/spec")]
    #[case::two_slashes("/spec//template/spec", "a JSON pointer is written like /spec/template/spec")]
    #[case::blank_at_the_end("/spec/template/spec ", "a JSON pointer is written like /spec/template/spec")]
    #[case::nothing("", "a JSON pointer is written like /spec/template/spec")]
    #[case::the_root("/", "a JSON pointer is written like /spec/template/spec")]
    #[case::containers(
        "/spec/template/spec/containers",
        "the pod spec is what holds the containers; write /spec/template/spec"
    )]
    #[case::each_container("/spec/pod/initContainers/*", "the pod spec is what holds the containers; write /spec/pod")]
    #[case::an_image("/spec/image", "this leads to an image; write images: [/spec/image]")]
    fn a_pointer_to_no_pod_spec_is_told_what_to_write(#[case] text: &str, #[case] message: &str) {
        assert_eq!(check_pod_spec(text), Err(message.to_owned()));
    }

    #[rstest]
    #[case::containers("/spec/containers", "this leads to a list; write podSpec: /spec")]
    #[case::as_a_path("spec.imageName", "a JSON pointer is written like /spec/imageName")]
    fn a_pointer_to_no_image_is_told_what_to_write(#[case] text: &str, #[case] message: &str) {
        assert_eq!(check_image(text), Err(message.to_owned()));
    }

    #[rstest]
    #[case("/spec/template/spec")]
    #[case("/spec/sparkConf/spark.kubernetes.container.image")]
    #[case("/spec/a~1b/*/c")]
    fn what_is_a_pointer_is_accepted(#[case] text: &str) {
        assert_eq!((check_pod_spec(text), check_image(text)), (Ok(()), Ok(())));
    }
}
