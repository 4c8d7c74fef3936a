//! The reference page, the JSON schemas, the samples and the chart's schema, held against the settings that the readers
//! go by. `UPDATE=1` rewrites what is printed.

use std::path::{Path, PathBuf};

use harbor_warmer::config::document::{CONFIGURATION, parse};
use harbor_warmer::config::{Config, Mistake};
use harbor_warmer_settings::{Absent, Group, document_schema, fill, policy};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn the_reference_page_is_printed_from_the_settings() {
    let mut groups = CONFIGURATION.all();
    for group in policy::SETTINGS.all() {
        if !groups.iter().any(|known| known.name == group.name) {
            groups.push(group);
        }
    }
    let page = read("docs/configuration.md");

    let filled = fill(&page, &groups).unwrap();

    assert_printed("docs/configuration.md", page == filled, &filled);
}

#[rstest]
#[case::warmer("warmer-configuration", &CONFIGURATION, "Configuration of harbor-warmer")]
#[case::policy("policy-settings", &policy::SETTINGS, "Settings of the policy harbor-warmer")]
fn a_schema_is_printed_from_the_settings(#[case] name: &str, #[case] group: &'static Group, #[case] title: &str) {
    let path = format!("docs/schema/{name}.schema.json");
    let schema = document_schema(group, name, title);

    // As values: the order of keys is that of the JSON library's map.
    let same = serde_json::from_str(&read(&path)).is_ok_and(|known: Value| known == schema);

    assert_printed(&path, same, &(serde_json::to_string_pretty(&schema).unwrap() + "\n"));
}

#[test]
fn the_schemas_are_valid_schemas() {
    for group in [&CONFIGURATION, &policy::SETTINGS] {
        let schema = document_schema(group, "test", "Test");
        assert!(jsonschema::draft7::meta::is_valid(&schema), "{}", group.name);
        for group in group.all() {
            let together = serde_json::from_str::<Value>(group.together);
            assert!(group.together.is_empty() || together.is_ok_and(|value| value.is_object()), "{}", group.name);
        }
    }
}

#[test]
fn every_example_fits_its_setting() {
    for group in CONFIGURATION.all().into_iter().chain(policy::SETTINGS.all()) {
        for setting in group.settings {
            let Some(example) = setting.example_value() else {
                assert!(setting.example.is_empty() && !setting.kind.groups().is_empty(), "{} needs one", setting.key);
                continue;
            };
            assert_eq!(complaints(&setting.kind.schema(), &example), Vec::<String>::new(), "{}", setting.key);
            assert_ne!(Some(example), setting.default_value(), "{}: the example is the default", setting.key);
        }
    }
}

