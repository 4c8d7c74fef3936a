//! What is wrong with a text, in a person's words and with the lines around it.

use std::fmt;

use serde_saphyr::UserMessageFormatter;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, MessageFormatter as _};

use super::{DEPTH_MAX, LineColumn, Piece};

/// Lines shown before the one with the mistake.
const LINES_BEFORE: u64 = 2;

/// Characters of a line that are shown on either side of the mistake: a minified file is one line.
const AROUND: usize = 60;

/// Why a text is no YAML, or no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where.
    pub at: LineColumn,
    /// What is wrong.
    pub message: String,
    /// The line with the mistake beneath some before it, numbered and marked; each ends with a line break.
    pub excerpt: String,
}

impl SyntaxError {
    /// What is wrong at a place of a document.
    pub(super) fn new(at: LineColumn, message: impl Into<String>, piece: &Piece<'_>) -> Self {
        Self { at, message: message.into(), excerpt: excerpt(at, piece) }
    }

    pub(super) fn of_yaml(error: &Error, piece: &Piece<'_>) -> Self {
        let last = u64::try_from(piece.text.lines().count()).unwrap_or(1);
        let at =
            error.location().map_or(LineColumn { line: piece.first_line + last.max(1) - 1, column: 1 }, |location| {
                LineColumn::of(location, piece.first_line - 1)
            });
        Self::new(at, words(error), piece)
    }

    pub(super) fn of_json(error: &serde_json::Error, piece: &Piece<'_>) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(1).max(1);
        let at = LineColumn { line: piece.first_line - 1 + count(error.line()), column: count(error.column()) };
        let text = error.to_string();
        // "… at line 3 column 5", which is told anyway.
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        Self::new(at, message, piece)
    }

    /// What follows a JSON value is no other one.
    pub(super) fn after_json(found: char, piece: &Piece<'_>, rest: &str) -> Self {
        let before = piece.text.len() - rest.trim_start().len();
        let before = piece.text.get(..before).unwrap_or_default();
        let line = piece.first_line + u64::try_from(before.matches('\n').count()).unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let at = LineColumn { line, column: u64::try_from(column).unwrap_or(1) };
        Self::new(at, format!("`{found}` follows what is a whole JSON value"), piece)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LineColumn { line, column } = self.at;
        write!(f, "line {line}, column {column}: {}\n{}", self.message, self.excerpt.trim_end_matches('\n'))
    }
}

impl std::error::Error for SyntaxError {}

/// What the library says, where its words are for a person; else ours.
fn words(error: &Error) -> String {
    match error.without_snippet() {
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => UNFOLDS.to_owned(),
        Error::UnknownAnchor { .. } => "an alias (`*name`) needs its anchor (`&name`) before it".to_owned(),
        Error::NullIntoString { .. } => "a key is missing before the `:`".to_owned(),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            "`<<` merges a map, or a list of maps: write an alias (`*name`) of one".to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an anchor (`&name`) holds its own alias".to_owned(),
        error => {
            let told = UserMessageFormatter.format_message(error).into_owned();
            match () {
                () if told.contains("recursion limit") || told.contains("nesting limit") => too_deep(),
                // An error within an alias is told as the alias's.
                () if told.contains("too large or too complex") => UNFOLDS.to_owned(),
                () => told,
            }
        }
    }
}

const UNFOLDS: &str = "its anchors (`&name`) and aliases (`*name`) unfold to far more than stands there";

fn too_deep() -> String {
    format!("maps and lists stand in each other more than {DEPTH_MAX} deep")
}

/// The lines down to the mistake, with their numbers, and a mark beneath it.
fn excerpt(at: LineColumn, piece: &Piece<'_>) -> String {
    let column = usize::try_from(at.column).unwrap_or(1);
    let skipped = column.saturating_sub(AROUND);
    let first = at.line.saturating_sub(LINES_BEFORE).max(piece.first_line);
    let width = at.line.to_string().len();
    let lines = (piece.first_line..).zip(piece.text.lines()).skip_while(|(number, _)| *number < first);
    let mut text = String::new();
    for (number, line) in lines.take_while(|(number, _)| *number <= at.line) {
        let shown: String = line.chars().skip(skipped).take(2 * AROUND).map(printable).collect();
        text.push_str(format!("  {number:>width$} | {shown}").trim_end());
        text.push('\n');
    }
    let mark = " ".repeat(column - skipped - usize::from(column > skipped));
    text.push_str(&format!("  {:>width$} | {mark}^\n", ""));
    text
}

/// Nothing that moves a terminal's cursor.
fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}
