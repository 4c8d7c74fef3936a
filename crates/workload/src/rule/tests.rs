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
fn a_prefix_gives_the_whole_repository(#[case] image: &str, #[case] expected: &str) {
    let rules = rules(json!([
        {"prefix": "ghcr.io/", "harbor": "main", "project": "github"},
        {"prefix": "docker.io", "harbor": "main", "project": "dockerhub"},
    ]));
    assert_eq!(mapped(&rules, image), expected);
}

#[test]
fn a_prefix_ends_between_two_parts() {
    let rules = rules(json!([{"prefix": "ghcr.io/acme", "harbor": "main", "project": "acme"}]));
    assert_eq!(mapped(&rules, "ghcr.io/acme/app:1"), "main/acme/acme/app:1");
    assert_eq!(map(&rules, "ghcr.io/acme-labs/app:1"), Mapping::Unmatched);
    assert_eq!(map(&rules, "ghcr.io.evil.example/acme/app:1"), Mapping::Unmatched);
}

#[test]
fn a_prefix_may_be_a_whole_repository() {
    let rules = rules(json!([
        {"prefix": "ghcr.io/acme/app", "harbor": "main", "project": "acme"}
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
    assert_eq!(mapped(&rules, "ghcr.io/acme/app:1"), "one/acme/acme/app:1");
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
fn a_pattern_sees_the_normal_form_and_docker_hubs_short_forms_of_it() {
    let written = rules(json!([{"pattern": "^nginx$", "harbor": "main", "project": "p"}]));
    assert_eq!(mapped(&written, "nginx"), "main/p/library/nginx:latest");
    assert_eq!(mapped(&written, "docker.io/library/nginx"), "main/p/library/nginx:latest");
    assert_eq!(map(&written, "ghcr.io/a/nginx"), Mapping::Unmatched);
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
    "rules[0] gives no project: it must not contain a slash: `a/b`"
)]
#[case::no_rest("ghcr.io/x/y:1", "p", "{nothing}", "rules[0] gives no repository: it must not be empty: ``")]
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
    &["rules[0].prefix: `library/`: a prefix starts with the registry; write docker.io/library/, if it is Docker Hub's"]
)]
#[case::prefix_with_a_tag(
    json!([{"prefix": "ghcr.io/a:1", "harbor": "main", "project": "p"}]),
    &["rules[0].prefix: `ghcr.io/a:1`: after the registry, a prefix holds whole parts of a repository in lower case, without a tag"]
)]
#[case::numbered_group(
    json!([{"pattern": "(a)", "harbor": "main", "project": "$1"}]),
    &["rules[0].project: `$1`: a variable is written {name}; instead of a number, name the pattern's group, `(?<name>…)`"]
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
        "rules[1].skip: must be true or false, not a text; write true",
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

/// Every spelling of an image, under a rule of every kind: one image, one place.
#[rstest]
#[case::short("bash")]
#[case::with_its_tag("bash:latest")]
#[case::with_library("library/bash")]
#[case::in_full("docker.io/library/bash")]
#[case::without_library("docker.io/bash")]
#[case::docker_hubs_old_name("index.docker.io/library/bash")]
#[case::docker_hubs_old_name_without_library("index.docker.io/bash")]
#[case::docker_hubs_host("registry-1.docker.io/library/bash")]
#[case::docker_hubs_alias("registry.hub.docker.com/library/bash")]
#[case::docker_hubs_site("hub.docker.com/_/bash")]
#[case::in_capitals("DOCKER.IO/library/bash")]
#[case::with_the_port("docker.io:443/bash")]
fn one_image_has_one_place_however_it_is_written(#[case] image: &str) {
    for (matcher, expected) in [
        (json!({"prefix": "docker.io/"}), "main/p/library/bash:latest"),
        (json!({"prefix": "docker.io/bash"}), "main/p/library/bash:latest"),
        (json!({"prefix": "docker.io/library/"}), "main/p/library/bash:latest"),
        (json!({"prefix": "index.docker.io/"}), "main/p/library/bash:latest"),
        (json!({"pattern": "^docker\\.io/(?<repository>[^:@]+)"}), "main/p/library/bash:latest"),
        (json!({"pattern": "^(?<repository>[a-z]+)$"}), "main/p/bash:latest"),
        (json!({"pattern": "^library/bash"}), "main/p/library/bash:latest"),
        (json!({"pattern": "bash:latest$"}), "main/p/library/bash:latest"),
    ] {
        let mut rule = json!({"harbor": "main", "project": "p"});
        rule.as_object_mut().unwrap().extend(matcher.as_object().unwrap().clone());
        assert_eq!(mapped(&rules(json!([rule])), image), expected, "{matcher}");
    }
}

