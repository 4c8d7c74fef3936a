//! Whether a replication brings an image under the name that workloads have for it. Pure.
//!
//! Harbor makes the name at the target of the project, the repository and two settings of the policy. A rule maps the
//! other way, from what a workload names to project and repository. Where the two don't meet, every replication
//! succeeds and nobody finds the image.

use harbor_warmer_protocol::{HarborImage, Subject, Tag, TargetName};
use harbor_warmer_workload::{Ecr, Mapped, Mapping, Reference, RuleSet};

use harbor_warmer_harbor::{Destination, Naming, Repository, Unnameable};

/// What becomes of one image at its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It arrives under the name that workloads have for it.
    AsNamed,
    /// The repository is right, but workloads name another registry.
    AtAnotherRegistry {
        /// The registry that it arrives at.
        registry: String,
    },
    /// It arrives under another name.
    Elsewhere {
        /// `repository:tag` at the target.
        arrives: String,
        /// The policy's settings under which it would arrive as named, if there are any.
        cure: Option<Naming>,
    },
    /// Harbor can't name it at the target, and fails.
    Nowhere {
        /// Why.
        why: Unnameable,
        /// The policy's settings under which it would arrive as named, if there are any.
        cure: Option<Naming>,
    },
}

/// What becomes of an image that a workload names; none where the rules don't map it to this target.
pub fn arrival(rules: &RuleSet, image: &Reference, target: &TargetName, destination: &Destination) -> Option<Arrival> {
    let Mapping::Mapped(mapped) = rules.map(image) else { return None };
    if mapped.target.as_ref() != Some(target) {
        return None;
    }
    let place = Repository::from(&mapped.image);
    let wanted = image.repository().as_str();
    let cure = || destination.naming.leading_to(&place, wanted).filter(|naming| *naming != destination.naming);
    let name = match destination.naming.name_of(&place) {
        Ok(name) => name,
        Err(why) => return Some(Arrival::Nowhere { why, cure: cure() }),
    };
    // A replication keeps the tag that the image has in Harbor.
    let tag = mapped.subject.tag();
    if name != wanted || (tag.is_some() && tag != image.tag()) {
        let cure = if name == wanted { None } else { cure() };
        return Some(Arrival::Elsewhere { arrives: tagged(&name, tag), cure });
    }
    match &destination.registry {
        Some(registry) if !is_same_registry(registry, image.registry()) => {
            Some(Arrival::AtAnotherRegistry { registry: registry.clone() })
        }
        Some(_) | None => Some(Arrival::AsNamed),
    }
}

/// What an image in Harbor would be called at its target, if that is certainly no name that the rules have for it.
///
/// Nobody tells the warmer what the workload called the image, so this asks the rules about the name at the target.
/// Their answer is certain where every rule for the target is for images of the target's own registry: of a pattern
/// nobody knows what it is for, and images of another registry are found through a mirror, by rules of its own.
pub(crate) fn misplaced(
    rules: &RuleSet,
    place: &HarborImage,
    tag: &Tag,
    target: &TargetName,
    destination: &Destination,
) -> Option<String> {
    let registry = destination.registry.as_deref()?;
    let examples = rules.examples(target, Some(registry));
    let is_own = |image: &Reference| is_same_registry(image.registry(), registry);
    if examples.is_empty() || !examples.iter().all(|of| !of.images.is_empty() && of.images.iter().all(is_own)) {
        return None;
    }
    let name = match destination.naming.name_of(&Repository::from(place)) {
        Ok(name) => name,
        Err(why) => return Some(why.to_string()),
    };
    let hosts = examples.iter().flat_map(|of| &of.images).map(Reference::registry).chain([registry]);
    let is_named = |host: &str| {
        let Ok(image) = format!("{host}/{}", tagged(&name, Some(tag))).parse() else { return false };
        let Mapping::Mapped(Mapped { image, target: named, subject }) = rules.map(&image) else { return false };
        image == *place && named.as_ref() == Some(target) && subject == Subject::Tag(tag.clone())
    };
    let found = hosts.into_iter().any(is_named);
    (!found).then(|| format!("{registry}/{}", tagged(&name, Some(tag))))
}

fn tagged(name: &str, tag: Option<&Tag>) -> String {
    tag.map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"))
}

