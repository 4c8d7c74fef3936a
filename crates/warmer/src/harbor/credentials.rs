//! How the warmer proves who it is. Secrets are read from their files again when these change, so that a rotated robot
//! needs no restart.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{ClientError, HarborError, Refusal};
use crate::config;

/// A secret file that is larger holds something else.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// The credentials for one Harbor.
pub(super) struct Credentials {
    source: Source,
}

enum Source {
    Anonymous,
    Basic { username: String, password: Secret },
    DockerConfig { file: SecretFile, host: String },
}

enum Secret {
    File(SecretFile),
    Fixed(SecretString),
}

/// Whether a file that looks unchanged may be taken from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// By its time and size.
    IfChanged,
    /// Not: what it said last was refused.
    Anew,
}

impl Credentials {
    /// `host` is the Harbor's `host[:port]`, as a Docker configuration names it.
    pub(super) fn new(config: &config::Credentials, host: &str) -> Result<Self, ClientError> {
        let source = match config {
            config::Credentials::Anonymous => Source::Anonymous,
            config::Credentials::Basic { username, password } => {
                let password = match password {
                    config::Secret::File(path) => Secret::File(SecretFile::new(path)),
                    config::Secret::Environment(name) => match std::env::var(name) {
                        Ok(secret) => Secret::Fixed(secret.into()),
                        Err(_) => return Err(ClientError::EnvironmentUnset(name.clone())),
                    },
                };
                Source::Basic { username: username.clone(), password }
            }
            config::Credentials::DockerConfig(path) => {
                Source::DockerConfig { file: SecretFile::new(path), host: host.to_owned() }
            }
        };
        Ok(Self { source })
    }

    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self.source, Source::Anonymous)
    }

    /// The `Authorization` header; none where there is nothing to prove.
    pub(super) fn basic(&self, reading: Reading) -> Result<Option<HeaderValue>, HarborError> {
        let header = match &self.source {
            Source::Anonymous => return Ok(None),
            Source::Basic { username, password: Secret::Fixed(password) } => encode(username, password.expose_secret()),
            Source::Basic { username, password: Secret::File(file) } => {
                let password = file.read(reading).map_err(unreadable)?;
                encode(username, password.expose_secret().trim_end_matches(['\r', '\n']))
            }
            Source::DockerConfig { file, host } => {
                let text = file.read(reading).map_err(unreadable)?;
                let authorization = docker_authorization(text.expose_secret(), host)
                    .map_err(|why| unreadable(format!("{}: {why}", file.path.display())))?;
                basic_header(authorization.expose_secret())
            }
        };
        header.map(Some).ok_or_else(|| unreadable("not a text that a header can carry".to_owned()))
    }
}

fn unreadable(why: String) -> HarborError {
    HarborError::Unauthorized(Refusal::Unreadable(why))
}

fn encode(username: &str, password: &str) -> Option<HeaderValue> {
    basic_header(&BASE64.encode(format!("{username}:{password}")))
}

