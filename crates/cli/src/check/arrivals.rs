//! Whether what a replication brings is what workloads name, told of the rules. Pure.

use harbor_warmer_protocol::TargetName;
use harbor_warmer_workload::{Examples, Reference, RuleSet};

use super::report::Finding;
use harbor_warmer::config::Config;
use harbor_warmer::replication::arrival::{Arrival, arrival};
use harbor_warmer_harbor::{Destination, Naming};

/// Where the settings of a policy are written down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// In the warmer's configuration: the policy is not there yet.
    Configuration,
    /// In Harbor.
    Harbor,
}

/// The rules that name a target, and the pinned images that are mapped to it. `is_to_be_made`: the warmer will make the
/// policy.
pub(super) fn judge_arrivals(
    name: &TargetName,
    config: &Config,
    destination: &Destination,
    is_to_be_made: bool,
) -> Vec<Finding> {
    let written = if is_to_be_made { Written::Configuration } else { Written::Harbor };
    let judge = Judge { rules: &config.rules, name, destination, written };
    let examples = config.rules.examples(name, destination.registry.as_deref());
    if examples.is_empty() && !config.rules.is_empty() {
        let cure = "write `target` into the rules whose images are pulled from there";
        return vec![Finding::doubtful("no rule names this target, so nothing is replicated to it", cure)];
    }
    let mut findings: Vec<_> = examples.iter().filter_map(|of| judge.rule(of)).collect();
    let pinned = config.pinned.iter().filter_map(|image| image.parse().ok());
    findings.extend(pinned.filter_map(|image: Reference| judge.pinned(&image)));
    findings
}

struct Judge<'a> {
    rules: &'a RuleSet,
    name: &'a TargetName,
    destination: &'a Destination,
    written: Written,
}

impl Judge<'_> {
    fn arrival(&self, image: &Reference) -> Option<Arrival> {
        arrival(self.rules, image, self.name, self.destination)
    }

    fn rule(&self, of: &Examples) -> Option<Finding> {
        let rule = format!("rules[{}]", of.rule);
        if of.images.is_empty() {
            return Some(Finding::doubtful(
                format!("{rule} has a pattern, so whether its images arrive under their names can't be told"),
                "write `prefix` or `ecr` instead where that will do; or pin an image of it, which is looked at",
            ));
        }
        let arrivals: Vec<_> = of.images.iter().filter_map(|image| Some((image, self.arrival(image)?))).collect();
        let good = arrivals.iter().find(|(_, arrival)| !is_wrong(arrival));
        let wrong = arrivals.iter().find(|(_, arrival)| is_wrong(arrival));
        match (good, wrong) {
            (None, None) => None,
            (Some((image, Arrival::AtAnotherRegistry { registry })), None) => Some(at_another(&rule, image, registry)),
            (Some((image, _)), None) => Some(Finding::good(format!("{rule}: {image} arrives as workloads name it"))),
            (None, Some((image, arrival))) => {
                Some(Finding::bad(self.what(&rule, image, arrival), self.cure(&of.images, arrival, image)))
            }
            (Some((right, _)), Some((image, arrival))) => Some(Finding::doubtful(
                format!("{}; {right} arrives as named", self.what(&rule, image, arrival)),
                format!(
                    "no matter where no workload names such an image; else {}",
                    self.cure(&of.images, arrival, image)
                ),
            )),
        }
    }

    /// A pinned image is no example but one that there is.
    fn pinned(&self, image: &Reference) -> Option<Finding> {
        let arrival = self.arrival(image)?;
        is_wrong(&arrival).then(|| {
            let images = std::slice::from_ref(image);
            Finding::bad(self.what("pinned", image, &arrival), self.cure(images, &arrival, image))
        })
    }

    fn what(&self, from: &str, image: &Reference, arrival: &Arrival) -> String {
        match arrival {
            Arrival::Elsewhere { arrives, .. } => {
                format!("{from}: {image} would arrive as {}, where nobody looks for it", self.at_target(arrives))
            }
            Arrival::Nowhere { why, .. } => format!("{from}: {image} can't be replicated: {why}"),
            Arrival::AsNamed | Arrival::AtAnotherRegistry { .. } => format!("{from}: {image}"),
        }
    }

    /// The settings that bring all of these images where they belong, else the name that workloads would have to use.
    fn cure(&self, images: &[Reference], wrong: &Arrival, image: &Reference) -> String {
        let (Arrival::Elsewhere { cure, .. } | Arrival::Nowhere { cure, .. }) = wrong else { return String::new() };
        let good_for_all = cure.as_ref().filter(|naming| {
            let destination = Destination { naming: (*naming).clone(), ..self.destination.clone() };
            let arrives = |image| arrival(self.rules, image, self.name, &destination);
            images.iter().all(|image| arrives(image).is_none_or(|arrival| !is_wrong(&arrival)))
        });
        if let Some(naming) = good_for_all {
            return self.settings(naming);
        }
        match wrong {
            Arrival::Elsewhere { arrives, .. } => format!(
                "no one policy brings the images of this rule under their names. Let workloads name \
                 {}, and the rule with them; or map to another project or repository",
                self.at_target(arrives)
            ),
            _ => format!("map {image} to a repository with more parts, or let the namespace replace fewer"),
        }
    }

    fn settings(&self, naming: &Naming) -> String {
        let count = naming.replaced;
        match (self.written, &naming.namespace, count) {
            (Written::Configuration, Some(namespace), count) => format!(
                "write `destNamespace: {namespace}` and `destNamespaceReplaceCount: {}` under replication",
                count.unwrap_or_default()
            ),
            (Written::Configuration, None, _) => "remove destNamespace under replication".to_owned(),
            (Written::Harbor, Some(namespace), count) => format!(
                "in Harbor, edit the policy: destination namespace `{namespace}`, flattening \"{}\"",
                match count {
                    None => "Flatten All Levels".to_owned(),
                    Some(0) => "No Flattening".to_owned(),
                    Some(1) => "Flatten 1 Level".to_owned(),
                    Some(count) => format!("Flatten {count} Levels"),
                }
            ),
            (Written::Harbor, None, _) => "in Harbor, edit the policy: no destination namespace".to_owned(),
        }
    }

    fn at_target(&self, name: &str) -> String {
        self.destination.registry.as_ref().map_or_else(|| name.to_owned(), |registry| format!("{registry}/{name}"))
    }
}

