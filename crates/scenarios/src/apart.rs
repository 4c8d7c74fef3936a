//! A site that one scenario has to itself: a project of its own behind a relay of its own.

use std::any::Any;

use reqwest::Method;
use serde_json::json;

use crate::credentials::Credentials;
use crate::error::SiteError;
use crate::relay::Relay;
use crate::site::{Site, SiteOptions};

/// What a scenario says that can't be tried without [`Grounds`](crate::Grounds).
pub(crate) const NEEDS_GROUND: &str = "needs --reachable-as, an administrator and an upstream with plain HTTP";

/// Harbor takes no longer name for an endpoint than 64 characters; eight are left for a second project's.
const LONGEST_NAME: usize = 56;

/// A site whose upstream and project nobody else uses.
pub(crate) struct Apart {
    pub(crate) site: Site,
    pub(crate) relay: Relay,
    administrator: Credentials,
    _keeper: Option<Box<dyn Any + Send + Sync>>,
}

impl Apart {
    /// Makes one for `scenario`, where that is possible. `bytes_per_second` is what a stream of its upstream brings in
    /// one of Harbor's seconds.
    pub(crate) async fn of(
        site: &Site,
        scenario: &str,
        bytes_per_second: Option<f64>,
    ) -> Result<Option<Self>, SiteError> {
        let options = &site.options;
        let Some(grounds) = &options.grounds else { return Ok(None) };
        let upstream = options.upstream.url();
        let rate = bytes_per_second.map(|rate| rate / options.time_scale);
        let relay = Relay::start(grounds.listen, upstream, rate).await.map_err(SiteError::Relay)?;
        let ground = (grounds.make)(name(&site.repository(scenario)), relay.url().clone()).await?;
        let site = Site::new(SiteOptions {
            harbor: ground.harbor,
            project: ground.project,
            resolve_project: ground.resolve_project,
            robot: ground.robot,
            upstream: options.upstream.clone(),
            target: None,
            grounds: None,
            layer_sizes: options.layer_sizes.clone(),
            time_scale: options.time_scale,
            slack_seconds: options.slack_seconds,
            run: options.run.clone(),
            http: options.http.clone(),
        });
        Ok(Some(Self { site, relay, administrator: ground.administrator, _keeper: ground.keeper }))
    }

    /// Sets the project's storage quota; none is no limit.
    pub(crate) async fn set_quota(&self, bytes: Option<u64>) -> Result<(), SiteError> {
        let who = Some(&self.administrator);
        let project = format!("/api/v2.0/projects/{}", self.site.options.project);
        let project = self.site.ask_as(who, Method::GET, &project, None).await?.success()?.json();
        let quotas = format!("/api/v2.0/quotas?reference=project&reference_id={}", project["project_id"]);
        let quotas = self.site.ask_as(who, Method::GET, &quotas, None).await?.success()?.json();
        let quota = format!("/api/v2.0/quotas/{}", quotas[0]["id"]);
        let storage = bytes.map_or(json!(-1), |bytes| json!(bytes));
        let body = json!({"hard": {"storage": storage}});
        self.site.ask_as(who, Method::PUT, &quota, Some(&body)).await?.success()?;
        Ok(())
    }
}

fn name(repository: &str) -> String {
    let name: String = repository.replace('/', "-").chars().take(LONGEST_NAME).collect();
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_scenario_gets_a_name_that_harbor_takes() {
        let name = name("scenarios/1a20d1cab31/warmer-image-slower-than-400-s-and-resolvethrough");
        assert_eq!(name, "scenarios-1a20d1cab31-warmer-image-slower-than-400-s-and");
    }
}
