//! The patterns of replication filters: `bmatcuk/doublestar` as Harbor uses it.
//!
//! `**` is any number of path segments, `*` anything within one, `?` one character, `[a-z]` and `[^a]` one of a set,
//! `{a,b}` one of several, `\` takes the next character as it is. An empty pattern matches everything.

/// Whether the whole of `text` matches.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    pattern.is_empty()
        || expand(pattern).iter().any(|pattern| {
            let pattern: Vec<Vec<char>> = pattern.split('/').map(|part| part.chars().collect()).collect();
            let text: Vec<Vec<char>> = text.split('/').map(|part| part.chars().collect()).collect();
            path_matches(&pattern, &text)
        })
}

/// Writes out the alternatives of the first `{…}`, and of those in what follows.
fn expand(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('{') else { return vec![pattern.to_owned()] };
    let mut depth = 0;
    let mut starts = vec![open + 1];
    for (at, symbol) in pattern[open..].char_indices() {
        let at = open + at;
        match symbol {
            '{' => depth += 1,
            ',' if depth == 1 => starts.push(at + 1),
            '}' => {
                depth -= 1;
                if depth == 0 {
                    starts.push(at + 1);
                    let (before, after) = (&pattern[..open], &pattern[at + 1..]);
                    return starts
                        .windows(2)
                        .flat_map(|ends| expand(&format!("{before}{}{after}", &pattern[ends[0]..ends[1] - 1])))
                        .collect();
                }
            }
            _ => {}
        }
    }
    vec![pattern.to_owned()]
}

fn path_matches(pattern: &[Vec<char>], text: &[Vec<char>]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((first, rest)) if first[..] == ['*', '*'] => {
            (0..=text.len()).any(|skipped| path_matches(rest, &text[skipped..]))
        }
        Some((first, rest)) => match text.split_first() {
            Some((part, left)) => part_matches(first, part) && path_matches(rest, left),
            None => false,
        },
    }
}

fn part_matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skipped| part_matches(rest, &text[skipped..])),
        ['?', rest @ ..] => !text.is_empty() && part_matches(rest, &text[1..]),
        ['\\', literal, rest @ ..] => text.first() == Some(literal) && part_matches(rest, &text[1..]),
        ['[', rest @ ..] => {
            let (Some(close), Some(symbol)) = (rest.iter().position(|c| *c == ']'), text.first()) else {
                return false;
            };
            let (negated, set) = match &rest[..close] {
                ['^' | '!', set @ ..] => (true, set),
                set => (false, set),
            };
            in_set(set, *symbol) != negated && part_matches(&rest[close + 1..], &text[1..])
        }
        [literal, rest @ ..] => text.first() == Some(literal) && part_matches(rest, &text[1..]),
    }
}

fn in_set(set: &[char], symbol: char) -> bool {
    match set {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&symbol) || in_set(rest, symbol),
        [one, rest @ ..] => *one == symbol || in_set(rest, symbol),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_is_anything("", "proxy/library/nginx", true)]
    #[case::exact("proxy/library/nginx", "proxy/library/nginx", true)]
    #[case::a_star_stays_in_its_segment("proxy/*", "proxy/library/nginx", false)]
    #[case::two_stars_do_not("proxy/**", "proxy/library/nginx", true)]
    #[case::two_stars_match_an_untagged_artifact("**", "", true)]
    #[case::a_name_does_not("1.27", "", false)]
    #[case::alternatives("proxy/library/{nginx,redis}", "proxy/library/redis", true)]
    #[case::not_among_the_alternatives("proxy/library/{nginx,redis}", "proxy/library/mysql", false)]
    #[case::nested_alternatives("{1.{26,27},2}", "1.27", true)]
    #[case::set("1.2[0-7]", "1.27", true)]
    #[case::negated_set("1.2[^0-7]", "1.27", false)]
    #[case::escaped("1\\*", "1*", true)]
    #[case::escaped_star_is_no_star("1\\*", "12", false)]
    #[case::one_character("v?", "v1", true)]
    fn matches_as_harbor_does(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern, text), expected);
    }
}
