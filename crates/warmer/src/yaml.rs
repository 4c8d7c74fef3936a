//! YAML and JSON as people write them, read into JSON values that remember where their keys stood.
//!
//! serde's derive stops at the first mistake, and the library's own words are for those who program with it. So a
//! document becomes a plain value here; what is wrong with the text is told in a person's words with the file's name and
//! the line, by [`SyntaxError`]; and a key that stands there twice is no error but told in [`Document::repeated`], since
//! a configuration and a manifest judge it differently. It opens no file and knows no key.

mod stream;
mod text;
mod words;

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use stream::Pieces;
pub use stream::{Documents, Piece, Read};
pub use text::{NotText, text_of};
pub use words::SyntaxError;

/// A document without syntax errors.
#[derive(Debug)]
pub struct Document {
    /// What it says. Of a key that stands there twice, the last.
    pub value: Value,
    /// The keys that stand there twice.
    pub repeated: Vec<Repeated>,
    positions: HashMap<String, LineColumn>,
}

/// A key that stands in the same map again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// The key, as a path from the top, such as `metadata.labels.app`.
    pub path: String,
    /// Where it stands again.
    pub at: LineColumn,
    /// The line where it stood before.
    pub first_line: u64,
}

/// Line and column, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineColumn {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// How deep maps and lists may stand in each other. Each level costs some of the stack; the deepest objects of Kubernetes,
/// descriptions of custom resources, have some 40.
const DEPTH_MAX: usize = 64;

/// One node with the places of what stands beneath it.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl Document {
    /// Reads one YAML document and notes where everything stands.
    ///
    /// # Errors
    /// The syntax error; one alone, since nothing after it can be trusted.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut positions = HashMap::from([(String::new(), LineColumn::START)]);
        let mut pieces = Pieces::of(text);
        let piece = pieces.next().unwrap_or(Piece { text: "", first_line: 1 });
        if let Some(second) = pieces.find(|piece| piece.text.lines().any(has_content)) {
            let at = LineColumn { line: second.first_line, column: 1 };
            let message = "a second document begins here, but this file is one document; remove it, or the line `---`";
            return Err(SyntaxError::new(at, message, &Piece { text, first_line: 1 }));
        }
        let (value, repeated) = read(&piece, &mut |path, at| {
            positions.insert(path.to_owned(), at);
        })?;
        let value = if value.is_null() { Value::Object(Map::new()) } else { value };
        Ok(Self { value, repeated, positions })
    }

    /// Where a path stands; the nearest map or list above it for one that is missing.
    pub fn position(&self, path: &str) -> LineColumn {
        let mut path = path;
        loop {
            if let Some(position) = self.positions.get(path) {
                return *position;
            }
            path = path.rfind(['.', '[']).map_or("", |end| path.get(..end).unwrap_or_default());
        }
    }
}

/// Whether a line holds more than a marker or a comment.
fn has_content(line: &str) -> bool {
    let line = line.strip_prefix("---").or_else(|| line.strip_prefix("...")).unwrap_or(line).trim_start();
    !line.is_empty() && !line.starts_with(['#', '%'])
}

/// Reads a document of a stream; an empty one is null. `place` is told the path and the place of every key and item.
fn read(piece: &Piece<'_>, place: &mut dyn FnMut(&str, LineColumn)) -> Result<(Value, Vec<Repeated>), SyntaxError> {
    // `yes` and `no` are texts, as YAML 1.2 has it and as every other key here treats them. Nothing bounds the size of a
    // text that is in memory already: what must be bounded is depth, and what anchors unfold to, which the library's
    // limits of aliases do.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: None,
            max_events: usize::MAX,
            max_aliases: usize::MAX,
            max_anchors: usize::MAX,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: 2 * DEPTH_MAX,
            max_documents: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_merge_keys: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
    };
    let root: Option<Node> = serde_saphyr::from_str_with_options(piece.text, options)
        .map_err(|error| SyntaxError::of_yaml(&error, piece))?;
    let mut unfolding = Unfolding { path: String::new(), before: piece.first_line - 1, repeated: Vec::new(), place };
    let value = root.map_or(Value::Null, |root| unfolding.value(root));
    Ok((value, unfolding.repeated))
}

// === impl LineColumn ===

impl LineColumn {
    const START: Self = Self { line: 1, column: 1 };

    /// In the whole text, of which so many lines stand before the piece that the location is of.
    fn of(location: Location, before: u64) -> Self {
        Self { line: before + location.line().max(1), column: location.column().max(1) }
    }
}

// === Nodes as values ===

/// What is noted while nodes become values.
struct Unfolding<'p> {
    path: String,
    /// Lines before the document.
    before: u64,
    repeated: Vec<Repeated>,
    place: &'p mut dyn FnMut(&str, LineColumn),
}

impl Unfolding<'_> {
    fn value(&mut self, node: Node) -> Value {
        match node {
            Node::Scalar(value) => value,
            Node::List(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    self.beneath(&format!("[{index}]"), item.referenced, |unfolding, _| unfolding.value(item.value))
                });
                Value::Array(items.collect())
            }
            Node::Map(entries) => {
                let mut lines: HashMap<String, u64> = HashMap::with_capacity(entries.len());
                let mut map = Map::new();
                for (key, node) in entries {
                    let part = if self.path.is_empty() { key.value.clone() } else { format!(".{}", key.value) };
                    let value = self.beneath(&part, key.referenced, |unfolding, at| {
                        if let Some(first_line) = lines.insert(key.value.clone(), at.line) {
                            unfolding.repeated.push(Repeated { path: unfolding.path.clone(), at, first_line });
                        }
                        unfolding.value(node)
                    });
                    map.insert(key.value, value);
                }
                Value::Object(map)
            }
        }
    }

    fn beneath(&mut self, part: &str, at: Location, read: impl FnOnce(&mut Self, LineColumn) -> Value) -> Value {
        let length = self.path.len();
        self.path.push_str(part);
        let at = LineColumn::of(at, self.before);
        (self.place)(&self.path, at);
        let value = read(self, at);
        self.path.truncate(length);
        value
    }
}

// === impl Node ===

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
        Ok(Node::Scalar(Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    // `!!binary`, as in a ConfigMap's `binaryData`.
    fn visit_bytes<E>(self, value: &[u8]) -> Result<Node, E> {
        Ok(Node::Scalar(String::from_utf8_lossy(value).into()))
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
        while let Some(key) = entries.next_key()? {
            map.push((key, entries.next_value()?));
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests;
