//! A simulated Harbor with a warmer beside it: what every test here starts from.

use std::path::Path;
use std::time::Duration;

use harbor_warmer::Service;
use harbor_warmer::config::{Config, document};
use harbor_warmer_core::view::{ImageList, ImageView, Phase};
use harbor_warmer_protocol::{HandOff, HarborImage, Platforms, Receipt, Subject};
use harbor_warmer_simulator::{ImageSpec, ProjectSpec, PushedImage, RobotSpec, Simulator, SimulatorBuilder};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A second of Harbor's takes so much of a second here.
pub(crate) const SCALE: f64 = 0.01;

/// No test waits longer for something that should have happened long ago.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    pub(crate) harbor: Simulator,
    pub(crate) service: Service,
    pub(crate) http: reqwest::Client,
    pub(crate) options: Options,
    directory: TempDir,
    shutdown: CancellationToken,
}

/// What differs from test to test in the configuration.
#[derive(Clone)]
pub(crate) struct Options {
    /// Keys of the project `hub`.
    pub(crate) project: String,
    /// Keys of the Harbor `main`.
    pub(crate) harbor: String,
    /// Keys of `queue`.
    pub(crate) queue: String,
    /// Keys of `registry`.
    pub(crate) registry: String,
    /// Keys of `front`.
    pub(crate) front: String,
    /// Harbors beside `main`, as entries of the map.
    pub(crate) harbors: String,
    /// Sets what a configuration file may not set as low as a test needs it.
    pub(crate) tune: fn(&mut Config),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            project: "transfer: touch".to_owned(),
            harbor: String::new(),
            queue: String::new(),
            registry: String::new(),
            front: String::new(),
            harbors: String::new(),
            tune: |_| {},
        }
    }
}

pub(crate) fn harbor() -> SimulatorBuilder {
    Simulator::builder()
        .time_scale(SCALE)
        .project(ProjectSpec::proxy("hub"))
        .robot(RobotSpec::project("hub", "warmer", "s3cret"))
}

