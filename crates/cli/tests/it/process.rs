//! The real program as a process of its own, beside a simulated Harbor that outlives it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use harbor_warmer_protocol::{HandOff, Platforms, Receipt, Subject};
use harbor_warmer_simulator::{Simulator, SimulatorBuilder};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::site::{PATIENCE, place};

/// Where a warmer is installed: its files and addresses, which stay while its processes come and go.
pub(crate) struct Installation {
    pub(crate) harbor: Simulator,
    registry: SocketAddr,
    admin: SocketAddr,
    directory: TempDir,
    http: reqwest::Client,
}

/// A running process; it is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Installation {
    /// `keys` are more top-level lines of the configuration.
    pub(crate) async fn with(harbor: SimulatorBuilder, scale: f64, keys: &str) -> Self {
        harbor_warmer_harbor::install_crypto_provider();
        let harbor = harbor.time_scale(scale).start().await.expect("the simulator starts on a free port");
        let directory = tempfile::tempdir().unwrap();
        let (registry, admin) = (free_address(), free_address());
        let url = harbor.url();
        let text = format!(
            r#"
dataDir: data
registry: {{listen: "{registry}"}}
admin: {{listen: "{admin}"}}
harbors:
  main:
    url: {url}
    credentials: {{username: "robot$hub+warmer", passwordFile: password}}
    timeScale: {scale}
    projects: {{hub: {{transfer: touch}}}}
{keys}
"#
        );
        std::fs::write(directory.path().join("config.yaml"), text).unwrap();
        std::fs::write(directory.path().join("password"), "s3cret").unwrap();
        // A connection that a killed process had is no use to the next one.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Self { harbor, registry, admin, directory, http }
    }

    /// Starts a process. It is not ready yet when this returns.
    pub(crate) fn start(&self) -> Process {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_harbor-warmer"))
            .args(["serve", "--log-format", "text", "--config"])
            .arg(self.directory.path().join("config.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        Process { child }
    }

    /// Starts a process and waits until it takes hand-offs.
    pub(crate) async fn start_and_wait(&self) -> Process {
        let process = self.start();
        let url = format!("http://{}/readyz", self.admin);
        self.eventually(async || {
            let answer = self.http.get(&url).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        process
    }

    /// Announces a tag, as the policy does. No answer or a bad one is no acknowledgement.
    pub(crate) async fn announce(&self, repository: &str, tag: &str) -> Option<Receipt> {
        let hand_off = HandOff {
            image: place(repository),
            target: None,
            platforms: Platforms::new(["linux/amd64".parse().unwrap()]).unwrap(),
            subject: Subject::Tag(tag.parse().unwrap()),
        };
        let (name, tag) = hand_off.to_name().unwrap();
        let answer = self.http.get(self.registry_url(&format!("{name}/manifests/{tag}"))).send().await.ok()?;
        let bytes = answer.error_for_status().ok()?.bytes().await.ok()?;
        Receipt::from_manifest(&bytes).ok()
    }

    /// A path of the registry port, after `/v2/`.
    pub(crate) fn registry_url(&self, path: &str) -> String {
        format!("http://{}/v2/{path}", self.registry)
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The directory of the queue.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Waits for something that should have happened long ago, and shows the end of the log if it has not.
    pub(crate) async fn eventually(&self, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("not within {PATIENCE:?}; the log ends with\n{}", self.end_of_the_log());
        }
    }

    pub(crate) fn end_of_the_log(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Process {
    /// SIGKILL, and the end of it.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub(crate) async fn terminate(&self) {
        let pid = self.child.id().expect("the process runs");
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await.unwrap();
        assert!(sent.success());
    }

    /// How it ends, when it ends.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.child.wait().await.unwrap()
    }
}

/// An address that nobody listens on at present.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
