//! YAML as a JSON value that remembers where each of its keys stood.
//!
//! serde's derive stops at the first mistake. So the document is read into a plain value, the readers collect what is
//! wrong with it by path, and [`Document::position`] turns a path back into a line.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use super::Mistake;

/// A document without syntax errors.
#[derive(Debug)]
pub(super) struct Document {
    /// What it says.
    pub(super) value: Value,
    positions: HashMap<String, LineColumn>,
}

/// Line and column, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineColumn {
    /// The line.
    pub(super) line: u64,
    /// The column, in characters.
    pub(super) column: u64,
}

/// One node with the places of what stands beneath it.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl Document {
    /// Reads one YAML document.
    ///
    /// # Errors
    /// The syntax error, with its place and without its text: the lines around it may hold a secret that somebody wrote
    /// there by mistake. One alone, since nothing after it can be trusted.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        // `yes` and `no` are texts, as YAML 1.2 has it and as every other key here treats them.
        let options = serde_saphyr::options! { strict_booleans: true };
        let root: Option<Node> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let position = error.location().map_or(LineColumn::START, LineColumn::from);
            Mistake { line: position.line, column: position.column, path: String::new(), message: plain(&error) }
        })?;
        let mut positions = HashMap::from([(String::new(), LineColumn::START)]);
        let value = root.map_or_else(|| Value::Object(Map::new()), |root| root.into_value("", &mut positions));
        Ok(Self { value, positions })
    }

    /// Where a path stands; the nearest map or list above it for one that is missing.
    pub(super) fn position(&self, path: &str) -> LineColumn {
        let mut path = path;
        loop {
            if let Some(position) = self.positions.get(path) {
                return *position;
            }
            path = path.rfind(['.', '[']).map_or("", |end| path.get(..end).unwrap_or_default());
        }
    }
}

/// What is wrong and where.
fn plain(error: &serde_saphyr::Error) -> String {
    error.without_snippet().to_string()
}

// === impl LineColumn ===

impl LineColumn {
    const START: Self = Self { line: 1, column: 1 };
}

impl From<Location> for LineColumn {
    fn from(location: Location) -> Self {
        Self { line: location.line().max(1), column: location.column().max(1) }
    }
}

// === impl Node ===

impl Node {
    fn into_value(self, path: &str, positions: &mut HashMap<String, LineColumn>) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    let path = format!("{path}[{index}]");
                    positions.insert(path.clone(), item.referenced.into());
                    item.value.into_value(&path, positions)
                });
                Value::Array(items.collect())
            }
            Self::Map(entries) => {
                let entries = entries.into_iter().map(|(key, node)| {
                    let path = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                    positions.insert(path.clone(), key.referenced.into());
                    let value = node.into_value(&path, positions);
                    (key.value, value)
                });
                Value::Object(entries.collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, a list, a text, a number, true, false or nothing")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Node::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        let mut known = HashSet::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            if !known.insert(key.value.clone()) {
                return Err(A::Error::custom(format!("the key `{}` stands here twice", key.value)));
            }
            map.push((key, entries.next_value()?));
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Document, LineColumn};

    #[test]
    fn remembers_where_every_key_and_item_stands() {
        let document = Document::parse("a: 1\nb:\n  c:\n    - x\n    - {d: true}\n").unwrap();

        assert_eq!(document.value, json!({ "a": 1, "b": { "c": ["x", { "d": true }] } }));
        assert_eq!(document.position("b.c"), LineColumn { line: 3, column: 3 });
        assert_eq!(document.position("b.c[0]"), LineColumn { line: 4, column: 7 });
        assert_eq!(document.position("b.c[1].d"), LineColumn { line: 5, column: 8 });
    }

    #[test]
    fn a_missing_key_is_told_where_it_would_stand() {
        let document = Document::parse("a: 1\nb:\n  c: 2\n").unwrap();

        assert_eq!(document.position("b.missing[3].deep"), LineColumn { line: 2, column: 1 });
        assert_eq!(document.position("missing"), LineColumn { line: 1, column: 1 });
    }

    #[test]
    fn an_empty_document_is_a_map_without_keys() {
        assert_eq!(Document::parse("# nothing\n").unwrap().value, json!({}));
    }

    #[test]
    fn yes_is_a_text() {
        assert_eq!(Document::parse("a: yes\nb: true\n").unwrap().value, json!({ "a": "yes", "b": true }));
    }

    #[test]
    fn a_syntax_error_tells_its_line_and_nothing_that_stands_there() {
        for text in [
            "a: 1\nb: [1, 2\nc: 3\n",
            "password: s3cret\nb: [1, 2\npassword: s3cret\n",
            "a:\n  password: s3cret\n b: 2\n",
            "password: \"s3cret\n",
            "password: s3cret: more\n",
            "password: *s3cret\n",
            "password: !!s3cret [\n",
            "{password: s3cret]\n",
            "password: s3cret\npassword: s3cret\n",
        ] {
            let mistake = Document::parse(text).unwrap_err();
            let told = mistake.to_string();
            assert!(!told.contains("s3cret"), "{text:?}: {told}");
            assert!(told.contains(&format!("line {}", mistake.line)), "{text:?}: {told}");
        }
    }

    #[test]
    fn a_map_of_very_many_keys_is_read_in_a_time_that_grows_with_them() {
        // Two thousand million comparisons, if each were compared with all before it; the reader takes no more nodes.
        let text: String = (0..60_000).map(|n| format!("k{n}: 1\n")).collect();
        let document = Document::parse(&text);
        assert!(document.is_ok_and(|document| document.value.as_object().is_some_and(|map| map.len() == 60_000)));
    }

    #[test]
    fn a_key_written_twice_is_an_error() {
        let mistake = Document::parse("a: 1\nb: 2\na: 3\n").unwrap_err();

        assert_eq!(mistake.line, 3, "{mistake:?}");
    }
}
