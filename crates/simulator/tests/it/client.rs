//! A plain client of the registry and the API, and a simulator to talk to.

use std::time::Duration;

use harbor_warmer_simulator::{ImageSpec, ProjectSpec, PushedImage, RobotSpec, Simulator, SimulatorBuilder};
use reqwest::{Client, Method, Response};
use serde_json::Value;

/// 200 of Harbor's seconds are one of ours.
pub(crate) const SCALE: f64 = 0.005;
/// An upper bound for what a real Harbor does by its next look or the one after it. Far from the 400 s of the deadline,
/// and still most of a second of ours.
pub(crate) const SOON: u64 = 200;
pub(crate) const ROBOT: &str = "robot$proxy+warmer";
pub(crate) const SYSTEM_ROBOT: &str = "robot$replicator";
pub(crate) const SECRET: &str = "secret";
pub(crate) const AMD64: &str = "linux/amd64";
pub(crate) const ARM64: &str = "linux/arm64";
const ALL_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// Of our own time. A whole run of Harbor's longest timer takes 3 s at the scale of these tests.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Lab {
    pub(crate) simulator: Simulator,
    pub(crate) client: Client,
    user: String,
    secret: String,
    pub(crate) project: &'static str,
}

pub(crate) fn builder() -> SimulatorBuilder {
    Simulator::builder()
        .time_scale(SCALE)
        .project(ProjectSpec::proxy("proxy"))
        .project(ProjectSpec::proxy("resolve"))
        .robot(RobotSpec::project("proxy", "warmer", SECRET))
        .robot(RobotSpec::system("replicator", SECRET))
        .replication_target("ecr")
}

/// Two platforms, layers of 64 KB and 8 MB: the image that was measured.
pub(crate) fn measured_image() -> ImageSpec {
    ImageSpec::new("library/app", "1.0").platforms([AMD64, ARM64]).layer_sizes([65536, 8 << 20])
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(builder()).await
    }

    pub(crate) async fn with(builder: SimulatorBuilder) -> Self {
        // A second installation in the same process fails, and is not needed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redirects = reqwest::redirect::Policy::none();
        Self {
            simulator: builder.start().await.unwrap(),
            client: Client::builder().redirect(redirects).build().unwrap(),
            user: ROBOT.to_owned(),
            secret: SECRET.to_owned(),
            project: "proxy",
        }
    }

    /// The same client, as another user of the same simulator.
    pub(crate) fn login(&mut self, user: &str, secret: &str) {
        (self.user, self.secret) = (user.to_owned(), secret.to_owned());
    }

    pub(crate) async fn send(&self, method: Method, path: &str) -> Response {
        let url = format!("{}{path}", self.simulator.url());
        let request = self.client.request(method, url).header("accept", ALL_TYPES);
        request.basic_auth(&self.user, Some(&self.secret)).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path).await
    }

    pub(crate) async fn head(&self, path: &str) -> Response {
        self.send(Method::HEAD, path).await
    }

    /// Status and JSON of a GET.
    pub(crate) async fn get_json(&self, path: &str) -> (u16, Value) {
        let answer = self.get(path).await;
        (answer.status().as_u16(), json(answer).await)
    }

    pub(crate) async fn send_json(&self, method: Method, path: &str, body: &Value) -> Response {
        let url = format!("{}{path}", self.simulator.url());
        let request = self.client.request(method, url).basic_auth(&self.user, Some(&self.secret));
        request.body(body.to_string()).send().await.unwrap()
    }

    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> String {
        format!("/v2/{}/{repository}/manifests/{reference}", self.project)
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str) -> String {
        format!("/v2/{}/{repository}/blobs/{digest}", self.project)
    }

    pub(crate) async fn head_tag(&self, image: &PushedImage) {
        let answer = self.head(&self.manifest(&image.repository, &image.tag)).await;
        assert_eq!(answer.status(), 200);
    }

    pub(crate) async fn get_manifest(&self, image: &PushedImage, reference: &str) {
        let answer = self.get(&self.manifest(&image.repository, reference)).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }

    /// Reads the first bytes of the blob, then closes: the copy into Harbor goes on.
    pub(crate) async fn touch(&self, repository: &str, digest: &str) {
        let mut answer = self.get(&self.blob(repository, digest)).await;
        assert_eq!(answer.status(), 200);
        answer.chunk().await.unwrap();
    }

    pub(crate) async fn drain(&self, repository: &str, digest: &str) -> usize {
        let answer = self.get(&self.blob(repository, digest)).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap().len()
    }

    /// GET of the platform's manifest and a touch of each of its blobs.
    pub(crate) async fn warm_child(&self, image: &PushedImage, platform: &str) {
        let child = image.child(platform);
        self.get_manifest(image, &child.digest).await;
        for (digest, _) in child.blobs() {
            self.touch(&image.repository, &digest).await;
        }
    }

    /// Waits with patience, and says what for when it runs out.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, condition: impl FnMut(&Simulator) -> bool) -> impl Future<Output = ()> {
        let waiting = self.simulator.wait_until(condition, PATIENCE);
        async move { assert!(waiting.await.is_ok(), "this did not happen: {what}") }
    }

    /// Waits until so many of Harbor's seconds have passed since the moment given.
    pub(crate) async fn pass(&self, since: Duration, seconds: u64) {
        let due = since + Duration::from_secs(seconds);
        self.until("time passes", |simulator| simulator.now() >= due).await;
    }

    pub(crate) fn recorded_at(&self, image: &PushedImage, digest: &str) -> Option<Duration> {
        self.simulator.artifact_recorded_at(self.project, &image.repository, digest)
    }

    pub(crate) fn tagged_at(&self, image: &PushedImage) -> Option<Duration> {
        self.simulator.tag_recorded_at(self.project, &image.repository, &image.tag)
    }

    pub(crate) async fn until_recorded(&self, image: &PushedImage, digest: &str) {
        let (project, repository) = (self.project, image.repository.clone());
        self.until("the artifact is recorded", |it| it.artifact_recorded(project, &repository, digest)).await;
    }

    pub(crate) async fn until_tagged(&self, image: &PushedImage) {
        let (project, repository, tag) = (self.project, image.repository.clone(), image.tag.clone());
        self.until("the tag is recorded", |it| it.tag(project, &repository, &tag).is_some()).await;
    }

    pub(crate) async fn until_local<'a>(&self, image: &PushedImage, digests: impl IntoIterator<Item = &'a str>) {
        for digest in digests {
            let (project, repository) = (self.project, image.repository.clone());
            self.until("the blob is local", |it| it.blob_is_local(project, &repository, digest)).await;
        }
    }
}

/// Asserts a span of Harbor's seconds: never less, and not much more.
#[track_caller]
pub(crate) fn assert_took(since: Duration, until: Option<Duration>, at_least: u64, at_most: u64) {
    let until = until.expect("it should have happened by now");
    let took = until.saturating_sub(since);
    let expected = Duration::from_secs(at_least)..=Duration::from_secs(at_most);
    assert!(expected.contains(&took), "it took {took:?} of Harbor's time, not {expected:?}");
}

pub(crate) async fn json(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}
