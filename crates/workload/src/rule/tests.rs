use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

fn rules(value: Value) -> RuleSet {
    RuleSet::from_value(&value).unwrap()
}

fn map(rules: &RuleSet, image: &str) -> Mapping {
    rules.map(&image.parse().unwrap())
}

/// `harbor/project/repository:tag[@digest]` of what an image is mapped to.
fn mapped(rules: &RuleSet, image: &str) -> String {
    match map(rules, image) {
        Mapping::Mapped(Mapped { image, target, subject }) => {
            let target = target.map_or_else(String::new, |target| format!(" for {target}"));
            let tag = subject.tag().map_or_else(String::new, |tag| format!(":{tag}"));
            let digest = match subject {
                Subject::Pin { digest, .. } => format!("@{digest}"),
                Subject::Tag(_) | Subject::Layers { .. } => String::new(),
            };
            format!("{image}{tag}{digest}{target}")
        }
        other => panic!("{image}: {other:?}"),
    }
}

#[rstest]
#[case::rest_is_the_repository("ghcr.io/acme/app:1", "main/github/acme/app:1")]
#[case::docker_hub_short_names("nginx", "main/dockerhub/library/nginx:latest")]
#[case::docker_hub_old_name("index.docker.io/grafana/loki:3", "main/dockerhub/grafana/loki:3")]
fn a_prefix_is_followed_by_the_repository(#[case] image: &str, #[case] expected: &str) {
    let rules = rules(json!([
        {"prefix": "ghcr.io/", "harbor": "main", "project": "github"},
        {"prefix": "docker.io", "harbor": "main", "project": "dockerhub"},
    ]));
    assert_eq!(mapped(&rules, image), expected);
}

#[test]
fn a_prefix_ends_between_two_parts() {
    let rules = rules(json!([{"prefix": "ghcr.io/acme", "harbor": "main", "project": "acme"}]));
    assert_eq!(mapped(&rules, "ghcr.io/acme/app:1"), "main/acme/app:1");
    assert_eq!(map(&rules, "ghcr.io/acme-labs/app:1"), Mapping::Unmatched);
    assert_eq!(map(&rules, "ghcr.io.evil.example/acme/app:1"), Mapping::Unmatched);
}

#[test]
fn a_prefix_may_be_a_whole_repository() {
    let rules = rules(json!([
        {"prefix": "ghcr.io/acme/app", "harbor": "main", "project": "acme", "repository": "acme/app"}
    ]));
    assert_eq!(mapped(&rules, "ghcr.io/acme/app:1"), "main/acme/acme/app:1");
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = rules(json!([
        {"prefix": "ghcr.io/acme/secret", "skip": true},
        {"prefix": "ghcr.io/acme", "harbor": "one", "project": "acme"},
        {"prefix": "ghcr.io", "harbor": "two", "project": "github"},
    ]));
    assert_eq!(map(&rules, "ghcr.io/acme/secret/app"), Mapping::Skipped);
    assert_eq!(mapped(&rules, "ghcr.io/acme/app:1"), "one/acme/app:1");
    assert_eq!(mapped(&rules, "ghcr.io/other/app:1"), "two/github/other/app:1");
    assert_eq!(map(&rules, "quay.io/a/b"), Mapping::Unmatched);
}

#[test]
fn veradcos_own_example_maps_as_veradco_maps_it() {
    // regexURL "^.*amazonaws.com/(proxy_[^:/]+)/([^:]+):(.+$)", replacementOCI "https://…/v2/$1/$2/manifests/$3"
    let rules = rules(json!([{
        "pattern": "^.*amazonaws.com/(?<project>proxy_[^:/]+)/(?<repository>[^:]+):(?<tag>.+$)",
        "harbor": "main", "project": "{project}", "repository": "{repository}", "tag": "{tag}",
    }]));
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    assert_eq!(
        mapped(&rules, &format!("{ecr}/proxy_dockerhub/library/nginx:1.27")),
        "main/proxy_dockerhub/library/nginx:1.27"
    );
    assert_eq!(map(&rules, &format!("{ecr}/team/app:1")), Mapping::Unmatched);
    // Two things that its expression misses: an image without a tag, and one with a digest beside its tag.
    assert_eq!(
        mapped(&rules, &format!("{ecr}/proxy_dockerhub/library/nginx")),
        "main/proxy_dockerhub/library/nginx:latest"
    );
    assert_eq!(
        mapped(&rules, &format!("{ecr}/proxy_dockerhub/library/nginx:1.27@sha256:{HEX}")),
        format!("main/proxy_dockerhub/library/nginx:1.27@sha256:{HEX}")
    );
}

