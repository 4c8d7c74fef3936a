//! Reading rules: every mistake is told, with what to write.

use harbor_warmer_protocol::{ProjectName, RepositoryPath, Tag};

use super::pattern::Pattern;
use super::prefix::Prefix;
use super::{Action, Destination, Matcher, REPOSITORY, REST, Rule};
use crate::template::Template;
use crate::{Fields, Mistake};
use serde_json::Value;

impl Rule {
    pub(super) fn read(value: &Value, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut fields = Fields::of(value, path, mistakes)?;
        let matcher = Matcher::read(&mut fields, path, mistakes);
        let skip = match fields.boolean("skip", mistakes) {
            Some(skip) => Some(skip),
            // What the rule is to do isn't known then, so nothing else is missing.
            None => fields.get("skip").is_none().then_some(false),
        };
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
                let skips = fields.get("skip") == Some(&Value::Bool(true));
                match Pattern::parse(text, skips) {
                    Ok(pattern) => Some(Self::Pattern(pattern)),
                    Err(message) => {
                        mistakes.push(Mistake::new(fields.path("pattern"), format!("`{text}`{message}")));
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
        skip: Option<bool>,
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
                .and_then(|template| check_outcome(key, &template).map(|()| template));
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
        if skip? {
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

/// As the upstream names it: the whole repository, in ECR what follows the prefix of its pull-through cache. A pattern's
/// group `repository` stands in for the whole.
fn default_repository(matcher: &Matcher) -> Template {
    match matcher {
        Matcher::Ecr { .. } => Template::variable(REST),
        Matcher::Prefix(_) | Matcher::Pattern(_) => Template::variable(REPOSITORY),
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

/// A template can be judged before any image is seen: where it gives no name with a plain word for each variable, it
/// never does.
fn check_outcome(key: &str, template: &Template) -> Result<(), String> {
    let text = template.render(|_| Some("a"));
    let told = match key {
        "project" => text.parse::<ProjectName>().map(drop).map_err(|error| error.to_string()),
        "repository" => text.parse::<RepositoryPath>().map(drop).map_err(|error| error.to_string()),
        _ => text.parse::<Tag>().map(drop).map_err(|error| error.to_string()),
    };
    told.map_err(|error| match text.trim_matches('/') {
        trimmed if key == "repository" && trimmed != text && trimmed.parse::<RepositoryPath>().is_ok() => {
            "a repository neither starts nor ends with a slash; leave it off".to_owned()
        }
        _ if template.constant().is_some() => error,
        _ => format!("it gives names like `{text}`, but {error}"),
    })
}
