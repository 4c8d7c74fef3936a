use rstest::rstest;

use super::*;

#[rstest]
#[case::plain("ghcr.io/acme", "ghcr.io/acme")]
#[case::anchors("^a$", "a")]
#[case::alternatives("a|b", "a")]
#[case::an_impossible_alternative("@|b", "b")]
#[case::class("[0-9]", "0")]
#[case::negated_class("[^a-c]", "d")]
#[case::bracket_first_in_a_class("[]a]", "a")]
#[case::digits(r"[\d]", "0")]
#[case::optional("a(@.*)?b", "ab")]
#[case::none_or_more("a@*b", "ab")]
#[case::counted("[a-c]{3}", "aaa")]
#[case::counted_from_none("a@{0,3}", "a")]
#[case::lazy("a+?b", "ab")]
#[case::group_with_a_name("(?<x>a)(?P<y>b)", "ab")]
#[case::flags("(?i)a(?-i:b)", "ab")]
#[case::escapes(r"a\.b\-c\/d", "a.b-c/d")]
#[case::dots("^.*x.y", "ax.y")]
#[case::boundary(r"\ba\b", "a")]
fn a_pattern_has_a_sample(#[case] pattern: &str, #[case] expected: &str) {
    assert_eq!(sample(pattern), Ok(expected.to_owned()));
    assert!(Regex::new(pattern).unwrap().is_match(expected));
}

#[rstest]
#[case::digest("a@sha256:", '@')]
#[case::every_alternative("a@|b@", '@')]
#[case::escaped(r"a\@b", '@')]
#[case::class_of_nothing_else("a[@]b", '@')]
#[case::at_least_once("a@+", '@')]
#[case::counted("a@{1,2}", '@')]
#[case::blank("a b", ' ')]
#[case::blanks(r"a\sb", ' ')]
#[case::other_letters("ä", 'ä')]
fn what_no_image_has_is_named(#[case] pattern: &str, #[case] character: char) {
    assert_eq!(sample(pattern), Err(character));
}

#[rstest]
#[case::plain(r"^ghcr\.io/acme", "ghcr.io/acme")]
#[case::up_to_a_group(r"^ghcr\.io/(?<x>a)", "ghcr.io/")]
#[case::a_dot_is_anything("^ghcr.io/acme", "ghcr")]
#[case::what_may_be_missing(r"^ghcr\.io/acme?", "ghcr.io/acm")]
#[case::not_anchored("ghcr", "")]
#[case::alternatives("^ghcr|quay", "")]
fn the_start_that_all_matches_have_is_known(#[case] pattern: &str, #[case] expected: &str) {
    assert_eq!(Pattern::parse(pattern, false).unwrap().literal_start(), expected);
}

#[test]
fn nesting_without_end_is_no_trouble() {
    let nested = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
    drop(sample(&nested));
}
