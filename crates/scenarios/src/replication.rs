//! What arrives at a replication target, by the trigger that sent it.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use crate::content::{Image, Shape};
use crate::expectation::{Row, When};
use crate::site::{Site, SiteError, Target};

pub(crate) const REPLICATION: &str = "replication by tag";

const TAG: &str = "1.0";

/// Warms an image by hand, replicates it before and after its tag is there, and looks at the target.
pub(crate) async fn by_tag(site: &Site) -> Result<Vec<Row>, SiteError> {
    let Some(target) = &site.options.target else {
        return Ok(vec![Row::skipped(REPLICATION, "needs a target and an administrator")]);
    };
    let image = site.push(REPLICATION, Shape::Index(2), &[TAG]).await?;
    let policy = Policy::create(site, target, &image).await?;
    let rows = policy.replicate(&image).await;
    policy.delete().await?;
    rows
}

/// A policy for one repository and tag.
struct Policy<'a> {
    site: &'a Site,
    target: &'a Target,
    id: u64,
}

impl<'a> Policy<'a> {
    async fn create(site: &'a Site, target: &'a Target, image: &Image) -> Result<Self, SiteError> {
        let administrator = Some(&target.administrator);
        let registries = "/api/v2.0/registries?page_size=100";
        let registries = site.ask_as(administrator, Method::GET, registries, None).await?.success()?.json();
        let named = |registry: &&Value| registry["name"] == target.name.as_str();
        let registry = registries.as_array().and_then(|all| all.iter().find(named)).map(|registry| &registry["id"]);
        let name = format!("scenarios-{}", site.options.run);
        let body = json!({
            "name": name,
            "dest_registry": {"id": registry},
            "trigger": {"type": "manual"},
            "enabled": true,
            "override": true,
            "filters": [
                {"type": "name", "value": format!("{}/{}", site.options.project, image.repository)},
                {"type": "tag", "value": TAG},
            ],
        });
        let policies = "/api/v2.0/replication/policies";
        let answer = site.ask_as(administrator, Method::POST, policies, Some(&body)).await?.success()?;
        let id = answer.header("location").rsplit('/').next().and_then(|id| id.parse().ok());
        let unexpected = || SiteError::Unexpected {
            request: answer.request.clone(),
            status: answer.status,
            body: "no location".to_owned(),
        };
        Ok(Self { site, target, id: id.ok_or_else(unexpected)? })
    }

    async fn replicate(&self, image: &Image) -> Result<Vec<Row>, SiteError> {
        let (site, project) = (self.site, &self.site.options.project);
        site.head_manifest(image, TAG).await?.success()?;
        site.get_manifest(project, image, &image.root().digest).await?.success()?;
        // Only one platform is warmed: whatever else arrives at the target was fetched by the replication.
        let child = &image.children[0];
        let since = Instant::now();
        for child in &image.children {
            site.get_manifest(project, image, &child.manifest.digest).await?.success()?;
            for blob in &child.blobs {
                site.touch_blob(image, &blob.digest).await?;
            }
        }
        let mut rows = Vec::new();
        while site.artifact(&image.repository, &child.manifest.digest).await?.is_none()
            && site.seconds_since(since) < 60.0
        {
            site.pause_between_looks().await;
        }
        self.start().await?;
        site.pause(10.0).await;
        let early = self.arrived(image).await;
        let seen = early.as_deref().unwrap_or("no tag");
        rows.push(Row::fact(REPLICATION, "execution before the tag is recorded", "no tag", seen, early.is_none()));

        while site.artifact(&image.repository, TAG).await?.is_none() && site.seconds_since(since) < 90.0 {
            site.pause_between_looks().await;
        }
        let started = Instant::now();
        let execution = self.start().await?;
        let (arrival, end) = (When::Within(0.0, 20.0), When::Within(0.0, 60.0));
        let (mut arrived, mut ended) = (None, None);
        let slack = site.options.slack_seconds;
        while site.seconds_since(started) < end.patience(slack) && (arrived.is_none() || ended.is_none()) {
            if arrived.is_none() && self.arrived(image).await.is_some() {
                arrived = Some(site.seconds_since(started));
            }
            let told = site.ask_as(Some(&self.target.administrator), Method::GET, &execution, None).await?.json();
            if ended.is_none() && told["status"] == "Succeed" {
                ended = Some(site.seconds_since(started));
            }
            site.pause_between_looks().await;
        }
        rows.push(Row::moment(REPLICATION, "tag at the target", arrival, arrived, slack));
        rows.push(Row::moment(REPLICATION, "execution shown as done", end, ended, slack));
        let digest = self.arrived(image).await.unwrap_or_default();
        let same = digest == image.root().digest;
        let told = if same { "upstream's own" } else { "another" };
        rows.push(Row::fact(REPLICATION, "digest at the target", "upstream's own", told, same));
        Ok(rows)
    }

    /// Starts an execution; returns its path.
    async fn start(&self) -> Result<String, SiteError> {
        let body = json!({"policy_id": self.id});
        let executions = "/api/v2.0/replication/executions";
        let administrator = Some(&self.target.administrator);
        let answer = self.site.ask_as(administrator, Method::POST, executions, Some(&body)).await?.success()?;
        Ok(answer.header("location").to_owned())
    }

    async fn arrived(&self, image: &Image) -> Option<String> {
        (self.target.look)(format!("{}/{}", self.site.options.project, image.repository), TAG.to_owned()).await
    }

    async fn delete(&self) -> Result<(), SiteError> {
        let path = format!("/api/v2.0/replication/policies/{}", self.id);
        // Harbor keeps a policy while an execution of it is shown as running.
        let started = Instant::now();
        loop {
            let administrator = Some(&self.target.administrator);
            let answer = self.site.ask_as(administrator, Method::DELETE, &path, None).await?;
            if answer.status.is_success() || self.site.seconds_since(started) > 90.0 {
                return answer.success().map(|_| ());
            }
            self.site.pause(5.0).await;
        }
    }
}
