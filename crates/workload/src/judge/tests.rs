use rstest::rstest;
use serde_json::json;

use super::*;

fn rules() -> RuleSet {
    RuleSet::from_value(&json!([
        {"prefix": "docker.io/library/auto", "skip": true},
        {"pattern": "^\\$\\{LOCAL\\}/", "skip": true},
        {"prefix": "docker.io", "harbor": "main", "project": "hub", "target": "ecr"},
        {"ecr": {"prefix": "hub"}, "harbor": "main", "project": "hub"},
        {"pattern": "^quay\\.io/(?<repository>[^:]+)", "harbor": "main", "project": "quay"},
    ]))
    .unwrap()
}

fn platforms() -> Platforms {
    Platforms::new(["linux/amd64", "linux/arm64"].map(|text| text.parse().unwrap())).unwrap()
}

fn told(image: &str) -> String {
    let (rules, platforms) = (rules(), platforms());
    Judge { rules: &rules, platforms: &platforms }.image(image).to_string()
}

const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

#[rstest]
#[case::mapped(
    "nginx:1.27",
    "rules[2] gives main/hub/library/nginx:1.27 for linux/amd64, linux/arm64, replicated to ecr"
)]
#[case::mapped_by_a_pattern("quay.io/a/b:1", "rules[4] gives main/quay/a/b:1 for linux/amd64, linux/arm64")]
#[case::excluded("auto", "rules[0] says skip")]
#[case::unmatched("ghcr.io/a/b", "no rule matches")]
fn an_image_is_told_in_the_policys_words(#[case] image: &str, #[case] expected: &str) {
    assert_eq!(told(image), expected);
}

#[test]
fn a_name_that_would_be_too_long_is_told() {
    let (rules, platforms) = (rules(), platforms());
    let decision = Judge { rules: &rules, platforms: &platforms }.image(&"a".repeat(240));
    assert!(matches!(decision, Decision::TooLong(_)), "{decision:?}");
}

#[test]
fn a_pin_is_told_with_its_digest() {
    assert_eq!(
        told(&format!("quay.io/a/b@sha256:{HEX}")),
        format!("rules[4] gives main/quay/a/b@sha256:{HEX} for linux/amd64, linux/arm64")
    );
}

/// What is no reference is told only where it concerns someone: a rule is for its registry, or a step was forgotten.
#[rstest]
#[case::other_digest_with_a_rule("nginx@sha512:00", true)]
#[case::other_digest_without_a_rule("ghcr.io/a@sha512:00", false)]
#[case::other_digest_of_ecr("123456789012.dkr.ecr.eu-west-1.amazonaws.com/hub/a@sha512:00", true)]
#[case::other_digest_elsewhere_in_ecr("123456789012.dkr.ecr.eu-west-1.amazonaws.com/b/a@sha512:00", false)]
#[case::other_digest_for_a_pattern("quay.io/a/b@sha512:00", true)]
#[case::ipv6("[fc00::3]:5000/app", false)]
#[case::capitals_at_docker_hub("Nginx", true)]
#[case::capitals_at_docker_hub_in_full("docker.io/Acme/App:1", true)]
#[case::capitals_elsewhere("ghcr.io/Acme/App:1", false)]
#[case::scheme_with_a_rule("https://docker.io/library/nginx", true)]
#[case::scheme_without_a_rule("https://ghcr.io/a/b", false)]
#[case::dockers_scheme("docker://nginx:1", true)]
#[case::shells_variable("${REGISTRY}/app", true)]
#[case::helms_template("{{ .Values.image }}", true)]
#[case::tektons_parameter("$(params.image)", true)]
#[case::ko("ko://github.com/acme/app", true)]
#[case::bad_tag_with_a_rule("nginx:1.0+build", true)]
#[case::bad_tag_without_a_rule("ghcr.io/a:1.0+build", false)]
#[case::blank_inside("a b", true)]
fn what_is_no_reference_is_loud_only_where_it_concerns_someone(#[case] image: &str, #[case] loud: bool) {
    let (rules, platforms) = (rules(), platforms());
    let decision = Judge { rules: &rules, platforms: &platforms }.image(image);
    match decision {
        Decision::Unreadable(_) => assert!(loud, "{decision}"),
        Decision::LeftUnread(_) => assert!(!loud, "{decision}"),
        other => panic!("{other:?}"),
    }
}

