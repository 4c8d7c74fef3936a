//! Files that are harmed while the queue is in use, and pages that are not what was written.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::Outcome;
use crate::queue::{START, acquire, hand_off, has, open};

const HAND_OFFS: u64 = 100;
const PAGE: usize = 4096;

/// Each file, in each way.
pub(crate) async fn harmed(seed: u64) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for file in ["queue.sqlite", "queue.sqlite-wal"] {
        for harm in ["deleted", "truncated", "replaced"] {
            outcomes.push(harm_one(file, harm, seed).await?);
        }
    }
    Ok(outcomes)
}

async fn harm_one(file: &str, harm: &str, seed: u64) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let store = open(directory.path(), START)?;
    for n in 0..HAND_OFFS {
        hand_off(&store, n, START).await?;
    }
    let path = directory.path().join(file);
    match harm {
        "deleted" => fs::remove_file(&path)?,
        "truncated" => {
            let length = fs::metadata(&path)?.len();
            let cut = StdRng::seed_from_u64(seed).random_range(0..length);
            OpenOptions::new().write(true).open(&path)?.set_len(cut)?;
        }
        _ => {
            fs::remove_file(&path)?;
            fs::write(&path, vec![7; 8_192])?;
        }
    }
    let unready = !store.is_healthy();
    let (mut acknowledged, start) = (Vec::new(), Instant::now());
    let mut back_after = None;
    for n in HAND_OFFS..HAND_OFFS * 2 {
        if hand_off(&store, n, START).await.is_ok() {
            back_after.get_or_insert(start.elapsed());
            acknowledged.push(n);
        }
    }
    drop(store);
    let store = open(directory.path(), START)?;
    let (mut missing, mut before) = (0, 0);
    for n in &acknowledged {
        missing += usize::from(!has(&store, *n, START).await?);
    }
    for n in 0..HAND_OFFS {
        before += usize::from(has(&store, n, START).await?);
    }
    let back_after = back_after.unwrap_or(Duration::MAX);
    Ok(Outcome {
        what: format!("{file} is {harm}"),
        seen: format!(
            "unready at once: {unready}; back after {} ms; {missing} of {} acknowledged since are missing; {before} of \
             {HAND_OFFS} from before are kept",
            back_after.as_millis(),
            acknowledged.len()
        ),
        is_good: unready && missing == 0 && back_after < Duration::from_secs(5),
    })
}

/// Random bytes of random pages of a closed queue are flipped.
pub(crate) async fn flipped(pages: u32, seed: u64) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let store = open(directory.path(), START)?;
    for n in 0..HAND_OFFS {
        hand_off(&store, n, START).await?;
    }
    store.close().await;
    let whole = fs::read(directory.path().join("queue.sqlite"))?;
    let mut random = StdRng::seed_from_u64(seed);
    let (mut stuck, mut kept, mut slowest, mut aside) = (0, 0, Duration::ZERO, 0);
    for _ in 0..pages {
        let harmed = tempfile::tempdir()?;
        let mut bytes = whole.clone();
        let first = random.random_range(0..whole.len() / PAGE) * PAGE;
        let (from, length) = (random.random_range(0..PAGE), random.random_range(1..=PAGE));
        for byte in &mut bytes[first + from..first + (from + length).min(PAGE)] {
            *byte = !*byte;
        }
        fs::write(harmed.path().join("queue.sqlite"), bytes)?;
        let start = Instant::now();
        match goes_on(harmed.path()).await {
            Some((units, files)) => (kept, aside) = (kept + units, aside + files),
            None => stuck += 1,
        }
        slowest = slowest.max(start.elapsed());
    }
    Ok(Outcome {
        what: format!("a page is flipped, {pages} times"),
        seen: format!(
            "{stuck} don't go on; {kept} of {} units come to a worker; {aside} files are moved aside; {} ms at most",
            u64::from(pages) * HAND_OFFS,
            slowest.as_millis()
        ),
        is_good: stuck == 0 && slowest < Duration::from_secs(5),
    })
}

/// How many units come to a worker, and files are moved aside, where something new is taken in as well.
async fn goes_on(directory: &Path) -> Option<(usize, usize)> {
    let store = open(directory, START).ok()?;
    let mut taken = false;
    let mut leased = 0;
    for _ in 0..30 {
        taken |= hand_off(&store, HAND_OFFS, START).await.is_ok();
        leased += acquire(&store, 10, START).await.map_or(0, |leased| leased.len());
    }
    (taken && leased > 0).then(|| (leased.min(usize::try_from(HAND_OFFS).unwrap_or_default()), store.moved_aside()))
}
