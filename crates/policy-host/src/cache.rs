//! The cache of one host capability, with the lock that policy-server puts around it.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// How long policy-server remembers a successful lookup (callback_handler/oci.rs of policy-evaluator).
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Successful answers by image. The lock is held while a miss is fetched, so lookups of different images run one after
/// the other, and a hit waits behind another image's miss: `sync_writes = "default"` of the `cached` crate does so.
#[derive(Debug)]
pub(crate) struct CapabilityCache {
    ttl: Duration,
    answers: Mutex<HashMap<String, Answer>>,
}

#[derive(Debug)]
struct Answer {
    payload: Vec<u8>,
    fetched_at: Instant,
}

impl CapabilityCache {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, answers: Mutex::new(HashMap::new()) }
    }

    /// The remembered answer for `image`, or what `fetch` gives. Errors are not remembered.
    pub(crate) async fn get_or_fetch<E>(
        &self,
        image: &str,
        fetch: impl Future<Output = Result<Vec<u8>, E>>,
    ) -> Result<Vec<u8>, E> {
        let mut answers = self.answers.lock().await;
        if let Some(answer) = answers.get(image).filter(|answer| answer.fetched_at.elapsed() < self.ttl) {
            return Ok(answer.payload.clone());
        }
        let payload = fetch.await?;
        answers.insert(image.to_owned(), Answer { payload: payload.clone(), fetched_at: Instant::now() });
        Ok(payload)
    }
}
