use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

/// One mistake in settings or in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key, as a path from the top: `rules[2].pattern`.
    pub path: String,
    /// What is wrong with it, and what to write instead.
    pub message: String,
}

impl Mistake {
    /// A mistake at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Reads an object key by key. Every reader notes what is wrong in a list and goes on, so that a person learns of all
/// mistakes at once; serde's derive stops at the first.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of the object that stands at `path`; `""` is the top. Anything but an object is a mistake.
    pub fn of(value: &'a Value, path: impl Into<String>, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let path = path.into();
        match value {
            Value::Object(object) => Some(Self { path, object, known: Vec::new() }),
            _ => {
                mistakes.push(Mistake::new(path, format!("must be a map of keys, not {}", type_name(value))));
                None
            }
        }
    }

    /// The path of one of its keys.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What stands under a key. `null` counts as nothing, as in Kubernetes.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<&'a str> {
        let value = self.get(key)?;
        let text = value.as_str();
        if text.is_none() {
            let advice = if value.is_number() { "; put it in quotes" } else { "" };
            mistakes.push(Mistake::new(self.path(key), format!("must be a text, not {}{advice}", type_name(value))));
        }
        text
    }

    /// A text that is read as a `T`.
    pub fn parsed<T>(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(key, mistakes)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                mistakes.push(Mistake::new(self.path(key), format!("`{text}`: {error}")));
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<bool> {
        let value = self.get(key)?;
        let boolean = value.as_bool();
        if boolean.is_none() {
            let meant = match value.as_str().map(str::to_ascii_lowercase).as_deref() {
                Some("true" | "yes" | "y" | "on") => "; write true",
                Some("false" | "no" | "n" | "off") => "; write false",
                _ => "",
            };
            let message = format!("must be true or false, not {}{meant}", type_name(value));
            mistakes.push(Mistake::new(self.path(key), message));
        }
        boolean
    }

    /// A list.
    pub fn list(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<&'a [Value]> {
        let value = self.get(key)?;
        let list = value.as_array();
        if list.is_none() {
            mistakes.push(Mistake::new(self.path(key), format!("must be a list, not {}", type_name(value))));
        }
        list.map(Vec::as_slice)
    }

    /// A list of texts, each read as a `T`; those that can't be are mistakes.
    pub fn parsed_list<T>(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let list = self.list(key, mistakes)?;
        let mut parsed = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let path = format!("{}[{index}]", self.path(key));
            let Some(text) = value.as_str() else {
                let advice = if value.is_number() { "; put it in quotes" } else { "" };
                mistakes.push(Mistake::new(path, format!("must be a text, not {}{advice}", type_name(value))));
                continue;
            };
            match text.parse() {
                Ok(item) => parsed.push(item),
                Err(error) => mistakes.push(Mistake::new(path, format!("`{text}`: {error}"))),
            }
        }
        Some(parsed)
    }

    /// Ends the reading: every key that nobody asked for is a mistake.
    pub fn finish(self, mistakes: &mut Vec<Mistake>) {
        for key in self.object.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let message = format!("unknown key; the keys here are {}", self.known.join(", "));
            mistakes.push(Mistake::new(self.path(key), message));
        }
    }
}

/// What a JSON value is, in words.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
