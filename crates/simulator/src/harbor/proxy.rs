//! The proxy cache's answers to pulls: `src/server/middleware/repoproxy` and `src/controller/proxy/controller.go`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tracing::{debug, error};

use crate::content::Content;
use crate::digest::Digest;
use crate::harbor::core::{ConnectionPermit, Core};
use crate::harbor::error::HarborError;
use crate::harbor::{ArtifactInfo, Harbor, Reference, index_cache, manifest_cache, pattern};
use crate::manifest::{self, Manifest, OCI_INDEX, OCI_MANIFEST};
use crate::spec::ProjectSpec;
use crate::upstream::{BlobReader, StreamLimits, UpstreamError, UpstreamManifest, UpstreamRequest};
use crate::version::HarborVersion;

/// What becomes of a request for a manifest.
#[derive(Debug)]
pub(crate) enum ManifestOutcome {
    Found(ManifestAnswer),
    /// `docker-hub` endpoints redirect one-segment names to `library/`.
    LibraryRedirect(String),
}

/// A manifest, however it was come by. The HTTP headers tell where it comes from, as Harbor's do.
#[derive(Debug)]
pub(crate) struct ManifestAnswer {
    pub(crate) served_by: ServedBy,
    pub(crate) media_type: String,
    /// Empty for a cold GET by tag.
    pub(crate) digest: String,
    pub(crate) size: u64,
    /// `None` for a HEAD.
    pub(crate) body: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServedBy {
    /// Harbor's own registry.
    Registry,
    /// The middleware, out of Redis or from the upstream.
    Middleware,
}

#[derive(Debug)]
pub(crate) enum BlobAnswer {
    /// Out of Harbor's own registry.
    Local(Content),
    /// From the upstream; a second stream fills the cache.
    Proxied {
        reader: Box<BlobReader>,
        permit: Option<ConnectionPermit>,
    },
    LibraryRedirect(String),
}

#[derive(Debug)]
pub(crate) struct TagsAnswer {
    pub(crate) tags: Vec<String>,
}

/// How a manifest is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ManifestRequest<'a> {
    pub(crate) head: bool,
    /// User agent `harbor-registry-client`: such a pull is not one for the retention.
    pub(crate) from_replication: bool,
    /// The `Accept` headers, joined. Only Harbor's own registry looks at them.
    pub(crate) accept: Option<&'a str>,
}

enum UseLocal {
    Registry,
    Redis { bytes: Bytes, media_type: String, digest: String },
    No,
}

enum Failure {
    /// Answered as it is: 404 and 429.
    Final(HarborError),
    /// Any other trouble with the upstream: Harbor logs it and falls back to what it has.
    FallBack,
}

impl Harbor {
    /// `ManifestMiddleware`
    pub(crate) async fn manifest(
        self: &Arc<Self>,
        core: &Arc<Core>,
        info: &ArtifactInfo,
        request: ManifestRequest<'_>,
    ) -> Result<ManifestOutcome, HarborError> {
        let spec = self.project(&info.project);
        if let Some(location) = library_redirect(&spec, info, "manifests") {
            return Ok(ManifestOutcome::LibraryRedirect(location));
        }
        self.check_filter(&spec, info)?;
        if !self.can_proxy(&spec) {
            return self.local_manifest(info, request).map(ManifestOutcome::Found);
        }
        match self.proxied_manifest(core, &spec, info, request).await {
            Ok(Some(answer)) => Ok(ManifestOutcome::Found(answer)),
            Ok(None) | Err(Failure::FallBack) => self.local_manifest(info, request).map(ManifestOutcome::Found),
            Err(Failure::Final(error)) => Err(error),
        }
    }

