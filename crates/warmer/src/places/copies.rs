//! The copies that Harbor makes in the background for this process: asked for, and not seen there yet.
//!
//! A blob that was asked for a moment ago, for another image of the repository, is not asked for again. And each copy
//! holds a permit of its Harbor until it is seen to be there: otherwise a hundred touched layers, each a request of a
//! few milliseconds, would be a hundred transfers at once for Harbor.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::places::limiter::Permit;
use crate::places::transfers::BlobKey;
use harbor_warmer_core::timestamp::Timestamp;

/// The copies under way. In memory only: after a restart Harbor is asked again what it has.
#[derive(Default)]
pub(crate) struct Copies {
    under_way: Mutex<HashMap<BlobKey, Copy>>,
    began: Notify,
}

struct Copy {
    asked: Timestamp,
    gives_up: Timestamp,
    /// Given back when the copy is seen to be there; taken away when it takes too long.
    permit: Option<Permit>,
}

impl Copies {
    /// Harbor was asked for the blob and began to copy it; by `gives_up` it should be there.
    pub(crate) fn began(&self, key: BlobKey, permit: Permit, asked: Timestamp, gives_up: Timestamp) {
        self.lock().insert(key, Copy { asked, gives_up, permit: Some(permit) });
        self.began.notify_one();
    }

    /// Resolves when there are copies under way.
    pub(crate) async fn any(&self) {
        while self.lock().is_empty() {
            self.began.notified().await;
        }
    }

    /// When Harbor was asked for the blob, if that copy may still be under way.
    pub(crate) fn asked(&self, key: &BlobKey, now: Timestamp) -> Option<Timestamp> {
        self.lock().get(key).filter(|copy| now < copy.gives_up).map(|copy| copy.asked)
    }

    /// The blob is there. Whether this process had asked for it.
    pub(crate) fn arrived(&self, key: &BlobKey) -> bool {
        // Taken out under the lock and told to the limiter outside of it: that wakes others.
        let copy = self.lock().remove(key);
        let asked = copy.is_some();
        if let Some(permit) = copy.and_then(|copy| copy.permit) {
            permit.succeeded();
        }
        asked
    }

    /// Takes the permits of copies that are overdue: they may have broken, and others can use the place.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut overdue = Vec::new();
        self.lock().retain(|_, copy| {
            let keep = now < copy.gives_up;
            if !keep {
                overdue.extend(copy.permit.take());
            }
            keep
        });
        drop(overdue);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BlobKey, Copy>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
