//! `harbors`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use harbor_warmer_harbor::Options;
use harbor_warmer_protocol::HarborName;
use harbor_warmer_settings::{
    Absent, Choice, Count, File, Flag, Group, Named, Nested, Setting, Span, Text, Texts, format,
};
use reqwest::Url;
use serde_json::Value;

use super::credentials::{ADVICE, LogIn, read_credentials};
use super::files::read_certificates;
use super::projects::{PROJECTS, read_projects};
use super::section::{Entry, Reading, Section};
use crate::config::{Concurrency, Harbor};
use harbor_warmer_core::project::HarborKind;

pub(super) static HARBORS: Setting<Named> = Setting {
    key: "harbors",
    absent: Absent::Required("name at least one Harbor, such as `main`, with its url and projects"),
    meaning: "The Harbors. Nothing else is ever talked to.",
    example: "",
    kind: Named { what: "Harbor", names: &format::HARBOR_NAME, group: &HARBOR_SETTINGS, least: 1, bare: false },
};

static HARBOR_SETTINGS: Group = Group {
    name: "harbor",
    heading: "`harbors.<name>`",
    settings: &[
        &URL,
        &ALLOW_HTTP,
        &KIND,
        &CREDENTIALS,
        &TOKEN_REALM,
        &BLOB_HOSTS,
        &CA_FILE,
        &INSECURE_SKIP_VERIFY,
        &PROJECTS,
        &CONCURRENCY,
        &STALL_TIMEOUT,
        &REQUEST_TIMEOUT,
    ],
    together: r#"{"allOf": [
        {
            "if": {
                "properties": {"url": {"pattern": "^http://"}},
                "not": {"properties": {"url": {"pattern": "^http://(localhost|127(\\.[0-9]{1,3}){3}|\\[::1\\])(:|/|$)"}}}
            },
            "then": {"required": ["allowHttp"], "properties": {"allowHttp": {"const": true}}}
        },
        {"if": {"required": ["caFile"]}, "then": {"properties": {"insecureSkipVerify": {"const": false}}}}
    ]}"#,
};

const URL_ADVICE: &str = "write https://HOST or https://HOST:PORT";

static URL: Setting<Text> = Setting {
    key: "url",
    absent: Absent::Required(URL_ADVICE),
    meaning: "`https://host[:port]`, nothing else: no path, no user.",
    example: "https://harbor.example.com",
    kind: Text { format: &format::URL, default: None },
};

static ALLOW_HTTP: Setting<Flag> = Setting {
    key: "allowHttp",
    absent: Absent::Default,
    meaning: "Allows `http://` for a host that is not this machine. Credentials cross the network in the clear then.",
    example: "true",
    kind: Flag { default: false },
};

static KIND: Setting<Choice<HarborKind>> = Setting {
    key: "kind",
    absent: Absent::Default,
    meaning: "`distribution` is a CNCF Distribution registry as pull-through cache. It has no projects: those under \
              `projects` are names for the rules only and stand in no path. Nothing but manifests and blobs can be \
              verified there.",
    example: "distribution",
    kind: Choice {
        options: &[("harbor", HarborKind::Harbor), ("distribution", HarborKind::Distribution)],
        advice: "write harbor, or distribution for a CNCF Distribution pull-through cache",
    },
};

static CREDENTIALS: Setting<LogIn> = Setting {
    key: "credentials",
    absent: Absent::Required(ADVICE),
    meaning: "How the warmer proves who it is; `anonymous` for public projects.",
    example: "{username: robot$hub+warmer, passwordFile: secrets/password}",
    kind: LogIn { anonymous: true },
};

static TOKEN_REALM: Setting<Text> = Setting {
    key: "tokenRealm",
    absent: Absent::Default,
    meaning: "The token server of a Distribution registry, as its challenges name it, where it is at another address \
              than `url`. It is sent the credentials; one that a challenge alone names gets nothing.",
    example: "https://auth.example.com/token",
    kind: Text { format: &format::TOKEN_URL, default: None },
};

