//! The thread that writes: group commit.

use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// A change, and how to tell its caller once it is committed.
type Change = Box<dyn FnOnce(&Connection) -> rusqlite::Result<Box<dyn FnOnce() + Send>> + Send>;

/// So many changes share a commit at most: the time that a batch takes stays far below the sync that it saves.
const BATCH: usize = 512;

/// Callers that wait for a place when so many changes are queued.
const QUEUED: usize = 4096;

pub(super) struct Writer(mpsc::Sender<Change>);

impl Writer {
    /// Starts the thread; it ends when the last handle is dropped and everything queued is written.
    pub(super) fn start(connection: Connection) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUED);
        std::thread::Builder::new()
            .name("queue-writer".to_owned())
            .spawn(move || write_all(connection, receiver))
            .expect("the system starts a thread at the start of the program");
        Self(sender)
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let change: Change = Box::new(move |connection| {
            let value = change(connection)?;
            Ok(Box::new(move || {
                // The caller may have gone: the change stands all the same.
                let _gone = answer.send(value);
            }))
        });
        self.0.send(change).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::NotCommitted)
    }
}

fn write_all(connection: Connection, mut changes: mpsc::Receiver<Change>) {
    while let Some(first) = changes.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match changes.try_recv() {
                Ok(change) => batch.push(change),
                Err(_) => break,
            }
        }
        let alone = batch.len() == 1;
        if let Err(error) = commit(&connection, batch) {
            // Dropping the answers tells the callers.
            tracing::error!(error = &error as &dyn std::error::Error, "the queue can't be written");
            if alone {
                // A full or broken disk: don't spin.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    // Leaves one file that can be copied, and no log that the next start would have to replay.
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(error = &error as &dyn std::error::Error, "the queue's log stays beside it");
    }
}

fn commit(connection: &Connection, batch: Vec<Change>) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut answers = Vec::with_capacity(batch.len());
    let written = batch.into_iter().try_for_each(|change| {
        answers.push(change(connection)?);
        Ok(())
    });
    if let Err(error) = written.and_then(|()| connection.execute_batch("COMMIT")) {
        connection.execute_batch("ROLLBACK")?;
        return Err(error);
    }
    for answer in answers {
        answer();
    }
    Ok(())
}
