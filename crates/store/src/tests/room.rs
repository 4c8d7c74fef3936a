//! Disks that are full, clusters that ask for too much, and files that vanish.

use std::os::unix::fs::PermissionsExt as _;

use rstest::rstest;

use super::sqlite::{file, fresh, open};
use super::*;

fn new_tag(n: usize) -> HandOff {
    HandOff { image: place(&format!("library/app{n}")), ..by_tag("1.0") }
}

#[tokio::test]
async fn a_cluster_that_has_too_much_unfinished_is_refused_what_is_new_and_others_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Options { most_unfinished: 2, ..options() }, START).unwrap();
    for n in 0..2 {
        store.hand_off(new_tag(n), "east", None, START).await.unwrap();
    }
    let error = store.hand_off(new_tag(2), "east", None, START).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the cluster east has 2 images that are not finished, which is as many as it may have \
         (queue.maxUnfinishedPerCluster)"
    );
    store.hand_off(new_tag(0), "east", None, START).await.expect("what is known is no more");
    store.hand_off(new_tag(2), "west", None, START).await.expect("another cluster has its own");
    resolve_first(&store).await;
    store.hand_off(by_digest(9), "east", None, START).await.expect_err("its image is not finished");
}

/// One of the tags is resolved, and its image is a unit more, whatever the bound.
async fn resolve_first(store: &Store) {
    let request = AcquireRequest { harbor: "main".parse().unwrap(), limit: 1, begin: 0, lease: LEASE };
    let leased = store.acquire(request, START).await.unwrap().remove(0);
    let settlement = Settlement::Resolved(resolved(1, START));
    assert!(store.settle(leased.lease, leased.headed(1, START), settlement, Vec::new(), START).await.unwrap());
}

/// More than any disk has: there is never room for it.
const TOO_MUCH: u64 = 1 << 60;

#[tokio::test]
async fn without_room_for_the_reserve_what_is_new_is_refused_and_all_else_goes_on() {
    let (store, directory) = fresh();
    store.hand_off(by_digest(1), "east", None, START).await.unwrap();
    drop(store);
    let store = Store::open(directory.path(), Options { reserve_bytes: TOO_MUCH, ..options() }, START).unwrap();
    assert!(store.is_full());
    let error = store.hand_off(by_digest(2), "east", None, START).await.unwrap_err();
    assert!(matches!(error, StoreError::NoRoom), "{error:?}");
    assert!(store.is_healthy(), "a refusal is no fault of the disk");
    assert!(store.hand_off(by_digest(1), "west", None, START).await.is_ok(), "what is known is taken");
    warm_one(&store, START).await;
    assert_eq!(store.forget(at(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_full_disk_gives_up_the_reserve_and_takes_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Options { reserve_bytes: 1 << 16, ..options() }, START).unwrap();
    let reserve = directory.path().join("queue.reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 1 << 16);
    store.0.reserve.spend();
    assert!(store.is_full() && !reserve.exists());
    store.hand_off(by_digest(1), "east", None, START).await.expect("there is room again");
    assert!(!store.is_full() && reserve.exists());
}

#[tokio::test]
async fn a_process_that_ends_on_a_full_disk_leaves_a_reserve_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Options { reserve_bytes: 1 << 16, ..options() }, START).unwrap();
    store.0.reserve.spend();
    store.close().await;
    assert_eq!(std::fs::metadata(directory.path().join("queue.reserve")).unwrap().len(), 1 << 16);
}

#[test]
fn the_queue_is_this_users_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let _store = open(&directory);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in ["queue.sqlite", "queue.sqlite-wal"] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_queue_whose_lock_file_was_removed_is_not_opened_twice() {
    let (_store, directory) = fresh();
    std::fs::remove_file(directory.path().join("queue.lock")).unwrap();
    let Err(error) = Store::open(directory.path(), options(), START) else { panic!("it is opened twice") };
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
}

/// What can be done to the files of a queue that is in use.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Deleted,
    Truncated,
    Replaced,
    LogDeleted,
    LogTruncated,
}

