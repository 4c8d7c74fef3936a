//! What goes wrong under way, and how the warmer comes out of it.

use std::time::Instant;

use harbor_warmer::view::{ImageView, Phase};

use crate::content::Shape;
use crate::expectation::{Row, When};
use crate::ground::{Apart, NEEDS_GROUND};
use crate::site::{Site, SiteError};
use crate::warmer::{Settings, Warmer};

pub(crate) const QUOTA_FULL: &str = "warmer: quota used up";

const TAG: &str = "1.0";

/// The project's quota has no room for the image, and is raised once the warmer has said so.
pub(crate) async fn quota_full(site: &Site) -> Result<Vec<Row>, SiteError> {
    let slack = site.options.slack_seconds;
    let Some(apart) = Apart::of(site, QUOTA_FULL, None).await? else {
        return Ok(vec![Row::skipped(QUOTA_FULL, NEEDS_GROUND)]);
    };
    let site = &apart.site;
    let image = site.push(QUOTA_FULL, Shape::Index(2), &[TAG]).await?;
    apart.set_quota(Some(10_000)).await?;
    let warmer = Warmer::start(site, Settings { complete_index: true, ..Settings::default() }).await?;
    let full = Instant::now();
    let id = warmer.hand_over_tag(site, &image.repository, TAG).await?;
    let told = When::Within(15.0, 150.0);
    let names_quota = |view: &ImageView| view.summary.reason.as_deref().is_some_and(|reason| reason.contains("quota"));
    let seen = warmer.wait_for(site, &id, full, told.patience(slack), names_quota).await?;
    let mut rows = vec![Row::moment(QUOTA_FULL, "the warmer says that the quota may be used up", told, seen, slack)];

    apart.set_quota(None).await?;
    let raised = Instant::now();
    let (warm, tagged) = (When::Within(0.0, 150.0), When::Within(0.0, 400.0));
    let told = warmer.follow(site, &id, Phase::Tagged, raised, tagged.patience(slack)).await?;
    warmer.stop().await;
    rows.push(Row::moment(QUOTA_FULL, "the quota is raised: the warmer says warm", warm, told.warm, slack));
    rows.push(Row::moment(QUOTA_FULL, "the quota is raised: the warmer says tagged", tagged, told.tagged, slack));
    let recorded = site.artifact(&image.repository, TAG).await?.is_some();
    let seen = if recorded { "recorded" } else { "not recorded" };
    rows.push(Row::fact(QUOTA_FULL, "tag in Harbor", "recorded", seen, recorded));
    Ok(rows)
}
