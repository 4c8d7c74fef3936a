//! What is read of each Harbor now and then, since it changes seldom: the projects' retention rules.

use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_protocol::{HarborName, ProjectName};

use crate::config::{Config, HarborKind, KeepWarm};
use crate::harbor::{Client, HarborError, Harbors};
use crate::projects::Projects;
use crate::retention::Retention;

/// What goes through the Harbors of the configuration.
pub(crate) struct Survey {
    pub(crate) config: Arc<Config>,
    pub(crate) harbors: Arc<Harbors>,
    pub(crate) projects: Arc<Projects>,
}

/// Rules are changed by hand, and a day's rule leaves half a day.
const EVERY: Duration = Duration::from_secs(6 * 3_600);

/// A Harbor that did not answer is asked again so soon.
const AGAIN: Duration = Duration::from_secs(300);

impl Survey {
    /// Goes on for ever.
    pub(crate) async fn run(self) {
        loop {
            let answered = self.read_rules().await;
            tokio::time::sleep(if answered { EVERY } else { AGAIN }).await;
        }
    }

    /// Whether every Harbor answered, be it with a refusal.
    async fn read_rules(&self) -> bool {
        let mut answered = true;
        for (harbor_name, harbor) in &self.config.harbors {
            let Some(client) = self.harbors.client(harbor_name) else { continue };
            let by_rule = harbor.projects.iter().filter(|(_, project)| project.keep_warm == KeepWarm::ByRule);
            for (project, _) in by_rule.filter(|_| harbor.kind == HarborKind::Harbor) {
                match retention_of(client, project).await {
                    Ok(retention) => self.take_in(harbor_name, project, retention),
                    // The project's usual time goes on to hold.
                    Err(error @ (HarborError::Forbidden(_) | HarborError::Unauthorized(_))) => {
                        tracing::debug!(harbor = %harbor_name, project = %project, "no retention rule: {error}");
                    }
                    Err(error) => {
                        answered = false;
                        tracing::warn!(harbor = %harbor_name, project = %project, "no retention rule: {error}");
                    }
                }
            }
        }
        answered
    }

    fn take_in(&self, harbor: &HarborName, project: &ProjectName, retention: Retention) {
        let every = retention.keep_warm_every();
        if self.projects.keep_warm(harbor, project, every) {
            let seconds = every.map(|every| every.as_secs());
            tracing::info!(%harbor, %project, keep_warm.seconds = seconds, "retention rule read: {retention:?}");
        }
    }
}

/// What a project's rules drop. The project itself may be looked up by everybody who has any right in it.
pub(crate) async fn retention_of(client: &Client, project: &ProjectName) -> Result<Retention, HarborError> {
    let found = client.find_project(project).await?;
    match found.and_then(|project| project.retention_id) {
        Some(id) => client.retention(id).await,
        None => Ok(Retention::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use harbor_warmer_protocol::HarborImage;
    use harbor_warmer_simulator::{ProjectSpec, Right, RobotSpec, Simulator};
    use rstest::rstest;

    use super::*;
    use crate::clock::Timestamp;
    use crate::config::document;
    use crate::metrics::Metrics;

    const DAY: u64 = 86_400;

    /// How often the images of a project are pulled, once its Harbor has been asked.
    #[rstest]
    #[case::by_its_rule(Some(2), "{}", &[Right::RepositoryPull, Right::RetentionRead], Some(DAY))]
    #[case::by_a_longer_one(Some(30), "{}", &[Right::RepositoryPull, Right::RetentionRead], Some(15 * DAY))]
    #[case::without_a_rule(None, "{}", &[Right::RepositoryPull, Right::RetentionRead], Some(84 * 3_600))]
    #[case::without_the_right(Some(2), "{}", &[Right::RepositoryPull], Some(84 * 3_600))]
    #[case::as_it_is_written(Some(2), "{keepWarmEvery: 36h}", &[Right::RepositoryPull, Right::RetentionRead], Some(36 * 3_600))]
    #[case::not_at_all(Some(2), "{keepWarm: false}", &[Right::RepositoryPull, Right::RetentionRead], None)]
    #[tokio::test]
    async fn a_project_is_kept_warm_as_its_rules_want(
        #[case] days: Option<u64>,
        #[case] project: &str,
        #[case] rights: &[Right],
        #[case] expected: Option<u64>,
    ) {
        crate::harbor::install_crypto_provider();
        let simulator = Simulator::builder()
            .project(ProjectSpec::proxy("hub").retention_days(days))
            .robot(RobotSpec::project("hub", "warmer", "swordfish").rights(rights.iter().copied()))
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "swordfish").unwrap();
        let yaml = format!(
            "harbors:
  main:
    url: {}
    credentials: {{username: robot$hub+warmer, passwordFile: password}}
    projects: {{hub: {project}}}
",
            simulator.url()
        );
        let config = Arc::new(document::parse(&yaml, directory.path()).unwrap());
        let metrics = Arc::new(Metrics::new());
        let harbors = Arc::new(Harbors::new(&config, &metrics).unwrap());
        let projects = Arc::new(Projects::new(&config));
        let survey = Survey { config, harbors, projects: Arc::clone(&projects) };

        assert!(survey.read_rules().await);

        let place = HarborImage {
            harbor: "main".parse().unwrap(),
            project: "hub".parse().unwrap(),
            repository: "library/app".parse().unwrap(),
        };
        let every = projects.get(&place, Timestamp::from_millis(0)).keep_warm_every;
        assert_eq!(every.map(|every| every.as_secs()), expected);
        // A right that nobody has to give is no refusal of the credentials.
        assert!(!metrics.to_text().contains("forbidden"));
    }
}