fn basic_header(encoded: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The `user:password` of a host, encoded, out of a `.dockerconfigjson`. Errors never repeat what stands in the file.
fn docker_authorization(text: &str, host: &str) -> Result<SecretString, String> {
    let config: Value = serde_json::from_str(text).map_err(|_| "is not JSON".to_owned())?;
    let auths = config.get("auths").and_then(Value::as_object).ok_or("has no `auths`")?;
    let entry = auths
        .iter()
        .find_map(|(key, entry)| (host_of(key) == host).then_some(entry))
        .ok_or_else(|| format!("`auths` has no entry for {host}"))?;
    let field = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(auth) = field("auth") {
        let decoded = BASE64.decode(auth.trim()).map_err(|_| format!("the `auth` of {host} is not base64"))?;
        if !decoded.contains(&b':') {
            return Err(format!("the `auth` of {host} is not `user:password` in base64"));
        }
        return Ok(BASE64.encode(decoded).into());
    }
    match (field("username"), field("password")) {
        (Some(username), Some(password)) => Ok(BASE64.encode(format!("{username}:{password}")).into()),
        _ => Err(format!("the entry of {host} has neither `auth` nor `username` and `password`")),
    }
}

/// `docker login` writes keys as `host`, `https://host` and `https://host/v2/`.
fn host_of(key: &str) -> &str {
    let host = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    host.split('/').next().unwrap_or(host)
}

/// A small file that is read again when its time or size changes. Kubernetes swaps a whole directory under it, which
/// changes both.
struct SecretFile {
    path: PathBuf,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    modified: Option<SystemTime>,
    size_bytes: u64,
    text: SecretString,
}

impl SecretFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: Mutex::new(None) }
    }

    /// Reads synchronously: a few bytes of a mounted secret, and only when they changed.
    fn read(&self, reading: Reading) -> Result<SecretString, String> {
        let told = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let metadata = std::fs::metadata(&self.path).map_err(told)?;
        let (modified, size_bytes) = (metadata.modified().ok(), metadata.len());
        if size_bytes > FILE_MAX_BYTES {
            return Err(format!("{}: larger than {FILE_MAX_BYTES} bytes", self.path.display()));
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.as_ref() {
            Some(seen)
                if reading == Reading::IfChanged && seen.modified == modified && seen.size_bytes == size_bytes =>
            {
                Ok(seen.text.clone())
            }
            _ => {
                let text: SecretString = std::fs::read_to_string(&self.path).map_err(told)?.into();
                *seen = Some(Seen { modified, size_bytes, text: text.clone() });
                Ok(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ROBOT: &str = "robot$proxy+warmer:secret";

    fn decoded(header: Option<HeaderValue>) -> String {
        let header = header.unwrap();
        assert!(header.is_sensitive());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        String::from_utf8(BASE64.decode(encoded).unwrap()).unwrap()
    }

    fn of_file(path: &Path) -> Credentials {
        let password = config::Secret::File(path.to_owned());
        let basic = config::Credentials::Basic { username: "robot$proxy+warmer".to_owned(), password };
        Credentials::new(&basic, "harbor.example").unwrap()
    }

    #[test]
    fn a_secret_file_is_read_again_when_it_changes_and_its_line_break_is_none_of_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "secret\n").unwrap();
        let credentials = of_file(&path);
        assert_eq!(decoded(credentials.basic(Reading::IfChanged).unwrap()), ROBOT);
        std::fs::write(&path, "rotated-secret\n").unwrap();
        assert_eq!(decoded(credentials.basic(Reading::IfChanged).unwrap()), "robot$proxy+warmer:rotated-secret");
    }

    #[test]
    fn a_secret_of_equal_size_and_time_is_read_again_once_it_was_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "secret").unwrap();
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let credentials = of_file(&path);
        credentials.basic(Reading::IfChanged).unwrap();
        std::fs::write(&path, "secreT").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(decoded(credentials.basic(Reading::IfChanged).unwrap()), ROBOT);
        assert_eq!(decoded(credentials.basic(Reading::Anew).unwrap()), "robot$proxy+warmer:secreT");
    }

    #[test]
    fn a_missing_secret_file_is_told_by_its_path() {
        let error = of_file(Path::new("/nowhere/secret")).basic(Reading::IfChanged).unwrap_err();
        assert_eq!(error.class(), super::super::AnswerClass::Unauthorized);
        assert!(error.to_string().contains("/nowhere/secret"), "{error}");
    }

    #[rstest]
    #[case::auth(r#"{"auths":{"harbor.example":{"auth":"cm9ib3QkcHJveHkrd2FybWVyOnNlY3JldA=="}}}"#)]
    #[case::user_and_password(r#"{"auths":{"harbor.example":{"username":"robot$proxy+warmer","password":"secret"}}}"#)]
    #[case::written_as_an_address(
        r#"{"auths":{"other.example":{},"https://harbor.example/v2/":{"auth":"cm9ib3QkcHJveHkrd2FybWVyOnNlY3JldA=="}}}"#
    )]
    fn a_docker_configuration_gives_the_entry_of_the_host(#[case] text: &str) {
        let encoded = docker_authorization(text, "harbor.example").unwrap();
        assert_eq!(BASE64.decode(encoded.expose_secret()).unwrap(), ROBOT.as_bytes());
    }

    #[rstest]
    #[case::not_json("secret", "is not JSON")]
    #[case::no_auths("{}", "has no `auths`")]
    #[case::other_host(
        r#"{"auths":{"harbor.example.com":{"auth":"cw=="}}}"#,
        "`auths` has no entry for harbor.example"
    )]
    #[case::other_port(r#"{"auths":{"harbor.example:8443":{}}}"#, "`auths` has no entry for harbor.example")]
    #[case::not_base64(r#"{"auths":{"harbor.example":{"auth":"s3cr3t!"}}}"#, "is not base64")]
    #[case::no_colon(r#"{"auths":{"harbor.example":{"auth":"czNjcjN0"}}}"#, "is not `user:password`")]
    #[case::token(r#"{"auths":{"harbor.example":{"identitytoken":"s3cr3t"}}}"#, "has neither `auth`")]
    fn what_is_wrong_with_a_docker_configuration_is_told_without_its_secrets(#[case] text: &str, #[case] why: &str) {
        let error = docker_authorization(text, "harbor.example").unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("s3cr3t"), "{error}");
    }
}
