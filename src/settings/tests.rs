use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use harbor_warmer_workload::{CustomKinds, LookupAt};

use super::*;
use crate::testing::settings_json;

fn message(settings: Value) -> String {
    RawSettings(settings).validate().unwrap_err()
}

#[test]
fn the_smallest_settings_are_a_warmer_and_a_rule() {
    let settings = PolicySettings::try_from(&settings_json(&json!({}))).unwrap();
    assert_eq!(settings.platforms.path_form(), "linux-amd64");
    assert_eq!(settings.max_images, 8);
    assert_eq!(settings.lookup, LookupAt::Warmer);
    assert!(settings.warnings);
}

#[test]
fn every_setting_is_read() {
    let settings = PolicySettings::try_from(&settings_json(&json!({
        "platforms": ["linux/arm64", "linux/amd64"],
        "customResources": [{"group": "argoproj.io", "kind": "Rollout"}],
        "presets": ["tekton", "ray"],
        "maxImages": 3,
        "lookup": "warmer",
        "lookupRegistry": "harbor.example.com",
        "warnings": false,
    })))
    .unwrap();
    assert_eq!(settings.platforms.path_form(), "linux-amd64_linux-arm64");
    assert_ne!(settings.custom_kinds, CustomKinds::default());
    assert_eq!(settings.max_images, 3);
    assert_eq!(settings.lookup, LookupAt::Registry("harbor.example.com".parse().unwrap()));
    assert!(!settings.warnings);
}

#[rstest]
#[case::nothing_at_all(json!(null), "warmer: missing; write the host:port of the warmer, for example harbor-warmer.kubewarden.svc:8443; rules: missing; without a rule no image is warmed. Write at least one, for example {prefix: docker.io/, harbor: main, project: dockerhub}")]
#[case::not_a_map(json!([]), "settings: must be a map of keys")]
fn settings_without_the_needed_keys_are_refused(#[case] settings: Value, #[case] expected: &str) {
    assert_eq!(message(settings), expected);
}

#[rstest]
#[case::unknown_key(
    json!({"plattforms": []}),
    "plattforms: unknown key; the keys here are warmer, rules, platforms, customResources, presets, maxImages, lookup, lookupRegistry, warnings"
)]
#[case::no_rules(
    json!({"rules": []}),
    "rules: missing; without a rule no image is warmed. Write at least one, for example {prefix: docker.io/, harbor: main, project: dockerhub}"
)]
#[case::platform(
    json!({"platforms": ["linux/amd64", "amd64"]}),
    "platforms[1]: `amd64`: write linux/amd64"
)]
#[case::aarch64(json!({"platforms": ["linux/aarch64"]}), "platforms[0]: `linux/aarch64`: write linux/arm64")]
#[case::x86_64(json!({"platforms": ["linux/x86_64"]}), "platforms[0]: `linux/x86_64`: write linux/amd64")]
#[case::i386(json!({"platforms": ["linux/i386"]}), "platforms[0]: `linux/i386`: write linux/386")]
#[case::armhf(json!({"platforms": ["linux/armhf"]}), "platforms[0]: `linux/armhf`: write linux/arm/v7")]
#[case::arm_7(json!({"platforms": ["linux/arm/7"]}), "platforms[0]: `linux/arm/7`: write linux/arm/v7")]
#[case::preset(json!({"presets": ["tekton", "argo"]}), "presets[1]: `argo`: there is no such preset; those are argo-workflows, argo-rollouts, kruise, knative, kubeflow, cloudnative-pg, strimzi, spark, flink, keda, tekton, kubevirt, jobset, ray")]
#[case::dead_rule(
    json!({"rules": [{"prefix": "docker.io", "harbor": "main", "project": "p"}, {"prefix": "docker.io/acme", "skip": true}]}),
    "rules[1]: no image gets to it, since rules[0] decides for all of its images; put it before rules[0], or remove it"
)]
#[case::plural_for_a_kind(
    json!({"customResources": [{"group": "argoproj.io", "kind": "rollouts"}]}),
    "customResources[0].kind: `rollouts`: a kind is a singular with capitals; write Rollout"
)]
#[case::no_platforms(json!({"platforms": []}), "platforms: name at least one platform, for example linux/amd64")]
#[case::platforms_as_text(json!({"platforms": "linux/amd64"}), "platforms: must be a list, not a text")]
#[case::docker_hub(
    json!({"warmer": "warmer"}),
    "warmer: `warmer`: an address without a dot or a port would be taken for a name at Docker Hub; write host:port, for example harbor-warmer.kubewarden.svc:8443"
)]
#[case::ipv6(json!({"warmer": "[fd00::1]:8443"}), "warmer: `[fd00::1]:8443`: image references have no IPv6 addresses; write a host name")]
#[case::warmer_as_number(json!({"warmer": 8443}), "warmer: must be a text, not a number; put it in quotes")]
#[case::max_images_zero(json!({"maxImages": 0}), "maxImages: must be a whole number from 1 to 50")]
#[case::max_images_text(json!({"maxImages": "5"}), "maxImages: must be a whole number from 1 to 50")]
#[case::lookup(json!({"lookup": "harbor"}), "lookup: `harbor`: write warmer, or none to let the warmer resolve every image")]
#[case::registry_without_look_ups(
    json!({"lookup": "none", "lookupRegistry": "harbor.example.com"}),
    "lookupRegistry: of no use with `lookup: none`; remove one of the two"
)]
#[case::one_registry_for_two_harbors(
    json!({"lookupRegistry": "harbor.example.com", "rules": [
        {"prefix": "docker.io", "harbor": "one", "project": "p"}, {"prefix": "ghcr.io", "harbor": "two", "project": "p"}
    ]}),
    "lookupRegistry: it is one Harbor's address, but the rules name several; remove it, and the warmer answers"
)]
#[case::warnings(json!({"warnings": "yes"}), "warnings: must be true or false, not a text; write true")]
#[case::custom_resources(json!({"customResources": [{"group": "a.io"}]}), "customResources[0].kind: missing; write the kind, for example Rollout")]
#[case::rule_without_a_harbor(
    json!({"rules": [{"prefix": "docker.io", "project": "p"}]}),
    "rules[0].harbor: missing; write the name that the Harbor has in the warmer's configuration"
)]
fn mistakes_name_the_key_and_say_what_to_write(#[case] changes: Value, #[case] expected: &str) {
    assert_eq!(message(settings_json(&changes)), expected);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let message =
        message(settings_json(&json!({"warmer": "w", "platforms": ["x"], "maxImages": -1, "lookup": 1, "zzz": 1})));
    for key in ["warmer:", "platforms[0]:", "maxImages:", "lookup:", "zzz:"] {
        assert!(message.contains(key), "{key} in {message}");
    }
}

proptest! {
    #[test]
    fn any_settings_are_judged_without_a_panic(key in "[a-zA-Z]{0,12}", text in any::<String>(), number: i64) {
        for value in [json!(text), json!(number), json!([text]), json!({"a": text}), json!([{"prefix": text, "pattern": number}])] {
            for key in ["warmer", "rules", "platforms", "customResources", "presets", "maxImages", "lookup", "lookupRegistry", key.as_str()] {
                let mut changes = json!({});
                changes[key] = value.clone();
                drop(RawSettings(settings_json(&changes)).validate());
            }
        }
    }
}
