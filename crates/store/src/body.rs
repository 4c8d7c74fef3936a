//! What a unit's body holds, as bytes.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use harbor_warmer_protocol::{Digest, HarborImage, Platforms, Tag};

use harbor_warmer_core::announcement::Announcement;
use harbor_warmer_core::image::{Image, Want};
use harbor_warmer_core::timestamp::Timestamp;

/// What a worker holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a worker holds one at a time, and an image is boxed for its futures")]
pub enum Unit {
    /// A tag whose digest isn't known.
    Announcement(Announcement),
    /// An image.
    Image(Box<Image>),
}

/// The version of the format that bodies are written in. Every past one stays readable; `fixtures` has one of each.
#[derive(Serialize, Deserialize)]
enum Versioned<T> {
    #[serde(rename = "v1")]
    V1(T),
}

/// The core's types as SQLite's values: [`Timestamp`] as its milliseconds, [`Want`] as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sql<T>(pub(super) T);

fn to_json(body: &impl Serialize) -> rusqlite::Result<ToSqlOutput<'static>> {
    let bytes = serde_json::to_vec(&Versioned::V1(body))
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    Ok(ToSqlOutput::Owned(Value::Blob(bytes)))
}

fn from_json<T: DeserializeOwned>(value: ValueRef<'_>) -> FromSqlResult<T> {
    let Versioned::V1(body) =
        serde_json::from_slice(value.as_blob()?).map_err(|error| FromSqlError::Other(error.into()))?;
    Ok(body)
}

impl ToSql for Unit {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        to_json(self)
    }
}

impl FromSql for Unit {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        from_json(value)
    }
}

impl ToSql for Sql<&Want> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        to_json(self.0)
    }
}

impl FromSql for Sql<Want> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        from_json(value).map(Self)
    }
}

impl ToSql for Sql<Timestamp> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millis().into())
    }
}

impl FromSql for Sql<Timestamp> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Timestamp::from_millis).map(Self)
    }
}

impl Unit {
    /// Its wants.
    pub fn wants(&self) -> &[Want] {
        match self {
            Self::Announcement(announcement) => &announcement.wants,
            Self::Image(image) => &image.wants,
        }
    }

    pub(super) fn place(&self) -> &HarborImage {
        match self {
            Self::Announcement(announcement) => &announcement.place,
            Self::Image(image) => &image.place,
        }
    }

    pub(super) fn set_wants(&mut self, wants: Vec<Want>) {
        match self {
            Self::Announcement(announcement) => announcement.wants = wants,
            Self::Image(image) => image.set_wants(wants),
        }
    }

    pub(super) fn kind(&self) -> i64 {
        match self {
            Self::Announcement(_) => 0,
            Self::Image(_) => 1,
        }
    }

    pub(super) fn key(&self) -> String {
        match self {
            Self::Announcement(announcement) => announcement_key(&announcement.place, &announcement.tag),
            Self::Image(image) => image_key(&image.place, image.root),
        }
    }
}

/// Two images are one if these are equal. The first slash-separated parts can't hold a colon or an at sign.
pub(super) fn announcement_key(place: &HarborImage, tag: &Tag) -> String {
    format!("{place}:{tag}")
}

pub(super) fn image_key(place: &HarborImage, root: Digest) -> String {
    format!("{place}@{root}")
}

/// A unit of this key that nothing is known of.
pub(super) fn of_key(kind: i64, key: &str) -> rusqlite::Result<Unit> {
    let parse = || {
        let (place, reference) = key.split_once(if kind == 0 { ':' } else { '@' })?;
        let (harbor, place) = place.split_once('/')?;
        let (project, repository) = place.split_once('/')?;
        let place = HarborImage {
            harbor: harbor.parse().ok()?,
            project: project.parse().ok()?,
            repository: repository.parse().ok()?,
        };
        Some(match kind {
            0 => Unit::Announcement(Announcement::new(place, reference.parse().ok()?)),
            _ => Unit::Image(Box::new(Image::new(place, reference.parse().ok()?, Timestamp::default()))),
        })
    };
    parse().ok_or_else(|| no_key(key))
}

/// The want of a key, as far as that tells.
pub(super) fn want_of_key(key: &str, asked: Timestamp) -> rusqlite::Result<Want> {
    let parse = || {
        let mut parts = key.splitn(4, '\n');
        let (tag, platforms, target, cluster) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (beside_tag, tag) = tag.strip_prefix('@').map_or((false, tag), |tag| (true, tag));
        let tag = if tag.is_empty() { None } else { Some(tag.parse().ok()?) };
        Some(Want {
            cluster: cluster.to_owned(),
            pinned: beside_tag,
            tag,
            platforms: Platforms::from_path_form(platforms).ok()?,
            target: if target.is_empty() { None } else { Some(target.parse().ok()?) },
            first_asked: asked,
            last_asked: asked,
            headed: None,
        })
    };
    parse().ok_or_else(|| no_key(key))
}

fn no_key(key: &str) -> rusqlite::Error {
    let error = format!("`{}` is no key", key.escape_debug());
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
}

/// Two wants of one unit are one if these are equal.
pub(super) fn want_key(want: &Want) -> String {
    let tag = want.tag.as_ref().map_or("", Tag::as_str);
    // No tag begins with an at sign. A pin without a tag can't be anything else.
    let pin = if want.pinned && want.tag.is_some() { "@" } else { "" };
    let target = want.target.as_ref().map_or("", |target| target.as_str());
    // None of the parts holds a line break; the cluster's name, which a person chose, comes last.
    format!("{pin}{tag}\n{}\n{target}\n{}", want.platforms.path_form(), want.cluster)
}
