//! Harbor's answers that are no success, word for word: the warmer tells them apart by these words.

use reqwest::Method;

use crate::content::Shape;
use crate::credentials::Credentials;
use crate::error::SiteError;
use crate::expectation::Row;
use crate::site::{Answer, Site};

/// A digest that no image has.
const NO_SUCH_DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";

pub(crate) const ANSWERS: &str = "answers";
pub(crate) const ENCODING: &str = "path of an artifact";

/// Asks for what isn't there and for what isn't allowed.
pub(crate) async fn answers(site: &Site) -> Result<Vec<Row>, SiteError> {
    let image = site.push(ANSWERS, Shape::Single, &["1.0"]).await?;
    let (project, repository) = (site.options.project.as_str(), image.repository.as_str());
    let missing = format!("/v2/{project}/{repository}/manifests/nosuch");
    let probe = format!("/v2/{project}/{repository}/manifests/{NO_SUCH_DIGEST}");
    let blob = format!("/v2/{project}/{repository}/blobs/{NO_SUCH_DIGEST}");
    let layer = &image.children[0].blobs[1].digest;
    let cold_blob = format!("/v2/{project}/{repository}/blobs/{layer}");
    let wrong = Credentials { username: site.options.robot.username.clone(), password: "wrong".to_owned() };

    let mut rows = Vec::new();
    let mut expect = |what: &str, status: u16, words: &str, answer: &Answer| {
        let body = answer.text();
        let agrees = answer.status == status && if words.is_empty() { body.is_empty() } else { body.contains(words) };
        let expected = if words.is_empty() { format!("{status}, empty") } else { format!("{status} {words}") };
        let shown: String =
            if body.is_empty() { "empty".to_owned() } else { body.trim_end().chars().take(160).collect() };
        let seen = if agrees { expected.clone() } else { format!("{} {shown}", answer.status.as_u16()) };
        rows.push(Row::fact(ANSWERS, what, expected, seen, agrees));
    };

    expect("HEAD of a tag that is missing", 404, "", &site.ask(Method::HEAD, &missing).await?);
    let words = format!("resource not found: repo {project}/{repository}, tag nosuch not found");
    expect("GET of a tag that is missing", 404, &words, &site.ask(Method::GET, &missing).await?);
    let words = format!("resource not found: repo {project}/{repository}, tag  not found");
    expect("GET of a digest that can't exist", 404, &words, &site.ask(Method::GET, &probe).await?);
    let words = "http status code: 404, body:";
    expect("GET of a blob that is missing", 404, words, &site.ask(Method::GET, &blob).await?);
    expect("HEAD of a blob that the upstream has", 404, "", &site.ask(Method::HEAD, &cold_blob).await?);

    let manifest = format!("/v2/{project}/{repository}/manifests/1.0");
    let refused = site.ask_as(Some(&wrong), Method::GET, &manifest, None).await?;
    expect("wrong password", 401, "UNAUTHORIZED", &refused);
    let no_project = site.ask(Method::GET, "/v2/no-such-project/a/manifests/1.0").await?;
    expect("project that doesn't exist", 401, "project no-such-project not found", &no_project);
    let capitals = site.ask(Method::GET, &format!("/v2/{project}/Capitals/manifests/1.0")).await?;
    expect("capital letters in a repository", 401, "un-recognized request", &capitals);
    let artifact = site.artifact_path("scenarios/no-such-repository", "1.0", "%252F");
    let words = format!("repository {project}/scenarios/no-such-repository not found");
    expect("artifact of an unknown repository", 404, &words, &site.ask(Method::GET, &artifact).await?);
    let path = format!("/api/v2.0/projects/{project}");
    expect("API outside of the robot's rights", 403, "FORBIDDEN", &site.ask(Method::GET, &path).await?);
    expect("ping, with no right at all", 200, "Pong", &site.ask_as(None, Method::GET, "/api/v2.0/ping", None).await?);

    for (what, expected, answer) in [
        ("challenge of a wrong password", r#"Basic realm="harbor""#, &refused),
        ("challenge of an unknown project", "", &no_project),
    ] {
        let seen = answer.header("www-authenticate");
        let told = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        rows.push(Row::fact(ANSWERS, what, told(expected), told(seen), seen == expected));
    }
    // The cold GET by tag comes last: from then on the image is in Harbor.
    let cold = site.get_manifest(project, &image, "1.0").await?.success()?;
    let digest = cold.header("docker-content-digest");
    let told = if digest.is_empty() { "empty" } else { digest };
    rows.push(Row::fact(ANSWERS, "digest header of a cold GET by tag", "empty", told, digest.is_empty()));
    Ok(rows)
}

/// The name of a repository is encoded twice in the API's paths, as Harbor's API description has it. Core takes a name
/// that is encoded once as well, but what stands in front of it may decode that.
pub(crate) async fn encoding(site: &Site) -> Result<Vec<Row>, SiteError> {
    let image = site.push(ENCODING, Shape::Single, &["1.0"]).await?;
    let digest = &image.root().digest;
    site.head_manifest(&image, "1.0").await?.success()?;
    site.get_manifest(&site.options.project, &image, digest).await?.success()?;
    for blob in &image.children[0].blobs {
        site.touch_blob(&image, &blob.digest).await?;
    }
    site.pause(45.0).await;
    let mut rows = Vec::new();
    for (what, slash, known) in [
        ("slashes encoded twice", "%252F", true),
        ("slashes encoded once", "%2F", true),
        ("slashes as they are", "/", false),
    ] {
        let answer = site.ask(Method::GET, &site.artifact_path(&image.repository, digest, slash)).await?;
        let expected = if known { "200" } else { "404" };
        let seen = answer.status.as_str().to_owned();
        rows.push(Row::fact(ENCODING, what, expected, seen.as_str(), seen == expected));
    }
    Ok(rows)
}
