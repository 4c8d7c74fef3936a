//! The port as its clients see it: over sockets.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_protocol::{Digest, HandOff, ImageState, Lookup, Receipt, RegistryRequest, TagOrDigest};
use http::{Method, StatusCode};
use rstest::rstest;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::RegistryPort;
use crate::clock;
use crate::config::{ClusterCredential, TlsFiles};
use crate::metrics::Metrics;
use crate::service::heartbeat::Heartbeat;
use crate::test_harbor::{Behind, INDEX, announcement, digest_of, image, index};
use harbor_warmer_harbor::Secret;
use harbor_warmer_harbor::install_crypto_provider;

const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A port that serves.
struct Served {
    behind: Behind,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(yaml: &str) -> Self {
        Self::start_behind(Behind::start(yaml).await).await
    }

    async fn start_behind(behind: Behind) -> Self {
        let (intake, front) = (Arc::clone(&behind.intake), Arc::clone(&behind.front));
        let metrics = Arc::clone(&behind.metrics);
        let mut port = RegistryPort::new(&behind.config.registry, intake, front, metrics, Heartbeat::new()).unwrap();
        port.reload_every = Duration::from_millis(5);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(port.serve(listener, shutdown.clone()));
        Self { behind, address, shutdown, task }
    }

    async fn ask(&self, method: Method, path: &str) -> Answered {
        let url = format!("http://{}{path}", self.address);
        Answered::read(client().request(method, url).send().await.unwrap()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection that has asked for something, and has nothing more to ask. Its answer's headers are left unread.
    async fn greeted(&self) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(first_line(&mut stream).await, "HTTP/1.1 200 OK");
        let mut rest = Vec::new();
        while !rest.ends_with(b"{}") {
            rest.push(stream.read_u8().await.unwrap());
        }
        stream
    }

    /// Failures by reason.
    fn all_failures(&self) -> std::collections::BTreeMap<String, u64> {
        let text = self.behind.metrics.to_text();
        let lines =
            text.lines().filter_map(|line| line.strip_prefix("harbor_warmer_hand_off_failures_total{reason=\""));
        lines
            .map(|line| {
                let (reason, count) = line.split_once("\"} ").unwrap();
                (reason.to_owned(), count.parse().unwrap())
            })
            .collect()
    }

    fn failures(&self, reason: &str) -> u64 {
        self.all_failures()[reason]
    }

    /// What the port says to these bytes until it closes the connection.
    async fn say(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        until_closed(&mut stream).await
    }
}

struct Answered {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> String {
        let errors: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        errors["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    fn receipt(&self) -> Receipt {
        assert_eq!(self.status, StatusCode::OK);
        Receipt::from_manifest(&self.body).unwrap()
    }
}

fn client() -> reqwest::Client {
    install_crypto_provider();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn path(hand_off: &HandOff) -> String {
    let (name, tag) = hand_off.to_name().unwrap();
    format!("/v2/{name}/manifests/{tag}")
}

fn front_path(reference: &str) -> String {
    format!("/v2/{}/manifests/{reference}", RegistryRequest::front_name(&image("hub")).unwrap())
}

/// A reset ends a connection as well as anything.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(1..) = stream.read(&mut buffer).await.inspect(|read| said.extend(&buffer[..*read])) {}
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the connection is closed");
    said
}

#[tokio::test]
async fn a_hand_off_is_in_the_queue_once_it_is_answered() {
    let served = Served::start("").await;
    let answered = served.ask(Method::GET, &path(&announcement("1.27"))).await;
    let receipt = answered.receipt();
    assert_eq!((receipt.state, receipt.lookup), (ImageState::New, Lookup::Yes));
    assert_eq!(answered.header("content-type"), "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(answered.header("docker-content-digest"), digest_of(&answered.body).to_string());
    assert_eq!(answered.header("docker-distribution-api-version"), "registry/2.0");
    let reference = TagOrDigest::Tag("1.27".parse().unwrap());
    let view = served.behind.store.find(&image("hub"), &reference, clock::now()).await.unwrap().unwrap();
    assert_eq!(Some(view.summary.id), receipt.image);
    assert_eq!(view.wants[0].cluster, "anonymous");
}

#[tokio::test]
async fn a_receipt_says_look_up_only_where_a_look_up_is_welcome() {
    let served = Served::start("front: {wait: 0ms, budget: 0ms}").await;
    let receipt = served.ask(Method::GET, &path(&announcement("1.27"))).await.receipt();
    assert_eq!((receipt.state, receipt.lookup), (ImageState::New, Lookup::No));
}

#[tokio::test]
async fn a_curious_head_hands_nothing_over() {
    let served = Served::start("").await;
    let answered = served.ask(Method::HEAD, &path(&announcement("1.27"))).await;
    assert_eq!(answered.status, StatusCode::OK);
    let digest = answered.header("docker-content-digest").to_owned();
    let reference = TagOrDigest::Tag("1.27".parse().unwrap());
    assert_eq!(served.behind.store.find(&image("hub"), &reference, clock::now()).await.unwrap(), None);

    let (name, _) = announcement("1.27").to_name().unwrap();
    let fetched = served.ask(Method::GET, &format!("/v2/{name}/manifests/{digest}")).await;
    assert_eq!(digest_of(&fetched.body).to_string(), digest);
    assert_eq!(fetched.receipt().state, ImageState::New);
}

#[tokio::test]
async fn what_is_not_configured_is_refused_by_a_receipt_that_says_what_to_change() {
    let served = Served::start("").await;
    let elsewhere = HandOff { image: image("private"), ..announcement("1") };
    let receipt = served.ask(Method::GET, &path(&elsewhere)).await.receipt();
    assert_eq!((receipt.state, receipt.lookup, receipt.image), (ImageState::Refused, Lookup::No, None));
    assert!(receipt.reason.unwrap().contains("project `private` of `main` is not configured"));
    let elsewhere = HandOff { target: Some("ecr".parse().unwrap()), ..announcement("1") };
    let receipt = served.ask(Method::GET, &path(&elsewhere)).await.receipt();
    assert_eq!(receipt.reason.unwrap(), "no target `ecr` is configured; add it to `targets` or mend the rule");
}

#[tokio::test]
async fn the_empty_config_of_a_receipt_can_be_fetched_and_nothing_else() {
    let served = Served::start("").await;
    let (name, _) = announcement("1").to_name().unwrap();
    let blob = |digest: &str| format!("/v2/{name}/blobs/{digest}");
    let config = served.ask(Method::GET, &blob(harbor_warmer_protocol::EMPTY_CONFIG_DIGEST)).await;
    assert_eq!((config.status, config.body.as_slice()), (StatusCode::OK, b"{}".as_slice()));
    let head = served.ask(Method::HEAD, &blob(harbor_warmer_protocol::EMPTY_CONFIG_DIGEST)).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "2"));
    let other = served.ask(Method::GET, &blob(ZEROS)).await;
    assert_eq!((other.status, other.code().as_str()), (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"));
}

#[tokio::test]
async fn the_front_relays_heads_and_gets_by_digest_and_no_get_by_tag() {
    let served = Served::start("front: {wait: 10s, budget: 20s, budgetWindow: 30s}").await;
    let bytes = index(&[]);
    let digest = served.behind.harbor.put("hub/library/nginx", &["1"], INDEX, &bytes);
    let head = served.ask(Method::HEAD, &front_path("1")).await;
    assert_eq!((head.status, head.header("docker-content-digest")), (StatusCode::OK, digest.to_string().as_str()));
    assert_eq!(head.header("content-type"), INDEX);
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    let get = served.ask(Method::GET, &front_path(&digest.to_string())).await;
    assert_eq!((get.body.as_slice(), get.header("content-type")), (bytes.as_slice(), INDEX));
    let by_tag = served.ask(Method::GET, &front_path("1")).await;
    assert_eq!((by_tag.status, by_tag.code().as_str()), (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"));
    assert!(!served.behind.harbor.asked().iter().any(|line| line == "GET /v2/hub/library/nginx/manifests/1"));
}

#[tokio::test]
async fn a_missing_tag_is_404_and_a_silent_upstream_is_503_and_both_heads_have_a_digest() {
    let served = Served::start("front: {wait: 10s, budget: 20s, budgetWindow: 30s}").await;
    let missing = served.ask(Method::HEAD, &front_path("1")).await;
    assert_eq!((missing.status, missing.header("docker-content-digest")), (StatusCode::NOT_FOUND, ZEROS));
    served.behind.harbor.lose_upstream();
    let silent = served.ask(Method::HEAD, &front_path("2")).await;
    assert_eq!((silent.status, silent.header("docker-content-digest")), (StatusCode::SERVICE_UNAVAILABLE, ZEROS));
    let unknown = Digest::from_bytes([9; 32]);
    let get = served.ask(Method::GET, &front_path(&unknown.to_string())).await;
    assert_eq!((get.status, get.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
}

#[rstest]
#[case(Method::PUT, "/v2/", StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED")]
#[case(
    Method::POST,
    "/v2/v1/harbor/main/hub/library/nginx/blobs/uploads/",
    StatusCode::METHOD_NOT_ALLOWED,
    "UNSUPPORTED"
)]
#[case(Method::GET, "/v2/_catalog", StatusCode::NOT_FOUND, "UNSUPPORTED")]
#[case(Method::GET, "/v2/v1/harbor/main/hub/library/nginx/tags/list", StatusCode::NOT_FOUND, "UNSUPPORTED")]
#[case(Method::GET, "/v2/v1/harbor/main/private/library/nginx/manifests/1", StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")]
#[case(Method::GET, &format!("/v2/v1/harbor/main/private/library/nginx/manifests/{ZEROS}"), StatusCode::FORBIDDEN, "DENIED")]
#[case(Method::GET, "/v2/v1/harbor/main/hub/a%2fb/manifests/1", StatusCode::BAD_REQUEST, "NAME_INVALID")]
#[tokio::test]
async fn what_the_registry_does_not_do_is_said_in_the_specs_words(
    #[case] method: Method,
    #[case] path: &str,
    #[case] status: StatusCode,
    #[case] code: &str,
) {
    let served = Served::start("").await;
    let answered = served.ask(method, path).await;
    assert_eq!((answered.status, answered.code().as_str()), (status, code));
    let allow = if status == StatusCode::METHOD_NOT_ALLOWED { "GET, HEAD" } else { "" };
    assert_eq!(answered.header("allow"), allow);
}

#[tokio::test]
async fn clusters_are_told_apart_by_their_credentials_and_passwords_can_change() {
    let behind = Behind::start("").await;
    let password = behind.directory().join("east");
    fs::write(&password, "sesame").unwrap();
    let secret = Secret::File(password.clone());
    let credential = ClusterCredential { cluster: "east".to_owned(), password: secret };
    let behind = behind.reconfigured(|config| config.registry.credentials = vec![credential]);
    let served = Served::start_behind(behind).await;
    let url = |path: &str| format!("http://{}{path}", served.address);
    let ask = async |path: &str, password: &str| {
        let request = client().get(url(path)).basic_auth("east", Some(password));
        Answered::read(request.send().await.unwrap()).await
    };

    for (method, path) in [(Method::GET, "/v2/".to_owned()), (Method::HEAD, path(&announcement("1")))] {
        let challenged = served.ask(method.clone(), &path).await;
        assert_eq!(challenged.status, StatusCode::UNAUTHORIZED);
        assert_eq!(challenged.header("www-authenticate"), "Basic realm=\"harbor-warmer\"");
        let digest = if method == Method::HEAD { ZEROS } else { "" };
        assert_eq!(challenged.header("docker-content-digest"), digest);
    }
    assert_eq!(ask("/v2/", "other").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("/v2/", "sesame").await.body, b"{}");
    let receipt = ask(&path(&announcement("1")), "sesame").await.receipt();
    let view = served.behind.store.view(&receipt.image.unwrap(), clock::now()).await.unwrap().unwrap();
    assert_eq!(view.wants[0].cluster, "east");

    fs::write(&password, "open").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask("/v2/", "open").await.status != StatusCode::OK {
        assert!(Instant::now() < deadline, "the new password is good");
    }
    assert_eq!(ask("/v2/", "sesame").await.status, StatusCode::UNAUTHORIZED);
}

#[rstest]
#[case::garbage(b"\x00\xff\xfe garbage\r\n\r\n".as_slice())]
#[case::tls_client_hello(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice())]
#[case::http2(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice())]
#[case::nothing_but_line_breaks(b"\r\n\r\n\r\nGET\r\n\r\n".as_slice())]
#[tokio::test]
async fn garbage_ends_its_own_connection_only(#[case] bytes: &[u8]) {
    let served = Served::start("").await;
    let said = served.say(bytes).await;
    assert!(!said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
    assert_eq!(served.ask(Method::GET, "/v2/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn headers_beyond_8_kib_and_bodies_are_refused() {
    let served = Served::start("").await;
    let long = format!("GET /v2/ HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(9000));
    assert!(served.say(long.as_bytes()).await.starts_with(b"HTTP/1.1 431"));
    let body = served.say(b"GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").await;
    assert!(body.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&body));
}

#[rstest]
#[case::a_request_never_finished(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n".as_slice())]
#[case::no_request_at_all(b"".as_slice())]
#[case::no_second_request(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n".as_slice())]
#[tokio::test]
async fn a_client_that_is_too_slow_is_cut_off(#[case] bytes: &[u8]) {
    let behind = Behind::start("").await;
    let behind = behind.reconfigured(|config| config.registry.client_timeout = Duration::from_millis(50));
    let served = Served::start_behind(behind).await;
    served.say(bytes).await;
}

#[tokio::test]
async fn with_every_place_taken_the_connection_that_is_idle_longest_goes() {
    let served = Served::start("registry: {maxConnections: 2}").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(served.greeted().await);
    }
    assert_eq!(connections(&served.behind.metrics), 2);
    let _newcomer = served.greeted().await;
    until_closed(&mut held[0]).await;
    assert_eq!(served.failures("crowded"), 1);
    held[1].write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(first_line(&mut held[1]).await, "HTTP/1.1 200 OK", "the other stays");
}

#[tokio::test]
async fn with_everybody_being_answered_a_newcomer_waits_for_its_turn() {
    let yaml = "registry: {maxConnections: 1}\nfront: {wait: 10s, budget: 20s, budgetWindow: 30s}";
    let served = Served::start(yaml).await;
    served.behind.harbor.put("hub/library/nginx", &["1"], INDEX, &index(&[]));
    served.behind.harbor.hold(true);
    let mut busy = served.connect().await;
    busy.write_all(format!("HEAD {} HTTP/1.1\r\nhost: x\r\n\r\n", front_path("1")).as_bytes()).await.unwrap();
    let asked = || !served.behind.harbor.asked().is_empty();
    eventually("the look-up arrives", asked).await;
    let mut waiting = served.connect().await;
    waiting.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), first_line(&mut waiting)).await;
    assert!(early.is_err(), "it is not served beyond the limit");
    served.behind.harbor.hold(false);
    assert_eq!(first_line(&mut busy).await, "HTTP/1.1 200 OK", "nobody is cut while he is answered");
    assert_eq!(first_line(&mut waiting).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn whoever_has_proved_nothing_after_two_seconds_is_cut_however_busy_he_is() {
    let behind = Behind::start("registry: {clientTimeout: 600s}").await;
    let served = Served::start_behind(with_cluster(behind, "east", "sesame")).await;
    let mut stranger = served.connect().await;
    let (mut reading, mut writing) = stranger.split();
    let asking = async {
        while writing.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let closed = async {
        let mut buffer = [0; 4096];
        while let Ok(1..) = reading.read(&mut buffer).await {}
    };
    let cut = async {
        tokio::select! {
            () = asking => {}
            () = closed => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), cut).await.expect("it is cut");
    eventually("it is counted", || served.failures("late") == 1).await;
}

#[tokio::test]
async fn every_hand_off_that_comes_to_nothing_is_counted_by_its_reason() {
    let behind = Behind::start("").await;
    let served = Served::start_behind(with_cluster(behind, "east", "sesame")).await;
    let url = |path: &str| format!("http://{}{path}", served.address);
    let hand_off = path(&announcement("1"));
    let refused = path(&HandOff { image: image("private"), ..announcement("1") });
    let get = |path: &str, user: &str, password: &str| client().get(url(path)).basic_auth(user, Some(password));
    for (request, reason, status) in [
        (client().get(url("/v2/")), "", 401),
        (client().get(url(&hand_off)), "no-credentials", 401),
        (get(&hand_off, "east", "other"), "wrong-password", 401),
        (get(&hand_off, "west", "sesame"), "unknown-user", 401),
        (get("/v2/v9/tag/a/b/c", "east", "sesame"), "outside-the-contract", 404),
        (get(&refused, "east", "sesame"), "refused", 200),
        (get(&hand_off, "east", "sesame"), "", 200),
    ] {
        let before = served.all_failures();
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
        let counted: Vec<_> =
            served.all_failures().into_iter().filter(|(reason, count)| before[reason] != *count).collect();
        let expected = if reason.is_empty() { Vec::new() } else { vec![(reason.to_owned(), 1)] };
        assert_eq!(counted, expected);
    }
}

#[tokio::test]
async fn a_disk_that_takes_too_long_is_counted() {
    let served = Served::start("").await;
    // Another writer holds the queue's file, as a sync that hangs does.
    let file = served.behind.config.data_dir.join("queue.sqlite");
    let other = rusqlite::Connection::open(file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answered = served.ask(Method::GET, &path(&announcement("1"))).await;
    assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(served.failures("too-slow"), 1);
    other.execute_batch("ROLLBACK").unwrap();
}

#[tokio::test]
async fn a_client_that_is_gone_before_its_answer_is_counted() {
    let served = Served::start("front: {wait: 10s, budget: 20s, budgetWindow: 30s}").await;
    served.behind.harbor.hold(true);
    let mut gone = served.connect().await;
    gone.write_all(format!("HEAD {} HTTP/1.1\r\nhost: x\r\n\r\n", front_path("1")).as_bytes()).await.unwrap();
    eventually("the look-up arrives", || !served.behind.harbor.asked().is_empty()).await;
    drop(gone);
    eventually("it is counted", || served.failures("abandoned") == 1).await;
    served.behind.harbor.hold(false);
}

#[tokio::test]
async fn a_head_does_not_tell_what_another_cluster_has_asked_for() {
    let behind = with_cluster(with_cluster(Behind::start("").await, "east", "sesame"), "west", "open");
    let served = Served::start_behind(behind).await;
    let url = format!("http://{}{}", served.address, path(&announcement("1")));
    let ask = async |method: Method, user: &str, password: &str| {
        let request = client().request(method, &url).basic_auth(user, Some(password));
        Answered::read(request.send().await.unwrap()).await
    };
    let unknown = ask(Method::HEAD, "west", "open").await.header("docker-content-digest").to_owned();
    ask(Method::GET, "east", "sesame").await.receipt();
    let of_another = ask(Method::HEAD, "west", "open").await.header("docker-content-digest").to_owned();
    assert_eq!(of_another, unknown, "the receipt's digest tells its state");
    let of_its_own = ask(Method::HEAD, "east", "sesame").await.header("docker-content-digest").to_owned();
    assert_ne!(of_its_own, unknown);
}

/// With one more cluster that may hand over.
fn with_cluster(behind: Behind, cluster: &str, password: &str) -> Behind {
    let file = behind.directory().join(cluster);
    fs::write(&file, password).unwrap();
    let credential = ClusterCredential { cluster: cluster.to_owned(), password: Secret::File(file) };
    behind.reconfigured(|config| config.registry.credentials.push(credential))
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The first line of an answer; what follows is left.
async fn first_line(stream: &mut TcpStream) -> String {
    let mut first = [0; 15];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut first)).await;
    read.expect("it is answered").unwrap();
    String::from_utf8(first.to_vec()).unwrap()
}

fn connections(metrics: &Metrics) -> usize {
    let text = metrics.to_text();
    let line = text.lines().find(|line| line.starts_with("harbor_warmer_registry_connections ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_shutdown_lets_a_request_under_way_end_and_closes_the_rest() {
    let served = Served::start("front: {wait: 10s, budget: 20s, budgetWindow: 30s}").await;
    let digest = served.behind.harbor.put("hub/library/nginx", &["1"], INDEX, &index(&[]));
    let mut idle = served.connect().await;
    idle.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    idle.read_exact(&mut [0; 15]).await.unwrap();
    served.behind.harbor.hold(true);
    let path = front_path("1");
    let mut busy = served.connect().await;
    busy.write_all(format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while served.behind.harbor.asked().is_empty() {
        assert!(Instant::now() < deadline, "the look-up arrives");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    served.shutdown.cancel();
    until_closed(&mut idle).await;
    served.behind.harbor.hold(false);
    let said = String::from_utf8(until_closed(&mut busy).await).unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    assert!(said.contains(&digest.to_string()), "{said}");
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "nothing listens any more");
}

/// A certificate for `localhost` that is its own authority, written where the configuration has it.
fn write_certificate(directory: &std::path::Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
    fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn handshake(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    install_crypto_provider();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

#[tokio::test]
async fn a_replaced_certificate_is_served_without_a_restart() {
    let behind = Behind::start("").await;
    let first = write_certificate(behind.directory());
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| behind.directory().join(name));
    let behind = behind.reconfigured(|config| config.registry.tls = Some(TlsFiles { certificate, key }));
    let served = Served::start_behind(behind).await;

    let mut stream = handshake(served.address, &first).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");

    let second = write_certificate(served.behind.directory());
    let deadline = Instant::now() + Duration::from_secs(20);
    while handshake(served.address, &second).await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is served");
    }
    assert!(handshake(served.address, &first).await.is_err());
    let plain = served.say(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!plain.starts_with(b"HTTP"), "plain HTTP gets an alert: {plain:?}");
    assert!(served.failures("handshake") >= 1, "and is counted, as those who don't trust the certificate are");
    assert!(handshake(served.address, &second).await.is_ok(), "and ends its own connection only");
}
