//! `harbors`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use harbor_warmer_protocol::{HarborName, ProjectName};
use reqwest::Url;
use serde_json::Value;

use super::credentials::read_credentials;
use super::files::read_certificates;
use super::section::{EMPTY_MAP, Named, Reading, Section};
use crate::config::{Concurrency, Harbor, HarborKind, Project, Transfer};

const URL_ADVICE: &str = "write https://HOST or https://HOST:PORT";

/// The names of the Harbors as written, valid or not: a rule that refers to one with a mistake in it has none itself.
pub(super) fn written_names(top: &mut Section<'_>) -> Vec<String> {
    let harbors = top.get("harbors").and_then(Value::as_object);
    harbors.map(|harbors| harbors.keys().cloned().collect()).unwrap_or_default()
}

/// The projects of a Harbor as written.
pub(super) fn written_projects<'a>(harbors: &'a Value, harbor: &str) -> Option<Vec<&'a str>> {
    let projects = harbors.get(harbor)?.get("projects")?.as_object()?;
    Some(projects.keys().map(String::as_str).collect())
}

/// `replicated` are the Harbors that a target replicates from: their projects complete indexes by default.
pub(super) fn read_harbors(
    top: &mut Section<'_>,
    replicated: &BTreeSet<HarborName>,
    reading: &mut Reading<'_>,
) -> BTreeMap<HarborName, Harbor> {
    if top.get("harbors").is_none() {
        top.missing("harbors", "name at least one Harbor, such as `main`, with its url and projects", reading);
        return BTreeMap::new();
    }
    let Some(named) = top.named::<HarborName>("harbors", "Harbor", reading) else { return BTreeMap::new() };
    if named.is_empty() && top.get("harbors").and_then(Value::as_object).is_some_and(|map| map.is_empty()) {
        reading.mistake(top.path("harbors"), "is empty; name at least one Harbor");
    }
    named
        .into_iter()
        .filter_map(|Named { name, path, value }| {
            let complete_index = replicated.contains(&name);
            let harbor = read_harbor(value, path, complete_index, reading)?;
            Some((name, harbor))
        })
        .collect()
}

fn read_harbor(value: &Value, path: String, complete_index: bool, reading: &mut Reading<'_>) -> Option<Harbor> {
    let mut section = Section::of(value, path, reading)?;
    let kind = read_kind(&mut section, reading);
    let url = read_url(&mut section, reading);
    let credentials = read_credentials(&mut section, url.as_ref(), reading);
    let insecure_skip_verify = section.flag("insecureSkipVerify", reading);
    let ca_file = section.file("caFile", reading);
    let ca_file = ca_file.and_then(|file| read_certificates(&section, "caFile", file, reading)).map(|(path, _)| path);
    if insecure_skip_verify && ca_file.is_some() {
        let message = "has no effect beside insecureSkipVerify, which accepts any certificate; remove one of the two";
        reading.mistake(section.path("caFile"), message);
    }
    let projects = read_projects(&mut section, kind, complete_index, reading);
    let concurrency = read_concurrency(&mut section, reading);
    let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
    let stall_timeout = section.duration("stallTimeout", Duration::from_secs(60), seconds(1, 3_600), reading);
    let request_timeout = section.duration("requestTimeout", Duration::from_secs(30), seconds(1, 600), reading);
    let time_scale = read_time_scale(&mut section, reading);
    section.finish(reading);
    Some(Harbor {
        kind: kind?,
        url: url?,
        credentials: credentials?,
        ca_file,
        insecure_skip_verify,
        projects,
        concurrency,
        stall_timeout,
        request_timeout,
        time_scale,
    })
}

