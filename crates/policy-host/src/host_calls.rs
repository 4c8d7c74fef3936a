//! What a guest's host calls are answered with: the registry's word, or a recording of it.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use oci_client::errors::OciDistributionError;
use oci_client::{ParseError, Reference};
use serde_json::json;

use crate::cache::CapabilityCache;
use crate::capability::{Capability, CapabilityRequest};
use crate::interactions::{Exchange, Recorded, Recording, Replay, ReplayError};
use crate::kubewarden::Kubewarden;
use crate::registry::Registries;
use crate::sources::RegistrySources;

/// Why a host call failed.
#[derive(Debug, thiserror::Error)]
pub enum HostCallError {
    /// The image is not a reference.
    #[error(transparent)]
    Reference(#[from] ParseError),
    /// The registry, or the way to it.
    #[error(transparent)]
    Registry(#[from] OciDistributionError),
    /// The answer can't be encoded.
    #[error(transparent)]
    Encoding(#[from] serde_json::Error),
    /// The recording has another answer, or none.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// The source of answers.
#[derive(Debug)]
pub(crate) enum HostCalls {
    Live(Live),
    Recorded(Live, Recording),
    Replayed(Replay),
}

/// Registries behind the two caches.
#[derive(Debug)]
pub(crate) struct Live {
    registries: Registries,
    digests: CapabilityCache<HostCallError>,
    manifests: CapabilityCache<HostCallError>,
}

impl HostCalls {
    /// An error may be that of a lookup which several evaluations waited for.
    pub(crate) async fn answer(&self, request: &CapabilityRequest) -> Result<Vec<u8>, Arc<HostCallError>> {
        match self {
            Self::Live(live) => live.answer(request).await,
            Self::Recorded(live, recording) => {
                let answer = live.answer(request).await;
                let response = match &answer {
                    Ok(payload) => Recorded::Success { payload: String::from_utf8_lossy(payload).into_owned() },
                    Err(error) => Recorded::Error { message: error.to_string() },
                };
                recording.push(Exchange { request: request.clone(), response });
                answer
            }
            Self::Replayed(replay) => replay.answer(request).map_err(|error| Arc::new(error.into())),
        }
    }
}

impl Live {
    pub(crate) fn new(sources: RegistrySources, kubewarden: Kubewarden, cache_ttl: Duration) -> Self {
        Self {
            registries: Registries::new(sources),
            digests: CapabilityCache::new(kubewarden, cache_ttl),
            manifests: CapabilityCache::new(kubewarden, cache_ttl),
        }
    }

    async fn answer(&self, request: &CapabilityRequest) -> Result<Vec<u8>, Arc<HostCallError>> {
        let image = &request.image;
        match request.capability {
            Capability::OciManifestDigest => self.digests.get_or_fetch(image, self.digest(image)).await,
            Capability::OciManifest => self.manifests.get_or_fetch(image, self.manifest(image)).await,
        }
    }

    async fn digest(&self, image: &str) -> Result<Vec<u8>, HostCallError> {
        let reference: Reference = image.parse()?;
        let digest = self.registries.manifest_digest(&reference).await?;
        Ok(serde_json::to_vec(&json!({"digest": digest}))?)
    }

    async fn manifest(&self, image: &str) -> Result<Vec<u8>, HostCallError> {
        let reference: Reference = image.parse()?;
        Ok(serde_json::to_vec(&self.registries.manifest(&reference).await?)?)
    }
}

/// An error as the guest gets to read it: policy-evaluator prints an anyhow error with `{:?}`, so the causes follow on
/// lines of their own and a policy has to cut the text at the first one.
pub(crate) fn as_guests_read_it(error: &HostCallError) -> String {
    let mut text = format!("Callback evaluation failure: {error}");
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    match causes.as_slice() {
        [] => {}
        [cause] => text.push_str(&format!("\n\nCaused by:\n    {cause}")),
        causes => {
            text.push_str("\n\nCaused by:");
            for (index, cause) in causes.iter().enumerate() {
                // Writing to a String can't fail.
                let _ = write!(text, "\n    {index}: {cause}");
            }
        }
    }
    text
}
