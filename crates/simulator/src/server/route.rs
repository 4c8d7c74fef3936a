//! What a path means to Harbor's router.

use http::Method;

use crate::digest::Digest;
use crate::fault::RouteClass;
use crate::harbor::api::answer::Query;
use crate::harbor::api::percent_decode;
use crate::harbor::{ArtifactInfo, Reference};

#[derive(Debug)]
pub(super) enum Route<'a> {
    Ping,
    Token,
    Manifest(ArtifactInfo),
    Blob(ArtifactInfo, Digest),
    Tags(ArtifactInfo),
    /// A start of an upload.
    Upload(ArtifactInfo),
    /// Under `/v2/`, but nothing that the registry's router knows: a repository with capital letters, for example.
    Unrecognized,
    /// The segments behind `/api/v2.0/`, still encoded.
    Api(Vec<&'a str>),
    /// The segments behind `/_simulator/`.
    Admin(Vec<&'a str>),
    Other,
}

impl<'a> Route<'a> {
    pub(super) fn parse(method: &Method, path: &'a str) -> Self {
        match path {
            "/v2" | "/v2/" => return Self::Ping,
            "/service/token" => return Self::Token,
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("/api/v2.0/") {
            Self::Api(rest.split('/').collect())
        } else if let Some(rest) = path.strip_prefix("/_simulator/") {
            Self::Admin(rest.split('/').collect())
        } else if let Some(rest) = path.strip_prefix("/v2/") {
            registry(method, rest).unwrap_or(Self::Unrecognized)
        } else {
            Self::Other
        }
    }

    pub(super) fn class(&self, method: &Method) -> RouteClass {
        let head = method == Method::HEAD;
        match self {
            Self::Ping => RouteClass::Ping,
            Self::Token => RouteClass::Token,
            Self::Manifest(_) if head => RouteClass::ManifestHead,
            Self::Manifest(_) => RouteClass::ManifestGet,
            Self::Blob(..) if head => RouteClass::BlobHead,
            Self::Blob(..) => RouteClass::BlobGet,
            Self::Tags(_) => RouteClass::Tags,
            Self::Api(path) if path.first() == Some(&"replication") => RouteClass::Replication,
            Self::Api(_) => RouteClass::Api,
            Self::Upload(_) | Self::Unrecognized | Self::Admin(_) | Self::Other => RouteClass::Other,
        }
    }
}

fn registry<'a>(method: &Method, rest: &str) -> Option<Route<'a>> {
    let info = |repository: &str, reference| {
        let (project, _) = repository.split_once('/')?;
        let good = repository.split('/').all(is_name_component);
        good.then(|| ArtifactInfo { project: project.to_owned(), repository: repository.to_owned(), reference })
    };
    if let Some((repository, reference)) = rest.rsplit_once("/manifests/") {
        let reference = match Digest::parse(reference) {
            Some(digest) => Reference::Digest(digest),
            // Harbor's router takes whatever is no digest for a tag, and leaves it to the upstream to know none such.
            None if !reference.is_empty() => Reference::Tag(reference.to_owned()),
            None => return None,
        };
        return info(repository, reference).map(Route::Manifest);
    }
    let no_reference = || Reference::Tag(String::new());
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        return info(repository, no_reference()).map(Route::Tags);
    }
    if let Some((repository, _)) = rest.rsplit_once("/blobs/uploads/") {
        return info(repository, no_reference()).map(Route::Upload);
    }
    let (repository, digest) = rest.rsplit_once("/blobs/")?;
    let digest = Digest::parse(digest)?;
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    let info = info(repository, Reference::Digest(digest.clone()))?;
    Some(Route::Blob(info, digest))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_name_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_well = |end: Option<&u8>| end.is_some_and(|byte| alphanumeric(*byte));
    if !ends_well(bytes.first()) || !ends_well(bytes.last()) {
        return false;
    }
    component
        .split(|symbol: char| alphanumeric(u8::try_from(symbol).unwrap_or(0)))
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

pub(super) fn query(text: Option<&str>) -> Query {
    let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let decode = |part: &str| percent_decode(&part.replace('+', " "));
    Query(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (decode(n), decode(v))).collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[rstest]
    #[case::plain("library", true)]
    #[case::separators("a.b_c__d---e", true)]
    #[case::capital("Library", false)]
    #[case::ends_badly("a-", false)]
    #[case::starts_badly(".a", false)]
    #[case::two_dots("a..b", false)]
    #[case::three_underscores("a___b", false)]
    #[case::empty("", false)]
    fn knows_repository_names(#[case] component: &str, #[case] good: bool) {
        assert_eq!(is_name_component(component), good);
    }

    #[test]
    fn a_repository_may_be_as_deep_as_it_likes() {
        let path = format!("/v2/proxy/a/b/manifests/c/manifests/{DIGEST}");
        let Route::Manifest(info) = Route::parse(&Method::GET, &path) else { panic!("a manifest was expected") };
        assert_eq!((info.project.as_str(), info.upstream_repository()), ("proxy", "a/b/manifests/c"));
        assert_eq!(info.reference.as_str(), DIGEST);
    }

    #[rstest]
    #[case::capitals("/v2/proxy/Library/nginx/manifests/1")]
    #[case::no_project("/v2/nginx/manifests/1")]
    #[case::bad_digest("/v2/proxy/nginx/blobs/sha256:00")]
    #[case::nothing("/v2/proxy/nginx")]
    fn the_router_does_not_know(#[case] path: &str) {
        assert!(matches!(Route::parse(&Method::GET, path), Route::Unrecognized));
    }
}
