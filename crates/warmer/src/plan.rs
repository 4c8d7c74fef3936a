//! What warming an image would bring: which blobs Harbor lacks, and how many bytes they have.
//!
//! Planning moves no blob. It asks for blobs with HEADs only, and reads a manifest only where that has no consequence:
//! one that the warmer has read already, an index through the project's second one, a manifest that Harbor has recorded,
//! anything of a Distribution cache. On a Harbor every other reading *is* warming: 200 s after the GET of a platform
//! manifest Harbor fetches the missing blobs by itself. [`PlanRequest::read_manifests`] accepts that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use harbor_warmer_protocol::{Digest, HandOff, HarborImage, Subject, TagOrDigest, TargetName};

use crate::clock;
use crate::config::{Config, Project};
use crate::front::Front;
use crate::hand_off_by_rule;
use crate::harbors::Harbors;
use crate::manifests::cache::is_manifest;
use harbor_warmer_core::image::{Blob, Child};
use harbor_warmer_core::manifest::Manifest;
use harbor_warmer_core::project::HarborKind;
use harbor_warmer_core::view::plan::{
    PlanBlob, PlanEntry, PlanReplication, PlanRequest, PlanResponse, PlanState, bytes_of,
};
use harbor_warmer_harbor::{Client, Repository};
use harbor_warmer_store::Store;

/// Images looked at at once.
const IMAGES_AT_ONCE: usize = 4;

/// HEADs of one image at once.
const HEADS_AT_ONCE: usize = 8;

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
    /// Sizes by digest, of the wanted platforms.
    blobs: BTreeMap<Digest, u64>,
    /// The whole image, where it is replicated.
    whole: Option<Whole>,
    /// Why not all of its blobs are known.
    unknown: Option<String>,
}