#[rstest]
#[case::whole_repository_below_an_owner(json!({"prefix": "ghcr.io/acme"}), "ghcr.io/acme/app:1", "main/p/acme/app:1")]
#[case::whole_repository_of_one_image(json!({"prefix": "ghcr.io/acme/app"}), "ghcr.io/acme/app:1", "main/p/acme/app:1")]
#[case::rest_where_it_is_meant(json!({"prefix": "ghcr.io/acme", "repository": "{rest}"}), "ghcr.io/acme/app:1", "main/p/app:1")]
#[case::rest_of_a_registry_is_the_whole(json!({"prefix": "ghcr.io", "repository": "{rest}"}), "ghcr.io/acme/app:1", "main/p/acme/app:1")]
#[case::mirror_with_a_path(json!({"prefix": "mirror.example/hub", "repository": "{rest}"}), "mirror.example/hub/library/nginx:1", "main/p/library/nginx:1")]
#[case::ecr_gives_what_follows_its_prefix(json!({"ecr": {"prefix": "hub"}}), "123456789012.dkr.ecr.eu-west-1.amazonaws.com/hub/library/nginx:1", "main/p/library/nginx:1")]
#[case::ecr_without_a_prefix_gives_the_whole(json!({"ecr": {}}), "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1", "main/p/team/app:1")]
#[case::capitals_in_the_prefix(json!({"prefix": "GHCR.IO/"}), "ghcr.io/acme/app:1", "main/p/acme/app:1")]
#[case::capitals_in_the_image(json!({"prefix": "ghcr.io/"}), "Ghcr.io/acme/app:1", "main/p/acme/app:1")]
#[case::port_in_the_prefix(json!({"prefix": "ghcr.io:443/"}), "ghcr.io/acme/app:1", "main/p/acme/app:1")]
#[case::port_in_the_image(json!({"prefix": "ghcr.io/"}), "ghcr.io:443/acme/app:1", "main/p/acme/app:1")]
#[case::owner_that_an_official_image_is_called_like(json!({"prefix": "docker.io/nginx"}), "nginx/nginx-ingress:5", "main/p/nginx/nginx-ingress:5")]
#[case::official_image(json!({"prefix": "docker.io/nginx"}), "nginx:1", "main/p/library/nginx:1")]
fn a_rule_without_a_repository_gives_what_its_author_means(
    #[case] mut rule: Value,
    #[case] image: &str,
    #[case] expected: &str,
) {
    rule.as_object_mut().unwrap().extend([("harbor".to_owned(), json!("main")), ("project".to_owned(), json!("p"))]);
    assert_eq!(mapped(&rules(json!([rule])), image), expected);
}

#[rstest]
#[case::empty_pattern(json!({"pattern": ""}), "pattern: `` matches every image; write .* if that is meant")]
#[case::digest(json!({"pattern": "^ghcr.io/(.*)@sha256:"}), "pattern: `^ghcr.io/(.*)@sha256:` matches nothing: patterns see no digest. Leave out the `@` and what follows it; a digest is carried over by itself")]
#[case::scheme(json!({"pattern": "^https://ghcr.io/"}), "pattern: `^https://ghcr.io/` matches nothing: an image has no scheme. Leave out what ends in `://`")]
#[case::scheme_that_may_be_left_out(json!({"pattern": "^(https://)?ghcr.io/"}), "accepted")]
#[case::blank(json!({"pattern": "ghcr.io/ acme"}), "pattern: `ghcr.io/ acme` matches nothing: no image has a ` ` in it")]
#[case::old_name(json!({"pattern": "^index\\.docker\\.io/"}), "pattern: `^index\\.docker\\.io/` matches nothing: patterns see docker.io instead of index.docker.io")]
#[case::slash_first(json!({"prefix": "ghcr.io", "repository": "/{rest}"}), "repository: `/{rest}`: a repository neither starts nor ends with a slash; leave it off")]
#[case::slash_last(json!({"prefix": "ghcr.io", "repository": "{rest}/"}), "repository: `{rest}/`: a repository neither starts nor ends with a slash; leave it off")]
#[case::as_sed_writes_groups(json!({"pattern": "(a)", "repository": "\\1"}), "repository: `\\1`: a variable is written {name}; instead of a number, name the pattern's group, `(?<name>…)`")]
#[case::as_go_writes_groups(json!({"pattern": "(?<a>a)", "repository": "${a}"}), "repository: `${a}`: a variable is written {name}; instead of a number, name the pattern's group, `(?<name>…)`")]
#[case::rest_of_a_pattern(json!({"pattern": "a", "repository": "{rest}"}), "repository: `{rest}`: there is no variable {rest}; this rule has registry, repository, tag")]
#[case::tag_in_the_repository(json!({"prefix": "ghcr.io", "repository": "{rest}:{tag}"}), "repository: `{rest}:{tag}`: it gives names like `a:a`, but may hold a-z and 0-9 in every part between slashes, separated by one of `.`, `_`, `__` or hyphens")]
#[case::project_with_a_slash(json!({"prefix": "ghcr.io", "project": "cache/{rest}"}), "project: `cache/{rest}`: it gives names like `cache/a`, but must not contain a slash")]
#[case::capitals_in_the_repository(json!({"prefix": "ghcr.io", "repository": "Acme/{rest}"}), "repository: `Acme/{rest}`: it gives names like `Acme/a`, but may hold a-z and 0-9 in every part between slashes, separated by one of `.`, `_`, `__` or hyphens")]
#[case::tag_with_a_colon(json!({"prefix": "ghcr.io", "tag": ":{tag}"}), "tag: `:{tag}`: it gives names like `:a`, but a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and starts with none of the last two")]
#[case::owner_for_a_prefix(json!({"prefix": "grafana/"}), "prefix: `grafana/`: a prefix starts with the registry; write docker.io/grafana/, if it is Docker Hub's")]
#[case::scheme_of_a_prefix(json!({"prefix": "https://ghcr.io/"}), "prefix: `https://ghcr.io/`: a prefix has no `https://`; write ghcr.io/")]
#[case::star_of_a_prefix(json!({"prefix": "ghcr.io/acme/*"}), "prefix: `ghcr.io/acme/*`: a prefix is plain text, and means everything below it; write ghcr.io/acme/")]
#[case::digest_that_may_be_left_out(json!({"pattern": "^ghcr.io/(?<repository>[^:@]+)(@.*)?"}), "accepted")]
fn what_no_image_could_fit_is_refused_with_what_to_write(#[case] mut rule: Value, #[case] expected: &str) {
    for (key, value) in [("harbor", "main"), ("project", "p")] {
        rule.as_object_mut().unwrap().entry(key).or_insert_with(|| json!(value));
    }
    let told = match RuleSet::from_value(&json!([rule])) {
        Ok(_) => "accepted".to_owned(),
        Err(mistakes) => {
            let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            mistakes.join("; ").replace("rules[0].", "")
        }
    };
    assert_eq!(told, expected);
}

