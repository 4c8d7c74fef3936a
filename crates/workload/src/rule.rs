//! The rules that say where in Harbor an image is.
//!
//! A rule matches the normal form of an image, however a workload writes it: one image has one place. Reading the rules
//! ([`reader`]) refuses what can't do what its author meant, as far as that can be told without any image: a pattern that
//! no image fits, a template that gives no name, a rule that no image gets to ([`reach`]).

mod examples;
mod pattern;
mod prefix;
mod reach;
mod reader;

use std::fmt;

use harbor_warmer_protocol::{HarborImage, HarborName, NameError, ProjectName, Subject, Tag, TagError, TargetName};
use serde_json::Value;

use crate::fields::type_name;
use crate::reference::{DOCKER_HUB, likely_name};
use crate::template::Template;
use crate::{Ecr, Mistake, Reference};
use pattern::Pattern;
use prefix::{Prefix, rest_after};

pub use examples::Examples;

/// The rules that map a workload's image to a repository of a Harbor proxy-cache project. The first that matches
/// decides.
#[derive(Clone, Debug)]
pub struct RuleSet(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    matcher: Matcher,
    action: Action,
}

#[derive(Clone, Debug)]
enum Matcher {
    Prefix(Prefix),
    Pattern(Pattern),
    Ecr { accounts: Vec<String>, regions: Vec<String>, prefix: Option<String> },
}

#[derive(Clone, Debug)]
enum Action {
    Skip,
    Map(Box<Destination>),
}

#[derive(Clone, Debug)]
struct Destination {
    harbor: HarborName,
    project: Template,
    repository: Template,
    tag: Option<Template>,
    target: Option<TargetName>,
}

/// What the rules say of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// It is warmed.
    Mapped(Mapped),
    /// A rule with `skip: true` matched.
    Skipped,
    /// No rule matched.
    Unmatched,
    /// A rule matched, but what it makes of this image is no valid name.
    Failed(MapError),
}

/// An image's place in Harbor, and what of it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapped {
    /// The repository in Harbor.
    pub image: HarborImage,
    /// The replication target that the workload pulls from, where the rule names one.
    pub target: Option<TargetName>,
    /// [`Subject::Pin`] where the workload wrote a digest, with the tag beside it; else [`Subject::Tag`].
    pub subject: Subject,
}

/// Why the rule that matched maps the image to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapError {
    /// Which rule, counted from 0 as in `rules[0]`.
    pub rule: usize,
    /// What is wrong with the outcome.
    pub reason: MapErrorReason,
}

/// What a rule made of an image, and why it isn't valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapErrorReason {
    /// Not a project's name.
    Project(String, NameError),
    /// Not a repository.
    Repository(String, NameError),
    /// Not a tag.
    Tag(String, TagError),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is wrong comes first: what the rule gave can be long, and a warning is cut.
        let rule = self.rule;
        match &self.reason {
            MapErrorReason::Project(text, error) => write!(f, "rules[{rule}] gives no project: it {error}: `{text}`"),
            MapErrorReason::Repository(text, error) => {
                write!(f, "rules[{rule}] gives no repository: it {error}: `{text}`")
            }
            MapErrorReason::Tag(text, error) => write!(f, "rules[{rule}] gives no tag: {error}: `{text}`"),
        }
    }
}

impl std::error::Error for MapError {}

impl RuleSet {
    /// Reads the list under the key `rules`.
    ///
    /// # Errors
    /// Every mistake in it, each with its path.
    pub fn from_value(value: &Value) -> Result<Self, Vec<Mistake>> {
        let Some(list) = value.as_array() else {
            let message = format!("must be a list of rules, not {}", type_name(value));
            return Err(vec![Mistake::new("rules", message)]);
        };
        let mut mistakes = Vec::new();
        let rules: Vec<_> = list
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| Rule::read(rule, &format!("rules[{index}]"), &mut mistakes))
            .collect();
        if mistakes.is_empty() {
            mistakes = reach::unreachable(&rules);
        }
        if mistakes.is_empty() { Ok(Self(rules)) } else { Err(mistakes) }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no rule, so that nothing is ever warmed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The Harbors that the rules name, each once.
    pub fn harbors(&self) -> impl Iterator<Item = &HarborName> {
        each_once(self.destinations().map(|destination| &destination.harbor))
    }

