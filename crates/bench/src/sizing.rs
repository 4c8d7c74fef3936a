//! What a queue takes: its disk, memory and processor time, for docs/operations.md. There are no targets.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::io::BufStream;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::{announce, announcement, exchange, get};
use crate::site::{CLUSTER, NO_HARBOR, Settings, Site, Warmer, simulator};
use crate::table::{Row, lossy};

/// Images that are warmed at once, each with so many layers of their own.
const IMAGES: u64 = 500;
const LAYERS: u64 = 8;

/// Harbor's 20 s between two looks are 0.4 s here.
const TIME_SCALE: f64 = 0.02;

/// Tags that are announced while no Harbor answers, over so many connections.
const ANNOUNCED: u64 = 50_000;
const CONNECTIONS: u64 = 32;

/// No measurement here takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Many images that are handed over one after the other, until Harbor has recorded the tag of each.
pub(crate) async fn warmed(program: &Path, simulator_program: &Path) -> anyhow::Result<Vec<Row>> {
    // No two layers have the same size, so none are the same blob.
    let layers = |image: u64| (0..LAYERS).map(|layer| (2_000 + image * LAYERS + layer).to_string()).collect::<Vec<_>>();
    let images: Vec<_> = (0..IMAGES).map(|n| format!("sized-{n}:1=linux/amd64@{}", layers(n).join(","))).collect();
    let (_simulator, harbor) = simulator(simulator_program, &images, None, TIME_SCALE).await?;
    let keys = format!("    timeScale: {TIME_SCALE}\n");
    let settings = Settings { harbor: &format!("http://{harbor}"), harbor_keys: &keys, registry_keys: "" };
    let warmer = Site::new()?.start(program, &settings).await?;
    let before = warmer.process.processor_seconds()?;
    for n in 0..IMAGES {
        announce(&warmer, &format!("sized-{n}"), "1").await?;
    }
    let deadline = Instant::now() + PATIENCE;
    while tagged(&warmer).await? < IMAGES {
        ensure!(Instant::now() < deadline, "not every image was tagged in time");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let milliseconds = (warmer.process.processor_seconds()? - before) * 1e3 / lossy(IMAGES);
    let memory = warmer.process.memory()?;
    let (queue, log) = warmer.queue_megabytes()?;
    Ok(vec![
        Row::without_target(
            format!("{IMAGES} images of {LAYERS} layers warmed at once: disk"),
            format!("{queue:.1} MB, log {log:.1} MB"),
        ),
        Row::without_target("… resident memory", format!("at most {:.0} MB, then {:.0} MB", memory.peak, memory.now)),
        Row::without_target("… processor time of an image", format!("{milliseconds:.0} ms")),
    ])
}

/// Many tags that are announced in vain, and a start with all of them in the queue.
pub(crate) async fn announced(program: &Path) -> anyhow::Result<Vec<Row>> {
    let settings = Settings { harbor: NO_HARBOR, harbor_keys: "", registry_keys: "" };
    let warmer = Arc::new(Site::new()?.start(program, &settings).await?);
    let mut connections = JoinSet::new();
    for first in 0..CONNECTIONS {
        let warmer = Arc::clone(&warmer);
        connections.spawn(async move {
            let mut stream = BufStream::new(TcpStream::connect(warmer.registry).await?);
            for n in (first..ANNOUNCED).step_by(usize::try_from(CONNECTIONS)?) {
                let path = announcement(&format!("team/app-{n}"), "1")?;
                let (status, _) = exchange(&mut stream, &path, Some(CLUSTER)).await?;
                ensure!(status == 200, "a hand-off was answered with {status}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(connection) = connections.join_next().await {
        connection??;
    }
    let memory = warmer.process.memory()?.now;
    let (queue, log) = warmer.queue_megabytes()?;
    let Ok(warmer) = Arc::try_unwrap(warmer) else { anyhow::bail!("a connection still holds the warmer") };
    let again = warmer.restart(program).await?;
    Ok(vec![
        Row::without_target(
            format!("{ANNOUNCED} tags announced, no Harbor answers: disk"),
            format!("{queue:.1} MB, log {log:.1} MB"),
        ),
        Row::without_target("… resident memory", format!("{memory:.0} MB")),
        Row::without_target(
            "… ready after a kill and a start",
            format!("{:.0} ms", again.ready_after.as_secs_f64() * 1e3),
        ),
    ])
}

/// Images whose every wanted tag Harbor has recorded.
async fn tagged(warmer: &Warmer) -> anyhow::Result<u64> {
    let metrics = get(warmer.admin, "/metrics", None).await?;
    let lines = String::from_utf8_lossy(&metrics);
    let value = lines.lines().find_map(|line| line.strip_prefix(r#"harbor_warmer_queue_images{phase="tagged"} "#));
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or_default())
}
