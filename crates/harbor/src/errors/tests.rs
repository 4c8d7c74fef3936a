use proptest::prelude::*;
use rstest::rstest;

use http::{HeaderMap, StatusCode, header};

use super::*;
use harbor_warmer_core::project::HarborKind;

const DISTRIBUTION: HarborKind = HarborKind::Distribution;
const HARBOR: HarborKind = HarborKind::Harbor;

fn answer(operation: Operation, kind: HarborKind, status: u16, body: &str) -> HarborError {
    classify(operation, kind, StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
}

fn errors(code: &str, message: &str) -> String {
    serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string()
}

// Codes and messages as a Harbor v2.15.2 sent them.
#[rstest]
#[case::head_of_a_missing_tag(Operation::HeadManifest, 404, "", "", AnswerClass::NotFoundAmbiguous)]
#[case::head_of_an_absent_blob(Operation::HeadBlob, 404, "", "", AnswerClass::NotFoundAmbiguous)]
#[case::upstream_says_no_such_tag(
    Operation::GetManifest,
    404,
    "NOT_FOUND",
    "resource not found: repo library/app, tag 1.0 not found",
    AnswerClass::MissingTag
)]
#[case::upstream_says_no_such_digest(
    Operation::GetManifest,
    404,
    "NOT_FOUND",
    "resource not found: repo library/app, tag  not found",
    AnswerClass::MissingTag
)]
#[case::upstream_down_and_repository_known(
    Operation::GetManifest,
    404,
    "NOT_FOUND",
    "artifact proxy/library/app:1.0 not found",
    AnswerClass::UpstreamSilent
)]
#[case::upstream_down_and_digest_asked_for(
    Operation::GetManifest,
    404,
    "NOT_FOUND",
    "artifact proxy/library/app@sha256:00 not found",
    AnswerClass::UpstreamSilent
)]
#[case::upstream_down_and_nothing_known(
    Operation::GetManifest,
    404,
    "NOT_FOUND",
    "repository proxy/library/app not found",
    AnswerClass::UpstreamSilent
)]
#[case::blob_missing_upstream(
    Operation::GetBlob,
    404,
    "NOT_FOUND",
    r#"http status code: 404, body: {"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#,
    AnswerClass::MissingBlob
)]
#[case::endpoint_unhealthy_and_blob_not_local(
    Operation::GetBlob,
    404,
    "BLOB_UNKNOWN",
    "blob unknown to registry",
    AnswerClass::UpstreamSilent
)]
#[case::upstream_down_and_blob_asked_for(
    Operation::GetBlob,
    500,
    "UNKNOWN",
    "internal server error",
    AnswerClass::ServerError
)]
#[case::upstream_refuses_a_blob(
    Operation::GetBlob,
    401,
    "UNAUTHORIZED",
    "http status code: 401, body: ",
    AnswerClass::UpstreamRefused
)]
#[case::upstream_forbids_a_blob(
    Operation::GetBlob,
    403,
    "FORBIDDEN",
    "http status code: 403, body: denied",
    AnswerClass::UpstreamRefused
)]
#[case::too_many_manifests(
    Operation::GetManifest,
    429,
    "TOO_MANY_REQUEST",
    "too many requests to upstream registry",
    AnswerClass::RateLimited
)]
#[case::too_many_blobs(
    Operation::GetBlob,
    429,
    "TOO_MANY_REQUEST",
    "http status code: 429, body: slow down",
    AnswerClass::RateLimited
)]
#[case::too_many_heads(Operation::HeadManifest, 429, "", "", AnswerClass::RateLimited)]
#[case::vulnerable(
    Operation::GetManifest,
    412,
    "PROJECTPOLICYVIOLATION",
    "current image with 3 vulnerabilities cannot be pulled",
    AnswerClass::PolicyRefused
)]
#[case::pushing(
    Operation::GetManifest,
    403,
    "DENIED",
    "can not push artifact to a proxy project",
    AnswerClass::Forbidden
)]
#[case::api_right_missing(Operation::Api("read artifacts"), 403, "FORBIDDEN", "forbidden", AnswerClass::Forbidden)]
#[case::api_bad_password(Operation::Api("x"), 401, "UNAUTHORIZED", "unauthorized", AnswerClass::Unauthorized)]
#[case::api_project_gone(Operation::Api("x"), 404, "NOT_FOUND", "project nosuch not found", AnswerClass::Unauthorized)]
#[case::api_execution_gone(
    Operation::Api("x"),
    404,
    "NOT_FOUND",
    "replication execution 7 not found",
    AnswerClass::Invalid
)]
#[case::replication_disabled(
    Operation::Api("start replications"),
    412,
    "PRECONDITION",
    "the policy 7 is disabled",
    AnswerClass::Invalid
)]
#[case::policy_name_taken(Operation::Api("x"), 409, "CONFLICT", "policy exists", AnswerClass::Invalid)]
#[case::bad_request(Operation::GetManifest, 400, "MANIFEST_INVALID", "manifest invalid", AnswerClass::Invalid)]
fn harbors_answers_are_told_apart(
    #[case] operation: Operation,
    #[case] status: u16,
    #[case] code: &str,
    #[case] message: &str,
    #[case] expected: AnswerClass,
) {
    let body = if code.is_empty() { String::new() } else { errors(code, message) };
    assert_eq!(answer(operation, HARBOR, status, &body).class(), expected);
}

