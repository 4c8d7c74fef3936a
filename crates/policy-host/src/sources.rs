//! Where registries are, as policy-server's `sources.yml` says it: which may be spoken to without TLS, and whose
//! authorities are trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::credentials::DockerConfig;

/// How registries are reached. Keys are `host[:port]` exactly as references write them.
#[derive(Debug, Clone, Default)]
pub struct RegistrySources {
    /// Registries that are tried without verification and then in plain HTTP when verified HTTPS fails.
    pub insecure: BTreeSet<String>,
    /// PEM certificates of the authorities that sign a registry's certificate. A leaf is no authority: rustls refuses
    /// it with `CaUsedAsEndEntity`.
    pub source_authorities: BTreeMap<String, Vec<String>>,
    /// Credentials.
    pub docker_config: DockerConfig,
}

/// Why a sources file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A file can't be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The sources file, or a certificate that it names.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is not YAML of the right shape.
    #[error("{path} is not a sources file: {message}")]
    Malformed {
        /// The sources file.
        path: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    insecure_sources: BTreeSet<String>,
    #[serde(default)]
    source_authorities: BTreeMap<String, Vec<Authority>>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Authority {
    Path { path: PathBuf },
    Data { data: String },
}

impl RegistrySources {
    /// Reads a file as `kwctl run --sources-path` and `policy-server --sources-path` do. It holds no credentials.
    pub fn from_file(path: &Path) -> Result<Self, SourcesError> {
        let document: Document = serde_saphyr::from_str(&read(path)?)
            .map_err(|error| SourcesError::Malformed { path: path.to_owned(), message: error.to_string() })?;
        let mut source_authorities = BTreeMap::new();
        for (registry, authorities) in document.source_authorities {
            let certificates = authorities.into_iter().map(Authority::into_pem).collect::<Result<_, _>>()?;
            source_authorities.insert(registry, certificates);
        }
        Ok(Self { insecure: document.insecure_sources, source_authorities, docker_config: DockerConfig::default() })
    }
}

impl Authority {
    fn into_pem(self) -> Result<String, SourcesError> {
        match self {
            Self::Path { path } => read(&path),
            Self::Data { data } => Ok(data),
        }
    }
}

fn read(path: &Path) -> Result<String, SourcesError> {
    std::fs::read_to_string(path).map_err(|source| SourcesError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sources_file_names_certificates_by_path_or_carries_them() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = directory.path().join("ca.pem");
        std::fs::write(&certificate, "FROM A FILE").unwrap();
        let sources = directory.path().join("sources.yml");
        let text = format!(
            "insecure_sources: [\"127.0.0.1:7171\"]\nsource_authorities:\n  \"127.0.0.1:7172\":\n    - {{type: Path, path: {}}}\n    - {{type: Data, data: INLINE}}\n",
            certificate.display()
        );
        std::fs::write(&sources, text).unwrap();

        let sources = RegistrySources::from_file(&sources).unwrap();

        assert!(sources.insecure.contains("127.0.0.1:7171"));
        assert_eq!(sources.source_authorities["127.0.0.1:7172"], ["FROM A FILE", "INLINE"]);
    }

    #[test]
    fn a_misspelt_key_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let sources = directory.path().join("sources.yml");
        std::fs::write(&sources, "insecure_source: []\n").unwrap();
        assert!(RegistrySources::from_file(&sources).unwrap_err().to_string().contains("insecure_source"));
    }
}
