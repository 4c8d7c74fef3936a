//! The registry port as any OCI client sees it: a valid registry as far as it goes, whatever it is sent.

use std::process::Stdio;
use std::time::Duration;

use harbor_warmer_protocol::{EMPTY_CONFIG, ImageState, Receipt, Subject};
use harbor_warmer_simulator::{Fault, FaultAction, PushedImage};
use http::{Method, StatusCode};
use oci_spec::image::{ImageManifest, MediaType};
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::site::{PATIENCE, Site, two_platforms};

const AMD64: &str = "linux/amd64";
const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Set where every tool that a test may use has to be there.
const REQUIRE_TOOLS: &str = "HARBOR_WARMER_REQUIRE_REGISTRY";

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn ask(site: &Site, method: Method, path: &str) -> Answer {
    let url = format!("http://{}{path}", site.service.registry_address);
    let response = site.http.request(method, url).send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

fn front(reference: &str) -> String {
    format!("/v2/v1/harbor/main/hub/library/app/manifests/{reference}")
}

fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn push(site: &Site) -> PushedImage {
    site.harbor.upstream().push(two_platforms("library/app", "1.0"))
}

fn announcement(site: &Site) -> String {
    site.hand_off_url("library/app", AMD64, Subject::Tag("1.0".parse().unwrap()))
}

/// What the port says to these bytes until it closes the connection.
async fn say(site: &Site, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.service.registry_address).await.unwrap();
    let mut said = Vec::new();
    let talk = async {
        // A port that has heard enough may close before it has read all of it.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut said).await;
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("the connection is closed");
    String::from_utf8_lossy(&said).into_owned()
}

/// Runs a tool; its output, or nothing where it isn't installed.
async fn run(tool: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = match Command::new(tool).args(arguments).stdin(Stdio::null()).output().await {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os(REQUIRE_TOOLS).is_none(), "{tool} is required and can't be run: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_check_is_answered() {
    let site = Site::start().await;
    let answer = ask(&site, Method::GET, "/v2/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    assert_eq!(answer.json(), json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_a_valid_image_manifest_whose_config_can_be_read() {
    let site = Site::start().await;
    let url = announcement(&site);
    let (_, path) = url.split_once("/v2/").unwrap();
    let path = format!("/v2/{path}");
    let answer = ask(&site, Method::GET, &path).await;
    let manifest: ImageManifest = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(manifest.schema_version(), 2);
    assert_eq!(manifest.media_type().as_ref(), Some(&MediaType::ImageManifest));
    assert!(manifest.layers().is_empty());
    assert_eq!(answer.header("content-type"), "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let digest = sha256(&answer.body);
    assert_eq!(answer.header("docker-content-digest"), digest);

    let (name, _) = path.rsplit_once("/manifests/").unwrap();
    let by_digest = ask(&site, Method::GET, &format!("{name}/manifests/{digest}")).await;
    assert_eq!((by_digest.status, &by_digest.body), (StatusCode::OK, &answer.body));
    let config = ask(&site, Method::GET, &format!("{name}/blobs/{}", manifest.config().digest())).await;
    assert_eq!((config.status, config.body.as_slice()), (StatusCode::OK, EMPTY_CONFIG.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_hands_over_and_shows_the_receipt() {
    let site = Site::start().await;
    let Some(shown) = run("curl", &["--noproxy", "*", "-sSf", &announcement(&site)]).await else { return };
    let receipt = Receipt::from_manifest(&shown).unwrap();
    assert_eq!(receipt.state, ImageState::New);
    assert_eq!(site.list().await.images.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_takes_the_port_for_a_registry() {
    let site = Site::start().await;
    let image = push(&site);
    let url = announcement(&site);
    let name = url.strip_prefix("http://").unwrap().replace("/v2/", "/").replace("/manifests/", ":");
    let reference = format!("docker://{name}");
    let inspect = ["inspect", "--raw", "--no-creds", "--tls-verify=false"];
    let Some(shown) = run("skopeo", &[&inspect[..], &[&reference]].concat()).await else { return };
    assert_eq!(Receipt::from_manifest(&shown).unwrap().state, ImageState::New);

    let address = site.service.registry_address;
    let reference = format!("docker://{address}/v1/harbor/main/hub/library/app@{}", image.digest);
    let shown = run("skopeo", &[&inspect[..], &[&reference]].concat()).await.unwrap();
    assert_eq!(sha256(&shown), image.digest.to_string(), "Harbor's own bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn harbors_manifest_is_passed_on_unchanged() {
    let site = Site::start().await;
    let image = push(&site);
    let head = ask(&site, Method::HEAD, &front("1.0")).await;
    assert_eq!((head.status, head.header("docker-content-digest")), (StatusCode::OK, image.digest.as_str()));
    assert_eq!(head.header("content-type"), "application/vnd.oci.image.index.v1+json");
    let index = ask(&site, Method::GET, &front(image.digest.as_str())).await;
    assert_eq!((index.status, sha256(&index.body)), (StatusCode::OK, image.digest.to_string()));
    let child = &image.child(AMD64).digest;
    let manifest = ask(&site, Method::GET, &front(child.as_str())).await;
    assert_eq!((manifest.status, sha256(&manifest.body)), (StatusCode::OK, child.to_string()));
    assert_eq!(manifest.header("docker-content-digest"), child.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_by_tag_never_reaches_harbor() {
    let site = Site::start().await;
    push(&site);
    let answer = ask(&site, Method::GET, &front("1.0")).await;
    assert_eq!(
        (answer.status, &answer.json()["errors"][0]["code"]),
        (StatusCode::NOT_FOUND, &json!("MANIFEST_UNKNOWN"))
    );
    let asked = site.harbor.requests();
    assert!(!asked.iter().any(|request| request.path.starts_with("/v2/")), "{asked:#?}");
}

/// Kubewarden's host repeats a HEAD without a digest as a GET by tag, whatever its status.
#[rstest]
#[case::missing_tag("/v2/v1/harbor/main/hub/library/app/manifests/2.0", 404)]
#[case::unknown_project("/v2/v1/harbor/main/other/library/app/manifests/1.0", 403)]
#[case::outside_of_the_contract("/v2/_catalog", 404)]
#[case::not_a_name("/v2/v1/harbor/main/hub/LIBRARY/app/manifests/1.0", 400)]
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_finds_nothing_has_a_digest_of_zeros(#[case] path: &str, #[case] status: u16) {
    let site = Site::start().await;
    push(&site);
    let answer = ask(&site, Method::HEAD, path).await;
    assert_eq!((answer.status.as_u16(), answer.header("docker-content-digest")), (status, ZEROS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_of_a_hanging_harbor_is_deferred_within_its_wait() {
    let site = Site::start().await;
    push(&site);
    site.harbor.inject(Fault::new(FaultAction::Hang));
    let started = tokio::time::Instant::now();
    let answer = ask(&site, Method::HEAD, &front("1.0")).await;
    assert_eq!((answer.status.as_u16(), answer.header("docker-content-digest")), (503, ZEROS));
    let patience = Duration::from_secs(5);
    assert!(started.elapsed() < patience, "{:?}", started.elapsed());
}

#[rstest]
#[case::unknown_digest(
    "/v2/v1/tag/none/linux-amd64/main/hub/library/app/manifests/sha256:00000000000000000000000000000000000000000000000000000000000000aa",
    404,
    "MANIFEST_UNKNOWN"
)]
#[case::blob(
    "/v2/v1/harbor/main/hub/library/app/blobs/sha256:00000000000000000000000000000000000000000000000000000000000000aa",
    404,
    "BLOB_UNKNOWN"
)]
#[case::project(
    "/v2/v1/harbor/main/other/library/app/manifests/sha256:00000000000000000000000000000000000000000000000000000000000000aa",
    403,
    "DENIED"
)]
#[case::version("/v2/v9/tag/none/linux-amd64/main/hub/library/app/manifests/1.0", 404, "NAME_INVALID")]
#[case::platform("/v2/v1/tag/none/linux/main/hub/library/app/manifests/1.0", 400, "NAME_INVALID")]
#[case::catalog("/v2/_catalog", 404, "UNSUPPORTED")]
#[case::elsewhere("/api/v2.0/projects", 404, "UNSUPPORTED")]
#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_the_distribution_specs(#[case] path: &str, #[case] status: u16, #[case] code: &str) {
    let site = Site::start().await;
    let answer = ask(&site, Method::GET, path).await;
    let said = answer.json();
    assert_eq!((answer.status.as_u16(), said["errors"][0]["code"].as_str()), (status, Some(code)), "{said:#}");
    assert!(said["errors"][0]["message"].as_str().is_some_and(|message| !message.is_empty()), "{said:#}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(site.list().await.images.is_empty());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_pushed_or_deleted(#[values("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")] method: &str) {
    let site = Site::start().await;
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let answer = ask(&site, method, &front("1.0")).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), "GET, HEAD");
    assert_eq!(answer.json()["errors"][0]["code"], "UNSUPPORTED");
}

#[rstest]
#[case::garbage("\u{0}\u{1}\u{2}\r\n\r\n".to_owned())]
#[case::tls_to_a_plain_port("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n".to_owned())]
#[case::no_http("HELLO\r\n\r\n".to_owned())]
#[case::a_version_to_come("GET /v2/ HTTP/9.9\r\n\r\n".to_owned())]
#[case::oversized_header(format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20)))]
#[case::oversized_path(format!("GET /v2/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "x".repeat(1 << 20)))]
#[case::too_many_headers(format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(10_000)))]
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_harm_nobody(#[case] bytes: String) {
    let site = Site::start().await;
    let said = say(&site, bytes.as_bytes()).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    assert_eq!(ask(&site, Method::GET, "/v2/").await.status, 200);
    assert!(site.list().await.images.is_empty());
}
