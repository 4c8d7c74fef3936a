//! What warming an image would bring: which blobs Harbor lacks, and how many bytes they have.
//!
//! Planning moves no blob. It asks for blobs with HEADs only, and reads a manifest only where that has no consequence:
//! one that the warmer has read already, an index through the project's second one, a manifest that Harbor has recorded,
//! anything of a Distribution cache. On a Harbor every other reading *is* warming: 200 s after the GET of a platform
//! manifest Harbor fetches the missing blobs by itself. [`PlanRequest::read_manifests`] accepts that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use harbor_warmer_protocol::{Digest, HandOff, HarborImage, Subject, TagOrDigest};
use serde::{Deserialize, Serialize};

use crate::admin::mapping;
use crate::clock;
use crate::config::{Config, HarborKind, Project};
use crate::front::Front;
use crate::harbor::{Client, Harbors, Repository};
use crate::image::{Blob, Child};
use crate::manifest::Manifest;
use crate::store::Store;

/// Images looked at at once.
const IMAGES_AT_ONCE: usize = 4;

/// HEADs of one image at once.
const HEADS_AT_ONCE: usize = 8;

/// `POST /api/v1/plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRequest {
    /// Image references as a workload would write them.
    pub images: Vec<String>,
    /// Read platform manifests that Harbor hasn't recorded, to learn of their blobs. Harbor then fetches the image by
    /// itself some minutes later.
    #[serde(default)]
    pub read_manifests: bool,
}

/// The answer, an entry an image, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanResponse {
    /// The images.
    pub images: Vec<PlanEntry>,
    /// Blobs missing in all, each once for each repository: Harbor keeps them so.
    pub blobs_missing: usize,
    /// Their bytes.
    pub bytes_missing: u64,
}

/// What warming one image would bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanEntry {
    /// The reference as it was given.
    pub image: String,
    /// Where it would be in Harbor, `harbor/project/repository`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The digest that its tag has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// How much is there.
    pub state: PlanState,
    /// Why it is refused or unknown; a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its blobs for the wanted platforms, as far as known.
    pub blobs: Vec<PlanBlob>,
    /// Bytes of all of them.
    pub bytes_total: u64,
    /// Bytes of the missing ones.
    pub bytes_missing: u64,
}

/// How much of an image Harbor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanState {
    /// Every blob.
    Complete,
    /// Not every blob.
    Missing,
    /// Can't be told without having Harbor fetch it.
    Unknown,
    /// It would not be warmed at all.
    Refused,
}

/// One blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanBlob {
    /// Its digest.
    pub digest: Digest,
    /// Bytes, as the manifest says.
    pub size_bytes: u64,
    /// Whether Harbor has it in this repository; none where it can't be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
}

/// What answers `plan`.
pub struct Planner {
    config: Arc<Config>,
    harbors: Arc<Harbors>,
    front: Arc<Front>,
    store: Store,
}

/// What is found of one image before its blobs are asked for.
struct Content {
    root: Digest,
    /// Sizes by digest.
    blobs: BTreeMap<Digest, u64>,
    /// Why not all of its blobs are known.
    unknown: Option<String>,
}

/// A planned image and what is asked about it.
struct Asked<'a> {
    image: &'a HarborImage,
    place: Repository,
    client: &'a Client,
    project: &'a Project,
    read_manifests: bool,
}

impl Planner {
    /// Plans by the rules and platforms of the configuration.
    pub fn new(config: Arc<Config>, harbors: Arc<Harbors>, front: Arc<Front>, store: Store) -> Self {
        Self { config, harbors, front, store }
    }

    /// What warming these images would bring.
    pub async fn plan(&self, request: &PlanRequest) -> PlanResponse {
        let read_manifests = request.read_manifests;
        let entries =
            request.images.clone().into_iter().map(|image| async move { self.plan_one(&image, read_manifests).await });
        sum(stream::iter(entries).buffered(IMAGES_AT_ONCE).collect().await)
    }

