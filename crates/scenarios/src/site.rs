//! A Harbor under test, and the requests that are made to it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, header};
use serde_json::Value;

use crate::content::{Image, Shape};
use crate::credentials::Credentials;
use crate::error::SiteError;
use crate::ground::Grounds;
use crate::upstream::Upstream;

/// Every type of manifest that Harbor may answer with.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// Harbor is looked at so often, in its own seconds.
const LOOK_EVERY_SECONDS: f64 = 1.0;

/// Not even a Harbor whose time runs fast is looked at more often.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// Tells the digest that a repository's tag or digest has at the replication target, none while it is not there.
pub type LookAtTarget = Box<dyn Fn(String, String) -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// A registry that Harbor can replicate to.
pub struct Target {
    /// The name of its endpoint in Harbor.
    pub name: String,
    /// An administrator, or whoever may create, start and delete replication policies.
    pub administrator: Credentials,
    /// Looks at what arrived.
    pub look: LookAtTarget,
}

/// What is tested. See [`Site::new`].
pub struct SiteOptions {
    /// The Harbor.
    pub harbor: Url,
    /// The proxy-cache project.
    pub project: String,
    /// Another proxy-cache project of the same endpoint.
    pub resolve_project: Option<String>,
    /// A robot with `repository:pull`, `artifact:read` and `tag:list`, and no other right.
    pub robot: Credentials,
    /// Where images are pushed to.
    pub upstream: Upstream,
    /// Where replications go.
    pub target: Option<Target>,
    /// Where a scenario gets a project of its own.
    pub grounds: Option<Grounds>,
    /// The sizes in bytes of the layers that each platform of an image has.
    pub layer_sizes: Vec<usize>,
    /// What one of Harbor's seconds takes: 1 for a real Harbor.
    pub time_scale: f64,
    /// How many of Harbor's seconds later than expected something may be seen.
    pub slack_seconds: f64,
    /// Makes the names of this run unique.
    pub run: String,
    /// The client of all requests.
    pub http: Client,
}

/// A Harbor under test.
pub struct Site {
    pub(crate) options: SiteOptions,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) request: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The answer, if it is a success.
    pub(crate) fn success(self) -> Result<Self, SiteError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let body = self.text().chars().take(200).collect();
        Err(SiteError::Unexpected { request: self.request, status: self.status, body })
    }
}

impl Site {
    /// A Harbor to play scenarios on.
    pub fn new(options: SiteOptions) -> Self {
        Self { options }
    }

    /// Pushes a new image for a scenario.
    pub(crate) async fn push(&self, scenario: &str, shape: Shape, tags: &[&str]) -> Result<Image, SiteError> {
        let repository = self.repository(scenario);
        let seed = repository.clone();
        self.push_into(repository, &seed, shape, tags).await
    }

    /// Pushes another image into the repository of `image`, and moves the tags to it.
    pub(crate) async fn push_again(&self, image: &Image, shape: Shape, tags: &[&str]) -> Result<Image, SiteError> {
        self.push_into(image.repository.clone(), &image.root().digest, shape, tags).await
    }

    async fn push_into(&self, repository: String, seed: &str, shape: Shape, tags: &[&str]) -> Result<Image, SiteError> {
        // Making and hashing a hundred megabytes would hold up what the other scenarios measure.
        let (seed, layer_sizes) = (seed.to_owned(), self.options.layer_sizes.clone());
        let made = tokio::task::spawn_blocking(move || Image::new(repository, &seed, shape, &layer_sizes)).await;
        let image = made.map_err(SiteError::Made)?;
        self.options.upstream.push(&image, tags).await?;
        Ok(image)
    }

    /// The repository of a scenario in this run.
    pub(crate) fn repository(&self, scenario: &str) -> String {
        let name: String = scenario.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
        format!("scenarios/{}/{}", self.options.run, words.join("-").to_ascii_lowercase())
    }

    /// Harbor's seconds since then.
    pub(crate) fn seconds_since(&self, then: Instant) -> f64 {
        then.elapsed().as_secs_f64() / self.options.time_scale
    }