#[rstest]
#[case::bad_robot(
    "UNAUTHORIZED",
    "unauthorized to access repository: proxy/app, action: pull: unauthorized to access repository: proxy/app, action: pull",
    Refusal::CredentialsOrRight
)]
#[case::no_such_project("UNAUTHORIZED", "project nosuch not found", Refusal::NoSuchProject)]
#[case::database_down(
    "UNAUTHORIZED",
    "failed to connect to `user=postgres database=registry`: 10.0.0.7:5432 (db): dial error: connection refused",
    Refusal::Database
)]
#[case::capital_letters("UNAUTHORIZED", "un-recognized request: GET /v2/proxy/App/manifests/1", Refusal::UnknownPath)]
fn harbors_own_401_names_whose_fault_it_is(#[case] code: &str, #[case] message: &str, #[case] expected: Refusal) {
    match answer(Operation::GetManifest, HARBOR, 401, &errors(code, message)) {
        HarborError::Unauthorized(refusal) => assert_eq!(refusal, expected),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::basic(Some(r#"Basic realm="harbor""#), Refusal::CredentialsOrRight)]
#[case::empty(Some(""), Refusal::NoSuchProjectOrDatabase)]
#[case::none(None, Refusal::CredentialsOrRight)]
fn a_head_without_a_body_tells_a_missing_project_by_its_empty_challenge(
    #[case] challenge: Option<&'static str>,
    #[case] expected: Refusal,
) {
    let mut headers = HeaderMap::new();
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
    }
    match classify(Operation::HeadManifest, HARBOR, StatusCode::UNAUTHORIZED, &headers, b"") {
        HarborError::Unauthorized(refusal) => assert_eq!(refusal, expected),
        other => panic!("{other:?}"),
    }
}

// CNCF Distribution 2.8 as a pull-through cache.
#[rstest]
#[case::missing_or_down(Operation::GetManifest, 404, "MANIFEST_UNKNOWN", AnswerClass::NotFoundAmbiguous)]
#[case::missing_or_down_by_head(Operation::HeadManifest, 404, "", AnswerClass::NotFoundAmbiguous)]
#[case::blob_missing(Operation::GetBlob, 404, "BLOB_UNKNOWN", AnswerClass::MissingBlob)]
#[case::origin_down(Operation::GetBlob, 500, "UNKNOWN", AnswerClass::ServerError)]
#[case::bad_password(Operation::GetManifest, 401, "UNAUTHORIZED", AnswerClass::Unauthorized)]
#[case::rate_limited(Operation::GetManifest, 429, "TOOMANYREQUESTS", AnswerClass::RateLimited)]
fn distributions_answers_are_told_apart(
    #[case] operation: Operation,
    #[case] status: u16,
    #[case] code: &str,
    #[case] expected: AnswerClass,
) {
    let body = if code.is_empty() { String::new() } else { errors(code, "said so") };
    assert_eq!(answer(operation, DISTRIBUTION, status, &body).class(), expected);
}

#[rstest]
#[case::default_backend(404, "default backend - 404")]
#[case::page(404, "<html>404 Not Found</html>")]
#[case::gateway(404, r#"{"message":"no Route matched with those values"}"#)]
fn a_404_of_an_ingress_is_not_taken_for_harbors(#[case] status: u16, #[case] body: &str) {
    for operation in [Operation::GetManifest, Operation::GetBlob, Operation::Api("read artifacts")] {
        let error = answer(operation, HARBOR, status, body);
        assert!(matches!(error, HarborError::Invalid(Invalid::NotHarbor(404))), "{error:?}");
    }
}

#[rstest]
#[case::artifact("artifact proxy/library/app@sha256:00 not found", true)]
#[case::repository("repository proxy/library/app not found", true)]
#[case::project("project proxy not found", false)]
#[case::something_else("resource not found", false)]
fn only_an_artifact_or_repository_that_is_not_found_is_not_recorded(#[case] message: &str, #[case] expected: bool) {
    assert_eq!(says_no_such_artifact(errors("NOT_FOUND", message).as_bytes()), expected);
    assert!(!says_no_such_artifact(message.as_bytes()));
}

#[rstest]
#[case::seconds("120", Some(120))]
#[case::date("Wed, 21 Oct 2026 07:28:00 GMT", Some(60))]
#[case::obsolete_date("Wednesday, 21-Oct-26 07:28:00 GMT", Some(60))]
#[case::nonsense("-1", None)]
#[case::before_now("Wed, 21 Oct 2026 07:26:59 GMT", None)]
fn a_429_and_a_503_are_asked_how_long_to_wait(#[case] text: &str, #[case] seconds: Option<u64>) {
    let date = "Wed, 21 Oct 2026 07:27:00 GMT".parse().unwrap();
    let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap()), (header::DATE, date)]);
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
        let error = classify(Operation::GetBlob, HARBOR, status, &headers, b"");
        assert_eq!(error.retry_after(), seconds.map(Duration::from_secs));
    }
}

