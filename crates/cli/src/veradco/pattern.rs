//! Go's regular expressions and replacement templates: how their groups are counted and referred to.

/// A part of a replacement, as Go's `Regexp.Expand` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Stands for itself.
    Text(String),
    /// `$1`, `${1}`, `$name` or `${name}`.
    Group(String),
}

/// Takes a replacement apart. In `$1x` Go sees the group `1x`: a name is as long as it can be.
pub(super) fn parts(replacement: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let (name, following) = if let Some(after) = after.strip_prefix('$') {
            text.push('$');
            (None, after)
        } else if let Some((name, following)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            (Some(name), following)
        } else {
            let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, following) = after.split_at(end);
            if name.is_empty() {
                text.push('$');
            }
            ((!name.is_empty()).then_some(name), following)
        };
        if let Some(name) = name {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Group(name.to_owned()));
        }
        rest = following;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

/// A group that captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group<'p> {
    /// Where its `(` stands.
    start: usize,
    /// The name it has already.
    pub(super) name: Option<&'p str>,
}

/// The groups that capture, in the order of their numbers, the first being 1.
pub(super) fn groups(pattern: &str) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    let mut in_class = false;
    let mut characters = pattern.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '[' if !in_class => {
                in_class = true;
                // A bracket right at the start of a class stands for itself.
                characters.next_if(|(_, c)| *c == '^');
                characters.next_if(|(_, c)| *c == ']');
            }
            ']' => in_class = false,
            '(' if !in_class => {
                let after = pattern.get(start + 1..).unwrap_or_default();
                let named = after.strip_prefix("?P<").or_else(|| after.strip_prefix("?<"));
                match named.and_then(|rest| rest.split_once('>')) {
                    Some((name, _)) => groups.push(Group { start, name: Some(name) }),
                    None if after.starts_with('?') => {}
                    None => groups.push(Group { start, name: None }),
                }
            }
            _ => {}
        }
    }
    groups
}

/// The pattern with the numbered groups named: `names` has the name for each group that needs one.
pub(super) fn name_groups(pattern: &str, names: &[Option<String>]) -> String {
    let mut named = String::new();
    let mut copied = 0;
    for (group, name) in groups(pattern).iter().zip(names) {
        let (None, Some(name)) = (group.name, name) else { continue };
        let end = group.start + 1;
        named.push_str(pattern.get(copied..end).unwrap_or_default());
        named.push_str(&format!("?<{name}>"));
        copied = end;
    }
    named.push_str(pattern.get(copied..).unwrap_or_default());
    named
}

/// The texts that a group can have, where it is nothing but alternatives written out, such as
/// `(proxy_docker\.io|proxy_quay\.io)`.
pub(super) fn alternatives(pattern: &str, group: usize) -> Option<Vec<String>> {
    let start = groups(pattern).get(group.checked_sub(1)?)?.start + 1;
    let body = pattern.get(start..)?;
    let body = body.get(..body.find(')')?)?;
    body.split('|').map(literal).collect()
}

/// A pattern without anything special in it, as the text that it matches.
pub(super) fn literal(pattern: &str) -> Option<String> {
    let text = pattern.replace("\\.", "\u{0}").replace("\\-", "-");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '\u{0}');
    (!text.is_empty() && text.chars().all(plain)).then(|| text.replace('\u{0}', "."))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Part, alternatives, groups, name_groups, parts};

    #[rstest]
    #[case::numbers("a/$1/b", &["a/", "$1", "/b"])]
    #[case::as_long_as_it_can_be("$1x", &["$1x"])]
    #[case::braces("${1}x", &["$1", "x"])]
    #[case::a_dollar_alone("a$/b$$c", &["a$/b$c"])]
    #[case::side_by_side("$1$2", &["$1", "$2"])]
    fn replacements_are_read_as_go_does(#[case] replacement: &str, #[case] expected: &[&str]) {
        let shown: Vec<_> = parts(replacement)
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Group(name) => format!("${name}"),
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[rstest]
    #[case::plain("(a)(b)", 2)]
    #[case::not_capturing("(?:a)(?i)(b)", 1)]
    #[case::escaped(r"\((a)\)", 1)]
    #[case::in_a_class("[(](a)[^](]", 1)]
    #[case::named("(?P<x>a)(b)", 2)]
    fn counts_the_groups_that_capture(#[case] pattern: &str, #[case] expected: usize) {
        assert_eq!(groups(pattern).len(), expected);
    }

    #[test]
    fn names_only_groups_that_need_one() {
        let names = [None, Some("b".to_owned()), Some("c".to_owned())];
        assert_eq!(
            name_groups("(1)((?P<x>2)3)", &["a", "b", "c"].map(|n| Some(n.to_owned()))),
            "(?<a>1)(?<b>(?P<x>2)3)"
        );
        assert_eq!(name_groups("(1)(2)(3)", &names), "(1)(?<b>2)(?<c>3)");
    }

    #[test]
    fn alternatives_are_known_only_where_they_are_written_out() {
        let written = alternatives(r"x/(proxy_docker\.io|proxy_quay\.io)/(.+)", 1);
        assert_eq!(written, Some(vec!["proxy_docker.io".to_owned(), "proxy_quay.io".to_owned()]));
        assert_eq!(alternatives("(proxy_[^:/]+)", 1), None);
        assert_eq!(alternatives("(a)", 2), None);
    }
}
