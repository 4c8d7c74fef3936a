use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Document, Documents, LineColumn, NotText, Repeated, text_of};

fn values(text: &str) -> Vec<Value> {
    Documents::of(text).map(|document| document.unwrap_or_else(|error| panic!("{error}\nin {text}")).0).collect()
}

/// The first mistake of a stream.
fn mistake(text: &str) -> String {
    let errors: Vec<_> = Documents::of(text).filter_map(Result::err).collect();
    assert_eq!(errors.len(), 1, "{text}");
    errors[0].to_string()
}

#[test]
fn remembers_where_every_key_and_item_stands() {
    let document = Document::parse("a: 1\nb:\n  c:\n    - x\n    - {d: true}\n").unwrap();

    assert_eq!(document.value, json!({ "a": 1, "b": { "c": ["x", { "d": true }] } }));
    assert_eq!(document.position("b.c"), LineColumn { line: 3, column: 3 });
    assert_eq!(document.position("b.c[0]"), LineColumn { line: 4, column: 7 });
    assert_eq!(document.position("b.c[1].d"), LineColumn { line: 5, column: 8 });
}

#[test]
fn a_missing_key_is_told_where_it_would_stand() {
    let document = Document::parse("a: 1\nb:\n  c: 2\n").unwrap();

    assert_eq!(document.position("b.missing[3].deep"), LineColumn { line: 2, column: 1 });
    assert_eq!(document.position("missing"), LineColumn { line: 1, column: 1 });
}

#[rstest]
#[case::comment("# nothing\n", json!({}))]
#[case::nothing("", json!({}))]
#[case::marker_first("---\na: 1\n", json!({"a": 1}))]
#[case::marker_last("a: 1\n---\n# nothing more\n", json!({"a": 1}))]
#[case::end_marker("a: 1\n...\n", json!({"a": 1}))]
#[case::directive("%YAML 1.2\n---\na: 1\n", json!({"a": 1}))]
#[case::yes_is_a_text("a: yes\nb: true\n", json!({"a": "yes", "b": true}))]
#[case::aliases("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n", json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}))]
#[case::infinite("a: .inf\n", json!({"a": ".inf"}))]
#[case::binary("a: !!binary aGVsbG8=\n", json!({"a": "hello"}))]
#[case::number_as_key("8080: a\n", json!({"8080": "a"}))]
fn one_document_is_read(#[case] text: &str, #[case] expected: Value) {
    assert_eq!(Document::parse(text).unwrap().value, expected);
}

#[test]
fn a_key_that_stands_there_twice_is_told_with_both_lines_and_the_last_one_counts() {
    let document = Document::parse("a: {b: 1,\n b: 2}\nc: 3\n").unwrap();

    assert_eq!(document.value, json!({ "a": { "b": 2 }, "c": 3 }));
    let at = LineColumn { line: 2, column: 2 };
    assert_eq!(document.repeated, [Repeated { path: "a.b".to_owned(), at, first_line: 1 }]);
}

#[test]
fn a_second_document_is_told_where_it_begins() {
    let error = Document::parse("a: 1\nb: 2\n---\nc: 3\n").unwrap_err();

    assert_eq!(error.at, LineColumn { line: 3, column: 1 });
    assert!(error.message.contains("a second document begins here"), "{error}");
}

