//! The same images, warmed by harbor-warmer itself: what it makes of what Harbor does.
//!
//! What Harbor has is watched from outside; the warmer's word is only compared with that.

use std::time::Instant;

use harbor_warmer_core::view::Phase;

use crate::apart::Apart;
use crate::apart::NEEDS_GROUND;
use crate::content::Shape;
use crate::error::SiteError;
use crate::expectation::{Row, When};
use crate::sequence::{ALL_PLATFORMS, FOREIGN_LAYER, ONE_PLATFORM, RESOLVED, SINGLE};
use crate::site::Site;
use crate::slow;
use crate::warmer::{Settings, Warmer};
use crate::watch::Watch;

const TAG: &str = "1.0";

/// An image, a configuration, and what comes of them. Seconds count from the hand-off.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) name: &'static str,
    shape: Shape,
    complete_index: bool,
    resolve: bool,
    subject: SubjectKind,
    /// The bytes of the only layer, on a ground of its own whose upstream is slow.
    slow_layer: Option<usize>,
    artifact: When,
    /// None where no tag was asked for.
    tag: Option<When>,
    /// The sequence by hand whose tag the warmer's may not come later than.
    pub(crate) by_hand: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum SubjectKind {
    Tag,
    Pin,
}

/// From the hand-off to the artifact: the warmer's requests, Harbor's first look after 20 s, the warmer's own look.
const WARM: When = When::Within(19.0, 35.0);

/// All of them.
pub(crate) const PRODUCTS: &[Product] = &[
    Product {
        name: "warmer: one platform of two",
        shape: Shape::Index(2),
        complete_index: false,
        resolve: false,
        subject: SubjectKind::Tag,
        slow_layer: None,
        artifact: WARM,
        tag: Some(When::Within(390.0, 435.0)),
        by_hand: Some(ONE_PLATFORM),
    },
    Product {
        name: "warmer: completeIndex",
        shape: Shape::Index(2),
        complete_index: true,
        resolve: false,
        subject: SubjectKind::Tag,
        slow_layer: None,
        artifact: WARM,
        tag: Some(When::Within(30.0, 70.0)),
        by_hand: Some(ALL_PLATFORMS),
    },
    Product {
        name: "warmer: completeIndex and resolveThrough",
        shape: Shape::Index(2),
        complete_index: true,
        resolve: true,
        subject: SubjectKind::Tag,
        slow_layer: None,
        artifact: WARM,
        tag: Some(When::Within(20.0, 45.0)),
        by_hand: Some(RESOLVED),
    },
    Product {
        name: "warmer: single manifest",
        shape: Shape::Single,
        complete_index: false,
        resolve: false,
        subject: SubjectKind::Tag,
        slow_layer: None,
        artifact: WARM,
        tag: Some(When::Within(19.0, 45.0)),
        by_hand: Some(SINGLE),
    },
    Product {
        name: "warmer: pinned digest",
        shape: Shape::Index(2),
        complete_index: false,
        resolve: false,
        subject: SubjectKind::Pin,
        slow_layer: None,
        artifact: WARM,
        tag: None,
        by_hand: None,
    },
    Product {
        name: "warmer: platform with a layer that is not distributable",
        shape: Shape::ForeignLayer,
        complete_index: true,
        resolve: false,
        subject: SubjectKind::Tag,
        slow_layer: None,
        artifact: WARM,
        tag: Some(When::Within(390.0, 435.0)),
        by_hand: Some(FOREIGN_LAYER),
    },
    Product {
        name: "warmer: layer slower than 200 s",
        shape: Shape::Single,
        complete_index: false,
        resolve: false,
        subject: SubjectKind::Tag,
        slow_layer: Some(slow::LAYER_BYTES),
        artifact: When::Within(255.0, 345.0),
        tag: Some(When::Within(255.0, 360.0)),
        by_hand: None,
    },
    // By hand, without the other project, its tag is never recorded: the index's deadline passes without a child.
    Product {
        name: "warmer: image slower than 400 s and resolveThrough",
        shape: Shape::Index(1),
        complete_index: true,
        resolve: true,
        subject: SubjectKind::Tag,
        slow_layer: Some(slow::LONG_LAYER_BYTES),
        artifact: When::Within(430.0, 530.0),
        tag: Some(When::Within(440.0, 600.0)),
        by_hand: None,
    },
];

