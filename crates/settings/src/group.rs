use serde_json::Value;

use crate::Kind;

/// One key, and all that there is to say of it.
pub struct Setting<K: ?Sized> {
    /// The key, in camelCase.
    pub key: &'static str,
    /// What holds where it isn't written.
    pub absent: Absent,
    /// What it means, in Markdown.
    pub meaning: &'static str,
    /// A value that somebody may write, as YAML; empty where the page shows one elsewhere.
    pub example: &'static str,
    /// What it takes.
    pub kind: K,
}

/// What holds where a setting isn't written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It has to be there; what to write is said in a mistake.
    Required(&'static str),
    /// The default of its kind, or nothing where the kind has none.
    Default,
    /// What these words say: it depends on other settings.
    Depends(&'static str),
}

/// The settings of one map.
pub struct Group {
    /// What the page and other groups call it by.
    pub name: &'static str,
    /// Its heading on the page, without the number signs.
    pub heading: &'static str,
    /// Its settings, in the order in which people think of them.
    pub settings: &'static [&'static Setting<dyn Kind>],
    /// What its settings say of each other: keywords of JSON schema, as JSON.
    pub together: &'static str,
}

impl<K: Kind + ?Sized> Setting<K> {
    /// The value that holds where it isn't written, if that is always the same.
    pub fn default_value(&self) -> Option<Value> {
        match self.absent {
            Absent::Default => self.kind.default_value(),
            Absent::Required(_) | Absent::Depends(_) => None,
        }
    }

    /// The example as a value. None where there is none.
    pub fn example_value(&self) -> Option<Value> {
        serde_saphyr::from_str(self.example).ok().filter(|_| !self.example.is_empty())
    }
}

impl Group {
    /// This group and all beneath it, each once.
    pub fn all(&'static self) -> Vec<&'static Self> {
        let mut groups = vec![self];
        for group in self.settings.iter().flat_map(|setting| setting.kind.groups()).flat_map(Self::all) {
            if !groups.iter().any(|known| known.name == group.name) {
                groups.push(group);
            }
        }
        groups
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.settings.iter().map(|setting| setting.key)
    }
}
