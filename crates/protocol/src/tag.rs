use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::name::text_type;
use crate::{Digest, DigestError};

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (distribution-spec, "Pulling manifests").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);
text_type!(Tag);

/// Why a text is not a [`Tag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagError;

impl fmt::Display for TagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and starts with none of the last two")
    }
}

impl std::error::Error for TagError {}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = text.as_bytes();
        let valid = matches!(bytes.len(), 1..=128)
            && word(bytes[0])
            && bytes.iter().all(|b| word(*b) || *b == b'.' || *b == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(TagError) }
    }
}

/// The last segment of a manifest's URL (`<tag-or-digest>` in the distribution spec).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagOrDigest {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for TagOrDigest {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        // A tag can't hold a colon, so there is no text that could be either.
        match text.parse() {
            Ok(digest) => Ok(Self::Digest(digest)),
            Err(DigestError::UnsupportedAlgorithm | DigestError::InvalidHex) => text.parse().map(Self::Tag),
        }
    }
}
