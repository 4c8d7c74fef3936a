//! Where a policy's images go, and what they are called there, as Harbor computes it.

use std::fmt;

use serde_json::Value;

use super::super::Repository;
use super::super::api::text;

/// The registry at the other end of a policy, and the names that images get there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The registry's host with its port, as an image reference names it. None where the endpoint's address doesn't
    /// tell: Harbor accepts an API endpoint of ECR, which belongs to no account.
    pub registry: Option<String>,
    /// The names.
    pub naming: Naming,
}

/// How the name at the target is made of `<project>/<repository>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// What the leading parts are replaced by; with none the name stays as it is.
    pub namespace: Option<String>,
    /// How many leading parts are replaced; none replaces all but the last.
    pub replaced: Option<usize>,
    /// How many parts the target's names may have.
    pub parts: Parts,
}

/// How many parts a repository's name may have at a target. Harbor minds it where there is a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// Any number.
    #[default]
    Any,
    /// Two and no more, as at Docker Hub.
    Two,
    /// Two at least, as at another Harbor.
    AtLeastTwo,
}

/// Harbor can't name a repository at the target, so an execution for it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unnameable {
    /// More parts are to be replaced than there are before the last.
    TooFewParts {
        /// The repository in Harbor, project included.
        repository: String,
        /// How many are to be replaced.
        replaced: usize,
    },
    /// The target takes no name of so many parts.
    NotAtTarget {
        /// The name.
        name: String,
    },
}

impl fmt::Display for Unnameable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewParts { repository, replaced } => {
                write!(f, "{repository} does not have {replaced} parts to replace before its last")
            }
            Self::NotAtTarget { name } => write!(f, "the target takes no name of as many parts as {name} has"),
        }
    }
}

impl Destination {
    /// Of an endpoint as Harbor shows it, with the two settings of a policy.
    pub(super) fn new(endpoint: Option<&Value>, namespace: Option<&str>, replaced: Option<i64>) -> Self {
        let kind = endpoint.and_then(|endpoint| text(endpoint, "type")).unwrap_or_default();
        let parts = match kind.as_str() {
            "docker-hub" => Parts::Two,
            "harbor" => Parts::AtLeastTwo,
            _ => Parts::Any,
        };
        let url = endpoint.and_then(|endpoint| text(endpoint, "url"));
        Self {
            registry: url.and_then(|url| registry(&kind, &url)),
            naming: Naming {
                namespace: namespace.filter(|namespace| !namespace.is_empty()).map(str::to_owned),
                // Any negative count is Harbor's older way: all parts but the last.
                replaced: replaced.and_then(|count| usize::try_from(count).ok()),
                parts,
            },
        }
    }
}

