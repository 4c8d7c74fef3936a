//! An upstream so slow that one layer takes longer than the 200 s that Harbor waits for it.

use std::time::Instant;

use crate::apart::Apart;
use crate::apart::NEEDS_GROUND;
use crate::content::Shape;
use crate::error::SiteError;
use crate::expectation::{Row, When};
use crate::site::Site;
use crate::watch::Watch;

/// What each stream of a slow upstream brings in one of Harbor's seconds.
pub(crate) const BYTES_PER_SECOND: f64 = 250_000.0;

/// A layer that takes 248 s.
pub(crate) const LAYER_BYTES: usize = 62_000_000;

/// A layer that takes 420 s: longer than Harbor waits for the children of an index.
pub(crate) const LONG_LAYER_BYTES: usize = 105_000_000;

pub(crate) const SLOW: &str = "layer slower than 200 s";

/// The layer's transfer, and the next look.
const TRANSFER: When = When::Within(235.0, 290.0);

const TAG: &str = "1.0";

/// Warms an image by hand, sees that Harbor doesn't record it, and asks for its manifest again.
pub(crate) async fn by_hand(site: &Site) -> Result<Vec<Row>, SiteError> {
    let Some(mut apart) = Apart::of(site, SLOW, Some(BYTES_PER_SECOND)).await? else {
        return Ok(vec![Row::skipped(SLOW, NEEDS_GROUND)]);
    };
    apart.site.options.layer_sizes = vec![LAYER_BYTES];
    let site = &apart.site;
    let image = site.push(SLOW, Shape::Single, &[TAG]).await?;
    let (project, root) = (&site.options.project, &image.root().digest);
    let slack = site.options.slack_seconds;
    let blobs: Vec<&str> = image.children[0].blobs.iter().map(|blob| blob.digest.as_str()).collect();
    let never = When::Never(320.0);

    site.head_manifest(&image, TAG).await?.success()?;
    let since = Instant::now();
    site.get_manifest(project, &image, root).await?.success()?;
    for blob in &blobs {
        site.touch_blob(&image, blob).await?;
    }
    let patience = never.patience(slack);
    let first = Watch { image: &image, blobs: blobs.clone(), tags: &[], since, patience }.run(site).await?;

    site.head_manifest(&image, TAG).await?.success()?;
    let since = Instant::now();
    site.get_manifest(project, &image, root).await?.success()?;
    let (artifact, tag) = (When::Within(19.0, 30.0), When::Within(19.0, 42.0));
    let patience = tag.patience(slack);
    let second = Watch { image: &image, blobs, tags: &[TAG], since, patience }.run(site).await?;

    let row = |what, when, seen| Row::moment(SLOW, what, when, seen, slack);
    Ok(vec![
        row("blobs local", TRANSFER, first.blobs),
        row("artifact recorded", never, first.artifact),
        row("artifact after a second GET of the manifest", artifact, second.artifact),
        row("tag after a second HEAD", tag, second.tags[0].as_ref().map(|tag| tag.after)),
    ])
}
