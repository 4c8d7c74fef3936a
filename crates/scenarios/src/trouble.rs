//! What goes wrong under way, and how the warmer comes out of it.

use std::time::Instant;

use harbor_warmer_core::view::{ImageView, Phase};
use serde_json::Value;

use crate::apart::Apart;
use crate::apart::NEEDS_GROUND;
use crate::content::{Image, Shape};
use crate::error::SiteError;
use crate::expectation::{Row, When};
use crate::site::Site;
use crate::slow;
use crate::warmer::{Settings, Warmer};

pub(crate) const UPSTREAM_DOWN: &str = "warmer: upstream down for a while";
pub(crate) const QUOTA_FULL: &str = "warmer: quota used up";
pub(crate) const MOVED_TAG: &str = "warmer: tag moved under way";

const TAG: &str = "1.0";

/// A project counts as down when so many repositories meet silence; one alone may be at fault itself.
const REPOSITORIES: [&str; 3] = [UPSTREAM_DOWN, "upstream down, second image", "upstream down, third image"];

/// Takes 24 s, so that it is under way when the upstream goes down.
const LAYER_BYTES: usize = 6_000_000;

/// The upstream goes down while blobs are copied, and comes back once the warmer has paused the project.
pub(crate) async fn upstream_down(site: &Site) -> Result<Vec<Row>, SiteError> {
    let slack = site.options.slack_seconds;
    let Some(mut apart) = Apart::of(site, UPSTREAM_DOWN, Some(slow::BYTES_PER_SECOND)).await? else {
        return Ok(vec![Row::skipped(UPSTREAM_DOWN, NEEDS_GROUND)]);
    };
    apart.site.options.layer_sizes = vec![LAYER_BYTES];
    let Apart { site, relay, .. } = &apart;
    let mut images = Vec::new();
    for repository in REPOSITORIES {
        images.push(site.push(repository, Shape::Index(1), &[TAG]).await?);
    }
    let resolve = site.options.resolve_project.is_some();
    let warmer = Warmer::start(site, Settings { complete_index: true, resolve, ..Settings::default() }).await?;
    let mut ids = Vec::new();
    for image in &images {
        ids.push(warmer.hand_over_tag(site, &image.repository, TAG).await?);
    }
    let layer = layer_of(&images[0]);
    let asked_for = |view: &ImageView| view.blobs.iter().any(|blob| blob.digest.to_string() == layer && blob.asks > 0);
    warmer.wait_for(site, &ids[0], Instant::now(), 30.0, asked_for).await?;
    site.pause(2.0).await;

    relay.set_down(true);
    let down = Instant::now();
    let told = When::Within(0.0, 150.0);
    let paused = |view: &ImageView| {
        view.summary.reason.as_deref().is_some_and(|reason| {
            reason.contains("the project is paused") && reason.contains("upstream does not answer")
        })
    };
    let seen = warmer.wait_for(site, &ids[0], down, told.patience(slack), paused).await?;
    let mut rows = vec![Row::moment(UPSTREAM_DOWN, "the warmer says that the upstream is down", told, seen, slack)];

    relay.set_down(false);
    let up = Instant::now();
    // Harbor's own check of the endpoint is five minutes apart, and may have met the outage.
    let (warm, tagged) = (When::Within(19.0, 420.0), When::Within(19.0, 450.0));
    let patience = tagged.patience(slack);
    let (mut last_warm, mut last_tagged) = (Some(0.0), Some(0.0));
    for id in &ids {
        let told = warmer.follow(site, id, Phase::Tagged, up, patience).await?;
        last_warm = later(last_warm, told.warm);
        last_tagged = later(last_tagged, told.tagged);
    }
    warmer.stop().await;
    rows.push(Row::moment(UPSTREAM_DOWN, "it is up again: all three are warm", warm, last_warm, slack));
    rows.push(Row::moment(UPSTREAM_DOWN, "it is up again: all three are tagged", tagged, last_tagged, slack));
    let mut recorded = 0;
    for image in &images {
        recorded += usize::from(site.artifact(&image.repository, TAG).await?.is_some());
    }
    let seen = format!("{recorded} of 3");
    rows.push(Row::fact(UPSTREAM_DOWN, "tags in Harbor", "3 of 3", seen, recorded == 3));
    Ok(rows)
}

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
    // One unit at a time finds out, and the pauses between grow.
    let (warm, tagged) = (When::Within(0.0, 300.0), When::Within(0.0, 550.0));
    let told = warmer.follow(site, &id, Phase::Tagged, raised, tagged.patience(slack)).await?;
    warmer.stop().await;
    rows.push(Row::moment(QUOTA_FULL, "the quota is raised: the warmer says warm", warm, told.warm, slack));
    rows.push(Row::moment(QUOTA_FULL, "the quota is raised: the warmer says tagged", tagged, told.tagged, slack));
    let recorded = site.artifact(&image.repository, TAG).await?.is_some();
    let seen = if recorded { "recorded" } else { "not recorded" };
    rows.push(Row::fact(QUOTA_FULL, "tag in Harbor", "recorded", seen, recorded));
    Ok(rows)
}

