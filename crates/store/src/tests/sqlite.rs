//! The embedded engine: the suite, the random driver, and what only a file can break.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rstest::rstest;
use rusqlite::Connection;

use super::*;
use crate::acquire::{COMING, EXPIRED, NEXT_DUE, SUSPECTS, UNDER_WAY};
use crate::forget::FINISHED;
use crate::lease::WAKE;
use crate::line::{FIRST, FIRST_CLUSTER, NEXT_CLUSTER};
use crate::read::{NAMED, OLDEST_ASLEEP, OLDEST_REPLICATION, OLDEST_STANDING, SHOWN};

pub(super) fn open(directory: &Path) -> Store {
    Store::open(directory, options(), START).unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

pub(super) fn fresh() -> (Store, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(directory.path()), directory)
}

super::suite::conforms!(fresh);

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn nothing_is_lost_or_held_twice_whatever_happens(operations in super::random::operations()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        runtime.block_on(super::random::drive(|| open(directory.path()), operations));
    }
}

#[tokio::test]
async fn a_hand_off_is_on_the_disk_when_it_is_acknowledged() {
    let (store, directory) = fresh();
    for n in 1..=20 {
        store.hand_off(by_digest(n), "east", None, START).await.unwrap();
        // What a power cut would leave: the files as they are, the process still running.
        let copy = tempfile::tempdir().unwrap();
        for file in ["queue.sqlite", "queue.sqlite-wal"] {
            std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
        }
        assert_eq!(rows(&open(copy.path())).await.len(), usize::from(n));
    }
}

#[tokio::test]
async fn many_hand_offs_share_a_commit() {
    let (store, directory) = fresh();
    let hand_offs = (0..500).map(|n| {
        let hand_off = HandOff { image: place(&format!("library/app{n}")), ..by_digest(1) };
        store.hand_off(hand_off, "east", None, START)
    });
    futures_util::future::try_join_all(hand_offs).await.unwrap();
    let commits = commits_in(&std::fs::read(directory.path().join("queue.sqlite-wal")).unwrap());
    assert!((1..100).contains(&commits), "{commits} commits for 500 hand-offs");
    assert_eq!(rows(&store).await.len(), 500);
}

/// Counts the frames of a write-ahead log that end a commit (<https://sqlite.org/fileformat2.html#the_write_ahead_log>):
/// those that hold the size of the database after it.
fn commits_in(log: &[u8]) -> usize {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4096;
    log[HEADER..].chunks_exact(FRAME).filter(|frame| frame[4..8] != [0; 4]).count()
}

#[test]
fn a_queue_that_another_process_has_is_left_alone() {
    let (_store, directory) = fresh();
    let Err(error) = Store::open(directory.path(), options(), START) else { panic!("it is opened twice") };
    assert!(error.to_string().contains("is in use by another harbor-warmer"), "{error}");
}

/// A disk without room is a database that may not grow; for SQLite both are the error `SQLITE_FULL`.
async fn allow_pages(store: &Store, pages: u64) {
    let sql = format!("PRAGMA max_page_count = {pages}");
    store.write(move |connection| Ok(connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?)).await.unwrap();
}

