//! The thread that writes: group commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::schema;
use crate::StoreError;

/// A change. It tells its caller itself where it fails alone.
type Change = Box<dyn FnOnce(&Connection) -> Changed + Send>;

/// Tells the caller.
type Committed = Box<dyn FnOnce() + Send>;

/// What became of one change.
enum Changed {
    /// It is part of the commit.
    Stays(Committed),
    /// It goes back, and its neighbours stay.
    Failed,
    /// Nothing of the commit can stay.
    Breaks(rusqlite::Error),
}

/// So many changes share a commit at most: the time that a batch takes stays far below the sync that it saves.
const BATCH: usize = 512;

/// Callers that wait for a place when so many changes are queued.
const QUEUED: usize = 4096;

pub(crate) struct Writer {
    changes: mpsc::Sender<Change>,
    healthy: Arc<AtomicBool>,
    under_way: Arc<AtomicUsize>,
    ended: CancellationToken,
}

/// One change, from its caller's request until the caller was told of its end.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Writer {
    /// Starts the thread; it ends when the last handle is dropped and everything queued is written.
    pub(crate) fn start(connection: Connection) -> Self {
        let (changes, receiver) = mpsc::channel(QUEUED);
        let healthy = Arc::new(AtomicBool::new(true));
        let ended = CancellationToken::new();
        let (told, ending) = (Arc::clone(&healthy), ended.clone().drop_guard());
        std::thread::Builder::new()
            .name("queue-writer".to_owned())
            .spawn(move || {
                write_all(connection, receiver, &told);
                drop(ending);
            })
            .expect("the system starts a thread at the start of the program");
        Self { changes, healthy, under_way: Arc::default(), ended }
    }

    /// Told when the thread has ended.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Whether the disk took the last write.
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed) && !self.changes.is_closed()
    }

    /// Changes that were asked for and whose callers don't know yet what became of them.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// Runs `change` in the next commit. One that fails takes nothing of the commit along.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let under_way = UnderWay::begin(&self.under_way);
        let change: Change = Box::new(move |connection| match change(connection) {
            Ok(value) => Changed::Stays(Box::new(move || {
                // The caller may have gone: the change stands all the same.
                let _gone = answer.send(Ok(value));
                drop(under_way);
            })),
            Err(StoreError::Sql(error)) if breaks_commit(connection, &error) => Changed::Breaks(error),
            Err(error) => {
                let _gone = answer.send(Err(error));
                drop(under_way);
                Changed::Failed
            }
        });
        self.changes.send(change).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::NotCommitted)?
    }
}

/// Whether an error is of the disk, and not of one change.
fn breaks_commit(connection: &Connection, error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    // A full disk has rolled back by itself.
    connection.is_autocommit()
        || matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::NotADatabase
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::OutOfMemory
            )
        )
}

fn write_all(connection: Connection, mut changes: mpsc::Receiver<Change>, healthy: &AtomicBool) {
    while let Some(first) = changes.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match changes.try_recv() {
                Ok(change) => batch.push(change),
                Err(_) => break,
            }
        }
        let alone = batch.len() == 1;
        match commit(&connection, batch, healthy) {
            Ok(answers) => answers.into_iter().for_each(|answer| answer()),
            Err(error) => {
                // Dropping the answers told the callers.
                tracing::error!(error = &error as &dyn std::error::Error, "the queue can't be written");
                if alone {
                    // A full or broken disk: don't spin.
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }
    // Leaves one file that can be copied, and no log that the next start would have to replay.
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(error = &error as &dyn std::error::Error, "the queue's log stays beside it");
    }
}

fn commit(connection: &Connection, batch: Vec<Change>, healthy: &AtomicBool) -> rusqlite::Result<Vec<Committed>> {
    let written = write_batch(connection, batch, healthy.load(Ordering::Relaxed));
    healthy.store(written.is_ok(), Ordering::Relaxed);
    if written.is_err() && !connection.is_autocommit() {
        // A full disk has rolled back by itself.
        connection.execute_batch("ROLLBACK")?;
    }
    written
}

fn write_batch(connection: &Connection, batch: Vec<Change>, healthy: bool) -> rusqlite::Result<Vec<Committed>> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    if !healthy {
        // Looking for work in an empty queue writes nothing, so it would not tell whether the disk takes writes again.
        schema::rewrite_version(connection)?;
    }
    let mut answers = Vec::with_capacity(batch.len());
    for change in batch {
        connection.prepare_cached("SAVEPOINT change")?.execute([])?;
        match change(connection) {
            Changed::Stays(answer) => answers.push(answer),
            Changed::Failed => {
                connection.prepare_cached("ROLLBACK TO change")?.execute([])?;
            }
            Changed::Breaks(error) => return Err(error),
        }
        connection.prepare_cached("RELEASE change")?.execute([])?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(answers)
}
