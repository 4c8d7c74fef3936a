//! The durable queue: who asked for what, and what was seen of it so far.
//!
//! SQL owns lease, deduplication and due time, no more; what an image *is* stands in its body, which only the pure
//! core reads and writes. One thread owns the writing connection and answers each caller after the commit that its
//! change is in, so that hundreds of hand-offs share one sync of the disk. Only this module touches the disk.
//!
//! A `unit` is what a worker holds: an announcement (a tag whose digest isn't known) or an image. `due` is one column
//! with two meanings: not before, while the unit is ready; the lease's end, while a worker holds it. So a lease that
//! ran out needs no sweeper. `token` fences: it grows with every lease, and a write with an older one is refused.

mod acquire;
mod body;
mod clock;
mod forget;
mod hand_off;
mod lease;
mod line;
mod read;
mod row;
mod sqlite;
#[cfg(test)]
mod tests;
mod units;

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::sync::CancellationToken;

pub use acquire::AcquireRequest;
pub use body::Unit;
pub use lease::{Lease, Leased, Settlement};
pub use read::{AnnouncedTags, Counts, ListFilter};
pub use units::HandedOff;

use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timers::Timers;
use harbor_warmer_core::timestamp::Timestamp;
use line::Turns;
use sqlite::reserve::Reserve;
use sqlite::watch::Watch;
use sqlite::writer::{Tools, Writer};
use sqlite::{connection, lock, rescue};

/// What a queue has to know.
#[derive(Clone)]
pub struct Options {
    /// A tag seen warm is looked at again when it is asked for after this.
    pub recheck_after: Duration,
    /// The projects that it serves.
    pub projects: Arc<Projects>,
    /// Units of one cluster at most that workers still have something to do for. What is new beyond is refused.
    pub most_unfinished: usize,
    /// Room that is kept on the disk for the day when it is full.
    pub reserve_bytes: u64,
    /// How fast Harbor's time goes, for the pauses of what was in hand as the process died.
    pub timers: Timers,
}

/// A handle to the queue; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    writer: Writer,
    reader: Arc<Mutex<Connection>>,
    projects: Arc<Projects>,
    recheck_after: Duration,
    most_unfinished: usize,
    turns: Turns,
    /// How often work was taken.
    acquired: AtomicU64,
    given_up_at_start: usize,
    set_back: Duration,
    /// The last moment that was heard of, and that the file was told of.
    moment: Arc<AtomicI64>,
    told: AtomicI64,
    reserve: Arc<Reserve>,
    watch: Arc<Watch>,
    moved_aside: Arc<AtomicUsize>,
    woken: Notify,
}

/// A row's id.
type UnitId = i64;

/// What can be wrong with the queue.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be opened or is not a queue of this version.
    #[error("failed to open the queue {path}")]
    Open {
        /// The file.
        path: String,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The file was written by a newer version.
    #[error(
        "the queue {path} has schema version {found}, and this is a harbor-warmer that knows {known}; \
         start the version that wrote it, or another dataDir"
    )]
    TooNew {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// This program's.
        known: i64,
    },
    /// Another process has it.
    #[error("the queue {path} is in use by another harbor-warmer; each needs a dataDir of its own")]
    InUse {
        /// The file.
        path: String,
    },
    /// The directory can't be made or used.
    #[error("failed to use the data directory {path}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is something else than a queue.
    #[error("{path} is another program's; set another dataDir")]
    Foreign {
        /// The file.
        path: String,
    },
    /// The disk is full, and the reserve is given up.
    #[error(
        "the queue's disk is full: what is handed over for the first time is refused until there is room again; give \
         it more room, or shorten queue.forgetAfter"
    )]
    NoRoom,
    /// A cluster has as many units as it may have.
    #[error(
        "the cluster {cluster} has {most} images that are not finished, which is as many as it may have \
         (queue.maxUnfinishedPerCluster)"
    )]
    TooMany {
        /// Whose.
        cluster: String,
        /// So many.
        most: usize,
    },
    /// A read or write failed; nothing of it took effect.
    #[error("the queue can't be read or written at present")]
    Sql(#[from] rusqlite::Error),
    /// The write was not committed; the log has the reason.
    #[error("the queue can't be written at present; is its disk full?")]
    NotCommitted,
    /// The service is shutting down.
    #[error("the queue is closed")]
    Closed,
}

/// What a start found.
struct Begun {
    /// Units that were given up, because the process died over them.
    given_up: usize,
    /// The last moment that the queue has seen.
    moment: Timestamp,
}

/// Opens the file and takes over what the process before had in hand.
fn begin(path: &Path, projects: &Projects, timers: Timers, now: Timestamp) -> Result<(Connection, Begun), StoreError> {
    let at = |source| StoreError::Open { path: path.display().to_string(), source };
    let connection = connection::open(path, projects)?;
    let given_up = acquire::take_over(&connection, timers, now).map_err(at)?;
    let moment = clock::moment(&connection).map_err(at)?;
    Ok((connection, Begun { given_up, moment }))
}

