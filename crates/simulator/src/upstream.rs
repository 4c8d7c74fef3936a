//! The registry behind Harbor's endpoint, as Harbor's own client sees it.
//!
//! It is in memory, filled by [`Upstream::push`] or from an OCI layout folder, or it is a real registry. Either way
//! it can be slowed, cut off, and made to fail, and it counts what is asked of it.

mod fault;
mod layout;
mod reader;
mod remote;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::content::Content;
use crate::digest::Digest;
use crate::fault::Dice;
use crate::image::{ImageSpec, PushedImage};

pub use fault::{UpstreamEffect, UpstreamFault, UpstreamRequest};
pub use layout::LayoutError;
pub(crate) use reader::BlobReader;
use reader::Source;
pub(crate) use reader::StreamLimits;
pub(crate) use remote::Remote;

/// The upstream of a simulator. Clones are handles to the same registry.
#[derive(Debug, Clone)]
pub struct Upstream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<Clock>,
    registry: Mutex<Registry>,
    remote: Option<Remote>,
    dice: Dice,
    /// Rate and outages: copies that run take heed of them at once.
    conditions: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Registry {
    repositories: HashMap<String, Repository>,
    down: bool,
    no_digests: bool,
    latency: Duration,
    bytes_per_second: Option<u64>,
    faults: Vec<UpstreamFault>,
    stats: UpstreamStats,
}

#[derive(Debug, Default)]
struct Repository {
    tags: BTreeMap<String, Digest>,
    manifests: HashMap<Digest, UpstreamManifest>,
    blobs: HashMap<Digest, Content>,
}

/// What was asked of the upstream so far.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStats {
    /// HEADs of manifests.
    pub manifest_heads: u64,
    /// GETs of manifests.
    pub manifest_gets: u64,
    /// Streams opened for a client of Harbor's.
    pub client_streams: u64,
    /// Streams opened to copy a blob into Harbor. Of those that ask for the same blob at once only one is read.
    pub copy_streams: u64,
    /// Bytes of manifests sent.
    pub manifest_bytes: u64,
    /// Bytes of blobs sent, on both kinds of stream.
    pub blob_bytes: u64,
    /// Of these, bytes on the streams that copy into Harbor.
    pub copied_bytes: u64,
    /// Streams by `repository@digest`, of both kinds.
    pub blob_gets: BTreeMap<String, u64>,
    /// HEADs and GETs of manifests by `repository@reference`.
    pub manifest_requests: BTreeMap<String, u64>,
}

impl UpstreamStats {
    /// Streams of this blob that were opened, for clients and for copies.
    pub fn blob_gets(&self, repository: &str, digest: &str) -> u64 {
        self.blob_gets.get(&format!("{repository}@{digest}")).copied().unwrap_or(0)
    }

    /// HEADs and GETs of this manifest, by whichever of its tags or digest it was asked for.
    pub fn manifest_requests(&self, repository: &str, reference: &str) -> u64 {
        self.manifest_requests.get(&format!("{repository}@{reference}")).copied().unwrap_or(0)
    }

    /// All requests for what is in a repository: manifests, streams for clients and for copies.
    pub fn requests_of(&self, repository: &str) -> u64 {
        let of = |(subject, _): &(&String, &u64)| subject.rsplit_once('@').is_some_and(|(name, _)| name == repository);
        self.manifest_requests.iter().chain(&self.blob_gets).filter(of).map(|(_, count)| count).sum()
    }

    /// All bytes sent.
    pub fn bytes(&self) -> u64 {
        self.manifest_bytes + self.blob_bytes
    }
}

#[derive(Debug, Clone)]
pub(crate) struct UpstreamManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Clone)]
pub(crate) struct UpstreamDescriptor {
    /// None where the upstream sends no `Docker-Content-Digest`.
    pub(crate) digest: Option<Digest>,
    pub(crate) media_type: String,
    pub(crate) size: u64,
}

/// Why the upstream did not answer, as Harbor's registry client tells it apart (`src/pkg/registry/client.go`, `do`).
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("http status code: {}, body: {body}", status.as_u16())]
    Status { status: StatusCode, body: String },
    #[error("the upstream does not answer")]
    Unreachable,
}

impl UpstreamError {
    pub(crate) fn not_found(code: &str, message: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Self::Status { status: StatusCode::NOT_FOUND, body }
    }

    pub(crate) fn is(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Status { status, .. } if *status == wanted)
    }
}