#[test]
fn a_date_without_the_time_that_it_was_said_is_not_guessed_at() {
    let headers = HeaderMap::from_iter([(header::RETRY_AFTER, "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap())]);
    let error = classify(Operation::GetBlob, HARBOR, StatusCode::TOO_MANY_REQUESTS, &headers, b"");
    assert_eq!(error.retry_after(), None);
}

const PAGE: &str = "<!DOCTYPE html>\n<html><title>no</title></html>";

#[rstest]
#[case::request_timeout(408, "")]
#[case::too_early(425, "")]
#[case::page_of_a_gateway(500, PAGE)]
#[case::bad_gateway(502, PAGE)]
#[case::unavailable(503, "upstream connect error")]
#[case::gateway_timeout(504, "")]
#[case::storage_full(507, "")]
#[case::cloudflare_unknown(520, "")]
#[case::cloudflare_down(521, "")]
#[case::cloudflare_timeout(522, "error code: 522")]
#[case::cloudflare_unreachable(523, "")]
#[case::cloudflare_slow(524, "")]
#[case::cloudflare_handshake(525, "")]
#[case::cloudflare_certificate(526, "")]
#[case::cloudflare_railgun(527, "")]
#[case::overloaded(529, "")]
#[case::cloudflare_name(530, "error code: 1016")]
fn an_outage_heals_and_is_no_fault_of_an_image(#[case] status: u16, #[case] body: &str) {
    for operation in [Operation::HeadManifest, Operation::GetManifest, Operation::GetBlob, Operation::Api("x")] {
        let error = answer(operation, HARBOR, status, body);
        assert_eq!(error.class(), AnswerClass::Outage, "{error:?}");
        assert_eq!(error.class().heals(), Heals::Harbor);
    }
}

#[rstest]
#[case::firewall_forbids(403, PAGE)]
#[case::firewall_refuses_the_path(400, "<html><center><h1>400 Bad Request</h1></center></html>")]
#[case::ingress_wants_a_password(401, PAGE)]
#[case::method(405, PAGE)]
#[case::too_long(414, PAGE)]
#[case::log_in_to_the_network(511, "")]
fn a_page_that_refuses_is_not_harbors_and_no_right_is_missing(#[case] status: u16, #[case] body: &str) {
    for operation in [Operation::GetManifest, Operation::GetBlob, Operation::Api("read artifacts")] {
        let error = answer(operation, HARBOR, status, body);
        assert!(matches!(error, HarborError::Intercepted(Interception::Refused(_))), "{error:?}");
        assert!(error.bars_reading());
    }
}

#[test]
fn a_head_is_told_from_harbors_by_its_type() {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "text/html".parse().unwrap())]);
    let error = classify(Operation::HeadManifest, HARBOR, StatusCode::FORBIDDEN, &headers, b"");
    assert_eq!(error.class(), AnswerClass::Intercepted);
}

#[test]
fn what_a_body_says_is_one_short_line() {
    let said = "a\u{1b}[31m line".to_owned() + &"é".repeat(500) + "\nand more";
    let error = answer(Operation::GetBlob, HARBOR, 502, &errors("UNKNOWN", &said)).to_string();
    assert!(error.starts_with("Harbor answered 502 and can't serve at present: a[31m line"), "{error}");
    assert!(error.chars().count() < 220 && !error.contains("more"), "{error}");
}

proptest! {
    #[test]
    fn every_answer_has_a_class_and_a_sentence_on_one_line(
        status in 300..600_u16,
        body in prop_oneof![
            any::<Vec<u8>>(),
            any::<String>().prop_map(|message| errors("CODE", &message).into_bytes()),
            r#"\{"errors":(null|\[(null|1|\{"code":1\}|\{"message":\[\]\})?\])\}"#.prop_map(String::into_bytes),
        ],
        is_harbor in any::<bool>(),
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let kind = if is_harbor { HARBOR } else { DISTRIBUTION };
        for operation in [Operation::HeadManifest, Operation::GetBlob, Operation::Api("ask"), Operation::Token] {
            let error = classify(operation, kind, status, &HeaderMap::new(), &body);
            let heals = matches!(error.class(), AnswerClass::ServerError | AnswerClass::Outage);
            let is_the_servers = status.is_server_error() && status.as_u16() != 511;
            prop_assert_eq!(is_the_servers || matches!(status.as_u16(), 408 | 425), heals);
            let sentence = error.to_string();
            prop_assert!(!sentence.is_empty() && !sentence.contains(char::is_control), "{}", sentence);
        }
    }
}
