//! The requests that reached the simulated Harbor, for tests to count.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::fault::RouteClass;

/// A soak sends many; the oldest are forgotten beyond this.
const KEPT: usize = 200_000;

/// A request as it was received, and how it was answered.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// When it came, in Harbor time since the start.
    pub at: Duration,
    /// Its method.
    pub method: String,
    /// Its path with the query.
    pub path: String,
    /// What kind of request it is.
    pub class: RouteClass,
    /// Who sent it; nobody for anonymous requests and for wrong credentials.
    pub user: Option<String>,
    /// Its `User-Agent`.
    pub user_agent: String,
    /// The status it was answered with; 0 while there is no answer or if the connection was reset.
    pub status: u16,
    /// How much of the answer's body was handed to the connection so far.
    pub bytes_sent: u64,
}

#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    entries: Mutex<VecDeque<Arc<Entry>>>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    record: RequestRecord,
    status: AtomicU16,
    bytes_sent: AtomicU64,
}

impl Entry {
    pub(crate) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl RequestLog {
    pub(crate) fn enter(&self, record: RequestRecord) -> Arc<Entry> {
        let entry = Arc::new(Entry::from(record));
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(Arc::clone(&entry));
        entry
    }

    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|entry| RequestRecord {
                status: entry.status.load(Ordering::Relaxed),
                bytes_sent: entry.bytes_sent.load(Ordering::Relaxed),
                ..entry.record.clone()
            })
            .collect()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl From<RequestRecord> for Entry {
    fn from(record: RequestRecord) -> Self {
        Self { record, status: AtomicU16::new(0), bytes_sent: AtomicU64::new(0) }
    }
}
