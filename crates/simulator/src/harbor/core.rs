//! Harbor's core process: its goroutines and what they know of each other. All of it is gone after a restart.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What runs in the background of one process, and ends with it.
#[derive(Debug)]
pub(crate) struct Goroutines {
    running: TaskTracker,
    ended: CancellationToken,
}

#[derive(Debug)]
pub(crate) struct Core {
    goroutines: Goroutines,
    /// `inflightChecker` in `src/controller/proxy/inflight.go`.
    in_flight: Mutex<HashSet<String>>,
    /// `connection.Limiter`. Harbor keeps it in Redis, where a count that a crash left behind expires after an hour;
    /// here a restart forgets it.
    upstream_connections: Mutex<HashMap<String, u32>>,
}

impl Goroutines {
    pub(crate) fn new() -> Self {
        Self { running: TaskTracker::new(), ended: CancellationToken::new() }
    }

    /// Runs something that ends when it is done or with the process.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.running.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = work => {}
            }
        });
    }

    pub(crate) async fn end(&self) {
        self.ended.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

impl Core {
    pub(crate) fn new() -> Self {
        Self { goroutines: Goroutines::new(), in_flight: Mutex::default(), upstream_connections: Mutex::default() }
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.goroutines.spawn(work);
    }

    /// Resolves when the process ends.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.goroutines.ended.clone()
    }

    pub(crate) async fn end(&self) {
        self.goroutines.end().await;
    }

    /// `addRequest`: `None` when somebody else is at it.
    pub(crate) fn enter_flight(self: &Arc<Self>, name: String) -> Option<InFlight> {
        let entered = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        entered.then(|| InFlight { core: Arc::clone(self), name })
    }

    /// `Limiter.Acquire`: `None` when the limit is reached.
    pub(crate) fn connect_upstream(self: &Arc<Self>, key: String, limit: u32) -> Option<ConnectionPermit> {
        let mut connections = self.upstream_connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(key.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        drop(connections);
        Some(ConnectionPermit { core: Arc::clone(self), key })
    }
}

/// A push that nobody else starts while it lasts.
#[derive(Debug)]
pub(crate) struct InFlight {
    core: Arc<Core>,
    name: String,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.core.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// One of the connections that `max_upstream_conn` allows.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    core: Arc<Core>,
    key: String,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections = self.core.upstream_connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.key) {
            *count = count.saturating_sub(1);
        }
    }
}