    async fn plan_one(&self, image: &str, read_manifests: bool) -> PlanEntry {
        let hand_off = match mapping::hand_off(&self.config.rules, &self.config.platforms, image) {
            Ok(hand_off) => hand_off,
            Err(reason) => return PlanEntry::without_blobs(image, PlanState::Refused, reason),
        };
        let (client, project) = match self.harbors.entry(&hand_off.image) {
            Ok(entry) => entry,
            Err(error) => return PlanEntry::without_blobs(image, PlanState::Refused, error.to_string()),
        };
        let place = Repository::from(&hand_off.image);
        let asked = Asked { image: &hand_off.image, place, client, project, read_manifests };
        let mut entry = match self.content(&asked, &hand_off).await {
            Ok(content) => asked.ask_for(image, content).await,
            Err(reason) => PlanEntry::without_blobs(image, PlanState::Unknown, reason),
        };
        entry.place = Some(hand_off.image.to_string());
        entry
    }

    /// The blobs of the wanted platforms. An error is a sentence.
    async fn content(&self, asked: &Asked<'_>, hand_off: &HandOff) -> Result<Content, String> {
        let reference = match &hand_off.subject {
            Subject::Tag(tag) => TagOrDigest::Tag(tag.clone()),
            Subject::Pin { digest, .. } | Subject::Layers { child: digest, .. } => TagOrDigest::Digest(*digest),
        };
        let head = asked.client.head_manifest(&asked.place, &reference).await.map_err(|error| error.to_string())?;
        let root = head.digest;
        let mut content = Content { root, blobs: BTreeMap::new(), unknown: None };
        let body = match self.read(asked, root, head.media_type.as_deref()).await? {
            Some(body) => body,
            None => return self.content_in_queue(asked, root).await,
        };
        let children = match Manifest::parse(&body)? {
            Manifest::Image(blobs) => {
                content.add(blobs);
                return Ok(content);
            }
            Manifest::Index(children) => children,
        };
        let accepted = |child: &&Child| {
            child.platform.as_ref().is_some_and(|(os, architecture, variant)| {
                hand_off.platforms.iter().any(|wanted| wanted.accepts(os, architecture, variant.as_deref()))
            })
        };
        let wanted: Vec<_> = children.iter().filter(accepted).map(|child| child.digest).collect();
        if wanted.is_empty() {
            return Err(format!("the image has none of the platforms {}", hand_off.platforms.path_form()));
        }
        for child in wanted {
            match self.read(asked, child, None).await? {
                Some(body) => match Manifest::parse(&body)? {
                    Manifest::Image(blobs) => content.add(blobs),
                    Manifest::Index(_) => return Err("the image is an index of indexes".to_owned()),
                },
                None => return self.content_in_queue(asked, root).await,
            }
        }
        Ok(content)
    }

    /// The blobs that the queue knows of, where the manifests can't be read.
    async fn content_in_queue(&self, asked: &Asked<'_>, root: Digest) -> Result<Content, String> {
        let found = self.store.find(asked.image, &TagOrDigest::Digest(root), clock::now()).await;
        let view = found.map_err(|error| error.to_string())?;
        let blobs: BTreeMap<_, _> = view
            .map(|view| view.blobs.into_iter().map(|blob| (blob.digest, blob.size_bytes)).collect())
            .unwrap_or_default();
        let unknown = "Harbor has not recorded it, and reading its manifests would have Harbor fetch it".to_owned();
        Ok(Content { root, unknown: blobs.is_empty().then_some(unknown), blobs })
    }

    /// A manifest's bytes, if they can be read without consequence or the request accepts it.
    async fn read(
        &self,
        asked: &Asked<'_>,
        digest: Digest,
        media_type: Option<&str>,
    ) -> Result<Option<bytes::Bytes>, String> {
        let now = clock::now();
        if let Some((bytes, _, _)) = self.front.known_manifest(asked.image, digest, now) {
            return Ok(Some(bytes));
        }
        let is_index = media_type.is_some_and(|media_type| !crate::front::is_manifest(media_type));
        if let Some(second) = asked.project.resolve_through.as_ref().filter(|_| is_index) {
            let image = HarborImage { project: second.clone(), ..asked.image.clone() };
            if let Some((bytes, _, _)) = self.front.known_manifest(&image, digest, now) {
                return Ok(Some(bytes));
            }
            let body = asked.client.get_manifest(&Repository::from(&image), digest).await;
            return body.map(|body| Some(body.bytes)).map_err(|error| error.to_string());
        }
        if !(asked.reads_freely() || asked.is_recorded(digest).await) {
            return Ok(None);
        }
        let body = self.front.read(asked.image, digest).await?;
        Ok(Some(body))
    }
}

