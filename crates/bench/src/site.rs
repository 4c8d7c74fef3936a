//! A warmer on a disk of its own, and where it thinks that Harbor is.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Output, Process};
use crate::table::lossy;

/// Who hands over.
pub(crate) const CLUSTER: &str = "bench";

/// Who reads from the simulated Harbor besides the warmer.
pub(crate) const ROBOT: &str = "robot$bench";

/// The password of both.
pub(crate) const PASSWORD: &str = "not-a-secret";

/// An address that nobody listens on: the Harbor of a warmer that shall not find one.
pub(crate) const NO_HARBOR: &str = "http://127.0.0.1:9";

/// A directory with a configuration.
pub(crate) struct Site {
    directory: TempDir,
}

/// A running warmer.
pub(crate) struct Warmer {
    pub(crate) process: Process,
    /// Where hand-offs go.
    pub(crate) registry: SocketAddr,
    /// Where the metrics are.
    pub(crate) admin: SocketAddr,
    /// From the start of the process to its own word that it is ready.
    pub(crate) ready_after: Duration,
    /// Deleted after the process has ended.
    site: Site,
}

/// What differs between the measurements, as lines of the configuration.
pub(crate) struct Settings<'a> {
    /// Harbor's address.
    pub(crate) harbor: &'a str,
    /// Keys of `harbors.main`, each line indented by four.
    pub(crate) harbor_keys: &'a str,
    /// Keys of `registry`, each line indented by two.
    pub(crate) registry_keys: &'a str,
}

impl Site {
    /// An empty directory.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { directory: TempDir::with_prefix("harbor-warmer-bench.")? })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a warmer with its queue in this directory.
    pub(crate) async fn start(self, program: &Path, settings: &Settings<'_>) -> anyhow::Result<Warmer> {
        let Settings { harbor, harbor_keys, registry_keys } = settings;
        fs::write(self.path().join("password"), PASSWORD)?;
        let config = self.path().join("warmer.yaml");
        fs::write(
            &config,
            format!(
                "dataDir: data\nregistry:\n  listen: 127.0.0.1:0\n  credentials:\n    - {{cluster: {CLUSTER}, \
                 passwordFile: password}}\n{registry_keys}admin:\n  listen: 127.0.0.1:0\nharbors:\n  main:\n    url: \
                 {harbor}\n    credentials: anonymous\n{harbor_keys}    projects:\n      hub: {{transfer: drain}}\n"
            ),
        )?;
        self.run(program).await
    }

    async fn run(self, program: &Path) -> anyhow::Result<Warmer> {
        let config = self.path().join("warmer.yaml");
        let config = config.to_str().context("the temporary directory's name is not UTF-8")?;
        let start = Instant::now();
        let (process, (registry, admin)) =
            Process::start(program, &["serve", "--config", config, "--log-format", "json"], Output::Error, addresses)
                .await?;
        Ok(Warmer { process, registry, admin, ready_after: start.elapsed(), site: self })
    }
}

impl Warmer {
    /// Kills it, and starts another one with the same queue.
    pub(crate) async fn restart(self, program: &Path) -> anyhow::Result<Self> {
        self.process.kill().await?;
        self.site.run(program).await
    }

    /// The queue's file and the log beside it, in MB of 10^6 bytes.
    pub(crate) fn queue_megabytes(&self) -> anyhow::Result<(f64, f64)> {
        let data = self.site.path().join("data");
        let megabytes = |file: &str| anyhow::Ok(lossy(fs::metadata(data.join(file))?.len()) / 1e6);
        Ok((megabytes("queue.sqlite")?, megabytes("queue.sqlite-wal")?))
    }
}

/// Both ports, of the line that says that the service is ready.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = |key: &str| line.get(key)?.as_str()?.parse().ok();
    (line.get("message")? == "ready").then_some(())?;
    Some((address("registry.address")?, address("admin.address")?))
}

/// A simulated Harbor in front of an upstream with these images, each `REPOSITORY:TAG=PLATFORM@LAYER_BYTES,…`.
/// `time_scale` makes its waiting times longer or shorter.
pub(crate) async fn simulator(
    program: &Path,
    images: &[String],
    bytes_per_second: Option<u64>,
    time_scale: f64,
) -> anyhow::Result<(Process, SocketAddr)> {
    let time_scale = time_scale.to_string();
    let rate = bytes_per_second.map(|rate| rate.to_string());
    let robot = format!("{ROBOT}:{PASSWORD}");
    let mut arguments = vec!["--time-scale", &time_scale, "--project", "hub:public", "--robot", &robot];
    if let Some(rate) = &rate {
        arguments.extend(["--rate", rate]);
    }
    for image in images {
        arguments.extend(["--seed-image", image]);
    }
    Process::start(program, &arguments, Output::Out, |line| line.strip_prefix("listening on http://")?.parse().ok())
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_tells_both_ports_and_no_other_line_does() {
        let ready = r#"{"message":"ready","registry.address":"127.0.0.1:1","admin.address":"127.0.0.1:2"}"#;
        let other = r#"{"message":"started","registry.address":"127.0.0.1:1","admin.address":"127.0.0.1:2"}"#;
        assert_eq!(
            addresses(ready),
            Some((SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2))))
        );
        assert_eq!(addresses(other), None);
        assert_eq!(addresses("not JSON"), None);
    }
}
