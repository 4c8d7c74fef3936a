//! The descriptions of the settings, which have no place in the module, held against what reads them, and
//! questions-ui.yml against the descriptions.

use std::collections::{BTreeMap, BTreeSet};

use harbor_warmer_settings::{Absent, Group, Kind, Setting, document_schema, policy};
use harbor_warmer_workload::{PRESETS, PolicySettings};
use rstest::rstest;
use serde_json::{Value, json};

#[test]
fn the_described_keys_are_the_known_ones() {
    let unknown = json!({
        "unknown": 1,
        "warmer": "warmer:8443",
        "rules": [
            {"prefix": "docker.io", "harbor": "main", "project": "hub", "unknown": 1},
            {"ecr": {"unknown": 1}, "harbor": "main", "project": "hub"},
        ],
        "customResources": [{"group": "argoproj.io", "kind": "Rollout", "unknown": 1}],
    });

    let mistakes = PolicySettings::try_from(&unknown).unwrap_err();

    let mut known: Vec<(&str, BTreeSet<_>)> = Vec::new();
    for mistake in &mistakes {
        let keys = mistake.message.strip_prefix("unknown key; the keys here are ").unwrap();
        known.push((&mistake.path, keys.split(", ").collect()));
    }
    known.sort();
    let keys = |name: &str| group(name).keys().collect::<BTreeSet<_>>();
    let expected = [
        ("customResources[0].unknown", keys("customResource")),
        ("rules[0].unknown", keys("rule")),
        ("rules[1].ecr.unknown", keys("ecr")),
        ("unknown", keys("policy")),
    ];
    assert_eq!(known, expected);
}

#[test]
fn a_missing_key_is_told_with_the_described_advice() {
    let mut count = 0;
    for (group, pointer) in PLACES {
        for setting in self::group(group).settings {
            let Absent::Required(advice) = setting.absent else { continue };
            count += 1;
            let mut settings = base();
            settings.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(setting.key);

            let mistakes = PolicySettings::try_from(&settings).unwrap_err();

            let told = mistakes.iter().any(|mistake| mistake.message.contains(advice));
            assert!(told, "{}: {mistakes:?}", setting.key);
            assert!(!fits(&settings), "{}", setting.key);
        }
    }
    assert_eq!(count, 4);
}

#[test]
fn writing_every_default_changes_nothing() {
    let mut written = base();
    for (group, pointer) in PLACES {
        for setting in self::group(group).settings {
            let map = written.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            if let Some(default) = setting.default_value() {
                map.entry(setting.key).or_insert(default);
            }
        }
    }

    assert_ne!(written, base());
    assert_eq!(format!("{:?}", PolicySettings::try_from(&written)), format!("{:?}", PolicySettings::try_from(&base())));
}

#[rstest]
#[case("policy", "")]
#[case("customResource", "/customResources/0")]
#[case("ecr", "/rules/1/ecr")]
fn every_example_is_accepted(#[case] group: &str, #[case] pointer: &str) {
    for setting in self::group(group).settings {
        let Some(example) = setting.example_value() else { continue };
        let mut settings = base();
        settings.pointer_mut(pointer).unwrap()[setting.key] = example;

        let told = PolicySettings::try_from(&settings).map(drop);
        assert_eq!(told, Ok(()), "{}", setting.key);
        assert!(fits(&settings), "{}", setting.key);
    }
}

#[rstest]
#[case::least(1, true)]
#[case::most(50, true)]
#[case::none(0, false)]
#[case::too_many(51, false)]
fn the_bounds_of_max_images_are_the_described_ones(#[case] number: u64, #[case] valid: bool) {
    let mut settings = base();
    settings["maxImages"] = number.into();
    assert_eq!((PolicySettings::try_from(&settings).is_ok(), fits(&settings)), (valid, valid));
}

#[rstest]
#[case::unknown_key("", "plattforms", json!([]))]
#[case::warmer_with_scheme("", "warmer", json!("https://warmer.example.com"))]
#[case::warmer_with_path("", "warmer", json!("warmer.example.com/v2"))]
#[case::warmer_taken_for_docker_hub("", "warmer", json!("warmer"))]
#[case::warmer_is_ipv6("", "warmer", json!("[fd00::1]:8443"))]
#[case::no_rules("", "rules", json!([]))]
#[case::no_platforms("", "platforms", json!([]))]
#[case::platform_without_os("", "platforms", json!(["amd64"]))]
#[case::half_an_image("", "maxImages", json!(0.5))]
#[case::unknown_lookup("", "lookup", json!("harbor"))]
#[case::warnings_as_text("", "warnings", json!("yes"))]
#[case::no_kind("/customResources/0", "kind", json!(""))]
#[case::no_pointer("/customResources/0", "podSpec", json!("spec.template"))]
#[case::no_pointer_to_an_image("/customResources/0", "images", json!(["spec.image"]))]
#[case::image_pointer_as_text("/customResources/0", "images", json!("/spec/image"))]
#[case::unknown_preset("", "presets", json!(["argo"]))]
#[case::preset_as_text("", "presets", json!("argo-workflows"))]
#[case::empty_pattern("/rules/0", "pattern", json!(""))]
#[case::slash_before_the_repository("/rules/0", "repository", json!("/{rest}"))]
#[case::group_as_sed_writes_it("/rules/0", "repository", json!("\\1"))]
#[case::group_with_its_version("/customResources/0", "group", json!("argoproj.io/v1alpha1"))]
#[case::plural_for_a_kind("/customResources/0", "kind", json!("rollouts"))]
#[case::brackets_in_a_pointer("/customResources/0", "podSpec", json!("/spec/tasks[*]/template/spec"))]
#[case::slash_at_the_end_of_a_pointer("/customResources/0", "podSpec", json!("/spec/template/spec/"))]
#[case::two_matchers("/rules/0", "pattern", json!("a"))]
#[case::empty_prefix("/rules/0", "prefix", json!(""))]
#[case::skips_and_maps("/rules/0", "skip", json!(true))]
#[case::harbor_is_a_host("/rules/0", "harbor", json!("harbor.example.com"))]
#[case::target_called_none("/rules/0", "target", json!("none"))]
#[case::empty_project("/rules/0", "project", json!(""))]
#[case::short_account("/rules/1/ecr", "accounts", json!(["1234"]))]
#[case::account_as_number("/rules/1/ecr", "accounts", json!([123_456_789_012_u64]))]
fn reader_and_schema_refuse_the_same(#[case] pointer: &str, #[case] key: &str, #[case] value: Value) {
    assert!(fits(&base()));
    let mut settings = base();
    settings.pointer_mut(pointer).unwrap()[key] = value;

    assert!(PolicySettings::try_from(&settings).is_err(), "the reader accepts it");
    assert!(!fits(&settings), "the schema accepts it");
}