impl StoreError {
    fn is_unreadable(&self) -> bool {
        matches!(self, Self::Open { source, .. } if rescue::is_unreadable(source))
    }
}

impl Store {
    /// Opens the queue in `directory`, and makes it where there is none. A file that can't be read is moved aside.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::InUse`], [`StoreError::TooNew`], [`StoreError::Foreign`] or
    /// [`StoreError::Directory`].
    pub fn open(directory: &Path, options: Options, now: Timestamp) -> Result<Self, StoreError> {
        let Options { recheck_after, projects, most_unfinished, reserve_bytes, timers } = options;
        lock::make_directory(directory)?;
        let path = directory.join("queue.sqlite");
        let reserve = Arc::new(Reserve::new(directory, reserve_bytes));
        let lock = match lock::take(directory, &path) {
            // A disk without room for as much as a file of nothing.
            Err(StoreError::Directory { .. }) if reserve.spend() => lock::take(directory, &path),
            taken => taken,
        }?;
        let begin = || begin(&path, &projects, timers, now);
        let (connection, begun, moved_aside) = match begin() {
            Ok((connection, begun)) => (connection, begun, 0),
            Err(error) if error.is_unreadable() => {
                rescue::rescue(&path, &mut None, false, &projects, now)?;
                let (connection, begun) = begin()?;
                (connection, begun, 1)
            }
            Err(StoreError::Open { .. }) if reserve.spend() => {
                let (connection, begun) = begin()?;
                (connection, begun, 0)
            }
            Err(error) => return Err(error),
        };
        reserve.take();
        let reader = Arc::new(Mutex::new(connection::open_reader(&path)?));
        let watch = Arc::new(Watch::new(&path));
        watch.is_there();
        let moved_aside = Arc::new(AtomicUsize::new(moved_aside));
        let moment = Arc::new(AtomicI64::new(now.as_millis()));
        let tools = Tools {
            path,
            projects: Arc::clone(&projects),
            reserve: Arc::clone(&reserve),
            watch: Arc::clone(&watch),
            reader: Arc::clone(&reader),
            moved_aside: Arc::clone(&moved_aside),
            moment: Arc::clone(&moment),
            _lock: lock,
        };
        Ok(Self(Arc::new(Shared {
            writer: Writer::start(connection, tools),
            reader,
            projects,
            recheck_after,
            most_unfinished,
            turns: Turns::default(),
            acquired: AtomicU64::new(0),
            given_up_at_start: begun.given_up,
            set_back: begun.moment.since(now),
            moment,
            told: AtomicI64::new(0),
            reserve,
            watch,
            moved_aside,
            woken: Notify::new(),
        })))
    }

    /// Resolves when a unit may have become due by a hand-off or a requeue since this was called. Call it before the
    /// queue is looked at, so that nothing is missed between the look and the wait.
    pub fn woken(&self) -> Notified<'_> {
        self.0.woken.notified()
    }

    /// Whether the disk took the last write, and the files are still there.
    pub fn is_healthy(&self) -> bool {
        self.0.writer.is_healthy() && self.0.watch.is_there()
    }

    /// Whether the disk is full, so that nothing new is taken in.
    pub fn is_full(&self) -> bool {
        self.0.reserve.is_spent()
    }

    /// Files that were moved aside since the start, at the start included, because they were gone or couldn't be read.
    pub fn moved_aside(&self) -> usize {
        self.0.moved_aside.load(Ordering::Relaxed)
    }

    /// How far the clock was set back since the queue was last in use; zero where it was not.
    pub fn set_back(&self) -> Duration {
        self.0.set_back
    }

    /// Images that were given up at the start, because the process died a second time over them.
    pub fn given_up_at_start(&self) -> usize {
        self.0.given_up_at_start
    }

    /// Told when nothing can be written any more: the queue was closed, or its writer has died of a fault.
    pub fn ended(&self) -> CancellationToken {
        self.0.writer.ended()
    }

    /// Changes on their way to the disk whose callers wait for them.
    pub fn changes_under_way(&self) -> usize {
        self.0.writer.under_way()
    }

    /// Lets go of the last handle, and waits until the queue is one file. Waits for ever while there is another.
    pub async fn close(self) {
        let ended = self.0.writer.ended();
        drop(self);
        ended.cancelled().await;
    }

    /// Runs `change` in the next commit, and answers when that is on the disk.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.writer.write(change).await
    }

    /// Runs `look` on the reading connection, beside the writer.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection, &Shared) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.0);
        let looked = tokio::task::spawn_blocking(move || {
            let reader = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            look(&reader, &shared)
        });
        match looked.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(StoreError::Closed),
        }
    }
}
