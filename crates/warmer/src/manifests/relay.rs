//! One look-up, carried out at Harbor in an order that harms no tag.
//!
//! GET of an index starts Harbor's 400 s for recording it, and a tag that is asked for after that is not recorded for
//! 7 days. So an index is read through the project's second one where there is one, and else only after every announced
//! tag of its digest was asked for.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future;
use harbor_warmer_protocol::{Digest, HarborImage, Tag, TagOrDigest};

use crate::clock;
use crate::config::Project;
use crate::manifests::cache::{Cached, ManifestCache, is_manifest};
use harbor_warmer_harbor::look_up;
use harbor_warmer_harbor::{AnswerClass, Client, HarborError, ManifestBody, ManifestHead, Repository};
use harbor_warmer_store::{Store, StoreError};

/// The announced tags that are asked for before an index is read. More than these share a digest only by mistake, and
/// each costs a request.
const MAX_TAGS: usize = 8;

/// Why a look-up found neither the thing nor that it doesn't exist.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// Harbor's answer was of no use.
    #[error(transparent)]
    Harbor(#[from] HarborError),
    /// Harbor answered that its upstream doesn't.
    #[error("Harbor's upstream does not answer")]
    UpstreamSilent,
    /// The announced tags can't be read.
    #[error("the announced tags can't be read")]
    Store(#[source] StoreError),
}

/// What a look-up needs.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) client: Client,
    pub(crate) project: Project,
    pub(crate) store: Store,
    pub(crate) cache: Arc<Mutex<ManifestCache>>,
}

impl Relay {
    /// HEAD of a manifest. An ambiguous answer is resolved by asking whether the upstream answers at all.
    pub(crate) async fn head(
        &self,
        image: &HarborImage,
        reference: &TagOrDigest,
    ) -> Result<Cached<ManifestHead>, RelayError> {
        let place = Repository::from(image);
        let seen = match look_up(&self.client, &place, reference).await {
            Ok(found) => found.map_or(Cached::Missing, Cached::There),
            Err(error) if error.class() == AnswerClass::UpstreamSilent => return Err(RelayError::UpstreamSilent),
            Err(error) => return Err(error.into()),
        };
        self.cache().saw_head(image, reference, &seen, clock::now());
        Ok(seen)
    }

    /// GET of a manifest by digest.
    pub(crate) async fn body(&self, image: &HarborImage, digest: Digest) -> Result<Cached<ManifestBody>, RelayError> {
        let through = self.place_to_read(image, digest).await?;
        match self.client.get_manifest(&Repository::from(&through), digest).await {
            Ok(body) => {
                self.cache().saw_body(image, &through, &body, digest, clock::now());
                Ok(Cached::There(body))
            }
            Err(error) if error.class() == AnswerClass::MissingTag => {
                let reference = TagOrDigest::Digest(digest);
                self.cache().saw_head(image, &reference, &Cached::Missing, clock::now());
                Ok(Cached::Missing)
            }
            Err(error) if error.class() == AnswerClass::UpstreamSilent => Err(RelayError::UpstreamSilent),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a manifest may be read without harm, once all is done that has to come before.
    async fn place_to_read(&self, image: &HarborImage, digest: Digest) -> Result<HarborImage, RelayError> {
        let media_type = self.media_type(image, digest);
        if media_type.as_deref().is_some_and(is_manifest) {
            return Ok(image.clone());
        }
        let Some(second) = &self.project.resolve_through else {
            self.head_announced_tags(image, digest).await?;
            return Ok(image.clone());
        };
        let through = HarborImage { project: second.clone(), ..image.clone() };
        let media_type = match media_type {
            Some(media_type) => Some(media_type),
            // By digest a HEAD starts no clock, in neither project.
            None => {
                let head = self.client.head_manifest(&Repository::from(&through), &TagOrDigest::Digest(digest)).await?;
                head.media_type
            }
        };
        Ok(if media_type.as_deref().is_some_and(is_manifest) { image.clone() } else { through })
    }

    fn media_type(&self, image: &HarborImage, digest: Digest) -> Option<String> {
        match self.cache().head(image, &TagOrDigest::Digest(digest), clock::now()) {
            Some(Cached::There(head)) => head.media_type,
            Some(Cached::Missing) | None => None,
        }
    }

    /// Opens Harbor's window for every announced tag of the digest. A tag that doesn't exist is no obstacle; one that the
    /// image is wanted for and whose answer is lost is, since it would be lost for 7 days. Of the repository's other tags
    /// nobody knows what they mean: one that answers with an error holds up no image that is not its own.
    pub(crate) async fn head_announced_tags(&self, image: &HarborImage, digest: Digest) -> Result<(), RelayError> {
        let tags = self.store.announced_tags(image, digest).await.map_err(RelayError::Store)?;
        let own = tags.own.into_iter().filter(|tag| !self.was_asked(image, tag)).map(|tag| (tag, true));
        let others = tags.others.into_iter().filter(|tag| !self.was_asked(image, tag)).map(|tag| (tag, false));
        let heads = own.chain(others.take(MAX_TAGS)).map(|(tag, is_own)| {
            let reference = TagOrDigest::Tag(tag);
            async move {
                match self.client.head_manifest(&Repository::from(image), &reference).await {
                    // Recorded already, whatever it means now.
                    Ok(head) if head.from_storage => Ok(()),
                    Ok(head) => {
                        self.cache().saw_head(image, &reference, &Cached::There(head), clock::now());
                        Ok(())
                    }
                    Err(error) => match error.class() {
                        AnswerClass::MissingTag | AnswerClass::NotFoundAmbiguous => Ok(()),
                        _ if is_own => Err(RelayError::from(error)),
                        _ => {
                            tracing::debug!(image.repository = %image, %error, "another tag can't be asked for");
                            Ok(())
                        }
                    },
                }
            }
        });
        future::try_join_all(heads).await?;
        Ok(())
    }

    /// Whether the front itself asked for the tag a moment ago: then its window is open.
    fn was_asked(&self, image: &HarborImage, tag: &Tag) -> bool {
        let seen = self.cache().head(image, &TagOrDigest::Tag(tag.clone()), clock::now());
        matches!(seen, Some(Cached::There(_)))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, ManifestCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
