use std::path::{Path, PathBuf};

use harbor_warmer::config::document::parse;
use harbor_warmer_workload::{Mistake, PolicySettings, RuleSet};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Outcome, Verdict, run};
use crate::arguments::{ImageArguments, MapArguments, RulesArguments};
use crate::terminal::screen::Screen;
use crate::{Exit, causes};

const RULES: &str = "\
rules:
- {prefix: docker.io/acme/secret, skip: true}
- {prefix: docker.io, harbor: main, project: hub}
- {pattern: '^ghcr\\.io/(?<project>[a-z]+)/(?<repository>[a-z/]+)', harbor: main, project: '{project}', target: prod}
";

const SETTINGS: &str = "warmer: warmer.kubewarden.svc:8443\nplatforms: [linux/amd64, linux/arm64]\n";

const CONFIG: &str = "\
harbors: {main: {url: 'https://harbor.example.com', credentials: anonymous, projects: {hub: {}}}}
targets:
  prod: {harbor: main, credentials: {username: u, passwordFile: password}, replication: {existing: to-ecr}}
";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("password", "secret");
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn images(images: &[&str]) -> ImageArguments {
    let images = images.iter().map(|image| (*image).to_owned()).collect();
    ImageArguments { images, custom_resource: Vec::new(), preset: Vec::new(), strict: false }
}

fn by_settings(path: &Path, named: &[&str]) -> MapArguments {
    let rules = RulesArguments { config: None, settings: Some(path.to_owned()) };
    MapArguments { rules, images: images(named) }
}

fn by_config(path: &Path, named: &[&str]) -> MapArguments {
    let rules = RulesArguments { config: Some(path.to_owned()), settings: None };
    MapArguments { rules, images: images(named) }
}

const IMAGES: [&str; 6] =
    ["nginx:1.27", "acme/secret/app", "ghcr.io/team/app:v1", "quay.io/a/b", "docker.io/A:1", "${X}/a"];