impl Content {
    /// Adds a platform's blobs, less those that Harbor can't store.
    fn add(&mut self, blobs: Vec<Blob>) {
        let stored = blobs.into_iter().filter(|blob| blob.distributable);
        self.blobs.extend(stored.map(|blob| (blob.digest, blob.size_bytes)));
    }
}

impl Asked<'_> {
    fn reads_freely(&self) -> bool {
        self.read_manifests || self.client.kind() == HarborKind::Distribution
    }

    /// Whether Harbor has the manifest, so that reading it asks nobody else. A robot that may not read artifacts can't
    /// tell, which counts as no.
    async fn is_recorded(&self, digest: Digest) -> bool {
        let artifact = self.client.artifact(&self.place, &TagOrDigest::Digest(digest)).await;
        matches!(artifact, Ok(Some(_)))
    }

    /// Asks for each blob. On a Distribution cache a HEAD fetches the blob, so there nothing is asked.
    async fn ask_for(&self, image: &str, content: Content) -> PlanEntry {
        let can_ask = self.client.kind() == HarborKind::Harbor;
        let heads = content.blobs.into_iter().map(|(digest, size_bytes)| async move {
            if !can_ask {
                return Ok(PlanBlob { digest, size_bytes, local: None });
            }
            let size = self.client.head_blob(&self.place, digest).await.map_err(|error| error.to_string())?;
            Ok(PlanBlob { digest, size_bytes, local: Some(size.is_some()) })
        });
        let heads: Vec<Result<PlanBlob, String>> = stream::iter(heads).buffered(HEADS_AT_ONCE).collect().await;
        let (mut blobs, mut reason) = (Vec::new(), content.unknown);
        for head in heads {
            match head {
                Ok(blob) => blobs.push(blob),
                Err(error) => reason = Some(error),
            }
        }
        if !can_ask && reason.is_none() {
            reason = Some("a Distribution cache can't be asked for a blob without fetching it".to_owned());
        }
        PlanEntry::with_blobs(image, content.root, blobs, reason)
    }
}

impl PlanEntry {
    fn without_blobs(image: &str, state: PlanState, reason: String) -> Self {
        Self {
            image: image.to_owned(),
            place: None,
            root: None,
            state,
            reason: Some(reason),
            blobs: Vec::new(),
            bytes_total: 0,
            bytes_missing: 0,
        }
    }

    fn with_blobs(image: &str, root: Digest, blobs: Vec<PlanBlob>, unknown: Option<String>) -> Self {
        let bytes = |missing_only: bool| {
            let counted = blobs.iter().filter(|blob| !missing_only || blob.local == Some(false));
            counted.map(|blob| blob.size_bytes).sum()
        };
        let state = match &unknown {
            Some(_) => PlanState::Unknown,
            None if blobs.iter().all(|blob| blob.local == Some(true)) => PlanState::Complete,
            None => PlanState::Missing,
        };
        Self {
            image: image.to_owned(),
            place: None,
            root: Some(root),
            state,
            reason: unknown,
            bytes_total: bytes(false),
            bytes_missing: bytes(true),
            blobs,
        }
    }
}

/// The sums: images that share a repository share blobs.
fn sum(images: Vec<PlanEntry>) -> PlanResponse {
    let missing: BTreeSet<_> = images
        .iter()
        .flat_map(|entry| entry.blobs.iter().map(move |blob| (&entry.place, blob)))
        .filter(|(_, blob)| blob.local == Some(false))
        .map(|(place, blob)| (place, blob.digest, blob.size_bytes))
        .collect();
    let (blobs_missing, bytes_missing) = (missing.len(), missing.iter().map(|(_, _, size)| size).sum());
    PlanResponse { images, blobs_missing, bytes_missing }
}
