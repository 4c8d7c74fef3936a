//! What a reference means, asked so that the answer can be relied upon.
//!
//! Two of Harbor's answers to a HEAD are ambiguous. A 404 has no body, so what doesn't exist looks like an upstream that
//! doesn't answer. And a tag that Harbor has recorded is answered out of its own storage when the upstream doesn't
//! answer: with the old digest, if the tag has moved, and for an index with that of Harbor's own copy, which no upstream
//! has. Either way a second request tells.

use harbor_warmer_protocol::TagOrDigest;

use crate::{AnswerClass, Client, HarborError, ManifestHead, Repository, Upstream};

/// HEAD of a manifest: by tag it opens the tag's window for being recorded, by digest it starts no clock of Harbor's.
/// None: the upstream has no such manifest.
///
/// # Errors
/// [`HarborError::UpstreamSilent`] where nobody can tell at present, and every other error of the requests.
pub async fn look_up(
    client: &Client,
    place: &Repository,
    reference: &TagOrDigest,
) -> Result<Option<ManifestHead>, HarborError> {
    let mut head = client.head_manifest(place, reference).await;
    let is_ambiguous = match (&head, reference) {
        (Ok(head), TagOrDigest::Tag(_)) => head.from_storage,
        (Ok(_), TagOrDigest::Digest(_)) => false,
        (Err(error), _) => error.class() == AnswerClass::NotFoundAmbiguous,
    };
    if is_ambiguous {
        match client.probe(place).await? {
            // It may have failed a moment ago and answer now. What is missing, or in storage under the upstream's own
            // digest, is answered in the same way again.
            Upstream::Answers if head.is_ok() => head = head_past_storage(client, place, reference).await,
            Upstream::Answers => head = client.head_manifest(place, reference).await,
            Upstream::Silent => return Err(HarborError::UpstreamSilent),
        }
    }
    match head {
        Ok(head) => Ok(Some(head)),
        Err(error) => match error.class() {
            AnswerClass::MissingTag | AnswerClass::NotFoundAmbiguous => Ok(None),
            _ => Err(error),
        },
    }
}

/// A HEAD of what was answered out of storage, twice at once, which takes no longer than once: an upstream that fails now
/// and then may do so in the one request and not in the other. Its own answer goes before one out of storage.
async fn head_past_storage(
    client: &Client,
    place: &Repository,
    reference: &TagOrDigest,
) -> Result<ManifestHead, HarborError> {
    let (one, other) = tokio::join!(client.head_manifest(place, reference), client.head_manifest(place, reference));
    if matches!(&other, Ok(head) if !head.from_storage) { other } else { one }
}