    /// Lets so many of Harbor's seconds pass.
    pub(crate) async fn pause(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds * self.options.time_scale)).await;
    }

    /// Until the next look.
    pub(crate) async fn pause_between_looks(&self) {
        let pause = Duration::from_secs_f64(LOOK_EVERY_SECONDS * self.options.time_scale);
        tokio::time::sleep(pause.max(LOOK_AT_MOST_EVERY)).await;
    }

    pub(crate) async fn head_manifest(&self, image: &Image, reference: &str) -> Result<Answer, SiteError> {
        let path = format!("/v2/{}/{}/manifests/{reference}", self.options.project, image.repository);
        self.ask(Method::HEAD, &path).await
    }

    pub(crate) async fn get_manifest(
        &self,
        project: &str,
        image: &Image,
        reference: &str,
    ) -> Result<Answer, SiteError> {
        self.ask(Method::GET, &format!("/v2/{project}/{}/manifests/{reference}", image.repository)).await
    }

    /// Whether the blob is in Harbor's own registry.
    pub(crate) async fn blob_is_local(&self, image: &Image, digest: &str) -> Result<bool, SiteError> {
        let answer = self.ask(Method::HEAD, &self.blob_path(image, digest)).await?;
        Ok(answer.status.is_success())
    }

    /// Asks for a blob and closes after the first bytes.
    pub(crate) async fn touch_blob(&self, image: &Image, digest: &str) -> Result<(), SiteError> {
        let path = self.blob_path(image, digest);
        let answer = self.request(Method::GET, &path, Some(&self.options.robot)).send().await?.error_for_status()?;
        match answer.bytes_stream().next().await {
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Asks for a blob and reads it to its end.
    pub(crate) async fn drain_blob(&self, image: &Image, digest: &str) -> Result<(), SiteError> {
        self.ask(Method::GET, &self.blob_path(image, digest)).await?.success()?;
        Ok(())
    }

    /// Harbor's record of an artifact, by tag or digest.
    pub(crate) async fn artifact(&self, repository: &str, reference: &str) -> Result<Option<Value>, SiteError> {
        let answer = self.ask(Method::GET, &self.artifact_path(repository, reference, "%252F")).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { Ok(Some(answer.success()?.json())) }
    }

    /// Waits until Harbor has recorded a tag, at most so many of its seconds.
    pub(crate) async fn wait_for_tag(&self, image: &Image, tag: &str, patience: f64) -> Result<Option<f64>, SiteError> {
        let since = Instant::now();
        loop {
            let recorded = self.artifact(&image.repository, tag).await?.is_some();
            let now = self.seconds_since(since);
            if recorded {
                return Ok(Some(now));
            }
            if now >= patience {
                return Ok(None);
            }
            self.pause_between_looks().await;
        }
    }

    /// Asks for an image as Harbor likes it: HEAD of the tags, GET of the index by digest, then every child and blob.
    pub(crate) async fn warm_by_hand(&self, image: &Image, tags: &[&str]) -> Result<(), SiteError> {
        let project = &self.options.project;
        for tag in tags {
            self.head_manifest(image, tag).await?.success()?;
        }
        self.get_manifest(project, image, &image.root().digest).await?.success()?;
        for child in &image.children {
            self.get_manifest(project, image, &child.manifest.digest).await?.success()?;
            for blob in &child.blobs {
                self.touch_blob(image, &blob.digest).await?;
            }
        }
        Ok(())
    }

    /// The path of an artifact, the repository's slashes written as `slash`.
    pub(crate) fn artifact_path(&self, repository: &str, reference: &str, slash: &str) -> String {
        let (project, repository) = (&self.options.project, repository.replace('/', slash));
        format!("/api/v2.0/projects/{project}/repositories/{repository}/artifacts/{reference}")
    }

    fn blob_path(&self, image: &Image, digest: &str) -> String {
        format!("/v2/{}/{}/blobs/{digest}", self.options.project, image.repository)
    }

    /// A request as the robot.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Result<Answer, SiteError> {
        self.ask_as(Some(&self.options.robot), method, path, None).await
    }

    /// A request as somebody else.
    pub(crate) async fn ask_as(
        &self,
        who: Option<&Credentials>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, SiteError> {
        let request = format!("{method} {path}");
        let mut builder = self.request(method, path, who);
        if let Some(body) = body {
            builder = builder.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = builder.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok(Answer { request, status, headers, body: answer.bytes().await? })
    }

    fn request(&self, method: Method, path: &str, who: Option<&Credentials>) -> RequestBuilder {
        let mut url = self.options.harbor.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        let mut builder = self.options.http.request(method, url);
        if path.starts_with("/v2/") {
            builder = builder.header(header::ACCEPT, ACCEPT);
        }
        match who {
            Some(Credentials { username, password }) => builder.basic_auth(username, Some(password)),
            None => builder,
        }
    }
}