    /// `None` when the local registry answers.
    async fn proxied_manifest(
        self: &Arc<Self>,
        core: &Arc<Core>,
        spec: &ProjectSpec,
        info: &ArtifactInfo,
        request: ManifestRequest<'_>,
    ) -> Result<Option<ManifestAnswer>, Failure> {
        match self.use_local_manifest(spec, info).await? {
            UseLocal::Registry => return Ok(None),
            UseLocal::Redis { bytes, media_type, digest } => {
                return Ok(Some(ManifestAnswer {
                    served_by: ServedBy::Middleware,
                    media_type,
                    digest,
                    size: bytes.len() as u64,
                    body: (!request.head).then_some(bytes),
                }));
            }
            UseLocal::No => {}
        }
        let _permit = self.upstream_permit(core, spec, info)?;
        let repository = info.upstream_repository();
        let reference = info.reference.as_str();
        if request.head {
            let found = self.upstream.head_manifest(repository, reference).await;
            let found = found.map_err(|error| {
                failure(&error, || {
                    let tag = info.reference.tag().unwrap_or_default();
                    resource_not_found(&format!("the tag {}:{tag} is not found", info.repository))
                })
            })?;
            // Without a digest the window opens as well, and finds nothing.
            if let (Reference::Tag(tag), Some(digest)) = (&info.reference, &found.digest) {
                self.ensure_tag_after_head(core, info.repository.clone(), digest.clone(), tag.clone());
            }
            return Ok(Some(ManifestAnswer {
                served_by: ServedBy::Middleware,
                media_type: found.media_type,
                digest: found.digest.map(|digest| digest.to_string()).unwrap_or_default(),
                size: found.size,
                body: None,
            }));
        }
        let found = self.upstream.get_manifest(repository, reference).await;
        let found = found.map_err(|error| failure(&error, || HarborError::not_found(error.to_string())))?;
        let Some(parsed) = manifest::parse(&found.media_type, &found.bytes) else {
            debug!(media_type = %found.media_type, "the upstream's manifest can't be parsed");
            return Err(Failure::FallBack);
        };
        let answer = ManifestAnswer {
            served_by: ServedBy::Middleware,
            media_type: found.media_type.clone(),
            // `proxyManifestGet` passes the digest of the request, and a request by tag has none.
            digest: info.reference.digest().map(Digest::to_string).unwrap_or_default(),
            size: found.bytes.len() as u64,
            body: Some(found.bytes.clone()),
        };
        let (harbor, own_core, info) = (Arc::clone(self), Arc::clone(core), info.clone());
        core.spawn(async move { harbor.cache_manifest(&own_core, &info, parsed, found).await });
        Ok(Some(answer))
    }

    /// `UseLocalManifest`
    async fn use_local_manifest(&self, spec: &ProjectSpec, info: &ArtifactInfo) -> Result<UseLocal, Failure> {
        let reference = info.reference.as_str();
        let local = self.local_digest(&info.repository, reference);
        if local.is_some() && info.reference.digest().is_some() {
            return Ok(UseLocal::Registry);
        }
        let upstream = match self.upstream.head_manifest(info.upstream_repository(), reference).await {
            Ok(found) => found,
            Err(error) if error.is(StatusCode::TOO_MANY_REQUESTS) && local.is_some() => return Ok(UseLocal::Registry),
            Err(error)
                if error.is(StatusCode::NOT_FOUND)
                    && local.is_some()
                    && spec.local_on_not_found
                    && self.version().can_serve_what_is_gone_upstream() =>
            {
                return Ok(UseLocal::Registry);
            }
            Err(error) => {
                if let Some(local) = local.filter(|_| error.is(StatusCode::NOT_FOUND))
                    && self.version().deletes_what_is_gone_upstream()
                {
                    debug!(repository = %info.repository, digest = %local, "deleted, as the upstream has it no more");
                    self.store
                        .write(|tables| tables.repositories.get_mut(&info.repository).map(|it| it.delete(&local)));
                }
                let message =
                    format!("repo {}, tag {} not found", info.repository, info.reference.tag().unwrap_or_default());
                return Err(failure(&error, || resource_not_found(&message)));
            }
        };
        // An upstream that sends no digest with a tag: Harbor compares an empty text, and knows nothing of it.
        let Some(digest) = info.reference.digest().or(upstream.digest.as_ref()).cloned() else {
            return Ok(UseLocal::No);
        };
        let key = index_cache::redis_key(&info.repository, &digest);
        let now = self.clock.now();
        let cached = self.store.read(|tables| {
            let bytes = tables.redis_get(&key, now)?;
            Some((bytes, tables.redis_get(&index_cache::redis_content_type_key(&info.repository, &digest), now)))
        });
        match cached {
            Some((bytes, Some(media_type))) => {
                let media_type = String::from_utf8_lossy(&media_type).into_owned();
                let digest = upstream.digest.map(|digest| digest.to_string()).unwrap_or_default();
                Ok(UseLocal::Redis { bytes, media_type, digest })
            }
            Some((_, None)) => Ok(UseLocal::No),
            None if local.is_some() && local == upstream.digest => Ok(UseLocal::Registry),
            None => Ok(UseLocal::No),
        }
    }

