//! `credentials` of a Harbor or of a replication target.

use harbor_warmer_settings::{Absent, File, Group, Kind, Setting, Text, format, group_schema};
use reqwest::Url;
use serde_json::{Value, json};

use super::files::{PASSWORD_ENV, PASSWORD_FILE, read_secret};
use super::section::{Reading, Section};
use harbor_warmer_harbor::Credentials;
use harbor_warmer_harbor::docker_config::credentials_for;

/// What to write; also said where they are missing.
pub(super) const ADVICE: &str = "write `username` with `passwordFile` or `passwordEnv`, or `dockerConfigFile`, or \
                                 `credentials: anonymous` for public projects";

/// The word that stands in the place of a map.
const ANONYMOUS: &str = "anonymous";

/// A way to log in: a map, or one word.
pub(super) struct LogIn {
    /// Whether the word will do.
    pub(super) anonymous: bool,
}

impl Kind for LogIn {
    fn words(&self) -> String {
        let map = "[map](#credentials)";
        if self.anonymous { format!("{map} or `{ANONYMOUS}`") } else { map.to_owned() }
    }

    fn schema(&self) -> Value {
        let map = group_schema(&CREDENTIALS);
        if self.anonymous { json!({ "anyOf": [{ "const": ANONYMOUS }, map] }) } else { map }
    }

    fn groups(&self) -> Vec<&'static Group> {
        vec![&CREDENTIALS]
    }
}

static CREDENTIALS: Group = Group {
    name: "credentials",
    heading: "`credentials`",
    settings: &[&USERNAME, &PASSWORD_FILE, &PASSWORD_ENV, &DOCKER_CONFIG_FILE],
    together: r#"{"oneOf": [
        {
            "required": ["username"],
            "oneOf": [{"required": ["passwordFile"]}, {"required": ["passwordEnv"]}],
            "not": {"required": ["dockerConfigFile"]}
        },
        {
            "required": ["dockerConfigFile"],
            "not": {"anyOf": [{"required": ["username"]}, {"required": ["passwordFile"]}, {"required": ["passwordEnv"]}]}
        }
    ]}"#,
};

static USERNAME: Setting<Text> = Setting {
    key: "username",
    absent: Absent::Depends("with a password: **required**"),
    meaning: "The robot's full name.",
    example: "robot$hub+warmer",
    kind: Text { format: &format::USER_NAME, default: None },
};

static DOCKER_CONFIG_FILE: Setting<File> = Setting {
    key: "dockerConfigFile",
    absent: Absent::Default,
    meaning: "A Secret of the type `kubernetes.io/dockerconfigjson`; the entry of the host is used. None of the other \
              keys stands beside it.",
    example: "secrets/.dockerconfigjson",
    kind: File,
};

/// Reads `credentials`. `url` is the Harbor's, where it is known: an entry of a Docker configuration belongs to a host.
pub(super) fn read_credentials(
    section: &mut Section<'_>,
    setting: &Setting<LogIn>,
    url: Option<&Url>,
    reading: &mut Reading<'_>,
) -> Option<Credentials> {
    let value = section.get(setting)?;
    match value.as_str() {
        Some(ANONYMOUS) if setting.kind.anonymous => return Some(Credentials::Anonymous),
        Some(ANONYMOUS) => {
            let message = "replications need a system robot or an administrator; write `username` and `passwordFile`";
            section.mistake(setting, message, reading);
            return None;
        }
        Some(_) => {
            // The text may be a secret that strayed here, so it isn't repeated.
            section.mistake(setting, ADVICE, reading);
            return None;
        }
        None => {}
    }
    let mut credentials = Section::of(value, section.path(setting), &CREDENTIALS, reading)?;
    let has_file = credentials.get(&DOCKER_CONFIG_FILE).is_some();
    let has_user = credentials.get(&USERNAME).is_some()
        || credentials.get(&PASSWORD_FILE).is_some()
        || credentials.get(&PASSWORD_ENV).is_some();
    let read = match (has_file, has_user) {
        (true, true) => {
            let message = "stands beside a user name or password; keep one way to log in";
            credentials.mistake(&DOCKER_CONFIG_FILE, message, reading);
            None
        }
        (true, false) => read_docker_config(&mut credentials, url, reading),
        (false, _) => read_basic(&mut credentials, reading),
    };
    credentials.finish(reading);
    read
}

fn read_docker_config(
    credentials: &mut Section<'_>,
    url: Option<&Url>,
    reading: &mut Reading<'_>,
) -> Option<Credentials> {
    let file = credentials.file(&DOCKER_CONFIG_FILE, reading)?;
    if let Some(Err(error)) = url.map(|url| credentials_for(&file.bytes, url)) {
        credentials.mistake(&DOCKER_CONFIG_FILE, format!("{} {error}", file.path.display()), reading);
        return None;
    }
    Some(Credentials::DockerConfig(file.path))
}

fn read_basic(credentials: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Credentials> {
    let username = credentials.text(&USERNAME, reading);
    let wrong = match username {
        None if credentials.get(&USERNAME).is_none() => {
            Some("is missing; write the robot's full name, such as robot$hub+warmer")
        }
        Some("") => Some("must not be empty"),
        // Basic credentials end the name at the first colon (RFC 7617, 2).
        Some(name) if name.contains(':') => Some("must not contain a colon"),
        _ => None,
    };
    if let Some(message) = wrong {
        credentials.mistake(&USERNAME, message, reading);
    }
    let password = read_secret(credentials, reading)?;
    let username = username.filter(|_| wrong.is_none())?.to_owned();
    Some(Credentials::Basic { username, password })
}