#[test]
fn a_pattern_sees_the_image_as_written_and_then_its_normal_form() {
    let written = rules(json!([{"pattern": "^nginx$", "harbor": "main", "project": "p"}]));
    assert_eq!(mapped(&written, "nginx"), "main/p/library/nginx:latest");
    assert_eq!(map(&written, "docker.io/library/nginx"), Mapping::Unmatched);
    let normal = rules(
        json!([{"pattern": "^docker\\.io/library/(?<name>[^:]+):latest$", "harbor": "main", "project": "p", "repository": "lib/{name}"}]),
    );
    assert_eq!(mapped(&normal, "nginx"), "main/p/lib/nginx:latest");
}

#[test]
fn a_pattern_never_sees_the_digest_and_the_digest_is_never_lost() {
    let rules = rules(json!([{"pattern": "^(?<repository>[a-z]+)$", "harbor": "main", "project": "p"}]));
    assert_eq!(mapped(&rules, &format!("nginx@sha256:{HEX}")), format!("main/p/nginx@sha256:{HEX}"));
}

#[test]
fn a_rule_for_ecr_knows_accounts_regions_and_pull_through_prefixes() {
    let rules = rules(json!([
        {
            "ecr": {"accounts": ["123456789012"], "regions": ["eu-west-1"], "prefix": "dockerhub"},
            "harbor": "main", "project": "dockerhub", "target": "ecr-eu",
        },
        {"ecr": {}, "harbor": "main", "project": "ecr-{account}", "repository": "{region}/{rest}"},
    ]));
    assert_eq!(
        mapped(&rules, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/dockerhub/library/nginx:1"),
        "main/dockerhub/library/nginx:1 for ecr-eu"
    );
    assert_eq!(
        mapped(&rules, "123456789012.dkr-ecr-fips.us-east-1.on.aws/app:1"),
        "main/ecr-123456789012/us-east-1/app:1"
    );
    assert_eq!(map(&rules, "public.ecr.aws/nginx/nginx:1"), Mapping::Unmatched);
}

#[test]
fn a_tag_can_be_rewritten() {
    let rules = rules(json!([{"prefix": "ghcr.io", "harbor": "main", "project": "p", "tag": "{tag}-cached"}]));
    assert_eq!(mapped(&rules, "ghcr.io/a:1"), "main/p/a:1-cached");
}

#[rstest]
#[case::project(
    "ghcr.io/a/b:1",
    "{repository}",
    "{rest}",
    "rules[0] gives the project `a/b`, but it must not contain a slash"
)]
#[case::no_rest("ghcr.io/x/y:1", "p", "{nothing}", "rules[0] gives the repository ``, but it must not be empty")]
fn an_outcome_that_is_no_name_is_told(
    #[case] image: &str,
    #[case] project: &str,
    #[case] repository: &str,
    #[case] message: &str,
) {
    let rules = rules(json!([{
        "pattern": "ghcr.io/(?<rest>[^:]*)(?<nothing>)", "harbor": "main", "project": project, "repository": repository,
    }]));
    let Mapping::Failed(error) = map(&rules, image) else { panic!("it is mapped") };
    assert_eq!(error.to_string(), message);
}

#[test]
fn what_the_rules_name_is_listed_once() {
    let rules = rules(json!([
        {"prefix": "ghcr.io", "harbor": "main", "project": "github", "target": "ecr"},
        {"prefix": "docker.io", "harbor": "main", "project": "dockerhub", "target": "ecr"},
        {"pattern": "quay.io/(?<p>[a-z]+)/", "harbor": "other", "project": "quay-{p}"},
        {"prefix": "gcr.io", "skip": true},
    ]));
    assert_eq!(rules.harbors().map(HarborName::as_str).collect::<Vec<_>>(), ["main", "other"]);
    assert_eq!(rules.targets().map(TargetName::as_str).collect::<Vec<_>>(), ["ecr"]);
    let projects: Vec<_> = rules.projects().map(|(harbor, project)| format!("{harbor}/{project}")).collect();
    assert_eq!(projects, ["main/github", "main/dockerhub"]);
}

