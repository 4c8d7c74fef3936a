//! Which host capabilities there are, what a guest asks of them, and which of them a policy may use.

use std::fmt;
use std::str::FromStr;

/// Every capability that Kubewarden 1.36 knows. A pattern that matches none of them is a mistake.
const KNOWN: [&str; 11] = [
    "oci/v1/verify",
    "oci/v2/verify",
    "oci/v1/manifest_digest",
    "oci/v1/oci_manifest",
    "oci/v1/oci_manifest_config",
    "net/v1/dns_lookup_host",
    "crypto/v1/is_certificate_trusted",
    "kubernetes/list_resources_by_namespace",
    "kubernetes/list_resources_all",
    "kubernetes/get_resource",
    "kubernetes/can_i",
];

/// A host capability that this host provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// `oci/v1/manifest_digest`: the digest of a reference.
    OciManifestDigest,
    /// `oci/v1/oci_manifest`: the manifest or index of a reference.
    OciManifest,
}

/// One call of a guest to its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityRequest {
    /// What is asked.
    pub capability: Capability,
    /// The reference, exactly as the guest wrote it. The cache's key.
    pub image: String,
}

/// The capabilities that a policy has been granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedCapabilities(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(String);

/// A pattern that matches no host capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` matches no host capability; write `*`, a prefix such as `oci/*`, or one of {list}", list = KNOWN.join(", "))]
pub struct UnknownCapability(String);

impl Capability {
    /// The capability that waPC's namespace and operation name, if it is one of ours.
    pub(crate) fn of_operation(namespace: &str, operation: &str) -> Option<Self> {
        match (namespace, operation) {
            ("oci", "v1/manifest_digest") => Some(Self::OciManifestDigest),
            ("oci", "v1/oci_manifest") => Some(Self::OciManifest),
            _ => None,
        }
    }

    /// The name of the request in a file of recorded interactions.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::OciManifestDigest => "OciManifestDigest",
            Self::OciManifest => "OciManifest",
        }
    }
}

impl AllowedCapabilities {
    /// What a cluster-wide policy is always granted.
    pub fn all() -> Self {
        Self(vec![Pattern("*".to_owned())])
    }

    /// Nothing, which is what a hand-written `policies.yml` grants when it doesn't say.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Only what the patterns match: `*`, `oci/*`, `oci/v1/*` or a whole name.
    pub fn of_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownCapability> {
        patterns.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn allows(&self, capability: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(capability))
    }
}

impl Pattern {
    fn matches(&self, capability: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => capability.starts_with(prefix) && (prefix.is_empty() || prefix.ends_with('/')),
            None => self.0 == capability,
        }
    }
}

impl FromStr for Pattern {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pattern = Self(text.to_owned());
        match KNOWN.iter().any(|capability| pattern.matches(capability)) {
            true => Ok(pattern),
            false => Err(UnknownCapability(text.to_owned())),
        }
    }
}

impl fmt::Display for CapabilityRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.capability.tag(), self.image)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::everything("*", true)]
    #[case::namespace("oci/*", true)]
    #[case::version("oci/v1/*", true)]
    #[case::exact("oci/v1/oci_manifest", true)]
    #[case::another_namespace("net/*", false)]
    #[case::another_operation("oci/v1/manifest_digest", false)]
    fn a_pattern_grants_what_it_matches(#[case] pattern: &str, #[case] granted: bool) {
        let allowed = AllowedCapabilities::of_patterns([pattern]).unwrap();
        assert_eq!(allowed.allows("oci/v1/oci_manifest"), granted);
    }

    #[rstest]
    #[case::no_such_namespace("http/*")]
    #[case::half_a_segment("oc*")]
    #[case::no_such_operation("oci/v1/push")]
    fn a_pattern_that_matches_nothing_is_refused(#[case] pattern: &str) {
        assert_eq!(AllowedCapabilities::of_patterns([pattern]), Err(UnknownCapability(pattern.to_owned())));
    }

    #[test]
    fn nothing_is_granted_where_nothing_is_said() {
        assert!(!AllowedCapabilities::none().allows("oci/v1/oci_manifest"));
    }
}
