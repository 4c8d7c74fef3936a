//! The registry API: manifests and blobs.

use std::time::Duration;

use bytes::Bytes;
use harbor_warmer_protocol::{Digest, TagOrDigest};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};

use super::errors::Operation;
use super::request::Request;
use super::{AnswerClass, Client, HarborError, Invalid, Repository};
use harbor_warmer_core::project::HarborKind;

/// The largest manifest that is read: Harbor accepts none that is larger (src/common/const.go, `MaxManifestBodySize`).
pub const MANIFEST_MAX_BYTES: usize = 4 * 1024 * 1024;

/// A blob up to this size is read whole by [`Client::touch_blob`]: that is cheaper than a new connection.
const TOUCH_WHOLE_MAX_BYTES: u64 = 64 * 1024;

/// No copy is thought to take longer than this, however few bytes came for a moment.
const LONGEST_COPY: Duration = Duration::from_secs(30 * 86_400);

/// All four types. Harbor ignores the header towards its upstream, but what it serves itself is chosen by it.
const MANIFEST_TYPES: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json",
);

const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";

/// What a HEAD tells of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// Its digest: the upstream's, if it isn't `from_storage`.
    pub digest: Digest,
    /// Its media type, without parameters; tells an index from a manifest. None where the answer has none.
    pub media_type: Option<String>,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Harbor answered for a tag out of its own storage, which it does as well when the upstream does not answer.
    pub from_storage: bool,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestBody {
    /// Its exact bytes; their digest is the one asked for.
    pub bytes: Bytes,
    /// Its media type, without parameters; empty where the answer has none.
    pub media_type: String,
}

/// What [`Client::head_blob`] finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobHead {
    /// Harbor has it.
    Stored {
        /// Its size there; none where the answer does not say, as in a redirect to the storage.
        size_bytes: Option<u64>,
    },
    /// Harbor does not have it.
    Absent,
}

impl BlobHead {
    /// Whether Harbor has a blob of this size: one of another size is another blob or a broken one, whatever it is
    /// called. Zero stands for a size that nobody told.
    pub fn is_there(self, size_bytes: u64) -> bool {
        match self {
            Self::Stored { size_bytes: Some(told) } => told == size_bytes || size_bytes == 0,
            Self::Stored { size_bytes: None } => true,
            Self::Absent => false,
        }
    }
}

/// What [`Client::probe`] finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The upstream answers, so a tag that is not found really doesn't exist.
    Answers,
    /// The upstream does not answer, so a tag that is not found may well exist.
    Silent,
}

impl Client {
    /// HEAD of a manifest. By tag it opens Harbor's window of 600 s in which the tag gets recorded.
    ///
    /// Never falls back to a GET: a GET by tag makes Harbor keep an index without its tag for 7 days.
    ///
    /// # Errors
    /// A 404 has no body and is [`AnswerClass::NotFoundAmbiguous`]; [`Client::probe`] tells more.
    pub async fn head_manifest(
        &self,
        place: &Repository,
        reference: &TagOrDigest,
    ) -> Result<ManifestHead, HarborError> {
        self.counted(self.try_head_manifest(place, reference).await)
    }

    async fn try_head_manifest(
        &self,
        place: &Repository,
        reference: &TagOrDigest,
    ) -> Result<ManifestHead, HarborError> {
        let path = self.registry_path(place, "manifests", reference);
        let request = self.pull(Method::HEAD, Operation::HeadManifest, path, place).accept(MANIFEST_TYPES);
        let answer = self.transport().ask(request).await?;
        let headers = answer.headers();
        let told = digest_of(headers);
        let digest = match (reference, told) {
            (TagOrDigest::Digest(asked), Some(told)) if *asked != told => {
                return Err(HarborError::Invalid(Invalid::WrongDigest { expected: *asked, actual: told }));
            }
            (TagOrDigest::Digest(asked), _) => *asked,
            (TagOrDigest::Tag(_), Some(told)) => told,
            // Harbor passes on what its upstream told, and writes the header in any case.
            // A registry all the same, since a page has another type.
            (TagOrDigest::Tag(_), None)
                if headers.contains_key(DOCKER_CONTENT_DIGEST)
                    || media_type_of(headers)
                        .is_some_and(|kind| kind.contains("manifest") || kind.contains("index")) =>
            {
                return Err(HarborError::Invalid(Invalid::NoDigest));
            }
            (TagOrDigest::Tag(_), None) => {
                return Err(HarborError::Invalid(Invalid::NotHarbor(answer.status().as_u16())));
            }
        };
        let media_type = media_type_of(headers);
        let from_storage =
            matches!(reference, TagOrDigest::Tag(_)) && self.kind() == HarborKind::Harbor && has_quoted_etag(headers);
        Ok(ManifestHead { digest, media_type, size_bytes: content_length_of(headers), from_storage })
    }

