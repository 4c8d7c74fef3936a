//! One map of the document, read key by key.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use harbor_warmer_workload::{Fields, Mistake};
use serde_json::{Map, Value};

use crate::config::duration::{duration_text, parse_duration};

/// A section that isn't written has every default.
pub(super) static EMPTY_MAP: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

/// What a reader needs besides the section: where relative files start, and the list of mistakes.
#[derive(Debug)]
pub(super) struct Reading<'d> {
    pub(super) directory: &'d Path,
    pub(super) mistakes: Vec<Mistake>,
}

impl Reading<'_> {
    pub(super) fn mistake(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(path, message));
    }
}

/// [`Fields`] with what only a configuration has: durations, counts, addresses, files, names that the user chooses,
/// and a suggestion for a key that is nearly right.
pub(super) struct Section<'a> {
    fields: Fields<'a>,
    object: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
    hidden: BTreeSet<&'static str>,
}

/// A value under a name that the user chose.
pub(super) struct Named<'a, N> {
    pub(super) name: N,
    pub(super) path: String,
    pub(super) value: &'a Value,
}

impl<'a> Section<'a> {
    /// The map that stands at `path`; `""` is the top.
    pub(super) fn of(value: &'a Value, path: impl Into<String>, reading: &mut Reading<'_>) -> Option<Self> {
        let fields = Fields::of(value, path, &mut reading.mistakes)?;
        let object = value.as_object()?;
        Some(Self { fields, object, known: BTreeSet::new(), hidden: BTreeSet::new() })
    }

    /// The path of one of its keys.
    pub(super) fn path(&self, key: &str) -> String {
        self.fields.path(key)
    }

