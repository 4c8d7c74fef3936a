//! The examples of Veradco's own documents, and what people may have made of them.

use harbor_warmer_workload::{Mapping, Reference, RuleSet};
use rstest::rstest;
use serde_json::Value;

use super::{ImportError, Known, import};

/// The plugin's README, "Plugin configuration".
const README: &str = include_str!("../../../../test_data/veradco/plugin.yaml");

/// The plugin in docker/standalone/veradco_conf.yaml and the demos, with a plugin of another kind before it.
const VERADCO_CONF: &str = include_str!("../../../../test_data/veradco/veradco_conf.yaml");

/// The same in a ConfigMap, as kustomize/demo/veradco_conf.yaml has it.
const CONFIG_MAP: &str = include_str!("../../../../test_data/veradco/config_map.yaml");

/// The other plugin's README.
const IMPLICIT: &str = include_str!("../../../../test_data/veradco/implicit.yaml");

fn entry(regex: &str, replacement: &str) -> String {
    format!("proxyCaches:\n- regexURL: '{regex}'\n  replacementOCI: '{replacement}'\n")
}

#[track_caller]
fn values(text: &str) -> Value {
    let printed = import("veradco.yaml", text, &Known::default()).unwrap();
    serde_saphyr::from_str(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"))
}

/// Where the rules of the values send an image.
fn place(values: &Value, image: &str) -> Option<String> {
    let rules = RuleSet::from_value(&values["rules"]).unwrap();
    match rules.map(&image.parse::<Reference>().unwrap()) {
        Mapping::Mapped(mapped) => Some(mapped.image.to_string()),
        _ => None,
    }
}

#[test]
fn the_readmes_example_goes_where_it_went() {
    let values = values(README);

    let image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/proxy_docker.io/library/nginx:1.27";
    assert_eq!(place(&values, image).as_deref(), Some("main/proxy_docker.io/library/nginx"));
    assert_eq!(place(&values, "quay.io/org/app:v1"), None);
    assert_eq!(values["harbors"]["main"]["url"], "https://harbor.registry.mine.io");
    assert_eq!(values["platforms"][0], "linux/amd64");
    assert_eq!(
        values["rules"][0]["pattern"],
        "^.*amazonaws.com/(?<project>proxy_[^:/]+)/(?<repository>[^:]+):(?<tag>.+$)"
    );
}

#[test]
fn comments_stand_beside_what_they_are_about() {
    let known = Known { projects: vec!["proxy_docker.io".to_owned()], ..Known::default() };
    let printed = import("veradco.yaml", README, &known).unwrap();
    let lines: Vec<_> = printed.lines().map(str::trim).collect();

    for (comment, next) in [
        ("# The value of hUSER; `--username NAME` fills it in. The chart refuses an empty one.", "username: \"\""),
        ("# A rule takes the project from the image: add every proxy-cache project that it may name.", "projects:"),
        ("# One list for all rules.", "platforms: [\"linux/amd64\"]"),
    ] {
        let place = lines.iter().position(|line| *line == comment).unwrap_or_else(|| panic!("{comment}\n{printed}"));
        assert_eq!(lines[place + 1], next);
    }
    assert!(printed.contains("# maxNumberOfParallelJobs was 2."), "{printed}");
    assert!(printed.contains("#     is warmed as main/proxy_docker.io/library/nginx"), "{printed}");
}

#[rstest]
#[case::veradcos_configuration(VERADCO_CONF)]
#[case::a_config_map(CONFIG_MAP)]
fn the_demos_configuration_says_that_it_warms_nothing(#[case] text: &str) {
    let printed = import("veradco.yaml", text, &Known::default()).unwrap();

    // The whole image, tag included, is no repository; Veradco asked Harbor for it all the same, and got a 404.
    assert!(printed.contains("is not warmed: rules[0] gives no repository"), "{printed}");
    let values: Value = serde_saphyr::from_str(&printed).unwrap();
    assert_eq!(values["harbors"]["main"]["projects"], serde_json::json!({"pxcache": {}}));
    assert_eq!(values["policy"]["create"], false, "a dry run stays one");
}

#[test]
fn the_other_plugin_is_told_apart() {
    let error = import("veradco.yaml", IMPLICIT, &Known::default()).unwrap_err();
    assert!(matches!(&error, ImportError::Implicit(name) if name == "implicit_proxy_cache_populator"), "{error}");
}

#[test]
fn projects_written_out_in_the_pattern_are_allowed() {
    let text = entry(
        r"^ecr\.example/(proxy_docker\.io|proxy_quay\.io)/([^:]+):(.+)$",
        "https://h.example/v2/$1/$2/manifests/$3",
    );
    let projects = &values(&text)["harbors"]["main"]["projects"];
    assert_eq!(projects, &serde_json::json!({"proxy_docker.io": {}, "proxy_quay.io": {}}));
}

#[test]
fn several_harbors_have_a_name_each() {
    let text = entry("^a/(.+):(.+)$", "https://one.example/v2/hub/$1/manifests/$2")
        + &entry("^b/(.+):(.+)$", "http://two.example:8080/v2/hub/$1/manifests/$2").replace("proxyCaches:\n", "");
    let values = values(&text);
    assert_eq!(values["harbors"]["main"]["url"], "https://one.example");
    assert_eq!(values["harbors"]["harbor-2"]["allowHttp"], true);
    assert_eq!(values["rules"][1]["harbor"], "harbor-2");
}

#[test]
fn what_is_known_besides_is_filled_in() {
    let known = Known { username: Some("robot$veradco".to_owned()), projects: vec!["proxy_docker.io".to_owned()] };
    let values: Value = serde_saphyr::from_str(&import("veradco.yaml", README, &known).unwrap()).unwrap();

    let harbor = &values["harbors"]["main"];
    assert_eq!(harbor["credentials"]["username"], "robot$veradco");
    assert_eq!(harbor["projects"], serde_json::json!({"proxy_docker.io": {}}));
}

#[rstest]
#[case::both("CREATE|UPDATE", false)]
#[case::the_other_way_round("UPDATE|CREATE", false)]
#[case::one_of_the_two("CREATE", true)]
#[case::more("CREATE|DELETE|UPDATE|CONNECT", true)]
fn other_operations_are_told(#[case] operations: &str, #[case] told: bool) {
    // Of the plugin that is imported, not of the one before it.
    let text = VERADCO_CONF.replace("operations: \"CREATE|UPDATE\"", &format!("operations: \"{operations}\""));
    let printed = import("veradco.yaml", &text, &Known::default()).unwrap();

    let comment = format!("# operations was {operations:?}; the policy sees what is created or updated.");
    assert_eq!(printed.contains(&comment), told, "{printed}");
}

#[rstest]
#[case::bare("^x/(.+):(.+)$", false)]
#[case::within_a_group("(^.+$)", false)]
#[case::open_at_the_end("^x/(.+):(v[0-9]+)", true)]
#[case::open_at_the_start("x/(.+):(.+)$", true)]
fn a_pattern_that_leaves_something_out_is_told(#[case] regex: &str, #[case] told: bool) {
    let printed =
        import("veradco.yaml", &entry(regex, "https://h.example/v2/p/$1/manifests/v1"), &Known::default()).unwrap();
    assert_eq!(printed.contains("Veradco kept what the pattern doesn't match"), told, "{printed}");
}

#[test]
fn the_documented_example_is_what_comes_out() {
    let page = include_str!("../../../../docs/from-veradco.md");
    let blocks: Vec<_> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [plugin, settings] = blocks.as_slice() else { panic!("two examples, not {}", blocks.len()) };
    let settings: Value = serde_saphyr::from_str(settings).unwrap();

    assert_eq!(*plugin, README);
    let values = values(plugin);
    assert_eq!((&values["rules"], &values["platforms"]), (&settings["rules"], &settings["platforms"]));
}

#[rstest]
#[case::without_layers("", "read the index alone")]
#[case::another_platform(
    "  replacementArch: https://h.example/v2/p/$1/manifests/ARCHDIGEST\n  targetArch: arm64\n",
    "this warms linux/arm64"
)]
#[case::another_place("  replacementArch: https://other.example/v2/p/$1/manifests/ARCHDIGEST\n", "names another place")]
fn says_what_works_differently(#[case] more: &str, #[case] expected: &str) {
    let printed = import(
        "veradco.yaml",
        &(entry("^x/(.+):(.+)$", "https://h.example/v2/p/$1/manifests/$2") + more),
        &Known::default(),
    )
    .unwrap();
    assert!(printed.contains(expected), "{printed}");
}

