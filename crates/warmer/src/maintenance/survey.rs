//! What is read of each Harbor now and then, since it changes seldom: the projects' retention rules, and when
//! the robots expire.

use std::sync::Arc;
use std::time::Duration;

use harbor_warmer_protocol::{HarborName, ProjectName};

use crate::config::{Config, KeepWarm};
use crate::harbors::Harbors;
use crate::metrics::Metrics;
use harbor_warmer_core::project::HarborKind;
use harbor_warmer_core::projects::Projects;
use harbor_warmer_harbor::retention::Retention;
use harbor_warmer_harbor::{Client, HarborError, RobotExpiry};

/// What goes through the Harbors of the configuration.
pub(crate) struct Survey {
    pub(crate) config: Arc<Config>,
    pub(crate) harbors: Arc<Harbors>,
    pub(crate) projects: Arc<Projects>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Rules are changed by hand, and a day's rule leaves half a day.
const EVERY: Duration = Duration::from_secs(6 * 3_600);

/// A Harbor that did not answer is asked again so soon.
const AGAIN: Duration = Duration::from_secs(300);

impl Survey {
    /// Goes on for ever.
    pub(crate) async fn run(self) {
        loop {
            let (rules, robots) = (self.read_rules().await, self.read_robots().await);
            let answered = rules && robots;
            tokio::time::sleep(if answered { EVERY } else { AGAIN }).await;
        }
    }

    /// Whether every Harbor answered, be it with a refusal.
    async fn read_rules(&self) -> bool {
        let mut answered = true;
        for (harbor_name, harbor) in &self.config.harbors {
            let Some(client) = self.harbors.client(harbor_name) else { continue };
            let by_rule = harbor.projects.iter().filter(|(_, project)| project.keep_warm == KeepWarm::ByRule);
            for (project, _) in by_rule.filter(|_| harbor.options.kind == HarborKind::Harbor) {
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

    /// Whether every Harbor answered, be it with a refusal.
    async fn read_robots(&self) -> bool {
        let mut answered = true;
        for (name, harbor) in self.config.harbors.iter().filter(|(_, harbor)| harbor.options.kind == HarborKind::Harbor)
        {
            let Some(client) = self.harbors.client(name) else { continue };
            answered &= self.take_in_expiry(name, client.robot_expiry(harbor.projects.keys()).await);
            for target in self.config.targets.values().filter(|target| target.harbor == *name) {
                // The replicators use these credentials, so they are usable.
                let Ok(client) = client.replication(&target.credentials) else { continue };
                answered &= self.take_in_expiry(name, client.robot_expiry().await);
            }
        }
        answered
    }

    fn take_in_expiry(&self, harbor: &HarborName, expiry: Result<Option<RobotExpiry>, HarborError>) -> bool {
        match expiry {
            Ok(Some(RobotExpiry { robot, at })) => {
                self.metrics.robot_expires(harbor, &robot, at.map(|at| at.as_millis() / 1_000));
                true
            }
            Ok(None) | Err(HarborError::Forbidden(_) | HarborError::Unauthorized(_)) => true,
            Err(error) => {
                tracing::warn!(%harbor, "when the robot expires can't be read: {error}");
                false
            }
        }
    }

    fn take_in(&self, harbor: &HarborName, project: &ProjectName, retention: Retention) {
        let every = retention.keep_warm_every();
        if self.projects.keep_warm(harbor, project, every) {
            let seconds = every.map(|every| every.as_secs());
            tracing::info!(%harbor, %project, keep_warm.seconds = seconds, "{retention}");
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
    use crate::config::document;
    use crate::metrics::Metrics;
    use harbor_warmer_core::timestamp::Timestamp;

    const DAY: u64 = 86_400;

    /// A survey of a Harbor with one project, by this robot.
    fn survey(simulator: &Simulator, username: &str, project: &str) -> (Survey, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "swordfish").unwrap();
        let yaml = format!(
            "harbors:
  main:
    url: {}
    credentials: {{username: {username}, passwordFile: password}}
    projects: {{hub: {project}}}
",
            simulator.url()
        );
        let config = Arc::new(document::parse(&yaml, directory.path()).unwrap());
        let metrics = Arc::new(Metrics::new());
        let harbors = Arc::new(Harbors::new(&config, &metrics).unwrap());
        let projects = Arc::new(config.projects());
        (Survey { config, harbors, projects, metrics }, directory)
    }

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
        harbor_warmer_harbor::install_crypto_provider();
        let simulator = Simulator::builder()
            .project(ProjectSpec::proxy("hub").retention_days(days))
            .robot(RobotSpec::project("hub", "warmer", "swordfish").rights(rights.iter().copied()))
            .start()
            .await
            .unwrap();
        let (survey, _directory) = survey(&simulator, "robot$hub+warmer", project);

        assert!(survey.read_rules().await);

        let place = HarborImage {
            harbor: "main".parse().unwrap(),
            project: "hub".parse().unwrap(),
            repository: "library/app".parse().unwrap(),
        };
        let every = survey.projects.get(&place, Timestamp::from_millis(0)).keep_warm_every;
        assert_eq!(every.map(|every| every.as_secs()), expected);
        // A right that nobody has to give is no refusal of the credentials.
        assert!(!survey.metrics.to_text().contains("forbidden"));
    }

    #[rstest]
    #[case::a_project_robot("robot$hub+warmer", Some(4_000_000_000), Some("robot$hub+warmer"))]
    #[case::a_system_robot("robot$warmer", Some(4_000_000_000), Some("robot$warmer"))]
    #[case::one_that_never_expires("robot$warmer", None, None)]
    #[tokio::test]
    async fn metrics_tell_when_a_robot_expires(
        #[case] username: &str,
        #[case] expires_at: Option<i64>,
        #[case] told: Option<&str>,
    ) {
        harbor_warmer_harbor::install_crypto_provider();
        let robots = [RobotSpec::project("hub", "warmer", "swordfish"), RobotSpec::system("warmer", "swordfish")];
        let mut builder = Simulator::builder().project(ProjectSpec::proxy("hub"));
        for robot in robots {
            let robot = robot.rights([Right::RepositoryPull, Right::RobotList]);
            builder = builder.robot(expires_at.map_or(robot.clone(), |at| robot.expires_at(at)));
        }
        let simulator = builder.start().await.unwrap();
        let (survey, _directory) = survey(&simulator, username, "{}");

        assert!(survey.read_robots().await);

        let series = |robot| {
            format!(r#"harbor_warmer_robot_expires_timestamp_seconds{{harbor="main",robot="{robot}"}} 4000000000"#)
        };
        let text = survey.metrics.to_text();
        match told {
            Some(robot) => assert!(text.contains(&series(robot)), "{text}"),
            None => assert!(!text.contains("robot_expires_timestamp_seconds{"), "{text}"),
        }
    }
}
