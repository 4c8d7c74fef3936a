//! An entry of `proxyCaches` as a mapping rule.

use serde_json::{Value, json};

use super::pattern::{Part, alternatives, groups, name_groups, parts};
use super::plugin::ProxyCache;

/// A rule, and what there is to say about it.
#[derive(Debug)]
pub(super) struct ConvertedRule {
    /// `https://host[:port]` of the Harbor.
    pub(super) origin: String,
    pub(super) pattern: String,
    pub(super) project: String,
    pub(super) repository: String,
    pub(super) tag: String,
    /// The projects that can come out, where the pattern has them written out.
    pub(super) projects: Option<Vec<String>>,
    /// `os/arch`.
    pub(super) platform: String,
    /// What works differently, a sentence each.
    pub(super) notes: Vec<String>,
}

impl ConvertedRule {
    /// The rule as the policy and the warmer read it.
    pub(super) fn value(&self, harbor: &str) -> Value {
        json!({
            "pattern": self.pattern,
            "harbor": harbor,
            "project": self.project,
            "repository": self.repository,
            "tag": self.tag,
        })
    }
}

/// The pieces of `https://HOST/v2/PROJECT/REPOSITORY/manifests/REFERENCE`.
struct Url<'u> {
    origin: String,
    project: &'u str,
    repository: &'u str,
    reference: &'u str,
}

fn take_apart(url: &str) -> Option<Url<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, rest) = rest.split_once("/v2/")?;
    let (path, reference) = rest.rsplit_once("/manifests/")?;
    let (project, repository) = path.split_once('/')?;
    let whole = [host, project, repository, reference].iter().all(|piece| !piece.is_empty());
    let web = matches!(scheme, "http" | "https");
    (whole && web).then(|| Url { origin: format!("{scheme}://{host}"), project, repository, reference })
}

/// Turns an entry into a rule.
///
/// # Errors
/// What has no counterpart, and what to do about it.
pub(super) fn convert(entry: &ProxyCache) -> Result<ConvertedRule, String> {
    let url = take_apart(&entry.replacement_oci).ok_or_else(|| {
        format!(
            "replacementOCI is `{}`, which is not https://HOST/v2/PROJECT/REPOSITORY/manifests/TAG",
            entry.replacement_oci
        )
    })?;
    if url.origin.contains('$') {
        return Err("the host in replacementOCI comes from the image; write a rule for each Harbor, since an image \
                    can't choose which host is asked"
            .to_owned());
    }
    let mut names = vec![None; groups(&entry.regex_url).len()];
    let mut notes = Vec::new();
    let mut template =
        |replacement: &str, preferred: &str| template(replacement, preferred, &entry.regex_url, &mut names, &mut notes);
    let project = template(url.project, "project");
    let repository = template(url.repository, "repository");
    let tag = template(url.reference, "tag");
    let pattern = name_groups(&entry.regex_url, &names);

    let (start, end) = (entry.regex_url.trim_start_matches('('), entry.regex_url.trim_end_matches(')'));
    if !start.starts_with('^') || !end.ends_with('$') {
        notes.push("Veradco kept what the pattern doesn't match around the URL; here only the groups count".to_owned());
    }
    if entry.replacement_arch.is_empty() {
        notes
            .push("Without replacementArch Veradco read the index alone; here the layers are always warmed".to_owned());
    } else if take_apart(&entry.replacement_arch)
        .is_none_or(|arch| (&arch.origin, arch.project, arch.repository) != (&url.origin, url.project, url.repository))
    {
        notes.push(
            "replacementArch names another place than replacementOCI; the place of replacementOCI counts".to_owned(),
        );
    }
    let platform = platform(entry, &mut notes);
    Ok(ConvertedRule {
        projects: projects(url.project, &entry.regex_url),
        origin: url.origin,
        pattern,
        project,
        repository,
        tag,
        platform,
        notes,
    })
}

/// A replacement as a template of ours, noting the names that its groups need.
fn template(
    replacement: &str,
    preferred: &str,
    pattern: &str,
    names: &mut [Option<String>],
    notes: &mut Vec<String>,
) -> String {
    let groups = groups(pattern);
    let parts = parts(replacement);
    let alone = parts.len() == 1;
    let mut template = String::new();
    for part in parts {
        let group = match part {
            Part::Text(text) => {
                template.push_str(&text);
                continue;
            }
            Part::Group(group) => group,
        };
        let named = groups.iter().find_map(|known| known.name.filter(|name| *name == group));
        let number = group.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        if let Some(name) = named {
            template.push_str(&format!("{{{name}}}"));
        } else if let Some(name) = number.and_then(|number| names.get_mut(number).map(|name| (number, name))) {
            let (number, name) = name;
            let own = groups.get(number).and_then(|known| known.name);
            let name = match own {
                Some(own) => own,
                None => name.get_or_insert_with(|| match alone {
                    true => preferred.to_owned(),
                    false => format!("group{}", number + 1),
                }),
            };
            template.push_str(&format!("{{{name}}}"));
        } else {
            notes.push(format!("${group} is no group of regexURL: Veradco put nothing in its place, and so does this"));
        }
    }
    template
}

fn projects(project: &str, pattern: &str) -> Option<Vec<String>> {
    match parts(project).as_slice() {
        [Part::Text(text)] => Some(vec![text.clone()]),
        [Part::Group(group)] => alternatives(pattern, group.parse().ok()?),
        _ => None,
    }
}

fn platform(entry: &ProxyCache, notes: &mut Vec<String>) -> String {
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let platform = format!("{}/{}", or(&entry.target_os, "linux"), or(&entry.target_arch, "amd64"));
    if platform != "linux/amd64" {
        // plug.go: retrieveTargetArchDigest compares with "amd64" and "linux", not with its arguments.
        notes.push(format!("Veradco warmed linux/amd64 whatever was configured; this warms {platform}"));
    }
    platform
}
