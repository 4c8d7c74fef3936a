//! How many small requests an image may make at once, beside the transfers, which have places ([`crate::places`]).
//!
//! All steps of an image begin together, and an image may have thousands of layers: each would be a connection to
//! Harbor. So an image has some slots, and a Harbor some for all of its images. Once Harbor is seen to be in trouble, what
//! has not begun is left: the image plans it again when Harbor is well.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Of one image. A HEAD of a blob takes Harbor some milliseconds, so more would gain nothing.
const OF_AN_IMAGE: usize = 8;

/// The requests of one image in one turn of its worker.
pub(super) struct Requests {
    slots: Semaphore,
    left: AtomicBool,
}

/// The right to make one request.
pub(super) struct Slot<'a> {
    _of_image: SemaphorePermit<'a>,
    _of_harbor: SemaphorePermit<'a>,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { slots: Semaphore::new(OF_AN_IMAGE), left: AtomicBool::new(false) }
    }

    /// Waits for a slot. None: what has not begun is left for another time.
    pub(super) async fn slot<'a>(&'a self, of_harbor: &'a Semaphore) -> Option<Slot<'a>> {
        // Neither semaphore is ever closed.
        let of_image = self.slots.acquire().await.ok()?;
        if self.left.load(Ordering::Relaxed) {
            return None;
        }
        let of_harbor = of_harbor.acquire().await.ok()?;
        if self.left.load(Ordering::Relaxed) {
            return None;
        }
        Some(Slot { _of_image: of_image, _of_harbor: of_harbor })
    }

    /// Harbor is in trouble: what has not begun is left.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn an_image_has_some_slots_and_a_harbor_some_for_all_images() {
        let harbor = Semaphore::new(OF_AN_IMAGE + 1);
        let (one, other) = (Requests::new(), Requests::new());
        let mut slots = Vec::new();
        for _ in 0..OF_AN_IMAGE {
            slots.push(one.slot(&harbor).await.unwrap());
        }
        assert!(one.slot(&harbor).now_or_never().is_none());
        let _last = other.slot(&harbor).await.unwrap();
        assert!(other.slot(&harbor).now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_has_not_begun_is_left_once_harbor_is_in_trouble() {
        let harbor = Semaphore::new(1);
        let requests = Requests::new();
        let slot = requests.slot(&harbor).await;
        let mut waiting = Box::pin(requests.slot(&harbor));
        assert!(waiting.as_mut().now_or_never().is_none());
        requests.leave();
        drop(slot);
        assert!(waiting.now_or_never().unwrap().is_none());
    }
}
