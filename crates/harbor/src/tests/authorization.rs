use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::{Seen, Server, answer, basic, client, digest_of, error, json as json_answer, options, place, robot, tag};
use crate::{HarborError, Refusal};
use harbor_warmer_core::project::HarborKind;

const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

fn challenge(realm: &str) -> Response {
    let challenge =
        format!(r#"Bearer realm="{realm}",service="harbor-registry",scope="repository:proxy/team/app:pull""#);
    answer(401, &[("www-authenticate", challenge.as_str())], "")
}

/// A Harbor with a public project: a token first, `accepts` says which.
async fn public(accepts: impl Fn(&str) -> bool + Clone + Send + Sync + 'static) -> (Server, Arc<AtomicUsize>) {
    let tokens = Arc::new(AtomicUsize::new(0));
    let given = Arc::clone(&tokens);
    let server = Server::start(move |seen: &Seen| {
        if seen.target.starts_with("/service/token?") {
            let number = given.fetch_add(1, Ordering::Relaxed);
            return json_answer(StatusCode::OK, &json!({ "token": format!("t{number}"), "expires_in": 1800 }));
        }
        match seen.authorization().strip_prefix("Bearer ") {
            Some(token) if accepts(token) => answer(200, &[], MANIFEST),
            // The address that Harbor believes to have; nothing is there.
            _ => challenge("https://harbor.invalid/service/token"),
        }
    })
    .await;
    (server, tokens)
}

#[tokio::test]
async fn a_robot_is_sent_directly() {
    let server = Server::start(|_| answer(200, &[], MANIFEST)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&server.url());
    options.credentials = robot(&directory, "secret");
    client(&options).get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].authorization()), (1, basic("secret").as_str()));
}

#[tokio::test]
async fn a_public_project_costs_one_token_that_is_asked_for_at_the_configured_address() {
    let (server, tokens) = public(|_| true).await;
    let client = server.client();
    for _ in 0..3 {
        client.get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    }
    assert_eq!(tokens.load(Ordering::Relaxed), 1);
    let token = "GET /service/token?service=harbor-registry&scope=repository%3Aproxy%2Fteam%2Fapp%3Apull";
    assert_eq!(server.targets()[1], token);
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn many_requests_at_once_fetch_one_token() {
    let (server, tokens) = public(|_| true).await;
    let client = server.client();
    let place = place();
    let requests = (0..20).map(|_| client.get_manifest(&place, digest_of(MANIFEST)));
    for manifest in futures_util::future::join_all(requests).await {
        manifest.unwrap();
    }
    assert_eq!(tokens.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_makes_way_for_a_new_one() {
    let current = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&current);
    let (server, tokens) = public(move |token| token == format!("t{}", accepted.load(Ordering::Relaxed))).await;
    let client = server.client();
    client.get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    // As after a change of Harbor's signing key.
    current.store(1, Ordering::Relaxed);
    client.get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    assert_eq!(tokens.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_private_project_is_asked_twice_and_no_more() {
    let (server, _) = public(|_| false).await;
    let error = server.client().head_manifest(&place(), &tag("1.0")).await.unwrap_err();
    assert!(matches!(error, HarborError::Unauthorized(Refusal::NotPublic)), "{error:?}");
    let targets = server.targets();
    assert_eq!(targets.iter().filter(|target| target.contains("/v2/")).count(), 2, "{targets:?}");
}

#[tokio::test]
async fn a_token_server_without_tokens_is_an_error_of_its_own() {
    let server = Server::start(|seen: &Seen| match seen.target.starts_with("/service/token?") {
        true => json_answer(StatusCode::OK, &json!({ "details": "no" })),
        false => challenge("https://harbor.invalid/service/token"),
    })
    .await;
    let error = server.client().head_manifest(&place(), &tag("1.0")).await.unwrap_err();
    assert!(matches!(error, HarborError::Unauthorized(Refusal::Token)), "{error:?}");
}

#[tokio::test]
async fn a_refused_robot_is_asked_about_once() {
    let server = Server::start(|_| {
        let mut refused = error(401, "UNAUTHORIZED", "unauthorized to access repository: proxy/team/app, action: pull");
        refused.headers_mut().insert("www-authenticate", "Basic realm=\"harbor\"".parse().unwrap());
        refused
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&server.url());
    options.credentials = robot(&directory, "expired");
    let error = client(&options).get_manifest(&place(), digest_of(MANIFEST)).await.unwrap_err();
    assert!(matches!(error, HarborError::Unauthorized(Refusal::CredentialsOrRight)), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_secret_that_changed_without_a_trace_is_read_again_after_a_401() {
    let server = Server::start(|seen: &Seen| match seen.authorization() == basic("new-secret") {
        true => answer(200, &[], MANIFEST),
        false => answer(401, &[("www-authenticate", "Basic realm=\"harbor\"")], ""),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&server.url());
    options.credentials = robot(&directory, "old-secret");
    let client = client(&options);
    client.sign_in().await.unwrap_err();
    let path = directory.path().join("secret");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, "new-secret").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    client.sign_in().await.unwrap();
}

#[tokio::test]
async fn credentials_for_a_cache_are_shown_to_its_token_server_and_then_the_token_alone() {
    let server = Server::start(|seen: &Seen| {
        let address = seen.header("host");
        if seen.target.starts_with("/token?") {
            let token = if seen.authorization() == basic("secret") { "good" } else { "anonymous" };
            return json_answer(StatusCode::OK, &json!({ "access_token": token }));
        }
        match seen.authorization() {
            "Bearer good" => answer(200, &[], MANIFEST),
            _ => challenge(&format!("http://{address}/token")),
        }
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&server.url());
    options.kind = HarborKind::Distribution;
    options.credentials = robot(&directory, "secret");
    let client = client(&options);
    client.get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    client.get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen.len(), seen[3].authorization()), (4, "Bearer good"));
}

#[tokio::test]
async fn a_token_server_elsewhere_is_asked_where_the_configuration_names_it_and_nowhere_else() {
    let elsewhere = Server::start(|seen| match seen.authorization() == basic("secret") {
        true => json_answer(StatusCode::OK, &json!({ "token": "good" })),
        false => answer(401, &[], ""),
    })
    .await;
    let realm = format!("{}/token", elsewhere.url());
    let named = realm.clone();
    let server = Server::start(move |seen: &Seen| match seen.authorization() {
        "Bearer good" => answer(200, &[], MANIFEST),
        _ => challenge(&realm),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&server.url());
    options.kind = HarborKind::Distribution;
    options.credentials = robot(&directory, "secret");
    let error = client(&options).get_manifest(&place(), digest_of(MANIFEST)).await.unwrap_err();
    assert!(matches!(error, HarborError::Unauthorized(Refusal::ForeignRealm { .. })), "{error:?}");
    assert!(elsewhere.seen().is_empty());

    options.token_realm = Some(named.parse().unwrap());
    client(&options).get_manifest(&place(), digest_of(MANIFEST)).await.unwrap();
    assert_eq!(elsewhere.seen().len(), 1);
}
