//! The admin port as the command line and Prometheus see it.

use std::net::SocketAddr;
use std::sync::Arc;

use harbor_warmer_protocol::{Digest, ImageState, TagOrDigest};
use http::{Method, StatusCode};
use rstest::rstest;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Access, AdminState, Entrance, ErrorBody, Probed, Token, serve, serve_probes};
use crate::clock;
use crate::plan::Planner;
use crate::registry_port::{Listening, RegistryPort};
use crate::service::heartbeat::Heartbeat;
use crate::test_harbor::{Behind, INDEX, MANIFEST, announcement, image, index, manifest};
use harbor_warmer_core::view::plan::{PlanResponse, PlanState};
use harbor_warmer_core::view::{ImageList, ImageView, WarmResponse};

struct Served {
    behind: Behind,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    planning: Arc<Semaphore>,
    probed: Probed,
}

impl Served {
    async fn start() -> Self {
        Self::start_beside(Behind::start("").await, Listening::default()).await
    }

    async fn start_beside(behind: Behind, registry: Listening) -> Self {
        let planner = Planner::new(
            Arc::clone(&behind.config),
            Arc::clone(&behind.harbors),
            Arc::clone(&behind.front),
            behind.store.clone(),
        );
        let state =
            AdminState::new(Arc::clone(&behind.config), behind.store.clone(), Arc::clone(&behind.intake), planner);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let heartbeat = Heartbeat::new();
        let probed = Probed {
            store: behind.store.clone(),
            metrics: Arc::clone(&behind.metrics),
            registry,
            heartbeat: heartbeat.clone(),
            shutdown: shutdown.clone(),
        };
        let access = Access::new(Entrance::at(address.ip()), Token::default());
        let planning = Arc::clone(&state.planning);
        let task = tokio::spawn(serve(listener, state, access, probed.clone(), shutdown.clone()));
        Self { behind, address, shutdown, task, planning, probed }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<serde_json::Value>) -> (StatusCode, String) {
        harbor_warmer_harbor::install_crypto_provider();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(method, format!("http://{}{path}", self.address));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, text) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: serde_json::Value) -> T {
        let (status, text) = self.ask(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

fn sentence(text: &str) -> String {
    serde_json::from_str::<ErrorBody>(text).unwrap_or_else(|error| panic!("{error}: {text}")).error
}

#[tokio::test]
async fn it_is_alive_at_once_and_ready_once_the_registry_port_listens() {
    let behind = Behind::start("").await;
    let (intake, front) = (Arc::clone(&behind.intake), Arc::clone(&behind.front));
    let metrics = Arc::clone(&behind.metrics);
    let port = RegistryPort::new(&behind.config.registry, intake, front, metrics, Heartbeat::new()).unwrap();
    let served = Served::start_beside(behind, port.listening()).await;
    assert_eq!(served.ask(Method::GET, "/livez", None).await.0, StatusCode::OK);
    let (status, text) = served.ask(Method::GET, "/readyz", None).await;
    assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "the registry port is not open yet\n"));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry_shutdown = CancellationToken::new();
    let serving = tokio::spawn(port.serve(listener, registry_shutdown.clone()));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while served.ask(Method::GET, "/readyz", None).await.0 != StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline, "it becomes ready");
    }
    registry_shutdown.cancel();
    serving.await.unwrap();
    assert_eq!(served.ask(Method::GET, "/readyz", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn probes_and_metrics_have_a_port_of_their_own_that_idle_connections_do_not_fill() {
    let served = Served::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probes = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve_probes(listener, served.probed.clone(), served.shutdown.clone()));
    let mut idle = Vec::new();
    for address in [served.address, probes] {
        for _ in 0..140 {
            idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
    }
    for address in [served.address, probes] {
        let answered = tokio::time::timeout(std::time::Duration::from_secs(10), async {
            reqwest::get(format!("http://{address}/livez")).await.unwrap().status()
        });
        assert_eq!(answered.await.expect("nobody waits for idle connections"), StatusCode::OK);
    }
    let images = reqwest::get(format!("http://{probes}/api/v1/images")).await.unwrap();
    assert_eq!(images.status(), StatusCode::NOT_FOUND, "the API is elsewhere");
    served.shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_foreign_page_neither_reads_nor_acts() {
    let served = Served::start().await;
    let id = served.post::<WarmResponse>("/api/v1/warm", serde_json::json!({"images": ["nginx:1"]})).await.images[0]
        .id
        .clone()
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let requeue = format!("http://{}/api/v1/images/{id}/requeue", served.address);
    let list = format!("http://{}/api/v1/images", served.address);
    for (request, status) in [
        (client.post(&requeue).header("content-type", "text/plain").body("x"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (client.post(&requeue).header("origin", "https://evil.example"), StatusCode::FORBIDDEN),
        (client.post(&requeue).header("host", "evil.example"), StatusCode::FORBIDDEN),
        (client.get(&list).header("host", "evil.example"), StatusCode::FORBIDDEN),
        (client.get(&list).header("sec-fetch-site", "cross-site"), StatusCode::FORBIDDEN),
        (client.get(&list), StatusCode::OK),
        (client.post(&requeue), StatusCode::NO_CONTENT),
    ] {
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn plans_are_few_at_once() {
    let served = Served::start().await;
    let _others = served.planning.acquire_many(2).await.unwrap();
    let body = serde_json::json!({"images": ["nginx:1.27"]});
    let (status, text) = served.ask(Method::POST, "/api/v1/plan", Some(body)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(sentence(&text).contains("try again"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_heart_stands_still_is_not_alive() {
    let served = Served::start().await;
    let livez = async || served.ask(Method::GET, "/livez", None).await;
    assert_eq!(livez().await.0, StatusCode::OK);
    tokio::time::advance(std::time::Duration::from_secs(20)).await;
    let (status, text) = livez().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("has not turned for"), "{text}");
    served.probed.heartbeat.beat();
    assert_eq!(livez().await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_shutdown_closes_the_port() {
    let served = Served::start().await;
    assert_eq!(served.ask(Method::GET, "/livez", None).await.0, StatusCode::OK);
    served.shutdown.cancel();
    served.task.await.unwrap();
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn metrics_come_as_open_metrics() {
    let served = Served::start().await;
    let response = reqwest::get(format!("http://{}/metrics", served.address)).await.unwrap();
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(response.text().await.unwrap().ends_with("# EOF\n"));
}

#[tokio::test]
async fn images_are_handed_over_by_hand_listed_found_and_requeued() {
    let served = Served::start().await;
    let images = serde_json::json!({"images": ["nginx:1.27", "ghcr.io/acme/app", "Not An Image"]});
    let warmed: WarmResponse = served.post("/api/v1/warm", images).await;
    let states: Vec<_> = warmed.images.iter().map(|entry| entry.state).collect();
    assert_eq!(states, [ImageState::New, ImageState::Refused, ImageState::Refused]);
    assert!(warmed.images[1].reason.as_deref().unwrap().starts_with("no rule matches it"));
    let id = warmed.images[0].id.clone().unwrap();

    let list: ImageList = served.get("/api/v1/images?phase=announced&query=nginx&limit=5").await;
    assert_eq!(list.images.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    let none: ImageList = served.get("/api/v1/images?query=redis").await;
    assert_eq!(none.images, []);
    let view: ImageView = served.get(&format!("/api/v1/images/{id}")).await;
    assert_eq!(view.wants[0].cluster, "command-line");
    let found: ImageView = served.get("/api/v1/find?image=main/hub/library/nginx:1.27").await;
    assert_eq!(found.summary.id, id);
    let (status, _) = served.ask(Method::POST, &format!("/api/v1/images/{id}/requeue"), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[rstest]
#[case(Method::GET, "/nowhere", StatusCode::NOT_FOUND, "there is nothing here")]
#[case(Method::DELETE, "/api/v1/images", StatusCode::METHOD_NOT_ALLOWED, "this path takes another method")]
#[case(Method::GET, "/api/v1/images?phase=boiling", StatusCode::BAD_REQUEST, "Failed to deserialize query string")]
#[case(Method::GET, "/api/v1/images?page=2", StatusCode::BAD_REQUEST, "Failed to deserialize query string")]
#[case(Method::GET, "/api/v1/images/none", StatusCode::NOT_FOUND, "there is no image with the id `none`")]
#[case(Method::POST, "/api/v1/images/none/requeue", StatusCode::NOT_FOUND, "there is no image with the id `none`")]
#[case(
    Method::GET,
    "/api/v1/find?image=nginx",
    StatusCode::BAD_REQUEST,
    "write the image as harbor/project/repository"
)]
#[case(Method::GET, "/api/v1/find?image=main/hub/a:1", StatusCode::NOT_FOUND, "nobody has asked for main/hub/a:1")]
#[case(Method::POST, "/api/v1/warm", StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON")]
#[tokio::test]
async fn errors_are_sentences_in_json(
    #[case] method: Method,
    #[case] path: &str,
    #[case] status: StatusCode,
    #[case] begins: &str,
) {
    let served = Served::start().await;
    let (answered, text) = served.ask(method, path, None).await;
    assert_eq!(answered, status, "{text}");
    assert!(sentence(&text).starts_with(begins), "{text}");
}

#[tokio::test]
async fn bodies_are_bounded_in_bytes_and_images() {
    let served = Served::start().await;
    let large = serde_json::json!({"images": ["x".repeat(1 << 20)]});
    let (status, text) = served.ask(Method::POST, "/api/v1/warm", Some(large)).await;
    assert_eq!((status, sentence(&text).as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "the body may have 1048576 bytes"));
    let many = serde_json::json!({"images": vec!["nginx"; 1001]});
    let (status, text) = served.ask(Method::POST, "/api/v1/warm", Some(many)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(sentence(&text).starts_with("one request may name 1000 images"));
    let (status, text) = served.ask(Method::POST, "/api/v1/plan", Some(serde_json::json!({"image": "x"}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(sentence(&text).starts_with("the body: unknown field `image`"), "{text}");
}

/// An image of two platforms with one layer for each, and one layer in both.
fn put_image(behind: &Behind) -> [Digest; 3] {
    let layer = |byte| Digest::from_bytes([byte; 32]);
    let repository = "hub/library/nginx";
    let amd64 = manifest(&[(layer(2), 1000), (layer(9), 50)]);
    let arm64 = manifest(&[(layer(3), 2000), (layer(9), 50)]);
    let amd64 = behind.harbor.put(repository, &[], MANIFEST, &amd64);
    let arm64 = behind.harbor.put(repository, &[], MANIFEST, &arm64);
    let root = behind.harbor.put(repository, &["1.27"], INDEX, &index(&[("amd64", amd64), ("arm64", arm64)]));
    [root, amd64, arm64]
}

fn record(behind: &Behind, digest: Digest) {
    let path = format!("/api/v2.0/projects/hub/repositories/library%252Fnginx/artifacts/{digest}");
    let artifact = serde_json::json!({"digest": digest, "tags": [], "references": null});
    behind.harbor.put_path(path, "application/json", artifact.to_string().as_bytes());
}

fn put_blob(behind: &Behind, byte: u8) {
    let path = format!("/v2/hub/library/nginx/blobs/{}", Digest::from_bytes([byte; 32]));
    let size = match byte {
        1 => 71,
        2 => 1000,
        _ => 50,
    };
    behind.harbor.put_path(path, "application/octet-stream", &vec![b'x'; size]);
}

#[tokio::test]
async fn a_plan_reads_no_manifest_that_harbor_would_then_fetch() {
    let served = Served::start().await;
    put_image(&served.behind);
    let plan: PlanResponse = served.post("/api/v1/plan", serde_json::json!({"images": ["nginx:1.27"]})).await;
    assert_eq!(plan.images[0].state, PlanState::Unknown);
    assert_eq!(plan.images[0].place.as_deref(), Some("main/hub/library/nginx"));
    let gets: Vec<_> = served.behind.harbor.asked().into_iter().filter(|line| line.contains("/manifests/")).collect();
    assert_eq!(gets, ["HEAD /v2/hub/library/nginx/manifests/1.27"]);
}

#[tokio::test]
async fn a_plan_of_what_harbor_recorded_tells_the_blobs_that_are_missing() {
    let served = Served::start().await;
    let [root, amd64, _] = put_image(&served.behind);
    record(&served.behind, root);
    record(&served.behind, amd64);
    for byte in [1, 9] {
        put_blob(&served.behind, byte);
    }
    let images = serde_json::json!({"images": ["nginx:1.27", "docker.io/library/nginx:1.27", "ghcr.io/a/b"]});
    let plan: PlanResponse = served.post("/api/v1/plan", images).await;
    let entry = &plan.images[0];
    assert_eq!((entry.state, entry.root, &entry.reason), (PlanState::Missing, Some(root), &None));
    assert_eq!((entry.blobs.len(), entry.bytes_total, entry.bytes_missing), (3, 1121, 1000));
    assert_eq!(plan.images[2].state, PlanState::Refused);
    assert_eq!((plan.blobs_missing, plan.bytes_missing), (1, 1000), "the same blob twice is one transfer");

    put_blob(&served.behind, 2);
    let plan: PlanResponse = served.post("/api/v1/plan", serde_json::json!({"images": ["nginx:1.27"]})).await;
    assert_eq!((plan.images[0].state, plan.bytes_missing), (PlanState::Complete, 0));
}

#[tokio::test]
async fn a_plan_that_may_read_manifests_does() {
    let served = Served::start().await;
    put_image(&served.behind);
    served.behind.store.hand_off(announcement("1.27"), "east", None, clock::now()).await.unwrap();
    let request = serde_json::json!({"images": ["nginx:1.27"], "readManifests": true});
    let plan: PlanResponse = served.post("/api/v1/plan", request).await;
    assert_eq!((plan.images[0].state, plan.bytes_missing), (PlanState::Missing, 1121));
    let reference = TagOrDigest::Tag("1.27".parse().unwrap());
    assert!(served.behind.store.find(&image("hub"), &reference, clock::now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_plan_without_the_wanted_platform_says_so() {
    let served = Served::start().await;
    let child = served.behind.harbor.put("hub/library/nginx", &[], MANIFEST, &manifest(&[]));
    served.behind.harbor.put("hub/library/nginx", &["1"], INDEX, &index(&[("s390x", child)]));
    let request = serde_json::json!({"images": ["nginx:1"], "readManifests": true});
    let plan: PlanResponse = served.post("/api/v1/plan", request).await;
    assert_eq!(plan.images[0].reason.as_deref(), Some("the image has none of the platforms linux-amd64"));
}

/// As [`Served::start`], with a rule that names a target.
async fn replicating() -> Served {
    let rules = serde_json::json!([{"prefix": "docker.io/", "harbor": "main", "project": "hub", "target": "prod"}]);
    let rules = harbor_warmer_workload::RuleSet::from_value(&rules).unwrap();
    let behind = Behind::start("").await.reconfigured(|config| config.rules = rules);
    Served::start_beside(behind, Listening::default()).await
}

#[tokio::test]
async fn a_plan_for_a_target_counts_every_platform_of_the_index() {
    let served = replicating().await;
    let recorded = put_image(&served.behind);
    for digest in recorded {
        record(&served.behind, digest);
    }
    put_blob(&served.behind, 1);
    let images = serde_json::json!({"images": ["nginx:1.27", "docker.io/library/nginx:1.27"]});
    let plan: PlanResponse = served.post("/api/v1/plan", images).await;
    let entry = &plan.images[0];
    assert_eq!((entry.bytes_total, entry.bytes_missing), (1121, 1050), "of the wanted platform");
    let replication = entry.replication.as_ref().unwrap();
    assert_eq!((replication.target.as_str(), replication.manifests, replication.manifests_unknown), ("prod", 2, 0));
    assert!(replication.bytes_total > entry.bytes_total, "{replication:?}");
    assert_eq!(replication.bytes_missing, replication.bytes_total - 71);
    let sums = (plan.bytes_replicated, plan.bytes_replicated_missing);
    assert_eq!(sums, (replication.bytes_total, replication.bytes_missing), "the same image twice is copied once");
}

#[tokio::test]
async fn a_plan_for_a_target_says_how_many_platforms_it_can_not_tell_the_bytes_of() {
    let served = replicating().await;
    let [root, amd64, _] = put_image(&served.behind);
    record(&served.behind, root);
    record(&served.behind, amd64);
    let plan: PlanResponse = served.post("/api/v1/plan", serde_json::json!({"images": ["nginx:1.27"]})).await;
    let entry = &plan.images[0];
    assert_eq!(entry.state, PlanState::Missing);
    let replication = entry.replication.as_ref().unwrap();
    assert_eq!((replication.manifests, replication.manifests_unknown, replication.bytes_total), (2, 1, 1121));
}

#[tokio::test]
async fn a_plan_for_a_target_whose_index_can_not_be_read_tells_no_platforms() {
    let served = replicating().await;
    put_image(&served.behind);
    let plan: PlanResponse = served.post("/api/v1/plan", serde_json::json!({"images": ["nginx:1.27"]})).await;
    let entry = &plan.images[0];
    assert_eq!(entry.state, PlanState::Unknown);
    assert_eq!(entry.replication.as_ref().unwrap().manifests, 0);
}
