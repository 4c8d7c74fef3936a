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

use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::sync::CancellationToken;

pub use acquire::AcquireRequest;
pub use body::Unit;
pub use hand_off::HandedOff;
pub use lease::{Lease, Leased, Settlement};
pub use read::{AnnouncedTags, Counts, ListFilter};

use harbor_warmer_core::projects::Projects;
use harbor_warmer_core::timestamp::Timestamp;
use line::Turns;
use sqlite::writer::Writer;
use sqlite::{lock, schema};

/// A handle to the queue; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    writer: Writer,
    reader: Mutex<Connection>,
    projects: Arc<Projects>,
    recheck_after: Duration,
    turns: Turns,
    /// How often work was taken.
    acquired: AtomicU64,
    given_up_at_start: usize,
    woken: Notify,
    /// Nobody else has the queue while this is open.
    _lock: File,
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

impl Store {
    /// Opens the queue in `directory`, and makes it where there is none. A tag seen warm is looked at again when it is
    /// asked for after `recheck_after`.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::InUse`], [`StoreError::TooNew`], [`StoreError::Foreign`] or
    /// [`StoreError::Directory`].
    pub fn open(
        directory: &Path,
        recheck_after: Duration,
        projects: Arc<Projects>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        std::fs::create_dir_all(directory)
            .map_err(|source| StoreError::Directory { path: directory.display().to_string(), source })?;
        let path = directory.join("queue.sqlite");
        let lock = lock::take(directory, &path)?;
        let connection = schema::open(&path, &projects)?;
        let given_up_at_start = acquire::take_over(&connection, now)?;
        let reader = schema::open_reader(&path)?;
        Ok(Self(Arc::new(Shared {
            writer: Writer::start(connection),
            reader: Mutex::new(reader),
            projects,
            recheck_after,
            turns: Turns::default(),
            acquired: AtomicU64::new(0),
            given_up_at_start,
            woken: Notify::new(),
            _lock: lock,
        })))
    }

    /// Resolves when a unit may have become due by a hand-off or a requeue since this was called. Call it before the
    /// queue is looked at, so that nothing is missed between the look and the wait.
    pub fn woken(&self) -> Notified<'_> {
        self.0.woken.notified()
    }

    /// Whether the disk took the last write.
    pub fn is_healthy(&self) -> bool {
        self.0.writer.is_healthy()
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