fn is_wrong(arrival: &Arrival) -> bool {
    matches!(arrival, Arrival::Elsewhere { .. } | Arrival::Nowhere { .. })
}

fn at_another(rule: &str, image: &Reference, registry: &str) -> Finding {
    Finding::doubtful(
        format!("{rule}: {image} arrives at {registry} under the same repository"),
        "right where the nodes pull these images from there, by a mirror; else correct the rule or the policy's endpoint",
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::check::report::Verdict;
    use harbor_warmer_harbor::Parts;

    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

    /// One rule of the target `prod`, as it is judged.
    #[rstest]
    #[case::named_with_its_project(
        json!({"prefix": format!("{ECR}/dockerhub"), "repository": "{rest}"}), None, None, Verdict::Good,
        "rules[0]: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/dockerhub/app:latest arrives as workloads name it", "")]
    #[case::one_team(
        json!({"prefix": format!("{ECR}/team"), "repository": "team/{rest}"}), None, None, Verdict::Bad,
        "team/app:latest would arrive as 123456789012.dkr.ecr.eu-west-1.amazonaws.com/dockerhub/team/app:latest, where nobody looks for it",
        "in Harbor, edit the policy: destination namespace `team`, flattening \"Flatten 2 Levels\"")]
    #[case::any_repository(
        json!({"ecr": {}}), None, None, Verdict::Bad,
        "would arrive as 123456789012.dkr.ecr.eu-west-1.amazonaws.com/dockerhub/app:latest",
        "Let workloads name 123456789012.dkr.ecr.eu-west-1.amazonaws.com/dockerhub/app:latest, and the rule with them")]
    #[case::deep_ones_only(
        json!({"prefix": format!("{ECR}/mirror"), "repository": "{rest}"}), Some("mirror"), None, Verdict::Doubtful,
        "mirror/team/app:latest would arrive as 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/app:latest",
        "else in Harbor, edit the policy: destination namespace `mirror`, flattening \"Flatten 1 Level\"")]
    #[case::more_levels_than_there_are(
        json!({"prefix": format!("{ECR}/mirror"), "repository": "{rest}"}), Some("mirror"), Some(5), Verdict::Bad,
        "can't be replicated: dockerhub/app does not have 5 parts", "flattening \"Flatten 1 Level\"")]
    #[case::a_namespace_too_many(
        json!({"prefix": format!("{ECR}/dockerhub"), "repository": "{rest}"}), Some("mirror"), Some(0), Verdict::Bad,
        "mirror/dockerhub/app", "in Harbor, edit the policy: no destination namespace")]
    #[case::another_registry(
        json!({"prefix": "docker.io/dockerhub/", "repository": "{rest}"}), None, None, Verdict::Doubtful,
        "docker.io/dockerhub/app:latest arrives at 123456789012.dkr.ecr.eu-west-1.amazonaws.com", "by a mirror")]
    #[case::a_pattern(
        json!({"pattern": "^(?<repository>.*)$"}), None, None, Verdict::Doubtful, "rules[0] has a pattern", "pin an image")]
    fn a_rule_is_judged_by_what_it_would_bring(
        #[case] mut rule: serde_json::Value,
        #[case] namespace: Option<&str>,
        #[case] replaced: Option<usize>,
        #[case] verdict: Verdict,
        #[case] text: &str,
        #[case] cure: &str,
    ) {
        if rule.get("prefix").is_some() && rule.get("repository").is_none() {
            rule["repository"] = json!("{rest}");
        }
        rule["harbor"] = json!("main");
        rule["project"] = json!("dockerhub");
        rule["target"] = json!("prod");
        let rules = RuleSet::from_value(&json!([rule])).unwrap();
        let name = "prod".parse().unwrap();
        let destination = Destination {
            registry: Some(ECR.to_owned()),
            naming: Naming { namespace: namespace.map(str::to_owned), replaced, parts: Parts::Any },
        };
        let judge = Judge { rules: &rules, name: &name, destination: &destination, written: Written::Harbor };

        let finding = judge.rule(&rules.examples(&name, Some(ECR))[0]).unwrap();

        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.text.contains(text), "{finding:?}");
        assert!(finding.cure.unwrap_or_default().contains(cure), "no `{cure}`");
    }

    #[test]
    fn settings_of_a_policy_that_is_not_there_yet_stand_in_the_configuration() {
        let rules = RuleSet::from_value(&json!([{
            "prefix": format!("{ECR}/team"), "repository": "team/{rest}",
            "harbor": "main", "project": "dockerhub", "target": "prod",
        }]))
        .unwrap();
        let name = "prod".parse().unwrap();
        let destination = Destination::default();
        let judge = Judge { rules: &rules, name: &name, destination: &destination, written: Written::Configuration };

        let finding = judge.rule(&rules.examples(&name, None)[0]).unwrap();

        let cure = "write `destNamespace: team` and `destNamespaceReplaceCount: 2` under replication";
        assert_eq!(finding.cure.as_deref(), Some(cure));
    }
}
