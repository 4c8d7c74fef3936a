use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use harbor_warmer_protocol::{Digest, DigestError, RepositoryPath, Tag};

const DOCKER_HUB: &str = "docker.io";
/// Docker's first name for its registry. Old manifests still carry it.
const DOCKER_HUB_LEGACY: &str = "index.docker.io";

/// No reference is longer: a host of 253, a port, a repository of 255, a tag of 128 and a digest have 730 characters.
/// Longer texts aren't looked at, so that no workload can make the policy work on megabytes.
const MAX_CHARACTERS: usize = 1024;

/// An image as a workload names it, in Docker's normal form: `registry/repository[:tag][@digest]`.
///
/// The grammar is that of `distribution/reference`, which container runtimes use: short names belong to Docker Hub,
/// there with `library/` in front where they have no other part, and a name with neither tag nor digest means
/// `latest`. oci-spec's type of the same name does this too but brings a regular expression engine, most of a
/// megabyte of wasm; it is the oracle of this one's tests. Two references are equal when their normal forms are.
#[derive(Clone)]
pub struct Reference {
    written: String,
    registry: String,
    repository: RepositoryPath,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Why a text is not a [`Reference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceError {
    /// Nothing was written.
    Empty,
    /// Longer than any reference can be.
    TooLong,
    /// What stands before the first slash is no host with an optional port.
    InvalidRegistry,
    /// The repository is not what registries accept.
    InvalidRepository,
    /// What stands after the colon is no tag.
    InvalidTag,
    /// What stands after the `@` is no sha256 digest.
    InvalidDigest(DigestError),
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the image is empty"),
            Self::TooLong => write!(f, "the image has more than {MAX_CHARACTERS} characters"),
            Self::InvalidRegistry => f.write_str("the image's registry is not a host name with an optional port"),
            Self::InvalidRepository => f.write_str(
                "the image's repository may hold a-z and 0-9, separated by `.`, `_`, `__`, hyphens and slashes, \
                 and at most 255 characters",
            ),
            Self::InvalidTag => f.write_str("the image's tag may hold 128 letters, digits, `_`, `.` and `-`"),
            Self::InvalidDigest(error) => write!(f, "the image's digest: {error}"),
        }
    }
}

impl std::error::Error for ReferenceError {}

impl Reference {
    /// The text that this was read from.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The registry's host with its port, `docker.io` where none was written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository, `library/…` for Docker Hub's own.
    pub fn repository(&self) -> &RepositoryPath {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest was written.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest. Where there is one, it decides what runs, whatever the tag says.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `registry/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_CHARACTERS {
            return Err(ReferenceError::TooLong);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ReferenceError::InvalidDigest)?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let path = rest.rsplit_once('/').map_or(rest, |(_, last)| last);
        let (name, tag) = match path.split_once(':') {
            Some((_, tag)) => {
                let name = rest.get(..rest.len() - tag.len() - 1).unwrap_or_default();
                (name, Some(tag.parse::<Tag>().map_err(|_| ReferenceError::InvalidTag)?))
            }
            None => (rest, None),
        };
        let tag = match (tag, &digest) {
            (None, None) => "latest".parse().ok(),
            (tag, _) => tag,
        };
        let (registry, repository) = split_registry(name)?;
        Ok(Self { written: text.to_owned(), registry, repository, tag, digest })
    }
}

/// What stands before the first slash is a registry only where it can't be the first part of a Docker Hub name
/// (`splitDockerDomain` of distribution/reference).
fn split_registry(name: &str) -> Result<(String, RepositoryPath), ReferenceError> {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_explicit_registry(first) => (first, rest),
        _ => (DOCKER_HUB, name),
    };
    if !is_host_and_port(registry) {
        return Err(ReferenceError::InvalidRegistry);
    }
    let registry = canonical_registry(registry);
    let path = if registry == DOCKER_HUB && !path.contains('/') { &format!("library/{path}") } else { path };
    let repository = path.parse().map_err(|_| ReferenceError::InvalidRepository)?;
    Ok((registry.to_owned(), repository))
}

/// Whether the first part of a name is a registry rather than an owner at Docker Hub.
pub(crate) fn is_explicit_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

/// The one name of a registry that has several.
pub(crate) fn canonical_registry(registry: &str) -> &str {
    if registry == DOCKER_HUB_LEGACY { DOCKER_HUB } else { registry }
}

/// A host name or IPv4 address, with a port or without one. No IPv6: the reference grammar of OCI clients has none.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.registry == other.registry
            && self.repository == other.repository
            && self.tag == other.tag
            && self.digest == other.digest
    }
}

impl Eq for Reference {}

impl Hash for Reference {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.registry.hash(state);
        self.repository.hash(state);
        self.tag.hash(state);
        self.digest.hash(state);
    }
}

#[cfg(test)]
mod tests;
