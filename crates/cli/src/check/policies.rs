//! Other people's replication policies, as far as they reach the projects that are warmed. Pure.

use std::collections::BTreeSet;

use super::report::Finding;
use super::settings::index_projects;
use harbor_warmer::config::Harbor;
use harbor_warmer_harbor::Policy;

/// Alternatives of one pattern that are looked at; a pattern with more is taken to let everything through.
const ALTERNATIVES_MAX: usize = 64;

/// Policies that start by events, whose result has no tag, and those that copy more than is asked for. `own` are the
/// warmer's, whose filters it sets.
pub(super) fn judge_others(policies: &[Policy], own: &BTreeSet<&str>, harbor: &Harbor) -> Vec<Finding> {
    let through = index_projects(harbor);
    let projects: Vec<_> =
        harbor.projects.keys().filter(|project| !through.contains(project)).map(|project| project.as_str()).collect();
    policies
        .iter()
        .filter(|policy| !own.contains(policy.name()) && policy.is_enabled() && policy.registry_id().is_some())
        .filter_map(|policy| judge_other(policy, &projects))
        .collect()
}

fn judge_other(policy: &Policy, projects: &[&str]) -> Option<Finding> {
    let (name, names) = (policy.name(), policy.filter("name"));
    let reached: Vec<_> = projects.iter().filter(|project| reaches(names, project)).copied().collect();
    if reached.is_empty() {
        return None;
    }
    let reached = reached.join(", ");
    if policy.trigger() == "event_based" {
        return Some(Finding::doubtful(
            format!("the policy {name} copies from {reached} by events: what it brings has no tag"),
            "set its trigger mode to manual or scheduled, or its name filter to other projects",
        ));
    }
    if names.is_some_and(is_exact) && policy.filter("tag").is_some_and(is_exact) {
        return None;
    }
    Some(Finding::doubtful(
        format!("the policy {name} copies from {reached} whatever its filters let through"),
        "each run of it also moves other tags that have changed, asks the upstream about every tag, and reads new \
         indexes by tag, so that theirs are not recorded; name one repository and its tags in its filters, or leave \
         these projects to the warmer's own policy",
    ))
}

/// Whether a filter lets through what it spells out, and nothing else.
fn is_exact(filter: &str) -> bool {
    !filter.is_empty() && !filter.contains(['*', '?', '['])
}

/// Whether a name filter may let a repository of the project through. Harbor matches `project/repository` by the rules
/// of doublestar: a `*` matches no slash, `**` matches any number of parts, no filter matches everything.
fn reaches(filter: Option<&str>, project: &str) -> bool {
    let Some(filter) = filter.filter(|filter| !filter.is_empty()) else { return true };
    let mut alternatives = Vec::new();
    if !expand(filter, &mut alternatives) {
        return true;
    }
    alternatives.iter().any(|pattern| match pattern.split_once('/') {
        Some((first, _)) => first == "**" || matches(first.as_bytes(), project.as_bytes()),
        // A repository has a part besides its project.
        None => pattern == "**",
    })
}

/// All ways to read the `{a,b}` of a pattern; false where there are too many, or they are nested.
fn expand(pattern: &str, into: &mut Vec<String>) -> bool {
    let Some((before, rest)) = pattern.split_once('{') else {
        into.push(pattern.to_owned());
        return into.len() <= ALTERNATIVES_MAX;
    };
    let Some((inside, after)) = rest.split_once('}') else { return false };
    !inside.contains('{') && inside.split(',').all(|one| expand(&format!("{before}{one}{after}"), into))
}

/// Whether one part of a pattern matches a project. A class of characters is taken to match.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'[', _)), _) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, text) || text.split_first().is_some_and(|(_, text)| matches(pattern, text))
        }
        (Some((b'?', rest)), Some((_, text))) => matches(rest, text),
        (Some((one, rest)), Some((other, text))) => one == other && matches(rest, text),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The answers are those of `doublestar.Match`, which Harbor asks, for a repository `hub/library/app`.
    #[rstest]
    #[case::no_filter(None, true)]
    #[case::an_empty_one(Some(""), true)]
    #[case::everything(Some("**"), true)]
    #[case::the_project(Some("hub/**"), true)]
    #[case::its_repository(Some("hub/library/app"), true)]
    #[case::another_project(Some("other/**"), false)]
    #[case::the_start_of_its_name(Some("hu*/**"), true)]
    #[case::one_character(Some("h?b/**"), true)]
    #[case::one_character_too_many(Some("hub?/**"), false)]
    #[case::one_of_two(Some("{other,hub}/**"), true)]
    #[case::none_of_two(Some("{other,hubs}/**"), false)]
    #[case::alternatives_with_slashes(Some("{other/**,hub/library/*}"), true)]
    #[case::a_star_matches_no_slash(Some("*"), false)]
    #[case::a_class_may_match(Some("[a-z]ub/**"), true)]
    #[case::any_project(Some("**/library/app"), true)]
    fn a_filter_reaches_a_project_or_not(#[case] filter: Option<&str>, #[case] expected: bool) {
        assert_eq!(reaches(filter, "hub"), expected);
    }

    #[rstest]
    #[case::one("1.0", true)]
    #[case::a_list("{1.0,latest}", true)]
    #[case::any("**", false)]
    #[case::a_series("1.*", false)]
    #[case::none("", false)]
    fn a_filter_is_exact_or_wide(#[case] filter: &str, #[case] expected: bool) {
        assert_eq!(is_exact(filter), expected);
    }
}
