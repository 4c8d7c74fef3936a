use harbor_warmer_protocol::RepositoryPath;

use crate::reference::{DOCKER_HUB, is_explicit_registry, is_host_and_port, normal};

/// The start of `registry/repository`, ending between two parts.
#[derive(Clone, Debug)]
pub(super) struct Prefix {
    /// In normal form.
    pub(super) name: String,
    /// `docker.io/nginx` is an owner at Docker Hub, and in an image the short form of this.
    pub(super) official: Option<String>,
}

/// What follows `prefix` and a slash, or nothing where `text` is the prefix itself. `ghcr.io/acme` is no prefix of
/// `ghcr.io/acme-labs`.
pub(super) fn rest_after<'t>(prefix: &str, text: &'t str) -> Option<&'t str> {
    let rest = text.strip_prefix(prefix)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

impl Prefix {
    /// What follows the prefix in the name of an image that it is for.
    pub(super) fn rest_of<'t>(&self, name: &'t str) -> Option<&'t str> {
        rest_after(&self.name, name).or_else(|| (self.official.as_deref() == Some(name)).then_some(""))
    }

    /// Reads one.
    ///
    /// # Errors
    /// What to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(format!("a prefix has no `{scheme}://`; write {rest}"));
        }
        if text.contains(['*', '^', '$', '(']) {
            let plain = text.split(['*', '^', '$', '(']).next().unwrap_or_default();
            let advice = if plain.is_empty() { "write it under pattern".to_owned() } else { format!("write {plain}") };
            return Err(format!("a prefix is plain text, and means everything below it; {advice}"));
        }
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let (registry, repository) =
            trimmed.split_once('/').map_or((trimmed, None), |(registry, repository)| (registry, Some(repository)));
        if !is_explicit_registry(registry) || !is_host_and_port(registry) {
            let advice = match trimmed.parse::<RepositoryPath>() {
                Ok(_) => format!("write {DOCKER_HUB}/{text}, if it is Docker Hub's"),
                Err(_) => "for example docker.io/library/ or ghcr.io/".to_owned(),
            };
            return Err(format!("a prefix starts with the registry; {advice}"));
        }
        if repository.is_some_and(|repository| repository.parse::<RepositoryPath>().is_err()) {
            return Err("after the registry, a prefix holds whole parts of a repository in lower case, without a tag"
                .to_owned());
        }
        let (host, path) = normal(registry, repository.unwrap_or("*"));
        let Some(repository) = repository else { return Ok(Self { name: host, official: None }) };
        let owner = path.strip_prefix("library/").filter(|_| host == DOCKER_HUB && !repository.starts_with("library/"));
        match owner {
            Some(owner) => {
                // With a slash at its end it means what is below it.
                let official = (!text.ends_with('/') && owner != "library").then(|| format!("{host}/{path}"));
                Ok(Self { name: format!("{host}/{owner}"), official })
            }
            None => Ok(Self { name: format!("{host}/{path}"), official: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_registry("ghcr.io/", "ghcr.io", None)]
    #[case::capitals("GHCR.IO/acme", "ghcr.io/acme", None)]
    #[case::port_443("ghcr.io:443/acme/", "ghcr.io/acme", None)]
    #[case::another_port("registry:5000/", "registry:5000", None)]
    #[case::whole_image("ghcr.io/acme/app", "ghcr.io/acme/app", None)]
    #[case::docker_hub("docker.io", "docker.io", None)]
    #[case::docker_hubs_old_name("index.docker.io/", "docker.io", None)]
    #[case::docker_hubs_host("registry-1.docker.io/grafana/", "docker.io/grafana", None)]
    #[case::docker_hubs_site("hub.docker.com/r/grafana/loki", "docker.io/grafana/loki", None)]
    #[case::official_image("docker.io/nginx", "docker.io/nginx", Some("docker.io/library/nginx"))]
    #[case::owner("docker.io/nginx/", "docker.io/nginx", None)]
    #[case::official_images("docker.io/library", "docker.io/library", None)]
    #[case::official_image_in_full("docker.io/library/nginx", "docker.io/library/nginx", None)]
    fn a_prefix_is_read_into_its_normal_form(#[case] text: &str, #[case] name: &str, #[case] official: Option<&str>) {
        let prefix = Prefix::parse(text).unwrap();
        assert_eq!((prefix.name.as_str(), prefix.official.as_deref()), (name, official));
    }

    #[rstest]
    #[case::scheme("https://ghcr.io/acme", "a prefix has no `https://`; write ghcr.io/acme")]
    #[case::star("ghcr.io/acme/*", "a prefix is plain text, and means everything below it; write ghcr.io/acme/")]
    #[case::anchor("^ghcr.io/", "a prefix is plain text, and means everything below it; write it under pattern")]
    #[case::owner_alone("grafana", "a prefix starts with the registry; write docker.io/grafana, if it is Docker Hub's")]
    #[case::path_alone(
        "library/",
        "a prefix starts with the registry; write docker.io/library/, if it is Docker Hub's"
    )]
    #[case::nothing("", "a prefix starts with the registry; for example docker.io/library/ or ghcr.io/")]
    #[case::a_slash("/", "a prefix starts with the registry; for example docker.io/library/ or ghcr.io/")]
    #[case::tag(
        "ghcr.io/a:1",
        "after the registry, a prefix holds whole parts of a repository in lower case, without a tag"
    )]
    #[case::digest(
        "ghcr.io/a@sha256:00",
        "after the registry, a prefix holds whole parts of a repository in lower case, without a tag"
    )]
    #[case::half_a_part(
        "ghcr.io/acme-",
        "after the registry, a prefix holds whole parts of a repository in lower case, without a tag"
    )]
    #[case::capitals(
        "ghcr.io/Acme",
        "after the registry, a prefix holds whole parts of a repository in lower case, without a tag"
    )]
    fn what_is_no_prefix_is_told_what_to_write(#[case] text: &str, #[case] message: &str) {
        assert_eq!(Prefix::parse(text).unwrap_err(), message);
    }
}
