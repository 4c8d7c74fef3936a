use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not the name that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing was written.
    Empty,
    /// More characters than this.
    TooLong(usize),
    /// A configured name may hold a-z, 0-9 and single hyphens between them.
    NotALabel,
    /// The name means something else in the contract.
    Reserved(&'static str),
    /// Not what the distribution spec allows between two slashes of a repository name.
    NotAPathComponent,
    /// A project is one path component.
    Slash,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong(max) => write!(f, "may have at most {max} characters"),
            Self::NotALabel => {
                f.write_str("may hold a-z, 0-9 and single hyphens between them, and starts with a letter or digit")
            }
            Self::Reserved(name) => write!(f, "`{name}` means that there is none; choose another name"),
            Self::NotAPathComponent => f.write_str(
                "may hold a-z and 0-9 in every part between slashes, separated by one of `.`, `_`, `__` or hyphens",
            ),
            Self::Slash => f.write_str("must not contain a slash"),
        }
    }
}

impl std::error::Error for NameError {}

/// `[a-z0-9]+(?:-[a-z0-9]+)*`, at most 32 characters: short, since it stands in every path.
fn label(text: &str) -> Result<(), NameError> {
    const MAX: usize = 32;
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX {
        return Err(NameError::TooLong(MAX));
    }
    let valid = text
        .split('-')
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if valid { Ok(()) } else { Err(NameError::NotALabel) }
}

/// A path component of a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (distribution-spec, "Pulling manifests").
fn path_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    bytes.split(|b| alphanumeric(*b)).all(|separator| match separator {
        [] | [b'.'] | [b'_'] | [b'_', b'_'] => true,
        hyphens => hyphens.iter().all(|b| *b == b'-'),
    })
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}
pub(crate) use text_type;

/// The name of a Harbor in the warmer's configuration. Never a host: a workload's text chooses none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HarborName(String);
text_type!(HarborName);

impl FromStr for HarborName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        label(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// The name of a replication target in the warmer's configuration: the registry that the workload pulls from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName(String);
text_type!(TargetName);

impl TargetName {
    /// What stands in a path where there is no target.
    pub const NONE: &'static str = "none";
}

impl FromStr for TargetName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        label(text)?;
        if text == Self::NONE {
            return Err(NameError::Reserved(Self::NONE));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A Harbor project, one path component.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(String);
text_type!(ProjectName);

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "" => Err(NameError::Empty),
            _ if text.contains('/') => Err(NameError::Slash),
            _ if text.len() > crate::REPOSITORY_MAX_CHARACTERS => {
                Err(NameError::TooLong(crate::REPOSITORY_MAX_CHARACTERS))
            }
            _ if path_component(text) => Ok(Self(text.to_owned())),
            _ => Err(NameError::NotAPathComponent),
        }
    }
}

/// A repository inside a Harbor project, as its upstream names it: one or more path components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryPath(String);
text_type!(RepositoryPath);

impl FromStr for RepositoryPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > crate::REPOSITORY_MAX_CHARACTERS {
            return Err(NameError::TooLong(crate::REPOSITORY_MAX_CHARACTERS));
        }
        if text.split('/').all(path_component) { Ok(Self(text.to_owned())) } else { Err(NameError::NotAPathComponent) }
    }
}

/// Where an image lives: a repository of a project of a configured Harbor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HarborImage {
    /// The configured Harbor.
    pub harbor: HarborName,
    /// Its proxy-cache project.
    pub project: ProjectName,
    /// The repository as the upstream names it.
    pub repository: RepositoryPath,
}

impl fmt::Display for HarborImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.harbor, self.project, self.repository)
    }
}