    /// The replication targets that the rules name, each once.
    pub fn targets(&self) -> impl Iterator<Item = &TargetName> {
        each_once(self.destinations().filter_map(|destination| destination.target.as_ref()))
    }

    /// The projects that the rules name without a variable, each once.
    pub fn projects(&self) -> impl Iterator<Item = (HarborName, ProjectName)> {
        each_once(self.destinations().filter_map(|destination| {
            let project = destination.project.constant()?.parse().ok()?;
            Some((destination.harbor.clone(), project))
        }))
    }

    fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.0.iter().filter_map(|rule| match &rule.action {
            Action::Skip => None,
            Action::Map(destination) => Some(destination.as_ref()),
        })
    }

    /// What the first rule that matches makes of an image.
    pub fn map(&self, reference: &Reference) -> Mapping {
        self.map_by(reference).1
    }

    /// The same, with the rule that decides, counted from 0 as in `rules[0]`.
    pub fn map_by(&self, reference: &Reference) -> (Option<usize>, Mapping) {
        let subject = Matchable::new(reference);
        for (index, rule) in self.0.iter().enumerate() {
            let Some(variables) = rule.matcher.matches(&subject) else { continue };
            let mapping = match &rule.action {
                Action::Skip => Mapping::Skipped,
                Action::Map(destination) => destination
                    .map(reference, &variables)
                    .map_or_else(|reason| Mapping::Failed(MapError { rule: index, reason }), Mapping::Mapped),
            };
            return (Some(index), mapping);
        }
        (None, Mapping::Unmatched)
    }

    /// The first rule that would be for a text that is no reference, judged by what it seems to name, and whether that
    /// rule says skip.
    pub(crate) fn meant_for(&self, text: &str) -> Option<(usize, bool)> {
        let written: String = text.chars().take_while(|c| *c != '@').take(LOOKED_AT_MAX).collect();
        let likely = likely_name(text);
        let index = self.0.iter().position(|rule| rule.matcher.is_meant_for(&written, &likely))?;
        Some((index, matches!(self.0.get(index)?.action, Action::Skip)))
    }
}

/// How much of a text that is no reference is looked at.
const LOOKED_AT_MAX: usize = 1024;

/// In order of appearance. Rules are few, and a set's code would be a good part of the policy's size.
fn each_once<T: PartialEq>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen.into_iter()
}

/// The forms of a reference that matchers look at. All of them follow from its normal form, so that every spelling of an
/// image is matched alike.
struct Matchable<'r> {
    reference: &'r Reference,
    /// `registry/repository`.
    name: String,
    /// What patterns see, in this order.
    forms: Vec<String>,
}

impl<'r> Matchable<'r> {
    fn new(reference: &'r Reference) -> Self {
        let name = reference.name();
        let mut names = vec![name.as_str()];
        if reference.registry() == DOCKER_HUB {
            // The short forms, which people write there, and write patterns for.
            let repository = reference.repository().as_str();
            names.push(repository);
            names.extend(repository.strip_prefix("library/"));
        }
        let tag = reference.tag().map(Tag::as_str);
        let mut forms = Vec::new();
        for name in names {
            forms.extend(tag.map(|tag| format!("{name}:{tag}")));
            if tag.is_none_or(|tag| tag == "latest") {
                forms.push(name.to_owned());
            }
        }
        Self { reference, name, forms }
    }
}

/// The values of a template's variables. The pattern's own groups come first, so that a group may bear the name of a
/// variable that is always there.
struct Variables<'m>(Vec<(&'m str, &'m str)>);

