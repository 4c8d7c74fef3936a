mod examples;

use std::fmt;

use harbor_warmer_protocol::{
    HarborImage, HarborName, NameError, ProjectName, RepositoryPath, Subject, Tag, TagError, TargetName,
};
use regex_lite::Regex;
use serde_json::Value;

use crate::fields::type_name;
use crate::reference::{canonical_registry, is_explicit_registry, is_host_and_port};
use crate::template::Template;
use crate::{Ecr, Fields, Mistake, Reference};

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
    Pattern(Regex),
    Ecr { accounts: Vec<String>, regions: Vec<String>, prefix: Option<String> },
}

/// The start of `registry/repository`, ending between two parts.
#[derive(Clone, Debug)]
struct Prefix(String);

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
        write!(f, "rules[{}] gives ", self.rule)?;
        match &self.reason {
            MapErrorReason::Project(text, error) => write!(f, "the project `{text}`, but it {error}"),
            MapErrorReason::Repository(text, error) => write!(f, "the repository `{text}`, but it {error}"),
            MapErrorReason::Tag(text, error) => write!(f, "the tag `{text}`, but {error}"),
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
        let subject = Matchable::new(reference);
        for (index, rule) in self.0.iter().enumerate() {
            let Some(variables) = rule.matcher.matches(&subject) else { continue };
            return match &rule.action {
                Action::Skip => Mapping::Skipped,
                Action::Map(destination) => destination
                    .map(reference, &variables)
                    .map_or_else(|reason| Mapping::Failed(MapError { rule: index, reason }), Mapping::Mapped),
            };
        }
        Mapping::Unmatched
    }
}

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

/// The forms of a reference that matchers look at.
struct Matchable<'r> {
    reference: &'r Reference,
    /// `registry/repository`.
    name: String,
    /// The normal form without its digest.
    normal: String,
}

impl<'r> Matchable<'r> {
    fn new(reference: &'r Reference) -> Self {
        let name = reference.name();
        let normal = reference.tag().map_or_else(|| name.clone(), |tag| format!("{name}:{tag}"));
        Self { reference, name, normal }
    }

    /// As the workload wrote it, without its digest.
    fn written(&self) -> &str {
        let written = self.reference.written();
        written.split_once('@').map_or(written, |(name, _)| name)
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
                names.extend(pattern.capture_names().flatten().filter(|name| !ALWAYS.contains(name)));
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
            Self::Pattern(pattern) => {
                let captures = pattern.captures(subject.written()).or_else(|| pattern.captures(&subject.normal))?;
                let groups = pattern.capture_names().flatten();
                variables.extend(groups.filter_map(|name| Some((name, captures.name(name)?.as_str()))));
            }
            Self::Ecr { accounts, regions, prefix } => {
                let ecr = Ecr::of(reference)?;
                let listed = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
                if !listed(accounts, ecr.account()) || !listed(regions, ecr.region()) {
                    return None;
                }
                let repository = reference.repository().as_str();
                let rest = match prefix {
                    Some(prefix) => rest_after(prefix, repository)?,
                    None => repository,
                };
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
}

/// What follows `prefix` and a slash, or nothing where `text` is the prefix itself. `ghcr.io/acme` is no prefix of
/// `ghcr.io/acme-labs`.
fn rest_after<'t>(prefix: &str, text: &'t str) -> Option<&'t str> {
    let rest = text.strip_prefix(prefix)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

impl Prefix {
    fn rest_of<'t>(&self, name: &'t str) -> Option<&'t str> {
        rest_after(&self.0, name)
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let (registry, repository) =
            trimmed.split_once('/').map_or((trimmed, None), |(registry, repository)| (registry, Some(repository)));
        if !is_explicit_registry(registry) || !is_host_and_port(registry) {
            return Err("a prefix starts with the registry, for example docker.io/library/ or ghcr.io/");
        }
        if repository.is_some_and(|repository| repository.parse::<RepositoryPath>().is_err()) {
            return Err("after the registry, a prefix holds whole parts of a repository in lower case, without a tag");
        }
        let registry = canonical_registry(registry);
        Ok(Self(repository.map_or_else(|| registry.to_owned(), |repository| format!("{registry}/{repository}"))))
    }
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

impl Rule {
    fn read(value: &Value, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut fields = Fields::of(value, path, mistakes)?;
        let matcher = Matcher::read(&mut fields, path, mistakes);
        let skip = fields.boolean("skip", mistakes).unwrap_or(false);
        let action = Action::read(&mut fields, skip, matcher.as_ref(), mistakes);
        fields.finish(mistakes);
        Some(Self { matcher: matcher?, action: action? })
    }
}

