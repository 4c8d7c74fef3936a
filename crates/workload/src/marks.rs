//! Labels and annotations by which authors say what is to be done with an object.

use serde_json::Value;

/// The annotation or label that opts out, on a workload or on its pod template. A workload's own don't reach its Pods,
/// so it is the template's that keep them out as well.
pub const SKIP_ANNOTATION: &str = "harbor-warmer.io/skip";

/// Whether the metadata says so, in whatever words: everything but a no is a yes, so that `True` and `yes` mean it, and
/// an empty label.
pub(crate) fn opts_out(metadata: &Value) -> bool {
    ["annotations", "labels"].into_iter().any(|list| {
        let mark = metadata.get(list).and_then(|list| list.get(SKIP_ANNOTATION));
        mark.is_some_and(|mark| !mark.is_null() && !is_no(mark))
    })
}

/// Whether a webhook is asked to inject something into the Pods. Istio, Linkerd, Kuma, Consul, Dapr's relatives and
/// OpenTelemetry all have the word in the name of their mark; Istio's revisions are the exception.
pub(crate) fn asks_for_injection(metadata: &Value) -> bool {
    ["annotations", "labels"].into_iter().any(|list| {
        let marks = metadata.get(list).and_then(Value::as_object);
        marks.into_iter().flatten().any(|(name, mark)| {
            (name.contains("inject") || name == "istio.io/rev") && !is_no(mark) && mark.as_str() != Some("")
        })
    })
}

fn is_no(mark: &Value) -> bool {
    match mark {
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => {
            let text = text.trim();
            ["false", "no", "off", "0", "n", "f", "disabled"].iter().any(|no| text.eq_ignore_ascii_case(no))
        }
        // Of no type that a label has.
        Value::Null | Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::true_(json!("true"), true)]
    #[case::capital(json!("True"), true)]
    #[case::shouted(json!("TRUE"), true)]
    #[case::yes(json!("yes"), true)]
    #[case::on(json!("on"), true)]
    #[case::one(json!("1"), true)]
    #[case::a_boolean(json!(true), true)]
    #[case::a_number(json!(1), true)]
    #[case::with_a_blank(json!(" true "), true)]
    #[case::empty(json!(""), true)]
    #[case::a_reason(json!("built on the node"), true)]
    #[case::false_(json!("false"), false)]
    #[case::capital_false(json!("False"), false)]
    #[case::no(json!("no"), false)]
    #[case::off(json!("off"), false)]
    #[case::zero(json!("0"), false)]
    #[case::a_boolean_false(json!(false), false)]
    #[case::a_number_zero(json!(0), false)]
    #[case::null(json!(null), false)]
    #[case::a_list(json!([true]), false)]
    #[case::a_map(json!({"a": 1}), false)]
    fn whoever_writes_the_mark_means_it_unless_it_says_no(#[case] mark: Value, #[case] meant: bool) {
        for list in ["annotations", "labels"] {
            assert_eq!(opts_out(&json!({list: {SKIP_ANNOTATION: mark.clone()}})), meant, "{list}");
        }
    }

    #[rstest]
    #[case::istio("sidecar.istio.io/inject", "true", true)]
    #[case::istio_gateway("inject.istio.io/templates", "gateway", true)]
    #[case::istio_revision("istio.io/rev", "1-27", true)]
    #[case::linkerd("linkerd.io/inject", "enabled", true)]
    #[case::kuma("kuma.io/sidecar-injection", "enabled", true)]
    #[case::consul("consul.hashicorp.com/connect-inject", "true", true)]
    #[case::open_service_mesh("openservicemesh.io/sidecar-injection", "enabled", true)]
    #[case::open_telemetry("sidecar.opentelemetry.io/inject", "default-collector", true)]
    #[case::istio_not("sidecar.istio.io/inject", "false", false)]
    #[case::linkerd_not("linkerd.io/inject", "disabled", false)]
    #[case::nothing_said("sidecar.istio.io/inject", "", false)]
    #[case::something_else("app.kubernetes.io/name", "web", false)]
    fn a_wish_for_injection_is_known_by_its_mark(#[case] name: &str, #[case] value: &str, #[case] asks: bool) {
        for list in ["annotations", "labels"] {
            assert_eq!(asks_for_injection(&json!({list: {name: value}})), asks, "{list}");
        }
    }
}