impl<'m> Variables<'m> {
    fn get(&self, name: &str) -> Option<&'m str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

const REGISTRY: &str = "registry";
const REPOSITORY: &str = "repository";
const TAG: &str = "tag";
const ALWAYS: [&str; 3] = [REGISTRY, REPOSITORY, TAG];
const REST: &str = "rest";
const ACCOUNT: &str = "account";
const REGION: &str = "region";

impl Matcher {
    /// The names of the variables that a match gives.
    fn variables(&self) -> Vec<&str> {
        let mut names = ALWAYS.to_vec();
        match self {
            Self::Prefix(_) => names.push(REST),
            Self::Pattern(pattern) => {
                names.extend(pattern.groups().filter(|name| !ALWAYS.contains(name)));
            }
            Self::Ecr { .. } => names.extend([REST, ACCOUNT, REGION]),
        }
        names
    }

    fn matches<'m>(&'m self, subject: &'m Matchable<'m>) -> Option<Variables<'m>> {
        let reference = subject.reference;
        let mut variables = Vec::new();
        match self {
            Self::Prefix(prefix) => variables.push((REST, prefix.rest_of(&subject.name)?)),
            Self::Pattern(pattern) => variables.extend(subject.forms.iter().find_map(|form| pattern.groups_in(form))?),
            Self::Ecr { accounts, regions, prefix } => {
                let ecr = Ecr::of(reference)?;
                let repository = reference.repository().as_str();
                let rest = rest_in_ecr(&ecr, repository, accounts, regions, prefix.as_deref())?;
                // The host starts with the account, and the region is a part of it.
                let host = reference.registry();
                let account = host.get(..ecr.account().len())?;
                let region = host.split('.').find(|part| part.eq_ignore_ascii_case(ecr.region()))?;
                variables.extend([(REST, rest), (ACCOUNT, account), (REGION, region)]);
            }
        }
        variables.extend([
            (REGISTRY, reference.registry()),
            (REPOSITORY, reference.repository().as_str()),
            (TAG, reference.tag().map_or("", Tag::as_str)),
        ]);
        Some(Variables(variables))
    }
    /// Whether the rule is for what a text seems to name: `registry/repository` in lower case.
    fn is_meant_for(&self, written: &str, likely: &str) -> bool {
        match self {
            Self::Prefix(prefix) => prefix.rest_of(likely).is_some(),
            Self::Pattern(pattern) => pattern.is_in(written) || pattern.is_in(likely),
            Self::Ecr { accounts, regions, prefix } => likely.split_once('/').is_some_and(|(host, path)| {
                let ecr = Ecr::from_host(host);
                ecr.and_then(|ecr| rest_in_ecr(&ecr, path, accounts, regions, prefix.as_deref())).is_some()
            }),
        }
    }
}

/// What follows the prefix in a repository of such a registry.
fn rest_in_ecr<'r>(
    ecr: &Ecr,
    repository: &'r str,
    accounts: &[String],
    regions: &[String],
    prefix: Option<&str>,
) -> Option<&'r str> {
    let listed = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
    if !listed(accounts, ecr.account()) || !listed(regions, ecr.region()) {
        return None;
    }
    prefix.map_or(Some(repository), |prefix| rest_after(prefix, repository))
}

impl Destination {
    fn map(&self, reference: &Reference, variables: &Variables<'_>) -> Result<Mapped, MapErrorReason> {
        let render = |template: &Template| template.render(|name| variables.get(name));
        let project = render(&self.project);
        let project = project.parse().map_err(|error| MapErrorReason::Project(project, error))?;
        let repository = render(&self.repository);
        let repository = repository.parse().map_err(|error| MapErrorReason::Repository(repository, error))?;
        let tag = match &self.tag {
            None => reference.tag().cloned(),
            Some(template) => {
                let tag = render(template);
                match tag.as_str() {
                    // The workload wrote a digest alone, so the template had no tag to work on.
                    "" if reference.digest().is_some() => None,
                    _ => Some(tag.parse().map_err(|error| MapErrorReason::Tag(tag, error))?),
                }
            }
        };
        let subject = match (reference.digest(), tag) {
            (Some(digest), tag) => Subject::Pin { digest: *digest, tag },
            (None, Some(tag)) => Subject::Tag(tag),
            (None, None) => return Err(MapErrorReason::Tag(String::new(), TagError)),
        };
        Ok(Mapped {
            image: HarborImage { harbor: self.harbor.clone(), project, repository },
            target: self.target.clone(),
            subject,
        })
    }
}

#[cfg(test)]
mod tests;
