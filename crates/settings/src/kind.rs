use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};

use crate::page::link;
use crate::{Format, Group, duration_text, group_schema};

/// What a setting takes.
pub trait Kind: Sync {
    /// In a few words; Markdown.
    fn words(&self) -> String;

    /// As JSON schema of draft 7.
    fn schema(&self) -> Value;

    /// What holds where nothing is written.
    fn default_value(&self) -> Option<Value> {
        None
    }

    /// The groups beneath it.
    fn groups(&self) -> Vec<&'static Group> {
        Vec::new()
    }
}

/// A whole number.
pub struct Count {
    /// Where nothing is written.
    pub default: usize,
    /// What it may be.
    pub bounds: RangeInclusive<usize>,
}

/// A duration.
pub struct Span {
    /// Where nothing is written.
    pub default: Duration,
    /// What it may be.
    pub bounds: RangeInclusive<Duration>,
}

/// An IP address and a port to listen on.
pub struct Address {
    /// Where nothing is written.
    pub default: SocketAddr,
}

/// `true` or `false`.
pub struct Flag {
    /// Where nothing is written.
    pub default: bool,
}

/// One of several words.
pub struct Choice<T: 'static> {
    /// The words with what they stand for; the first is the default.
    pub options: &'static [(&'static str, T)],
    /// What to write, said in a mistake.
    pub advice: &'static str,
}

/// A text.
pub struct Text {
    /// What it looks like.
    pub format: &'static Format,
    /// Where nothing is written.
    pub default: Option<&'static str>,
}

/// A list of texts.
pub struct Texts {
    /// What each looks like.
    pub format: &'static Format,
    /// How many there have to be.
    pub least: usize,
    /// Where nothing is written.
    pub default: &'static [&'static str],
}

/// The path of a file that can be read.
pub struct File;

/// A map with settings of its own.
pub struct Nested {
    /// Its settings.
    pub group: &'static Group,
}

/// A list of maps with settings of their own.
pub struct List {
    /// The settings of each.
    pub group: &'static Group,
    /// How many there have to be.
    pub least: usize,
}

/// Maps with settings of their own, by names that the user chooses.
pub struct Named {
    /// What has such a name, said in a mistake.
    pub what: &'static str,
    /// What the names look like.
    pub names: &'static Format,
    /// The settings of each.
    pub group: &'static Group,
    /// How many there have to be.
    pub least: usize,
    /// Whether a name may have nothing beneath it.
    pub bare: bool,
}

impl Kind for Count {
    fn words(&self) -> String {
        format!("{} to {}", self.bounds.start(), self.bounds.end())
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": self.bounds.start(), "maximum": self.bounds.end() })
    }

    fn default_value(&self) -> Option<Value> {
        Some(self.default.into())
    }
}

impl Kind for Span {
    fn words(&self) -> String {
        let (least, most) = (duration_text(*self.bounds.start()), duration_text(*self.bounds.end()));
        if self.bounds.start().is_zero() { format!("up to `{most}`") } else { format!("`{least}` to `{most}`") }
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 2, "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$" })
    }

    fn default_value(&self) -> Option<Value> {
        Some(duration_text(self.default).into())
    }
}

impl Kind for Address {
    fn words(&self) -> String {
        "address".to_owned()
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "pattern": "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$" })
    }

    fn default_value(&self) -> Option<Value> {
        Some(self.default.to_string().into())
    }
}

impl Kind for Flag {
    fn words(&self) -> String {
        "boolean".to_owned()
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }

    fn default_value(&self) -> Option<Value> {
        Some(self.default.into())
    }
}

impl<T: Sync> Kind for Choice<T> {
    fn words(&self) -> String {
        let words: Vec<_> = self.options.iter().map(|(word, _)| format!("`{word}`")).collect();
        words.join(" or ")
    }

    fn schema(&self) -> Value {
        let words: Vec<_> = self.options.iter().map(|(word, _)| *word).collect();
        json!({ "enum": words })
    }

    fn default_value(&self) -> Option<Value> {
        self.options.first().map(|(word, _)| (*word).into())
    }
}

impl Kind for Text {
    fn words(&self) -> String {
        self.format.words.to_owned()
    }

    fn schema(&self) -> Value {
        self.format.schema()
    }

    fn default_value(&self) -> Option<Value> {
        self.default.map(Value::from)
    }
}

impl Kind for Texts {
    fn words(&self) -> String {
        format!("list of {}", self.format.words)
    }

    fn schema(&self) -> Value {
        at_least(self.least, json!({ "type": "array", "items": self.format.schema() }))
    }

    fn default_value(&self) -> Option<Value> {
        (!self.default.is_empty()).then(|| self.default.into())
    }
}

impl Kind for File {
    fn words(&self) -> String {
        "file".to_owned()
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Kind for Nested {
    fn words(&self) -> String {
        link("map", self.group)
    }

    fn schema(&self) -> Value {
        group_schema(self.group)
    }

    fn groups(&self) -> Vec<&'static Group> {
        vec![self.group]
    }
}

impl Kind for List {
    fn words(&self) -> String {
        link("list", self.group)
    }

    fn schema(&self) -> Value {
        at_least(self.least, json!({ "type": "array", "items": group_schema(self.group) }))
    }

    fn groups(&self) -> Vec<&'static Group> {
        vec![self.group]
    }
}

impl Kind for Named {
    fn words(&self) -> String {
        link("map by name", self.group)
    }

    fn schema(&self) -> Value {
        let mut value = group_schema(self.group);
        if self.bare {
            value["type"] = json!(["object", "null"]);
        }
        let mut names = self.names.schema();
        // A key is a text already.
        names.as_object_mut().and_then(|names| names.remove("type"));
        let mut schema = json!({ "type": "object", "propertyNames": names, "additionalProperties": value });
        if self.least > 0 {
            schema["minProperties"] = self.least.into();
        }
        schema
    }

    fn groups(&self) -> Vec<&'static Group> {
        vec![self.group]
    }
}

fn at_least(least: usize, mut list: Value) -> Value {
    if least > 0 {
        list["minItems"] = least.into();
    }
    list
}
