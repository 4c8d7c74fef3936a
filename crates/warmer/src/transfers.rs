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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn key(repository: &str) -> BlobKey {
        let place = Repository { project: "proxy".parse().unwrap(), repository: repository.parse().unwrap() };
        BlobKey { harbor: "main".parse().unwrap(), place, digest: Digest::ZERO }
    }

    fn lead(transfers: &Transfers, repository: &str) -> Transfer {
        match transfers.join_or_start(key(repository)) {
            Role::Leader(transfer) => transfer,
            Role::Follower(_) => panic!("a transfer is under way"),
        }
    }

    fn follow(transfers: &Transfers, repository: &str) -> Follower {
        match transfers.join_or_start(key(repository)) {
            Role::Follower(follower) => follower,
            Role::Leader(_) => panic!("no transfer is under way"),
        }
    }

    #[test]
    fn one_leads_and_the_others_follow_and_see_its_bytes() {
        let transfers = Transfers::new();
        let leader = lead(&transfers, "app");
        let followers = [follow(&transfers, "app"), follow(&transfers, "app")];
        leader.add_bytes(3);
        leader.add_bytes(4);
        assert_eq!(transfers.read_bytes(&key("app")), Some(7));
        assert!(followers.iter().all(|follower| follower.read_bytes() == 7));
        let mut waiting: Vec<_> = followers.into_iter().map(|follower| Box::pin(follower.wait())).collect();
        assert!(waiting.iter_mut().all(|wait| wait.as_mut().now_or_never().is_none()));
        leader.finish(Ok(7));
        for wait in waiting {
            assert_eq!(wait.now_or_never().unwrap().unwrap().unwrap(), 7);
        }
        assert_eq!(transfers.read_bytes(&key("app")), None);
    }

    #[test]
    fn a_failure_reaches_every_follower_with_its_class() {
        let transfers = Transfers::new();
        let leader = lead(&transfers, "app");
        let follower = follow(&transfers, "app");
        leader.finish(Err(Arc::new(HarborError::MissingBlob)));
        let outcome = follower.wait().now_or_never().unwrap().unwrap();
        assert!(matches!(*outcome.unwrap_err(), HarborError::MissingBlob));
    }

    #[test]
    fn followers_of_a_leader_that_goes_away_are_told_and_the_first_to_ask_again_leads() {
        let transfers = Transfers::new();
        let leader = lead(&transfers, "app");
        let follower = follow(&transfers, "app");
        drop(leader);
        assert_eq!(follower.wait().now_or_never().unwrap().unwrap_err(), Abandoned);
        let _leader = lead(&transfers, "app");
        follow(&transfers, "app");
    }

    #[test]
    fn the_same_blob_of_another_repository_is_another_transfer() {
        let transfers = Transfers::new();
        let _app = lead(&transfers, "app");
        let _other = lead(&transfers, "other/app");
    }
}
