use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use harbor_warmer_protocol::{Digest, DigestError, RepositoryPath, Tag};

pub(crate) const DOCKER_HUB: &str = "docker.io";
/// Docker Hub's other names: Docker's first name for its registry, the host that serves it, an old alias of that, and
/// the web site, whose addresses people copy.
const DOCKER_HUB_ALIASES: [&str; 4] =
    ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", DOCKER_HUB_SITE];
const DOCKER_HUB_SITE: &str = "hub.docker.com";

/// No reference is longer: a host of 253, a port, a repository of 255, a tag of 128 and a digest have 730 characters.
/// Longer texts aren't looked at, so that no workload can make the policy work on megabytes.
const MAX_CHARACTERS: usize = 1024;

/// An image as a workload names it, in Docker's normal form: `registry/repository[:tag][@digest]`.
///
/// The grammar is that of `distribution/reference`, which container runtimes use: short names belong to Docker Hub,
/// there with `library/` in front where they have no other part, and a name with neither tag nor digest means
/// `latest`. oci-spec's type of the same name does this too but brings a regular expression engine, most of a
/// megabyte of wasm; it is the oracle of this one's tests. Two references are equal when their normal forms are.
///
/// The normal form has one name for a registry that has several: hosts in lower case, without the port 443, and
/// `docker.io` for Docker Hub's aliases, with `library/` as everywhere at Docker Hub.
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
    /// A template's variable stands in it, such as `${REGISTRY}`, `$(params.image)` or `{{ .Values.image }}`.
    Template,
    /// `ko://`, which ko replaces with the image that it builds.
    Ko,
    /// `https://`, `docker://` or another scheme.
    Scheme,
    /// The registry is an IPv6 address, which the grammar doesn't have.
    Ipv6,
    /// What stands before the first slash is no host with an optional port.
    InvalidRegistry,
    /// The repository has capital letters.
    Capitals,
    /// The repository is not what registries accept.
    InvalidRepository,
    /// What stands after the colon is no tag.
    InvalidTag,
    /// What stands after the `@` is no sha256 digest.
    InvalidDigest(DigestError),
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A warning has room for some 70 characters beside the image.
        match self {
            Self::Empty => f.write_str("the image is empty"),
            Self::TooLong => write!(f, "the image has more than {MAX_CHARACTERS} characters"),
            Self::Template => f.write_str("a variable of a template was not filled in"),
            Self::Ko => f.write_str("`ko://` was not replaced; apply it with `ko apply`"),
            Self::Scheme => f.write_str("an image has no scheme; leave out what ends in `://`"),
            Self::Ipv6 => f.write_str("an image can't name an IPv6 address; write a host name"),
            Self::InvalidRegistry => f.write_str("its registry is not a host name with an optional port"),
            Self::Capitals => f.write_str("its repository has capital letters; write lower case"),
            Self::InvalidRepository => {
                f.write_str("its repository may hold a-z, 0-9, and single `.`, `_`, `-`, `/` between them")
            }
            Self::InvalidTag => f.write_str("its tag may hold up to 128 letters, digits, `_`, `.` and `-`"),
            Self::InvalidDigest(DigestError::UnsupportedAlgorithm) => {
                f.write_str("its digest is not sha256, the only kind that Harbor has")
            }
            Self::InvalidDigest(error) => error.fmt(f),
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
        if text.trim().is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_CHARACTERS {
            return Err(ReferenceError::TooLong);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(if scheme == "ko" { ReferenceError::Ko } else { ReferenceError::Scheme });
        }
        // None of these is in any image's grammar, and each opens a variable of some templates.
        if text.contains(['$', '{', '<', '%']) {
            return Err(ReferenceError::Template);
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

fn split_registry(name: &str) -> Result<(String, RepositoryPath), ReferenceError> {
    let (registry, path) = apart(name);
    if registry.starts_with('[') {
        return Err(ReferenceError::Ipv6);
    }
    if !is_host_and_port(registry) {
        return Err(ReferenceError::InvalidRegistry);
    }
    let (registry, path) = normal(registry, path);
    let invalid = |_| match path.bytes().any(|b| b.is_ascii_uppercase()) {
        true => ReferenceError::Capitals,
        false => ReferenceError::InvalidRepository,
    };
    Ok((registry, path.parse().map_err(invalid)?))
}

/// What stands before the first slash is a registry only where it can't be the first part of a Docker Hub name
/// (`splitDockerDomain` of distribution/reference).
fn apart(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if is_explicit_registry(first) => (first, rest),
        _ => (DOCKER_HUB, name),
    }
}

/// Registry and repository in normal form.
pub(crate) fn normal(registry: &str, path: &str) -> (String, String) {
    let host = canonical_registry(registry);
    if host != DOCKER_HUB {
        return (host, path.to_owned());
    }
    let path = match registry.to_ascii_lowercase().starts_with(DOCKER_HUB_SITE) {
        // The addresses of the web site's pages: `/r/grafana/loki` and `/_/nginx`.
        true => path.strip_prefix("r/").or_else(|| path.strip_prefix("_/")).unwrap_or(path),
        false => path,
    };
    (host, if path.contains('/') { path.to_owned() } else { format!("library/{path}") })
}

/// What a text that is no reference would name if it were one: `registry/repository` in lower case, as far as it can be
/// told. Only for finding out whether a rule is meant for it.
pub(crate) fn likely_name(text: &str) -> String {
    let text: String = text.chars().take(MAX_CHARACTERS).collect();
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split_once('@').map_or(text, |(name, _)| name);
    let (registry, path) = apart(text);
    let path = path.split_once(':').map_or(path, |(path, _)| path);
    let (registry, path) = normal(registry, path);
    format!("{registry}/{}", path.to_ascii_lowercase())
}

/// Whether the first part of a name is a registry rather than an owner at Docker Hub. An owner has no capitals.
pub(crate) fn is_explicit_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// The one name of a registry that has several.
///
/// A host without a dot keeps its port and its capitals: `registry/app` would be read as an owner at Docker Hub. And a
/// loopback address keeps its port, since runtimes speak plain HTTP there.
pub(crate) fn canonical_registry(registry: &str) -> String {
    if !registry.contains(['.', ':']) {
        return registry.to_owned();
    }
    let host = registry.to_ascii_lowercase();
    let host = match host.strip_suffix(":443") {
        Some(bare) if bare.contains('.') && !bare.starts_with("127.") => bare.to_owned(),
        _ => host,
    };
    if DOCKER_HUB_ALIASES.contains(&host.as_str()) { DOCKER_HUB.to_owned() } else { host }
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