/// The host that image references name, of an endpoint's address.
fn registry(kind: &str, url: &str) -> Option<String> {
    if kind == "docker-hub" {
        // Its address is that of the web site.
        return Some("docker.io".to_owned());
    }
    let url = reqwest::Url::parse(url).ok()?;
    let host = url.host_str()?;
    if kind == "aws-ecr" && host.starts_with("api.ecr") {
        return None;
    }
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

impl Naming {
    /// The repository's name at the target (`replaceNamespace` in Harbor's `src/controller/replication/flow/stage.go`).
    ///
    /// # Errors
    /// There is none, and an execution for it fails.
    pub fn name_of(&self, place: &Repository) -> Result<String, Unnameable> {
        let repository = place.to_string();
        let Some(namespace) = &self.namespace else { return Ok(repository) };
        let (parents, last) = repository.rsplit_once('/').unwrap_or(("", &repository));
        let kept = match self.replaced {
            None => Vec::new(),
            Some(replaced) => {
                let parents: Vec<&str> = parents.split('/').filter(|part| !part.is_empty()).collect();
                let too_few = || Unnameable::TooFewParts { repository: repository.clone(), replaced };
                parents.get(replaced..).ok_or_else(too_few)?.to_vec()
            }
        };
        let name = [&[namespace.as_str()], kept.as_slice(), &[last]].concat().join("/");
        let parts = name.split('/').count();
        let fits = match self.parts {
            Parts::Any => true,
            Parts::Two => parts == 2,
            Parts::AtLeastTwo => parts >= 2,
        };
        if fits { Ok(name) } else { Err(Unnameable::NotAtTarget { name }) }
    }

    /// The settings under which the repository gets this name, replacing as little as possible. None where Harbor has no
    /// way to it: it always keeps the last part, and puts no repository at the top.
    pub fn leading_to(&self, place: &Repository, wanted: &str) -> Option<Self> {
        let parts = self.parts;
        if place.to_string() == wanted {
            return Some(Self { namespace: None, replaced: None, parts });
        }
        let repository = place.to_string();
        let most = repository.matches('/').count();
        (0..=most).find_map(|replaced| {
            let kept = repository.split('/').skip(replaced).collect::<Vec<_>>().join("/");
            let namespace = wanted.strip_suffix(&kept)?.strip_suffix('/').filter(|namespace| !namespace.is_empty())?;
            let naming = Self { namespace: Some(namespace.to_owned()), replaced: Some(replaced), parts };
            (naming.name_of(place).as_deref() == Ok(wanted)).then_some(naming)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn place(text: &str) -> Repository {
        let (project, repository) = text.split_once('/').unwrap();
        Repository { project: project.parse().unwrap(), repository: repository.parse().unwrap() }
    }

    /// The first nine are what Harbor's own comment and tests say, and what a Harbor v2.15.2 did.
    #[rstest]
    #[case::no_namespace("a/b/c/image", "", -1, "", Some("a/b/c/image"))]
    #[case::no_namespace_minds_no_count("a/b/c/image", "", 9, "", Some("a/b/c/image"))]
    #[case::legacy("a/b/c/image", "n", -1, "", Some("n/image"))]
    #[case::none_replaced("a/b/c/image", "n", 0, "", Some("n/a/b/c/image"))]
    #[case::one_replaced("a/b/c/image", "n", 1, "", Some("n/b/c/image"))]
    #[case::two_replaced("a/b/c/image", "n", 2, "", Some("n/c/image"))]
    #[case::all_replaced("a/b/c/image", "n", 3, "", Some("n/image"))]
    #[case::more_than_there_are("a/b/c/image", "n", 4, "", None)]
    #[case::a_namespace_of_parts("a/image", "n/m", 1, "", Some("n/m/image"))]
    #[case::the_project_is_the_only_parent("hub/app", "team", 1, "aws-ecr", Some("team/app"))]
    #[case::docker_hub_takes_two("hub/team/app", "acme", -1, "docker-hub", Some("acme/app"))]
    #[case::docker_hub_takes_no_three("hub/team/app", "acme", 1, "docker-hub", None)]
    #[case::docker_hub_without_a_namespace_is_not_minded("hub/team/app", "", -1, "docker-hub", Some("hub/team/app"))]
    #[case::a_harbor_takes_two("hub/app", "team", -1, "harbor", Some("team/app"))]
    fn names_as_harbor_does(
        #[case] repository: &str,
        #[case] namespace: &str,
        #[case] count: i64,
        #[case] kind: &str,
        #[case] expected: Option<&str>,
    ) {
        let destination = Destination::new(Some(&json!({ "type": kind })), Some(namespace), Some(count));

        assert_eq!(destination.naming.name_of(&place(repository)).ok().as_deref(), expected);
    }

    #[rstest]
    #[case::ecr(
        "aws-ecr",
        "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        Some("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    )]
    #[case::ecrs_api_belongs_to_no_account("aws-ecr", "https://api.ecr.eu-west-1.amazonaws.com", None)]
    #[case::docker_hub("docker-hub", "https://hub.docker.com", Some("docker.io"))]
    #[case::with_a_port("docker-registry", "http://127.0.0.1:5006", Some("127.0.0.1:5006"))]
    #[case::harbor("harbor", "https://harbor.example.com/", Some("harbor.example.com"))]
    #[case::not_an_address("docker-registry", "registry", None)]
    fn the_registry_is_the_endpoints_host(#[case] kind: &str, #[case] url: &str, #[case] expected: Option<&str>) {
        let endpoint = json!({ "type": kind, "url": url });

        assert_eq!(Destination::new(Some(&endpoint), None, None).registry.as_deref(), expected);
    }

    #[rstest]
    #[case::nothing_to_do("hub/team/app", "hub/team/app", Some((None, None)))]
    #[case::under_a_namespace("hub/team/app", "mirror/hub/team/app", Some((Some("mirror"), Some(0))))]
    #[case::the_project_by_another("hub/team/app", "mirror/team/app", Some((Some("mirror"), Some(1))))]
    #[case::the_project_taken_off("hub/team/app", "team/app", Some((Some("team"), Some(2))))]
    #[case::all_but_the_last("hub/team/app", "x/y/app", Some((Some("x/y"), Some(2))))]
    #[case::another_last_part("hub/team/app", "team/application", None)]
    #[case::at_the_top("hub/app", "app", None)]
    fn finds_the_settings_that_give_a_name(
        #[case] repository: &str,
        #[case] wanted: &str,
        #[case] expected: Option<(Option<&str>, Option<usize>)>,
    ) {
        let naming = Naming::default().leading_to(&place(repository), wanted);

        let found = naming.as_ref().map(|naming| (naming.namespace.as_deref(), naming.replaced));
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn what_is_found_gives_the_name(repository in "[a-c](/[a-c]){1,4}", wanted in "[a-c](/[a-c]){0,4}") {
            let place = place(&repository);
            if let Some(naming) = Naming::default().leading_to(&place, &wanted) {
                prop_assert_eq!(naming.name_of(&place), Ok(wanted));
            }
        }
    }
}