/// Hosts are equal in any case, and an account's registry in a region is the same by each of its endpoints.
fn is_same_registry(one: &str, other: &str) -> bool {
    let ecr = |host: &str| Ecr::from_host(host).map(|ecr| (ecr.account().to_owned(), ecr.region().to_owned()));
    one.eq_ignore_ascii_case(other) || ecr(one).is_some_and(|one| ecr(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use harbor_warmer_harbor::Parts;

    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

    fn destination(registry: Option<&str>, namespace: Option<&str>, replaced: Option<usize>) -> Destination {
        let naming = Naming { namespace: namespace.map(str::to_owned), replaced, parts: Parts::Any };
        Destination { registry: registry.map(str::to_owned), naming }
    }

    fn rule(matcher: Value, repository: Option<&str>) -> RuleSet {
        let mut rule = matcher;
        rule["harbor"] = json!("main");
        rule["project"] = json!("dockerhub");
        rule["target"] = json!("prod");
        rule["repository"] = json!(repository.unwrap_or("{rest}"));
        RuleSet::from_value(&json!([rule])).unwrap()
    }

    fn place() -> HarborImage {
        HarborImage {
            harbor: "main".parse().unwrap(),
            project: "dockerhub".parse().unwrap(),
            repository: "team/app".parse().unwrap(),
        }
    }

    fn prod() -> TargetName {
        "prod".parse().unwrap()
    }

    /// Rules for images of the target, by the path that they leave off and the repository that they map to.
    #[rstest]
    #[case::named_with_the_project("dockerhub/", None, None, None, "dockerhub/team/app:1", Some(None))]
    #[case::named_without_the_project("", None, None, None, "team/app:1", Some(Some("dockerhub/team/app:1")))]
    #[case::the_policy_takes_it_off("", None, Some("team"), Some(2), "team/app:1", Some(None))]
    #[case::for_one_team_only("", None, Some("team"), Some(2), "other/app:1", Some(Some("team/app:1")))]
    #[case::mirrored("mirror/", None, Some("mirror"), Some(1), "mirror/library/nginx:1", Some(None))]
    #[case::flattened("mirror/", None, Some("mirror"), None, "mirror/library/nginx:1", Some(Some("mirror/nginx:1")))]
    #[case::too_flat("mirror/", None, Some("mirror"), Some(3), "mirror/nginx:1", Some(Some("")))]
    #[case::library_is_put_in(
        "dockerhub/",
        Some("library/{rest}"),
        None,
        None,
        "dockerhub/nginx:1",
        Some(Some("dockerhub/library/nginx:1"))
    )]
    #[case::not_mapped("mirror/", None, None, None, "other/app:1", None)]
    fn an_image_arrives_as_its_workload_names_it_or_not(
        #[case] prefix: &str,
        #[case] repository: Option<&str>,
        #[case] namespace: Option<&str>,
        #[case] replaced: Option<usize>,
        #[case] image: &str,
        #[case] expected: Option<Option<&str>>,
    ) {
        let rules = rule(json!({"prefix": format!("{ECR}/{prefix}")}), repository);
        let destination = destination(Some(ECR), namespace, replaced);
        let image = format!("{ECR}/{image}").parse().unwrap();

        let arrives = match arrival(&rules, &image, &prod(), &destination) {
            None => None,
            Some(Arrival::AsNamed) => Some(None),
            Some(Arrival::Elsewhere { arrives, .. }) => Some(Some(arrives)),
            Some(Arrival::Nowhere { .. }) => Some(Some(String::new())),
            Some(Arrival::AtAnotherRegistry { registry }) => panic!("{registry}"),
        };

        assert_eq!(arrives.as_ref().map(|arrives| arrives.as_deref()), expected);
    }

    #[rstest]
    #[case::as_it_should(ECR, "dockerhub", Some("dockerhub"), Some(1), None)]
    #[case::by_another_endpoint("123456789012.dkr.ecr-fips.eu-west-1.amazonaws.com", "dockerhub", None, None, None)]
    #[case::misplaced(ECR, "", None, None, Some("123456789012.dkr.ecr.eu-west-1.amazonaws.com/dockerhub/team/app:1"))]
    #[case::taken_off(ECR, "", Some("team"), Some(2), None)]
    #[case::nowhere(
        ECR,
        "",
        Some("team"),
        Some(3),
        Some("dockerhub/team/app does not have 3 parts to replace before its last")
    )]
    #[case::through_a_mirror("docker.io", "", None, None, None)]
    fn a_name_that_no_rule_has_is_refused(
        #[case] named: &str,
        #[case] path: &str,
        #[case] namespace: Option<&str>,
        #[case] replaced: Option<usize>,
        #[case] expected: Option<&str>,
    ) {
        let rules = rule(json!({"prefix": format!("{named}/{path}").trim_end_matches('/')}), None);
        let destination = destination(Some(ECR), namespace, replaced);

        let refused = misplaced(&rules, &place(), &"1".parse().unwrap(), &prod(), &destination);

        assert_eq!(refused.as_deref(), expected);
    }

    #[rstest]
    #[case::a_pattern(json!({"pattern": "^(?<repository>.*)$"}), Some(ECR))]
    #[case::an_endpoint_of_no_account(json!({"prefix": ECR}), None)]
    #[case::another_targets(json!({"prefix": ECR, "target": "other"}), Some(ECR))]
    fn what_is_not_certain_is_not_refused(#[case] matcher: Value, #[case] registry: Option<&str>) {
        let mut rule = json!({"harbor": "main", "project": "dockerhub", "target": "prod"});
        rule.as_object_mut().unwrap().extend(matcher.as_object().unwrap().clone());
        let rules = RuleSet::from_value(&json!([rule])).unwrap();

        let refused = misplaced(&rules, &place(), &"1".parse().unwrap(), &prod(), &destination(registry, None, None));

        assert_eq!(refused, None);
    }

    #[test]
    fn a_tag_that_the_rule_changes_is_not_the_one_at_the_target() {
        let rules = RuleSet::from_value(&json!([{
            "prefix": format!("{ECR}/dockerhub"), "harbor": "main", "project": "dockerhub", "repository": "{rest}",
            "target": "prod", "tag": "v{tag}",
        }]))
        .unwrap();
        let image = format!("{ECR}/dockerhub/team/app:1").parse().unwrap();

        let arrives = arrival(&rules, &image, &prod(), &destination(Some(ECR), None, None));

        let expected = Arrival::Elsewhere { arrives: "dockerhub/team/app:v1".to_owned(), cure: None };
        assert_eq!(arrives, Some(expected));
    }

    #[rstest]
    #[case::itself("registry.example:5000", "registry.example:5000", true)]
    #[case::in_another_case("Registry.Example", "registry.example", true)]
    #[case::another("registry.example", "registry.example:5000", false)]
    #[case::another_account(ECR, "210987654321.dkr.ecr.eu-west-1.amazonaws.com", false)]
    #[case::another_endpoint_of_it(ECR, "123456789012.dkr-ecr.eu-west-1.on.aws", true)]
    fn registries_are_the_same_by_each_of_their_names(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        assert_eq!(is_same_registry(one, other), same);
    }
}
