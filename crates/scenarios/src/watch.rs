//! Watching from outside what Harbor has: the blobs, the artifact, the tags.

use std::time::Instant;

use crate::content::Image;
use crate::error::SiteError;
use crate::site::Site;

/// What to watch for.
pub(crate) struct Watch<'a> {
    pub(crate) image: &'a Image,
    /// Digests of blobs.
    pub(crate) blobs: Vec<&'a str>,
    pub(crate) tags: &'a [&'a str],
    /// From when seconds are counted.
    pub(crate) since: Instant,
    /// How long to watch, in Harbor's seconds.
    pub(crate) patience: f64,
}

/// When what was seen first, in Harbor's seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    /// All blobs were local.
    pub(crate) blobs: Option<f64>,
    /// The first platform's manifest was recorded as an artifact.
    pub(crate) artifact: Option<f64>,
    /// The tags, in the order of the watch.
    pub(crate) tags: Vec<Option<Tagged>>,
}

/// A tag in Harbor's record.
#[derive(Clone, Debug)]
pub(crate) struct Tagged {
    pub(crate) after: f64,
    /// The digest that it has there.
    pub(crate) digest: String,
}

impl Watch<'_> {
    /// Watches until everything was seen or the patience is at its end.
    pub(crate) async fn run(mut self, site: &Site) -> Result<Observation, SiteError> {
        let mut seen = Observation { tags: vec![None; self.tags.len()], ..Observation::default() };
        let repository = &self.image.repository;
        let child = &self.image.children[0].manifest.digest;
        loop {
            let now = || site.seconds_since(self.since);
            if seen.blobs.is_none() {
                while let Some(blob) = self.blobs.last() {
                    if !site.blob_is_local(self.image, blob).await? {
                        break;
                    }
                    self.blobs.pop();
                }
                seen.blobs = self.blobs.is_empty().then(now);
            }
            if seen.artifact.is_none() && site.artifact(repository, child).await?.is_some() {
                seen.artifact = Some(now());
            }
            for (tag, seen) in self.tags.iter().zip(&mut seen.tags) {
                if seen.is_none()
                    && let Some(artifact) = site.artifact(repository, tag).await?
                {
                    let digest = artifact["digest"].as_str().unwrap_or_default().to_owned();
                    *seen = Some(Tagged { after: now(), digest });
                }
            }
            let all = seen.blobs.is_some() && seen.artifact.is_some() && seen.tags.iter().all(Option::is_some);
            if all || now() >= self.patience {
                return Ok(seen);
            }
            site.pause_between_looks().await;
        }
    }
}