/// Another registry than Docker Hub, so no rule of ours is for it, though a runtime can read it.
#[test]
fn a_name_in_capitals_is_another_registry() {
    assert_eq!(told("MyRegistry/app"), "no rule matches");
}

#[rstest]
#[case::prefix(json!({"prefix": "docker.io/acme"}), "acme/App")]
#[case::prefix_of_another_registry(json!({"prefix": "ghcr.io/acme"}), "ghcr.io/Acme/App:1")]
#[case::prefix_for_another_digest(json!({"prefix": "ghcr.io"}), "ghcr.io/a@sha512:00")]
#[case::prefix_behind_a_scheme(json!({"prefix": "ghcr.io"}), "https://ghcr.io/a")]
#[case::pattern(json!({"pattern": "^\\[fc00"}), "[fc00::3]:5000/app")]
#[case::ecr(json!({"ecr": {}}), "123456789012.dkr.ecr.eu-west-1.amazonaws.com/App")]
fn a_skip_rule_silences_what_cannot_be_read(#[case] mut rule: serde_json::Value, #[case] image: &str) {
    rule["skip"] = json!(true);
    // `[` and `$` are in no image, so only a pattern for what can't be read has them.
    let Ok(rules) = RuleSet::from_value(&json!([rule])) else { panic!("{rule}") };
    let platforms = platforms();
    assert_eq!(Judge { rules: &rules, platforms: &platforms }.image(image), Decision::Excluded(0));
}

#[test]
fn an_object_is_told_image_by_image() {
    let (rules, platforms) = (rules(), platforms());
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {
        "metadata": {"labels": {"sidecar.istio.io/inject": "true"}},
        "spec": {
            "os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/arch": "arm64"},
            "containers": [
                {"image": "nginx:1"}, {"image": "docker.io/library/nginx:1"}, {"image": "auto"}, {"image": "ghcr.io/a"},
                {"image": "here:1", "imagePullPolicy": "Never"}, {"image": "${REGISTRY}/app"}, {"image": ""},
            ],
        },
    }}});
    let judged = Judge { rules: &rules, platforms: &platforms }.object(&object, &CustomKinds::default());
    let told: Vec<_> = judged.iter().map(|judged| format!("{}: {}", judged.image.written, judged.decision)).collect();
    assert_eq!(
        told,
        [
            "nginx:1: rules[2] gives main/hub/library/nginx:1 for linux/arm64, replicated to ecr",
            "auto: a webhook is asked to fill it in; with a tag it would be warmed",
            "ghcr.io/a: no rule matches",
            "here:1: imagePullPolicy is Never",
            "${REGISTRY}/app: a variable of a template was not filled in",
        ]
    );
}

#[rstest]
#[case::built_in("apps/v1", "Deployment", true)]
#[case::custom("argoproj.io/v1alpha1", "Rollout", false)]
fn a_variable_is_quiet_where_a_controller_may_fill_it_in(
    #[case] version: &str,
    #[case] kind: &str,
    #[case] loud: bool,
) {
    let (rules, platforms) = (rules(), platforms());
    let custom = CustomKinds::default().with_presets(vec!["argo-rollouts".parse().unwrap()]);
    let object = json!({"apiVersion": version, "kind": kind, "spec": {"template": {"spec": {
        "containers": [{"image": "$(params.image)"}],
    }}}});
    let judged = Judge { rules: &rules, platforms: &platforms }.object(&object, &custom);
    assert_eq!(
        judged.iter().map(|judged| matches!(judged.decision, Decision::Unreadable(_))).collect::<Vec<_>>(),
        [loud]
    );
}

#[test]
fn a_node_selection_and_a_mark_count_as_in_an_admission() {
    let (rules, platforms) = (rules(), platforms());
    let judge = Judge { rules: &rules, platforms: &platforms };
    let pod = |spec: serde_json::Value, skip: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {"harbor-warmer.io/skip": skip}}, "spec": spec});
    let told = |object: serde_json::Value| judge.object(&object, &CustomKinds::default())[0].decision.to_string();
    let windows = json!({"os": {"name": "windows"}, "containers": [{"image": "nginx"}]});
    assert_eq!(told(pod(windows, "no")), "runs on none of linux/amd64, linux/arm64, the platforms of the settings");
    let plain = json!({"containers": [{"image": "nginx"}]});
    assert_eq!(told(pod(plain, "yes")), "the annotation says skip");
}
