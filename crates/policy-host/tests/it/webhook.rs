//! The webhook as an API server sees it.

use std::net::SocketAddr;

use harbor_warmer_policy_host::{BODY_MAX_BYTES, PolicyHost, TlsIdentity, Webhook};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::guests::talking;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn plain() -> String {
    plain_at("warmer").await
}

async fn plain_at(policy_id: &str) -> String {
    let host = PolicyHost::builder().wasm(talking()).build().unwrap();
    let webhook = Webhook::bind(ANY_PORT, None, policy_id, host).await.unwrap();
    let url = format!("http://{}", webhook.local_addr());
    tokio::spawn(webhook.serve(std::future::pending()));
    url
}

async fn post(url: String, body: impl Into<reqwest::Body>) -> reqwest::Response {
    reqwest::Client::new().post(url).body(body).send().await.unwrap()
}

fn review() -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u-1", "operation": "CREATE", "object": {}, "dryRun": null},
    })
    .to_string()
}

#[tokio::test]
async fn a_review_is_answered_with_a_review() {
    let response = post(plain().await + "/validate/warmer", review()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let expected = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": "u-1", "allowed": true, "auditAnnotations": null, "warnings": ["mind the gap"]},
    });
    assert_eq!(answer, expected);
}

#[rstest]
#[case::up_to_1_37_1("clusterwide-harbor-warmer")]
#[case::from_1_37_2("kw.cap.harbor-warmer")]
#[tokio::test]
async fn it_answers_to_the_name_that_kubewarden_gives_a_policy(#[case] policy_id: &str) {
    let url = format!("{}/validate/{policy_id}", plain_at(policy_id).await);
    assert_eq!(post(url, review()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_review_of_this_policy_is_refused() {
    let url = plain().await;
    let cases = [
        ("/validate/another", review(), StatusCode::NOT_FOUND),
        ("/validate/warmer", "{".to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
        ("/validate/warmer", "{}".to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
        ("/validate/warmer", r#"{"request": {}}"#.to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
        ("/validate/warmer", "[".repeat(200), StatusCode::UNPROCESSABLE_ENTITY),
        ("/validate/warmer", "x".repeat(BODY_MAX_BYTES + 1), StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (path, body, status) in cases {
        assert_eq!(post(format!("{url}{path}"), body).await.status(), status);
    }
    assert_eq!(reqwest::get(url + "/readiness").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn it_serves_https_until_it_is_told_to_stop_whoever_else_connects() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let generated = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&certificate, generated.cert.pem()).unwrap();
    std::fs::write(&key, generated.signing_key.serialize_pem()).unwrap();
    let host = PolicyHost::builder().wasm(talking()).build().unwrap();
    let identity = TlsIdentity::from_files(&certificate, &key).unwrap();
    let webhook = Webhook::bind(ANY_PORT, Some(identity), "warmer", host).await.unwrap();
    let addr = webhook.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(webhook.serve(async move { drop(stopped.await) }));

    // A client that never starts its handshake is in nobody's way.
    let _idle = tokio::net::TcpStream::connect(addr).await.unwrap();
    let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
    let url = format!("https://{addr}/validate/warmer");
    assert_eq!(client.post(url).body(review()).send().await.unwrap().status(), StatusCode::OK);
    drop(client);

    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