pub(crate) fn two_platforms(repository: &str, tag: &str) -> ImageSpec {
    ImageSpec::new(repository, tag).platforms(["linux/amd64", "linux/arm64"]).layer_sizes([64 << 10, 2 << 20])
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(harbor(), Options::default()).await
    }

    pub(crate) async fn with(harbor: SimulatorBuilder, options: Options) -> Self {
        harbor_warmer_harbor::install_crypto_provider();
        let harbor = harbor.start().await.expect("the simulator starts on a free port");
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let shutdown = CancellationToken::new();
        let config = configuration(&harbor.url(), directory.path(), &options);
        let service = Service::start(config, shutdown.clone()).await.expect("the service starts");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without a proxy can be built");
        Self { harbor, service, http, options, directory, shutdown }
    }

    /// Where the configuration's files are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops the service and starts it again on the same queue.
    pub(crate) async fn restart(self) -> Self {
        self.shutdown.cancel();
        self.service.stopped().await;
        let shutdown = CancellationToken::new();
        let config = configuration(&self.harbor.url(), self.directory.path(), &self.options);
        let service = Service::start(config, shutdown.clone()).await.expect("the service starts again");
        Self { service, shutdown, ..self }
    }

    /// Announces a tag, as the policy does.
    pub(crate) async fn announce(&self, repository: &str, tag: &str, platforms: &str) -> Receipt {
        self.hand_off(repository, platforms, Subject::Tag(tag.parse().unwrap())).await
    }

    pub(crate) async fn hand_off(&self, repository: &str, platforms: &str, subject: Subject) -> Receipt {
        let url = self.hand_off_url(repository, platforms, subject);
        receipt_of(self.http.get(url)).await
    }

    /// Hands over with the credentials of a cluster.
    pub(crate) async fn hand_off_as(
        &self,
        cluster: &str,
        repository: &str,
        platforms: &str,
        subject: Subject,
    ) -> Receipt {
        let url = self.hand_off_url(repository, platforms, subject);
        receipt_of(self.http.get(url).basic_auth(cluster, Some("s3cret"))).await
    }

    /// Announces a tag at another Harbor than `main`.
    pub(crate) async fn announce_at(&self, harbor: &str, repository: &str, tag: &str, platforms: &str) -> Receipt {
        let image = HarborImage { harbor: harbor.parse().unwrap(), ..place(repository) };
        let url = self.url_of(image, platforms, Subject::Tag(tag.parse().unwrap()));
        receipt_of(self.http.get(url)).await
    }

    pub(crate) fn hand_off_url(&self, repository: &str, platforms: &str, subject: Subject) -> String {
        self.url_of(place(repository), platforms, subject)
    }

    fn url_of(&self, image: HarborImage, platforms: &str, subject: Subject) -> String {
        let hand_off = HandOff {
            image,
            target: None,
            platforms: Platforms::new(platforms.split(',').map(|platform| platform.parse().unwrap())).unwrap(),
            subject,
        };
        let (name, tag) = hand_off.to_name().unwrap();
        format!("http://{}/v2/{name}/manifests/{tag}", self.service.registry_address)
    }

    pub(crate) async fn view(&self, id: &str) -> ImageView {
        let url = format!("http://{}/api/v1/images/{id}", self.service.admin_address);
        self.http.get(url).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Waits until the image looks as it should, and shows it.
    pub(crate) async fn wait_for(&self, id: &str, condition: impl Fn(&ImageView) -> bool) -> ImageView {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let view = self.view(id).await;
            if condition(&view) {
                return view;
            }
            assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {view:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the warmer says that the image is warm. A dead letter never is.
    pub(crate) async fn wait_until_warm(&self, id: &str) -> ImageView {
        self.wait_for(id, |view| {
            assert_ne!(view.summary.phase, Phase::Failed, "{view:#?}");
            view.summary.phase >= Phase::Warm
        })
        .await
    }

    /// Waits until the image is a dead letter, and tells why it is one.
    pub(crate) async fn wait_for_dead_letter(&self, id: &str) -> String {
        let view = self.wait_for(id, |view| view.summary.phase == Phase::Failed).await;
        view.summary.reason.unwrap_or_default()
    }

    /// Waits until the image waits for the reason given.
    pub(crate) async fn wait_for_reason(&self, id: &str, reason: &str) -> ImageView {
        self.wait_for(id, |view| {
            assert_ne!(view.summary.phase, Phase::Failed, "{view:#?}");
            view.summary.reason.as_deref().is_some_and(|told| told.contains(reason))
        })
        .await
    }

    /// Everything in the queue, on one page.
    pub(crate) async fn list(&self) -> ImageList {
        let url = format!("http://{}/api/v1/images?limit=500", self.service.admin_address);
        self.http.get(url).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Opens a dead letter again, as `harbor-warmer requeue` does.
    pub(crate) async fn requeue(&self, id: &str) {
        let url = format!("http://{}/api/v1/images/{id}/requeue", self.service.admin_address);
        self.http.post(url).send().await.unwrap().error_for_status().unwrap();
    }

    /// Asserts that Harbor itself has the platform, and made one copy of each of its blobs.
    #[track_caller]
    pub(crate) fn assert_copied_once(&self, image: &PushedImage, platform: &str) {
        assert!(self.harbor_has(image, platform), "{}:{} is not in Harbor", image.repository, image.tag);
        for (blob, _) in image.child(platform).blobs() {
            let copies = self.harbor.background_transfers("hub", &image.repository, blob.as_str());
            assert_eq!(copies, 1, "copies of {blob}");
        }
    }

    /// Whether Harbor itself has every blob of the platform, and its manifest as an artifact.
    pub(crate) fn harbor_has(&self, image: &PushedImage, platform: &str) -> bool {
        let child = image.child(platform);
        let repository = &image.repository;
        child.blobs().all(|(blob, _)| self.harbor.blob_is_local("hub", repository, blob.as_str()))
            && self.harbor.artifact_recorded("hub", repository, child.digest.as_str())
    }

    /// Whether Kubernetes would send it hand-offs.
    pub(crate) async fn is_ready(&self) -> bool {
        let url = format!("http://{}/readyz", self.service.admin_address);
        self.http.get(url).send().await.unwrap().status().is_success()
    }

    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.service.admin_address);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }
}

/// A busy machine's disk may take longer than a caller waits, who is told to come again.
async fn receipt_of(request: reqwest::RequestBuilder) -> Receipt {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let again = request.try_clone().expect("it has no body that streams");
        let response = again.send().await.expect("the registry port answers");
        if response.status() == 503 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        assert_eq!(response.status(), 200);
        return Receipt::from_manifest(&response.bytes().await.unwrap()).expect("a receipt");
    }
}

pub(crate) fn place(repository: &str) -> HarborImage {
    HarborImage {
        harbor: "main".parse().unwrap(),
        project: "hub".parse().unwrap(),
        repository: repository.parse().unwrap(),
    }
}

fn configuration(url: &str, directory: &Path, options: &Options) -> Config {
    std::fs::write(directory.join("password"), "s3cret").unwrap();
    let Options { project, harbor, queue, registry, front, harbors, tune } = options;
    let text = format!(
        r#"
dataDir: {directory}/data
registry: {{listen: "127.0.0.1:0", {registry}}}
admin: {{listen: "127.0.0.1:0"}}
queue: {{{queue}}}
front: {{{front}}}
harbors:
  main:
    url: {url}
    credentials: {{username: "robot$hub+warmer", passwordFile: password}}
    timeScale: {SCALE}
    {harbor}
    projects:
      hub: {{{project}}}
  {harbors}
rules:
  - prefix: docker.io/
    harbor: main
    project: hub
"#,
        directory = directory.display(),
    );
    let parsed = document::parse(&text, directory);
    let mut config = parsed.unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{text}"));
    tune(&mut config);
    config
}