/// The tag moves to another image while the first one is warmed, and is asked for again.
pub(crate) async fn moved_tag(site: &Site) -> Result<Vec<Row>, SiteError> {
    let slack = site.options.slack_seconds;
    let old = site.push(MOVED_TAG, Shape::Index(2), &[TAG]).await?;
    let settings = Settings { complete_index: true, recheck_always: true, ..Settings::default() };
    let warmer = Warmer::start(site, settings).await?;
    let since = Instant::now();
    warmer.hand_over_tag(site, &old.repository, TAG).await?;
    site.pause(5.0).await;
    let new = site.push_again(&old, Shape::Index(2), &[TAG]).await?;
    let moved = Instant::now();
    let id = warmer.hand_over_tag(site, &old.repository, TAG).await?;

    let (artifact, tag) = (When::Within(19.0, 45.0), When::Within(30.0, 85.0));
    let patience = tag.patience(slack);
    let watch = async {
        let (mut old_recorded, mut new_tagged) = (None, None);
        while site.seconds_since(moved) < patience && (old_recorded.is_none() || new_tagged.is_none()) {
            let child = &old.children[0].manifest.digest;
            if old_recorded.is_none() && site.artifact(&old.repository, child).await?.is_some() {
                old_recorded = Some(site.seconds_since(since));
            }
            let recorded = site.artifact(&old.repository, TAG).await?;
            if new_tagged.is_none() && recorded.is_some_and(|artifact| refers_to(&artifact, &new)) {
                new_tagged = Some(site.seconds_since(moved));
            }
            site.pause_between_looks().await;
        }
        Ok::<_, SiteError>((old_recorded, new_tagged))
    };
    let told_of_new = |view: &ImageView| {
        let root = view.summary.root.map(|root| root.to_string());
        root.as_ref() == Some(&new.root().digest) && view.summary.phase >= Phase::Tagged
    };
    let (seen, told) = tokio::join!(watch, warmer.wait_for(site, &id, moved, patience, told_of_new));
    let ((old_recorded, new_tagged), told) = (seen?, told?);
    warmer.stop().await;
    // A look of the warmer's may fall between two looks from outside.
    let premature = told.is_some_and(|told| new_tagged.is_none_or(|seen| told + 5.0 + slack < seen));
    let seen = if premature { "earlier" } else { "not earlier" };
    Ok(vec![
        Row::moment(MOVED_TAG, "platform of the first image recorded", artifact, old_recorded, slack),
        Row::moment(MOVED_TAG, "tag recorded for the second image", tag, new_tagged, slack),
        Row::moment(MOVED_TAG, "the warmer says that the second image is tagged", tag, told, slack),
        Row::fact(MOVED_TAG, "the warmer says so before it is", "not earlier", seen, !premature),
    ])
}

fn layer_of(image: &Image) -> String {
    let blobs = &image.children[0].blobs;
    blobs.iter().max_by_key(|blob| blob.bytes.len()).map(|blob| blob.digest.clone()).unwrap_or_default()
}

/// Whether a recorded index is the image's.
fn refers_to(artifact: &Value, image: &Image) -> bool {
    let child = image.children[0].manifest.digest.as_str();
    artifact["references"].as_array().is_some_and(|all| all.iter().any(|reference| reference["child_digest"] == child))
}

/// The later of two moments, if both came.
fn later(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one?.max(other?))
}