    /// The goroutine of `ProxyManifest`: caching, then the pull event.
    async fn cache_manifest(
        self: &Arc<Self>,
        core: &Arc<Core>,
        info: &ArtifactInfo,
        parsed: Manifest,
        found: UpstreamManifest,
    ) {
        let local = self.local_digest(&info.repository, info.reference.as_str());
        if info.reference.tag().is_none() || local.as_ref() != Some(&found.digest) {
            match parsed {
                Manifest::Index { children } => index_cache::cache(self, info, &found, children).await,
                image @ Manifest::Image { .. } => {
                    manifest_cache::cache(self, core, info, &found, image.blob_digests()).await;
                }
            }
        }
        if let Some(digest) = local.or_else(|| self.local_digest(&info.repository, info.reference.as_str())) {
            let now = self.clock.now();
            self.store.write(|tables| tables.pull(&info.repository, &digest, info.reference.tag(), now));
        }
    }

    /// The goroutine of `proxyManifestHead`: for 600 s it tries to attach the tag to the artifact, which may be
    /// recorded meanwhile under the digest of Harbor's own print of the index.
    fn ensure_tag_after_head(self: &Arc<Self>, core: &Arc<Core>, repository: String, digest: Digest, tag: String) {
        let harbor = Arc::clone(self);
        core.spawn(async move {
            let mut pauses = harbor.clock.pauses();
            for _ in 0..harbor.timers.tag_tries {
                pauses.pause(harbor.timers.tag_interval).await;
                let now = harbor.clock.now();
                let trimmed = harbor.store.read(|tables| tables.redis_get(&index_cache::trimmed_key(&digest), now));
                let recorded = trimmed.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                if harbor.attach_tag(&repository, recorded.as_deref().unwrap_or(&digest), &tag) {
                    return;
                }
            }
        });
    }

    /// The registry behind the core (`src/server/registry/manifest.go`).
    fn local_manifest(&self, info: &ArtifactInfo, request: ManifestRequest<'_>) -> Result<ManifestAnswer, HarborError> {
        let reference = info.reference.as_str();
        let (digest, stored) = self.store.read(|tables| {
            if !tables.repositories.contains_key(&info.repository) {
                return Err(HarborError::not_found(format!("repository {} not found", info.repository)));
            }
            let separator = if info.reference.digest().is_some() { '@' } else { ':' };
            let not_found =
                || HarborError::not_found(format!("artifact {}{separator}{reference} not found", info.repository));
            let (digest, _) = tables.artifact(&info.repository, reference).ok_or_else(not_found)?;
            let stored = tables.manifests.get(digest).ok_or_else(not_found)?;
            Ok((digest.clone(), stored.clone()))
        })?;
        check_accepted(&stored.media_type, request.accept)?;
        if !request.head && !request.from_replication {
            let now = self.clock.now();
            self.store.write(|tables| tables.pull(&info.repository, &digest, info.reference.tag(), now));
        }
        Ok(ManifestAnswer {
            served_by: ServedBy::Registry,
            media_type: stored.media_type,
            digest: digest.to_string(),
            size: stored.bytes.len() as u64,
            body: (!request.head).then_some(stored.bytes),
        })
    }

