//! How the warmer proves who it is. Secrets are read from their files again when these change, so that a rotated robot
//! needs no restart.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::docker_config::credentials_for;
use super::options;
use super::{ClientError, HarborError, Refusal};

/// A secret file that is larger holds something else.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// The credentials for one Harbor.
pub(super) struct Credentials {
    source: Source,
}

enum Source {
    Anonymous,
    Basic { username: String, password: Secret },
    DockerConfig { file: SecretFile, url: Url },
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
    /// `url` is the Harbor's address, by which a Docker configuration has its entry.
    pub(super) fn new(credentials: &options::Credentials, url: &Url) -> Result<Self, ClientError> {
        let source = match credentials {
            options::Credentials::Anonymous => Source::Anonymous,
            options::Credentials::Basic { username, password } => {
                let password = match password {
                    options::Secret::File(path) => Secret::File(SecretFile::new(path)),
                    options::Secret::Environment(name) => match std::env::var(name) {
                        Ok(secret) => Secret::Fixed(secret.into()),
                        Err(_) => return Err(ClientError::EnvironmentUnset(name.clone())),
                    },
                };
                Source::Basic { username: username.clone(), password }
            }
            options::Credentials::DockerConfig(path) => {
                Source::DockerConfig { file: SecretFile::new(path), url: url.clone() }
            }
        };
        Ok(Self { source })
    }

    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self.source, Source::Anonymous)
    }

    /// The user's name; none where there is nothing to prove.
    pub(super) fn username(&self) -> Result<Option<String>, HarborError> {
        match &self.source {
            Source::Anonymous => Ok(None),
            Source::Basic { username, .. } => Ok(Some(username.clone())),
            Source::DockerConfig { file, url } => {
                let text = file.read(Reading::IfChanged).map_err(unreadable)?;
                let found = credentials_for(text.expose_secret().as_bytes(), url);
                let found = found.map_err(|error| unreadable(format!("{} {error}", file.path.display())));
                found.map(|(username, _)| Some(username))
            }
        }
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
            Source::DockerConfig { file, url } => {
                let text = file.read(reading).map_err(unreadable)?;
                let (username, password) = credentials_for(text.expose_secret().as_bytes(), url)
                    .map_err(|error| unreadable(format!("{} {error}", file.path.display())))?;
                encode(&username, password.expose_secret())
            }
        };
        header.map(Some).ok_or_else(|| unreadable("not a text that a header can carry".to_owned()))
    }
}

fn unreadable(why: String) -> HarborError {
    HarborError::Unauthorized(Refusal::Unreadable(why))
}

fn encode(username: &str, password: &str) -> Option<HeaderValue> {
    let encoded = BASE64.encode(format!("{username}:{password}"));
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// A small file that is read again when its time or size changes. Kubernetes swaps a whole directory under it, which
/// changes both.
struct SecretFile {
    path: PathBuf,
    seen: Mutex<Option<FileRead>>,
}

struct FileRead {
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
        if !metadata.is_file() {
            // A pipe would never end, and no time of a device says that it changed.
            return Err(format!("{}: it is no file, but a pipe or a device", self.path.display()));
        }
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
                *seen = Some(FileRead { modified, size_bytes, text: text.clone() });
                Ok(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROBOT: &str = "robot$proxy+warmer:secret";

    fn decoded(header: Option<HeaderValue>) -> String {
        let header = header.unwrap();
        assert!(header.is_sensitive());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        String::from_utf8(BASE64.decode(encoded).unwrap()).unwrap()
    }

    fn url() -> Url {
        "https://harbor.example".parse().unwrap()
    }

    fn of_file(path: &Path) -> Credentials {
        let password = options::Secret::File(path.to_owned());
        let basic = options::Credentials::Basic { username: "robot$proxy+warmer".to_owned(), password };
        Credentials::new(&basic, &url()).unwrap()
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

    #[test]
    fn a_docker_configuration_gives_the_entry_of_the_harbor_and_tells_what_is_wrong_with_it_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".dockerconfigjson");
        let credentials = Credentials::new(&options::Credentials::DockerConfig(path.clone()), &url()).unwrap();
        std::fs::write(&path, r#"{"auths":{"harbor.example":{"username":"robot$proxy+warmer","password":"secret"}}}"#)
            .unwrap();
        assert_eq!(decoded(credentials.basic(Reading::IfChanged).unwrap()), ROBOT);
        std::fs::write(&path, r#"{"auths":{"harbor.example":{"password":"secret"}}}"#).unwrap();
        let error = credentials.basic(Reading::IfChanged).unwrap_err().to_string();
        assert!(error.contains(".dockerconfigjson has an entry for harbor.example"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
