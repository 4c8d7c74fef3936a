//! A queue, and what is handed over to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timers::Timers;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_protocol::{HandOff, HarborImage, HarborName, Platforms, Subject, TagOrDigest};
use harbor_warmer_store::{AcquireRequest, Leased, Options, Settlement, Store, StoreError};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) fn open(directory: &Path, now: Timestamp) -> Result<Store, StoreError> {
    open_with(directory, 0, now)
}

pub(crate) fn open_with(directory: &Path, reserve_bytes: u64, now: Timestamp) -> Result<Store, StoreError> {
    let options = Options {
        recheck_after: Duration::from_secs(600),
        // No Harbor is asked for anything.
        projects: Arc::new(Projects::new([])),
        most_unfinished: usize::MAX,
        reserve_bytes,
        timers: Timers::REAL,
    };
    Store::open(directory, options, now)
}

pub(crate) fn harbor() -> HarborName {
    "main".parse().expect("a name")
}

fn place(n: u64) -> HarborImage {
    HarborImage {
        harbor: harbor(),
        project: "hub".parse().expect("a name"),
        repository: format!("team/app-{n}").parse().expect("a path"),
    }
}

/// The hand-off of this number.
pub(crate) async fn hand_off(store: &Store, n: u64, now: Timestamp) -> Result<(), StoreError> {
    let hand_off = HandOff {
        image: place(n),
        target: None,
        platforms: Platforms::new(["linux/amd64".parse().expect("a platform")]).expect("one platform"),
        subject: Subject::Tag("1".parse().expect("a tag")),
    };
    store.hand_off(hand_off, "east", None, now).await.map(drop)
}

/// Whether the queue has the hand-off of this number, with who asked for it.
pub(crate) async fn has(store: &Store, n: u64, now: Timestamp) -> Result<bool, StoreError> {
    let reference = TagOrDigest::Tag("1".parse().expect("a tag"));
    let view = store.find(&place(n), &reference, now).await?;
    Ok(view.is_some_and(|view| !view.wants.is_empty()))
}

pub(crate) async fn acquire(store: &Store, limit: usize, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
    store.acquire(AcquireRequest { harbor: harbor(), limit, begin: limit, lease: LEASE }, now).await
}

/// Lets go of a unit until `due`.
pub(crate) async fn wait(store: &Store, leased: Leased, due: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
    store.settle(leased.lease, leased.unit, Settlement::Wait { due, reason: None }, Vec::new(), now).await
}
