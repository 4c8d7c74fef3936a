//! Reads the YAML file and tells every mistake in it at once.
//!
//! A syntax error stands alone, since nothing after it can be trusted. Everything else is collected: keys, types,
//! values, and what the sections say of each other. Files that are named are read here once, so that `serve` finds
//! nothing wrong later.

mod credentials;
mod files;
mod harbors;
mod ports;
mod queue;
mod rules;
mod section;
mod targets;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use harbor_warmer_workload::{Mapping, Reference, RuleSet};

use super::yaml::Document;
use super::{Config, Mistake};
use harbors::{read_harbors, written_names};
use ports::{read_admin, read_front, read_registry};
use queue::read_queue;
use rules::{read_platforms, read_rules};
use section::{Reading, Section};
use targets::{read_targets, replicated_harbors};

/// Where the queue lives without `dataDir`.
const DATA_DIR: &str = "/var/lib/harbor-warmer";

/// Reads a configuration. Relative paths in it start at `directory`, where the file stands.
///
/// # Errors
/// Every mistake, in the order of its lines.
pub fn parse(text: &str, directory: &Path) -> Result<Config, Vec<Mistake>> {
    let document = Document::parse(text).map_err(|mistake| vec![mistake])?;
    let mut reading = Reading { directory, mistakes: Vec::new() };
    let config = Section::of(&document.value, "", &mut reading).and_then(|top| read(top, &mut reading));
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

fn locate(mistake: harbor_warmer_workload::Mistake, document: &Document) -> Mistake {
    let position = document.position(&mistake.path);
    Mistake { line: position.line, column: position.column, path: mistake.path, message: mistake.message }
}

/// Every section is read before the first `?`, so that none hides the mistakes of another.
fn read(mut top: Section<'_>, reading: &mut Reading<'_>) -> Option<Config> {
    let data_dir = read_data_dir(&mut top, reading);
    let registry = read_registry(&mut top, reading);
    let admin = read_admin(&mut top, registry.as_ref(), reading);
    let front = read_front(&mut top, reading);
    let queue = read_queue(&mut top, reading);
    let names = written_names(&mut top);
    let replicated = replicated_harbors(&mut top);
    let harbors = read_harbors(&mut top, &replicated, reading);
    let known = harbors.iter().map(|(name, harbor)| (name.clone(), (harbor.url.clone(), harbor.kind))).collect();
    let targets = read_targets(&mut top, &names, &known, reading);
    let rules = read_rules(&mut top, &names, &targets, reading);
    let platforms = read_platforms(&mut top, reading);
    let pinned = read_pinned(&mut top, rules.as_ref(), reading);
    top.finish(reading);
    Some(Config {
        data_dir: data_dir?,
        registry: registry?,
        admin: admin?,
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
    let path = match top.text("dataDir", reading) {
        None if top.get("dataDir").is_some() => return None,
        None => PathBuf::from(DATA_DIR),
        Some("") => {
            reading.mistake(top.path("dataDir"), "must not be empty; write the path of a directory");
            return None;
        }
        Some(text) => reading.directory.join(text),
    };
    if path.exists() && !path.is_dir() {
        reading.mistake(top.path("dataDir"), format!("{} is not a directory", path.display()));
        return None;
    }
    Some(path)
}

/// Images that are kept warm: each has to be one that a rule maps.
fn read_pinned(top: &mut Section<'_>, rules: Option<&RuleSet>, reading: &mut Reading<'_>) -> Vec<String> {
    let Some(entries) = top.list("pinned", reading) else { return Vec::new() };
    let mut pinned = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
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