#[rstest]
#[case::one("a: 1\n", &["{\"a\":1}"])]
#[case::several("---\na: 1\n---\n# nothing\n---\nb: 2\n", &["{\"a\":1}", "{\"b\":2}"])]
#[case::content_on_the_marker("--- {a: 1}\n--- {b: 2}\n", &["{\"a\":1}", "{\"b\":2}"])]
#[case::end_markers("a: 1\n...\n---\nb: 2\n...\n", &["{\"a\":1}", "{\"b\":2}"])]
#[case::marker_in_a_block_text_is_indented("a: |\n  ---\n  x\n---\nb: 2\n", &["{\"a\":\"---\\nx\\n\"}", "{\"b\":2}"])]
#[case::windows_lines("a: 1\r\n---\r\nb: 2\r\n", &["{\"a\":1}", "{\"b\":2}"])]
#[case::dashes_are_no_marker("a: 1\n----: 2\n", &["{\"----\":2,\"a\":1}"])]
#[case::comment_before_a_marker("# Source: x\n---\n# Source: y\na: 1\n", &["{\"a\":1}"])]
#[case::json("{\"a\": 1}\n", &["{\"a\":1}"])]
#[case::json_lines("{\"a\": 1}\n{\"b\": 2}\n\n{\"c\": 3}", &["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"])]
#[case::json_without_lines("{\"a\":1}{\"b\":2}", &["{\"a\":1}", "{\"b\":2}"])]
#[case::json_with_tabs("{\n\t\"a\":\t1\n}", &["{\"a\":1}"])]
#[case::json_array("[{\"a\": 1}, {\"b\": 2}]", &["[{\"a\":1},{\"b\":2}]"])]
#[case::json_between_markers("{\"a\": 1}\n---\n{\"b\": 2}\n", &["{\"a\":1}", "{\"b\":2}"])]
#[case::braces_of_yaml("{a: 1, b: [x, y]}\n", &["{\"a\":1,\"b\":[\"x\",\"y\"]}"])]
#[case::nothing("", &[])]
fn a_stream_is_read_one_document_at_a_time(#[case] text: &str, #[case] expected: &[&str]) {
    let values: Vec<_> = values(text).iter().map(Value::to_string).collect();
    assert_eq!(values, expected);
}

#[test]
fn a_stream_has_no_bound() {
    let document = "a: {b: 1}\n---\n";
    assert_eq!(values(&document.repeat(5_000)).len(), 5_000);

    let list = format!("items:\n{}", "- {a: 1, b: 2, c: [d, e]}\n".repeat(80_000));
    assert_eq!(values(&list)[0]["items"].as_array().map(Vec::len), Some(80_000));

    let aliases = format!("a: &x 1\nb:\n{}", "- *x\n".repeat(60_000));
    assert_eq!(values(&aliases)[0]["b"].as_array().map(Vec::len), Some(60_000));
}

#[rstest]
#[case::colon("a: b: c\n", "line 1", "  1 | a: b: c\n")]
#[case::later_document("a: 1\n---\nb: [1, 2\nc: 3\n", "line 4", "  3 | b: [1, 2\n  4 | c: 3\n")]
#[case::tab("a:\n\tb: 1\n", "line 2", "  2 |  b: 1\n")]
#[case::alias_without_anchor("a: *x\n", "line 1, column 4: an alias (`*name`) needs its anchor", "    |    ^")]
#[case::no_key(": x\n", "line 1", "1 | : x")]
#[case::merge_of_a_text("a: {<<: x}\n", "line 1", "merges a map")]
#[case::json("{\"a\": 1,\n \"b\" 2}\n", "line 2, column 6: expected `:`", "  2 |  \"b\" 2}\n    |      ^")]
#[case::json_lines("{\"a\": 1}\n{\"b\": }\n", "line 2", "  2 | {\"b\": }\n")]
#[case::text_after_json("{\"a\": 1}\nnothing\n", "line 2", "  2 | nothing\n")]
fn a_mistake_is_told_with_its_line_and_the_lines_before(
    #[case] text: &str,
    #[case] start: &str,
    #[case] fragment: &str,
) {
    let told = mistake(text);
    assert!(told.starts_with(start) && told.contains(fragment), "{told}");
}

/// Words that are for those who program with a library, or its bounds.
const LIBRARY: [&str; 13] = [
    "budget",
    "Options",
    "Policy",
    "breach",
    "from_",
    "deserialize",
    "Option<",
    "<input>",
    "serde",
    "replay",
    "config",
    "limit",
    "recursion",
];

fn deep(open: &str, close: &str) -> String {
    format!("a: {}1{}\n", open.repeat(300), close.repeat(300))
}

fn laughs() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let items = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{items}]\n"));
    }
    text
}

