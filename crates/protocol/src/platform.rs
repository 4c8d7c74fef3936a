use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A platform of an image index: `os/architecture[/variant]` (image-spec, image-index.md).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is not a [`Platform`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformError;

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a platform is written os/architecture[/variant] in lower case, for example linux/amd64")
    }
}

impl std::error::Error for PlatformError {}

impl Platform {
    fn from_parts<'a>(mut parts: impl Iterator<Item = &'a str>) -> Result<Self, PlatformError> {
        let mut part = || match parts.next() {
            None => Ok(None),
            Some(text) => {
                let valid =
                    matches!(text.len(), 1..=16) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                if valid { Ok(Some(text.to_owned())) } else { Err(PlatformError) }
            }
        };
        let (os, architecture, variant) = (part()?.ok_or(PlatformError)?, part()?.ok_or(PlatformError)?, part()?);
        if part()?.is_some() {
            return Err(PlatformError);
        }
        Ok(Self { os, architecture, variant })
    }

    /// The operating system, a `GOOS` value such as `linux`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The processor, a `GOARCH` value such as `amd64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant of the processor, such as `v8`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether a node that asks for `self` runs an image that says of itself what is given here.
    ///
    /// A variant counts only where both name one: `linux/arm64` accepts `linux/arm64/v8`, which is the same processor.
    pub fn accepts(&self, os: &str, architecture: &str, variant: Option<&str>) -> bool {
        let variants_agree = match (self.variant.as_deref(), variant) {
            (Some(wanted), Some(offered)) => wanted == offered,
            _ => true,
        };
        self.os == os && self.architecture == architecture && variants_agree
    }

    /// How the platform stands in a path: `linux-arm64-v8`.
    fn path_form(&self) -> String {
        self.to_string().replace('/', "-")
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::from_parts(text.split('/'))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The platforms wanted of an image: at least one, each once, in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Platform>", into = "Vec<Platform>")]
pub struct Platforms(Vec<Platform>);

/// Why a list is not [`Platforms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlatformsError {
    /// At least one is needed.
    Empty,
    /// One of them is not a platform.
    Platform(PlatformError),
    /// The list in a path is sorted and holds each platform once, so that equal lists are equal names.
    NotCanonical,
}

impl fmt::Display for PlatformsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("name at least one platform, for example linux/amd64"),
            Self::Platform(error) => error.fmt(f),
            Self::NotCanonical => f.write_str("platforms in a path are sorted and each stands there once"),
        }
    }
}

impl std::error::Error for PlatformsError {}

impl Platforms {
    /// These platforms, sorted and each once.
    ///
    /// # Errors
    /// [`PlatformsError::Empty`] where there are none.
    pub fn new(platforms: impl IntoIterator<Item = Platform>) -> Result<Self, PlatformsError> {
        let mut platforms: Vec<_> = platforms.into_iter().collect();
        platforms.sort_unstable();
        platforms.dedup();
        if platforms.is_empty() { Err(PlatformsError::Empty) } else { Ok(Self(platforms)) }
    }

    /// Each platform, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Platform> {
        self.0.iter()
    }

    /// How the platforms stand in a path: `linux-amd64_linux-arm64`.
    pub fn path_form(&self) -> String {
        let forms: Vec<_> = self.0.iter().map(Platform::path_form).collect();
        forms.join("_")
    }

    /// Reads what [`Platforms::path_form`] prints, and nothing else.
    ///
    /// # Errors
    /// Says which of the rules is broken.
    pub fn from_path_form(text: &str) -> Result<Self, PlatformsError> {
        let platforms = text
            .split('_')
            .map(|form| Platform::from_parts(form.split('-')))
            .collect::<Result<Vec<_>, _>>()
            .map_err(PlatformsError::Platform)?;
        let canonical = Self::new(platforms.iter().cloned())?;
        if canonical.0 == platforms { Ok(canonical) } else { Err(PlatformsError::NotCanonical) }
    }
}

impl<'a> IntoIterator for &'a Platforms {
    type Item = &'a Platform;
    type IntoIter = std::slice::Iter<'a, Platform>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl TryFrom<Vec<Platform>> for Platforms {
    type Error = PlatformsError;

    fn try_from(platforms: Vec<Platform>) -> Result<Self, PlatformsError> {
        Self::new(platforms)
    }
}

impl From<Platforms> for Vec<Platform> {
    fn from(platforms: Platforms) -> Self {
        platforms.0
    }
}
