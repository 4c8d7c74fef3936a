//! What differs between the versions of Harbor that sites run, where it changes an answer.
//!
//! From Harbor's source, tag by tag. Timers and Redis keys are the same in all of them.

use std::fmt;

/// A version of Harbor 2, from 2.12 to 2.16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HarborVersion {
    minor: u16,
    patch: u16,
}

impl HarborVersion {
    /// 2.`minor`.`patch`
    pub const fn new(minor: u16, patch: u16) -> Self {
        Self { minor, patch }
    }

    /// 2.14.0 to 2.15.0 delete their own artifact when a tag that is gone upstream is asked for (ce86b43105, #22428).
    pub(crate) fn deletes_what_is_gone_upstream(self) -> bool {
        (Self::new(14, 0)..=Self::new(15, 0)).contains(&self)
    }

    /// `proxy_cache_local_on_not_found` (3d45be3d03)
    pub(crate) fn can_serve_what_is_gone_upstream(self) -> bool {
        self >= Self::new(15, 1)
    }

    /// A pull of a child counts as one of the indexes above it (e1961e343f). Before, an index expires while its
    /// children are in use, and takes them along (#22390, #20844).
    pub(crate) fn child_renews_its_index(self) -> bool {
        self >= Self::new(15, 1)
    }

    /// `max_upstream_conn` (c004f2d3e6)
    pub(crate) fn limits_upstream_connections(self) -> bool {
        self >= Self::new(14, 1)
    }

    /// What was asked for by tag is recorded by digest and then by tag (bc8653abc7); before, by digest alone, and the
    /// tag comes from a HEAD only.
    pub(crate) fn records_the_tag_of_a_get(self) -> bool {
        self >= Self::new(14, 0)
    }

    /// A proxied blob has its headers before its body, so a broken upstream is a body that is cut (c9e825a5e6); before,
    /// it has neither length nor digest, and ends as if it were whole.
    pub(crate) fn sends_blob_headers_first(self) -> bool {
        self >= Self::new(16, 0)
    }

    /// `proxy_cache_filter_pattern` (266aad1eca)
    pub(crate) fn filters_repositories(self) -> bool {
        self >= Self::new(16, 0)
    }
}

/// The version that was measured most.
impl Default for HarborVersion {
    fn default() -> Self {
        Self::new(15, 2)
    }
}

impl fmt::Display for HarborVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v2.{}.{}", self.minor, self.patch)
    }
}

impl std::str::FromStr for HarborVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let rest = text.strip_prefix('v').unwrap_or(text).strip_prefix("2.")?;
            let (minor, patch) = rest.split_once('.').unwrap_or((rest, "0"));
            Some(Self::new(minor.parse().ok()?, patch.parse().ok()?))
        };
        let known = read().filter(|version| (12..=16).contains(&version.minor));
        known.ok_or_else(|| format!("`{text}` is no version from 2.12 to 2.16"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_printed_and_ordered_by_number() {
        assert_eq!("2.14.1".parse(), Ok(HarborVersion::new(14, 1)));
        assert_eq!("v2.16".parse::<HarborVersion>().unwrap().to_string(), "v2.16.0");
        assert!("2.9.0".parse::<HarborVersion>().is_err() && "3.0".parse::<HarborVersion>().is_err());
        assert!(HarborVersion::new(12, 10) > HarborVersion::new(12, 9));
    }
}
