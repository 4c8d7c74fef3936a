//! `rules` and `platforms`: what `warm` and `plan` on the command line go by.

use std::collections::BTreeMap;

use harbor_warmer_protocol::{HarborName, Platforms, TargetName};
use harbor_warmer_settings::policy::RULE;
use harbor_warmer_settings::{Absent, List, Setting, Texts, format};
use harbor_warmer_workload::{NodePlatform, RuleSet};
use serde_json::Value;

use super::harbors::{HARBORS, written_projects};
use super::section::{Reading, Section};
use super::targets::{TARGETS, unknown_harbor};
use crate::config::Target;

pub(super) static RULES: Setting<List> = Setting {
    key: "rules",
    absent: Absent::Default,
    meaning: "Which image is where in Harbor, for `pinned` and for `warm` and `plan` on the command line. The same list \
              as in the policy's settings; the names in it are those under `harbors` and `targets`.",
    example: "",
    kind: List { group: &RULE, least: 0 },
};

pub(super) static PLATFORMS: Setting<Texts> = Setting {
    key: "platforms",
    absent: Absent::Default,
    meaning: "The platforms that `warm` and `plan` on the command line ask for.",
    example: "[linux/amd64, linux/arm64]",
    kind: Texts { format: &format::PLATFORM, least: 1, default: &["linux/amd64"] },
};

/// Reads the rules, and holds the names in them against the rest of the configuration.
pub(super) fn read_rules(
    top: &mut Section<'_>,
    harbors: &[String],
    targets: &BTreeMap<TargetName, Target>,
    reading: &mut Reading<'_>,
) -> Option<RuleSet> {
    static NO_RULES: Value = Value::Array(Vec::new());
    let value = top.get(&RULES).unwrap_or(&NO_RULES);
    let written_harbors = top.get(&HARBORS).unwrap_or(&Value::Null);
    let written_targets = top.get(&TARGETS).unwrap_or(&Value::Null);
    for (index, rule) in value.as_array().into_iter().flatten().enumerate() {
        let path = |key: &str| format!("rules[{index}].{key}");
        let text = |key: &str| rule.get(key).and_then(Value::as_str);
        let harbor = text("harbor");
        // What can't be a name at all is told by the rules themselves.
        if let Some(harbor) = harbor
            && harbor.parse::<HarborName>().is_ok()
            && !harbors.iter().any(|known| known == harbor)
        {
            reading.mistake(path("harbor"), unknown_harbor(harbor, harbors));
        }
        // A template's outcome is only known with an image.
        let constant = text("project").filter(|project| !project.contains('{'));
        if let (Some(harbor), Some(project)) = (harbor, constant)
            && let Some(projects) = written_projects(written_harbors, harbor)
            && !projects.contains(&project)
        {
            let message =
                format!("`{project}` is not under harbors.{harbor}.projects; those there are {}", projects.join(", "));
            reading.mistake(path("project"), message);
        }
        if let Some(target) = text("target") {
            check_target(target, harbor, written_targets, targets, &path("target"), reading);
        }
    }
    match RuleSet::from_value(value) {
        Ok(rules) => Some(rules),
        Err(mistakes) => {
            reading.mistakes.extend(mistakes);
            None
        }
    }
}

fn check_target(
    target: &str,
    harbor: Option<&str>,
    written: &Value,
    targets: &BTreeMap<TargetName, Target>,
    path: &str,
    reading: &mut Reading<'_>,
) {
    if written.get(target).is_none() {
        let known: Vec<_> = written.as_object().into_iter().flat_map(|targets| targets.keys().cloned()).collect();
        let known =
            if known.is_empty() { "there are none".to_owned() } else { format!("those are {}", known.join(", ")) };
        reading.mistake(path, format!("`{target}` is no replication target under targets; {known}"));
        return;
    }
    let from = target.parse().ok().and_then(|name: TargetName| targets.get(&name)).map(|target| target.harbor.as_str());
    if let (Some(from), Some(harbor)) = (from, harbor)
        && from != harbor
    {
        reading.mistake(path, format!("`{target}` replicates from `{from}`, but this rule is for `{harbor}`"));
    }
}

pub(super) fn read_platforms(top: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Platforms> {
    let list: Vec<NodePlatform> = top.parsed_list(&PLATFORMS, reading)?;
    let written = top.get(&PLATFORMS).and_then(Value::as_array).map(Vec::len);
    match Platforms::new(list.into_iter().map(NodePlatform::into_platform)) {
        Ok(platforms) => Some(platforms),
        Err(error) => {
            // A list of nothing but mistakes has been told already.
            if written == Some(0) {
                top.mistake(&PLATFORMS, error.to_string(), reading);
            }
            None
        }
    }
}
