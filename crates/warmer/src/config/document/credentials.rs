//! `credentials` of a Harbor or of a replication target.

use reqwest::Url;

use super::files::read_secret;
use super::section::{Reading, Section};
use crate::config::Credentials;
use crate::config::docker_config::credentials_for;

const ADVICE: &str = "write `username` with `passwordFile` or `passwordEnv`, or `dockerConfigFile`, or `anonymous` alone \
                      for public projects";

/// Reads `credentials`. `url` is the Harbor's, where it is known: an entry of a Docker configuration belongs to a host.
pub(super) fn read_credentials(
    section: &mut Section<'_>,
    url: Option<&Url>,
    reading: &mut Reading<'_>,
) -> Option<Credentials> {
    let key = "credentials";
    let Some(value) = section.get(key) else {
        section.missing(key, ADVICE, reading);
        return None;
    };
    match value.as_str() {
        Some("anonymous") => return Some(Credentials::Anonymous),
        Some(_) => {
            // The text may be a secret that strayed here, so it isn't repeated.
            reading.mistake(section.path(key), ADVICE);
            return None;
        }
        None => {}
    }
    let mut credentials = section.section(key, reading)?;
    let has_file = credentials.get("dockerConfigFile").is_some();
    let has_user = ["username", "passwordFile", "passwordEnv"].into_iter().any(|key| credentials.get(key).is_some());
    let read = match (has_file, has_user) {
        (true, true) => {
            let message = "stands beside a user name or password; keep one way to log in";
            reading.mistake(credentials.path("dockerConfigFile"), message);
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
    let key = "dockerConfigFile";
    let file = credentials.file(key, reading)?;
    if let Some(Err(error)) = url.map(|url| credentials_for(&file.bytes, url)) {
        reading.mistake(credentials.path(key), format!("{} {error}", file.path.display()));
        return None;
    }
    Some(Credentials::DockerConfig(file.path))
}

fn read_basic(credentials: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Credentials> {
    let username = credentials.text("username", reading);
    let valid = match username {
        None => {
            if credentials.get("username").is_none() {
                credentials.missing("username", "write the robot's full name, such as robot$hub+warmer", reading);
            }
            false
        }
        Some("") => {
            reading.mistake(credentials.path("username"), "must not be empty");
            false
        }
        // Basic credentials end the name at the first colon (RFC 7617, 2).
        Some(name) if name.contains(':') => {
            reading.mistake(credentials.path("username"), "must not contain a colon");
            false
        }
        Some(_) => true,
    };
    let password = read_secret(credentials, reading)?;
    let username = username.filter(|_| valid)?.to_owned();
    Some(Credentials::Basic { username, password })
}
