//! The transfers under way in this process: one for each blob of a repository, whoever asks.
//!
//! Lives in memory alone. A crash forgets it and the next observation of Harbor tells what is missing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harbor_warmer_protocol::{Digest, HarborName};
use tokio::sync::watch;

use harbor_warmer_harbor::{HarborError, Repository};

/// What a transfer is one of. The repository counts: Harbor links blobs to repositories.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlobKey {
    /// The Harbor.
    pub harbor: HarborName,
    /// The repository.
    pub place: Repository,
    /// The blob.
    pub digest: Digest,
}

/// The transfers under way. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Transfers {
    under_way: Arc<Mutex<HashMap<BlobKey, UnderWay>>>,
}

struct UnderWay {
    outcome: watch::Receiver<Option<TransferResult>>,
}

/// How a transfer ended: the bytes it read, or why it failed.
pub(crate) type TransferResult = Result<u64, Arc<HarborError>>;

/// Who does the work.
pub(crate) enum Role {
    /// The caller transfers the blob.
    Leader(Transfer),
    /// Somebody else does already.
    Follower(Follower),
}

/// The leader's part. Dropped before [`Transfer::finish`], its followers are told that it was abandoned.
#[must_use = "followers wait for it"]
pub(crate) struct Transfer {
    key: BlobKey,
    transfers: Transfers,
    outcome: watch::Sender<Option<TransferResult>>,
}

/// A follower's part.
pub(crate) struct Follower {
    outcome: watch::Receiver<Option<TransferResult>>,
}

/// The leader was dropped before its transfer ended: ask again, perhaps as the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transfer of this blob was abandoned")]
pub(crate) struct Abandoned;

impl Transfers {
    /// None under way.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Leads a transfer of the blob, or follows the one under way.
    pub(crate) fn join_or_start(&self, key: BlobKey) -> Role {
        let mut under_way = self.under_way();
        if let Some(UnderWay { outcome }) = under_way.get(&key) {
            return Role::Follower(Follower { outcome: outcome.clone() });
        }
        let (sender, outcome) = watch::channel(None);
        under_way.insert(key.clone(), UnderWay { outcome });
        Role::Leader(Transfer { key, transfers: self.clone(), outcome: sender })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<BlobKey, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transfer {
    /// It ended so; every follower is told.
    pub(crate) fn finish(self, outcome: TransferResult) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.transfers.under_way().remove(&self.key);
    }
}

impl Follower {
    /// Waits for the end.
    ///
    /// # Errors
    /// [`Abandoned`] when the leader went away.
    pub(crate) async fn wait(mut self) -> Result<TransferResult, Abandoned> {
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
    fn one_leads_and_the_others_follow_and_are_told_its_end() {
        let transfers = Transfers::new();
        let leader = lead(&transfers, "app");
        let followers = [follow(&transfers, "app"), follow(&transfers, "app")];
        let mut waiting: Vec<_> = followers.into_iter().map(|follower| Box::pin(follower.wait())).collect();
        assert!(waiting.iter_mut().all(|wait| wait.as_mut().now_or_never().is_none()));
        leader.finish(Ok(7));
        for wait in waiting {
            assert_eq!(wait.now_or_never().unwrap().unwrap().unwrap(), 7);
        }
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
