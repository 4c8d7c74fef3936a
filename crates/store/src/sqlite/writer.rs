//! The thread that writes: group commit.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timestamp::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::lock::Lock;
use super::reserve::Reserve;
use super::watch::Watch;
use super::{connection, rescue};
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

/// What the writing thread works with.
pub(crate) struct Tools {
    pub(crate) path: PathBuf,
    pub(crate) projects: Arc<Projects>,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) watch: Arc<Watch>,
    /// Opened anew where the file is.
    pub(crate) reader: Arc<Mutex<Connection>>,
    /// Files that were moved aside.
    pub(crate) moved_aside: Arc<AtomicUsize>,
    /// The moment of the last change that had one, for the names of such files.
    pub(crate) moment: Arc<AtomicI64>,
    /// Let go of at the very end.
    pub(crate) _lock: Lock,
}

impl Writer {
    /// Starts the thread; it ends when the last handle is dropped and everything queued is written.
    pub(crate) fn start(connection: Connection, tools: Tools) -> Self {
        let (changes, receiver) = mpsc::channel(QUEUED);
        let healthy = Arc::new(AtomicBool::new(true));
        let ended = CancellationToken::new();
        let (told, ending) = (Arc::clone(&healthy), ended.clone().drop_guard());
        std::thread::Builder::new()
            .name("queue-writer".to_owned())
            .spawn(move || {
                write_all(connection, receiver, &told, &tools);
                drop(tools);
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
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::OutOfMemory
            )
        )
}

fn write_all(mut connection: Connection, mut changes: mpsc::Receiver<Change>, healthy: &AtomicBool, tools: &Tools) {
    while let Some(first) = changes.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match changes.try_recv() {
                Ok(change) => batch.push(change),
                Err(_) => break,
            }
        }
        let alone = batch.len() == 1;
        if tools.reserve.is_spent() {
            tools.reserve.take();
        }
        match commit(&connection, batch, healthy, tools) {
            Ok(answers) => answers.into_iter().for_each(|answer| answer()),
            Err(Broken::Sql(error)) => {
                // Dropping the answers told the callers.
                tracing::error!(error = &error as &dyn std::error::Error, "the queue can't be written");
                let is_full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
                let gave_up = is_full && tools.reserve.spend();
                if is_full {
                    // With that, what the log holds goes back into the file, so that the log's room is there once more. It is not
                    // cut: that would look as if somebody had.
                    let _as_far_as_there_is_room = connection.execute_batch("PRAGMA wal_checkpoint(RESTART)");
                }
                if gave_up {
                    tracing::error!("the disk is full: its reserve is given up, and what is new is refused");
                } else if alone {
                    // A full or broken disk: don't spin.
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            Err(Broken::Gone) => connection = begin_anew(connection, tools, true),
            Err(Broken::Unreadable) => connection = begin_anew(connection, tools, false),
        }
    }
    // Leaves one file that can be copied, and no log that the next start would have to replay: the connection that can
    // write has to be the last that is closed.
    *tools.reader.lock().unwrap_or_else(PoisonError::into_inner) = nowhere();
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(error = &error as &dyn std::error::Error, "the queue's log stays beside it");
    }
    drop(connection);
    tools.reserve.leave_behind();
}

/// Why nothing of a commit stands.
enum Broken {
    Sql(rusqlite::Error),
    /// The file is gone; behind the connection it may be whole.
    Gone,
    /// The file can't be read.
    Unreadable,
}

/// The file is gone or can't be read: goes on with what can be had of it. Nothing is acknowledged until then.
fn begin_anew(connection: Connection, tools: &Tools, is_whole: bool) -> Connection {
    let mut reader = tools.reader.lock().unwrap_or_else(PoisonError::into_inner);
    let mut open = Some(connection);
    loop {
        // The old file's lock must not be left behind by the reader.
        *reader = nowhere();
        let now = Timestamp::from_millis(tools.moment.load(Ordering::Relaxed));
        let begun = rescue::rescue(&tools.path, &mut open, is_whole, &tools.projects, now)
            .and_then(|connection| Ok((connection, connection::open_reader(&tools.path)?)));
        match begun {
            Ok((connection, new)) => {
                *reader = new;
                tools.watch.forget();
                tools.moved_aside.fetch_add(1, Ordering::Relaxed);
                return connection;
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the queue can't be begun anew; trying again"
                );
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

/// A connection to nothing, while there is no file.
fn nowhere() -> Connection {
    Connection::open_in_memory().expect("SQLite opens a database in memory")
}

fn commit(
    connection: &Connection,
    batch: Vec<Change>,
    healthy: &AtomicBool,
    tools: &Tools,
) -> Result<Vec<Committed>, Broken> {
    if !tools.watch.is_there() {
        healthy.store(false, Ordering::Relaxed);
        return Err(Broken::Gone);
    }
    let written = write_batch(connection, batch, healthy.load(Ordering::Relaxed));
    let is_unreadable = written.as_ref().is_err_and(rescue::is_unreadable);
    if written.is_err() && !connection.is_autocommit() {
        // A full disk has rolled back by itself.
        let _rolled_back = connection.execute_batch("ROLLBACK");
    }
    // What is in a file that was deleted meanwhile is on no disk.
    let is_gone = !tools.watch.is_there();
    healthy.store(written.is_ok() && !is_gone, Ordering::Relaxed);
    match written {
        Err(_) if is_unreadable => Err(Broken::Unreadable),
        _ if is_gone => Err(Broken::Gone),
        written => written.map_err(Broken::Sql),
    }
}

fn write_batch(connection: &Connection, batch: Vec<Change>, healthy: bool) -> rusqlite::Result<Vec<Committed>> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    if !healthy {
        // Looking for work in an empty queue writes nothing, so it would not tell whether the disk takes writes again.
        connection::rewrite_version(connection)?;
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