    /// GET of a manifest by digest; there is none by tag, for the reason given at [`Client::head_manifest`].
    ///
    /// On Harbor this is more than reading: of a platform manifest it starts the caching of the artifact, of an index
    /// the 400 s after which Harbor records it with the children that are there.
    ///
    /// # Errors
    /// The two kinds of 404 are told apart; content that is not what the digest says, or larger than
    /// [`MANIFEST_MAX_BYTES`], is [`AnswerClass::Invalid`].
    pub async fn get_manifest(&self, place: &Repository, digest: Digest) -> Result<ManifestBody, HarborError> {
        self.counted(self.try_get_manifest(place, digest).await)
    }

    async fn try_get_manifest(&self, place: &Repository, digest: Digest) -> Result<ManifestBody, HarborError> {
        let path = self.registry_path(place, "manifests", digest);
        let request = self.pull(Method::GET, Operation::GetManifest, path, place).accept(MANIFEST_TYPES);
        let answer = self.transport().ask(request).await?;
        let media_type = media_type_of(answer.headers()).unwrap_or_default();
        let bytes = answer.read_whole(MANIFEST_MAX_BYTES).await?;
        check_digest(digest, Sha256::new_with_prefix(&bytes))?;
        Ok(ManifestBody { bytes, media_type })
    }

    /// Whether the upstream answers at all, without touching any tag: asks for a digest that nothing has. Harbor
    /// then says `resource not found: repo …` where its upstream said so, and `artifact … not found` or
    /// `repository … not found` where it could only look at what it has itself.
    ///
    /// # Errors
    /// Every other answer. A Distribution cache can't be probed, and isn't asked: [`AnswerClass::NotFoundAmbiguous`].
    pub async fn probe(&self, place: &Repository) -> Result<Upstream, HarborError> {
        if self.kind() == HarborKind::Distribution {
            return Err(HarborError::NotFoundAmbiguous);
        }
        match self.try_get_manifest(place, Digest::ZERO).await {
            Ok(_) => self.counted(Err(HarborError::Invalid(Invalid::NotTheApi))),
            Err(error) => match error.class() {
                AnswerClass::MissingTag => self.counted(Ok(Upstream::Answers)),
                AnswerClass::UpstreamSilent => self.counted(Ok(Upstream::Silent)),
                _ => self.counted(Err(error)),
            },
        }
    }

    /// Whether Harbor has a blob in this repository, and of what size. Never asks the upstream on Harbor; on a
    /// Distribution cache see the [module's words](super).
    ///
    /// A redirect to the storage says that the blob is there: a registry looks it up before it names its place.
    ///
    /// # Errors
    /// Every answer that says neither.
    pub async fn head_blob(&self, place: &Repository, digest: Digest) -> Result<BlobHead, HarborError> {
        self.counted(self.try_head_blob(place, digest).await)
    }