pub(crate) const MISSING_TAG: &str = "warmer: tag that is missing";

impl Product {
    /// Plays it.
    pub(crate) async fn run(&self, site: &Site) -> Result<Vec<Row>, SiteError> {
        let Some(layer) = self.slow_layer else { return self.warm(site).await };
        let Some(mut apart) = Apart::of(site, self.name, Some(slow::BYTES_PER_SECOND)).await? else {
            return Ok(vec![Row::skipped(self.name, NEEDS_GROUND)]);
        };
        apart.site.options.layer_sizes = vec![layer];
        let mut rows = self.warm(&apart.site).await?;
        let share = apart.relay.passed() as f64 / layer as f64;
        let told = format!("{share:.3} of the layer's");
        // Beside the layer itself, a moment of it is read each minute to see its pace.
        rows.push(Row::fact(self.name, "bytes from the upstream", "at most 1.35 of the layer's", told, share <= 1.35));
        Ok(rows)
    }

    /// Hands the image over and watches Harbor.
    async fn warm(&self, site: &Site) -> Result<Vec<Row>, SiteError> {
        if self.resolve && site.options.resolve_project.is_none() {
            return Ok(vec![Row::skipped(self.name, "needs a second project of the same endpoint")]);
        }
        let image = site.push(self.name, self.shape, &[TAG]).await?;
        let settings = Settings { complete_index: self.complete_index, resolve: self.resolve, ..Settings::default() };
        let warmer = Warmer::start(site, settings).await?;
        let since = Instant::now();
        let id = match self.subject {
            SubjectKind::Tag => warmer.hand_over_tag(site, &image.repository, TAG).await?,
            SubjectKind::Pin => warmer.hand_over_pin(site, &image.repository, &image.root().digest).await?,
        };

        let slack = site.options.slack_seconds;
        let patience = self.tag.unwrap_or(self.artifact).patience(slack);
        let tags = if self.tag.is_some() { &[TAG][..] } else { &[] };
        let blobs = image.children[0].blobs.iter().map(|blob| blob.digest.as_str()).collect();
        let watch = Watch { image: &image, blobs, tags, since, patience };
        let goal = if self.tag.is_some() { Phase::Tagged } else { Phase::Warm };
        let (seen, told) = tokio::join!(watch.run(site), warmer.follow(site, &id, goal, since, patience));
        let (seen, told) = (seen?, told?);
        warmer.stop().await;

        let row = |what, when, seen| Row::moment(self.name, what, when, seen, slack);
        let mut rows = vec![row("artifact recorded", self.artifact, seen.artifact)];
        rows.push(row("the warmer says warm", self.artifact, told.warm));
        if let Some(when) = self.tag {
            rows.push(row("tag recorded", when, seen.tags[0].as_ref().map(|tag| tag.after)));
            rows.push(row("the warmer says tagged", when, told.tagged));
        }
        Ok(rows)
    }
}

/// A tag that the upstream doesn't have: the warmer has to say so, and not that the upstream is down.
pub(crate) async fn missing_tag(site: &Site) -> Result<Vec<Row>, SiteError> {
    let image = site.push(MISSING_TAG, Shape::Single, &[TAG]).await?;
    let warmer = Warmer::start(site, Settings::default()).await?;
    let since = Instant::now();
    let id = warmer.hand_over_tag(site, &image.repository, "nosuch").await?;
    let mut reason = String::new();
    while !reason.contains("no such tag") && site.seconds_since(since) < 60.0 {
        site.pause_between_looks().await;
        reason = warmer.view(site, &id).await?.summary.reason.unwrap_or_default();
    }
    warmer.stop().await;
    let agrees = reason.contains("the upstream has no such tag");
    Ok(vec![Row::fact(MISSING_TAG, "the reason that it tells", "the upstream has no such tag", reason, agrees)])
}