/// Every platform of an image.
struct Whole {
    target: TargetName,
    manifests: usize,
    unknown: usize,
    /// Sizes by digest.
    blobs: BTreeMap<Digest, u64>,
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
        let hand_off = match hand_off_by_rule::hand_off(&self.config.rules, &self.config.platforms, image) {
            Ok(hand_off) => hand_off,
            Err(reason) => return PlanEntry::without_blobs(image, PlanState::Refused, reason),
        };
        let (harbor, project) = match self.harbors.entry(&hand_off.image) {
            Ok(entry) => entry,
            Err(error) => return PlanEntry::without_blobs(image, PlanState::Refused, error.to_string()),
        };
        let place = Repository::from(&hand_off.image);
        let asked = Asked { image: &hand_off.image, place, client: &harbor.client, project, read_manifests };
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
        let whole = hand_off.target.clone().map(Whole::of);
        let mut content = Content { root, blobs: BTreeMap::new(), whole, unknown: None };
        let body = match self.read(asked, root, head.media_type.as_deref()).await? {
            Some(body) => body,
            None => return self.look_in_queue(asked, content).await,
        };
        let children = match Manifest::parse(&body).map_err(|why| why.to_string())? {
            Manifest::Image(blobs) => {
                if let Some(whole) = &mut content.whole {
                    whole.manifests = 1;
                    whole.add(&blobs);
                }
                content.add(blobs);
                return Ok(content);
            }
            Manifest::Index(children) => children,
        };
        let wanted = Child::choose(&children, &hand_off.platforms);
        if wanted.is_empty() {
            return Err(format!("the image has none of the platforms {}", hand_off.platforms.path_form()));
        }
        let mut is_known = true;
        for child in &wanted {
            match self.read(asked, *child, None).await? {
                Some(body) => match Manifest::parse(&body).map_err(|why| why.to_string())? {
                    Manifest::Image(blobs) => {
                        if let Some(whole) = &mut content.whole {
                            whole.add(&blobs);
                        }
                        content.add(blobs);
                    }
                    Manifest::Index(_) => return Err("the image is an index of indexes".to_owned()),
                },
                None => is_known = false,
            }
        }
        if let Some(whole) = &mut content.whole {
            whole.manifests = children.len();
            let others = children.iter().map(|child| child.digest).filter(|child| !wanted.contains(child));
            for child in others {
                match self.read(asked, child, None).await.ok().flatten().map(|body| Manifest::parse(&body)) {
                    Some(Ok(Manifest::Image(blobs))) => whole.add(&blobs),
                    Some(Ok(Manifest::Index(_)) | Err(_)) | None => whole.unknown += 1,
                }
            }
        }
        if is_known { Ok(content) } else { self.look_in_queue(asked, content).await }
    }

    /// The blobs that the queue knows of, where the manifests can't be read.
    async fn look_in_queue(&self, asked: &Asked<'_>, mut content: Content) -> Result<Content, String> {
        let found = self.store.find(asked.image, &TagOrDigest::Digest(content.root), clock::now()).await;
        let view = found.map_err(|error| error.to_string())?;
        let blobs: BTreeMap<_, _> = view
            .map(|view| view.blobs.into_iter().map(|blob| (blob.digest, blob.size_bytes)).collect())
            .unwrap_or_default();
        let unknown = "Harbor has not recorded it, and reading its manifests would have Harbor fetch it".to_owned();
        content.unknown = blobs.is_empty().then_some(unknown);
        if let Some(whole) = &mut content.whole {
            // Which of its manifests these belong to isn't told, so none counts as known.
            whole.unknown = whole.manifests;
            whole.blobs.extend(&blobs);
        }
        content.blobs.extend(blobs);
        Ok(content)
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
        let is_index = media_type.is_some_and(|media_type| !is_manifest(media_type));
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

impl Whole {
    /// Nothing of it was read yet.
    fn of(target: TargetName) -> Self {
        Self { target, manifests: 0, unknown: 0, blobs: BTreeMap::new() }
    }

    fn add(&mut self, blobs: &[Blob]) {
        let stored = blobs.iter().filter(|blob| blob.distributable);
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
        let mut all = content.blobs.clone();
        all.extend(content.whole.iter().flat_map(|whole| &whole.blobs));
        let heads = all.into_iter().map(|(digest, size_bytes)| async move {
            if !can_ask {
                return Ok(PlanBlob { digest, size_bytes, local: None });
            }
            let head = self.client.head_blob(&self.place, digest).await.map_err(|error| error.to_string())?;
            Ok(PlanBlob { digest, size_bytes, local: Some(head.is_there(size_bytes)) })
        });
        let heads: Vec<Result<PlanBlob, String>> = stream::iter(heads).buffered(HEADS_AT_ONCE).collect().await;
        let (mut asked, mut reason) = (BTreeMap::new(), content.unknown);
        for head in heads {
            match head {
                Ok(blob) => drop(asked.insert(blob.digest, blob)),
                Err(error) => reason = Some(error),
            }
        }
        if !can_ask && reason.is_none() {
            reason = Some("a Distribution cache can't be asked for a blob without fetching it".to_owned());
        }
        let chosen = |sizes: &BTreeMap<Digest, u64>| -> Vec<PlanBlob> {
            sizes.keys().filter_map(|digest| asked.get(digest).cloned()).collect()
        };
        let replication = content.whole.map(|whole| {
            let blobs = chosen(&whole.blobs);
            PlanReplication {
                target: whole.target,
                manifests: whole.manifests,
                manifests_unknown: whole.unknown,
                bytes_total: bytes_of(&blobs, false),
                bytes_missing: bytes_of(&blobs, true),
                blobs,
            }
        });
        PlanEntry { replication, ..PlanEntry::with_blobs(image, content.root, chosen(&content.blobs), reason) }
    }
}

/// The sums: images that share a repository share blobs.
fn sum(images: Vec<PlanEntry>) -> PlanResponse {
    let wanted = distinct(images.iter().map(|entry| (entry, entry.blobs.as_slice())));
    let missing: Vec<_> = wanted.iter().filter(|(_, blob)| blob.local == Some(false)).collect();
    let replicated =
        distinct(images.iter().filter_map(|entry| Some((entry, entry.replication.as_ref()?.blobs.as_slice()))));
    let lacking = replicated.iter().filter(|(_, blob)| blob.local == Some(false));
    PlanResponse {
        blobs_missing: missing.len(),
        bytes_missing: missing.iter().map(|(_, blob)| blob.size_bytes).sum(),
        bytes_replicated: replicated.iter().map(|(_, blob)| blob.size_bytes).sum(),
        bytes_replicated_missing: lacking.map(|(_, blob)| blob.size_bytes).sum(),
        images,
    }
}

fn distinct<'a>(
    blobs: impl Iterator<Item = (&'a PlanEntry, &'a [PlanBlob])>,
) -> BTreeSet<(Option<&'a str>, &'a PlanBlob)> {
    blobs.flat_map(|(entry, blobs)| blobs.iter().map(|blob| (entry.place.as_deref(), blob))).collect()
}