    async fn try_head_blob(&self, place: &Repository, digest: Digest) -> Result<BlobHead, HarborError> {
        let path = self.registry_path(place, "blobs", digest);
        let request = match self.kind() {
            HarborKind::Harbor => self.pull(Method::HEAD, Operation::HeadBlob, path, place),
            HarborKind::Distribution => {
                self.pull(Method::GET, Operation::GetBlob, path, place).header("range", "bytes=0-0").streamed()
            }
        };
        let answer = self.transport().ask(request.or_status(StatusCode::NOT_FOUND)).await?;
        Ok(match (answer.status(), self.kind()) {
            (StatusCode::NOT_FOUND, _) => BlobHead::Absent,
            _ if answer.is_stored_elsewhere() => BlobHead::Stored { size_bytes: None },
            (StatusCode::PARTIAL_CONTENT, HarborKind::Distribution) => {
                BlobHead::Stored { size_bytes: range_size_of(answer.headers()) }
            }
            (_, HarborKind::Distribution) => BlobHead::Absent,
            (_, HarborKind::Harbor) => BlobHead::Stored { size_bytes: content_length_of(answer.headers()) },
        })
    }

    /// Makes Harbor fetch a blob, nearly without reading it; the bytes read. Harbor starts the copy to its own storage
    /// before it streams, so once the first bytes are here the copy runs by itself and the connection is dropped. That
    /// it arrives is for [`Client::head_blob`] to say. None are read where Harbor redirects to its storage: it has the
    /// blob then.
    ///
    /// # Errors
    /// Also a transfer that ends before a byte came, or a small blob that comes short.
    pub async fn touch_blob(&self, place: &Repository, digest: Digest, size_bytes: u64) -> Result<u64, HarborError> {
        self.counted(self.try_touch_blob(place, digest, size_bytes).await)
    }

    async fn try_touch_blob(&self, place: &Repository, digest: Digest, size_bytes: u64) -> Result<u64, HarborError> {
        let mut answer = self.transport().ask(self.get_blob(place, digest)).await?;
        if answer.is_stored_elsewhere() {
            return Ok(0);
        }
        let mut read = 0;
        while let Some(chunk) = answer.next_chunk().await? {
            read += self.count_bytes(&chunk);
            if read > 0 && !(1..=TOUCH_WHOLE_MAX_BYTES).contains(&size_bytes) {
                return Ok(read);
            }
            if read > size_bytes {
                return Err(HarborError::Invalid(Invalid::TooLarge { limit: size_bytes }));
            }
        }
        complete(read, size_bytes)
    }

    /// Asks for a blob as [`Client::touch_blob`] does, and reads on for `time`, or for a sixteenth of the blob: how fast the
    /// upstream sends it. The bytes that were read, and how long the whole of it takes at that pace.
    ///
    /// # Errors
    /// As of [`Client::touch_blob`].
    pub async fn sample_blob(
        &self,
        place: &Repository,
        digest: Digest,
        size_bytes: u64,
        time: Duration,
    ) -> Result<(u64, Duration), HarborError> {
        self.counted(self.try_sample_blob(place, digest, size_bytes, time).await)
    }

    async fn try_sample_blob(
        &self,
        place: &Repository,
        digest: Digest,
        size_bytes: u64,
        time: Duration,
    ) -> Result<(u64, Duration), HarborError> {
        let mut answer = self.transport().ask(self.get_blob(place, digest)).await?;
        if answer.is_stored_elsewhere() {
            return Ok((0, Duration::ZERO));
        }
        let began = Instant::now();
        let mut read = 0;
        // The first bytes are waited for as long as those of any blob are.
        while read == 0 {
            match answer.next_chunk().await? {
                Some(chunk) => read += self.count_bytes(&chunk),
                None => return Ok((complete(read, size_bytes)?, Duration::ZERO)),
            }
        }
        while read < size_bytes / 16 {
            match timeout_at(began + time, answer.next_chunk()).await {
                Ok(chunk) => match chunk? {
                    Some(chunk) => read += self.count_bytes(&chunk),
                    None => break,
                },
                Err(_) => break,
            }
        }
        let times = size_bytes as f64 / read as f64;
        let takes = Duration::try_from_secs_f64(began.elapsed().as_secs_f64() * times).unwrap_or(LONGEST_COPY);
        Ok((read, takes.min(LONGEST_COPY)))
    }