async fn until_healthy_is(store: &Store, healthy: bool) {
    let deadline = std::time::Duration::from_secs(10);
    let wait = async {
        while store.is_healthy() != healthy {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(deadline, wait).await.expect("the queue's health changes");
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    let (store, directory) = fresh();
    allow_pages(&store, 12).await;
    let mut acknowledged = 0;
    let error = loop {
        let hand_off = HandOff { image: place(&format!("library/app{acknowledged}")), ..by_digest(1) };
        match store.hand_off(hand_off, "east", None, START).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the disk is never full");
    };
    assert!(matches!(error, StoreError::NotCommitted), "{error:?}");
    assert!(error.to_string().contains("disk full"), "{error}");
    until_healthy_is(&store, false).await;
    assert!(acknowledged > 0);
    assert_eq!(rows(&store).await.len(), acknowledged, "what was acknowledged is there");
    assert_hints_are_right(&store, START).await;

    allow_pages(&store, 1_000_000).await;
    until_healthy_is(&store, true).await;
    store.hand_off(by_tag("1.0"), "east", None, START).await.unwrap();
    assert_eq!(acquire(&store, 1_000, START).await.unwrap().len(), acknowledged + 1);
    drop(store);
    assert_eq!(rows(&open(directory.path())).await.len(), acknowledged + 1);
}

#[tokio::test]
async fn a_look_for_work_tells_whether_the_disk_takes_writes_again() {
    let (store, directory) = fresh();
    let break_disk = |broken: bool| {
        let store = store.clone();
        async move {
            let sql = format!("PRAGMA query_only = {broken}");
            store.write(move |connection| Ok(connection.execute_batch(&sql)?)).await
        }
    };
    break_disk(true).await.unwrap();
    store.hand_off(by_tag("1.0"), "east", None, START).await.unwrap_err();
    until_healthy_is(&store, false).await;
    acquire(&store, 1, START).await.unwrap_err();
    assert!(!store.is_healthy(), "an empty look does not pass for a write");
    drop(store);
    let store = open(directory.path());
    assert!(store.is_healthy());
    assert_nothing_is_due(&store, START).await;
}

#[tokio::test]
async fn a_change_that_fails_takes_nothing_of_its_commit_along() {
    let (store, _directory) = fresh();
    store.hand_off(by_digest(1), "east", None, START).await.unwrap();
    let fails = store.write(|connection| {
        connection.execute("DELETE FROM unit", [])?;
        Ok(connection.execute("DELETE FROM no_such_table", [])?)
    });
    let neighbours = (2..50).map(|n| store.hand_off(by_digest(n), "east", None, START));
    // All of them are queued before the writer gets to the first.
    let (failed, neighbours) = futures_util::join!(fails, futures_util::future::try_join_all(neighbours));
    assert!(matches!(failed, Err(StoreError::Sql(_))), "{failed:?}");
    neighbours.unwrap();
    assert_eq!(rows(&store).await.len(), 49);
    assert_hints_are_right(&store, START).await;
    assert!(store.is_healthy(), "one change that fails is no fault of the disk");
}

pub(super) fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("queue.sqlite")
}

#[test]
fn what_a_newer_version_wrote_is_refused_and_left_alone() {
    let (store, directory) = fresh();
    drop(store);
    let connection = Connection::open(file(&directory)).unwrap();
    connection.execute_batch("PRAGMA user_version = 3").unwrap();
    let Err(error) = Store::open(directory.path(), options(), START) else { panic!("it is opened") };
    let sentence = "has schema version 3, and this is a harbor-warmer that knows 2";
    assert!(error.to_string().contains(sentence), "{error}");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "").unwrap();
    let Err(error) = Store::open(&path.join("data"), options(), START) else { panic!("it is opened") };
    assert!(matches!(error, StoreError::Directory { .. }), "{error:?}");
}

/// Bodies, which are much larger than all else, are not passed over: names are found in the indexes.
#[test]
fn a_search_by_name_reads_no_body() {
    let scans = [
        "SCAN unit USING COVERING INDEX sqlite_autoindex_unit_1",
        "SCAN want USING COVERING INDEX sqlite_autoindex_want_1",
    ];
    let steps = plan(NAMED);
    assert_eq!(steps.iter().filter(|step| step.starts_with("SCAN")).collect::<Vec<_>>(), scans, "{steps:#?}");
}

/// Other indexes beside these have made SQLite choose badly before: 482 claims a second instead of 4,204.
#[rstest]
#[case::what_a_worker_lost(EXPIRED, "unit_leased (harbor=? AND due<?)")]
#[case::what_is_under_way(UNDER_WAY, "SEARCH unit USING INDEX unit_asleep (harbor=? AND line=? AND due<?)")]
#[case::suspects(SUSPECTS, "SEARCH unit USING INDEX unit_asleep (harbor=? AND line=? AND due<?)")]
#[case::what_comes_into_a_line(COMING, "SEARCH unit USING INDEX unit_asleep (harbor=? AND line=? AND due<?)")]
#[case::the_next_cluster(NEXT_CLUSTER, "unit_standing (harbor=? AND line=? AND cluster>?)")]
#[case::the_first_cluster(FIRST_CLUSTER, "unit_standing (harbor=? AND line=?)")]
#[case::the_first_in_line(FIRST, "unit_standing (harbor=? AND line=? AND cluster=? AND turn>?)")]
#[case::waking(WAKE, "unit_resting (due<?)")]
#[case::the_next_due_time(NEXT_DUE, "unit_asleep (harbor=? AND line=?)")]
#[case::forgetting(FINISHED, "USING COVERING INDEX unit_finished (state=?")]
#[case::a_page(SHOWN, "SEARCH unit USING COVERING INDEX unit_phase (phase=? AND rowid<?)")]
#[case::due_longest(OLDEST_ASLEEP, "unit_asleep (harbor=? AND line=?)")]
#[case::standing_longest(OLDEST_STANDING, "unit_standing (harbor=? AND line=? AND cluster=? AND turn>?)")]
#[case::replications(OLDEST_REPLICATION, "USING COVERING INDEX replication_since (target>?)")]
fn the_queues_statements_use_their_indexes(#[case] sql: &str, #[case] step: &str) {
    let steps = plan(sql);
    assert!(steps.iter().any(|found| found.contains(step)), "{steps:#?}");
    let slow = steps.iter().filter(|step| step.starts_with("SCAN unit") || step.contains("TEMP B-TREE"));
    assert_eq!(slow.count(), 0, "{steps:#?}");
}

fn plan(sql: &str) -> Vec<String> {
    let (_store, directory) = fresh();
    let connection = Connection::open(file(&directory)).unwrap();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    statement.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().unwrap()
}