    /// `BlobGetMiddleware`
    pub(crate) async fn blob(
        self: &Arc<Self>,
        core: &Arc<Core>,
        info: &ArtifactInfo,
        digest: &Digest,
    ) -> Result<BlobAnswer, HarborError> {
        let spec = self.project(&info.project);
        if let Some(location) = library_redirect(&spec, info, "blobs") {
            return Ok(BlobAnswer::LibraryRedirect(location));
        }
        self.check_filter(&spec, info)?;
        let local = self.local_blob(&info.repository, digest);
        if let Some(content) = local {
            return Ok(BlobAnswer::Local(content));
        }
        if !self.can_proxy(&spec) {
            return Err(HarborError::blob_unknown());
        }
        let permit = self.upstream_permit(core, &spec, info).map_err(|failure| match failure {
            Failure::Final(error) => error,
            Failure::FallBack => HarborError::internal(),
        })?;
        let limits = self.stream_limits(&spec);
        let upstream_repository = info.upstream_repository();
        let opened = self.upstream.open_blob(UpstreamRequest::ClientStream, upstream_repository, digest, limits).await;
        let reader = opened.map_err(|error| HarborError::of_blob(&error))?;
        // From here on the copy goes on by itself, whatever becomes of the client.
        let (harbor, own_core, info, digest) = (Arc::clone(self), Arc::clone(core), info.clone(), digest.clone());
        core.spawn(async move {
            if let Err(cause) = harbor.put_blob_to_local(&own_core, &info, &digest).await {
                error!(repository = %info.repository, %digest, %cause, "error while putting blob to local repo");
            }
        });
        Ok(BlobAnswer::Proxied { reader: Box::new(reader), permit })
    }

    /// `putBlobToLocal`: a stream of its own from the upstream into the registry. If somebody else is already copying
    /// the blob it returns at once as if all were well, which is the in-flight bug: the manifest is pushed too early.
    pub(crate) async fn put_blob_to_local(
        self: &Arc<Self>,
        core: &Arc<Core>,
        info: &ArtifactInfo,
        digest: &Digest,
    ) -> Result<(), String> {
        let limits = self.stream_limits(&self.project(&info.project));
        let opened =
            self.upstream.open_blob(UpstreamRequest::CacheCopy, info.upstream_repository(), digest, limits).await;
        let reader = opened.map_err(|error| error.to_string())?;
        let Some(_in_flight) = core.enter_flight(format!("{}:{digest}", info.repository)) else { return Ok(()) };
        if self.store.read(|tables| tables.read_only) {
            // Refused at the first request of the upload: nothing of the stream is read.
            return Err(super::storage::PushRefused::ReadOnly.to_string());
        }
        let copied = reader.copy().await.map_err(|error| error.to_string())?;
        self.store.write(|tables| *tables.transfers.entry(format!("{}@{digest}", info.repository)).or_default() += 1);
        let content = copied.ok_or("the upload doesn't hash to the digest")?;
        self.store_blob(&info.repository, digest, content).map_err(|error| error.to_string())
    }

    /// `HeadBlobMiddleware`: the local registry and nothing else. The size of the blob.
    pub(crate) fn head_blob(&self, repository: &str, digest: &Digest) -> Result<u64, HarborError> {
        self.local_blob(repository, digest).map(|content| content.size()).ok_or_else(HarborError::blob_unknown)
    }

    fn local_blob(&self, repository: &str, digest: &Digest) -> Option<Content> {
        self.store
            .read(|tables| tables.has_blob(repository, digest).then(|| tables.blobs.get(&**digest).cloned()).flatten())
    }

    /// `TagsListMiddleware`: what is recorded here and what the upstream has, together.
    pub(crate) async fn list_tags(&self, info: &ArtifactInfo) -> Result<TagsAnswer, HarborError> {
        let local = self.store.read(|tables| {
            tables.repositories.get(&info.repository).map(|row| row.tags.keys().cloned().collect::<BTreeSet<_>>())
        });
        if !self.can_proxy(&self.project(&info.project)) {
            let missing = || HarborError::not_found(format!("repository {} not found", info.repository));
            return Ok(TagsAnswer { tags: local.ok_or_else(missing)?.into_iter().collect() });
        }
        let mut tags = local.unwrap_or_default();
        tags.extend(self.upstream.list_tags(info.upstream_repository()).await.unwrap_or_default());
        Ok(TagsAnswer { tags: tags.into_iter().collect() })
    }

