//! A manifest's JSON, read without a mistake that ends it, and without keeping what nobody needs.
//!
//! `serde`'s derived readers end at the first value of another type, and a [`serde_json::Value`] costs many times its
//! text. So each type here takes whatever comes, and keeps what it has a use for.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A longer text is no digest, no media type and no platform.
const TEXT_MAX_BYTES: usize = 256;

/// What is looked at of a manifest.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) schema_version: Scalar,
    pub(super) manifests: Option<List<{ super::MAX_CHILDREN }>>,
    pub(super) config: Option<Descriptor>,
    pub(super) layers: Option<List<{ super::MAX_LAYERS }>>,
    /// A part stands there twice, so that nobody knows which of them another reader takes.
    pub(super) is_ambiguous: bool,
}

/// The first `MAX` entries of a list.
#[derive(Debug, Default)]
pub(super) struct List<const MAX: usize> {
    pub(super) kept: Vec<Descriptor>,
    /// How many there are.
    pub(super) found: usize,
}

/// What is looked at of an entry.
#[derive(Debug, Default)]
pub(super) struct Descriptor {
    pub(super) is_object: bool,
    pub(super) media_type: Scalar,
    pub(super) digest: Scalar,
    pub(super) size: Scalar,
    pub(super) platform: Option<Platform>,
}

/// What an entry of an index says of its platform.
#[derive(Debug, Default)]
pub(super) struct Platform {
    pub(super) os: Scalar,
    pub(super) architecture: Scalar,
    pub(super) variant: Scalar,
}

/// A value that has no parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar {
    /// Not there, or null.
    #[default]
    Absent,
    /// A text, cut where nobody would go on reading.
    Text(String),
    /// A whole number.
    Integer(i128),
    /// Something else.
    Other,
}

impl Scalar {
    /// The text; empty where it is none.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Absent | Self::Integer(_) | Self::Other => "",
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => number.fmt(f),
            Self::Other => f.write_str("something that it can't be"),
        }
    }
}

/// The visitor's methods for the kinds of values that a type has no use for: it is what it is by default then.
macro_rules! nothing_of {
    ($($method:ident: $kind:ty),*) => {
        $(fn $method<E>(self, _: $kind) -> Result<Self::Value, E> { Ok(Self::Value::default()) })*
        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    };
}

macro_rules! skip_list {
    () => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

macro_rules! skip_map {
    ($value:expr) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok($value)
        }
    };
}

macro_rules! reads_anything {
    ($type:ty, $visitor:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($visitor)
            }
        }
    };
}

/// A key of an object, if it is one of these; others are skipped without being kept.
struct Key(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().copied().find(|key| *key == text))
    }
}

struct DocumentVisitor;
reads_anything!(Document, DocumentVisitor);

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut document = Document::default();
        while let Some(key) = map.next_key_seed(Key(&["schemaVersion", "manifests", "config", "layers"]))? {
            let seen = match key {
                Some("manifests") => document.manifests.is_some(),
                Some("config") => document.config.is_some(),
                Some("layers") => document.layers.is_some(),
                _ => false,
            };
            document.is_ambiguous |= seen;
            match key {
                Some("schemaVersion") => document.schema_version = map.next_value()?,
                Some("manifests") => document.manifests = map.next_value::<Nullable<_>>()?.0,
                Some("config") => document.config = map.next_value::<Nullable<_>>()?.0,
                Some("layers") => document.layers = map.next_value::<Nullable<_>>()?.0,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(document)
    }
}

/// Null is as good as nothing.
struct Nullable<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Nullable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self)
    }
}

struct ListVisitor<const MAX: usize>;

impl<'de, const MAX: usize> Deserialize<'de> for List<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor::<MAX>)
    }
}

impl<'de, const MAX: usize> Visitor<'de> for ListVisitor<MAX> {
    type Value = List<MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = List { kept: Vec::new(), found: 0 };
        while list.kept.len() < MAX {
            let Some(entry) = entries.next_element()? else { break };
            list.kept.push(entry);
        }
        list.found = list.kept.len();
        while entries.next_element::<IgnoredAny>()?.is_some() {
            list.found += 1;
        }
        Ok(list)
    }

    nothing_of!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
    skip_map!(Self::Value::default());
}

struct DescriptorVisitor;
reads_anything!(Descriptor, DescriptorVisitor);

impl<'de> Visitor<'de> for DescriptorVisitor {
    type Value = Descriptor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a descriptor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Descriptor, A::Error> {
        let mut descriptor = Descriptor { is_object: true, ..Descriptor::default() };
        while let Some(key) = map.next_key_seed(Key(&["mediaType", "digest", "size", "platform"]))? {
            match key {
                Some("mediaType") => descriptor.media_type = map.next_value()?,
                Some("digest") => descriptor.digest = map.next_value()?,
                Some("size") => descriptor.size = map.next_value()?,
                Some("platform") => descriptor.platform = map.next_value::<Nullable<_>>()?.0,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(descriptor)
    }

    nothing_of!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
    skip_list!();
}

struct PlatformVisitor;
reads_anything!(Platform, PlatformVisitor);

impl<'de> Visitor<'de> for PlatformVisitor {
    type Value = Platform;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a platform")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Platform, A::Error> {
        let mut platform = Platform::default();
        while let Some(key) = map.next_key_seed(Key(&["os", "architecture", "variant"]))? {
            match key {
                Some("os") => platform.os = map.next_value()?,
                Some("architecture") => platform.architecture = map.next_value()?,
                Some("variant") => platform.variant = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(platform)
    }

    nothing_of!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
    skip_list!();
}

struct ScalarVisitor;
reads_anything!(Scalar, ScalarVisitor);

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        let end = (0..=TEXT_MAX_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        Ok(Scalar::Text(text.get(..end).unwrap_or(text).to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    skip_map!(Scalar::Other);
}
