//! Draining an image beside `curl -Z` with as many streams, from the same cache, which has none of the blobs yet.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::client::{announce, get};
use crate::front::Front;
use crate::latency::median;
use crate::site::{PASSWORD, ROBOT, Settings, Site, Warmer, simulator};
use crate::table::Row;

const ROUNDS: usize = 5;
const STREAMS: u64 = 4;
const LAYERS: usize = 8;
const LAYER_BYTES: u64 = 16_000_000;

/// A link of 1 Gbit/s, shared by the streams.
const LINK_BYTES_PER_SECOND: u64 = 125_000_000;

/// The warmer's counter of bytes of blobs.
const BYTES_READ: &str = "harbor_warmer_blob_read_bytes_total";

/// No image here takes longer to drain.
const PATIENCE: Duration = Duration::from_secs(120);

/// Over a link as a site has between Harbor and whoever reads from it.
pub(crate) async fn over_a_link(program: &Path, simulator_program: &Path) -> anyhow::Result<Vec<Row>> {
    beside_curl(program, simulator_program, "over 1 Gbit/s", Some(LINK_BYTES_PER_SECOND / STREAMS)).await
}

/// As fast as the machine copies: whoever needs more of the processor for a byte is slower. `curl` checks no digest.
pub(crate) async fn within_the_machine(program: &Path, simulator_program: &Path) -> anyhow::Result<Vec<Row>> {
    beside_curl(program, simulator_program, "without a link", None).await
}

/// Turn by turn, each an image of its own of the same size; the median of the ratios.
async fn beside_curl(
    program: &Path,
    simulator_program: &Path,
    way: &str,
    stream_bytes_per_second: Option<u64>,
) -> anyhow::Result<Vec<Row>> {
    let layers = vec![LAYER_BYTES.to_string(); LAYERS].join(",");
    let images: Vec<_> = (0..=ROUNDS)
        .flat_map(|round| ["curl", "drain"].map(|reader| format!("{reader}-{round}:1=linux/amd64@{layers}")))
        .collect();
    let (_simulator, harbor) = simulator(simulator_program, &images, stream_bytes_per_second, 1.0).await?;
    let front = Front::start(harbor, None).await?;
    let keys = format!("    concurrency: {{initial: {STREAMS}, max: {STREAMS}}}\n");
    let settings = Settings { harbor: &format!("http://{}", front.address), harbor_keys: &keys, registry_keys: "" };
    let warmer = Site::new()?.start(program, &settings).await?;

    let (mut ratios, mut by_curl, mut by_drain) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let curl = curl(&front, &format!("curl-{round}")).await?.as_secs_f64();
        let drain = drain(&front, &warmer, &format!("drain-{round}")).await?.as_secs_f64();
        // The first round warms caches of the system up.
        if round > 0 {
            ratios.push(drain / curl);
            by_curl.push(curl);
            by_drain.push(drain);
        }
    }
    let ratio = median(ratios);
    let megabytes = LAYER_BYTES * LAYERS as u64 / 1_000_000;
    let seen = format!("{ratio:.2} ({:.2} s, curl {:.2} s)", median(by_drain), median(by_curl));
    Ok(vec![Row::new(
        format!("`drain` beside `curl -Z`, {megabytes} MB in {STREAMS} streams, {way}"),
        "≤ 1.05",
        seen,
        ratio <= 1.05,
    )])
}

async fn curl(front: &Front, repository: &str) -> anyhow::Result<Duration> {
    let base = format!("/v2/hub/{repository}");
    let index = manifest(front, &format!("{base}/manifests/1")).await?;
    let child = index["manifests"][0]["digest"].as_str().map(|child| format!("{base}/manifests/{child}"));
    let manifest = match child {
        Some(child) => manifest(front, &child).await?,
        None => index,
    };
    let digests: Vec<_> =
        manifest["layers"].as_array().into_iter().flatten().filter_map(|layer| layer["digest"].as_str()).collect();
    ensure!(digests.len() == LAYERS, "the image has {} layers", digests.len());
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--parallel", "--parallel-immediate", "--parallel-max"]);
    command.arg(STREAMS.to_string()).args(["--user", &format!("{ROBOT}:{PASSWORD}")]);
    for digest in digests {
        command.args(["--output", "/dev/null"]).arg(format!("http://{}{base}/blobs/{digest}", front.address));
    }
    // Its table of progress can't be switched off.
    let status = command.stderr(Stdio::null()).status().await.context("failed to run curl")?;
    ensure!(status.success(), "curl ended with {status}");
    front.take_duration().context("curl read nothing")
}

async fn drain(front: &Front, warmer: &Warmer, repository: &str) -> anyhow::Result<Duration> {
    let whole = LAYER_BYTES * LAYERS as u64;
    let before = bytes_read(warmer).await?;
    announce(warmer, repository, "1").await?;
    let deadline = Instant::now() + PATIENCE;
    while bytes_read(warmer).await? < before + whole {
        ensure!(Instant::now() < deadline, "{repository} was not drained in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    front.take_duration().context("the warmer read nothing")
}

/// Bytes of blobs that the warmer has read until now.
async fn bytes_read(warmer: &Warmer) -> anyhow::Result<u64> {
    let metrics = get(warmer.admin, "/metrics", None).await?;
    let lines = String::from_utf8_lossy(&metrics).into_owned();
    let values = lines.lines().filter(|line| line.starts_with(BYTES_READ)).filter_map(|line| line.rsplit_once(' '));
    Ok(values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum())
}

async fn manifest(front: &Front, path: &str) -> anyhow::Result<Value> {
    serde_json::from_slice(&get(front.address, path, Some(ROBOT)).await?).with_context(|| format!("{path} is not JSON"))
}