#[rstest]
#[case::below_a_shorter_prefix(json!({"prefix": "ghcr.io"}), json!({"prefix": "ghcr.io/acme"}), true)]
#[case::the_same_prefix(json!({"prefix": "ghcr.io/acme/"}), json!({"prefix": "ghcr.io/acme"}), true)]
#[case::the_same_registry_in_other_words(json!({"prefix": "docker.io"}), json!({"prefix": "index.docker.io/library/"}), true)]
#[case::official_image(json!({"prefix": "docker.io/library/nginx"}), json!({"prefix": "docker.io/nginx"}), false)]
#[case::official_image_below_docker_hub(json!({"prefix": "docker.io"}), json!({"prefix": "docker.io/nginx"}), true)]
#[case::a_longer_prefix_first(json!({"prefix": "ghcr.io/acme"}), json!({"prefix": "ghcr.io"}), false)]
#[case::half_a_part(json!({"prefix": "ghcr.io/acme"}), json!({"prefix": "ghcr.io/acme-labs"}), false)]
#[case::plain_pattern_below_a_prefix(json!({"prefix": "ghcr.io"}), json!({"pattern": "^ghcr\\.io/acme/app$"}), true)]
#[case::pattern_below_a_prefix(json!({"prefix": "ghcr.io/acme"}), json!({"pattern": "^ghcr\\.io/acme/(?<repository>[^:]+)"}), true)]
#[case::pattern_with_alternatives(json!({"prefix": "ghcr.io"}), json!({"pattern": "^ghcr\\.io/a|quay"}), false)]
#[case::pattern_for_another_owner(json!({"prefix": "ghcr.io/acme"}), json!({"pattern": "^ghcr\\.io/acme-labs/"}), false)]
#[case::pattern_without_an_anchor(json!({"prefix": "ghcr.io"}), json!({"pattern": "ghcr\\.io/acme"}), false)]
#[case::pattern_for_everything(json!({"pattern": ".*"}), json!({"prefix": "ghcr.io"}), true)]
#[case::the_same_pattern(json!({"pattern": "^a[bc]"}), json!({"pattern": "^a[bc]"}), true)]
#[case::all_of_ecr(json!({"ecr": {}}), json!({"ecr": {"accounts": ["123456789012"]}}), true)]
#[case::one_account_of_ecr(json!({"ecr": {"accounts": ["123456789012"]}}), json!({"ecr": {}}), false)]
#[case::prefix_of_ecr(json!({"ecr": {"prefix": "hub"}}), json!({"ecr": {"prefix": "hub/library"}}), true)]
#[case::another_prefix_of_ecr(json!({"ecr": {"prefix": "hub"}}), json!({"ecr": {"prefix": "quay"}}), false)]
#[case::another_region(json!({"ecr": {"regions": ["eu-west-1"]}}), json!({"ecr": {"regions": ["eu-west-1", "us-east-1"]}}), false)]
#[case::prefix_below_ecr(json!({"ecr": {}}), json!({"prefix": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/hub"}), true)]
fn a_rule_that_no_image_gets_to_is_refused(#[case] mut first: Value, #[case] mut second: Value, #[case] dead: bool) {
    for rule in [&mut first, &mut second] {
        rule.as_object_mut()
            .unwrap()
            .extend([("harbor".to_owned(), json!("main")), ("project".to_owned(), json!("p"))]);
    }
    let told: Vec<_> = match RuleSet::from_value(&json!([first, second])) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    };
    let message = "rules[1]: no image gets to it, since rules[0] decides for all of its images; put it before rules[0], or \
                   remove it";
    assert_eq!(told, if dead { vec![message] } else { Vec::new() });
}

