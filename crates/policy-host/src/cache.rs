//! The cache of one host capability, and who waits for whom in it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::kubewarden::Kubewarden;

/// How long policy-server remembers a successful lookup (callback_handler/oci.rs of policy-evaluator).
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Successful answers by image.
///
/// Up to 1.37 a lock is held while a miss is fetched, so lookups of different images run one after the other, a hit
/// waits behind another image's miss, and whoever waited for a failure asks again: `sync_writes = "default"` of the
/// `cached` crate does so. From 1.38 lookups of one image share one request with its outcome, a failure included, and
/// wait for no other image: `or_try_insert_with` of the `moka` crate.
#[derive(Debug)]
pub(crate) struct CapabilityCache<E> {
    ttl: Duration,
    one_at_a_time: Option<tokio::sync::Mutex<()>>,
    lookups: Mutex<HashMap<String, Arc<Lookup<E>>>>,
}

/// A lookup under way, or what came of it.
type Lookup<E> = OnceCell<Answer<E>>;

#[derive(Debug)]
struct Answer<E> {
    payload: Result<Vec<u8>, Arc<E>>,
    answered_at: Instant,
}

impl<E> CapabilityCache<E> {
    pub(crate) fn new(kubewarden: Kubewarden, ttl: Duration) -> Self {
        let one_at_a_time = kubewarden.looks_up_one_at_a_time().then(tokio::sync::Mutex::default);
        Self { ttl, one_at_a_time, lookups: Mutex::default() }
    }

    /// The remembered answer for `image`, or what `fetch` gives. Errors are not remembered.
    pub(crate) async fn get_or_fetch(
        &self,
        image: &str,
        fetch: impl Future<Output = Result<Vec<u8>, E>>,
    ) -> Result<Vec<u8>, Arc<E>> {
        let _turn = match &self.one_at_a_time {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let lookup = self.lookup(image);
        let answer = lookup
            .get_or_init(async || {
                let payload = fetch.await.map_err(Arc::new);
                Answer { payload, answered_at: Instant::now() }
            })
            .await;
        answer.payload.clone()
    }

    /// The lookup of `image` that is under way or remembered, or a new one.
    fn lookup(&self, image: &str) -> Arc<Lookup<E>> {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = lookups.entry(image.to_owned()).or_default();
        if lookup.get().is_some_and(|answer| !answer.is_remembered(self.ttl)) {
            *lookup = Arc::default();
        }
        Arc::clone(lookup)
    }
}

impl<E> Answer<E> {
    fn is_remembered(&self, ttl: Duration) -> bool {
        self.payload.is_ok() && self.answered_at.elapsed() < ttl
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rstest::rstest;
    use tokio::sync::Notify;

    use super::*;

    /// How often a registry is asked for a tag that is not there: by three at once, and by one after them.
    #[rstest]
    #[case::each_asks_for_itself_behind_the_lock(Kubewarden::UpTo1_37, 4)]
    #[case::those_who_wait_together_share_the_failure(Kubewarden::From1_38, 2)]
    #[tokio::test]
    async fn a_failure_is_never_remembered(#[case] kubewarden: Kubewarden, #[case] requests: usize) {
        let cache = CapabilityCache::new(kubewarden, DEFAULT_TTL);
        let (asked, answered) = (Cell::new(0), Notify::new());
        let ask = || {
            cache.get_or_fetch("app:1", async {
                asked.set(asked.get() + 1);
                answered.notified().await;
                Err("no such tag")
            })
        };
        // They are polled in this order: the three wait, then an answer comes for each request that is made.
        let answers = async {
            for _ in 0..requests {
                answered.notify_one();
                tokio::task::yield_now().await;
            }
        };
        let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), answers);
        answered.notify_one();
        for outcome in [first, second, third, ask().await] {
            assert_eq!(outcome.unwrap_err().to_string(), "no such tag");
        }
        assert_eq!(asked.get(), requests);
    }
}