#[rstest]
#[case::deep_lists(deep("[", "]"), "deep")]
#[case::deep_maps(deep("{a: ", "}"), "deep")]
#[case::deep_blocks((0..300).map(|n| format!("{}a:\n", " ".repeat(n))).collect(), "deep")]
#[case::laughs(laughs(), "unfold to far more")]
#[case::own_alias("a: &x [*x]\n".to_owned(), "")]
#[case::two_anchors_on_one("a: &x &y 1\n".to_owned(), "")]
#[case::no_key("? \n: x\n".to_owned(), "a key is missing")]
#[case::map_as_key("? {a: 1}\n: x\n".to_owned(), "")]
#[case::bad_binary("a: !!binary '%'\n".to_owned(), "")]
#[case::open_quote("a: 'b\nc: d\n".to_owned(), "")]
#[case::open_bracket("a: [b\n".to_owned(), "")]
#[case::wrong_indent("a:\n    b: 1\n  c: 2\n".to_owned(), "")]
#[case::long_key(format!("{}: x\n", "k".repeat(3000)), "")]
#[case::bad_escape("a: \"\\q\"\n".to_owned(), "")]
#[case::reserved("a: @b\n".to_owned(), "")]
#[case::percent("a: 1\n%b\n".to_owned(), "")]
#[case::unknown_directive("%YAML 3.0\n---\na: 1\n...\n%\n".to_owned(), "")]
fn no_word_of_the_library_reaches_a_person(#[case] text: String, #[case] fragment: &str) {
    for document in Documents::of(&text) {
        if let Err(error) = document {
            let told = error.to_string();
            for word in LIBRARY {
                assert!(!error.message.contains(word), "{word}: {told}");
            }
            assert!(told.contains(fragment), "{told}");
            return;
        }
    }
    assert_eq!(fragment, "", "there is a mistake in {text}");
}

#[test]
fn a_message_tells_nothing_that_stands_there() {
    for text in [
        "a: 1\nb: [1, 2\nc: 3\n",
        "password: s3cret\nb: [1, 2\npassword: s3cret\n",
        "a:\n  password: s3cret\n b: 2\n",
        "password: \"s3cret\n",
        "password: s3cret: more\n",
        "password: *s3cret\n",
        "password: !!s3cret [\n",
        "{password: s3cret]\n",
    ] {
        let error = Document::parse(text).unwrap_err();
        assert!(!error.message.contains("s3cret"), "{text:?}: {error}");
    }
}

#[test]
fn a_map_of_very_many_keys_is_read_in_a_time_that_grows_with_them() {
    // Two thousand million comparisons, if each were compared with all before it.
    let text: String = (0..60_000).map(|n| format!("k{n}: 1\n")).collect();
    let document = Document::parse(&text);
    assert!(document.is_ok_and(|document| document.value.as_object().is_some_and(|map| map.len() == 60_000)));
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let text = format!("{{\"a\": \"{}\" \"b\": 1}}", "x".repeat(50_000));
    let told = mistake(&text);

    assert!(told.lines().all(|line| line.chars().count() < 140), "{told}");
    assert!(told.contains("xx\" \"b\": 1}"), "{told}");
}

#[test]
fn nothing_in_an_excerpt_moves_the_cursor() {
    assert!(!mistake("a: \u{1b}[2J\nb: [\n").contains('\u{1b}'));
}

#[rstest]
#[case::text(b"a: 1\n", Ok("a: 1\n"))]
#[case::byte_order_mark(b"\xef\xbb\xbfa: 1\n", Ok("a: 1\n"))]
#[case::powershell(b"\xff\xfea\0:\0", Err(NotText::Utf16))]
#[case::big_endian(b"\xfe\xff\0a", Err(NotText::Utf16))]
#[case::latin(b"a: 1\nb: caf\xe9\n", Err(NotText::Other { line: 2, byte: 0xe9 }))]
fn bytes_are_text_or_it_is_told_where_not(#[case] bytes: &[u8], #[case] expected: Result<&str, NotText>) {
    assert_eq!(text_of(bytes.to_vec()).as_deref(), expected.as_ref().map(|text| *text));
}

proptest! {
    #[test]
    fn any_text_is_read_or_told_of_within_it(text in "[-a-c:{}\\[\\], \"'&*|>#%!?\\n\\t.0-9é]{0,60}") {
        let lines = u64::try_from(text.lines().count()).unwrap();
        for error in Documents::of(&text).filter_map(Result::err) {
            prop_assert!(error.at.line <= lines.max(1) + 1, "{error}");
            for word in LIBRARY {
                prop_assert!(!error.message.contains(word), "{error}");
            }
        }
    }

    /// Markers alone cut a stream: whatever the documents are, each is read as if it stood alone.
    #[test]
    fn a_stream_is_its_documents(documents in prop::collection::vec("[a-c]: [a-z0-9]{1,5}", 0..8)) {
        let stream: String = documents.iter().map(|text| format!("---\n{text}\n")).collect();
        let alone: Vec<_> = documents.iter().flat_map(|text| values(text)).collect();
        prop_assert_eq!(values(&stream), alone);
    }
}
