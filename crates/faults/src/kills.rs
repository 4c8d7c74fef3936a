//! A process that is killed at any moment, again and again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::Outcome;
use crate::queue::{START, acquire, hand_off, has, open, wait};

/// Hand-offs at once: they share commits.
const AT_ONCE: u64 = 16;

/// No start of the queue may take longer.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Hands over and works until it is killed, and says what was acknowledged.
pub(crate) async fn child(directory: &Path, seed: u64) -> anyhow::Result<()> {
    let start = Instant::now();
    let store = open(directory, START)?;
    let mut out = std::io::stdout();
    writeln!(out, "ready {}", start.elapsed().as_millis())?;
    for round in 0_u64.. {
        let first = seed * 1_000_000 + round * AT_ONCE;
        let now = START + Duration::from_millis(round);
        let hand_offs = (first..first + AT_ONCE).map(|n| hand_off(&store, n, now));
        for (n, result) in (first..).zip(futures_util::future::join_all(hand_offs).await) {
            result.context("a hand-off")?;
            writeln!(out, "acknowledged {n}")?;
        }
        for leased in acquire(&store, 4, now).await? {
            wait(&store, leased, now + Duration::from_millis(5), now).await?;
        }
    }
    Ok(())
}

/// Kills it so often, each time at a random moment.
pub(crate) async fn killed(kills: u32, seed: u64) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let mut random = StdRng::seed_from_u64(seed);
    let (mut acknowledged, mut slowest) = (Vec::new(), Duration::ZERO);
    for run in 0..kills {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--seed", &run.to_string(), "--child"])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its output is not ours")?).lines();
        let ready = lines.next().context("it ended before it was ready")??;
        let ready: u64 = ready.strip_prefix("ready ").context("no time")?.parse()?;
        slowest = slowest.max(Duration::from_millis(ready));
        let reading = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(random.random_range(0..120))).await;
        child.kill()?;
        child.wait()?;
        let lines = reading.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        acknowledged.extend(lines.iter().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok()));
    }
    let store = open(directory.path(), START + Duration::from_secs(600))?;
    let mut missing = 0;
    for n in &acknowledged {
        missing += usize::from(!has(&store, *n, START).await?);
    }
    Ok(Outcome {
        what: format!("kill -9, {kills} times"),
        seen: format!(
            "{missing} of {} acknowledged are missing; ready after {} ms at most",
            acknowledged.len(),
            slowest.as_millis()
        ),
        is_good: missing == 0 && !acknowledged.is_empty() && slowest < READY_WITHIN,
    })
}
