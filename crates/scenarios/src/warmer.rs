//! harbor-warmer itself, run for one scenario: the service in this process with a queue of its own, handed images as a
//! policy would.

use std::time::{Duration, Instant};

use harbor_warmer::Service;
use harbor_warmer::config::document;
use harbor_warmer_core::view::{ImageView, Phase};
use harbor_warmer_harbor::install_crypto_provider;
use harbor_warmer_protocol::{HandOff, HarborImage, Platforms, Receipt, Subject, TargetName};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::error::SiteError;
use crate::site::Site;

/// The environment has no part in this: passwords go through files.
const PASSWORD_FILE: &str = "password";
const REPLICATOR_PASSWORD_FILE: &str = "replicator-password";

/// What the site's replication target is called in the warmer's configuration.
const TARGET: &str = "target";

/// What differs from scenario to scenario in the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) complete_index: bool,
    /// Indexes are read through the site's other project.
    pub(crate) resolve: bool,
    /// Images are replicated to the site's target.
    pub(crate) replicate: bool,
    /// A tag is looked up again however lately that was.
    pub(crate) recheck_always: bool,
}

/// The service, for one scenario.
pub(crate) struct Warmer {
    service: Service,
    shutdown: CancellationToken,
    /// Deleted when the scenario is over.
    _directory: TempDir,
}

/// When the service said what, in Harbor's seconds since the hand-off.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) warm: Option<f64>,
    pub(crate) tagged: Option<f64>,
    pub(crate) replicated: Option<f64>,
}

impl Warmer {
    pub(crate) async fn start(site: &Site, settings: Settings) -> Result<Self, SiteError> {
        install_crypto_provider();
        let failed = |error: &dyn std::fmt::Display| SiteError::Warmer(error.to_string());
        let directory = tempfile::tempdir().map_err(|error| failed(&error))?;
        let write = |name: &str, password: &str| {
            std::fs::write(directory.path().join(name), password).map_err(|error| failed(&error))
        };
        let options = &site.options;
        let robot = &options.robot;
        write(PASSWORD_FILE, &robot.password)?;
        let mut project = json!({"completeIndex": settings.complete_index});
        let mut projects = serde_json::Map::new();
        if let Some(other) = options.resolve_project.as_ref().filter(|_| settings.resolve) {
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
        let mut document = json!({
            "dataDir": directory.path().join("data"),
            "registry": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
            "harbors": {"main": harbor},
        });
        if let Some(target) = options.target.as_ref().filter(|_| settings.replicate) {
            write(REPLICATOR_PASSWORD_FILE, &target.administrator.password)?;
            document["targets"] = json!({TARGET: {
                "harbor": "main",
                "credentials":
                    {"username": target.administrator.username, "passwordFile": REPLICATOR_PASSWORD_FILE},
                "replication": {"own": Self::policy(site), "registry": target.name},
            }});
        }
        // JSON is YAML.
        let parsed = document::parse(&document.to_string(), directory.path());
        let mut config = parsed.map_err(|mistakes| {
            let mistakes: Vec<String> =
                mistakes.iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect();
            SiteError::Warmer(mistakes.join("; "))
        })?;
        if settings.recheck_always {
            config.queue.recheck_after = Duration::ZERO;
            config.front.cache_for = Duration::ZERO;
        }
        let shutdown = CancellationToken::new();
        let service = Service::start(config, shutdown.clone()).await.map_err(|error| failed(&error))?;
        Ok(Self { service, shutdown, _directory: directory })
    }

    /// The name of the replication policy that it makes, where it replicates.
    pub(crate) fn policy(site: &Site) -> String {
        format!("scenarios-warmer-{}", site.options.run)
    }

    /// Hands a tag over for linux/amd64, as the policy does. Returns the id to follow.
    pub(crate) async fn hand_over_tag(&self, site: &Site, repository: &str, tag: &str) -> Result<String, SiteError> {
        self.hand_over(site, repository, Subject::Tag(parse(tag)?), None).await
    }

    /// Hands a tag over that is pulled from the site's replication target.
    pub(crate) async fn hand_over_for_target(
        &self,
        site: &Site,
        repository: &str,
        tag: &str,
    ) -> Result<String, SiteError> {
        self.hand_over(site, repository, Subject::Tag(parse(tag)?), Some(parse(TARGET)?)).await
    }

    /// Hands a digest over without a tag.
    pub(crate) async fn hand_over_pin(&self, site: &Site, repository: &str, digest: &str) -> Result<String, SiteError> {
        self.hand_over(site, repository, Subject::Pin { digest: parse(digest)?, tag: None }, None).await
    }

    async fn hand_over(
        &self,
        site: &Site,
        repository: &str,
        subject: Subject,
        target: Option<TargetName>,
    ) -> Result<String, SiteError> {
        let image = HarborImage {
            harbor: parse("main")?,
            project: parse(&site.options.project)?,
            repository: parse(repository)?,
        };
        let platforms =
            Platforms::new([parse("linux/amd64")?]).map_err(|error| SiteError::Warmer(error.to_string()))?;
        let hand_off = HandOff { image, target, platforms, subject };
        let (name, tag) = hand_off.to_name().map_err(|error| SiteError::Warmer(error.to_string()))?;
        let url = format!("http://{}/v2/{name}/manifests/{tag}", self.service.registry_address);
        let body = site.options.http.get(url).send().await?.error_for_status()?.bytes().await?;
        let receipt = Receipt::from_manifest(&body).map_err(|error| SiteError::Warmer(error.to_string()))?;
        receipt.image.ok_or_else(|| SiteError::Warmer(format!("{}: {:?}", receipt.state, receipt.reason)))
    }

    /// What it shows of an image.
    pub(crate) async fn view(&self, site: &Site, id: &str) -> Result<ImageView, SiteError> {
        let url = format!("http://{}/api/v1/images/{id}", self.service.admin_address);
        let body = site.options.http.get(url).send().await?.error_for_status()?.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| SiteError::Warmer(error.to_string()))
    }

    /// Waits until what it shows of an image is as wished, at most `patience` of Harbor's seconds. Returns when that
    /// was, from `since` on.
    pub(crate) async fn wait_for(
        &self,
        site: &Site,
        id: &str,
        since: Instant,
        patience: f64,
        wished: impl Fn(&ImageView) -> bool,
    ) -> Result<Option<f64>, SiteError> {
        loop {
            let view = self.view(site, id).await?;
            let now = site.seconds_since(since);
            if wished(&view) {
                return Ok(Some(now));
            }
            if now >= patience {
                return Ok(None);
            }
            site.pause_between_looks().await;
        }
    }

    /// Follows what the service says until it says `goal`.
    pub(crate) async fn follow(
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
            if phase >= Phase::Replicated {
                told.replicated.get_or_insert(now);
            }
            if phase >= goal {
                return Ok(told);
            }
            site.pause_between_looks().await;
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.service.stopped().await;
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, SiteError> {
    text.parse().map_err(|error: T::Err| SiteError::Warmer(format!("{text}: {error}")))
}