#[test]
fn settings_are_tried_in_the_words_of_the_policy() {
    let files = Files::new();
    let path = files.write("settings.yaml", &format!("{SETTINGS}{RULES}"));

    let printed = run(&by_settings(&path, &IMAGES), &Screen::default()).unwrap();

    insta::assert_snapshot!(printed.text, @r"
    IMAGE                WHAT THE RULES SAY
    nginx:1.27           rules[1] gives main/hub/library/nginx:1.27 for linux/amd64, linux/arm64
    acme/secret/app      rules[0] says skip
    ghcr.io/team/app:v1  rules[2] gives main/team/app:v1 for linux/amd64, linux/arm64, replicated to prod
    quay.io/a/b          no rule matches
    docker.io/A:1        its repository has capital letters; write lower case
    ${X}/a               a variable of a template was not filled in
    2 of 6 images would be handed over.
    ");
    assert_eq!(printed.exit, Exit::Failed);
}

#[test]
fn a_configuration_also_tells_what_the_warmer_refuses() {
    let files = Files::new();
    let path = files.write("config.yaml", &format!("{CONFIG}{RULES}"));

    let printed = run(&by_config(&path, &["nginx:1.27", "ghcr.io/team/app:v1"]), &Screen::default()).unwrap();

    insta::assert_snapshot!(printed.text, @r"
    IMAGE                WHAT THE RULES SAY
    nginx:1.27           rules[1] gives main/hub/library/nginx:1.27 for linux/amd64
    ghcr.io/team/app:v1  rules[2] gives main/team/app:v1 for linux/amd64, replicated to prod, which the warmer refuses: `team` is not under harbors.main.projects
    1 of 2 images would be handed over.
    ");
    assert_eq!(printed.exit, Exit::Failed);
}

#[rstest]
#[case::cluster_policy(format!("apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nspec:\n  settings:\n{}", indented()))]
#[case::policy(format!("apiVersion: policies.kubewarden.io/v1\nkind: AdmissionPolicy\nspec:\n  settings:\n{}", indented()))]
#[case::rendered_chart(format!("apiVersion: v1\nkind: ConfigMap\n---\napiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nspec:\n  settings:\n{}", indented()))]
#[case::alone(format!("{SETTINGS}{RULES}"))]
fn settings_are_found_where_people_have_them(#[case] text: String) {
    let files = Files::new();
    let path = files.write("policy.yaml", &text);

    let printed = run(&by_settings(&path, &["nginx:1.27"]), &Screen::default()).unwrap();

    assert!(
        printed.text.contains("rules[1] gives main/hub/library/nginx:1.27 for linux/amd64, linux/arm64"),
        "{}",
        printed.text
    );
    assert_eq!(printed.exit, Exit::Done);
}

fn indented() -> String {
    format!("{SETTINGS}{RULES}").lines().map(|line| format!("    {line}\n")).collect()
}

#[rstest]
#[case::no_rules("warmer: a:1\n", "1 mistake in the settings PATH\n  rules: missing;")]
#[case::several_mistakes("warmer: 7\nrules: [{}]\n", "4 mistakes in the settings PATH\n  warmer: must be a text")]
#[case::nothing("", "2 mistakes in the settings PATH\n  ")]
#[case::syntax("rules: [\n", "the settings PATH: line ")]
#[case::list("- a\n", "1 mistake in the settings PATH\n  settings: must be a map of keys")]
#[case::two("warmer: a:1\n---\nwarmer: b:1\n", "PATH holds 2 documents")]
fn settings_with_mistakes_are_refused(#[case] text: &str, #[case] start: &str) {
    let files = Files::new();
    let path = files.write("settings.yaml", text);

    let error = run(&by_settings(&path, &["nginx"]), &Screen::default()).unwrap_err();

    let told = anyhow::Error::new(error);
    let told = causes(told.chain()).replace(&path.display().to_string(), "PATH");
    assert!(told.starts_with(start), "{told}");
}

#[test]
fn a_manifest_is_judged_as_at_an_admission() {
    let files = Files::new();
    let settings = files.write("settings.yaml", &format!("{SETTINGS}{RULES}"));
    let pod = |name: &str, annotations: &str, spec: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec: {{{spec}}}\n"
        )
    };
    let manifest = pod(
        "a",
        "",
        "containers: [{image: 'nginx:1'}, {image: 'redis:7', imagePullPolicy: Never}], nodeSelector: {kubernetes.io/arch: arm64}",
    ) + &pod("b", "harbor-warmer.io/skip: 'true'", "containers: [{image: 'nginx:2'}]")
        + &pod("c", "", "containers: [{image: 'nginx:3'}], nodeSelector: {kubernetes.io/os: windows}");
    let manifest = files.write("pods.yaml", &manifest);

    let printed = run(&by_settings(&settings, &[&manifest.display().to_string()]), &Screen::default()).unwrap();

    insta::assert_snapshot!(printed.text, @r"
    IMAGE    WHAT THE RULES SAY
    nginx:1  rules[1] gives main/hub/library/nginx:1 for linux/arm64
    redis:7  imagePullPolicy is Never
    nginx:2  the annotation says skip
    nginx:3  runs on none of linux/amd64, linux/arm64, the platforms of the settings
    1 of 4 images would be handed over.
    ");
}

// === One implementation ===

/// Keys and values of rules, right and wrong.
fn rule() -> impl Strategy<Value = Value> {
    let pick = |texts: &'static [&'static str]| prop::sample::select(texts);
    let matcher = prop_oneof![
        pick(&["docker.io", "docker.io/acme", "ghcr.io", "ghcr.io/acme/", "GHCR.io", "nginx", "", "docker.io/nginx"])
            .prop_map(|text| json!({"prefix": text})),
        pick(&["^ghcr\\.io/(?<repository>.+)", "(", "", "@sha256", "^docker\\.io/acme/app", ".*"])
            .prop_map(|text| json!({"pattern": text})),
        pick(&["team", "", "a/b"]).prop_map(|text| json!({"ecr": {"prefix": text}})),
        Just(json!({"ecr": {}})),
        Just(json!({})),
    ];
    let rest = prop_oneof![
        Just(json!({"harbor": "main", "project": "hub"})),
        Just(json!({"harbor": "main", "project": "hub", "repository": "x/{rest}"})),
        Just(json!({"harbor": "main", "project": "hub", "repository": "/{rest}"})),
        Just(json!({"harbor": "main", "project": "hub", "tag": "{tag}-x"})),
        Just(json!({"harbor": "main", "project": "Hub"})),
        Just(json!({"harbor": "Main", "project": "hub"})),
        Just(json!({"harbor": "main"})),
        Just(json!({"skip": true})),
        Just(json!({"skip": "yes"})),
        Just(json!({"skip": true, "harbor": "main"})),
        Just(json!({"harbor": "main", "project": "hub", "colour": 1})),
    ];
    (matcher, rest).prop_map(|(mut matcher, rest)| {
        if let (Some(matcher), Some(rest)) = (matcher.as_object_mut(), rest.as_object()) {
            matcher.extend(rest.clone());
        }
        matcher
    })
}

