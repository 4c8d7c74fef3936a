//! A disk that is full: a small file system in memory, where the system lets this user have one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harbor_warmer_store::{Settlement, Store};

use crate::Outcome;
use crate::queue::{START, acquire, hand_off, has, open_with};

/// As much as SQLite's log grows to.
const RESERVE: u64 = 4 << 20;

/// A file system of 28 MiB, gone with this.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> anyhow::Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=28m", "tmpfs"])
            .arg(directory.path())
            .output()
            .is_ok_and(|output| output.status.success());
        Ok(mounted.then_some(Self(directory)))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// The disk fills up, the process is started again, and then there is room.
pub(crate) async fn full() -> anyhow::Result<Vec<Outcome>> {
    let Some(small) = Small::mount()? else {
        return Ok(vec![Outcome {
            what: "a full disk".to_owned(),
            seen: "not tried: only root may mount a small file system".to_owned(),
            is_good: true,
        }]);
    };
    let data = small.0.path().join("data");
    let junk = small.0.path().join("junk");
    let store = open_with(&data, RESERVE, START)?;
    let mut acknowledged = 0;
    while acknowledged < 1_000 {
        hand_off(&store, acknowledged, START).await?;
        acknowledged += 1;
    }
    // Whatever else writes there takes the rest; the reserve is the queue's.
    fill(&junk);
    while hand_off(&store, acknowledged, START).await.is_ok() {
        acknowledged += 1;
    }
    let refused = hand_off(&store, acknowledged + 1, START).await.is_err();
    let worked = work(&store, 200).await;
    let running = Outcome {
        what: "a full disk, running".to_owned(),
        seen: format!("{acknowledged} taken, then refused: {refused}; {worked} of 200 units worked off"),
        is_good: refused && worked == 200,
    };
    store.close().await;
    fill(&junk);
    let again = open_with(&data, RESERVE, START + Duration::from_secs(60));
    let started = match again {
        Ok(store) => {
            let worked = work(&store, 200).await;
            fs::remove_file(&junk)?;
            let forgotten = store.forget(START + Duration::from_secs(3_600)).await.unwrap_or_default();
            let mut missing = 0;
            for n in 0..acknowledged {
                missing += u64::from(!has(&store, n, START).await?);
            }
            let missing = missing.saturating_sub(forgotten as u64);
            let mut taken = false;
            for n in 0..3 {
                taken |= hand_off(&store, acknowledged + 10 + n, START).await.is_ok();
            }
            Outcome {
                what: "a full disk at the start".to_owned(),
                seen: format!(
                    "{worked} of 200 units worked off, {forgotten} forgotten; {missing} missing; taken in again once \
                     there is room: {taken}"
                ),
                is_good: worked == 200 && missing == 0 && taken,
            }
        }
        Err(error) => Outcome {
            what: "a full disk at the start".to_owned(),
            seen: format!(
                "it does not start: {error}: {}",
                std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
            ),
            is_good: false,
        },
    };
    Ok(vec![running, started])
}

/// Takes every byte that is left.
fn fill(junk: &Path) {
    let mut bytes = fs::read(junk).map_or(0, |bytes| bytes.len());
    for chunk in [1 << 20, 4096, 1] {
        loop {
            bytes += chunk;
            if fs::write(junk, vec![0; bytes]).is_err() {
                bytes -= chunk;
                break;
            }
            if chunk == 1 {
                break;
            }
        }
    }
    // What didn't fit has left the file short; the rest of the last page is nobody's.
    let _full = fs::write(junk, vec![0; bytes]);
}

/// Finishes so many units; how many were.
async fn work(store: &Store, units: usize) -> usize {
    let mut worked = 0;
    for round in 0..units as u64 {
        let now = START + Duration::from_secs(60 + round);
        for leased in acquire(store, 1, now).await.unwrap_or_default() {
            let dead = Settlement::Dead { reason: "tried".to_owned() };
            let settled = store.settle(leased.lease, leased.unit, dead, Vec::new(), now).await;
            worked += usize::from(settled.is_ok_and(|held| held));
        }
    }
    worked
}