    /// What stands under a key; `null` counts as nothing.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.insert(key);
        self.fields.get(key)
    }

    /// Makes a key known that is never suggested: it exists to be refused, or for tests.
    pub(super) fn get_hidden(&mut self, key: &'static str) -> Option<&'a Value> {
        self.hidden.insert(key);
        self.fields.get(key)
    }

    /// Notes that a key has to be there.
    pub(super) fn missing(&self, key: &str, advice: &str, reading: &mut Reading<'_>) {
        reading.mistake(self.path(key), format!("is missing; {advice}"));
    }

    /// The map under a key.
    pub(super) fn section(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<Self> {
        let value = self.get(key)?;
        Self::of(value, self.path(key), reading)
    }

    /// The map under a key, or an empty one, so that defaults have one place.
    pub(super) fn section_or_empty(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<Self> {
        let value = self.get(key).unwrap_or(&EMPTY_MAP);
        Self::of(value, self.path(key), reading)
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<&'a str> {
        self.known.insert(key);
        self.fields.text(key, &mut reading.mistakes)
    }

    /// A text that is read as a `T`.
    pub(super) fn parsed<T>(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.known.insert(key);
        self.fields.parsed(key, &mut reading.mistakes)
    }

    /// A list of texts, each read as a `T`.
    pub(super) fn parsed_list<T>(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.known.insert(key);
        self.fields.parsed_list(key, &mut reading.mistakes)
    }

    /// A list.
    pub(super) fn list(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<&'a [Value]> {
        self.known.insert(key);
        self.fields.list(key, &mut reading.mistakes)
    }

    /// `true` or `false`; without the key `false`.
    pub(super) fn flag(&mut self, key: &'static str, reading: &mut Reading<'_>) -> bool {
        self.known.insert(key);
        self.fields.boolean(key, &mut reading.mistakes).unwrap_or(false)
    }

    /// `true`, `false`, or nothing.
    pub(super) fn boolean(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<bool> {
        self.known.insert(key);
        self.fields.boolean(key, &mut reading.mistakes)
    }

    /// A whole number within bounds.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: usize,
        bounds: RangeInclusive<usize>,
        reading: &mut Reading<'_>,
    ) -> usize {
        let Some(value) = self.get(key) else { return default };
        match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
            Some(number) if bounds.contains(&number) => number,
            _ => {
                let message =
                    format!("`{}`: write a whole number between {} and {}", plain(value), bounds.start(), bounds.end());
                reading.mistake(self.path(key), message);
                default
            }
        }
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
        reading: &mut Reading<'_>,
    ) -> Duration {
        let Some(value) = self.get(key) else { return default };
        let message = match value.as_str().map(parse_duration) {
            Some(Ok(duration)) if bounds.contains(&duration) => return duration,
            Some(Ok(_)) => format!(
                "`{}`: write a duration between {} and {}",
                plain(value),
                duration_text(*bounds.start()),
                duration_text(*bounds.end())
            ),
            Some(Err(error)) => format!("`{}`: {error}", plain(value)),
            None if value.is_number() => format!("`{0}` has no unit; write {0}s for seconds", plain(value)),
            None => "must be a duration, such as 500ms, 10m or 1h30m".to_owned(),
        };
        reading.mistake(self.path(key), message);
        default
    }

    /// An address to listen on.
    pub(super) fn address(&mut self, key: &'static str, default: SocketAddr, reading: &mut Reading<'_>) -> SocketAddr {
        let Some(value) = self.get(key) else { return default };
        let text = plain(value);
        if let Ok(address) = text.parse() {
            return address;
        }
        let port = text.trim_start_matches(':');
        let advice = match port.parse::<u16>() {
            Ok(port) => format!("write 0.0.0.0:{port} for every interface, or 127.0.0.1:{port} for this machine alone"),
            Err(_) => format!("write an IP address and a port, such as {default}; [::]:{} for IPv6", default.port()),
        };
        reading.mistake(self.path(key), format!("`{text}`: {advice}"));
        default
    }

    /// The path of a file that can be read now. A relative one starts at the configuration's directory.
    pub(super) fn file(&mut self, key: &'static str, reading: &mut Reading<'_>) -> Option<ReadFile> {
        let text = self.text(key, reading)?;
        if text.is_empty() {
            reading.mistake(self.path(key), "must not be empty; write the path of a file");
            return None;
        }
        let path = reading.directory.join(text);
        match std::fs::read(&path) {
            Ok(bytes) => Some(ReadFile { path, bytes }),
            Err(error) => {
                reading.mistake(self.path(key), format!("can't read {}: {error}", path.display()));
                None
            }
        }
    }

    /// What stands under names that the user chose. A name that can't be one is a mistake.
    pub(super) fn named<N>(
        &mut self,
        key: &'static str,
        what: &str,
        reading: &mut Reading<'_>,
    ) -> Option<Vec<Named<'a, N>>>
    where
        N: FromStr,
        N::Err: fmt::Display,
    {
        let value = self.get(key)?;
        let path = self.path(key);
        let Some(object) = value.as_object() else {
            reading.mistake(path, format!("must be a map from the {what}'s name to its settings"));
            return None;
        };
        let mut named = Vec::new();
        for (name, value) in object {
            let path = format!("{path}.{name}");
            match name.parse() {
                Ok(name) => named.push(Named { name, path, value }),
                Err(error) => reading.mistake(path, format!("the {what}'s name {error}")),
            }
        }
        Some(named)
    }

    /// Ends the reading: every key that nobody asked for is a mistake.
    pub(super) fn finish(self, reading: &mut Reading<'_>) {
        for key in self.object.keys() {
            if self.known.contains(key.as_str()) || self.hidden.contains(key.as_str()) {
                continue;
            }
            let message = match nearest(key, &self.known) {
                Some(known) => format!("unknown key; did you mean `{known}`?"),
                None => {
                    let known: Vec<_> = self.known.iter().copied().collect();
                    format!("unknown key; the keys here are {}", known.join(", "))
                }
            };
            reading.mistake(self.fields.path(key), message);
        }
    }
}

/// A file and what stood in it when the configuration was read.
pub(super) struct ReadFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

/// A scalar without the quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The known key that a typing error would turn into this one: another case, a hyphen, or a third of its letters.
fn nearest(key: &str, known: &BTreeSet<&'static str>) -> Option<&'static str> {
    let fold = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let key = fold(key);
    known
        .iter()
        .map(|known| (edit_distance(&key, &fold(known)), *known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance: how many letters are put in, left out or exchanged.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (index, a) in from.chars().enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for (b, pair) in to.chars().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;

    use super::{edit_distance, nearest};

    #[rstest]
    #[case("", "", 0)]
    #[case("abc", "", 3)]
    #[case("", "abc", 3)]
    #[case("kitten", "sitting", 3)]
    #[case("listen", "listn", 1)]
    #[case("same", "same", 0)]
    fn counts_edits(#[case] from: &str, #[case] to: &str, #[case] distance: usize) {
        assert_eq!(edit_distance(from, to), distance);
    }

    #[rstest]
    #[case::letter_missing("listn", Some("listen"))]
    #[case::other_case("max-connections", Some("maxConnections"))]
    #[case::nothing_like_it("colour", None)]
    fn suggests_only_what_is_near(#[case] key: &str, #[case] suggestion: Option<&str>) {
        let known = BTreeSet::from(["listen", "tls", "maxConnections", "clientTimeout"]);
        assert_eq!(nearest(key, &known), suggestion);
    }
}
