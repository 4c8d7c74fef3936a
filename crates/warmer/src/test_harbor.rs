//! A Harbor for the tests of front and ports: answers by path, can be held, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use harbor_warmer_protocol::{Digest, HandOff, HarborImage, Platforms, Subject, TargetName};
use http::StatusCode;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{self, Config};
use crate::front::Front;
use crate::harbors::Harbors;
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::places::backlog::Backlogs;
use harbor_warmer_store::Store;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The server. Gone when dropped.
pub(crate) struct TestHarbor {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    content: Mutex<HashMap<String, (String, Bytes)>>,
    upstream_is_down: Mutex<bool>,
    asked: Mutex<Vec<String>>,
    held: watch::Sender<bool>,
}

impl TestHarbor {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            content: Mutex::default(),
            upstream_is_down: Mutex::new(false),
            asked: Mutex::default(),
            held: watch::Sender::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    /// Puts a manifest under `<project>/<repository>`, by its digest and by these tags.
    pub(crate) fn put(&self, repository: &str, tags: &[&str], media_type: &str, bytes: &[u8]) -> Digest {
        let digest = digest_of(bytes);
        let mut content = self.shared.content.lock().unwrap();
        for reference in tags.iter().map(ToString::to_string).chain([digest.to_string()]) {
            let path = format!("/v2/{repository}/manifests/{reference}");
            content.insert(path, (media_type.to_owned(), Bytes::copy_from_slice(bytes)));
        }
        digest
    }

    /// Puts anything under a path.
    pub(crate) fn put_path(&self, path: impl Into<String>, media_type: &str, bytes: &[u8]) {
        let content = (media_type.to_owned(), Bytes::copy_from_slice(bytes));
        self.shared.content.lock().unwrap().insert(path.into(), content);
    }

    /// From now on requests wait, or no longer do.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// From now on what isn't there is "not found" because nobody could be asked.
    pub(crate) fn lose_upstream(&self) {
        *self.shared.upstream_is_down.lock().unwrap() = true;
    }

    /// `METHOD path` of every request so far, less the version checks.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().iter().filter(|line| !line.ends_with("/v2/")).cloned().collect()
    }
}

impl Drop for TestHarbor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    shared.asked.lock().unwrap().push(format!("{} {path}", request.method()));
    let mut held = shared.held.subscribe();
    held.wait_for(|held| !held).await.unwrap();
    if path == "/v2/" {
        return Response::new(Body::from("{}"));
    }
    let found = shared.content.lock().unwrap().get(&path).cloned();
    let Some((media_type, bytes)) = found else {
        let message = match *shared.upstream_is_down.lock().unwrap() {
            true => "repository hub/library/nginx not found",
            false => "resource not found: repo library/nginx, tag  not found",
        };
        let errors = serde_json::json!({"errors": [{"code": "NOT_FOUND", "message": message}]});
        let response = Response::builder().status(StatusCode::NOT_FOUND).header("content-type", "application/json");
        return response.body(Body::from(errors.to_string())).unwrap();
    };
    Response::builder()
        .header("content-type", media_type)
        .header("docker-content-digest", digest_of(&bytes).to_string())
        .body(Body::from(bytes))
        .unwrap()
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// An index of manifests by architecture.
pub(crate) fn index(children: &[(&str, Digest)]) -> Vec<u8> {
    let manifests: Vec<_> = children
        .iter()
        .map(|(architecture, digest)| {
            let platform = serde_json::json!({"os": "linux", "architecture": architecture});
            serde_json::json!({"mediaType": MANIFEST, "digest": digest, "size": 7, "platform": platform})
        })
        .collect();
    serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes()
}

/// A manifest with these layers; its config has as many bytes as a digest's text.
pub(crate) fn manifest(layers: &[(Digest, u64)]) -> Vec<u8> {
    let layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers: Vec<_> = layers
        .iter()
        .map(|(digest, size)| serde_json::json!({"mediaType": layer_type, "digest": digest, "size": size}))
        .collect();
    let config_type = "application/vnd.oci.image.config.v1+json";
    let config = serde_json::json!({"mediaType": config_type, "digest": Digest::from_bytes([1; 32]), "size": 71});
    serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
        .to_string()
        .into_bytes()
}

/// Everything behind the ports, with one Harbor called `main`.
pub(crate) struct Behind {
    pub(crate) harbor: TestHarbor,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) harbors: Arc<Harbors>,
    pub(crate) backlogs: Arc<Backlogs>,
    pub(crate) store: Store,
    pub(crate) front: Arc<Front>,
    pub(crate) intake: Arc<Intake>,
    directory: TempDir,
}

impl Behind {
    /// With more lines of configuration.
    pub(crate) async fn start(yaml: &str) -> Self {
        let harbor = TestHarbor::start().await;
        let directory = tempfile::tempdir().unwrap();
        let yaml = format!(
            "dataDir: {}\n\
             harbors:\n  main:\n    url: {}\n    credentials: anonymous\n    projects:\n      \
             hub: {{}}\n      quay: {{resolveThrough: quay-resolve}}\n      quay-resolve: {{}}\n\
             rules:\n  - {{prefix: docker.io/, harbor: main, project: hub}}\n\
             platforms: [linux/amd64]\n\
             {yaml}",
            directory.path().join("queue").display(),
            harbor.url
        );
        let parsed = config::document::parse(&yaml, directory.path());
        let config = Arc::new(parsed.unwrap_or_else(|mistakes| panic!("{mistakes:#?}\nin\n{yaml}")));
        let metrics = Arc::new(Metrics::new());
        let harbors = Arc::new(Harbors::new(&config, &metrics).unwrap());
        let store =
            Store::open(&config.data_dir, config.store_options(Arc::new(config.projects())), crate::clock::now())
                .unwrap();
        let backlogs = Arc::new(Backlogs::new(&config));
        let front =
            Front::new(&config.front, Arc::clone(&harbors), Arc::clone(&backlogs), store.clone(), Arc::clone(&metrics));
        let intake = Intake::new(&config, Arc::clone(&harbors), store.clone(), Arc::clone(&metrics));
        let (front, intake) = (Arc::new(front), Arc::new(intake));
        Self { harbor, config, metrics, harbors, backlogs, store, front, intake, directory }
    }

    /// With another configuration of the ports; what stands behind them stays.
    pub(crate) fn reconfigured(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = (*self.config).clone();
        change(&mut config);
        self.config = Arc::new(config);
        self
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

/// `main/<project>/library/nginx`.
pub(crate) fn image(project: &str) -> HarborImage {
    HarborImage {
        harbor: "main".parse().unwrap(),
        project: project.parse().unwrap(),
        repository: "library/nginx".parse().unwrap(),
    }
}

/// An announcement of `main/hub/library/nginx`.
pub(crate) fn announcement(tag: &str) -> HandOff {
    HandOff {
        image: image("hub"),
        target: None::<TargetName>,
        platforms: Platforms::new(["linux/amd64".parse().unwrap()]).unwrap(),
        subject: Subject::Tag(tag.parse().unwrap()),
    }
}
