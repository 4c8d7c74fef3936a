//! `targets`.

use std::collections::{BTreeMap, BTreeSet};

use harbor_warmer_protocol::{HarborName, TargetName};
use harbor_warmer_settings::{Absent, Count, Group, Named, Nested, Setting, Text, format};
use reqwest::Url;
use serde_json::Value;

use super::credentials::{LogIn, read_credentials};
use super::section::{Entry, Reading, Section};
use crate::config::{Replication, Target};
use harbor_warmer_core::project::HarborKind;
use harbor_warmer_harbor::OwnPolicy;

pub(super) static TARGETS: Setting<Named> = Setting {
    key: "targets",
    absent: Absent::Default,
    meaning: "Registries that workloads pull from, and that a Harbor replicates to.",
    example: "",
    kind: Named { what: "target", names: &format::TARGET_NAME, group: &TARGET_SETTINGS, least: 0, bare: false },
};

static TARGET_SETTINGS: Group = Group {
    name: "target",
    heading: "`targets.<name>`",
    settings: &[&HARBOR, &CREDENTIALS, &REPLICATION],
    together: "",
};

static HARBOR: Setting<Text> = Setting {
    key: "harbor",
    absent: Absent::Required("write the name of the Harbor that replicates to this target"),
    meaning: "The Harbor that replicates, by its name under `harbors`.",
    example: "main",
    kind: Text { format: &format::HARBOR_NAME, default: None },
};

static CREDENTIALS: Setting<LogIn> = Setting {
    key: "credentials",
    absent: Absent::Required("write `username` with `passwordFile` or `passwordEnv`, or `dockerConfigFile`"),
    meaning: "A system robot with list, read and create of `replication` and list, read and update of \
              `replication-policy`. The last one can redirect any policy of that Harbor, so give it to no other robot.",
    example: "{username: robot$replicator, passwordFile: secrets/replicator}",
    kind: LogIn { anonymous: false },
};

const ADVICE: &str = "write `own: NAME` for a policy that is the warmer's alone, or `existing: NAME` for one that is \
                      started as it is";

static REPLICATION: Setting<Nested> = Setting {
    key: "replication",
    absent: Absent::Required(ADVICE),
    meaning: "The replication policy in Harbor: `own` or `existing`, by the name that Harbor shows.",
    example: "{own: harbor-warmer-prod}",
    kind: Nested { group: &REPLICATION_SETTINGS },
};

static REPLICATION_SETTINGS: Group = Group {
    name: "replication",
    heading: "`replication`",
    settings: &[&OWN, &EXISTING, &ENDPOINT, &DEST_NAMESPACE, &DEST_NAMESPACE_REPLACE_COUNT],
    together: r#"{"oneOf": [
        {"required": ["own"]},
        {"required": ["existing"], "not": {"anyOf": [
            {"required": ["registry"]}, {"required": ["destNamespace"]}, {"required": ["destNamespaceReplaceCount"]}
        ]}}
    ]}"#,
};

static OWN: Setting<Text> = Setting {
    key: "own",
    absent: Absent::Depends("one of the two"),
    meaning: "A policy that is the warmer's alone: it sets its name and tag filters to exactly what is due before each \
              start. Created where there is none, if `registry` says where it copies to.",
    example: "harbor-warmer-prod",
    kind: Text { format: &format::WRITTEN, default: None },
};

static EXISTING: Setting<Text> = Setting {
    key: "existing",
    absent: Absent::Depends("one of the two"),
    meaning: "Somebody else's policy, started as it is: push-based, enabled, with a manual or scheduled trigger. It moves \
              whatever else its filters name, too. None of the keys below stands beside it.",
    example: "to-ecr",
    kind: Text { format: &format::WRITTEN, default: None },
};

static ENDPOINT: Setting<Text> = Setting {
    key: "registry",
    absent: Absent::Default,
    meaning: "Where a policy of the warmer's own copies to: the name of a registry endpoint in Harbor. Creating the \
              policy needs `registry: list` and `replication-policy: create` as well.",
    example: "ecr-prod",
    kind: Text { format: &format::TEXT, default: None },
};