impl Upstream {
    pub(crate) fn new(clock: Arc<Clock>, remote: Option<Remote>, seed: u64) -> Self {
        let (registry, conditions) = (Mutex::default(), watch::Sender::new(()));
        Self { shared: Arc::new(Shared { clock, registry, remote, dice: Dice::new(seed), conditions }) }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an image into the in-memory registry; a tag that exists moves.
    pub fn push(&self, spec: ImageSpec) -> PushedImage {
        let built = spec.build();
        let mut registry = self.registry();
        let repository = registry.repositories.entry(spec.repository).or_default();
        repository.blobs.extend(built.blobs);
        for (digest, media_type, bytes) in built.manifests {
            let manifest = UpstreamManifest { digest: digest.clone(), media_type: media_type.to_owned(), bytes };
            repository.manifests.insert(digest, manifest);
        }
        repository.tags.insert(spec.tag, built.image.digest.clone());
        built.image
    }

    /// Reads an OCI layout folder into the in-memory registry: the blobs stay on disk. A manifest's repository and
    /// tag are its `org.opencontainers.image.ref.name`; where that is a tag alone, the repository is the folder's
    /// name.
    ///
    /// # Errors
    /// If the folder isn't an OCI layout.
    pub fn load_layout(&self, folder: &Path) -> Result<Vec<String>, LayoutError> {
        layout::load(self, folder)
    }

    /// Lets a tag name another manifest of the repository, or a new tag name one.
    pub fn move_tag(&self, repository: &str, tag: &str, digest: &Digest) {
        let mut registry = self.registry();
        let repository = registry.repositories.entry(repository.to_owned()).or_default();
        repository.tags.insert(tag.to_owned(), digest.clone());
    }

    /// Removes a tag; its manifest stays.
    pub fn remove_tag(&self, repository: &str, tag: &str) {
        if let Some(repository) = self.registry().repositories.get_mut(repository) {
            repository.tags.remove(tag);
        }
    }

    /// Removes a manifest; what refers to it stays, and so do its blobs. Each time it is asked for the upstream is
    /// asked, and Harbor answers `resource not found`.
    pub fn remove_manifest(&self, repository: &str, digest: &str) {
        if let Some(repository) = self.registry().repositories.get_mut(repository) {
            repository.manifests.remove(digest);
        }
    }

    /// Removes a blob; what refers to it stays.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        if let Some(repository) = self.registry().repositories.get_mut(repository) {
            repository.blobs.remove(digest);
        }
    }

    /// Lets the upstream's HEADs of manifests come without `Docker-Content-Digest`, as the specification allows, or
    /// with it again.
    pub fn send_no_digests(&self, without: bool) {
        self.registry().no_digests = without;
    }

    /// Takes the upstream down, or brings it back: connections are refused, streams that run are cut.
    pub fn set_down(&self, down: bool) {
        self.registry().down = down;
        self.shared.conditions.send_replace(());
    }

    /// Caps every stream at so many bytes a second of Harbor time; `None` lifts it. Streams that run follow.
    pub fn rate(&self, bytes_per_second: Option<u64>) {
        self.registry().bytes_per_second = bytes_per_second;
        self.shared.conditions.send_replace(());
    }

    /// Lets every answer of the upstream take this long, in Harbor time.
    pub fn latency(&self, latency: Duration) {
        self.registry().latency = latency;
    }

    /// Lets the next requests that the fault is meant for fail.
    pub fn fail_next(&self, fault: UpstreamFault) {
        self.registry().faults.push(fault);
    }

    /// What was asked so far.
    pub fn stats(&self) -> UpstreamStats {
        self.registry().stats.clone()
    }

    /// Starts the counts anew.
    pub fn reset_stats(&self) {
        self.registry().stats = UpstreamStats::default();
    }

    pub(crate) async fn head_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<UpstreamDescriptor, UpstreamError> {
        {
            let stats = &mut self.registry().stats;
            stats.manifest_heads += 1;
            *stats.manifest_requests.entry(format!("{repository}@{reference}")).or_default() += 1;
        }
        self.before_answer(UpstreamRequest::ManifestHead, repository, reference).await?;
        let manifest = match &self.shared.remote {
            Some(remote) => return remote.head_manifest(repository, reference).await,
            None => self.find_manifest(repository, reference)?,
        };
        let size = manifest.bytes.len() as u64;
        let digest = (!self.registry().no_digests).then_some(manifest.digest);
        Ok(UpstreamDescriptor { digest, media_type: manifest.media_type, size })
    }

    pub(crate) async fn get_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<UpstreamManifest, UpstreamError> {
        {
            let stats = &mut self.registry().stats;
            stats.manifest_gets += 1;
            *stats.manifest_requests.entry(format!("{repository}@{reference}")).or_default() += 1;
        }
        let effect = self.before_answer(UpstreamRequest::ManifestGet, repository, reference).await?;
        let mut manifest = match &self.shared.remote {
            Some(remote) => remote.get_manifest(repository, reference).await?,
            None => self.find_manifest(repository, reference)?,
        };
        match effect {
            Some(UpstreamEffect::Corrupt) => {
                // Still JSON, still the same manifest, but other bytes.
                let mut bytes = manifest.bytes.to_vec();
                bytes.push(b'\n');
                manifest.bytes = bytes.into();
            }
            Some(UpstreamEffect::TruncateAfter(kept)) => {
                manifest.bytes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
            }
            Some(UpstreamEffect::Status(_) | UpstreamEffect::Disconnect) | None => {}
        }
        self.registry().stats.manifest_bytes += manifest.bytes.len() as u64;
        Ok(manifest)
    }

    /// Opens a stream of a blob.
    pub(crate) async fn open_blob(
        &self,
        request: UpstreamRequest,
        repository: &str,
        digest: &Digest,
        limits: StreamLimits,
    ) -> Result<BlobReader, UpstreamError> {
        {
            let stats = &mut self.registry().stats;
            match request {
                UpstreamRequest::CacheCopy => stats.copy_streams += 1,
                UpstreamRequest::ClientStream
                | UpstreamRequest::ManifestHead
                | UpstreamRequest::ManifestGet
                | UpstreamRequest::Any => stats.client_streams += 1,
            }
            *stats.blob_gets.entry(format!("{repository}@{digest}")).or_default() += 1;
        }
        let effect = self.before_answer(request, repository, digest).await?;
        if let Some(remote) = &self.shared.remote {
            let (size, response) = remote.open_blob(repository, digest).await?;
            let source = Source::Remote { digest: digest.clone(), response };
            return Ok(BlobReader::new(self.clone(), request, source, size, limits, effect));
        }
        let held = self.registry().repositories.get(repository).and_then(|known| known.blobs.get(&**digest)).cloned();
        let content = held.ok_or_else(|| UpstreamError::not_found("BLOB_UNKNOWN", "blob unknown to registry"))?;
        let size = content.size();
        Ok(BlobReader::new(self.clone(), request, Source::Held(content), size, limits, effect))
    }

    /// The tags of a repository, sorted.
    pub(crate) async fn list_tags(&self, repository: &str) -> Result<Vec<String>, UpstreamError> {
        self.before_answer(UpstreamRequest::Any, repository, "tags").await?;
        if let Some(remote) = &self.shared.remote {
            return remote.list_tags(repository).await;
        }
        let registry = self.registry();
        let known = registry.repositories.get(repository);
        let known = known.ok_or_else(|| UpstreamError::not_found("NAME_UNKNOWN", "repository name not known"))?;
        Ok(known.tags.keys().cloned().collect())
    }

    fn find_manifest(&self, repository: &str, reference: &str) -> Result<UpstreamManifest, UpstreamError> {
        let registry = self.registry();
        let found = registry.repositories.get(repository).and_then(|known| {
            let digest = match known.tags.get(reference) {
                Some(digest) => digest,
                None => reference,
            };
            known.manifests.get(digest)
        });
        found.cloned().ok_or_else(|| UpstreamError::not_found("MANIFEST_UNKNOWN", "manifest unknown"))
    }

    /// Latency, outages and injected errors; what remains is an effect on the body that follows.
    async fn before_answer(
        &self,
        request: UpstreamRequest,
        repository: &str,
        reference: &str,
    ) -> Result<Option<UpstreamEffect>, UpstreamError> {
        let (latency, down, effect) = {
            let mut registry = self.registry();
            let subject = format!("{repository}@{reference}");
            let effect = fault::take(&mut registry.faults, request, &subject, &self.shared.dice);
            (registry.latency, registry.down, effect)
        };
        if !latency.is_zero() {
            tokio::time::sleep(self.shared.clock.real(latency)).await;
        }
        if down {
            return Err(UpstreamError::Unreachable);
        }
        match effect {
            Some(UpstreamEffect::Status(code)) => {
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let body = format!(r#"{{"errors":[{{"code":"INJECTED","message":"status {code}"}}]}}"#);
                Err(UpstreamError::Status { status, body })
            }
            Some(UpstreamEffect::Disconnect) => Err(UpstreamError::Unreachable),
            Some(UpstreamEffect::TruncateAfter(_) | UpstreamEffect::Corrupt) | None => Ok(effect),
        }
    }
}
