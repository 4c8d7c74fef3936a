//! When the robot that asks expires.
//!
//! Harbor tells nobody so in an answer to anything else, and lets a robot read robots only with a right that it can be
//! given since v2.12: `robot: list`, in its project or, of a system robot, in the system.

use harbor_warmer_protocol::ProjectName;
use serde_json::Value;

use super::errors::Operation;
use super::transport::Transport;
use super::{Client, HarborError, ReplicationClient};
use harbor_warmer_core::timestamp::Timestamp;

const LIST_ROBOTS: Operation = Operation::Api("list robots (robot: list)");

/// When a robot expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotExpiry {
    /// The robot's whole name.
    pub robot: String,
    /// When; none of one that never does.
    pub at: Option<Timestamp>,
}

impl Client {
    /// When the robot that this client asks as expires. `projects` are those that it may belong to. None of a user, and
    /// of somebody anonymous.
    ///
    /// # Errors
    /// [`AnswerClass::Forbidden`](super::AnswerClass::Forbidden) to a robot without the right. It is one that nobody has
    /// to give, so this answer is not counted.
    pub async fn robot_expiry<'p>(
        &self,
        projects: impl IntoIterator<Item = &'p ProjectName>,
    ) -> Result<Option<RobotExpiry>, HarborError> {
        let Some(robot) = self.transport().username()? else { return Ok(None) };
        let listed = match robot.rsplit_once('+') {
            None => system_robots(self.transport()).await,
            // The prefix before the project is a setting of Harbor's.
            Some((prefix, _)) => {
                let own = projects.into_iter().filter(|project| prefix.ends_with(project.as_str()));
                let Some(project) = own.max_by_key(|project| project.as_str().len()) else { return Ok(None) };
                let found = self.find_project(project).await?.and_then(|project| project.project_id);
                let Some(id) = found else { return Ok(None) };
                self.transport()
                    .pages(LIST_ROBOTS, &format!("/api/v2.0/robots?q=Level%3Dproject%2CProjectID%3D{id}"))
                    .await
            }
        };
        self.find(robot, listed)
    }

    fn find(&self, robot: String, listed: Result<Vec<Value>, HarborError>) -> Result<Option<RobotExpiry>, HarborError> {
        let listed = match listed {
            Err(error @ HarborError::Forbidden(_)) => return Err(error),
            listed => self.counted(listed)?,
        };
        let own = listed.iter().find(|listed| listed.get("name").and_then(Value::as_str) == Some(robot.as_str()));
        Ok(own.and_then(|own| {
            let seconds = own.get("expires_at")?.as_i64()?;
            let at = (seconds >= 0).then(|| Timestamp::from_millis(seconds.saturating_mul(1_000)));
            Some(RobotExpiry { robot, at })
        }))
    }
}

impl ReplicationClient {
    /// When the system robot that replicates expires; as [`Client::robot_expiry`].
    ///
    /// # Errors
    /// As there.
    pub async fn robot_expiry(&self) -> Result<Option<RobotExpiry>, HarborError> {
        let Some(robot) = self.transport.username()? else { return Ok(None) };
        self.client.find(robot, system_robots(&self.transport).await)
    }
}

async fn system_robots(transport: &Transport) -> Result<Vec<Value>, HarborError> {
    transport.pages(LIST_ROBOTS, "/api/v2.0/robots?").await
}
