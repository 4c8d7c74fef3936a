//! The same images, warmed by harbor-warmer itself: what it makes of what Harbor does.
//!
//! The service runs in this process with a queue of its own, and is handed images as a policy would. What Harbor has is
//! watched from outside; the service's word is only compared with that.

use std::time::Instant;

use harbor_warmer::Service;
use harbor_warmer::config::document;
use harbor_warmer::harbor::install_crypto_provider;
use harbor_warmer::view::{ImageView, Phase};
use harbor_warmer_protocol::{HandOff, HarborImage, Platforms, Receipt, Subject};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::content::Shape;
use crate::expectation::{Row, When};
use crate::sequence::{ALL_PLATFORMS, ONE_PLATFORM, RESOLVED, SINGLE};
use crate::site::{Site, SiteError};
use crate::watch::Watch;

const TAG: &str = "1.0";

/// The environment has no part in this: the password goes through a file.
const PASSWORD_FILE: &str = "password";

/// An image, a configuration, and what comes of them. Seconds count from the hand-off.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) name: &'static str,
    shape: Shape,
    complete_index: bool,
    resolve: bool,
    subject: SubjectKind,
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
        artifact: WARM,
        tag: None,
        by_hand: None,
    },
];

/// On a site with a slow upstream: 45 s after the blobs are there the manifest is asked for again.
pub(crate) const SLOW_PRODUCT: &Product = &Product {
    name: "warmer: layer slower than 200 s",
    shape: Shape::Single,
    complete_index: false,
    resolve: false,
    subject: SubjectKind::Tag,
    artifact: When::Within(255.0, 345.0),
    tag: Some(When::Within(255.0, 360.0)),
    by_hand: None,
};

pub(crate) const MISSING_TAG: &str = "warmer: tag that is missing";

impl Product {
    /// Hands the image over and watches Harbor.
    pub(crate) async fn run(&self, site: &Site) -> Result<Vec<Row>, SiteError> {
        if self.resolve && site.options.resolve_project.is_none() {
            return Ok(vec![Row::skipped(self.name, "needs a second project of the same endpoint")]);
        }
        let image = site.push(self.name, self.shape, &[TAG]).await?;
        let warmer = Warmer::start(site, self.complete_index, self.resolve).await?;
        let subject = match self.subject {
            SubjectKind::Tag => Subject::Tag(parse(TAG)?),
            SubjectKind::Pin => Subject::Pin { digest: parse(&image.root().digest)?, tag: None },
        };
        let since = Instant::now();
        let id = warmer.hand_over(site, &image.repository, subject).await?;

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
    let warmer = Warmer::start(site, false, false).await?;
    let since = Instant::now();
    let id = warmer.hand_over(site, &image.repository, Subject::Tag(parse("nosuch")?)).await?;
    let mut reason = String::new();
    while !reason.contains("no such tag") && site.seconds_since(since) < 60.0 {
        site.pause_between_looks().await;
        reason = warmer.view(site, &id).await?.summary.reason.unwrap_or_default();
    }
    warmer.stop().await;
    let agrees = reason.contains("the upstream has no such tag");
    Ok(vec![Row::fact(MISSING_TAG, "the reason that it tells", "the upstream has no such tag", reason, agrees)])
}

/// The service, for one scenario.
struct Warmer {
    service: Service,
    shutdown: CancellationToken,
    /// Deleted when the scenario is over.
    _directory: TempDir,
}

/// When the service said what, in Harbor's seconds since the hand-off.
#[derive(Default)]
struct Told {
    warm: Option<f64>,
    tagged: Option<f64>,
}

impl Warmer {
    async fn start(site: &Site, complete_index: bool, resolve: bool) -> Result<Self, SiteError> {
        install_crypto_provider();
        let failed = |error: &dyn std::fmt::Display| SiteError::Warmer(error.to_string());
        let directory = tempfile::tempdir().map_err(|error| failed(&error))?;
        let options = &site.options;
        let robot = &options.robot;
        std::fs::write(directory.path().join(PASSWORD_FILE), &robot.password).map_err(|error| failed(&error))?;
        let mut project = json!({"completeIndex": complete_index});
        let mut projects = serde_json::Map::new();
        if let Some(other) = options.resolve_project.as_ref().filter(|_| resolve) {
            project["resolveThrough"] = json!(other);
            projects.insert(other.clone(), json!({}));
        }
        projects.insert(options.project.clone(), project);
        let mut harbor = json!({
            "url": options.harbor.as_str().trim_end_matches('/'),
            "credentials": {"username": robot.username, "passwordFile": PASSWORD_FILE},
            "timeScale": options.time_scale,
            "projects": projects,
        });
        if options.harbor.scheme() == "http" {
            harbor["allowHttp"] = json!(true);
        }
        // JSON is YAML.
        let text = json!({
            "dataDir": directory.path().join("data"),
            "registry": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
            "harbors": {"main": harbor},
        });
        let config = document::parse(&text.to_string(), directory.path()).map_err(|mistakes| {
            let mistakes: Vec<String> =
                mistakes.iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect();
            SiteError::Warmer(mistakes.join("; "))
        })?;
        let shutdown = CancellationToken::new();
        let service = Service::start(config, shutdown.clone()).await.map_err(|error| failed(&error))?;
        Ok(Self { service, shutdown, _directory: directory })
    }

    /// Hands an image over for linux/amd64, as the policy does. Returns the id to follow.
    async fn hand_over(&self, site: &Site, repository: &str, subject: Subject) -> Result<String, SiteError> {
        let image = HarborImage {
            harbor: parse("main")?,
            project: parse(&site.options.project)?,
            repository: parse(repository)?,
        };
        let platforms =
            Platforms::new([parse("linux/amd64")?]).map_err(|error| SiteError::Warmer(error.to_string()))?;
        let hand_off = HandOff { image, target: None, platforms, subject };
        let (name, tag) = hand_off.to_name().map_err(|error| SiteError::Warmer(error.to_string()))?;
        let url = format!("http://{}/v2/{name}/manifests/{tag}", self.service.registry_address);
        let body = site.options.http.get(url).send().await?.error_for_status()?.bytes().await?;
        let receipt = Receipt::from_manifest(&body).map_err(|error| SiteError::Warmer(error.to_string()))?;
        receipt.image.ok_or_else(|| SiteError::Warmer(format!("{}: {:?}", receipt.state, receipt.reason)))
    }

    async fn view(&self, site: &Site, id: &str) -> Result<ImageView, SiteError> {
        let url = format!("http://{}/api/v1/images/{id}", self.service.admin_address);
        let body = site.options.http.get(url).send().await?.error_for_status()?.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| SiteError::Warmer(error.to_string()))
    }

    /// Follows what the service says until it says `goal`.
    async fn follow(
        &self,
        site: &Site,
        id: &str,
        goal: Phase,
        since: Instant,
        patience: f64,
    ) -> Result<Told, SiteError> {
        let mut told = Told::default();
        loop {
            let phase = self.view(site, id).await?.summary.phase;
            let now = site.seconds_since(since);
            if phase == Phase::Failed || now >= patience {
                return Ok(told);
            }
            if phase >= Phase::Warm {
                told.warm.get_or_insert(now);
            }
            if phase >= Phase::Tagged {
                told.tagged.get_or_insert(now);
            }
            if phase >= goal {
                return Ok(told);
            }
            site.pause_between_looks().await;
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.service.stopped().await;
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, SiteError> {
    text.parse().map_err(|error: T::Err| SiteError::Warmer(format!("{text}: {error}")))
}
