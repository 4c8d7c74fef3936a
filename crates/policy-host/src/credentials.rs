//! Registry credentials out of a Docker `config.json`, read as narrowly as Kubewarden reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

/// The credentials of a `kubernetes.io/dockerconfigjson` secret.
#[derive(Clone, Default)]
pub struct DockerConfig {
    by_registry: BTreeMap<String, Credential>,
}

#[derive(Clone)]
struct Credential {
    username: String,
    password: String,
}

/// Why a `config.json` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DockerConfigError {
    /// The file can't be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is not JSON of the right shape. The parser's words are left out: they can quote a secret.
    #[error("the docker config is not valid JSON with an `auths` object")]
    Malformed,
    /// An `auth` is not base64 of `user:password`.
    #[error("the docker config's `auth` for {registry} is not base64 of user:password")]
    BadAuth {
        /// Whose credentials they are.
        registry: String,
    },
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

/// Only `auth` counts: Kubewarden 1.36 ignores `username` and `password` beside it, and answers a registry's challenge
/// with nothing.
#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
}

impl DockerConfig {
    /// Reads `config.json` in `directory`, as `--docker-config-json-path` names it.
    pub fn from_directory(directory: &Path) -> Result<Self, DockerConfigError> {
        let path = directory.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| DockerConfigError::Unreadable { path, source })?;
        Self::from_json(&text)
    }

    /// Reads the document itself.
    pub fn from_json(text: &str) -> Result<Self, DockerConfigError> {
        let document: Document = serde_json::from_str(text).map_err(|_| DockerConfigError::Malformed)?;
        let mut config = Self::default();
        for (registry, entry) in document.auths {
            let Some(auth) = entry.auth else { continue };
            let credential = decode(&auth).ok_or_else(|| DockerConfigError::BadAuth { registry: registry.clone() })?;
            config.by_registry.insert(registry, credential);
        }
        Ok(config)
    }

    /// Adds one registry's credentials; `registry` is `host[:port]` exactly as references write it.
    #[must_use]
    pub fn with_credentials(mut self, registry: &str, username: &str, password: &str) -> Self {
        let credential = Credential { username: username.to_owned(), password: password.to_owned() };
        self.by_registry.insert(registry.to_owned(), credential);
        self
    }

    pub(crate) fn auth(&self, registry: &str) -> RegistryAuth {
        match self.by_registry.get(registry) {
            Some(credential) => RegistryAuth::Basic(credential.username.clone(), credential.password.clone()),
            None => RegistryAuth::Anonymous,
        }
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig").field("registries", &self.by_registry.keys()).finish()
    }
}

fn decode(auth: &str) -> Option<Credential> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credential { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_auth_field_is_a_credential() {
        let config = DockerConfig::from_json(
            r#"{"auths": {"a.example:1": {"auth": "dXNlcjpwYTpzcw=="},
                          "b.example": {"username": "user", "password": "pass"}}}"#,
        )
        .unwrap();
        assert!(
            matches!(config.auth("a.example:1"), RegistryAuth::Basic(user, pass) if user == "user" && pass == "pa:ss")
        );
        assert!(matches!(config.auth("a.example"), RegistryAuth::Anonymous));
        assert!(matches!(config.auth("b.example"), RegistryAuth::Anonymous));
    }

    #[test]
    fn a_password_is_in_no_debug_output_and_no_error() {
        let config = DockerConfig::default().with_credentials("a.example", "user", "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
        let error = DockerConfig::from_json(r#"{"auths": {"a": {"auth": hunter2}}}"#).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
