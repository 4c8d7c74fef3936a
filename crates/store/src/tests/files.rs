//! Files of past versions and of other programs, rows that can't be read, and processes that died.

use rstest::rstest;
use rusqlite::Connection;

use super::sqlite::{file, fresh, open};
use super::*;
use crate::ListFilter;

/// The tables as version 1 had them.
const TABLES_1: &str = include_str!("../fixtures/schema-1.sql");

const ANNOUNCEMENT: &str = include_str!("../fixtures/announcement-v1.json");
const IMAGE: &str = include_str!("../fixtures/image-v1.json");
const WANT: &str = include_str!("../fixtures/want-v1.json");

/// A queue as version 1 left it: a waiting announcement, an image in a worker's hands, one whose body can't be read, one
/// that is given up and one that waits for its turn.
fn of_version_1() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(file(&directory)).unwrap();
    connection.execute_batch(TABLES_1).unwrap();
    let insert = |kind: i64, key: &str, body: &str, state: i64| {
        connection
            .execute(
                "INSERT INTO unit(kind, key, body, state, due, created, updated) VALUES(?, ?, ?, ?, 5, 1, 2)",
                (kind, key, body.as_bytes(), state),
            )
            .unwrap();
        let unit = connection.last_insert_rowid();
        connection
            .execute(
                "INSERT INTO want(unit, key, body, asked) VALUES(?, ?, ?, 1)",
                (unit, "1.0\nlinux-amd64\n\neast", WANT.as_bytes()),
            )
            .unwrap();
    };
    let image = |n: u8| format!("main/hub/library/app@{}", digest(n));
    let unread = serde_json::to_string(&serde_json::json!({"v1": Unit::Image(Box::new(Image::new(
        place("library/app"),
        digest(4),
        START,
    )))}));
    insert(0, "main/hub/library/app:1.0", &ANNOUNCEMENT.replace("\"resolved\"", "\"was\""), 0);
    insert(1, &image(1), IMAGE, 1);
    insert(1, &image(2), "{", 0);
    insert(1, &image(3), IMAGE, 3);
    insert(1, &image(4), &unread.unwrap(), 0);
    directory
}

#[tokio::test]
async fn a_queue_of_version_1_goes_on() {
    let directory = of_version_1();
    let store = open(directory.path());
    let counts = store.counts().await.unwrap();
    let phases = [(Phase::Announced, 1), (Phase::Queued, 1), (Phase::Tagged, 1), (Phase::Failed, 2)];
    assert_eq!(counts.phases, phases.into());
    assert_eq!(counts.unfinished, [("east".to_owned(), 4)].into(), "what can't be read is looked at once more");
    let leased = acquire(&store, 10, START).await.unwrap();
    assert_eq!(leased.len(), 3, "all but the one that is given up and the one that can't be read: {leased:#?}");
    assert!(leased.iter().all(|leased| leased.unit.wants().len() == 1), "{leased:#?}");
    assert_eq!(store.counts().await.unwrap().unreadable, 1);
    drop(store);
    assert_eq!(open(directory.path()).counts().await.unwrap().phases, phases.into(), "and once only");
}

#[rstest]
#[case::another_programs_tables("CREATE TABLE bookmark(url TEXT)")]
#[case::another_programs_number("PRAGMA application_id = 7; CREATE TABLE unit(id); CREATE TABLE want(id)")]
#[case::another_programs_version("PRAGMA user_version = 1; CREATE TABLE unit(id)")]
fn a_file_of_another_program_is_refused_and_left_alone(#[case] content: &str) {
    let directory = tempfile::tempdir().unwrap();
    Connection::open(file(&directory)).unwrap().execute_batch(content).unwrap();
    let before = std::fs::read(file(&directory)).unwrap();
    let Err(error) = Store::open(directory.path(), options(), START) else { panic!("it is opened") };
    assert!(error.to_string().ends_with("is another program's; set another dataDir"), "{error}");
    assert_eq!(std::fs::read(file(&directory)).unwrap(), before);
}

/// Breaks what a row holds.
async fn write(store: &Store, sql: &'static str) {
    store.write(move |connection| Ok(connection.execute_batch(sql)?)).await.unwrap();
}

#[rstest]
#[case::a_newer_body(r#"UPDATE unit SET body = CAST('{"v2":{}}' AS BLOB) WHERE id = 1"#)]
#[case::half_a_body("UPDATE unit SET body = substr(body, 1, 20) WHERE id = 1")]
#[tokio::test]
async fn a_row_that_cannot_be_read_holds_nobody_up_and_is_begun_anew_when_it_is_asked_for(
    #[case] breaks: &'static str,
) {
    let (store, directory) = fresh();
    let broken = store.hand_off(by_digest(1), "east", None, START).await.unwrap().id;
    store.hand_off(by_digest(2), "east", None, START).await.unwrap();
    write(&store, breaks).await;
    drop(store);
    let store = open(directory.path());
    assert_eq!(lease_one(&store, START).await.image().root, digest(2));
    assert_eq!(store.counts().await.unwrap().unreadable, 1);
    let listed = store.list(ListFilter { limit: 9, ..ListFilter::default() }, START).await.unwrap().images;
    let shown = listed.iter().find(|image| image.id == broken).unwrap();
    assert_eq!((shown.phase, shown.root), (Phase::Failed, Some(digest(1))));
    assert!(shown.reason.as_ref().unwrap().contains("can't be read"), "{shown:?}");
    assert!(store.view(&broken, START).await.unwrap().is_some());

    store.hand_off(by_digest(1), "east", None, at(1)).await.unwrap();
    let again = lease_one(&store, at(1)).await;
    assert_eq!((again.image().root, again.unit.wants().len()), (digest(1), 1));
    assert_eq!(store.counts().await.unwrap().unreadable, 0);
}

