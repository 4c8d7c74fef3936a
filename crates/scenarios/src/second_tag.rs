//! Two tags of one digest, handed to the warmer: at once, and one after the other.

use std::time::Instant;

use harbor_warmer_core::view::{ImageView, Phase};

use crate::content::Shape;
use crate::error::SiteError;
use crate::expectation::{Row, When};
use crate::site::Site;
use crate::warmer::{Settings, Warmer};

pub(crate) const SECOND_TAG: &str = "warmer: second tag of one digest";

const TAGS: [&str; 3] = ["1.0", "1", "latest"];

/// Hands two tags over at once, and a third one when they are recorded.
pub(crate) async fn second_tag(site: &Site) -> Result<Vec<Row>, SiteError> {
    let slack = site.options.slack_seconds;
    let image = site.push(SECOND_TAG, Shape::Index(2), &TAGS).await?;
    let warmer = Warmer::start(site, Settings { complete_index: true, ..Settings::default() }).await?;
    let since = Instant::now();
    let first = warmer.hand_over_tag(site, &image.repository, TAGS[0]).await?;
    warmer.hand_over_tag(site, &image.repository, TAGS[1]).await?;
    let both = When::Within(30.0, 75.0);
    let told = warmer.follow(site, &first, Phase::Tagged, since, both.patience(slack)).await?;
    let mut rows = vec![Row::moment(SECOND_TAG, "two at once: the warmer says tagged", both, told.tagged, slack)];
    for tag in &TAGS[..2] {
        let recorded = site.artifact(&image.repository, tag).await?.is_some();
        let seen = if recorded { "recorded" } else { "not recorded" };
        rows.push(Row::fact(SECOND_TAG, &format!("two at once: tag {tag} in Harbor"), "recorded", seen, recorded));
    }

    let asked = Instant::now();
    let third = warmer.hand_over_tag(site, &image.repository, TAGS[2]).await?;
    // Harbor has time to record the tag until the 400 s of its index are over.
    let soon = When::Within(0.0, 480.0);
    let blocked = |view: &ImageView| blocked_reason(view).is_some();
    let when = warmer.wait_for(site, &third, asked, soon.patience(slack), blocked).await?;
    rows.push(Row::moment(SECOND_TAG, "later: the warmer says tag-blocked", soon, when, slack));
    let view = warmer.view(site, &third).await?;
    warmer.stop().await;
    let reason = blocked_reason(&view).unwrap_or_default();
    let key = format!("cache:manifestlist:{}/{}:{}", site.options.project, image.repository, image.root().digest);
    let names_it = reason.contains(&key);
    let seen = if names_it { "named" } else { reason };
    rows.push(Row::fact(SECOND_TAG, "later: the Redis key that heals it", "named", seen, names_it));
    let warm = view.summary.phase == Phase::Warm;
    let seen = format!("{:?}", view.summary.phase).to_lowercase();
    rows.push(Row::fact(SECOND_TAG, "later: the phase", "warm", seen, warm));
    Ok(rows)
}

fn blocked_reason(view: &ImageView) -> Option<&str> {
    let third = view.tag_records.iter().find(|record| record.tag.as_str() == TAGS[2])?;
    third.blocked.as_deref()
}