#[rstest]
#[case::not_a_list(json!({}), &["rules: must be a list of rules, not a map"])]
#[case::not_a_map(json!(["docker.io"]), &["rules[0]: must be a map of keys, not a text"])]
#[case::no_matcher(
    json!([{"harbor": "main", "project": "p"}]),
    &["rules[0]: a rule needs one of prefix, pattern and ecr, which say which images it is for"]
)]
#[case::two_matchers(
    json!([{"prefix": "ghcr.io", "pattern": "x", "harbor": "main", "project": "p"}]),
    &["rules[0]: a rule has one of prefix, pattern and ecr; here are prefix and pattern"]
)]
#[case::no_harbor(
    json!([{"prefix": "ghcr.io", "project": "p"}]),
    &["rules[0].harbor: missing; write the name that the Harbor has in the warmer's configuration"]
)]
#[case::no_project(
    json!([{"prefix": "ghcr.io", "harbor": "main"}]),
    &["rules[0].project: missing; write the Harbor project that is the proxy cache for these images"]
)]
#[case::prefix_without_registry(
    json!([{"prefix": "library/", "harbor": "main", "project": "p"}]),
    &["rules[0].prefix: `library/`: a prefix starts with the registry, for example docker.io/library/ or ghcr.io/"]
)]
#[case::prefix_with_a_tag(
    json!([{"prefix": "ghcr.io/a:1", "harbor": "main", "project": "p"}]),
    &["rules[0].prefix: `ghcr.io/a:1`: after the registry, a prefix holds whole parts of a repository in lower case, without a tag"]
)]
#[case::numbered_group(
    json!([{"pattern": "(a)", "harbor": "main", "project": "$1"}]),
    &["rules[0].project: `$1`: a variable is written {name}; instead of $1, name the pattern's group, `(?<name>…)`"]
)]
#[case::unknown_variable(
    json!([{"prefix": "ghcr.io", "harbor": "main", "project": "{group}"}]),
    &["rules[0].project: `{group}`: there is no variable {group}; this rule has registry, repository, tag, rest"]
)]
#[case::constant_that_is_no_name(
    json!([{"prefix": "ghcr.io", "harbor": "main", "project": "a/b"}]),
    &["rules[0].project: `a/b`: must not contain a slash"]
)]
#[case::skip_with_a_harbor(
    json!([{"prefix": "ghcr.io", "skip": true, "harbor": "main"}]),
    &["rules[0].harbor: a rule with `skip: true` warms nothing; remove it"]
)]
#[case::account(
    json!([{"ecr": {"accounts": ["12"]}, "harbor": "main", "project": "p"}]),
    &["rules[0].ecr.accounts[0]: `12`: an AWS account has 12 digits"]
)]
#[case::region(
    json!([{"ecr": {"regions": ["EU (Frankfurt)"]}, "harbor": "main", "project": "p"}]),
    &["rules[0].ecr.regions[0]: `EU (Frankfurt)`: an AWS region is written like eu-central-1"]
)]
#[case::account_as_a_number(
    json!([{"ecr": {"accounts": [123456789012u64]}, "harbor": "main", "project": "p"}]),
    &["rules[0].ecr.accounts[0]: must be a text, not a number; put it in quotes"]
)]
#[case::all_at_once(
    json!([{"prefix": "ghcr.io", "harbour": "main", "project": 5}, {"skip": "yes", "prefix": "quay.io"}]),
    &[
        "rules[0].project: must be a text, not a number; put it in quotes",
        "rules[0].harbor: missing; write the name that the Harbor has in the warmer's configuration",
        "rules[0].harbour: unknown key; the keys here are prefix, pattern, ecr, skip, harbor, target, project, repository, tag",
        "rules[1].skip: must be true or false, not a text",
        "rules[1].harbor: missing; write the name that the Harbor has in the warmer's configuration",
        "rules[1].project: missing; write the Harbor project that is the proxy cache for these images",
    ]
)]
fn mistakes_name_the_key_and_say_what_to_write(#[case] value: Value, #[case] expected: &[&str]) {
    let mistakes: Vec<_> = RuleSet::from_value(&value).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(mistakes, expected);
}

#[test]
fn a_pattern_that_does_not_compile_is_told_with_its_reason() {
    let mistakes = RuleSet::from_value(&json!([{"pattern": "(", "harbor": "main", "project": "p"}])).unwrap_err();
    let [mistake] = mistakes.as_slice() else { panic!("{mistakes:?}") };
    assert_eq!(mistake.path, "rules[0].pattern");
    assert!(mistake.message.starts_with("`(` is not a regular expression: "), "{mistake}");
}

proptest! {
    #[test]
    fn any_image_is_mapped_to_valid_names_or_to_none(image in "[a-z./:@{}$-]{0,40}", text in "[a-z{}$./-]{0,20}") {
        let value = json!([
            {"pattern": "(?<all>.*)", "harbor": "main", "project": text, "repository": "{all}"},
        ]);
        if let (Ok(rules), Ok(reference)) = (RuleSet::from_value(&value), image.parse()) {
            drop(rules.map(&reference));
        }
    }
}
