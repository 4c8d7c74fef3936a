//! Platforms as people write them in settings.

use std::fmt;
use std::str::FromStr;

use harbor_warmer_protocol::Platform;

/// A platform that nodes and images can have.
///
/// The contract's [`Platform`] takes any word, so that no release of Go is too new for it. Settings are stricter: with a
/// word that no image uses, every image of the cluster would fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlatform(Platform);

/// Why a text is no [`NodePlatform`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePlatformError {
    /// It means this one.
    Means(String),
    /// The architecture is none of Go's.
    Architecture,
    /// The operating system is none that nodes run.
    Os,
    /// No platform at all.
    Form,
}

impl fmt::Display for NodePlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Means(platform) => write!(f, "write {platform}"),
            Self::Architecture => {
                f.write_str("there is no such architecture; nodes have amd64, arm64, arm/v7, ppc64le, s390x or riscv64")
            }
            Self::Os => f.write_str("nodes run linux or windows; write for example linux/amd64"),
            Self::Form => {
                f.write_str("a platform is written os/architecture[/variant] in lower case, for example linux/amd64")
            }
        }
    }
}

impl std::error::Error for NodePlatformError {}

/// Architectures in the words of images (Go's `GOARCH`).
const ARCHITECTURES: [&str; 13] = [
    "amd64", "arm64", "arm", "386", "ppc64le", "ppc64", "s390x", "riscv64", "loong64", "mips64le", "mips64", "mipsle",
    "mips",
];

/// Other words for them, as `uname`, Debian and Docker have them.
const OTHER_WORDS: [(&str, &str); 23] = [
    ("aarch64", "arm64"),
    ("arm64v8", "arm64"),
    ("armv8", "arm64"),
    ("x86_64", "amd64"),
    ("x86-64", "amd64"),
    ("x64", "amd64"),
    ("amd", "amd64"),
    ("intel", "amd64"),
    ("i386", "386"),
    ("i486", "386"),
    ("i586", "386"),
    ("i686", "386"),
    ("x86", "386"),
    ("armhf", "arm/v7"),
    ("armv7", "arm/v7"),
    ("armv7l", "arm/v7"),
    ("arm32v7", "arm/v7"),
    ("armv6", "arm/v6"),
    ("armv6l", "arm/v6"),
    ("armel", "arm/v6"),
    ("ppc64el", "ppc64le"),
    ("s390", "s390x"),
    ("loongarch64", "loong64"),
];

impl NodePlatform {
    /// As the contract has it.
    pub fn into_platform(self) -> Platform {
        self.0
    }
}

impl FromStr for NodePlatform {
    type Err = NodePlatformError;

    fn from_str(text: &str) -> Result<Self, NodePlatformError> {
        let lower = text.trim().to_ascii_lowercase();
        let parts: Vec<_> = lower.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some(*variant)),
            // The system is left out.
            [architecture] => ("linux", *architecture, None),
            _ => return Err(NodePlatformError::Form),
        };
        let (os, architecture, variant) = match (os, architecture) {
            // `arm/v7` and `arm64/v8`.
            (system, word) if is_architecture(system) && variant.is_none() => ("linux", system, Some(word)),
            _ => (os, architecture, variant),
        };
        let os = match os {
            "win" | "win32" | "win64" => "windows",
            "linux" | "windows" | "freebsd" => os,
            _ if is_architecture(architecture) => return Err(NodePlatformError::Os),
            _ => return Err(NodePlatformError::Form),
        };
        let (architecture, of_word) = match OTHER_WORDS.iter().find(|(word, _)| *word == architecture) {
            Some((_, known)) => known.split_once('/').map_or((*known, None), |(known, variant)| (known, Some(variant))),
            None => (architecture, None),
        };
        if !ARCHITECTURES.contains(&architecture) {
            return Err(if parts.len() == 1 { NodePlatformError::Form } else { NodePlatformError::Architecture });
        }
        let variant = of_word.or(variant).map(|variant| match variant.parse::<u8>() {
            Ok(number) => format!("v{number}"),
            Err(_) => variant.to_owned(),
        });
        let meant =
            variant.map_or_else(|| format!("{os}/{architecture}"), |variant| format!("{os}/{architecture}/{variant}"));
        if meant != text {
            return Err(NodePlatformError::Means(meant));
        }
        text.parse().map(Self).map_err(|_| NodePlatformError::Form)
    }
}

