//! Which platforms a pod spec can be scheduled on.
//!
//! Only narrows, never widens, and only by what is certain: a field that can't be read is no constraint, since a
//! platform too many costs some bytes and a platform too few costs the first pull.

use harbor_warmer_protocol::{Platform, Platforms};
use serde_json::Value;

/// The labels that the kubelet sets on every node, with the old names that it still sets beside them.
const ARCHITECTURE: [&str; 2] = ["kubernetes.io/arch", "beta.kubernetes.io/arch"];
const OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

pub(crate) fn narrow(pod_spec: &Value, platforms: &Platforms) -> Option<Platforms> {
    let selector = pod_spec.get("nodeSelector").and_then(Value::as_object);
    let terms = pod_spec
        .pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")
        .and_then(Value::as_array);
    // What the API server itself holds a node to (PodOS), whatever the selector says.
    let os = pod_spec.pointer("/os/name").and_then(Value::as_str).filter(|os| !os.is_empty());
    let fits = |platform: &&Platform| {
        let os_fits = os.is_none_or(|os| platform.os() == os);
        let selected = selector.is_none_or(|selector| {
            selector.iter().all(|(label, value)| match (label_of(label, platform), value.as_str()) {
                (Some(has), Some(wants)) => has == wants,
                _ => true,
            })
        });
        // Terms are alternatives. An empty list matches no node, but the API server refuses it.
        let allowed = terms.is_none_or(|terms| terms.is_empty() || terms.iter().any(|term| matches(term, platform)));
        os_fits && selected && allowed
    };
    Platforms::new(platforms.iter().filter(fits).cloned()).ok()
}

/// What the platform's nodes have under this label; `None` for labels that tell nothing of a platform.
fn label_of<'p>(label: &str, platform: &'p Platform) -> Option<&'p str> {
    if ARCHITECTURE.contains(&label) {
        Some(platform.architecture())
    } else if OS.contains(&label) {
        Some(platform.os())
    } else {
        None
    }
}

/// Whether a node selector term allows the platform: all its expressions do. `matchFields` speaks of node names.
fn matches(term: &Value, platform: &Platform) -> bool {
    let expressions = term.get("matchExpressions").and_then(Value::as_array);
    expressions.into_iter().flatten().all(|expression| {
        let text = |key: &str| expression.get(key).and_then(Value::as_str);
        let Some(has) = text("key").and_then(|label| label_of(label, platform)) else { return true };
        let values = expression.get("values").and_then(Value::as_array);
        let listed = || values.map(|values| values.iter().any(|value| value.as_str() == Some(has)));
        match text("operator") {
            Some("In") => listed().unwrap_or(true),
            Some("NotIn") => !listed().unwrap_or(false),
            // Every node has the label.
            Some("DoesNotExist") => false,
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const ALL: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/s390x", "windows/amd64"];

    fn check(pod_spec: &Value, expected: &[&str]) {
        let platforms = Platforms::new(ALL.iter().map(|text| text.parse().unwrap())).unwrap();
        let narrowed = narrow(pod_spec, &platforms);
        let narrowed: Vec<_> = narrowed.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(narrowed, expected);
    }

    fn affinity(terms: Value) -> Value {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    }

    #[rstest]
    #[case::nothing_said(json!({}), &ALL)]
    #[case::architecture(json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}}), &["linux/arm64"])]
    #[case::os(json!({"nodeSelector": {"kubernetes.io/os": "windows"}}), &["windows/amd64"])]
    #[case::both(json!({"nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}), &["linux/amd64"])]
    #[case::old_label(json!({"nodeSelector": {"beta.kubernetes.io/arch": "s390x"}}), &["linux/s390x"])]
    #[case::other_label(json!({"nodeSelector": {"disk": "ssd"}}), &ALL)]
    #[case::never_widened(json!({"nodeSelector": {"kubernetes.io/arch": "riscv64"}}), &[])]
    #[case::os_of_the_pod(json!({"os": {"name": "windows"}}), &["windows/amd64"])]
    #[case::os_of_the_pod_and_architecture(json!({"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/arch": "arm64"}}), &["linux/arm64"])]
    #[case::os_of_the_pod_against_its_selector(json!({"os": {"name": "windows"}, "nodeSelector": {"kubernetes.io/os": "linux"}}), &[])]
    #[case::os_left_empty(json!({"os": {"name": ""}}), &ALL)]
    #[case::os_of_another_type(json!({"os": "windows"}), &ALL)]
    #[case::wrong_types(json!({"nodeSelector": {"kubernetes.io/arch": 5}, "affinity": []}), &ALL)]
    #[case::selector_is_a_list(json!({"nodeSelector": ["kubernetes.io/arch"]}), &ALL)]
    fn node_selectors_narrow(#[case] pod_spec: Value, #[case] expected: &[&str]) {
        check(&pod_spec, expected);
    }

    #[rstest]
    #[case::included(json!([{"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64", "s390x"]}]}]), &["linux/arm64", "linux/s390x"])]
    #[case::not_in(json!([{"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "NotIn", "values": ["amd64"]}]}]), &["linux/arm64", "linux/s390x"])]
    #[case::exists(json!([{"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "Exists"}]}]), &ALL)]
    #[case::does_not_exist(json!([{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "DoesNotExist"}]}]), &[])]
    #[case::expressions_all_apply(
        json!([{"matchExpressions": [
            {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
            {"key": "kubernetes.io/os", "operator": "NotIn", "values": ["windows"]}
        ]}]),
        &["linux/amd64"]
    )]
    #[case::terms_are_alternatives(
        json!([
            {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]},
            {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]}]}
        ]),
        &["linux/arm64", "windows/amd64"]
    )]
    #[case::fields_are_ignored(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]), &ALL)]
    #[case::other_label(json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]), &ALL)]
    #[case::unreadable(json!([{"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In"}, 5, null]}]), &ALL)]
    #[case::no_terms(json!([]), &ALL)]
    fn required_affinities_narrow(#[case] terms: Value, #[case] expected: &[&str]) {
        check(&affinity(terms), expected);
    }

    #[test]
    fn selector_and_affinity_both_apply() {
        let mut pod_spec = affinity(
            json!([{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}]),
        );
        pod_spec["nodeSelector"] = json!({"kubernetes.io/arch": "amd64"});
        check(&pod_spec, &["linux/amd64"]);
    }

    #[test]
    fn a_preference_narrows_nothing() {
        check(
            &json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]}}
            ]}}}),
            &ALL,
        );
    }
}
