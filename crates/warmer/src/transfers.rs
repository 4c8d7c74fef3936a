//! The transfers under way in this process: one for each blob of a repository, whoever asks.
//!
//! Lives in memory alone. A crash forgets it and the next observation of Harbor tells what is missing.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harbor_warmer_protocol::{Digest, HarborName};
use tokio::sync::watch;

use crate::harbor::{HarborError, Repository};

/// What a transfer is one of. The repository counts: Harbor links blobs to repositories.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobKey {
    /// The Harbor.
    pub harbor: HarborName,
    /// The repository.
    pub place: Repository,
    /// The blob.
    pub digest: Digest,
}

/// The transfers under way. Cheap to clone.
#[derive(Clone, Default)]
pub struct Transfers {
    under_way: Arc<Mutex<HashMap<BlobKey, UnderWay>>>,
}

struct UnderWay {
    read_bytes: Arc<AtomicU64>,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// How a transfer ended: the bytes it read, or why it failed.
pub type Outcome = Result<u64, Arc<HarborError>>;

/// Who does the work.
pub enum Role {
    /// The caller transfers the blob.
    Leader(Transfer),
    /// Somebody else does already.
    Follower(Follower),
}

/// The leader's part. Dropped before [`Transfer::finish`], its followers are told that it was abandoned.
#[must_use = "followers wait for it"]
pub struct Transfer {
    key: BlobKey,
    transfers: Transfers,
    read_bytes: Arc<AtomicU64>,
    outcome: watch::Sender<Option<Outcome>>,
}

/// A follower's part.
pub struct Follower {
    read_bytes: Arc<AtomicU64>,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// The leader was dropped before its transfer ended: ask again, perhaps as the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transfer of this blob was abandoned")]
pub struct Abandoned;

impl Transfers {
    /// None under way.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leads a transfer of the blob, or follows the one under way.
    pub fn join_or_start(&self, key: BlobKey) -> Role {
        let mut under_way = self.under_way();
        if let Some(UnderWay { read_bytes, outcome }) = under_way.get(&key) {
            return Role::Follower(Follower { read_bytes: Arc::clone(read_bytes), outcome: outcome.clone() });
        }
        let read_bytes = Arc::new(AtomicU64::new(0));
        let (sender, outcome) = watch::channel(None);
        under_way.insert(key.clone(), UnderWay { read_bytes: Arc::clone(&read_bytes), outcome });
        Role::Leader(Transfer { key, transfers: self.clone(), read_bytes, outcome: sender })
    }

    /// The bytes that the transfer under way has brought so far; none without one.
    pub fn read_bytes(&self, key: &BlobKey) -> Option<u64> {
        self.under_way().get(key).map(|transfer| transfer.read_bytes.load(Ordering::Relaxed))
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<BlobKey, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transfer {
    /// So many more bytes came in.
    pub fn add_bytes(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It ended so; every follower is told.
    pub fn finish(self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.transfers.under_way().remove(&self.key);
    }
}

impl Follower {
    /// The bytes so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`Abandoned`] when the leader went away.
    pub async fn wait(mut self) -> Result<Outcome, Abandoned> {
        let outcome = self.outcome.wait_for(Option::is_some).await.map_err(|_| Abandoned)?;
        outcome.clone().ok_or(Abandoned)
    }
}

impl fmt::Debug for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfers").field("under_way", &self.under_way().len()).finish()
    }
}