fn read_kind(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<HarborKind> {
    match section.text("kind", reading) {
        None if section.get("kind").is_none() => Some(HarborKind::Harbor),
        None => None,
        Some("harbor") => Some(HarborKind::Harbor),
        Some("distribution") => Some(HarborKind::Distribution),
        Some(text) => {
            let message = format!("`{text}`: write harbor, or distribution for a CNCF Distribution pull-through cache");
            reading.mistake(section.path("kind"), message);
            None
        }
    }
}

fn read_url(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Url> {
    let allow_http = section.flag("allowHttp", reading);
    let Some(text) = section.text("url", reading) else {
        if section.get("url").is_none() {
            section.missing("url", URL_ADVICE, reading);
        }
        return None;
    };
    match check_url(text, allow_http) {
        Ok(url) => Some(url),
        Err(message) => {
            reading.mistake(section.path("url"), message);
            None
        }
    }
}

/// A URL that is nothing but a place: what else it could hold would be ignored, or end in a log.
fn check_url(text: &str, allow_http: bool) -> Result<Url, String> {
    if !text.contains("://") {
        return Err(format!("`{text}` has no scheme; write https://{text}"));
    }
    let url: Url = text.parse().map_err(|error| format!("is not a URL ({error}); {URL_ADVICE}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "must not hold a user name or password, since URLs end in logs; write them under credentials".into()
        );
    }
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err(format!("`{text}`: {URL_ADVICE}"));
    }
    if url.path() != "/" {
        return Err(format!(
            "`{text}` has a path; {URL_ADVICE}, and name the projects under projects. (Harbor itself can't run below a path.)"
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("has a `?` or `#`; {URL_ADVICE}"));
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err("http:// sends the credentials in the clear; write https://, or allowHttp: true beside it".into());
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn read_concurrency(harbor: &mut Section<'_>, reading: &mut Reading<'_>) -> Concurrency {
    let default = Concurrency { initial: 8, max: 32 };
    let Some(mut section) = harbor.section_or_empty("concurrency", reading) else { return default };
    let max = section.count("max", default.max, 1..=1_024, reading);
    let initial = section.count("initial", default.initial.min(max), 1..=1_024, reading);
    if initial > max {
        reading.mistake(section.path("initial"), format!("must not be larger than max, which is {max}"));
    }
    section.finish(reading);
    Concurrency { initial, max }
}

/// Not in the documentation: a simulated Harbor runs through its minutes in seconds.
fn read_time_scale(section: &mut Section<'_>, reading: &mut Reading<'_>) -> f64 {
    let Some(value) = section.get_hidden("timeScale") else { return 1.0 };
    match value.as_f64() {
        Some(scale) if scale > 0.0 && scale <= 1.0 => scale,
        _ => {
            reading.mistake(section.path("timeScale"), "write a number above 0 and at most 1");
            1.0
        }
    }
}

fn read_projects(
    harbor: &mut Section<'_>,
    kind: Option<HarborKind>,
    complete_index: bool,
    reading: &mut Reading<'_>,
) -> BTreeMap<ProjectName, Project> {
    let written = harbor.get("projects");
    if written.is_none() {
        harbor.missing("projects", "name at least one proxy-cache project; only these are ever warmed", reading);
        return BTreeMap::new();
    }
    if written.and_then(Value::as_object).is_some_and(|map| map.is_empty()) {
        reading.mistake(harbor.path("projects"), "is empty; name at least one proxy-cache project");
    }
    let named = harbor.named::<ProjectName>("projects", "project", reading).unwrap_or_default();
    let names: Vec<_> = named.iter().map(|project| project.name.clone()).collect();
    let path = harbor.path("projects");
    let projects: BTreeMap<_, _> = named
        .into_iter()
        .filter_map(|Named { name, path, value }| {
            // `hub:` with nothing beneath it has every default.
            let value = if value.is_null() { &EMPTY_MAP } else { value };
            let mut section = Section::of(value, path, reading)?;
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
            reading.mistake(format!("{path}.{name}.resolveThrough"), message);
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
    let transfer = match section.text("transfer", reading) {
        None => Some(Transfer::Touch),
        Some("touch") => Some(Transfer::Touch),
        Some("drain") => Some(Transfer::Drain),
        Some(text) => {
            let message = format!(
                "`{text}`: write touch (Harbor copies by itself), or drain for a cache that stops when its client does"
            );
            reading.mistake(section.path("transfer"), message);
            None
        }
    };
    let complete_index = section.boolean("completeIndex", reading).unwrap_or(complete_index);
    let resolve_through: Option<ProjectName> = section.parsed("resolveThrough", reading);
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
            reading.mistake(section.path("resolveThrough"), message);
        }
    }
    let hour = Duration::from_secs(3_600);
    // Half of the seven days that Harbor's own rule for a new proxy project keeps what nobody pulls.
    let keep_warm_every = section.duration("keepWarmEvery", 84 * hour, hour..=365 * 24 * hour, reading);
    let keep_warm = section.boolean("keepWarm", reading).unwrap_or(kind != Some(HarborKind::Distribution));
    if keep_warm && kind == Some(HarborKind::Distribution) {
        reading
            .mistake(section.path("keepWarm"), "is for Harbor alone; a distribution cache has no retention by pulls");
    }
    let keep_warm_every = keep_warm.then_some(keep_warm_every);
    Some(Project { transfer: transfer?, complete_index, resolve_through, keep_warm_every })
}