static DEST_NAMESPACE: Setting<Text> = Setting {
    key: "destNamespace",
    absent: Absent::Depends("none: an image arrives as `<project>/<repository>`"),
    meaning: "The namespace at the target, for a policy that is created.",
    example: "hub",
    kind: Text { format: &format::TEXT, default: None },
};

static DEST_NAMESPACE_REPLACE_COUNT: Setting<Count> = Setting {
    key: "destNamespaceReplaceCount",
    absent: Absent::Depends("Harbor's: all parts but the last"),
    meaning: "How many leading parts of the path the namespace replaces.",
    example: "1",
    // -1 is Harbor's own word for its default; a repository has no more than a handful of parts.
    kind: Count { default: 0, bounds: 0..=16 },
};

/// The Harbors that targets replicate from, as far as their names are valid.
pub(super) fn replicated_harbors(top: &mut Section<'_>) -> BTreeSet<HarborName> {
    let targets = top.get(&TARGETS).and_then(Value::as_object);
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
    let targets = top.named::<TargetName>(&TARGETS, reading);
    targets
        .into_iter()
        .filter_map(|Entry { name, path, value }| {
            let mut section = Section::of(value, path, &TARGET_SETTINGS, reading)?;
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
    let harbor: Option<HarborName> = section.parsed(&HARBOR, reading);
    if let Some(name) = &harbor {
        if !harbors.iter().any(|known| known == name.as_str()) {
            section.mistake(&HARBOR, unknown_harbor(name.as_str(), harbors), reading);
        } else if known.get(name).is_some_and(|(_, kind)| *kind == HarborKind::Distribution) {
            let message = format!("`{name}` is of kind distribution, which has no replications");
            section.mistake(&HARBOR, message, reading);
        }
    }
    let url = harbor.as_ref().and_then(|name| known.get(name)).map(|(url, _)| url);
    let credentials = read_credentials(section, &CREDENTIALS, url, reading);
    let replication = read_replication(section, reading);
    Some(Target { harbor: harbor?, credentials: credentials?, replication: replication? })
}

fn read_replication(target: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Replication> {
    let mut section = target.nested(&REPLICATION, reading)?;
    let own = section.text(&OWN, reading);
    let existing = section.text(&EXISTING, reading);
    let registry = section.text(&ENDPOINT, reading).map(str::to_owned);
    let dest_namespace = section.text(&DEST_NAMESPACE, reading).map(str::to_owned);
    let written = section.get(&DEST_NAMESPACE_REPLACE_COUNT).is_some();
    let replace_count = written.then(|| section.count(&DEST_NAMESPACE_REPLACE_COUNT, reading));
    let replication = match (own, existing) {
        (Some(_), Some(_)) => {
            section.mistake(&EXISTING, "stands beside own; a target has one policy", reading);
            None
        }
        (Some(""), None) | (None, Some("")) => {
            target.mistake(&REPLICATION, "the policy's name must not be empty", reading);
            None
        }
        (Some(name), None) => Some(Replication::Own(OwnPolicy {
            name: name.to_owned(),
            registry,
            dest_namespace,
            dest_namespace_replace_count: replace_count.and_then(|count| i8::try_from(count).ok()),
        })),
        (None, Some(policy)) => {
            let written = [
                (section.path(&ENDPOINT), registry.is_some()),
                (section.path(&DEST_NAMESPACE), dest_namespace.is_some()),
                (section.path(&DEST_NAMESPACE_REPLACE_COUNT), replace_count.is_some()),
            ];
            for (path, _) in written.into_iter().filter(|(_, written)| *written) {
                reading.mistake(path, "is for a policy of the warmer's own; an existing one is started as it is");
            }
            Some(Replication::Existing { policy: policy.to_owned() })
        }
        (None, None) => {
            if section.get(&OWN).is_none() && section.get(&EXISTING).is_none() {
                target.mistake(&REPLICATION, format!("names no policy; {ADVICE}"), reading);
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