#[rstest]
#[case::registry_without_look_ups(json!({"lookup": "none", "lookupRegistry": "harbor.example.com"}))]
#[case::no_destination(json!({"rules": [{"prefix": "docker.io"}]}))]
#[case::no_matcher(json!({"rules": [{"harbor": "main", "project": "hub"}]}))]
fn reader_and_schema_refuse_what_does_not_go_together(#[case] changes: Value) {
    let settings = crate::testing::settings_json(&changes);
    assert!(PolicySettings::try_from(&settings).is_err(), "the reader accepts it");
    assert!(!fits(&settings), "the schema accepts it");
}

#[test]
fn the_described_presets_are_the_known_ones() {
    let mut settings = base();
    settings["presets"] = PRESETS.iter().map(|preset| preset.name).collect();
    assert!(PolicySettings::try_from(&settings).is_ok() && fits(&settings));
    let words = group("policy").settings.iter().find(|setting| setting.key == "presets").unwrap().kind.schema();
    assert_eq!(words["items"]["enum"], settings["presets"]);
}

#[test]
fn questions_ui_asks_for_every_setting() {
    let text = std::fs::read_to_string("questions-ui.yml").unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let questions = file["questions"].as_array().unwrap();
    // The first question is a text without an answer.
    assert_eq!(compare(group("policy"), &questions[1..]), Vec::<String>::new());
}

/// What differs between a group and the questions that ask for it.
fn compare(group: &Group, questions: &[Value]) -> Vec<String> {
    let variable = |question: &Value| question["variable"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    let asked: BTreeMap<_, _> = questions.iter().map(|question| (variable(question), question)).collect();
    let superfluous = asked.keys().filter(|key| !group.keys().any(|known| known == *key));
    let mut differences: Vec<_> = superfluous.map(|key| format!("{}: there is no {key}", group.name)).collect();
    for setting in group.settings {
        let Some(question) = asked.get(setting.key) else {
            differences.push(format!("{}: {} isn't asked for", group.name, setting.key));
            continue;
        };
        differences.extend(compare_one(question, setting));
        let beneath = question.get("sequence_questions").or_else(|| question.get("subquestions"));
        match (setting.kind.groups().as_slice(), beneath.and_then(Value::as_array)) {
            ([], None) => {}
            ([group], Some(questions)) => differences.extend(compare(group, questions)),
            _ => differences.push(format!("{}: what is beneath it isn't asked for", setting.key)),
        }
    }
    differences
}

fn compare_one(question: &Value, setting: &Setting<dyn Kind>) -> Vec<String> {
    let schema = setting.kind.schema();
    let default = setting.default_value().filter(|_| !matches!(setting.absent, Absent::Required(_)));
    let mut expected = vec![
        ("required", Value::Bool(matches!(setting.absent, Absent::Required(_)))),
        ("min", schema["minimum"].clone()),
        ("max", schema["maximum"].clone()),
        ("options", schema["enum"].clone()),
    ];
    // Where nothing holds by itself, the form may suggest something.
    if let Some(default) = default {
        expected.push(("default", default));
    }
    let differs = expected.into_iter().filter(|(key, value)| question[key] != *value);
    differs.map(|(key, value)| format!("{}: `{key}` is {}, not {value}", setting.key, question[key])).collect()
}

/// Where each group stands in [`base`].
const PLACES: [(&str, &str); 4] =
    [("policy", ""), ("rule", "/rules/0"), ("ecr", "/rules/1/ecr"), ("customResource", "/customResources/0")];

/// Settings with every map in them.
fn base() -> Value {
    json!({
        "warmer": "warmer.example:8443",
        "rules": [
            {"prefix": "docker.io", "harbor": "site", "project": "hub"},
            {"ecr": {}, "harbor": "site", "project": "hub"},
        ],
        "customResources": [{"group": "example.io", "kind": "Runner"}],
    })
}

fn group(name: &str) -> &'static Group {
    policy::SETTINGS.all().into_iter().find(|group| group.name == name).unwrap()
}

fn fits(settings: &Value) -> bool {
    jsonschema::draft7::is_valid(&document_schema(&policy::SETTINGS, "test", "Test"), settings)
}
