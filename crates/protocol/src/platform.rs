use std::borrow::Cow;
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

    /// How good an image's platform is for a node that asks for `self`, as containerd ranks it (`platforms.Only`):
    /// zero is what the node asks for, more is what it falls back to; none is what it does not run. As there, names are
    /// brought into one form first (`aarch64`, `x86_64`), an image without an operating system is of the node's, and one
    /// with another variant than those below is not taken for the one that is asked for.
    ///
    /// amd64 takes 386, `vN` the levels below it; arm takes the versions down to v5, and is v7 without one; arm64, which
    /// is v8, takes arm from v8 down.
    pub fn rank(&self, os: &str, architecture: &str, variant: Option<&str>) -> Option<usize> {
        self.rank_among(&self.fallbacks(), os, architecture, variant)
    }

    fn rank_among(
        &self,
        fallbacks: &[(String, String)],
        os: &str,
        architecture: &str,
        variant: Option<&str>,
    ) -> Option<usize> {
        if !os.is_empty() && normal_os(os) != normal_os(&self.os) {
            return None;
        }
        let (offered, offered_variant) = normal(architecture, variant.unwrap_or_default());
        fallbacks.iter().position(|(architecture, variant)| offered == *architecture && offered_variant == *variant)
    }

    /// What its nodes run, the best first.
    fn fallbacks(&self) -> Vec<(String, String)> {
        let (architecture, variant) = normal(&self.architecture, self.variant().unwrap_or_default());
        let mut all = vec![(architecture.to_string(), variant.to_string())];
        let mut add = |architecture: &str, variant: &str| {
            let (architecture, variant) = normal(architecture, variant);
            all.push((architecture.into_owned(), variant.into_owned()));
        };
        let version = |variant: &str| variant.trim_start_matches('v').parse::<u8>().ok();
        match &*architecture {
            "amd64" => {
                for level in (1..version(&variant).unwrap_or(1)).rev() {
                    add("amd64", &format!("v{level}"));
                }
                add("386", "");
            }
            "arm" => {
                for below in (5..version(&variant).unwrap_or(5)).rev() {
                    add("arm", &format!("v{below}"));
                }
            }
            "arm64" => {
                // A variant of a wanted platform has no point in it, so it is a whole version: v9 is v8.5 and more.
                let whole = version(if variant.is_empty() { "v8" } else { &variant });
                if whole == Some(9) {
                    for minor in (1..=5).rev() {
                        add("arm64", &format!("v8.{minor}"));
                    }
                    add("arm64", "v8");
                }
                if let Some(whole) = whole {
                    for below in (5..=whole).rev() {
                        add("arm", &format!("v{below}"));
                    }
                }
            }
            _ => {}
        }
        all
    }

    /// How the platform stands in a path: `linux-arm64-v8`.
    fn path_form(&self) -> String {
        self.to_string().replace('/', "-")
    }
}

/// The names that images have for what Go calls otherwise, and the variants that say nothing more (containerd's
/// `normalizeArch`).
fn normal<'a>(architecture: &'a str, variant: &'a str) -> (Cow<'a, str>, Cow<'a, str>) {
    let (architecture, variant) = (lower_case(architecture), lower_case(variant));
    match (&*architecture, &*variant) {
        ("i386", _) => ("386".into(), "".into()),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64".into(), "".into()),
        ("x86_64" | "x86-64" | "amd64", _) => ("amd64".into(), variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64".into(), "".into()),
        ("aarch64" | "arm64", _) => ("arm64".into(), variant),
        ("armhf", _) => ("arm".into(), "v7".into()),
        ("armel", _) => ("arm".into(), "v6".into()),
        ("arm", "" | "7") => ("arm".into(), "v7".into()),
        ("arm", "5") => ("arm".into(), "v5".into()),
        ("arm", "6") => ("arm".into(), "v6".into()),
        ("arm", "8") => ("arm".into(), "v8".into()),
        _ => (architecture, variant),
    }
}

fn normal_os(os: &str) -> Cow<'_, str> {
    match lower_case(os) {
        os if os == "macos" => "darwin".into(),
        os => os,
    }
}

fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

/// What an entry of an index offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer<'a> {
    /// An image for this platform.
    Image {
        /// The operating system; empty where it names none.
        os: &'a str,
        /// The processor.
        architecture: &'a str,
        /// The variant of the processor.
        variant: Option<&'a str>,
    },
    /// An image for it doesn't say what: a volume, an artifact, an index of one entry.
    Undeclared,
    /// No image: an attestation, a signature.
    Nothing,
}

impl Platform {
    /// Which entries a node that asks for `self` pulls, by their position: the first of the best rank, as containerd
    /// does. Where none is for its platform, the first that does not say what it is for: containerd pulls it, and finds
    /// out by its config. On Windows all of the best rank, since there the version of the system decides, which nobody
    /// knows here.
    pub fn choose(&self, offers: &[Offer<'_>]) -> Vec<usize> {
        let fallbacks = self.fallbacks();
        let ranked = || {
            offers.iter().enumerate().filter_map(|(position, offer)| match offer {
                Offer::Image { os, architecture, variant } => {
                    Some((self.rank_among(&fallbacks, os, architecture, *variant)?, position))
                }
                Offer::Undeclared | Offer::Nothing => None,
            })
        };
        let Some((best, first)) = ranked().min() else {
            return offers.iter().position(|offer| *offer == Offer::Undeclared).into_iter().collect();
        };
        if self.os != "windows" {
            return vec![first];
        }
        ranked().filter(|(rank, _)| *rank == best).map(|(_, position)| position).collect()
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
