//! What is printed of the presets: the chart's rules for the webhook, and a table of the reference page. `UPDATE=1`
//! rewrites both.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use harbor_warmer_workload::{PRESETS, Preset};

#[test]
fn the_charts_webhook_rules_are_printed_from_the_presets() {
    let mut text =
        "# Printed from the presets of the policy: UPDATE=1 cargo test -p harbor-warmer-policy presets\n".to_owned();
    for preset in &PRESETS {
        writeln!(text, "{}:", preset.name).unwrap();
        for (group, kinds) in groups(preset) {
            let plurals: Vec<_> = kinds.iter().map(|(_, plural)| *plural).collect();
            writeln!(text, "  - {{apiGroups: [{group}], resources: [{}]}}", plurals.join(", ")).unwrap();
        }
    }
    assert_printed("charts/harbor-warmer/files/presets.yaml", &text);
}

#[test]
fn the_table_of_presets_is_printed_from_the_presets() {
    let mut table = "| preset | API group | kinds |\n|---|---|---|\n".to_owned();
    for preset in &PRESETS {
        for (group, kinds) in groups(preset) {
            let kinds: Vec<_> = kinds.iter().map(|(kind, _)| format!("`{kind}`")).collect();
            writeln!(table, "| `{}` | `{group}` | {} |", preset.name, kinds.join(", ")).unwrap();
        }
    }
    let path = "docs/configuration.md";
    let page = std::fs::read_to_string(place(path)).unwrap();
    let (before, after) = page.split_once("<!-- presets -->").unwrap();
    let (_, after) = after.split_once("<!-- end -->").unwrap();
    assert_printed(path, &format!("{before}<!-- presets -->\n\n{table}\n<!-- end -->{after}"));
}

/// The kinds of a preset with their plurals, by API group.
fn groups(preset: &Preset) -> Vec<(&str, Vec<(&str, &str)>)> {
    let mut groups: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for resource in preset.resources {
        let kind = (resource.kind, resource.plural);
        match groups.iter_mut().find(|(group, _)| *group == resource.group) {
            Some((_, kinds)) => kinds.push(kind),
            None => groups.push((resource.group, vec![kind])),
        }
    }
    groups
}

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn assert_printed(path: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(place(path), text).unwrap();
    }
    let there = std::fs::read_to_string(place(path)).unwrap_or_default();
    assert!(there == text, "{path} is stale: UPDATE=1 cargo test -p harbor-warmer-policy presets");
}
