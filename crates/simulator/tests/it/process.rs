//! The simulator as a process: its first line, and its administration over HTTP.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::client::json as answer_of;

#[tokio::test]
async fn a_process_tells_its_port_and_is_administered_over_http() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut process = Command::new(env!("CARGO_BIN_EXE_harbor-simulator"))
        .args(["--time-scale", "0.01", "--project", "proxy", "--robot", "robot$proxy+warmer:secret"])
        .args(["--seed-image", "library/app:1.0=linux/amd64,linux/arm64@65536,8192"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let url = first.strip_prefix("listening on ").unwrap();

    let client = reqwest::Client::new();
    let post = async |path: &str, body: Value| {
        client.post(format!("{url}/_simulator/{path}")).body(body.to_string()).send().await.unwrap()
    };
    let pull = async |reference: &str| {
        let path = format!("{url}/v2/proxy/library/app/manifests/{reference}");
        client.head(path).basic_auth("robot$proxy+warmer", Some("secret")).send().await.unwrap()
    };
    assert_eq!(pull("1.0").await.status(), 200);
    let image = json!({"repository": "library/app", "tag": "2.0", "layerSizes": [1024], "singleManifest": true});
    let pushed = answer_of(post("images", image).await).await;
    assert_eq!(pull("2.0").await.headers()["docker-content-digest"], pushed["digest"].as_str().unwrap());

    let fault = json!({"route": "manifest-head", "times": 1, "action": {"respond": 503}});
    assert_eq!(post("faults", json!({"kind": "request", "fault": fault})).await.status(), 200);
    assert_eq!(pull("1.0").await.status(), 503);
    assert_eq!(pull("1.0").await.status(), 200);
    assert_eq!(post("faults", json!({"kind": "upstream-down", "down": true})).await.status(), 200);
    assert_eq!(pull("1.0").await.status(), 404);
    assert_eq!(post("faults", json!({"kind": "upstream-down", "down": false})).await.status(), 200);
    let wrong = post("faults", json!({"kind": "earthquake"})).await;
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().await.unwrap().contains("unknown variant"));
    assert_eq!(post("faults", json!({"kind": "restart"})).await.status(), 200);

    let state = answer_of(client.get(format!("{url}/_simulator/state")).send().await.unwrap()).await;
    assert_eq!(state["timeScale"], 0.01);
    assert!(state["upstream"]["manifestHeads"].as_u64().unwrap() >= 5);
    let requests = answer_of(client.get(format!("{url}/_simulator/requests")).send().await.unwrap()).await;
    assert_eq!(requests.as_array().unwrap().len(), 5);

    let pid = process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(5), process.wait()).await.unwrap().unwrap();
    assert!(ended.success());
}