fn is_architecture(word: &str) -> bool {
    ARCHITECTURES.contains(&word) || OTHER_WORDS.iter().any(|(other, _)| *other == word)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("linux/amd64")]
    #[case("linux/arm64")]
    #[case("linux/arm64/v8")]
    #[case("linux/arm/v7")]
    #[case("linux/arm/v6")]
    #[case("linux/arm")]
    #[case("linux/amd64/v3")]
    #[case("linux/386")]
    #[case("linux/s390x")]
    #[case("linux/ppc64le")]
    #[case("linux/riscv64")]
    #[case("linux/loong64")]
    #[case("windows/amd64")]
    #[case("windows/arm64")]
    fn a_platform_in_the_words_of_images_is_accepted(#[case] text: &str) {
        assert_eq!(text.parse::<NodePlatform>().unwrap().into_platform().to_string(), text);
    }

    #[rstest]
    #[case::as_uname_says_on_arm("linux/aarch64", "write linux/arm64")]
    #[case::as_uname_says_on_intel("linux/x86_64", "write linux/amd64")]
    #[case::with_a_hyphen("linux/x86-64", "write linux/amd64")]
    #[case::as_windows_says("windows/x64", "write windows/amd64")]
    #[case::debians_word("linux/i386", "write linux/386")]
    #[case::uname_on_an_old_machine("linux/i686", "write linux/386")]
    #[case::debians_arm("linux/armhf", "write linux/arm/v7")]
    #[case::unames_arm("linux/armv7l", "write linux/arm/v7")]
    #[case::dockers_arm("linux/arm32v7", "write linux/arm/v7")]
    #[case::debians_old_arm("linux/armel", "write linux/arm/v6")]
    #[case::debians_power("linux/ppc64el", "write linux/ppc64le")]
    #[case::variant_without_its_letter("linux/arm/7", "write linux/arm/v7")]
    #[case::variant_of_arm64("linux/arm64/8", "write linux/arm64/v8")]
    #[case::without_the_system("arm/7", "write linux/arm/v7")]
    #[case::without_the_system_right_otherwise("arm/v7", "write linux/arm/v7")]
    #[case::architecture_alone("arm64", "write linux/arm64")]
    #[case::another_word_alone("aarch64", "write linux/arm64")]
    #[case::capitals("Linux/AMD64", "write linux/amd64")]
    #[case::blank("linux/amd64 ", "write linux/amd64")]
    #[case::short_windows("win/amd64", "write windows/amd64")]
    #[case::no_architecture(
        "linux/banana",
        "there is no such architecture; nodes have amd64, arm64, arm/v7, ppc64le, s390x or riscv64"
    )]
    #[case::no_system("darwin/arm64", "nodes run linux or windows; write for example linux/amd64")]
    #[case::a_word("banana", "a platform is written os/architecture[/variant] in lower case, for example linux/amd64")]
    #[case::nothing("", "a platform is written os/architecture[/variant] in lower case, for example linux/amd64")]
    #[case::four_parts(
        "linux/arm/v7/x",
        "a platform is written os/architecture[/variant] in lower case, for example linux/amd64"
    )]
    #[case::slashes("///", "a platform is written os/architecture[/variant] in lower case, for example linux/amd64")]
    fn other_words_are_refused_with_the_right_one(#[case] text: &str, #[case] message: &str) {
        assert_eq!(text.parse::<NodePlatform>().unwrap_err().to_string(), message);
    }
}
