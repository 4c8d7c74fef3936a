use harbor_warmer_protocol::TargetName;

use super::{Action, Destination, Matchable, Matcher, RuleSet};
use crate::Reference;

/// Images such as one rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examples {
    /// Which rule, counted from 0 as in `rules[0]`.
    pub rule: usize,
    /// The images; none of a rule whose pattern tells nobody what it is for.
    pub images: Vec<Reference>,
}

/// What stands for `{rest}`: repositories of one, two and three parts, since a replication counts parts.
const RESTS: [&str; 3] = ["app", "team/app", "team/group/app"];

/// An account of the right form, for rules that name none.
const ACCOUNT: &str = "123456789012";

/// A region, for rules that name none.
const REGION: &str = "eu-west-1";

impl RuleSet {
    /// Images such as the rules that name this target are for. `registry` is the target's host, where it is known: a
    /// rule for any account or region is tried with it.
    pub fn examples(&self, target: &TargetName, registry: Option<&str>) -> Vec<Examples> {
        let rules = self.0.iter().enumerate().filter_map(|(index, rule)| match &rule.action {
            Action::Map(destination) if destination.target.as_ref() == Some(target) => {
                Some((index, &rule.matcher, destination))
            }
            Action::Map(_) | Action::Skip => None,
        });
        rules
            .map(|(index, matcher, destination)| {
                let written = matcher.examples(destination, registry);
                let images = written.iter().filter_map(|image| image.parse().ok());
                Examples { rule: index, images: images.filter(|image| self.decides(image) == Some(index)).collect() }
            })
            .collect()
    }

    /// For each rule an image that it decides. None for a pattern for which none is found.
    pub fn example_of_each(&self) -> Vec<Option<Reference>> {
        let examples = self.0.iter().enumerate().map(|(index, rule)| {
            let written = match &rule.matcher {
                Matcher::Pattern(pattern) => {
                    let sample = pattern.sample();
                    // What the pattern says may be the start, the end or the middle of an image.
                    let around =
                        [("", ""), ("", "app"), ("", "app:1"), ("", ":1"), ("registry.example/", ""), ("app", "")];
                    around.iter().map(|(before, after)| format!("{before}{sample}{after}")).collect()
                }
                matcher => RESTS
                    .iter()
                    .map(|rest| format!("{}/{rest}", matcher.base(None)))
                    .chain([matcher.base(None)])
                    .collect::<Vec<_>>(),
            };
            let mut images = written.iter().filter_map(|image| image.parse().ok());
            images.find(|image| self.decides(image) == Some(index))
        });
        examples.collect()
    }

    /// The first rule that matches.
    fn decides(&self, image: &Reference) -> Option<usize> {
        let image = Matchable::new(image);
        self.0.iter().position(|rule| rule.matcher.matches(&image).is_some())
    }
}

impl Matcher {
    fn examples(&self, destination: &Destination, registry: Option<&str>) -> Vec<String> {
        if let Self::Pattern(_) = self {
            return Vec::new();
        }
        let base = self.base(registry);
        if destination.repository.constant().is_some() {
            // Such a rule is for the one image that its prefix is.
            return vec![base];
        }
        RESTS.iter().map(|rest| format!("{base}/{rest}")).collect()
    }

    /// What the images begin with; nothing of a pattern's.
    fn base(&self, registry: Option<&str>) -> String {
        match self {
            Self::Prefix(prefix) => prefix.name.clone(),
            Self::Pattern(_) => String::new(),
            Self::Ecr { accounts, regions, prefix } => {
                let own = registry.filter(|registry| {
                    let image = format!("{registry}/{}/app", prefix.as_deref().unwrap_or("app")).parse();
                    image.is_ok_and(|image| self.matches(&Matchable::new(&image)).is_some())
                });
                let host = own.map_or_else(
                    || {
                        let account = accounts.first().map_or(ACCOUNT, String::as_str);
                        let region = regions.first().map_or(REGION, String::as_str);
                        format!("{account}.dkr.ecr.{region}.amazonaws.com")
                    },
                    str::to_owned,
                );
                prefix.as_ref().map_or_else(|| host.clone(), |prefix| format!("{host}/{prefix}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::prefix(json!({"prefix": "ecr.example/team"}), None, &["ecr.example/team/app", "ecr.example/team/team/app", "ecr.example/team/team/group/app"])]
    #[case::one_image(json!({"prefix": "ecr.example/team/app", "repository": "library/app"}), None, &["ecr.example/team/app"])]
    #[case::any_account(json!({"ecr": {}}), None, &["123456789012.dkr.ecr.eu-west-1.amazonaws.com/app", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/group/app"])]
    #[case::the_targets_own(json!({"ecr": {"prefix": "team"}, "repository": "a"}), Some("210987654321.dkr.ecr.us-east-1.amazonaws.com"), &["210987654321.dkr.ecr.us-east-1.amazonaws.com/team"])]
    #[case::not_of_the_rule(json!({"ecr": {"accounts": ["111111111111"], "regions": ["eu-west-3"]}, "repository": "a"}), Some("210987654321.dkr.ecr.us-east-1.amazonaws.com"), &[])]
    #[case::pattern(json!({"pattern": "^(?<repository>.*)$"}), None, &[])]
    fn a_rule_has_examples(#[case] mut rule: Value, #[case] registry: Option<&str>, #[case] expected: &[&str]) {
        let destination = json!({"harbor": "main", "project": "hub", "target": "prod"});
        rule.as_object_mut().unwrap().extend(destination.as_object().unwrap().clone());
        let rules = RuleSet::from_value(&json!([rule])).unwrap();

        let examples = rules.examples(&"prod".parse().unwrap(), registry);

        assert_eq!(examples.len(), 1);
        let images: Vec<_> = examples[0].images.iter().map(Reference::name).collect();
        assert_eq!(images, expected);
    }

    #[test]
    fn what_an_earlier_rule_decides_is_no_example_and_other_targets_have_their_own() {
        let rules = RuleSet::from_value(&json!([
            {"prefix": "ecr.example/team", "skip": true},
            {"prefix": "ecr.example/x", "harbor": "main", "project": "hub", "target": "test"},
            {"prefix": "ecr.example", "harbor": "main", "project": "hub", "target": "prod"},
        ]))
        .unwrap();

        let examples = rules.examples(&"prod".parse().unwrap(), None);

        let images: Vec<_> = examples.iter().flat_map(|of| &of.images).map(Reference::name).collect();
        assert_eq!((examples[0].rule, images), (2, vec!["ecr.example/app".to_owned()]));
        assert!(rules.examples(&"none-such".parse().unwrap(), None).is_empty());
    }
}
