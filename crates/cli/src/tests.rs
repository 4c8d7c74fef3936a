//! The commands against an admin port that answers what a test wants.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use clap::Parser as _;
use http::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::fixtures::{summary, warming};
use super::{Arguments, CommandError, Exit, Screen, carry_out};
use harbor_warmer_core::view::ImageList;

/// Answers by method and path, several in turn; what it is asked is noted.
struct Service {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answers = Arc<Mutex<Vec<(String, StatusCode, Value)>>>;

impl Service {
    /// The last answer of a request is repeated.
    async fn start(answers: impl IntoIterator<Item = (&'static str, u16, Value)>) -> Self {
        let answers = answers
            .into_iter()
            .map(|(request, status, body)| (request.to_owned(), StatusCode::from_u16(status).unwrap(), body))
            .collect();
        let answers: Answers = Arc::new(Mutex::new(answers));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let router = axum::Router::new().fallback(answer).with_state((answers, Arc::clone(&asked)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, asked, task }
    }

    async fn run(&self, arguments: &[&str]) -> Result<(Exit, String), CommandError> {
        run(&[arguments, &["--admin", &self.address]].concat()).await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State((answers, asked)): State<(Answers, Arc<Mutex<Vec<String>>>)>, request: Request) -> Response {
    let request = format!("{} {}", request.method(), request.uri());
    asked.lock().unwrap().push(request.clone());
    let mut answers = answers.lock().unwrap();
    let matching: Vec<_> =
        answers.iter().enumerate().filter(|(_, (known, ..))| *known == request).map(|(index, _)| index).collect();
    let Some(first) = matching.first() else {
        return (StatusCode::NOT_FOUND, axum::Json(json!({ "error": "there is nothing here" }))).into_response();
    };
    let (_, status, body) = match matching.len() {
        1 => answers[*first].clone(),
        _ => answers.remove(*first),
    };
    (status, axum::Json(body)).into_response()
}

async fn run(arguments: &[&str]) -> Result<(Exit, String), CommandError> {
    let arguments = Arguments::try_parse_from([&["harbor-warmer"], arguments].concat()).unwrap();
    carry_out(&arguments.command, &Screen::default()).await.map(|outcome| (outcome.exit, outcome.text))
}

fn entry(image: &str, id: Option<&str>, state: &str, reason: Option<&str>) -> Value {
    json!({ "image": image, "id": id, "state": state, "reason": reason })
}

fn warm_view() -> Value {
    let mut view = warming();
    view.wants.clear();
    view.summary.phase = harbor_warmer_core::view::Phase::Warm;
    serde_json::to_value(view).unwrap()
}

fn failed_view() -> Value {
    let mut view = warming();
    view.summary = summary("i-17", "failed", Some("the upstream has no such tag"));
    serde_json::to_value(view).unwrap()
}

fn list(images: Vec<harbor_warmer_core::view::ImageSummary>) -> Value {
    serde_json::to_value(ImageList { images, next: None }).unwrap()
}

#[rstest]
#[case::taken(json!([entry("nginx:1.27", Some("i-17"), "new", None)]), Exit::Done, "nginx:1.27")]
#[case::refused(json!([entry("nginx:1.27", None, "refused", Some("no rule matches it"))]), Exit::Failed, "no rule")]
#[tokio::test]
async fn warm_hands_over_and_says_what_became_of_it(
    #[case] entries: Value,
    #[case] exit: Exit,
    #[case] fragment: &str,
) {
    let service = Service::start([("POST /api/v1/warm", 200, json!({ "images": entries }))]).await;

    let (code, text) = service.run(&["warm", "nginx:1.27"]).await.unwrap();

    assert_eq!(code, exit);
    assert!(text.contains(fragment), "{text}");
}

#[rstest]
#[case::warm(warm_view(), Exit::Done, "1 of 1 image warm.")]
#[case::failed(failed_view(), Exit::Failed, "the upstream has no such tag")]
#[tokio::test]
async fn wait_follows_an_image_to_its_end(#[case] end: Value, #[case] exit: Exit, #[case] fragment: &str) {
    let entries = json!([entry("nginx:1.27", Some("i-17"), "new", None)]);
    let service = Service::start([
        ("POST /api/v1/warm", 200, json!({ "images": entries })),
        ("GET /api/v1/images/i-17", 200, serde_json::to_value(warming()).unwrap()),
        ("GET /api/v1/images/i-17", 200, end),
    ])
    .await;

    let (code, text) = service.run(&["warm", "nginx:1.27", "--wait"]).await.unwrap();

    assert_eq!(code, exit, "{text}");
    assert!(text.contains(fragment), "{text}");
    assert_eq!(service.asked().len(), 3);
}

#[tokio::test]
async fn wait_ends_with_the_time_given() {
    let entries = json!([entry("nginx:1.27", Some("i-17"), "new", None)]);
    let service = Service::start([
        ("POST /api/v1/warm", 200, json!({ "images": entries })),
        ("GET /api/v1/images/i-17", 200, serde_json::to_value(warming()).unwrap()),
    ])
    .await;

    let (code, text) = service.run(&["warm", "nginx:1.27", "--wait", "--timeout", "20ms"]).await.unwrap();

    assert_eq!(code, Exit::TimedOut);
    assert!(text.contains("it goes on without this command"), "{text}");
}

#[tokio::test]
async fn status_finds_an_image_as_a_workload_writes_it() {
    let service = Service::start([
        ("GET /api/v1/images?limit=50&query=nginx%3A1.27", 200, list(Vec::new())),
        (
            "GET /api/v1/images?limit=50&query=library%2Fnginx",
            200,
            list(vec![summary("i-17", "warming", None), {
                let mut other = summary("i-18", "warm", None);
                other.tags = vec!["1.28".parse().unwrap()];
                other
            }]),
        ),
        ("GET /api/v1/images/i-17", 200, serde_json::to_value(warming()).unwrap()),
    ])
    .await;

    let (code, text) = service.run(&["status", "nginx:1.27"]).await.unwrap();

    assert_eq!(code, Exit::Done);
    assert!(text.starts_with("main/hub/library/nginx:1.27\n") && text.contains("Asked for by"), "{text}");
}

/// The same tag in a repository, and in one whose name starts with that.
#[rstest]
#[case::as_a_workload_writes_it("docker.io/t/dup:1")]
#[case::short("t/dup:1")]
#[case::with_its_project("hub/t/dup:1")]
#[case::with_its_place("main/hub/t/dup:1")]
#[tokio::test]
async fn a_whole_reference_gives_its_image_alone(#[case] wanted: &str) {
    let image = |id: &str, repository: &str| {
        let mut image = summary(id, "warm", None);
        image.place.repository = repository.parse().unwrap();
        image.tags = vec!["1".parse().unwrap()];
        image
    };
    let both = || list(vec![image("i-17", "t/dup"), image("i-18", "t/dupkeys")]);
    let service = Service::start([
        ("GET /api/v1/images?limit=50&query=docker.io%2Ft%2Fdup%3A1", 200, list(Vec::new())),
        ("GET /api/v1/images?limit=50&query=t%2Fdup", 200, both()),
        ("GET /api/v1/images?limit=50&query=t%2Fdup%3A1", 200, both()),
        ("GET /api/v1/images?limit=50&query=hub%2Ft%2Fdup%3A1", 200, both()),
        ("GET /api/v1/images?limit=50&query=main%2Fhub%2Ft%2Fdup%3A1", 200, both()),
        ("GET /api/v1/images/i-17", 200, serde_json::to_value(warming()).unwrap()),
    ])
    .await;

    let (_, text) = service.run(&["status", wanted]).await.unwrap();

    assert!(text.contains("Timeline"), "{text}");
}

#[tokio::test]
async fn part_of_a_name_lists_all_that_have_it() {
    let images = vec![summary("i-17", "warm", None), summary("i-18", "warm", None)];
    let service = Service::start([("GET /api/v1/images?limit=50&query=nginx", 200, list(images))]).await;

    let (_, text) = service.run(&["status", "nginx"]).await.unwrap();

    assert!(text.contains("i-17") && text.contains("i-18"), "{text}");
}

#[tokio::test]
async fn an_id_is_found_as_people_write_it() {
    let service = Service::start([("POST /api/v1/images/i-7/requeue", 204, Value::Null)]).await;

    assert_eq!(service.run(&["requeue", "i7"]).await.unwrap(), (Exit::Done, "1 image will be tried again.\n".into()));
}

#[test]
fn a_cause_is_told_once() {
    let error = anyhow::Error::msg("c: d").context("b").context("a: b");
    assert_eq!(super::causes(error.chain()), "a: b: c: d");
}

#[tokio::test]
async fn status_of_an_image_that_nobody_asked_for_fails() {
    let service = Service::start([
        ("GET /api/v1/images?limit=50&query=redis", 200, list(Vec::new())),
        ("GET /api/v1/images?limit=50&query=library%2Fredis", 200, list(Vec::new())),
    ])
    .await;

    assert_eq!(
        service.run(&["status", "redis"]).await.unwrap(),
        (Exit::Failed, "Nobody has asked for redis.\n".into())
    );
}

#[tokio::test]
async fn status_lists_a_phase_as_json() {
    let images = vec![summary("i-1", "failed", None)];
    let service = Service::start([("GET /api/v1/images?limit=2&phase=failed", 200, list(images.clone()))]).await;

    let (_, text) = service.run(&["status", "--phase", "failed", "--limit", "2", "--json"]).await.unwrap();

    assert_eq!(serde_json::from_str::<ImageList>(&text).unwrap().images, images);
}

#[tokio::test]
async fn requeue_of_all_goes_through_every_page_first() {
    let page = |id: &str, next: Option<&str>| json!({ "images": [summary(id, "failed", None)], "next": next });
    let service = Service::start([
        ("GET /api/v1/images?limit=1000&phase=failed", 200, page("i-2", Some("i-2"))),
        ("GET /api/v1/images?limit=1000&phase=failed&after=i-2", 200, page("i-1", None)),
        ("POST /api/v1/images/i-2/requeue", 204, Value::Null),
        ("POST /api/v1/images/i-1/requeue", 204, Value::Null),
    ])
    .await;

    let (code, text) = service.run(&["requeue", "--all-failed"]).await.unwrap();

    assert_eq!((code, text.as_str()), (Exit::Done, "2 images will be tried again.\n"));
    assert_eq!(service.asked().iter().filter(|request| request.starts_with("POST")).count(), 2);
    assert!(service.asked()[..2].iter().all(|request| request.starts_with("GET")));
}

#[tokio::test]
async fn requeue_names_the_ids_that_nobody_has() {
    let service = Service::start([("POST /api/v1/images/i-1/requeue", 204, Value::Null)]).await;

    let (code, text) = service.run(&["requeue", "i-1", "i-404"]).await.unwrap();

    assert_eq!(code, Exit::Failed);
    assert_eq!(text, "1 image will be tried again.\nNobody has these ids: i-404\n");
}

#[tokio::test]
async fn plan_fails_where_an_image_is_refused() {
    let refused = json!({ "image": "a", "state": "refused", "reason": "no rule matches it",
                          "blobs": [], "bytesTotal": 0, "bytesMissing": 0 });
    let plan = json!({ "images": [refused], "blobsMissing": 0, "bytesMissing": 0 });
    let service = Service::start([("POST /api/v1/plan", 200, plan)]).await;

    let (code, text) = service.run(&["plan", "a"]).await.unwrap();

    assert_eq!(code, Exit::Failed);
    assert!(text.contains("no rule matches it"), "{text}");
}

#[rstest]
#[case::says_what_is_wrong(400, json!({ "error": "one request may name 1000 images" }), Exit::Usage, "1000 images")]
#[case::its_disk_is_full(503, json!({ "error": "the queue can't be written" }), Exit::Failed, "can't be written")]
#[case::something_else_answers(404, json!("<html>"), Exit::Unreachable, "does not answer as a harbor-warmer does")]
#[case::something_else_agrees(200, json!("<html>"), Exit::Unreachable, "is --admin its admin port?")]
#[tokio::test]
async fn an_error_has_its_exit_code(
    #[case] status: u16,
    #[case] body: Value,
    #[case] exit: Exit,
    #[case] fragment: &str,
) {
    let service = Service::start([("POST /api/v1/warm", status, body)]).await;

    let error = service.run(&["warm", "nginx"]).await.unwrap_err();

    assert_eq!(error.exit(), exit, "{error}");
    assert!(error.to_string().contains(fragment), "{error}");
}

#[rstest]
#[case::nobody_there(&["status", "--admin", "http://127.0.0.1:1"], Exit::Unreachable)]
#[case::no_address(&["status", "--admin", "localhost"], Exit::Usage)]
#[case::no_manifest(&["warm", "nowhere/deployment.yaml", "--admin", "http://127.0.0.1:1"], Exit::Usage)]
#[case::no_configuration(&["check", "--config", "nowhere.yaml"], Exit::Usage)]
#[tokio::test]
async fn a_command_without_its_means_has_its_exit_code(#[case] arguments: &[&str], #[case] exit: Exit) {
    assert_eq!(run(arguments).await.unwrap_err().exit(), exit);
}

#[tokio::test]
async fn check_tells_every_mistake_of_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "colour: red\nqueue: {workers: 0}\n").unwrap();

    let error = run(&["check", "--config", file.to_str().unwrap()]).await.unwrap_err();

    assert_eq!(error.exit(), Exit::Usage);
    let text = error.to_string();
    assert!(text.starts_with("3 mistakes in the configuration "), "{text}");
    assert!(text.contains("\n  line 2: queue.workers: `0`: write a whole number"), "{text}");
}

#[tokio::test]
async fn check_offline_asks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let yaml = "harbors: {main: {url: 'http://127.0.0.1:1', credentials: anonymous, projects: {hub: }}}\n";
    std::fs::write(&file, yaml).unwrap();

    let (code, text) = run(&["check", "--offline", "--config", file.to_str().unwrap()]).await.unwrap();
    assert_eq!(code, Exit::Done, "{text}");

    let (code, text) = run(&["check", "--config", file.to_str().unwrap()]).await.unwrap();
    assert_eq!(code, Exit::Failed, "{text}");
    assert!(text.contains("✗ it does not answer"), "{text}");
}
