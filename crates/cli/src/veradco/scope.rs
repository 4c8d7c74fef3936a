//! For which requests Veradco called the plugin, in the words of a ClusterAdmissionPolicy.

use super::pattern::literal;
use super::plugin::Scope;

/// Lines under `policy:` in the values; comments where there is no counterpart.
pub(super) fn policy_lines(scope: &Scope) -> Vec<String> {
    let mut lines = Vec::new();
    if scope.dry_run {
        lines.push(
            "  # dryRun was true: Veradco warmed nothing. The policy is left out until this is removed.".to_owned(),
        );
        lines.push("  create: false".to_owned());
    }
    if let Some(operations) =
        scope.operations.as_deref().filter(|text| !matches!(*text, "CREATE|UPDATE" | "UPDATE|CREATE"))
    {
        lines.push(format!("  # operations was {operations:?}; the policy sees what is created or updated."));
    }
    if let Some(namespaces) = &scope.namespaces {
        lines.extend(namespace_lines(namespaces));
    }
    for (key, value) in [("labels", &scope.labels), ("annotations", &scope.annotations)] {
        if let Some(value) = value {
            lines.push(format!("  # {key} was {value}, regular expressions: no selector can say this."));
            lines.push(
                "  # Write what is meant as policy.objectSelector or as a CEL expression in policy.matchConditions."
                    .to_owned(),
            );
        }
    }
    lines
}

fn namespace_lines(pattern: &str) -> Vec<String> {
    // Veradco's own prefix for "does not match".
    let (operator, alternatives) = match pattern.strip_prefix("(!~)") {
        Some(rest) => ("NotIn", rest),
        None => ("In", pattern),
    };
    if operator == "In" && matches!(alternatives, "" | ".*" | "^.*$" | ".+") {
        return Vec::new();
    }
    let names: Option<Vec<_>> =
        alternatives.split('|').map(|name| literal(name.trim_start_matches('^').trim_end_matches('$'))).collect();
    let Some(names) = names else {
        return vec![
            format!("  # namespaces was {pattern:?}, a regular expression: no selector can say this."),
            "  # Write what is meant as policy.namespaceSelector, or as a CEL expression in policy.matchConditions."
                .to_owned(),
        ];
    };
    let list = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    vec![
        format!("  # namespaces was {pattern:?}. It matched anywhere in a name; these are whole names."),
        "  namespaceSelector:".to_owned(),
        "    matchExpressions:".to_owned(),
        format!("      - {{key: kubernetes.io/metadata.name, operator: {operator}, values: [{list}]}}"),
    ]
}