/// What is said of rules, without what only a whole configuration can know: which Harbors and projects there are.
fn of_rules(told: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let is_of_rules = |(path, message): &(String, String)| {
        path.starts_with("rules")
            && !message.contains("is no Harbor under")
            && !message.contains("is not under harbors.")
    };
    let mut told: Vec<_> = told.into_iter().filter(is_of_rules).collect();
    told.sort();
    told
}

fn pair(mistake: Mistake) -> (String, String) {
    (mistake.path, mistake.message)
}

proptest! {
    /// The policy's settings, the warmer's configuration and the rules by themselves: what one refuses all refuse, in the
    /// same words, and what they accept sends every image to the same place.
    #[test]
    fn the_policy_check_and_map_agree(rules in prop::collection::vec(rule(), 1..4)) {
        let files = Files::new();
        let rules = Value::Array(rules);
        let alone = RuleSet::from_value(&rules);
        let settings = PolicySettings::try_from(&json!({"warmer": "a.example:1", "rules": rules}));
        let config = parse(&format!("{CONFIG}rules: {rules}\n"), files.0.path());

        let told = of_rules(alone.as_ref().err().cloned().unwrap_or_default().into_iter().map(pair));
        let by_policy = of_rules(settings.as_ref().err().cloned().unwrap_or_default().into_iter().map(pair));
        let by_check = config.as_ref().err().cloned().unwrap_or_default().into_iter();
        prop_assert_eq!(&by_policy, &told);
        prop_assert_eq!(&of_rules(by_check.map(|mistake| (mistake.path, mistake.message))), &told);

        if let (Ok(settings), Ok(config)) = (settings, config) {
            let texts = (files.write("s.yaml", &json!({"warmer": "a.example:1", "rules": rules}).to_string()),
                         files.write("c.yaml", &format!("{CONFIG}rules: {rules}\n")));
            let of_settings = run(&by_settings(&texts.0, &IMAGES), &Screen::default()).unwrap();
            let of_config = run(&by_config(&texts.1, &IMAGES), &Screen::default()).unwrap();
            prop_assert_eq!(&of_settings.text, &of_config.text);
            // Each example of `check` is one that `map` sends to the same rule.
            for (index, example) in config.rules.example_of_each().into_iter().enumerate() {
                let Some(example) = example else { continue };
                let decision = settings.judge().image(&example.to_string());
                let outcome = Outcome::of(&decision, Some(&config));
                prop_assert!(outcome.verdict == Verdict::Wrong || outcome.text.starts_with(&format!("rules[{index}]")),
                             "{example}: {}", outcome.text);
            }
        }
    }
}
