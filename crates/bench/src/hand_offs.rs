//! Durable hand-offs a second: over connections that stay, and as a policy server makes them.
//!
//! Every request announces another tag, so each is a write that has to be synced before it is answered. No Harbor
//! answers meanwhile, as in the burst that the queue is for.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::client::{announcement, exchange};
use crate::identity::Identity;
use crate::latency::Latencies;
use crate::site::{CLUSTER, NO_HARBOR, Settings, Site, Warmer};
use crate::table::{Row, lossy};

/// Connections that stay, as many as the target says.
const CONNECTIONS: u64 = 64;

/// Admissions at once: what a few policy servers' workers have under way.
const ADMISSIONS: u64 = 32;

/// 64 connections that send one hand-off after another.
pub(crate) async fn kept_alive(program: &Path, duration: Duration) -> anyhow::Result<Vec<Row>> {
    let settings = Settings { harbor: NO_HARBOR, harbor_keys: "", registry_keys: "" };
    let warmer = Site::new()?.start(program, &settings).await?;
    let load = Load::of(&warmer, CONNECTIONS, duration);
    let seen = load.run(&warmer, |load, worker| load.keep_sending(worker)).await?;
    Ok(seen.rows(&format!("durable hand-offs, {CONNECTIONS} connections"), 6_000.0, 20.0))
}

/// For every hand-off a new TLS connection, the version check without credentials, then the announcement with them.
pub(crate) async fn as_a_policy_server(program: &Path, duration: Duration) -> anyhow::Result<Vec<Row>> {
    let identity = Identity::generate()?;
    let site = Site::new()?;
    identity.write(site.path())?;
    let settings = Settings {
        harbor: NO_HARBOR,
        harbor_keys: "",
        registry_keys: "  tls: {certificateFile: tls.crt, keyFile: tls.key}\n",
    };
    let warmer = site.start(program, &settings).await?;
    let connector = identity.connector()?;
    let load = Load::of(&warmer, ADMISSIONS, duration);
    let seen = load.run(&warmer, |load, worker| load.keep_connecting(worker, connector.clone())).await?;
    Ok(seen.rows("hand-offs as a policy server makes them: TLS, GET /v2/, announcement", 1_000.0, 50.0))
}

/// So many workers, until the end.
#[derive(Clone, Copy)]
struct Load {
    address: SocketAddr,
    workers: u64,
    end: Instant,
}

/// What a load came to.
struct Seen {
    latencies: Latencies,
    elapsed: Duration,
    processor_seconds: f64,
}

impl Load {
    fn of(warmer: &Warmer, workers: u64, duration: Duration) -> Self {
        Self { address: warmer.registry, workers, end: Instant::now() + duration }
    }

    async fn run<F: Future<Output = anyhow::Result<Latencies>> + Send + 'static>(
        self,
        warmer: &Warmer,
        work: impl Fn(Self, u64) -> F,
    ) -> anyhow::Result<Seen> {
        let (start, before) = (Instant::now(), warmer.process.processor_seconds()?);
        let mut workers = JoinSet::new();
        for worker in 0..self.workers {
            workers.spawn(work(self, worker));
        }
        let mut latencies = Latencies::default();
        while let Some(worker) = workers.join_next().await {
            latencies.extend(worker??);
        }
        let processor_seconds = warmer.process.processor_seconds()? - before;
        Ok(Seen { latencies, elapsed: start.elapsed(), processor_seconds })
    }

    async fn keep_sending(self, worker: u64) -> anyhow::Result<Latencies> {
        let mut stream = BufStream::new(self.connect().await?);
        let mut latencies = Latencies::default();
        for path in paths(worker) {
            let start = Instant::now();
            if start >= self.end {
                break;
            }
            let (status, _) = exchange(&mut stream, &path?, Some(CLUSTER)).await?;
            ensure!(status == 200, "a hand-off was answered with {status}");
            latencies.add(start.elapsed());
        }
        Ok(latencies)
    }

    async fn keep_connecting(self, worker: u64, connector: TlsConnector) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::default();
        for path in paths(worker) {
            let start = Instant::now();
            if start >= self.end {
                break;
            }
            let stream = connector.connect(self.address.ip().into(), self.connect().await?).await?;
            let mut stream = BufStream::new(stream);
            let (status, _) = exchange(&mut stream, "/v2/", None).await?;
            ensure!(status == 401, "the version check without credentials was answered with {status}");
            let (status, _) = exchange(&mut stream, &path?, Some(CLUSTER)).await?;
            ensure!(status == 200, "a hand-off was answered with {status}");
            latencies.add(start.elapsed());
            stream.shutdown().await?;
        }
        Ok(latencies)
    }

    async fn connect(self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await.context("failed to connect to the warmer")?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Seen {
    fn rows(mut self, what: &str, target_per_second: f64, target_ms: f64) -> Vec<Row> {
        let count = lossy(self.latencies.count());
        let per_second = count / self.elapsed.as_secs_f64();
        let [p50, p99] = [50, 99].map(|percent| self.latencies.percentile_ms(percent));
        let microseconds = self.processor_seconds / count * 1e6;
        vec![
            Row::new(
                what,
                format!("≥ {target_per_second} /s"),
                format!("{per_second:.0} /s"),
                per_second >= target_per_second,
            ),
            Row::new(
                "… answered after",
                format!("p99 ≤ {target_ms} ms"),
                format!("p50 {p50:.1} ms, p99 {p99:.1} ms"),
                p99 <= target_ms,
            ),
            Row::without_target("… processor time of the warmer for each", format!("{microseconds:.0} µs")),
        ]
    }
}

/// The paths of one worker's hand-offs, no tag twice.
fn paths(worker: u64) -> impl Iterator<Item = anyhow::Result<String>> {
    (0_u64..).map(move |index| announcement("shop/checkout", &format!("{worker}-{index}")))
}
