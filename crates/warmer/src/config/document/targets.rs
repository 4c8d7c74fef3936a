//! `targets`.

use std::collections::{BTreeMap, BTreeSet};

use harbor_warmer_protocol::{HarborName, TargetName};
use reqwest::Url;
use serde_json::Value;

use super::credentials::read_credentials;
use super::section::{Named, Reading, Section};
use crate::config::{Credentials, HarborKind, OwnPolicy, Replication, Target};

/// The Harbors that targets replicate from, as far as their names are valid.
pub(super) fn replicated_harbors(top: &mut Section<'_>) -> BTreeSet<HarborName> {
    let targets = top.get("targets").and_then(Value::as_object);
    let harbors = targets.into_iter().flat_map(|targets| targets.values()).filter_map(|target| target.get("harbor"));
    harbors.filter_map(Value::as_str).filter_map(|name| name.parse().ok()).collect()
}

/// `harbors` are the names as written, so that a mistake inside a Harbor makes none here; `urls` and kinds are known
/// of those without one.
pub(super) fn read_targets(
    top: &mut Section<'_>,
    harbors: &[String],
    known: &BTreeMap<HarborName, (Url, HarborKind)>,
    reading: &mut Reading<'_>,
) -> BTreeMap<TargetName, Target> {
    let named = top.named::<TargetName>("targets", "target", reading).unwrap_or_default();
    named
        .into_iter()
        .filter_map(|Named { name, path, value }| {
            let mut section = Section::of(value, path, reading)?;
            let target = read_target(&mut section, harbors, known, reading);
            section.finish(reading);
            Some((name, target?))
        })
        .collect()
}

fn read_target(
    section: &mut Section<'_>,
    harbors: &[String],
    known: &BTreeMap<HarborName, (Url, HarborKind)>,
    reading: &mut Reading<'_>,
) -> Option<Target> {
    let harbor: Option<HarborName> = section.parsed("harbor", reading);
    match &harbor {
        None => {
            if section.get("harbor").is_none() {
                section.missing("harbor", "write the name of the Harbor that replicates to this target", reading);
            }
        }
        Some(name) if !harbors.iter().any(|known| known == name.as_str()) => {
            reading.mistake(section.path("harbor"), unknown_harbor(name.as_str(), harbors));
        }
        Some(name) if known.get(name).is_some_and(|(_, kind)| *kind == HarborKind::Distribution) => {
            let message = format!("`{name}` is of kind distribution, which has no replications");
            reading.mistake(section.path("harbor"), message);
        }
        Some(_) => {}
    }
    let url = harbor.as_ref().and_then(|name| known.get(name)).map(|(url, _)| url);
    let credentials = match read_credentials(section, url, reading) {
        Some(Credentials::Anonymous) => {
            let message = "replications need a system robot or an administrator; write `username` and `passwordFile`";
            reading.mistake(section.path("credentials"), message);
            None
        }
        credentials => credentials,
    };
    let replication = read_replication(section, reading);
    Some(Target { harbor: harbor?, credentials: credentials?, replication: replication? })
}

fn read_replication(target: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Replication> {
    const ADVICE: &str = "write `own: NAME` for a policy that is the warmer's alone, or `existing: NAME` for one that is \
                          started as it is";
    if target.get("replication").is_none() {
        target.missing("replication", ADVICE, reading);
        return None;
    }
    let mut section = target.section("replication", reading)?;
    let own = section.text("own", reading);
    let existing = section.text("existing", reading);
    let registry = section.text("registry", reading).map(str::to_owned);
    let dest_namespace = section.text("destNamespace", reading).map(str::to_owned);
    let replace_count = section.get("destNamespaceReplaceCount").is_some().then(|| {
        // -1 is Harbor's own word for "all of it"; a repository has no more than a handful of parts.
        section.count("destNamespaceReplaceCount", 0, 0..=16, reading)
    });
    let replication = match (own, existing) {
        (Some(_), Some(_)) => {
            reading.mistake(section.path("existing"), "stands beside own; a target has one policy");
            None
        }
        (Some(""), None) | (None, Some("")) => {
            reading.mistake(target.path("replication"), "the policy's name must not be empty");
            None
        }
        (Some(name), None) => Some(Replication::Own(OwnPolicy {
            name: name.to_owned(),
            registry,
            dest_namespace,
            dest_namespace_replace_count: replace_count.and_then(|count| i8::try_from(count).ok()),
        })),
        (None, Some(policy)) => {
            for (key, written) in [
                ("registry", registry.is_some()),
                ("destNamespace", dest_namespace.is_some()),
                ("destNamespaceReplaceCount", replace_count.is_some()),
            ] {
                if written {
                    reading.mistake(
                        section.path(key),
                        "is for a policy of the warmer's own; an existing one is started as it is",
                    );
                }
            }
            Some(Replication::Existing { policy: policy.to_owned() })
        }
        (None, None) => {
            if section.get("own").is_none() && section.get("existing").is_none() {
                reading.mistake(target.path("replication"), format!("names no policy; {ADVICE}"));
            }
            None
        }
    };
    section.finish(reading);
    replication
}

/// What to say of a name that no Harbor has.
pub(super) fn unknown_harbor(name: &str, harbors: &[String]) -> String {
    if harbors.is_empty() {
        format!("`{name}` is no Harbor of this configuration; add it under harbors")
    } else {
        format!("`{name}` is no Harbor of this configuration; those under harbors are {}", harbors.join(", "))
    }
}
