//! The real service with one registry behind it, and what it says of the image.

use std::path::Path;
use std::time::Duration;

use harbor_warmer::Service;
use harbor_warmer::config::{Config, document};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::registry::{Kind, PROJECT, REPOSITORY, TAG};

/// A second of the warmer's waiting is so much of one here.
const SCALE: f64 = 0.01;
/// An answer that doesn't come is given up after this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// An image that goes on failing is given up after this.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);
/// A tag that is missing is looked for during this.
const MISSING_TAG_FOR: Duration = Duration::from_secs(5);
const USER: &str = "warmer";
pub(crate) const PASSWORD: &str = "never-told-to-a-stranger";

pub(crate) struct Site {
    service: Service,
    http: reqwest::Client,
    shutdown: CancellationToken,
    _directory: TempDir,
}

/// What the warmer says of the image.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) phase: String,
    /// The reason, and the cause where it is stuck.
    pub(crate) reason: String,
}

impl Said {
    pub(crate) fn is_warm(&self) -> bool {
        matches!(self.phase.as_str(), "warm" | "tagged" | "replicated")
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.phase == "failed"
    }
}

impl Site {
    pub(crate) async fn start(kind: Kind, url: &str, project: &str) -> Self {
        harbor_warmer_harbor::install_crypto_provider();
        // A hundred queues that sync their disk say nothing about registries: they live in memory where there is such.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("a temporary directory can be made");
        let config = configuration(kind, url, project, directory.path());
        let shutdown = CancellationToken::new();
        let service = Service::start(config, shutdown.clone()).await.expect("the service starts");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without a proxy can be built");
        Self { service, http, shutdown, _directory: directory }
    }

    /// Hands the image over as `harbor-warmer warm` does; its id.
    /// On a busy machine the queue may ask for another try.
    pub(crate) async fn hand_over(&self) -> String {
        let url = format!("http://{}/api/v1/warm", self.service.admin_address);
        let body = json!({"images": [format!("docker.io/{REPOSITORY}:{TAG}")]}).to_string();
        loop {
            let request = self.http.post(&url).header("content-type", "application/json").body(body.clone());
            let taken = read(request.send().await.expect("the admin port answers")).await;
            if let Some(id) = taken["images"][0]["id"].as_str() {
                return id.to_owned();
            }
            assert_ne!(taken["images"][0]["state"], "refused", "{taken}");
        }
    }

    pub(crate) async fn said(&self, id: &str) -> Said {
        let url = format!("http://{}/api/v1/images/{id}", self.service.admin_address);
        let view = read(self.http.get(url).send().await.expect("the admin port answers")).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let reason = format!("{} {}", text(&view["reason"]), text(&view["stuck"]["cause"]));
        Said { phase: text(&view["phase"]), reason }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.service.stopped().await;
    }
}

async fn read(answer: reqwest::Response) -> Value {
    let bytes = answer.bytes().await.expect("the admin port's answer is whole");
    serde_json::from_slice(&bytes).expect("the admin port answers in JSON")
}

fn configuration(kind: Kind, url: &str, project: &str, directory: &Path) -> Config {
    std::fs::write(directory.join("password"), PASSWORD).expect("the directory is there");
    let kind = match kind {
        Kind::Harbor => "harbor",
        Kind::Distribution => "distribution",
    };
    let text = format!(
        r#"
dataDir: {directory}/data
registry: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0"}}
harbors:
  main:
    kind: {kind}
    url: {url}
    credentials: {{username: {USER}, passwordFile: password}}
    timeScale: {SCALE}
    projects:
      {PROJECT}: {{{project}}}
rules:
  - {{prefix: docker.io/, harbor: main, project: {PROJECT}}}
"#,
        directory = directory.display(),
    );
    let parsed = document::parse(&text, directory);
    let mut config = parsed.unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{text}"));
    config.queue.give_up_after = GIVE_UP_AFTER;
    config.queue.missing_tag_for = MISSING_TAG_FOR;
    for harbor in config.harbors.values_mut() {
        harbor.options.request_timeout = REQUEST_TIMEOUT;
        harbor.options.stall_timeout = REQUEST_TIMEOUT;
    }
    config
}