impl Harm {
    fn is_done_to(self, directory: &TempDir) {
        let database = file(directory);
        let log = database.with_extension("sqlite-wal");
        let cut = |path| std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
        match self {
            Self::Deleted => std::fs::remove_file(database).unwrap(),
            Self::Truncated => cut(database),
            Self::Replaced => {
                std::fs::remove_file(&database).unwrap();
                std::fs::write(&database, "something else").unwrap();
            }
            Self::LogDeleted => std::fs::remove_file(log).unwrap(),
            Self::LogTruncated => cut(log),
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_queue_whose_file_is_harmed_is_unready_at_once_and_what_it_acknowledges_afterwards_is_kept(
    #[values(Harm::Deleted, Harm::Truncated, Harm::Replaced, Harm::LogDeleted, Harm::LogTruncated)] harm: Harm,
) {
    let (store, directory) = fresh();
    for n in 0..50 {
        store.hand_off(new_tag(n), "east", None, START).await.unwrap();
    }
    assert!(store.is_healthy());
    harm.is_done_to(&directory);
    assert!(!store.is_healthy(), "unready at once");
    let mut acknowledged = Vec::new();
    for n in 100..140 {
        if store.hand_off(new_tag(n), "east", None, START).await.is_ok() {
            acknowledged.push(n);
        }
    }
    assert!(store.is_healthy() && acknowledged.len() >= 39, "only what was under way fails: {acknowledged:?}");
    assert_eq!(store.moved_aside(), 1);
    drop(store);
    let store = open(directory.path());
    let kept: BTreeSet<_> = rows(&store).await.iter().map(|row| row.unit.place().repository.to_string()).collect();
    for n in acknowledged {
        assert!(kept.contains(&format!("library/app{n}")), "{n} was acknowledged");
    }
    if matches!(harm, Harm::Deleted | Harm::Replaced | Harm::LogDeleted) {
        assert!(
            kept.contains("library/app0") && kept.contains("library/app49"),
            "an open file is still whole: {kept:?}"
        );
    }
    lease_one_of_many(&store).await;
}

async fn lease_one_of_many(store: &Store) {
    assert_eq!(acquire(store, 1, START).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_moved_aside_and_another_one_begun() {
    let directory = tempfile::tempdir().unwrap();
    let text = "no database at all, but longer than the header of one, to be sure of it; and then some more of it yet";
    std::fs::write(file(&directory), text).unwrap();
    let store = open(directory.path());
    assert_eq!(store.moved_aside(), 1);
    store.hand_off(by_digest(1), "east", None, START).await.unwrap();
    let aside = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap());
    let aside: Vec<_> = aside.filter(|entry| entry.file_name().to_string_lossy().contains("unreadable-")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(aside[0].file_name(), "queue.sqlite.unreadable-19700112T134640000Z", "with the time in its name");
    assert_eq!(std::fs::read_to_string(aside[0].path()).unwrap(), text);
}

/// Each page of the file in turn has its bytes flipped: the queue is opened, takes what is new, and whatever it still has
/// comes to a worker.
#[tokio::test]
async fn a_page_that_was_flipped_stops_nobody() {
    const PAGE: usize = 4096;
    let (store, directory) = fresh();
    for n in 0..60 {
        store.hand_off(new_tag(n), "east", None, START).await.unwrap();
    }
    store.close().await;
    let whole = std::fs::read(file(&directory)).unwrap();
    let mut lost = 0;
    for page in 0..whole.len() / PAGE {
        let harmed = tempfile::tempdir().unwrap();
        let mut bytes = whole.clone();
        bytes[page * PAGE..(page + 1) * PAGE].iter_mut().for_each(|byte| *byte = !*byte);
        std::fs::write(file(&harmed), bytes).unwrap();
        let store = open(harmed.path());
        let mut taken = false;
        for _ in 0..3 {
            taken |= store.hand_off(new_tag(100), "east", None, START).await.is_ok();
        }
        assert!(taken, "page {page}: nothing is taken in");
        let mut leased = BTreeSet::new();
        for _ in 0..100 {
            for leased_one in acquire(&store, 10, START).await.unwrap_or_default() {
                leased.insert(leased_one.lease.name());
            }
        }
        assert!(!leased.is_empty(), "page {page}: nothing comes to a worker");
        lost += 61_usize.saturating_sub(leased.len());
    }
    assert!(lost > 0, "the pages were flipped");
}
