//! One map of the document, read key by key, as its settings are described.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use harbor_warmer_settings::{
    Absent, Address, Choice, Count, File, Flag, Group, Kind, List, Named, Nested, Setting, Span, Text, Texts,
    duration_text, parse_duration,
};
use harbor_warmer_workload::{Fields, Mistake};
use serde_json::{Map, Value};

use crate::config::small_file;

/// A section that isn't written has every default.
static EMPTY_MAP: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

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

/// [`Fields`] by their descriptions, with what only a configuration has: durations, counts, addresses, files, names
/// that the user chooses, and a suggestion for a key that is nearly right.
pub(super) struct Section<'a> {
    fields: Fields<'a>,
    object: &'a Map<String, Value>,
    group: &'static Group,
    hidden: BTreeSet<&'static str>,
}

/// A value under a name that the user chose.
pub(super) struct Entry<'a, N> {
    pub(super) name: N,
    pub(super) path: String,
    pub(super) value: &'a Value,
}

impl<'a> Section<'a> {
    /// The map that stands at `path`; `""` is the top.
    pub(super) fn of(
        value: &'a Value,
        path: impl Into<String>,
        group: &'static Group,
        reading: &mut Reading<'_>,
    ) -> Option<Self> {
        let fields = Fields::of(value, path, &mut reading.mistakes)?;
        let object = value.as_object()?;
        Some(Self { fields, object, group, hidden: BTreeSet::new() })
    }

    /// The path of one of its keys.
    pub(super) fn path<K: Kind + ?Sized>(&self, setting: &Setting<K>) -> String {
        self.fields.path(setting.key)
    }

    /// Notes what is wrong with a key.
    pub(super) fn mistake<K: Kind + ?Sized>(
        &self,
        setting: &Setting<K>,
        message: impl Into<String>,
        reading: &mut Reading<'_>,
    ) {
        reading.mistake(self.path(setting), message);
    }

