//! The policy and the warmer say the same of the same rules and platforms: one reader, tried from both ends.

use harbor_warmer_workload::{Judge, PolicySettings};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::directory;
use crate::config::document::parse;

/// What is wrong with rules and platforms: by the policy's settings, and by the warmer's configuration.
fn told(rules: &Value, platforms: &Value) -> [Vec<String>; 2] {
    let settings = json!({"warmer": "warmer:8443", "rules": rules, "platforms": platforms});
    let by_policy = PolicySettings::try_from(&settings).err().unwrap_or_default();
    let configuration = json!({
        "harbors": {"main": {"url": "https://harbor.example.com", "credentials": "anonymous", "projects": {"hub": {}}}},
        "rules": rules, "platforms": platforms,
    });
    // JSON is YAML.
    let by_warmer = parse(&configuration.to_string(), directory().path()).err().unwrap_or_default();
    let mut told = [
        by_policy.into_iter().map(|mistake| mistake.to_string()).collect::<Vec<_>>(),
        by_warmer.into_iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect(),
    ];
    told.iter_mut().for_each(|list| list.sort());
    told
}

#[rstest]
#[case::nothing_wrong(json!([{"prefix": "docker.io", "harbor": "main", "project": "hub"}]), json!(["linux/amd64"]), 0)]
#[case::dead_rule(json!([{"prefix": "docker.io", "skip": true}, {"prefix": "docker.io/acme", "harbor": "main", "project": "hub"}]), json!(["linux/amd64"]), 1)]
#[case::digest_in_a_pattern(json!([{"pattern": "a@sha256:", "harbor": "main", "project": "hub"}]), json!(["linux/amd64"]), 1)]
#[case::empty_pattern(json!([{"pattern": "", "skip": true}]), json!(["linux/amd64"]), 1)]
#[case::slash(json!([{"prefix": "docker.io", "harbor": "main", "project": "hub", "repository": "/{rest}"}]), json!(["linux/amd64"]), 1)]
#[case::owner_for_a_prefix(json!([{"prefix": "grafana", "skip": true}]), json!(["linux/amd64"]), 1)]
#[case::other_words_for_platforms(json!([{"prefix": "docker.io", "skip": true}]), json!(["linux/x86_64", "linux/arm/7"]), 2)]
#[case::several(json!([{"prefix": "x"}, {"pattern": "("}]), json!(["banana"]), 7)]
fn policy_and_warmer_refuse_the_same_in_the_same_words(
    #[case] rules: Value,
    #[case] platforms: Value,
    #[case] count: usize,
) {
    let [by_policy, by_warmer] = told(&rules, &platforms);
    assert_eq!(by_policy, by_warmer);
    assert_eq!(by_policy.len(), count, "{by_policy:?}");
}

fn any_rule() -> impl Strategy<Value = Value> {
    let matcher = prop_oneof![
        "(docker[.]io|ghcr[.]io|GHCR[.]io|a)(/[a-z]{1,3}){0,2}/?".prop_map(|text| json!({"prefix": text})),
        "[a-c.@/:^$()*]{0,8}".prop_map(|text| json!({"pattern": text})),
        "(a|hub|/x/)".prop_map(|text| json!({"ecr": {"prefix": text}})),
    ];
    (matcher, any::<bool>(), "[a-z{}/$]{1,6}").prop_map(|(mut rule, skip, repository)| {
        if skip {
            rule["skip"] = json!(true);
        } else {
            rule["harbor"] = json!("main");
            rule["project"] = json!("hub");
            rule["repository"] = json!(repository);
        }
        rule
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn policy_and_warmer_agree_on_any_rules(
        rules in prop::collection::vec(any_rule(), 1..4),
        platform in "(linux|windows|arm)/(amd64|aarch64|arm/7|x)",
        image in "([a-c]{1,3}(\\.[a-c]{1,2})/)?[a-c]{1,3}(:[a-c]{1,3})?",
    ) {
        let (rules, platforms) = (json!(rules), json!([platform]));
        let [by_policy, by_warmer] = told(&rules, &platforms);
        prop_assert_eq!(&by_policy, &by_warmer);
        if by_policy.is_empty() {
            let settings = json!({"warmer": "warmer:8443", "rules": rules, "platforms": platforms});
            let settings = PolicySettings::try_from(&settings).unwrap();
            let configuration = json!({
                "harbors": {"main": {"url": "https://h.example", "credentials": "anonymous", "projects": {"hub": {}}}},
                "rules": rules, "platforms": platforms,
            });
            let config = parse(&configuration.to_string(), directory().path()).unwrap();
            let judge = Judge { rules: &config.rules, platforms: &config.platforms };
            prop_assert_eq!(settings.judge().image(&image), judge.image(&image));
        }
    }
}