static BLOB_HOSTS: Setting<Texts> = Setting {
    key: "blobHosts",
    absent: Absent::Default,
    meaning: "The hosts that a blob may be read from where Harbor redirects to its storage, `*.example.com` for all \
              below a domain. Without it every host that is not this machine, link-local or a cloud's metadata. \
              Needed by `transfer: drain` alone, and never sent credentials.",
    example: "[bucket.s3.eu-central-1.amazonaws.com]",
    kind: Texts { format: &format::HOST_PATTERN, least: 0, default: &[] },
};

static CA_FILE: Setting<File> = Setting {
    key: "caFile",
    absent: Absent::Default,
    meaning: "Certificate authorities to trust besides the system's, in PEM form.",
    example: "secrets/ca.crt",
    kind: File,
};

static INSECURE_SKIP_VERIFY: Setting<Flag> = Setting {
    key: "insecureSkipVerify",
    absent: Absent::Default,
    meaning: "Accept any certificate. Not beside `caFile`.",
    example: "true",
    kind: Flag { default: false },
};

static CONCURRENCY: Setting<Nested> = Setting {
    key: "concurrency",
    absent: Absent::Depends("as its keys say"),
    meaning: "Requests for content at once. In between the two bounds it adapts to Harbor's errors.",
    example: "",
    kind: Nested { group: &CONCURRENCY_SETTINGS },
};

static CONCURRENCY_SETTINGS: Group =
    Group { name: "concurrency", heading: "`concurrency`", settings: &[&INITIAL, &MAX], together: "" };

static INITIAL: Setting<Count> = Setting {
    key: "initial",
    absent: Absent::Default,
    meaning: "To start with. Not more than `max`.",
    example: "4",
    kind: Count { default: 8, bounds: 1..=1_024 },
};

static MAX: Setting<Count> = Setting {
    key: "max",
    absent: Absent::Default,
    meaning: "At most.",
    example: "64",
    kind: Count { default: 32, bounds: 1..=1_024 },
};

static STALL_TIMEOUT: Setting<Span> = Setting {
    key: "stallTimeout",
    absent: Absent::Default,
    meaning: "A transfer that brings no byte for this long is given up. There is no limit to a whole transfer.",
    example: "2m",
    kind: Span { default: Duration::from_secs(60), bounds: Duration::from_secs(1)..=Duration::from_secs(3_600) },
};

static REQUEST_TIMEOUT: Setting<Span> = Setting {
    key: "requestTimeout",
    absent: Absent::Default,
    meaning: "Any other request is given up after this.",
    example: "10s",
    kind: Span { default: Duration::from_secs(30), bounds: Duration::from_secs(1)..=Duration::from_secs(600) },
};

/// The names of the Harbors as written, valid or not: a rule that refers to one with a mistake in it has none itself.
pub(super) fn written_names(top: &mut Section<'_>) -> Vec<String> {
    let harbors = top.get(&HARBORS).and_then(Value::as_object);
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
    let harbors = top.named::<HarborName>(&HARBORS, reading);
    harbors
        .into_iter()
        .filter_map(|Entry { name, path, value }| {
            let complete_index = replicated.contains(&name);
            let harbor = read_harbor(value, path, complete_index, reading)?;
            Some((name, harbor))
        })
        .collect()
}