impl Matcher {
    fn read(fields: &mut Fields<'_>, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let keys = ["prefix", "pattern", "ecr"];
        let written: Vec<_> = keys.into_iter().filter(|key| fields.get(key).is_some()).collect();
        let [key] = written.as_slice() else {
            let message = match written.as_slice() {
                [] => "a rule needs one of prefix, pattern and ecr, which say which images it is for".to_owned(),
                several => format!("a rule has one of prefix, pattern and ecr; here are {}", several.join(" and ")),
            };
            mistakes.push(Mistake::new(path, message));
            return None;
        };
        match *key {
            "prefix" => {
                let text = fields.text("prefix", mistakes)?;
                match Prefix::parse(text) {
                    Ok(prefix) => Some(Self::Prefix(prefix)),
                    Err(message) => {
                        mistakes.push(Mistake::new(fields.path("prefix"), format!("`{text}`: {message}")));
                        None
                    }
                }
            }
            "pattern" => {
                let text = fields.text("pattern", mistakes)?;
                match Regex::new(text) {
                    Ok(pattern) => Some(Self::Pattern(pattern)),
                    Err(error) => {
                        let message = format!("`{text}` is not a regular expression: {error}");
                        mistakes.push(Mistake::new(fields.path("pattern"), message));
                        None
                    }
                }
            }
            _ => Self::read_ecr(fields, mistakes),
        }
    }

    fn read_ecr(fields: &mut Fields<'_>, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let before = mistakes.len();
        let path = fields.path("ecr");
        let mut ecr = Fields::of(fields.get("ecr")?, path, mistakes)?;
        let accounts: Vec<String> = ecr.parsed_list("accounts", mistakes).unwrap_or_default();
        for (index, account) in accounts.iter().enumerate() {
            if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
                let path = format!("{}[{index}]", ecr.path("accounts"));
                mistakes.push(Mistake::new(path, format!("`{account}`: an AWS account has 12 digits")));
            }
        }
        let regions: Vec<String> = ecr.parsed_list("regions", mistakes).unwrap_or_default();
        for (index, region) in regions.iter().enumerate() {
            let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if region.is_empty() || !region.bytes().all(valid) {
                let path = format!("{}[{index}]", ecr.path("regions"));
                mistakes.push(Mistake::new(path, format!("`{region}`: an AWS region is written like eu-central-1")));
            }
        }
        let prefix: Option<&str> = ecr.text("prefix", mistakes).map(|prefix| prefix.trim_matches('/'));
        if let Some(Err(error)) = prefix.map(str::parse::<RepositoryPath>) {
            mistakes.push(Mistake::new(ecr.path("prefix"), format!("{error}")));
        }
        ecr.finish(mistakes);
        (mistakes.len() == before).then(|| Self::Ecr { accounts, regions, prefix: prefix.map(str::to_owned) })
    }
}

impl Action {
    fn read(
        fields: &mut Fields<'_>,
        skip: bool,
        matcher: Option<&Matcher>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let before = mistakes.len();
        let harbor = fields.parsed("harbor", mistakes);
        let target = fields.parsed("target", mistakes);
        let variables = matcher.map(Matcher::variables);
        let mut template = |key: &'static str, mistakes: &mut Vec<Mistake>| {
            let text = fields.text(key, mistakes)?;
            let template = read_template(text, variables.as_deref())
                .and_then(|template| check_constant(key, &template).map(|()| template));
            match template {
                Ok(template) => Some(template),
                Err(message) => {
                    mistakes.push(Mistake::new(fields.path(key), format!("`{text}`: {message}")));
                    None
                }
            }
        };
        let project = template("project", mistakes);
        let repository = template("repository", mistakes);
        let tag = template("tag", mistakes);
        if skip {
            for key in ["harbor", "project", "repository", "tag", "target"] {
                if fields.get(key).is_some() {
                    mistakes.push(Mistake::new(fields.path(key), "a rule with `skip: true` warms nothing; remove it"));
                }
            }
            return (mistakes.len() == before).then_some(Self::Skip);
        }
        if fields.get("harbor").is_none() {
            let message = "missing; write the name that the Harbor has in the warmer's configuration";
            mistakes.push(Mistake::new(fields.path("harbor"), message));
        }
        if fields.get("project").is_none() {
            let message = "missing; write the Harbor project that is the proxy cache for these images";
            mistakes.push(Mistake::new(fields.path("project"), message));
        }
        let repository = repository.or_else(|| Some(default_repository(matcher?)));
        (mistakes.len() == before)
            .then_some(())
            .and_then(|()| {
                Some(Destination { harbor: harbor?, project: project?, repository: repository?, tag, target })
            })
            .map(|destination| Self::Map(Box::new(destination)))
    }
}

/// What follows the prefix; of a pattern its group `repository`, which stands in for the whole repository.
fn default_repository(matcher: &Matcher) -> Template {
    match matcher {
        Matcher::Prefix(_) | Matcher::Ecr { .. } => Template::variable(REST),
        Matcher::Pattern(_) => Template::variable(REPOSITORY),
    }
}

fn read_template(text: &str, variables: Option<&[&str]>) -> Result<Template, String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    // Without a valid matcher the variables aren't known, and its own mistake is told already.
    let Some(variables) = variables else { return Ok(template) };
    if let Some(unknown) = template.variables().find(|name| !variables.contains(name)) {
        return Err(format!("there is no variable {{{unknown}}}; this rule has {}", variables.join(", ")));
    }
    Ok(template)
}

/// A template without variables can be judged before any image is seen.
fn check_constant(key: &str, template: &Template) -> Result<(), String> {
    let Some(text) = template.constant() else { return Ok(()) };
    match key {
        "project" => text.parse::<ProjectName>().map(drop).map_err(|error| error.to_string()),
        "repository" => text.parse::<RepositoryPath>().map(drop).map_err(|error| error.to_string()),
        _ => text.parse::<Tag>().map(drop).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests;
