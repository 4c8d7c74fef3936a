//! How soon the warmer is ready, and how much memory it takes, idle and at work.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::client::announce;
use crate::front::Front;
use crate::identity::Identity;
use crate::latency::median;
use crate::site::{NO_HARBOR, Settings, Site, simulator};
use crate::table::Row;

/// Starts of which the median is told.
const STARTS: usize = 9;

/// Streams at once, as the target says.
const STREAMS: u64 = 32;

/// A layer, and how fast it comes: 6 s of 32 streams.
const LAYER_BYTES: u64 = 6_000_000;
const BYTES_PER_SECOND: u64 = 1_000_000;

/// When a warmer has nothing left to do of its start.
const SETTLED: Duration = Duration::from_secs(2);

/// From the start of the process, with an empty queue, until it says that it is ready.
pub(crate) async fn readiness(program: &Path) -> anyhow::Result<Vec<Row>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let warmer = Site::new()?.start(program, &idle_settings()).await?;
        times.push(warmer.ready_after.as_secs_f64() * 1e3);
    }
    let ms = median(times);
    Ok(vec![Row::new("ready after", "≤ 50 ms", format!("{ms:.0} ms"), ms <= 50.0)])
}

/// Some time after the start.
pub(crate) async fn idle(program: &Path) -> anyhow::Result<Vec<Row>> {
    let warmer = Site::new()?.start(program, &idle_settings()).await?;
    tokio::time::sleep(SETTLED).await;
    let megabytes = warmer.process.memory()?.now;
    Ok(vec![Row::new("resident memory, idle", "≤ 10 MB", format!("{megabytes:.1} MB"), megabytes <= 10.0)])
}

/// While it drains an image of 32 layers over TLS, all of them at once.
pub(crate) async fn draining(program: &Path, simulator_program: &Path) -> anyhow::Result<Vec<Row>> {
    let layers = vec![LAYER_BYTES.to_string(); usize::try_from(STREAMS)?].join(",");
    let image = format!("wide:1=linux/amd64@{layers}");
    let (_simulator, harbor) = simulator(simulator_program, &[image], Some(BYTES_PER_SECOND), 1.0).await?;
    let identity = Identity::generate()?;
    let site = Site::new()?;
    identity.write(site.path())?;
    let front = Front::start(harbor, Some(identity.acceptor()?)).await?;
    let keys = format!("    caFile: ca.crt\n    concurrency: {{initial: {STREAMS}, max: {STREAMS}}}\n");
    let settings = Settings { harbor: &format!("https://{}", front.address), harbor_keys: &keys, registry_keys: "" };
    let warmer = site.start(program, &settings).await?;
    announce(&warmer, "wide", "1").await?;

    tokio::time::sleep(Duration::from_secs(LAYER_BYTES / BYTES_PER_SECOND) + SETTLED).await;
    let memory = warmer.process.memory()?;
    ensure!(front.most_streams() >= STREAMS, "only {} streams were open at once", front.most_streams());
    let seen = format!("{:.1} MB", memory.peak);
    Ok(vec![Row::new(
        format!("resident memory at most, draining {STREAMS} TLS streams"),
        "≤ 20 MB",
        seen,
        memory.peak <= 20.0,
    )])
}

fn idle_settings() -> Settings<'static> {
    Settings { harbor: NO_HARBOR, harbor_keys: "", registry_keys: "" }
}
