//! `projects` of a Harbor.

use std::collections::BTreeMap;
use std::time::Duration;

use harbor_warmer_protocol::ProjectName;
use harbor_warmer_settings::{Absent, Choice, Flag, Group, Named, Setting, Span, Text, format};

use super::section::{Entry, Reading, Section};
use crate::config::{KeepWarm, Project};
use harbor_warmer_core::project::{HarborKind, Transfer};

pub(super) static PROJECTS: Setting<Named> = Setting {
    key: "projects",
    absent: Absent::Required("name at least one proxy-cache project; only these are ever warmed"),
    meaning: "The proxy-cache projects that may be warmed. No other project is ever asked for.",
    example: "{hub: {}}",
    kind: Named { what: "project", names: &format::PROJECT_NAME, group: &PROJECT_SETTINGS, least: 1, bare: true },
};

static PROJECT_SETTINGS: Group = Group {
    name: "project",
    heading: "`projects.<name>`",
    settings: &[&TRANSFER, &COMPLETE_INDEX, &RESOLVE_THROUGH, &WARM_UNTAGGED, &KEEP_WARM, &KEEP_WARM_EVERY],
    together: "",
};

static TRANSFER: Setting<Choice<Transfer>> = Setting {
    key: "transfer",
    absent: Absent::Default,
    meaning: "`touch` reads until the transfer has begun, then closes: Harbor copies by itself. `drain` reads everything \
              and checks the digest, for caches that stop when their client does.",
    example: "drain",
    kind: Choice {
        options: &[("touch", Transfer::Touch), ("drain", Transfer::Drain)],
        advice: "write touch (Harbor copies by itself), or drain for a cache that stops when its client does",
    },
};

static COMPLETE_INDEX: Setting<Flag> = Setting {
    key: "completeIndex",
    absent: Absent::Depends("`true` where a target replicates from this Harbor, else `false`"),
    meaning: "Whether the rest of an index is warmed after the wanted platforms. Harbor records the tag of an index soon \
              only when all of it is there, and a replication by tag copies all of it.",
    example: "true",
    kind: Flag { default: false },
};

static RESOLVE_THROUGH: Setting<Text> = Setting {
    key: "resolveThrough",
    absent: Absent::Default,
    meaning: "A second proxy project of the same registry endpoint, also under `projects`, through which indexes are \
              read. Tags are recorded sooner, and those of images slower than 400 s at all. `check` recommends it \
              where it is missing.",
    example: "hub-index",
    kind: Text { format: &format::PROJECT_NAME, default: None },
};

static WARM_UNTAGGED: Setting<Flag> = Setting {
    key: "warmUntagged",
    absent: Absent::Default,
    meaning: "Whether an index that a workload names by its digest alone is warmed. Reading it by digest keeps Harbor \
              from recording its tags for 7 days: those that are asked for later are blocked. With `false` such images \
              are left to their first pull, and `status` says so. `resolveThrough` warms them without harm, so it goes \
              without this.",
    example: "false",
    kind: Flag { default: true },
};

static KEEP_WARM: Setting<Flag> = Setting {
    key: "keepWarm",
    absent: Absent::Depends("`true`, for `distribution` `false`"),
    meaning: "Whether images that are still asked for, or pinned, are pulled again before Harbor's retention drops them.",
    example: "false",
    kind: Flag { default: true },
};

static KEEP_WARM_EVERY: Setting<Span> = Setting {
    key: "keepWarmEvery",
    absent: Absent::Depends(
        "half of the time of the project's retention rules where the robot may read them, else `84h`",
    ),
    meaning: "How long after its last pull an image is pulled again. Reading the rules needs `tag-retention: read`; Harbor \
              gives a new proxy project a rule of 7 days.",
    example: "36h",
    kind: Span { default: KeepWarm::USUALLY, bounds: HOUR..=Duration::from_secs(365 * 86_400) },
};

const HOUR: Duration = Duration::from_secs(3_600);

/// `complete_index` is what holds where a project doesn't say.
pub(super) fn read_projects(
    harbor: &mut Section<'_>,
    kind: Option<HarborKind>,
    complete_index: bool,
    reading: &mut Reading<'_>,
) -> BTreeMap<ProjectName, Project> {
    let entries = harbor.named::<ProjectName>(&PROJECTS, reading);
    let names: Vec<_> = entries.iter().map(|project| project.name.clone()).collect();
    let path = harbor.path(&PROJECTS);
    let projects: BTreeMap<_, _> = entries
        .into_iter()
        .filter_map(|Entry { name, path, value }| {
            let mut section = Section::of(value, path, &PROJECT_SETTINGS, reading)?;
            let project = read_project(&mut section, &name, &names, kind, complete_index, reading);
            section.finish(reading);
            Some((name, project?))
        })
        .collect();
    for (name, project) in &projects {
        let through = project.resolve_through.as_ref().filter(|through| *through != name);
        if let Some(through) = through
            && projects.get(through).is_some_and(|through| through.resolve_through.is_some())
        {
            let message = format!("`{through}` has a resolveThrough itself; indexes are read through one project only");
            reading.mistake(format!("{path}.{name}.{}", RESOLVE_THROUGH.key), message);
        }
    }
    projects
}

fn read_project(
    section: &mut Section<'_>,
    name: &ProjectName,
    names: &[ProjectName],
    kind: Option<HarborKind>,
    complete_index: bool,
    reading: &mut Reading<'_>,
) -> Option<Project> {
    let transfer = section.choice(&TRANSFER, reading);
    let complete_index = section.written_flag(&COMPLETE_INDEX, reading).unwrap_or(complete_index);
    let resolve_through: Option<ProjectName> = section.parsed(&RESOLVE_THROUGH, reading);
    if let Some(through) = &resolve_through {
        let message = if kind == Some(HarborKind::Distribution) {
            Some("is for Harbor alone; a distribution cache records no tags".to_owned())
        } else if through == name {
            Some("must be another project: one of the same endpoint, through which only indexes are read".to_owned())
        } else if !names.contains(through) {
            Some(format!("`{through}` is not under projects; add it there, so that `check` looks at it as well"))
        } else {
            None
        };
        if let Some(message) = message {
            section.mistake(&RESOLVE_THROUGH, message, reading);
        }
    }
    let warm_untagged = section.flag(&WARM_UNTAGGED, reading);
    if !warm_untagged {
        let message = if kind == Some(HarborKind::Distribution) {
            Some("is for Harbor alone; a distribution cache records no tags")
        } else if resolve_through.is_some() {
            Some("has no effect beside resolveThrough, with which such images block no tag; remove one of the two")
        } else {
            None
        };
        if let Some(message) = message {
            section.mistake(&WARM_UNTAGGED, message, reading);
        }
    }
    let is_written = section.get(&KEEP_WARM_EVERY).is_some();
    let every = section.duration(&KEEP_WARM_EVERY, reading);
    let keeps_warm = section.written_flag(&KEEP_WARM, reading).unwrap_or(kind != Some(HarborKind::Distribution));
    if keeps_warm && kind == Some(HarborKind::Distribution) {
        let message = "is for Harbor alone; a distribution cache has no retention by pulls";
        section.mistake(&KEEP_WARM, message, reading);
    }
    let keep_warm = match (keeps_warm, is_written) {
        (false, _) => KeepWarm::Never,
        (true, false) => KeepWarm::ByRule,
        (true, true) => KeepWarm::Every(every),
    };
    Some(Project { transfer: transfer?, complete_index, resolve_through, warm_untagged, keep_warm })
}
