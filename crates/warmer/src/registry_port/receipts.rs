//! The last receipts by their digest, for clients that resolve a tag first and fetch what it named.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use harbor_warmer_protocol::{Digest, Receipt};
use sha2::{Digest as _, Sha256};

use crate::lru::{Bounds, Lru};

/// Such a client comes back at once, so a few are plenty. Equal receipts are one entry.
const BOUNDS: Bounds = Bounds { entries: 1024, bytes: 1024 * 1024 };

/// The receipts given lately.
pub(super) struct Receipts(Mutex<Lru<Digest, Bytes>>);

impl Receipts {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Lru::new(BOUNDS)))
    }

    /// The receipt's bytes and digest, which will be found again.
    pub(super) fn issue(&self, receipt: &Receipt) -> (Bytes, Digest) {
        let bytes = Bytes::from(receipt.to_manifest());
        let digest = Digest::from_bytes(Sha256::digest(&bytes).into());
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.get(&digest).is_none() {
            recent.insert(digest, bytes.clone(), bytes.len());
        }
        (bytes, digest)
    }

    /// A receipt given lately.
    pub(super) fn find(&self, digest: &Digest) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use harbor_warmer_protocol::{ImageState, Lookup};

    use super::*;

    #[test]
    fn a_receipt_is_found_by_the_digest_of_its_bytes() {
        let receipts = Receipts::new();
        let receipt =
            Receipt { state: ImageState::New, lookup: Lookup::Yes, image: Some("7".to_owned()), reason: None };
        let (bytes, digest) = receipts.issue(&receipt);
        assert_eq!(Receipt::from_manifest(&bytes).unwrap(), receipt);
        assert_eq!(digest.as_bytes(), &<[u8; 32]>::from(Sha256::digest(&bytes)));
        assert_eq!(receipts.find(&digest), Some(bytes));
        assert_eq!(receipts.find(&Digest::ZERO), None);
    }
}
