//! A stream of documents, cut at its markers so that one is read at a time.
//!
//! YAML forbids `---` and `...` at the start of a line anywhere else, in block scalars too, so the text alone shows where
//! a document ends (YAML 1.2.2, 9.1.2 and c-forbidden). JSON comes as one value after another, with or without lines.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Repeated, SyntaxError, read};

/// A document of a stream, as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'t> {
    /// Its text.
    pub text: &'t str,
    /// The line in the whole stream that it starts at, from 1.
    pub first_line: u64,
}

/// What a document of a stream says, and the keys that stand there twice.
pub type Read = (Value, Vec<Repeated>);

/// The documents of a stream, one after another: YAML, JSON, or JSON values one after another (NDJSON). Empty ones are
/// left out. After a mistake there is nothing more.
#[derive(Debug)]
pub struct Documents<'t> {
    pieces: Pieces<'t>,
    /// JSON values that are not read yet.
    json: Option<Piece<'t>>,
}

/// The pieces between the markers.
#[derive(Debug)]
pub(super) struct Pieces<'t> {
    rest: Option<Piece<'t>>,
}

impl<'t> Documents<'t> {
    /// Those of a text.
    pub fn of(text: &'t str) -> Self {
        Self { pieces: Pieces::of(text), json: None }
    }

    fn read_next(&mut self) -> Option<Result<Read, SyntaxError>> {
        if let Some(piece) = self.json.take() {
            return Some(self.read_json(piece));
        }
        let piece = self.pieces.next()?;
        if !piece.text.trim_start().starts_with(['{', '[']) {
            return Some(read(&piece, &mut |_, _| {}));
        }
        Some(self.read_json(piece).or_else(|json| {
            // YAML has braces and brackets too. The one of the two that got further knows better.
            let looks_like_json =
                piece.text.trim_start().get(1..).is_some_and(|text| text.trim_start().starts_with(['"', '{']));
            read(&piece, &mut |_, _| {}).map_err(|yaml| match json.at.line.cmp(&yaml.at.line) {
                Ordering::Greater => json,
                Ordering::Equal if looks_like_json => json,
                Ordering::Equal | Ordering::Less => yaml,
            })
        }))
    }

    /// The first value, if nothing but other ones follows.
    fn read_json(&mut self, piece: Piece<'t>) -> Result<Read, SyntaxError> {
        let mut values = serde_json::Deserializer::from_str(piece.text).into_iter::<Value>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(SyntaxError::of_json(&error, &piece)),
            None => Value::Null,
        };
        let rest = piece.from(values.byte_offset());
        match rest.text.trim_start().chars().next() {
            None => {}
            Some('{' | '[') => self.json = Some(rest),
            Some(other) => return Err(SyntaxError::after_json(other, &piece, rest.text)),
        }
        Ok((value, Vec::new()))
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Read, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let document = self.read_next()?;
            if document.is_err() {
                *self = Self { pieces: Pieces { rest: None }, json: None };
            }
            if !matches!(&document, Ok((Value::Null, _))) {
                return Some(document);
            }
        }
    }
}

// === impl Pieces ===

impl<'t> Pieces<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { rest: Some(Piece { text, first_line: 1 }) }
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Piece<'t>> {
        let piece = self.rest.take()?;
        let mut end = 0;
        let mut has_content = false;
        for line in piece.text.split_inclusive('\n') {
            if starts(line, "---") && has_content {
                break;
            }
            end += line.len();
            if starts(line, "...") {
                break;
            }
            // Directives and comments belong to the document that they stand before.
            let content = line.strip_prefix("---").unwrap_or(line).trim_start();
            has_content |= starts(line, "---") || !(content.is_empty() || content.starts_with(['#', '%']));
        }
        if end < piece.text.len() {
            self.rest = Some(piece.from(end));
        }
        let text = piece.text.get(..end).unwrap_or_default();
        Some(Piece { text, ..piece })
    }
}

/// Whether a line is a marker.
fn starts(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

impl<'t> Piece<'t> {
    /// What follows so many bytes.
    fn from(self, offset: usize) -> Self {
        let (before, text) = self.text.split_at_checked(offset).unwrap_or((self.text, ""));
        let lines = before.bytes().filter(|byte| *byte == b'\n').count();
        Self { text, first_line: self.first_line + u64::try_from(lines).unwrap_or_default() }
    }
}