#[rstest]
#[case::all(".*", Value::Null)]
#[case::some("kube-system|^default$", serde_json::json!({"operator": "In", "values": ["kube-system", "default"]}))]
#[case::all_but("(!~)kube-system|kube-public", serde_json::json!({"operator": "NotIn", "values": ["kube-system", "kube-public"]}))]
#[case::no_selector("team-.+", Value::Null)]
fn namespaces_become_a_selector_where_they_are_names(#[case] namespaces: &str, #[case] mut expected: Value) {
    let text = VERADCO_CONF
        .replace("dryRun: true", "dryRun: false")
        .replace("namespaces: \".*\"", &format!("namespaces: \"{namespaces}\""));
    if let Some(expected) = expected.as_object_mut() {
        expected.insert("key".to_owned(), "kubernetes.io/metadata.name".into());
    }
    assert_eq!(values(&text)["policy"]["namespaceSelector"]["matchExpressions"][0], expected);
}

#[rstest]
#[case::a_host_from_the_image("^(.+)/(.+):(.+)$", "https://$1/v2/p/$2/manifests/$3", "an image can't choose")]
#[case::no_registry_url("^(.+)$", "https://h.example/$1", "which is not https://HOST/v2/")]
#[case::digests_which_patterns_do_not_see(
    r"^(.+)/(.+)@(sha256:.+)$",
    "https://h.example/v2/p/$2/manifests/$3",
    "patterns see no digest"
)]
#[case::unknown_to_our_syntax(r"^\p{L}/(.+):(.+)$", "https://h.example/v2/p/$1/manifests/$2", "rules[0].pattern")]
fn refuses_what_has_no_counterpart(#[case] regex: &str, #[case] replacement: &str, #[case] expected: &str) {
    let error = import("veradco.yaml", &entry(regex, replacement), &Known::default()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[rstest]
#[case::nothing_of_the_kind("harbors: {}\n")]
#[case::a_plugin_of_another_kind("plugins: [{name: x, configuration: 'a: b'}]\n")]
fn says_that_there_is_no_such_plugin(#[case] text: &str) {
    assert!(matches!(import("veradco.yaml", text, &Known::default()), Err(ImportError::NoPlugin)));
}

/// A plugin as Veradco's configuration has it, with lines of its own.
fn configured(lines: &str) -> String {
    let configuration = entry("^x/(.+):(.+)$", "https://h.example/v2/p/$1/manifests/$2").replace('\n', "\n    ");
    format!(
        "plugins:\n- name: other\n  configuration: 'a: [b'\n- name: HPCP\n{lines}  configuration: |\n    {configuration}\n"
    )
}

#[rstest]
#[case::list_of_operations("  operations: [CREATE, UPDATE]\n", None)]
#[case::list_of_one("  operations: [DELETE]\n", Some("operations was \"DELETE\""))]
#[case::list_of_namespaces("  namespaces: [a, b]\n", Some("operator: In, values: [\"a\", \"b\"]"))]
#[case::number_for_a_name("  namespaces: 7\n", None)]
#[case::dry_run_as_a_text("  dryRun: 'true'\n", Some("dryRun was true"))]
#[case::nothing("", None)]
fn an_old_configurations_lists_are_read(#[case] lines: &str, #[case] fragment: Option<&str>) {
    let printed = import("veradco.yaml", &configured(lines), &Known::default()).unwrap();

    assert!(printed.contains("- pattern: "), "{printed}");
    assert!(fragment.is_none_or(|fragment| printed.contains(fragment)), "{printed}");
}

#[rstest]
#[case::syntax("proxyCaches: [", "veradco.yaml is not YAML: line ")]
#[case::second_document("a: 1\n---\nproxyCaches: [", "veradco.yaml is not YAML: line 3")]
#[case::configuration(
    "plugins:\n- name: HPCP\n  configuration: |\n    proxyCaches: [\n",
    "the configuration of the plugin `HPCP` is not YAML: line "
)]
#[case::config_map("data:\n  v.yaml: |\n    proxyCaches: [\n", "data.v.yaml in veradco.yaml is not YAML: line ")]
#[case::entry("proxyCaches:\n- regexURL: a\n", "proxyCaches[0]: missing field `replacementOCI`")]
fn what_cant_be_read_is_told_with_its_place(#[case] text: &str, #[case] start: &str) {
    let error = import("veradco.yaml", text, &Known::default()).unwrap_err().to_string();
    assert!(error.starts_with(start), "{error}");
}
