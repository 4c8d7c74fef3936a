//! The reference page: its tables are printed, the words between them are written by hand.

use std::fmt;

use crate::{Absent, Group};

/// Why a page can't be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The group has no place on the page, or several.
    Places {
        /// The group's name.
        group: &'static str,
        /// How many.
        count: usize,
    },
    /// The nearest heading above the group's place is another than the one that links lead to.
    Heading {
        /// The group's name.
        group: &'static str,
        /// What it should be.
        heading: &'static str,
    },
    /// A place has no end.
    Endless {
        /// The group's name.
        group: &'static str,
    },
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Places { group, count } => {
                write!(f, "the page has the line `{}` {count} times, not once", start(group))
            }
            Self::Heading { group, heading } => {
                write!(f, "`{}` stands under another heading than `{heading}`", start(group))
            }
            Self::Endless { group } => write!(f, "`{}` has no line `{END}` after it", start(group)),
        }
    }
}

impl std::error::Error for PageError {}

const END: &str = "<!-- end -->";

fn start(group: &str) -> String {
    format!("<!-- settings: {group} -->")
}

/// The page with the tables of these groups in their places.
///
/// # Errors
/// [`PageError`], where a group's place isn't as it should be.
pub fn fill(page: &str, groups: &[&'static Group]) -> Result<String, PageError> {
    groups.iter().try_fold(page.to_owned(), |page, group| fill_one(&page, group))
}

fn fill_one(page: &str, group: &'static Group) -> Result<String, PageError> {
    let (name, start) = (group.name, start(group.name));
    let mut parts = page.split(&start);
    let (Some(before), Some(after), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(PageError::Places { group: name, count: page.matches(&start).count() });
    };
    let above = before.lines().rev().find(|line| line.starts_with('#')).unwrap_or_default();
    if above.trim_start_matches('#').trim_start() != group.heading {
        return Err(PageError::Heading { group: name, heading: group.heading });
    }
    let (_, after) = after.split_once(END).ok_or(PageError::Endless { group: name })?;
    Ok(format!("{before}{start}\n\n{}\n{END}{after}", table(group)))
}

fn table(group: &Group) -> String {
    let mut table = "| setting | type | default | meaning | example |\n|---|---|---|---|---|\n".to_owned();
    for setting in group.settings {
        let default = match setting.absent {
            Absent::Required(_) => "**required**".to_owned(),
            Absent::Depends(words) => words.to_owned(),
            Absent::Default => setting.default_value().map_or_else(|| "none".to_owned(), |value| code(&value)),
        };
        let example = if setting.example.is_empty() { String::new() } else { format!("`{}`", setting.example) };
        let cells = [format!("`{}`", setting.key), setting.kind.words(), default, setting.meaning.to_owned(), example];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    table
}

/// A value as a person would write it in YAML.
fn code(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => {
            let items: Vec<_> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    };
    format!("`{text}`")
}

/// Words that lead to a group's heading, as GitHub makes anchors of headings.
pub(crate) fn link(words: &str, group: &Group) -> String {
    let anchor: String = group
        .heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect();
    format!("[{words}](#{anchor})")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::{PageError, fill};
    use crate::{Absent, Group, Setting, Span, format};

    static PATIENCE: Setting<Span> = Setting {
        key: "patience",
        absent: Absent::Default,
        meaning: "How long | it waits.",
        example: "2m",
        kind: Span { default: Duration::from_secs(60), bounds: Duration::ZERO..=Duration::from_secs(3_600) },
    };
    static NAME: Setting<crate::Text> = Setting {
        key: "name",
        absent: Absent::Required("write a name"),
        meaning: "Who waits.",
        example: "",
        kind: crate::Text { format: &format::TEXT, default: None },
    };
    static WAITING: Group =
        Group { name: "waiting", heading: "`waiting.<name>`", settings: &[&PATIENCE, &NAME], together: "" };

    #[test]
    fn the_words_around_a_table_stay() {
        let page = "# `waiting.<name>`\n\nBefore.\n\n<!-- settings: waiting -->\nold\n<!-- end -->\n\nAfter.\n";

        let filled = fill(page, &[&WAITING]).unwrap();

        let expected = "# `waiting.<name>`\n\nBefore.\n\n<!-- settings: waiting -->\n\n\
            | setting | type | default | meaning | example |\n|---|---|---|---|---|\n\
            | `patience` | up to `1h` | `1m` | How long \\| it waits. | `2m` |\n\
            | `name` | text | **required** | Who waits. |  |\n\n<!-- end -->\n\nAfter.\n";
        assert_eq!(filled, expected);
        assert_eq!(fill(&filled, &[&WAITING]).unwrap(), filled);
    }

    #[rstest]
    #[case::no_place("# `waiting.<name>`\n", PageError::Places { group: "waiting", count: 0 })]
    #[case::two_places(
        "# `waiting.<name>`\n<!-- settings: waiting --><!-- settings: waiting --><!-- end -->",
        PageError::Places { group: "waiting", count: 2 }
    )]
    #[case::another_heading(
        "# `waiting.<name>`\n## Other\n<!-- settings: waiting -->\n<!-- end -->",
        PageError::Heading { group: "waiting", heading: "`waiting.<name>`" }
    )]
    #[case::no_end("# `waiting.<name>`\n<!-- settings: waiting -->\n", PageError::Endless { group: "waiting" })]
    fn a_group_has_one_place_under_its_heading(#[case] page: &str, #[case] error: PageError) {
        assert_eq!(fill(page, &[&WAITING]), Err(error));
    }

    #[test]
    fn links_lead_to_githubs_anchors() {
        assert_eq!(super::link("map", &WAITING), "[map](#waitingname)");
    }
}
