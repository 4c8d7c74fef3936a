use serde_json::{Map, Value, json};

use crate::{Absent, Group};

/// The schema of one group. Groups stand where they are used instead of under `definitions`: beside a `$ref`, draft 7
/// ignores what is said of the setting itself.
pub fn group_schema(group: &Group) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for setting in group.settings {
        let mut schema = setting.kind.schema();
        schema["description"] = plain(setting.meaning).into();
        if let Some(default) = setting.default_value() {
            schema["default"] = default;
        }
        if let Some(example) = setting.example_value() {
            schema["examples"] = json!([example]);
        }
        if let Absent::Required(_) = setting.absent {
            required.push(setting.key);
        }
        properties.insert(setting.key.to_owned(), schema);
    }
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if let (Some(schema), Ok(Value::Object(together))) = (schema.as_object_mut(), serde_json::from_str(group.together))
    {
        schema.extend(together);
    }
    schema
}

/// The schema of a whole document. `name` is its file's, without `.schema.json`.
pub fn document_schema(group: &Group, name: &str, title: &str) -> Value {
    let mut schema = group_schema(group);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["$id"] = format!("{LOCATION}{name}.schema.json").into();
    schema["title"] = title.into();
    schema
}

const LOCATION: &str = "https://raw.githubusercontent.com/harbor-warmer/harbor-warmer/main/docs/schema/";

/// Markdown as an editor's tooltip shows it, which is text alone: no links, which lead to places of the page, and no
/// marks.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, words, after)) = next_link(rest) {
        text.push_str(before);
        text.push_str(words);
        rest = after;
    }
    text.push_str(rest);
    text.replace("**", "").replace('`', "")
}

/// The first `[words](#target)`.
fn next_link(markdown: &str) -> Option<(&str, &str, &str)> {
    let (head, tail) = markdown.split_once("](#")?;
    let (before, words) = head.rsplit_once('[')?;
    let (_, after) = tail.split_once(')')?;
    Some((before, words, after))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::plain;

    #[rstest]
    #[case::nothing_to_do("One of a[0] and b (c).", "One of a[0] and b (c).")]
    #[case::links("See [there](#there), [`x`](#x).", "See there, x.")]
    #[case::brackets_before_a_link("`[a]`, see [b](#b)", "[a], see b")]
    #[case::marks("**Never** `*`", "Never *")]
    fn a_tooltip_has_no_marks(#[case] markdown: &str, #[case] expected: &str) {
        assert_eq!(plain(markdown), expected);
    }
}