#[test]
fn every_rule_has_an_example_that_it_decides() {
    let rules = rules(json!([
        {"prefix": "docker.io/library/auto", "skip": true},
        {"prefix": "docker.io", "harbor": "main", "project": "p"},
        {"prefix": "ghcr.io/acme/app", "harbor": "main", "project": "p"},
        {"ecr": {"prefix": "hub"}, "harbor": "main", "project": "p"},
        {"pattern": "^.*amazonaws.com/(?<project>proxy_[^:/]+)/(?<repository>[^:]+):(?<tag>.+$)", "harbor": "main", "project": "{project}"},
        {"pattern": "^mirror\\.example\\.com/(?<project>[^/]+)/(?<repository>.+?)(:|$)", "harbor": "main", "project": "{project}"},
        {"pattern": "^quay\\.io/(?:a|b){2,3}/[a-z]+", "harbor": "main", "project": "p"},
        {"pattern": "(?i)gcr\\.io/", "harbor": "main", "project": "p"},
    ]));
    let examples: Vec<_> =
        rules.example_of_each().into_iter().map(|example| example.map(|image| image.to_string())).collect();
    for (index, example) in examples.iter().enumerate() {
        let example = example.as_deref().unwrap_or_else(|| panic!("rules[{index}]"));
        assert_eq!(rules.map_by(&example.parse().unwrap()).0, Some(index), "{example}");
    }
}

fn any_rule() -> impl Strategy<Value = Value> {
    let matcher = prop_oneof![
        "(docker.io|ghcr.io|GHCR.io|a)(/[a-z]{1,3}){0,2}/?".prop_map(|text| json!({"prefix": text})),
        "[a-c.@/:(|)^$*+?\\\\\\[\\]{}0-9-]{0,12}".prop_map(|text| json!({"pattern": text})),
        "(a|hub|/x/)".prop_map(|text| json!({"ecr": {"prefix": text}})),
    ];
    (matcher, any::<bool>(), "[a-z{}/\\\\$]{1,8}").prop_map(|(mut rule, skip, repository)| {
        if skip {
            rule["skip"] = json!(true);
        } else {
            rule["harbor"] = json!("main");
            rule["project"] = json!("p");
            rule["repository"] = json!(repository);
        }
        rule
    })
}

proptest! {
    #[test]
    fn any_rules_are_judged_without_a_panic_and_alike_each_time(list in prop::collection::vec(any_rule(), 1..5)) {
        let read = || RuleSet::from_value(&json!(list));
        match read() {
            Ok(rules) => {
                for (index, image) in rules.example_of_each().into_iter().enumerate() {
                    if let Some(image) = image {
                        prop_assert_eq!(rules.map_by(&image).0, Some(index));
                    }
                }
            }
            Err(mistakes) => prop_assert_eq!(Err(mistakes), read().map(drop)),
        }
    }

    #[test]
    fn no_image_fits_a_pattern_that_is_refused(
        pattern in "[a-c.@/:(|)^$*+?\\[\\]0-9-]{1,10}",
        image in "([a-c]{1,3}(\\.[a-c]{1,2}|:[0-9]{1,2})/)?[a-c0-9]{1,3}([./-][a-c0-9]{1,3}){0,2}(:[a-c0-9.-]{1,4})?",
    ) {
        let rule = json!([{"pattern": pattern, "harbor": "main", "project": "p"}]);
        let refused = RuleSet::from_value(&rule).is_err_and(|mistakes| mistakes[0].message.contains("matches nothing"));
        if let (true, Ok(regex), Ok(reference)) = (refused, regex_lite::Regex::new(&pattern), image.parse::<Reference>()) {
            for form in Matchable::new(&reference).forms {
                prop_assert!(!regex.is_match(&form), "{pattern} matches {form}");
            }
        }
    }
}
