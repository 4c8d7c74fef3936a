//! A `.dockerconfigjson` file: the form in which Kubernetes keeps registry credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::Value;

/// Why a Docker configuration gives no credentials for a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerConfigError {
    /// Not JSON, or not a map.
    #[error("is not a Docker configuration: it must be JSON with the key `auths`")]
    NotAConfiguration,
    /// Other registries only.
    #[error("has no entry for {host} under `auths`; the entries there are {}", entries_text(.entries))]
    NoEntry {
        /// The registry that was looked for.
        host: String,
        /// The registries that are there.
        entries: Vec<String>,
    },
    /// Neither `auth` nor `username` and `password`.
    #[error(
        "has an entry for {host} without `auth`, and without `username` and `password`; credential helpers aren't supported"
    )]
    Incomplete {
        /// The registry.
        host: String,
    },
    /// `auth` is not base64 of `username:password`.
    #[error("has an entry for {host} whose `auth` is not the base64 form of `username:password`")]
    Garbled {
        /// The registry.
        host: String,
    },
}

fn entries_text(entries: &[String]) -> String {
    if entries.is_empty() { "none".to_owned() } else { entries.join(", ") }
}

/// The user name and the password that a Docker configuration has for the registry at `url`.
///
/// An entry may be written as a host, with its port, or as a URL with a path, as `docker login` has done over the years.
///
/// # Errors
/// [`DockerConfigError`] says what is wrong with the file; no secret is in it.
pub fn credentials_for(bytes: &[u8], url: &Url) -> Result<(String, SecretString), DockerConfigError> {
    let config: Value = serde_json::from_slice(bytes).map_err(|_| DockerConfigError::NotAConfiguration)?;
    let auths = config.get("auths").and_then(Value::as_object).ok_or(DockerConfigError::NotAConfiguration)?;
    let host = url.host_str().unwrap_or_default();
    let explicit = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let with_default = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
    let entry = auths
        .iter()
        .find(|(name, _)| {
            let authority = name.split_once("://").map_or(name.as_str(), |(_, rest)| rest);
            let authority = authority.split('/').next().unwrap_or_default();
            authority.eq_ignore_ascii_case(&explicit) || authority.eq_ignore_ascii_case(&with_default)
        })
        .map(|(_, entry)| entry);
    let Some(entry) = entry else {
        return Err(DockerConfigError::NoEntry { host: explicit, entries: auths.keys().cloned().collect() });
    };
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    // As Docker does: `auth` wins over the two keys beside it.
    if let Some(auth) = text("auth") {
        let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        return match decoded.as_deref().and_then(|decoded| decoded.split_once(':')) {
            Some((username, password)) if !username.is_empty() => {
                Ok((username.to_owned(), password.trim_end_matches('\0').to_owned().into()))
            }
            _ => Err(DockerConfigError::Garbled { host: explicit }),
        };
    }
    match (text("username"), text("password")) {
        (Some(username), Some(password)) => Ok((username.to_owned(), password.to_owned().into())),
        _ => Err(DockerConfigError::Incomplete { host: explicit }),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::{DockerConfigError, credentials_for};

    /// `robot$a+b:secret`
    const AUTH: &str = "cm9ib3QkYStiOnNlY3JldA==";

    #[rstest]
    #[case::host("harbor.example.com")]
    #[case::default_port("harbor.example.com:443")]
    #[case::url("https://harbor.example.com")]
    #[case::url_with_path("https://Harbor.example.com/v2/")]
    fn finds_an_entry_however_it_is_written(#[case] entry: &str) {
        let config = format!(r#"{{"auths": {{"other.example.com": {{}}, "{entry}": {{"auth": "{AUTH}"}}}}}}"#);
        let url = "https://harbor.example.com".parse().unwrap();

        let (username, password) = credentials_for(config.as_bytes(), &url).unwrap();

        assert_eq!(username, "robot$a+b");
        assert_eq!(password.expose_secret(), "secret");
    }

    #[test]
    fn another_port_is_another_registry() {
        let config = format!(r#"{{"auths": {{"harbor.example.com:8443": {{"auth": "{AUTH}"}}}}}}"#);
        let error = credentials_for(config.as_bytes(), &"https://harbor.example.com".parse().unwrap()).unwrap_err();

        assert_eq!(
            error.to_string(),
            "has no entry for harbor.example.com under `auths`; the entries there are harbor.example.com:8443"
        );
        assert!(credentials_for(config.as_bytes(), &"https://harbor.example.com:8443".parse().unwrap()).is_ok());
    }

    #[rstest]
    #[case::not_json("auths: {}", DockerConfigError::NotAConfiguration)]
    #[case::no_auths("{}", DockerConfigError::NotAConfiguration)]
    #[case::helper(r#"{"auths": {"h.example": {}}}"#, DockerConfigError::Incomplete { host: "h.example".into() })]
    #[case::not_base64(r#"{"auths": {"h.example": {"auth": "%"}}}"#, DockerConfigError::Garbled { host: "h.example".into() })]
    #[case::no_colon(r#"{"auths": {"h.example": {"auth": "YWJj"}}}"#, DockerConfigError::Garbled { host: "h.example".into() })]
    fn says_what_is_wrong(#[case] config: &str, #[case] expected: DockerConfigError) {
        let url = "https://h.example".parse().unwrap();
        assert_eq!(credentials_for(config.as_bytes(), &url).unwrap_err(), expected);
    }
}
