//! The command line, which stands in for kwctl and policy-server in `e2e.bats` and the demo.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::guests::{rejecting, talking};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn policy_host(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_policy-host"));
    command.args(args);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn run_prints_the_response_and_tells_the_rest_on_standard_error() {
    let files = Files::new();
    let wasm = files.write("policy.wasm", talking());
    let request = files.write("request.json", r#"{"request": {"uid": "u-1"}}"#);
    let settings = files.write("settings.yml", "platforms: [linux/amd64]\n");
    let unasked = "- type: Exchange\n  request: \"!OciManifest\\nimage: a.example/b:1\\n\"\n  response: {type: Success, payload: '{}'}\n";
    let session = files.write("session.yml", unasked);
    let replay = ["--replay-host-capabilities-interactions", &session, "--allow-context-aware"];
    let args = [&["run", "-r", &request, "-s", &settings, &wasm][..], &replay].concat();

    let output = policy_host(&args).output().unwrap();

    assert!(output.status.success(), "{}", stderr(&output));
    let response: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&response["uid"], &response["allowed"]), (&"u-1".into(), &true.into()));
    assert!(stderr(&output).contains("hello from the guest"));
    assert!(stderr(&output).contains("OciManifest of a.example/b:1"));
}

#[test]
fn run_refuses_settings_that_the_policy_refuses() {
    let files = Files::new();
    // This guest's answer to everything is a rejection, which is no SettingsValidationResponse.
    let wasm = files.write("policy.wasm", rejecting());
    let request = files.write("request.json", r#"{"uid": "u-1"}"#);
    let output = policy_host(&["run", "--request-path", &request, "--settings-json", "{}", &wasm]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("Provided settings are not valid: "), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn run_without_host_calls_records_an_empty_list() {
    let files = Files::new();
    let wasm = files.write("policy.wasm", talking());
    let request = files.write("request.json", r#"{"uid": "u-1"}"#);
    let session = files.0.path().join("session.yml");
    let args = ["run", "-r", &request, &wasm, "--record-host-capabilities-interactions", session.to_str().unwrap()];
    assert!(policy_host(&args).output().unwrap().status.success());
    assert_eq!(std::fs::read_to_string(session).unwrap(), "[]\n");
}

#[test]
fn bench_prints_percentiles() {
    let files = Files::new();
    let wasm = files.write("policy.wasm", talking());
    let request = files.write("request.json", r#"{"uid": "u-1"}"#);
    let output = policy_host(&["bench", "-r", &request, &wasm, "--num-samples", "20"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("20 evaluations") && table.contains("p99") && table.contains("guest code"), "{table}");
}

#[tokio::test]
async fn serve_says_where_it_listens() {
    let files = Files::new();
    let wasm = files.write("policy.wasm", talking());
    let mut server = policy_host(&["serve", "--policy", &wasm, "--mode", "monitor", "--workers", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").expect("the first line names the address");
    let ready = reqwest::get(format!("{url}/readiness")).await.map(|response| response.status());
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(ready.unwrap(), 200);
}
