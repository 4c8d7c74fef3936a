//! Who was promised what, and how many bytes that needs: counted beside the warmer, from the admissions alone.
//!
//! An image is **owed** for seven days after its last admission: for a tag, the image that it meant when it was last
//! admitted, for every platform that was asked for in that time. **Needed** are the bytes of each blob of the owed
//! images once for each repository, and of the rest of their indexes where the project completes them. A blob that
//! Harbor's retention dropped while it was owed is not needed a second time: keeping it is the warmer's task, and
//! fetching it again is waste. One that was dropped when nobody was owed it any more is needed again by the admission
//! that asks for it. Nothing is allowed for broken transfers, for the first bytes of each blob that go to the warmer,
//! or for manifests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use harbor_warmer_simulator::{Digest, PushedImage};

use crate::catalogue::{ASIDE, COMPLETED, Repository};
use crate::script::{Admission, CLUSTERS, Written};
use crate::site::Harbors;

/// How long after its last admission an image is owed.
pub const OWED_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A published release and where it is seen from Harbor.
#[derive(Clone, Debug)]
pub struct Published {
    /// The proxy project.
    pub project: &'static str,
    /// As the upstream has it.
    pub image: PushedImage,
}

/// What was asked for and what it needs.
#[derive(Debug, Default)]
pub struct Ledger {
    published: HashMap<usize, Published>,
    references: BTreeMap<Reference, Asked>,
    tags_first_asked: HashMap<(usize, String), Duration>,
    held: HashMap<BlobPlace, u64>,
    /// Bytes that a warmer without a fault would have had the first Harbor fetch so far.
    pub needed_bytes: u64,
    /// The same of the second Harbor, whose largest layer would hide all the rest.
    pub needed_aside: u64,
    /// Of these, bytes that Harbor had before and was right to drop.
    pub needed_again_bytes: u64,
    dropped: BTreeSet<BlobPlace>,
}

/// What a workload writes, as a name to ask for again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    project: &'static str,
    repository: String,
    written: String,
}

#[derive(Clone, Debug)]
struct Asked {
    /// What it meant when it was last admitted.
    release: usize,
    /// The tag whose record is owed with it.
    tag: Option<String>,
    /// By cluster: the platforms, and when it last asked.
    clusters: BTreeMap<usize, (&'static str, Duration)>,
}

type BlobPlace = (&'static str, String, Digest);

/// An image, a tag, or both, that Harbor should have.
#[derive(Clone, Debug)]
pub struct Owed {
    /// The image.
    pub published: Published,
    /// The number of its release.
    pub release: usize,
    /// The tag that should name it, and when that was first asked for.
    pub tag: Option<(String, Duration)>,
    /// The platforms that were asked for.
    pub platforms: BTreeSet<&'static str>,
}

impl Published {
    /// The manifests that Harbor should have when these platforms are asked for.
    pub fn required(&self, platforms: &BTreeSet<&str>) -> Vec<&harbor_warmer_simulator::PushedChild> {
        let wanted =
            |platform: &str| self.project == COMPLETED || self.image.index.is_none() || platforms.contains(platform);
        self.image.children.iter().filter(|child| wanted(&child.platform)).collect()
    }
}

impl Ledger {
    /// A release is out.
    pub fn publish(&mut self, release: usize, repository: &Repository, image: PushedImage) {
        self.published.insert(release, Published { project: repository.project, image });
    }

    /// The release as published.
    ///
    /// # Panics
    /// If it isn't yet.
    pub fn published(&self, release: usize) -> &Published {
        &self.published[&release]
    }

    /// A workload is admitted.
    pub fn admit(&mut self, admission: &Admission, now: Duration) {
        let published = self.published[&admission.release].clone();
        let (written, tag) = match &admission.written {
            Written::Tag(tag) => (tag.clone(), Some(tag.clone())),
            Written::Digest => (published.image.digest.to_string(), None),
            Written::Both(tag) => (format!("{tag}@{}", published.image.digest), Some(tag.clone())),
        };
        if let Some(tag) = &tag {
            self.tags_first_asked.entry((admission.release, tag.clone())).or_insert(now);
        }
        let repository = published.image.repository.clone();
        let reference = Reference { project: published.project, repository: repository.clone(), written };
        let asked = self.references.entry(reference).or_insert_with(|| Asked {
            release: admission.release,
            tag,
            clusters: BTreeMap::new(),
        });
        asked.release = admission.release;
        asked.clusters.insert(admission.cluster, (admission.platforms, now));
        for child in published.required(&admission.platforms.split(',').collect()) {
            for (digest, size) in child.blobs() {
                let place = (published.project, repository.clone(), digest);
                if self.held.insert(place.clone(), size).is_none() {
                    *if published.project == ASIDE { &mut self.needed_aside } else { &mut self.needed_bytes } += size;
                    if self.dropped.remove(&place) {
                        self.needed_again_bytes += size;
                    }
                }
            }
        }
    }

    /// Harbor has collected its garbage.
    pub fn collected(&mut self, harbors: &Harbors, now: Duration) {
        let owed: BTreeSet<BlobPlace> = self
            .owed(now)
            .iter()
            .flat_map(|owed| {
                let Published { project, image } = &owed.published;
                let children = owed.published.required(&owed.platforms);
                children
                    .into_iter()
                    .flat_map(|child| child.blobs())
                    .map(|(digest, _)| (*project, image.repository.clone(), digest))
                    .collect::<Vec<_>>()
            })
            .collect();
        let is_gone =
            |(project, repository, digest): &BlobPlace| !harbors.of(project).blob_is_local(project, repository, digest);
        let gone: Vec<BlobPlace> = self.held.keys().filter(|place| is_gone(place)).cloned().collect();
        for place in gone {
            if owed.contains(&place) {
                continue;
            }
            self.held.remove(&place);
            self.dropped.insert(place);
        }
    }

    /// What is owed now.
    pub fn owed(&self, now: Duration) -> Vec<Owed> {
        let since = now.saturating_sub(OWED_FOR);
        self.references
            .values()
            .filter_map(|asked| {
                let platforms: BTreeSet<&'static str> = asked
                    .clusters
                    .values()
                    .filter(|(_, last)| *last >= since)
                    .flat_map(|(platforms, _)| platforms.split(','))
                    .collect();
                let first_asked = |tag: &String| self.tags_first_asked[&(asked.release, tag.clone())];
                (!platforms.is_empty()).then(|| Owed {
                    published: self.published[&asked.release].clone(),
                    release: asked.release,
                    tag: asked.tag.as_ref().map(|tag| (tag.clone(), first_asked(tag))),
                    platforms,
                })
            })
            .collect()
    }
}

/// The cluster's name.
pub fn cluster_name(cluster: usize) -> &'static str {
    CLUSTERS[cluster].0
}
