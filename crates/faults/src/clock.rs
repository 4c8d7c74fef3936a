//! A clock that is set while nobody looks: what waited and what was in hand comes to a worker within a minute.

use std::collections::BTreeSet;
use std::time::Duration;

use harbor_warmer_core::timestamp::Timestamp;

use crate::Outcome;
use crate::queue::{START, acquire, hand_off, open, wait};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// By so many milliseconds, between two runs.
const SET: [(&str, i64); 6] = [
    ("back by 1 s", -1_000),
    ("back by 1 h", -HOUR),
    ("back by 1 y", -YEAR),
    ("ahead by 1 h", HOUR),
    ("ahead by 1 y", YEAR),
    ("to 1970", -1_764_000_000_000),
];

/// Each way to set it, with units in each state.
pub(crate) async fn set() -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (name, by) in SET {
        for state in ["standing in line", "asleep", "in hand"] {
            outcomes.push(set_one(name, by, state).await?);
        }
    }
    Ok(outcomes)
}

async fn set_one(name: &str, by: i64, state: &str) -> anyhow::Result<Outcome> {
    const UNITS: u64 = 10;
    let directory = tempfile::tempdir()?;
    let store = open(directory.path(), START)?;
    for n in 0..UNITS {
        hand_off(&store, n, START).await?;
    }
    store.wake(START).await?;
    let leased = if state == "standing in line" { Vec::new() } else { acquire(&store, 10, START).await? };
    for leased in leased {
        if state == "asleep" {
            wait(&store, leased, START + Duration::from_secs(30), START).await?;
        }
    }
    drop(store);
    let now = Timestamp::from_millis(START.as_millis() + by);
    let store = open(directory.path(), now)?;
    if !store.set_back().is_zero() {
        store.forgive_the_clock(now).await?;
    }
    let mut seen = BTreeSet::new();
    for second in 0..=60 {
        let moment = now + Duration::from_secs(second);
        for leased in acquire(&store, 10, moment).await? {
            seen.insert(leased.lease.name());
            wait(&store, leased, moment + Duration::from_secs(600), moment).await?;
        }
    }
    Ok(Outcome {
        what: format!("the clock is set {name}, units are {state}"),
        seen: format!("{} of {UNITS} come to a worker within a minute", seen.len()),
        is_good: seen.len() == 10,
    })
}
