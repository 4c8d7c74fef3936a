//! The requests that reached the simulated Harbor, for tests to count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// How many requests came, and how many at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCounts {
    /// By who sent them, nobody for the anonymous, and by kind.
    pub by_user: BTreeMap<String, BTreeMap<RouteClass, u64>>,
    /// Connections that are open.
    pub connections: usize,
    /// Connections that were open at once, at most.
    pub most_connections: usize,
    /// Requests that have no answer yet.
    pub waiting: usize,
    /// Requests that had no answer at once, at most.
    pub most_waiting: usize,
}

impl RequestCounts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.by_user.values().flat_map(BTreeMap::values).sum()
    }

    /// Requests of this kind, whoever sent them.
    pub fn of(&self, class: RouteClass) -> u64 {
        self.by_user.values().filter_map(|kinds| kinds.get(&class)).sum()
    }
}

#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    entries: Mutex<VecDeque<Arc<Entry>>>,
    counts: Mutex<RequestCounts>,
}

/// A connection, or a request without an answer: counted as long as it lives.
pub(crate) struct Present<'a> {
    log: &'a RequestLog,
    is_connection: bool,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        let mut counts = self.log.lock_counts();
        *if self.is_connection { &mut counts.connections } else { &mut counts.waiting } -= 1;
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    record: RequestRecord,
    status: AtomicU16,
    bytes_sent: AtomicU64,
}

impl Entry {
    /// For what is no request to Harbor: it stands in no log.
    pub(crate) fn unlogged() -> Arc<Self> {
        Arc::new(Self::from(RequestRecord {
            at: Duration::ZERO,
            method: String::new(),
            path: String::new(),
            class: RouteClass::Other,
            user: None,
            user_agent: String::new(),
            status: 0,
            bytes_sent: 0,
        }))
    }

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

    /// A connection is open until the guard is dropped.
    pub(crate) fn connected(&self) -> Present<'_> {
        let mut counts = self.lock_counts();
        counts.connections += 1;
        counts.most_connections = counts.most_connections.max(counts.connections);
        Present { log: self, is_connection: true }
    }

    /// A request waits for its answer until the guard is dropped.
    pub(crate) fn waits(&self, user: Option<&str>, class: RouteClass) -> Present<'_> {
        let mut counts = self.lock_counts();
        *counts.by_user.entry(user.unwrap_or_default().to_owned()).or_default().entry(class).or_default() += 1;
        counts.waiting += 1;
        counts.most_waiting = counts.most_waiting.max(counts.waiting);
        Present { log: self, is_connection: false }
    }

    pub(crate) fn counts(&self) -> RequestCounts {
        self.lock_counts().clone()
    }

    fn lock_counts(&self) -> MutexGuard<'_, RequestCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut counts = self.lock_counts();
        let (connections, waiting) = (counts.connections, counts.waiting);
        *counts = RequestCounts {
            connections,
            most_connections: connections,
            waiting,
            most_waiting: waiting,
            ..RequestCounts::default()
        };
    }
}

impl From<RequestRecord> for Entry {
    fn from(record: RequestRecord) -> Self {
        Self { record, status: AtomicU16::new(0), bytes_sent: AtomicU64::new(0) }
    }
}