    /// What stands under a key; `null` counts as nothing.
    pub(super) fn get<K: Kind + ?Sized>(&mut self, setting: &Setting<K>) -> Option<&'a Value> {
        self.fields.get(setting.key)
    }

    /// What stands under a key that isn't described: it exists to be refused, or for tests.
    pub(super) fn get_hidden(&mut self, key: &'static str) -> Option<(String, &'a Value)> {
        self.hidden.insert(key);
        Some((self.fields.path(key), self.fields.get(key)?))
    }

    /// The map under a key.
    pub(super) fn nested(&mut self, setting: &Setting<Nested>, reading: &mut Reading<'_>) -> Option<Self> {
        let value = self.get(setting)?;
        Self::of(value, self.path(setting), setting.kind.group, reading)
    }

    /// The map under a key, or an empty one, so that defaults have one place.
    pub(super) fn nested_or_empty(&mut self, setting: &Setting<Nested>, reading: &mut Reading<'_>) -> Option<Self> {
        let value = self.get(setting).unwrap_or(&EMPTY_MAP);
        Self::of(value, self.path(setting), setting.kind.group, reading)
    }

    /// A text, or its default.
    pub(super) fn text(&mut self, setting: &Setting<Text>, reading: &mut Reading<'_>) -> Option<&'a str> {
        if self.get(setting).is_none() {
            return setting.kind.default;
        }
        self.fields.text(setting.key, &mut reading.mistakes)
    }

    /// A text that is read as a `T`.
    pub(super) fn parsed<T>(&mut self, setting: &Setting<Text>, reading: &mut Reading<'_>) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.fields.parsed(setting.key, &mut reading.mistakes)
    }

    /// A list of texts, each read as a `T`, or its default.
    pub(super) fn parsed_list<T>(&mut self, setting: &Setting<Texts>, reading: &mut Reading<'_>) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        if self.get(setting).is_none() {
            return setting.kind.default.iter().map(|text| text.parse().ok()).collect();
        }
        self.fields.parsed_list(setting.key, &mut reading.mistakes)
    }

    /// A list of texts, as they stand there.
    pub(super) fn texts(&mut self, setting: &Setting<Texts>, reading: &mut Reading<'_>) -> &'a [Value] {
        self.fields.list(setting.key, &mut reading.mistakes).unwrap_or_default()
    }

    /// The maps of a list, each with its index.
    pub(super) fn list(&mut self, setting: &Setting<List>, reading: &mut Reading<'_>) -> Vec<Self> {
        let path = self.path(setting);
        let values = self.fields.list(setting.key, &mut reading.mistakes).unwrap_or_default();
        let sections = values.iter().enumerate();
        sections.filter_map(|(index, v)| Self::of(v, format!("{path}[{index}]"), setting.kind.group, reading)).collect()
    }

    /// `true` or `false`, or its default.
    pub(super) fn flag(&mut self, setting: &Setting<Flag>, reading: &mut Reading<'_>) -> bool {
        self.written_flag(setting, reading).unwrap_or(setting.kind.default)
    }

    /// `true`, `false`, or nothing, where what holds then depends on other settings.
    pub(super) fn written_flag(&mut self, setting: &Setting<Flag>, reading: &mut Reading<'_>) -> Option<bool> {
        self.fields.boolean(setting.key, &mut reading.mistakes)
    }

    /// One of several words; the first without the key.
    pub(super) fn choice<T: Copy + Sync>(
        &mut self,
        setting: &Setting<Choice<T>>,
        reading: &mut Reading<'_>,
    ) -> Option<T> {
        let options = setting.kind.options;
        if self.get(setting).is_none() {
            return options.first().map(|(_, default)| *default);
        }
        let text = self.fields.text(setting.key, &mut reading.mistakes)?;
        let option = options.iter().find(|(word, _)| *word == text);
        if option.is_none() {
            self.mistake(setting, format!("`{text}`: {}", setting.kind.advice), reading);
        }
        option.map(|(_, stands_for)| *stands_for)
    }

    /// A whole number within bounds, or its default.
    pub(super) fn count(&mut self, setting: &Setting<Count>, reading: &mut Reading<'_>) -> usize {
        let Count { default, bounds } = &setting.kind;
        let Some(value) = self.get(setting) else { return *default };
        match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
            Some(number) if bounds.contains(&number) => number,
            _ => {
                let message =
                    format!("`{}`: write a whole number between {} and {}", plain(value), bounds.start(), bounds.end());
                self.mistake(setting, message, reading);
                *default
            }
        }
    }

    /// A duration within bounds, or its default.
    pub(super) fn duration(&mut self, setting: &Setting<Span>, reading: &mut Reading<'_>) -> Duration {
        let Span { default, bounds } = &setting.kind;
        let Some(value) = self.get(setting) else { return *default };
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
        self.mistake(setting, message, reading);
        *default
    }

    /// An address to listen on, or its default.
    pub(super) fn address(&mut self, setting: &Setting<Address>, reading: &mut Reading<'_>) -> SocketAddr {
        let default = setting.kind.default;
        let Some(value) = self.get(setting) else { return default };
        let text = plain(value);
        if let Ok(address) = text.parse() {
            return address;
        }
        let port = text.trim_start_matches(':');
        let advice = match port.parse::<u16>() {
            Ok(port) => format!("write 0.0.0.0:{port} for every interface, or 127.0.0.1:{port} for this machine alone"),
            Err(_) => format!("write an IP address and a port, such as {default}; [::]:{} for IPv6", default.port()),
        };
        self.mistake(setting, format!("`{text}`: {advice}"), reading);
        default
    }

    /// The path of a file that can be read now. A relative one starts at the configuration's directory.
    pub(super) fn file(&mut self, setting: &Setting<File>, reading: &mut Reading<'_>) -> Option<ReadFile> {
        let text = self.fields.text(setting.key, &mut reading.mistakes)?;
        if text.is_empty() {
            self.mistake(setting, "must not be empty; write the path of a file", reading);
            return None;
        }
        let path = reading.directory.join(text);
        match small_file::read(&path) {
            Ok(bytes) => Some(ReadFile { path, bytes }),
            Err(error) => {
                self.mistake(setting, format!("can't read {}: {error}", path.display()), reading);
                None
            }
        }
    }

    /// What stands under names that the user chose. A name that can't be one is a mistake.
    pub(super) fn named<N>(&mut self, setting: &Setting<Named>, reading: &mut Reading<'_>) -> Vec<Entry<'a, N>>
    where
        N: FromStr,
        N::Err: fmt::Display,
    {
        let Some(value) = self.get(setting) else { return Vec::new() };
        let path = self.path(setting);
        let what = setting.kind.what;
        let Some(object) = value.as_object() else {
            reading.mistake(path, format!("must be a map from the {what}'s name to its settings"));
            return Vec::new();
        };
        if object.len() < setting.kind.least {
            reading.mistake(&path, format!("is empty; name at least one {what}"));
        }
        let mut entries = Vec::new();
        for (name, value) in object {
            let path = format!("{path}.{name}");
            let value = if value.is_null() && setting.kind.bare { &EMPTY_MAP } else { value };
            match name.parse() {
                Ok(name) => entries.push(Entry { name, path, value }),
                Err(error) => reading.mistake(path, format!("the {what}'s name {error}")),
            }
        }
        entries
    }

    /// Ends the reading: a key that isn't described is a mistake, and so is one that is missing.
    pub(super) fn finish(self, reading: &mut Reading<'_>) {
        for setting in self.group.settings {
            if let Absent::Required(advice) = setting.absent
                && self.object.get(setting.key).is_none_or(Value::is_null)
            {
                self.mistake(setting, format!("is missing; {advice}"), reading);
            }
        }
        let known: BTreeSet<_> = self.group.keys().collect();
        for key in self.object.keys() {
            let is_known = known.contains(key.as_str()) || self.hidden.contains(key.as_str());
            // At the top is a place for anchors (`x-defaults: &defaults {…}`) that other maps take in by their aliases.
            let is_own = self.fields.path("").is_empty() && key.starts_with("x-");
            if is_known || is_own {
                continue;
            }
            let message = match nearest(key, &known) {
                Some(known) => format!("unknown key; did you mean `{known}`?"),
                None => {
                    let known: Vec<_> = known.iter().copied().collect();
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