    pub(crate) fn local_digest(&self, repository: &str, reference: &str) -> Option<Digest> {
        self.store.read(|tables| tables.artifact(repository, reference).map(|(digest, _)| digest.clone()))
    }

    pub(crate) fn version(&self) -> HarborVersion {
        self.store.read(|tables| tables.version)
    }

    /// Since 2.16 a project may have a filter, and what it refuses reads like a tag that isn't there.
    fn check_filter(&self, spec: &ProjectSpec, info: &ArtifactInfo) -> Result<(), HarborError> {
        let name = info.upstream_repository();
        match &spec.repository_filter {
            Some(filter) if self.version().filters_repositories() && !pattern::matches(filter, name) => {
                let message = format!("repository \"{name}\" does not match project repository filter");
                Err(resource_not_found(&message))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The project as it is configured now. Access was checked before, so it exists.
    fn project(&self, name: &str) -> ProjectSpec {
        self.store
            .read(|tables| tables.projects.get(name).map(|project| project.spec.clone()))
            .unwrap_or_else(|| ProjectSpec::hosted(name))
    }

    fn can_proxy(&self, spec: &ProjectSpec) -> bool {
        spec.proxy && !self.store.read(|tables| tables.endpoint_unhealthy)
    }

    fn stream_limits(&self, spec: &ProjectSpec) -> StreamLimits {
        let bytes_per_second = spec.speed_kb.map(|kilobytes| kilobytes * 1024);
        StreamLimits { bytes_per_second, timeout: self.timers.upstream_timeout }
    }

    fn upstream_permit(
        &self,
        core: &Arc<Core>,
        spec: &ProjectSpec,
        info: &ArtifactInfo,
    ) -> Result<Option<ConnectionPermit>, Failure> {
        let limit = spec.max_upstream_connections.filter(|_| self.version().limits_upstream_connections());
        let Some(limit) = limit else { return Ok(None) };
        let key = if self.limit_on_project {
            info.project.clone()
        } else {
            format!("{}:{}", info.repository, info.reference.digest().map(Digest::as_str).unwrap_or_default())
        };
        match core.connect_upstream(key, limit) {
            Some(permit) => Ok(Some(permit)),
            None => Err(Failure::Final(HarborError::too_many_requests())),
        }
    }
}

fn failure(error: &UpstreamError, not_found: impl FnOnce() -> HarborError) -> Failure {
    if error.is(StatusCode::NOT_FOUND) {
        Failure::Final(not_found())
    } else if error.is(StatusCode::TOO_MANY_REQUESTS) {
        Failure::Final(HarborError::too_many_requests())
    } else {
        debug!(%error, "failed to proxy manifest, fallback to local");
        Failure::FallBack
    }
}

fn resource_not_found(message: &str) -> HarborError {
    HarborError::not_found(format!("resource not found: {message}"))
}

fn library_redirect(spec: &ProjectSpec, info: &ArtifactInfo, kind: &str) -> Option<String> {
    let name = info.upstream_repository();
    (spec.docker_hub && !name.contains('/'))
        .then(|| format!("/v2/{}/library/{name}/{kind}/{}", info.project, info.reference.as_str()))
}

/// docker/distribution serves OCI manifests only to those who name their type; `*/*` is not enough.
fn check_accepted(media_type: &str, accept: Option<&str>) -> Result<(), HarborError> {
    let named = |wanted: &str| {
        accept.is_none_or(|accept| {
            accept.split(',').any(|part| part.split(';').next().is_some_and(|part| part.trim() == wanted))
        })
    };
    match media_type {
        OCI_INDEX if !named(OCI_INDEX) => {
            Err(HarborError::manifest_unknown("OCI index found, but accept header does not support OCI indexes"))
        }
        OCI_MANIFEST if !named(OCI_MANIFEST) => {
            Err(HarborError::manifest_unknown("OCI manifest found, but accept header does not support OCI manifests"))
        }
        _ => Ok(()),
    }
}