#[test]
fn every_sample_fits_its_schema() {
    let warmer = document_schema(&CONFIGURATION, "test", "Test");
    let policy = document_schema(&policy::SETTINGS, "test", "Test");
    for (path, schema) in [
        ("docs/samples/minimal.yaml", &warmer),
        ("docs/samples/full.yaml", &warmer),
        ("docs/demo/settings.yaml", &policy),
    ] {
        let text = read(path);
        assert!(text.starts_with("# yaml-language-server: $schema=https://"), "{path}");
        assert_eq!(complaints(schema, &yaml(&text)), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn the_full_sample_has_every_key_but_the_alternatives() {
    let sample = yaml(&read("docs/samples/full.yaml"));
    let alternatives = [
        "allowHttp",
        "insecureSkipVerify",
        "passwordEnv",
        "dockerConfigFile",
        "existing",
        "ecr",
        "accounts",
        "regions",
        "skip",
    ];
    let keys = CONFIGURATION.all().into_iter().flat_map(Group::keys);

    let absent: Vec<_> = keys.filter(|key| !alternatives.contains(key) && !has_key(&sample, key)).collect();

    assert_eq!(absent, Vec::<&str>::new());
}

#[test]
fn what_the_chart_renders_fits_the_schemas() {
    let warmer = document_schema(&CONFIGURATION, "test", "Test");
    let policy = document_schema(&policy::SETTINGS, "test", "Test");
    let mut found = (0, 0);
    for name in ["minimal", "cert-manager", "everything", "existing-policy-server", "joining", "replication"] {
        let text = read(&format!("charts/tests/golden/{name}.yaml"));
        for document in text.split("\n---\n").map(yaml) {
            if let Some(config) = document.pointer("/data/config.yaml").and_then(Value::as_str) {
                found.0 += 1;
                assert!(config.starts_with("# yaml-language-server: $schema=https://"), "{name}");
                assert_eq!(complaints(&warmer, &yaml(config)), Vec::<String>::new(), "{name}");
            }
            if let Some(settings) = document.pointer("/spec/settings") {
                found.1 += 1;
                assert_eq!(complaints(&policy, settings), Vec::<String>::new(), "{name}");
            }
        }
    }
    assert_eq!(found, (5, 6));
}

#[test]
fn writing_every_default_changes_nothing() {
    let directory = directory();
    let mut written = base();
    for (group, place) in placed_groups() {
        for setting in group.settings {
            let at = written.pointer_mut(&place.pointer).unwrap();
            if let Some(default) = setting.default_value().filter(|_| at.get(setting.key).is_none()) {
                at[setting.key] = default;
            }
        }
    }

    let config = format!("{:?}", read_config(&written, &directory).unwrap());

    assert!(written != base());
    assert_eq!(config, format!("{:?}", read_config(&base(), &directory).unwrap()));
}

/// A list of lists is right under no key, so a reader that forgets a key lets it through.
#[test]
fn every_key_is_read_and_its_type_is_judged_by_reader_and_schema() {
    let (directory, schema) = (directory(), document_schema(&CONFIGURATION, "test", "Test"));
    for (group, place) in placed_groups() {
        for setting in group.settings {
            let wrong = with(&place.pointer, setting.key, Some(json!([[1]])));

            let mistakes = read_config(&wrong, &directory).expect_err(setting.key);

            let told = mistakes.iter().any(|mistake| mistake.path.starts_with(&place.path));
            assert!(told, "{}.{}: {mistakes:?}", place.path, setting.key);
            assert_ne!(complaints(&schema, &wrong), Vec::<String>::new(), "{}.{}", place.path, setting.key);
        }
    }
}

#[test]
fn every_required_key_is_missed_by_reader_and_schema() {
    let (directory, schema) = (directory(), document_schema(&CONFIGURATION, "test", "Test"));
    let mut count = 0;
    for (group, place) in placed_groups() {
        for setting in group.settings {
            let Absent::Required(advice) = setting.absent else { continue };
            count += 1;
            let without = with(&place.pointer, setting.key, None);

            let mistakes = read_config(&without, &directory).expect_err(setting.key);

            let message = format!("is missing; {advice}");
            assert!(mistakes.iter().any(|mistake| mistake.message == message), "{}: {mistakes:?}", setting.key);
            assert_ne!(complaints(&schema, &without), Vec::<String>::new(), "{}", setting.key);
        }
    }
    assert_eq!(count, 10);
}

#[rstest]
#[case::unknown_key("", "colour", json!("red"))]
#[case::typing_error("/registry", "listn", json!("0.0.0.0:1"))]
#[case::listen_is_a_port("/registry", "listen", json!(8443))]
#[case::listen_is_a_name("/admin", "listen", json!("localhost:9090"))]
#[case::no_socket("/admin", "socket", json!(""))]
#[case::no_connections("/registry", "maxConnections", json!(0))]
#[case::half_a_worker("/queue", "workers", json!(0.5))]
#[case::too_many_workers("/queue", "workers", json!(257))]
#[case::no_unit("/queue", "lease", json!(60))]
#[case::unit_unknown("/queue", "lease", json!("1w"))]
#[case::smaller_unit_first("/queue", "lease", json!("30m1h"))]
#[case::no_number("/queue", "lease", json!(""))]
#[case::cluster_is_reserved("/registry/credentials/0", "cluster", json!("anonymous"))]
#[case::cluster_with_a_colon("/registry/credentials/0", "cluster", json!("a:b"))]
#[case::two_passwords("/registry/credentials/0", "passwordEnv", json!("PATH"))]
#[case::password_in_plain_text("/harbors/site/credentials", "password", json!("swordfish"))]
#[case::user_beside_docker_config("/harbors/site/credentials", "dockerConfigFile", json!("docker.json"))]
#[case::user_name_with_a_colon("/harbors/site/credentials", "username", json!("a:b"))]
#[case::harbor_name_with_dots("/harbors", "a.example", json!({}))]
#[case::target_called_none("/targets", "none", json!({}))]
#[case::url_without_scheme("/harbors/site", "url", json!("harbor.example.com"))]
#[case::url_with_path("/harbors/site", "url", json!("https://harbor.example.com/hub"))]
#[case::url_with_user("/harbors/site", "url", json!("https://robot:swordfish@harbor.example.com"))]
#[case::plain_http("/harbors/site", "url", json!("http://harbor.example.com"))]
#[case::unknown_kind("/harbors/site", "kind", json!("quay"))]
#[case::no_projects("/harbors/site", "projects", json!({}))]
#[case::project_with_a_slash("/harbors/site/projects", "hub/library", json!({}))]
#[case::unknown_transfer("/harbors/site/projects/hub", "transfer", json!("copy"))]
#[case::flag_is_a_text("/harbors/site/projects/hub", "completeIndex", json!("on"))]
#[case::anonymous_replication("/targets/prod", "credentials", json!("anonymous"))]
#[case::two_policies("/targets/prod/replication", "existing", json!("other"))]
#[case::policy_without_name("/targets/prod/replication", "own", json!(""))]
#[case::too_many_parts("/targets/prod/replication", "destNamespaceReplaceCount", json!(17))]
#[case::namespace_of_an_existing_policy(
    "/targets/prod", "replication", json!({"existing": "a", "destNamespace": "b"})
)]
#[case::two_matchers("/rules/0", "pattern", json!("a"))]
#[case::skips_and_maps("/rules/0", "skip", json!(true))]
#[case::account_too_short("/rules/1/ecr", "accounts", json!(["1234"]))]
#[case::no_platforms("", "platforms", json!([]))]
#[case::platform_without_os("", "platforms", json!(["amd64"]))]
fn reader_and_schema_refuse_the_same(#[case] pointer: &str, #[case] key: &str, #[case] value: Value) {
    let (directory, schema) = (directory(), document_schema(&CONFIGURATION, "test", "Test"));
    assert_eq!(complaints(&schema, &base()), Vec::<String>::new());

    let wrong = with(pointer, key, Some(value));

    read_config(&wrong, &directory).expect_err("the reader accepts it");
    assert_ne!(complaints(&schema, &wrong), Vec::<String>::new(), "the schema accepts it");
}

#[rstest]
#[case::http_here("/harbors/site", "url", json!("http://127.0.0.1:8080"))]
#[case::ipv6("/registry", "listen", json!("[::]:8443"))]
#[case::mixed_duration("/queue", "lease", json!("1m30s500ms"))]
#[case::anonymous("/harbors/site", "credentials", json!("anonymous"))]
#[case::docker_config("/harbors/site", "credentials", json!({"dockerConfigFile": "docker.json"}))]
#[case::bare_project("/harbors/site/projects", "quay.io", json!(null))]
#[case::existing_policy("/targets/prod", "replication", json!({"existing": "to-ecr"}))]
#[case::skipping_rule("", "rules", json!([{"prefix": "ghcr.io", "skip": true}]))]
fn reader_and_schema_accept_the_same(#[case] pointer: &str, #[case] key: &str, #[case] value: Value) {
    let (directory, schema) = (directory(), document_schema(&CONFIGURATION, "test", "Test"));

    let right = with(pointer, key, Some(value));

    read_config(&right, &directory).unwrap();
    assert_eq!(complaints(&schema, &right), Vec::<String>::new());
}

/// An editor that underlines what is right is soon switched off. `null` is the exception: the reader takes it for a key
/// that isn't written.
#[test]
fn what_the_reader_accepts_the_schema_accepts() {
    let (directory, schema) = (directory(), document_schema(&CONFIGURATION, "test", "Test"));
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let values = json!([
        true, 0, 17, 0.5, "", "A b", "a-b", "a_b.c", "a/b", "a:b", "anonymous", "90s", "1h30m500ms", "0s", "{rest}", "hub",
        "site", "touch", "harbor", "127.0.0.1:1", "[fe80::1]:65535", "https://a.example:1/", "https://[::1]:1",
        "http://localhost", "http://[::1]", "http://127.1.2.3:1", "https://a_b.example", "docker.io/library",
        "localhost:5000/a", "^.*$", "password", "PATH", {}, [], [{}], ["linux/arm64/v8", "linux/arm64/v8"],
        ["123456789012"], ["docker.io/library/nginx:1.27"], {"quay.io": null}, {"existing": "a"}, {"prefix": "a/b"},
        {"username": "a", "passwordEnv": "PATH"}, {"max": 1}
    ]);
    let (mut accepted, mut refused) = (0, Vec::new());
    for (group, place) in placed_groups() {
        for setting in group.settings {
            for value in values.as_array().unwrap() {
                let mut document = with(&place.pointer, setting.key, Some(value.clone()));
                if !place.pointer.starts_with("/registry") {
                    // Thousands of certificates take their time.
                    document["registry"] = json!({});
                }
                if read_config(&document, &directory).is_ok() {
                    accepted += 1;
                    if !validator.is_valid(&document) {
                        refused.push(format!("{}.{}: {value}", place.path, setting.key));
                    }
                }
            }
        }
    }
    assert_eq!(refused, Vec::<String>::new());
    assert!(accepted > 100, "only {accepted} were accepted");
}

/// What the chart's schema says of a value that it hands on is what the warmer or the policy says of it.
#[test]
fn the_charts_schema_is_as_strict_as_the_readers() {
    let chart: Value = serde_json::from_str(&read("charts/harbor-warmer/values.schema.json")).unwrap();
    // Keys that the chart writes itself, or that have another form there.
    let own = |name: &str| match name {
        "registry" => &["listen", "tls", "credentials"][..],
        "harbor" => &["credentials", "caFile"],
        "target" => &["credentials"],
        "policy" => &["warmer", "rules", "platforms", "customResources", "lookupRegistry"],
        _ => &[],
    };
    let places = [
        ("registry", "/properties/warmer/properties/registry"),
        ("front", "/properties/warmer/properties/front"),
        ("queue", "/properties/warmer/properties/queue"),
        ("harbor", "/definitions/harbor"),
        ("concurrency", "/definitions/harbor/properties/concurrency"),
        ("project", "/definitions/project"),
        ("target", "/definitions/target"),
        ("replication", "/definitions/replication"),
        ("rule", "/definitions/rule"),
        ("ecr", "/definitions/rule/properties/ecr"),
        ("customResource", "/properties/policy/properties/customResources/items"),
        ("policy", "/properties/policy"),
    ];
    let groups: Vec<_> = CONFIGURATION.all().into_iter().chain(policy::SETTINGS.all()).collect();
    let mut differences = Vec::new();
    for (name, pointer) in places {
        let group = groups.iter().find(|group| group.name == name).unwrap();
        let place = chart.pointer(pointer).unwrap_or(&Value::Null);
        for setting in group.settings.iter().filter(|setting| !own(name).contains(&setting.key)) {
            let there = resolved(&place["properties"][setting.key], &chart);
            let here = bare(setting.kind.schema());
            // The groups beneath have places of their own.
            if setting.kind.groups().is_empty() && there != here {
                differences.push(format!("{name}.{}: {there} in the chart, {here} here", setting.key));
            }
            if there.is_null() {
                differences.push(format!("{name}.{} is missing in the chart", setting.key));
            }
        }
        if !group.together.is_empty() && own(name).is_empty() {
            let together: Value = serde_json::from_str(group.together).unwrap();
            for (keyword, here) in together.as_object().unwrap() {
                if resolved(&place[keyword], &chart) != *here {
                    differences.push(format!("{name}: `{keyword}` should be {here}"));
                }
            }
        }
    }
    for (key, pointer) in [("platforms", "/properties/platforms"), ("pinned", "/properties/pinned")] {
        let here = bare(CONFIGURATION.settings.iter().find(|setting| setting.key == key).unwrap().kind.schema());
        let there = resolved(chart.pointer(pointer).unwrap_or(&Value::Null), &chart);
        if there != here {
            differences.push(format!("{key}: {there} in the chart, {here} here"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A place in [`base`], as a JSON pointer and as mistakes name it.
struct Place {
    pointer: String,
    path: String,
}

/// Every group of the warmer's configuration that [`base`] has a place of.
fn placed_groups() -> Vec<(&'static Group, Place)> {
    let pointer = |name: &str| match name {
        "configuration" => "",
        "registry" => "/registry",
        "tls" => "/registry/tls",
        "cluster" => "/registry/credentials/0",
        "admin" => "/admin",
        "probes" => "/probes",
        "front" => "/front",
        "queue" => "/queue",
        "harbor" => "/harbors/site",
        "credentials" => "/harbors/site/credentials",
        "concurrency" => "/harbors/site/concurrency",
        "project" => "/harbors/site/projects/hub",
        "target" => "/targets/prod",
        "replication" => "/targets/prod/replication",
        "rule" => "/rules/0",
        "ecr" => "/rules/1/ecr",
        other => panic!("where is {other}?"),
    };
    let path = |pointer: &str| {
        let mut path = String::new();
        for part in pointer.split('/').skip(1) {
            match part.parse::<usize>() {
                Ok(index) => path.push_str(&format!("[{index}]")),
                Err(_) if path.is_empty() => path.push_str(part),
                Err(_) => path.push_str(&format!(".{part}")),
            }
        }
        path
    };
    let groups = CONFIGURATION.all().into_iter();
    groups
        .map(|group| {
            let pointer = pointer(group.name);
            (group, Place { pointer: pointer.to_owned(), path: path(pointer) })
        })
        .collect()
}

/// A configuration with every section in it.
fn base() -> Value {
    json!({
        "registry": {
            "tls": {"certificateFile": "tls.crt", "keyFile": "tls.key"},
            "credentials": [{"cluster": "a", "passwordFile": "password"}],
        },
        "admin": {},
        "probes": {},
        "front": {},
        "queue": {},
        "harbors": {"site": {
            "url": "https://harbor.example.com",
            "credentials": {"username": "robot$warmer", "passwordFile": "password"},
            "projects": {"hub": {}},
            "concurrency": {},
        }},
        "targets": {"prod": {
            "harbor": "site",
            "credentials": {"username": "robot$replicator", "passwordFile": "password"},
            "replication": {"own": "harbor-warmer-prod"},
        }},
        "rules": [
            {"prefix": "docker.io", "harbor": "site", "project": "hub"},
            {"ecr": {}, "harbor": "site", "project": "hub"},
        ],
    })
}

/// [`base`] with a key changed, or taken out.
fn with(pointer: &str, key: &str, value: Option<Value>) -> Value {
    let mut changed = base();
    let map = changed.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
    changed
}

fn read_config(value: &Value, directory: &TempDir) -> Result<Config, Vec<Mistake>> {
    parse(&value.to_string(), directory.path())
}

/// The files that [`base`] names.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["warmer.example.com".to_owned()]).unwrap();
    let auth = r#"{"auths": {"harbor.example.com": {"auth": "cm9ib3QkYStiOnN3b3JkZmlzaA=="}}}"#;
    for (name, text) in [
        ("tls.crt", own.cert.pem()),
        ("tls.key", own.signing_key.serialize_pem()),
        ("password", "swordfish\n".to_owned()),
        ("docker.json", auth.to_owned()),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// What a schema says against a document.
fn complaints(schema: &Value, document: &Value) -> Vec<String> {
    let validator = jsonschema::draft7::new(schema).unwrap();
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// A schema with its references in place, and without what is only said to people.
fn resolved(schema: &Value, document: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            if let Some(target) = object.get("$ref").and_then(Value::as_str) {
                return resolved(document.pointer(target.trim_start_matches('#')).unwrap(), document);
            }
            bare(Value::Object(object.iter().map(|(key, value)| (key.clone(), resolved(value, document))).collect()))
        }
        Value::Array(items) => items.iter().map(|item| resolved(item, document)).collect(),
        other => other.clone(),
    }
}

fn bare(mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.retain(|key, value| !(matches!(key.as_str(), "description" | "title") && value.is_string()));
    }
    schema
}

fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(known, value)| known == key || has_key(value, key)),
        Value::Array(items) => items.iter().any(|item| has_key(item, key)),
        _ => false,
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_default()
}

#[track_caller]
fn assert_printed(name: &str, same: bool, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        if !same {
            std::fs::write(path(name), text).unwrap();
        }
        return;
    }
    assert!(same, "{name} is stale: UPDATE=1 cargo test -p harbor-warmer-cli --test it configuration");
}
