//! An upstream so slow that one layer takes longer than the 200 s that Harbor waits for it.
//!
//! These scenarios need a site of their own, whose Harbor reaches its upstream at [`BYTES_PER_SECOND`] a stream.

use std::time::Instant;

use crate::content::Shape;
use crate::expectation::{Row, When};
use crate::site::{Site, SiteError};
use crate::watch::Watch;

/// What each stream of the upstream may bring in one of Harbor's seconds.
pub const BYTES_PER_SECOND: usize = 250_000;

/// The only layer of each image here: 248 s.
pub const LAYER_BYTES: usize = 62_000_000;

pub(crate) const SLOW: &str = "layer slower than 200 s";

/// The layer's transfer, and the next look.
pub(crate) const TRANSFER: When = When::Within(235.0, 290.0);

const TAG: &str = "1.0";

/// Warms an image by hand, sees that Harbor doesn't record it, and asks for its manifest again.
pub(crate) async fn by_hand(site: &Site) -> Result<Vec<Row>, SiteError> {
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
