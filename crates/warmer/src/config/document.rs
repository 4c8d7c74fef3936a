//! Reads the YAML file and tells every mistake in it at once.
//!
//! A syntax error stands alone, since nothing after it can be trusted. Everything else is collected: keys, types,
//! values, and what the sections say of each other. Files that are named are read here once, so that `serve` finds
//! nothing wrong later.

mod credentials;
mod files;
mod harbors;
mod ports;
mod projects;
mod queue;
mod rules;
mod section;
mod targets;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use harbor_warmer_settings::{Absent, Group, Setting, Text, Texts, format};
use harbor_warmer_workload::{Mapping, Reference, RuleSet};

use super::{Config, Mistake};
use crate::yaml::{Document, SyntaxError};
use harbors::{HARBORS, read_harbors, written_names};
use ports::{ADMIN, FRONT, PROBES, REGISTRY, read_admin, read_front, read_probes, read_registry};
use queue::{QUEUE, read_queue};
use rules::{PLATFORMS, RULES, read_platforms, read_rules};
use section::{Reading, Section};
use targets::{TARGETS, read_targets, replicated_harbors};

/// What the file may say: the settings that the readers go by, for the reference and the JSON schema.
pub static CONFIGURATION: Group = Group {
    name: "configuration",
    heading: "Configuration of the warmer",
    settings: &[&DATA_DIR, &REGISTRY, &ADMIN, &PROBES, &FRONT, &QUEUE, &HARBORS, &TARGETS, &RULES, &PLATFORMS, &PINNED],
    // A place for anchors, as in other projects' files.
    together: r#"{"patternProperties": {"^x-": {}}}"#,
};

static DATA_DIR: Setting<Text> = Setting {
    key: "dataDir",
    absent: Absent::Default,
    meaning: "Where the queue lives. A local disk or a block volume that one process mounts, never NFS.",
    example: "data",
    kind: Text { format: &format::PATH, default: Some("/var/lib/harbor-warmer") },
};

static PINNED: Setting<Texts> = Setting {
    key: "pinned",
    absent: Absent::Default,
    meaning: "Images that are kept warm whether or not a workload asks for them, as a workload would write them. Each is \
              asked for twice a day through the rules, as the cluster `configuration`.",
    example: "[docker.io/library/nginx:1.27]",
    kind: Texts { format: &format::IMAGE, least: 0, default: &[] },
};

/// Reads a configuration. Relative paths in it start at `directory`, where the file stands.
///
/// # Errors
/// Every mistake, in the order of its lines.
pub fn parse(text: &str, directory: &Path) -> Result<Config, Vec<Mistake>> {
    let document = Document::parse(text).map_err(|error| vec![unreadable(&error)])?;
    let mut reading = Reading { directory, mistakes: Vec::new() };
    for key in &document.repeated {
        let message = format!("stands here again, after line {}; remove one of the two", key.first_line);
        reading.mistake(key.path.clone(), message);
    }
    let config = Section::of(&document.value, "", &CONFIGURATION, &mut reading).and_then(|top| read(top, &mut reading));
    match config {
        Some(config) if reading.mistakes.is_empty() => Ok(config),
        _ => {
            let mut mistakes: Vec<_> = reading.mistakes.into_iter().map(|mistake| locate(mistake, &document)).collect();
            mistakes.sort_by_key(|mistake| mistake.line);
            mistakes.dedup();
            Err(mistakes)
        }
    }
}

/// With its place and without its text: the lines around it may hold a secret that somebody wrote there by mistake.
fn unreadable(error: &SyntaxError) -> Mistake {
    Mistake { line: error.at.line, column: error.at.column, path: String::new(), message: error.message.clone() }
}

fn locate(mistake: harbor_warmer_workload::Mistake, document: &Document) -> Mistake {
    let position = document.position(&mistake.path);
    Mistake { line: position.line, column: position.column, path: mistake.path, message: mistake.message }
}

/// Every section is read before the first `?`, so that none hides the mistakes of another.
fn read(mut top: Section<'_>, reading: &mut Reading<'_>) -> Option<Config> {
    let data_dir = read_data_dir(&mut top, reading);
    let registry = read_registry(&mut top, reading);
    let admin = read_admin(&mut top, registry.as_ref(), reading);
    let probes = read_probes(&mut top, registry.as_ref(), admin.as_ref(), reading);
    let front = read_front(&mut top, reading);
    let queue = read_queue(&mut top, reading);
    let names = written_names(&mut top);
    let replicated = replicated_harbors(&mut top);
    let harbors = read_harbors(&mut top, &replicated, reading);
    let known = harbors
        .iter()
        .map(|(name, harbor)| (name.clone(), (harbor.options.url.clone(), harbor.options.kind)))
        .collect();
    let targets = read_targets(&mut top, &names, &known, reading);
    let rules = read_rules(&mut top, &names, &targets, reading);
    let platforms = read_platforms(&mut top, reading);
    let pinned = read_pinned(&mut top, rules.as_ref(), reading);
    top.finish(reading);
    Some(Config {
        data_dir: data_dir?,
        registry: registry?,
        admin: admin?,
        probes,
        front: front?,
        queue: queue?,
        harbors,
        targets,
        rules: rules?,
        platforms: platforms?,
        pinned,
    })
}

fn read_data_dir(top: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<PathBuf> {
    let text = top.text(&DATA_DIR, reading)?;
    if text.is_empty() {
        top.mistake(&DATA_DIR, "must not be empty; write the path of a directory", reading);
        return None;
    }
    let path = reading.directory.join(text);
    if path.exists() && !path.is_dir() {
        top.mistake(&DATA_DIR, format!("{} is not a directory", path.display()), reading);
        return None;
    }
    Some(path)
}

/// Images that are kept warm: each has to be one that a rule maps.
fn read_pinned(top: &mut Section<'_>, rules: Option<&RuleSet>, reading: &mut Reading<'_>) -> Vec<String> {
    let mut pinned = Vec::new();
    for (n, entry) in top.texts(&PINNED, reading).iter().enumerate() {
        let path = format!("pinned[{n}]");
        let Some(text) = entry.as_str() else {
            reading.mistake(path, "write an image as a workload would, such as docker.io/library/nginx:1.27");
            continue;
        };
        match (text.parse::<Reference>(), rules) {
            (Err(error), _) => reading.mistake(path, format!("`{text}`: {error}")),
            (Ok(reference), Some(rules)) => match rules.map(&reference) {
                Mapping::Mapped(_) => pinned.push(text.to_owned()),
                _ => reading.mistake(path, format!("`{text}`: no rule maps it to a Harbor")),
            },
            (Ok(_), None) => {}
        }
    }
    pinned
}