#[tokio::test]
async fn a_want_that_cannot_be_read_is_what_its_key_says() {
    let (store, _directory) = fresh();
    store.hand_off(for_arm(by_tag("1.0")), "east", None, START).await.unwrap();
    let before = rows(&store).await.remove(0).unit;
    write(&store, "UPDATE want SET body = x'00'").await;
    assert_eq!(rows(&store).await.remove(0).unit, before);
    assert!(store.hand_off(for_arm(by_tag("1.0")), "east", None, START).await.is_ok());
    assert_eq!(lease_one(&store, START).await.unit, before);
}

/// When what was in hand as the process died is worked on again.
const SUSPECTED: u64 = 5;

#[tokio::test]
async fn what_was_in_hand_when_the_process_died_is_worked_on_one_by_one_and_no_image_begins_beside() {
    let (store, directory) = fresh();
    for n in 1..=3 {
        store.hand_off(by_digest(n), "east", None, START).await.unwrap();
    }
    let before = acquire(&store, 2, START).await.unwrap();
    drop(store);
    let store = open(directory.path());
    assert_hints_are_right(&store, START).await;
    assert!(!store.renew(before[0].lease, at(90)).await.unwrap(), "the worker of the process before has lost it");
    let others = lease_one(&store, START).await;
    assert_eq!((others.image().root, others.crashes), (digest(3), 0), "others go on meanwhile");
    assert_nothing_is_due(&store, at(SUSPECTED)).await;
    store.settle(others.lease, others.unit, Settlement::Done { again: None }, Vec::new(), at(SUSPECTED)).await.unwrap();
    let first = lease_one(&store, at(SUSPECTED)).await;
    assert_eq!(first.crashes, 1);
    store.hand_off(by_digest(4), "east", None, at(SUSPECTED)).await.unwrap();
    store.hand_off(by_tag("1.0"), "east", None, at(SUSPECTED)).await.unwrap();
    let beside = lease_one(&store, at(SUSPECTED)).await;
    assert!(matches!(beside.unit, Unit::Announcement(_)), "a look at a tag ends no process: {beside:?}");
    let wait = Settlement::Wait { due: at(100), reason: None };
    store.settle(first.lease, first.unit, wait, Vec::new(), at(6)).await.unwrap();
    let second = lease_one(&store, at(6)).await;
    assert_eq!((second.crashes, second.image().root == digest(4)), (1, false));
    let settled = Settlement::Wait { due: at(100), reason: None };
    store.settle(second.lease, second.unit, settled, Vec::new(), at(7)).await.unwrap();
    assert_eq!(lease_one(&store, at(7)).await.image().root, digest(4), "and then images begin again");
}

#[tokio::test]
async fn an_image_that_ends_the_process_again_waits_longer_each_time_and_its_neighbours_do_not() {
    let (store, directory) = fresh();
    for n in 1..=3 {
        store.hand_off(by_digest(n), "east", None, START).await.unwrap();
    }
    assert_eq!(acquire(&store, 3, START).await.unwrap().len(), 3);
    drop(store);
    let guilty = lease_one(&open(directory.path()), at(SUSPECTED)).await;
    let store = open(directory.path());
    for _ in 0..2 {
        let innocent = lease_one(&store, at(SUSPECTED)).await;
        assert_ne!(innocent.image().root, guilty.image().root);
        let done = Settlement::Done { again: None };
        store.settle(innocent.lease, innocent.unit, done, Vec::new(), at(SUSPECTED)).await.unwrap();
    }
    let told = "SELECT count(*) FROM unit WHERE state = 0 AND reason LIKE '%ended twice%'";
    let told: i64 = store.read(move |connection, _| connection.query_row(told, [], |row| row.get(0))).await.unwrap();
    assert_eq!(told, 1);
    // Who asks for it again and again would otherwise end the process as often.
    let number = (1..=3).find(|n| digest(*n) == guilty.image().root).unwrap();
    for cluster in ["east", "west"] {
        store.hand_off(by_digest(number), cluster, None, at(120)).await.unwrap();
    }
    assert_nothing_is_due(&store, at(120)).await;
    drop(store);
    for pause in [600, 1_800, 7_200] {
        let store = open(directory.path());
        assert_eq!(store.given_up_at_start(), 0);
        assert_nothing_is_due(&store, at(pause - 1)).await;
        assert_eq!(lease_one(&store, at(pause)).await.image().root, guilty.image().root);
        if pause == 7_200 {
            // Parsing it may be what ends the process.
            write(&store, "UPDATE unit SET body = x'00' WHERE state = 1").await;
        }
    }
    let store = open(directory.path());
    assert_eq!(store.given_up_at_start(), 1);
    assert_eq!(store.counts().await.unwrap().phases[&Phase::Failed], 1);
    drop(store);
    assert_eq!(open(directory.path()).given_up_at_start(), 0);
}

#[tokio::test]
async fn a_process_that_is_killed_again_before_a_suspect_was_looked_at_accuses_nobody() {
    let (store, directory) = fresh();
    store.hand_off(by_digest(1), "east", None, START).await.unwrap();
    lease_one(&store, START).await;
    drop(store);
    for _ in 0..10 {
        let store = open(directory.path());
        assert_nothing_is_due(&store, START).await;
        assert_eq!(store.given_up_at_start(), 0);
    }
    assert_eq!(lease_one(&open(directory.path()), at(SUSPECTED)).await.crashes, 1);
}