    /// Reads a blob whole, a chunk at a time, and checks its length and digest; the bytes read. A `size_bytes` of zero
    /// stands for a size that nobody told.
    ///
    /// # Errors
    /// [`AnswerClass::Timeout`] when no byte comes for the stall timeout; [`AnswerClass::Invalid`] for a transfer that
    /// is short, long, or other content; [`AnswerClass::Storage`] where it is redirected and can't be read there.
    pub async fn drain_blob(&self, place: &Repository, digest: Digest, size_bytes: u64) -> Result<u64, HarborError> {
        self.counted(self.try_drain_blob(place, digest, size_bytes).await)
    }

    async fn try_drain_blob(&self, place: &Repository, digest: Digest, size_bytes: u64) -> Result<u64, HarborError> {
        let mut answer = self.transport().ask(self.get_blob(place, digest).read_from_storage()).await?;
        let mut hasher = Sha256::new();
        let mut read = 0;
        while let Some(chunk) = answer.next_chunk().await? {
            read += self.count_bytes(&chunk);
            if size_bytes > 0 && read > size_bytes {
                return Err(HarborError::Invalid(Invalid::TooLarge { limit: size_bytes }));
            }
            hasher.update(&chunk);
        }
        complete(read, size_bytes)?;
        check_digest(digest, hasher)?;
        Ok(read)
    }

    /// Whether Harbor accepts the credentials at all: the registry API's version check.
    ///
    /// # Errors
    /// [`AnswerClass::Unauthorized`] where it doesn't.
    pub async fn sign_in(&self) -> Result<(), HarborError> {
        let request = Request::new(Method::GET, Operation::Version, "/v2/".to_owned());
        self.counted(self.transport().ask(request).await.map(drop))
    }

    fn get_blob(&self, place: &Repository, digest: Digest) -> Request {
        let path = self.registry_path(place, "blobs", digest);
        self.pull(Method::GET, Operation::GetBlob, path, place).streamed()
    }

    fn pull(&self, method: Method, operation: Operation, path: String, place: &Repository) -> Request {
        Request::new(method, operation, path).pulls(self.path_of(place))
    }

    fn registry_path(&self, place: &Repository, kind: &str, reference: impl std::fmt::Display) -> String {
        format!("/v2/{}/{kind}/{reference}", self.path_of(place))
    }

    /// The repository's path on the wire.
    fn path_of(&self, place: &Repository) -> String {
        match self.kind() {
            HarborKind::Harbor => place.to_string(),
            HarborKind::Distribution => place.repository.to_string(),
        }
    }

    fn count_bytes(&self, chunk: &Bytes) -> u64 {
        let bytes = chunk.len() as u64;
        self.shared.counters.blob_bytes(bytes);
        bytes
    }
}

fn complete(read: u64, expected: u64) -> Result<u64, HarborError> {
    if read < expected {
        return Err(HarborError::Invalid(Invalid::Truncated { read, expected }));
    }
    Ok(read)
}

fn check_digest(expected: Digest, content: Sha256) -> Result<(), HarborError> {
    let actual = Digest::from_bytes(content.finalize().into());
    if actual != expected {
        return Err(HarborError::Invalid(Invalid::WrongDigest { expected, actual }));
    }
    Ok(())
}

/// `Docker-Content-Digest`, else the `Etag`, which Harbor gives the same value, in quotes or not. Either may be there
/// and empty.
fn digest_of(headers: &HeaderMap) -> Option<Digest> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let from = |text: &str| text.trim_matches('"').parse().ok();
    text(DOCKER_CONTENT_DIGEST).and_then(from).or_else(|| text(header::ETAG.as_str()).and_then(from))
}

/// The registry behind Harbor's core quotes it, as HTTP has it; the proxy in front does not.
fn has_quoted_etag(headers: &HeaderMap) -> bool {
    headers
        .get(header::ETAG)
        .is_some_and(|etag| etag.as_bytes().starts_with(b"\"") || etag.as_bytes().starts_with(b"W/"))
}

fn media_type_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default().trim();
    (!media_type.is_empty()).then(|| media_type.to_owned())
}

/// The size of the whole that the answer is a part of.
fn range_size_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_RANGE)?.to_str().ok()?.rsplit_once('/')?.1.parse().ok()
}

fn content_length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