fn read_harbor(value: &Value, path: String, complete_index: bool, reading: &mut Reading<'_>) -> Option<Harbor> {
    let mut section = Section::of(value, path, &HARBOR_SETTINGS, reading)?;
    let kind = section.choice(&KIND, reading);
    let url = read_url(&mut section, reading);
    let credentials = read_credentials(&mut section, &CREDENTIALS, url.as_ref(), reading);
    let token_realm = read_token_realm(&mut section, reading);
    let blob_hosts = read_blob_hosts(&mut section, reading);
    let insecure_skip_verify = section.flag(&INSECURE_SKIP_VERIFY, reading);
    let ca_file = section.file(&CA_FILE, reading);
    let ca_file = ca_file.and_then(|file| read_certificates(&section, &CA_FILE, file, reading)).map(|(path, _)| path);
    if insecure_skip_verify && ca_file.is_some() {
        let message = "has no effect beside insecureSkipVerify, which accepts any certificate; remove one of the two";
        section.mistake(&CA_FILE, message, reading);
    }
    let projects = read_projects(&mut section, kind, complete_index, reading);
    let concurrency = read_concurrency(&mut section, reading);
    let stall_timeout = section.duration(&STALL_TIMEOUT, reading);
    let request_timeout = section.duration(&REQUEST_TIMEOUT, reading);
    let time_scale = read_time_scale(&mut section, reading);
    section.finish(reading);
    let options = Options {
        kind: kind?,
        url: url?,
        credentials: credentials?,
        token_realm,
        blob_hosts,
        ca_file,
        insecure_skip_verify,
        stall_timeout,
        request_timeout,
    };
    Some(Harbor { options, projects, concurrency: concurrency?, time_scale })
}

fn read_url(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Url> {
    let allow_http = section.flag(&ALLOW_HTTP, reading);
    let text = section.text(&URL, reading)?;
    match check_url(text, allow_http) {
        Ok(url) => Some(url),
        Err(message) => {
            section.mistake(&URL, message, reading);
            None
        }
    }
}

/// It is sent the credentials, so it is held to what `url` is held to.
fn read_token_realm(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Url> {
    let text = section.text(&TOKEN_REALM, reading)?;
    let message = match text.parse::<Url>() {
        Ok(url) if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() => "is not a https:// URL",
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "must not hold a user name or password, since URLs end in logs"
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "has a `?` or `#`; write the address alone",
        Ok(url) if url.scheme() == "http" && !is_loopback(&url) => {
            "http:// sends the credentials in the clear; write https://"
        }
        Ok(url) => return Some(url),
        Err(_) => "is not a URL; write it as the registry's challenge names it, https://HOST/PATH",
    };
    section.mistake(&TOKEN_REALM, message, reading);
    None
}

fn read_blob_hosts(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Vec<String> {
    let written: Vec<String> = section.parsed_list(&BLOB_HOSTS, reading).unwrap_or_default();
    let is_host = |host: &&String| {
        let name = host.strip_prefix("*.").unwrap_or(host);
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        !name.is_empty() && name.chars().all(inner) && !name.starts_with(['.', '-']) && !name.ends_with(['.', '-'])
    };
    if let Some(wrong) = written.iter().find(|host| !is_host(host)) {
        let message = format!("`{wrong}` is not a host; write `host.example.com`, or `*.example.com` for all below it");
        section.mistake(&BLOB_HOSTS, message, reading);
    }
    written
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

fn read_concurrency(harbor: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Concurrency> {
    let mut section = harbor.nested_or_empty(&CONCURRENCY, reading)?;
    let max = section.count(&MAX, reading);
    let written = section.get(&INITIAL).is_some();
    let initial = section.count(&INITIAL, reading);
    if written && initial > max {
        section.mistake(&INITIAL, format!("must not be larger than max, which is {max}"), reading);
    }
    section.finish(reading);
    // A small max alone is enough to write.
    Some(Concurrency { initial: initial.min(max), max })
}

/// Not in the documentation: a simulated Harbor runs through its minutes in seconds.
fn read_time_scale(section: &mut Section<'_>, reading: &mut Reading<'_>) -> f64 {
    let Some((path, value)) = section.get_hidden("timeScale") else { return 1.0 };
    match value.as_f64() {
        Some(scale) if scale > 0.0 && scale <= 1.0 => scale,
        _ => {
            reading.mistake(path, "write a number above 0 and at most 1");
            1.0
        }
    }
}
