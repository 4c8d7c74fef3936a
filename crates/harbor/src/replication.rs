//! Replications, with credentials of their own: the right to start one is never the pull robot's.
//!
//! A policy is read, changed and written whole, so that whatever a newer Harbor keeps in it survives.

mod destination;
mod task_log;

use std::fmt;

use harbor_warmer_protocol::Tag;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::api::text;
use super::errors::Operation;
use super::request::Request;
use super::transport::Transport;
use super::{AnswerClass, Client, ClientError, HarborError, Invalid, Repository};
use crate::{Credentials, OwnPolicy};

pub use destination::{Destination, Naming, Parts, Unnameable};

const READ_POLICY: Operation = Operation::Api("read replication policies (replication-policy: read, list)");
const READ_REGISTRY: Operation = Operation::Api("read registry endpoints (registry: read, list)");
const CREATE_POLICY: Operation = Operation::Api("create replication policies (replication-policy: create)");
const UPDATE_POLICY: Operation = Operation::Api("change replication policies (replication-policy: update)");
const START: Operation = Operation::Api("start replications (replication: create)");
const READ_EXECUTION: Operation = Operation::Api("read replications (replication: read, list)");

/// The replications of one Harbor, as one user.
#[derive(Clone)]
pub struct ReplicationClient {
    pub(super) client: Client,
    pub(super) transport: Transport,
}

/// A right of a system robot that replicating needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationRight {
    /// Finding a policy by its name.
    ListPolicies,
    /// Reading a policy before its filters are changed.
    ReadPolicy,
    /// Changing the filters.
    UpdatePolicy,
    /// Making the warmer's own policy.
    CreatePolicy,
    /// Starting an execution.
    Start,
    /// Following its tasks.
    ListExecutions,
    /// Seeing how it ended.
    ReadExecution,
    /// Finding the endpoint that the warmer's own policy is to copy to.
    ListEndpoints,
}

/// The id of a replication policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub i64);

/// The id of one execution of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(pub i64);

/// A replication policy, as Harbor has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    whole: Map<String, Value>,
}

/// A registry endpoint, as Harbor has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: i64,
    whole: Value,
}

/// What a policy copies: one repository, and exactly these tags. The filters are a cross product, so a batch is of one
/// repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters {
    /// The repository, project included.
    pub place: Repository,
    /// The tags. Neither a tag nor a repository can hold a character that a pattern gives a meaning to.
    pub tags: Vec<Tag>,
}

/// A policy to be created: started by hand, enabled, with nothing but these filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPolicy {
    /// Its name.
    pub name: String,
    /// The id of the registry endpoint that it copies to.
    pub registry_id: i64,
    /// The namespace at the target; with none the target is `<project>/<repository>`.
    pub dest_namespace: Option<String>,
    /// How many leading parts of the path the namespace replaces; none leaves it to Harbor (all but the last).
    pub dest_namespace_replace_count: Option<i8>,
    /// What it copies.
    pub filters: Filters,
}

/// Where an execution or a task of one stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicationStatus {
    /// Under way, or waiting. Harbor shows it up to 30 s longer than it is so.
    InProgress,
    /// Ended well. An execution without a task ended so, too: it copied nothing.
    Succeed,
    /// Ended badly.
    Failed,
    /// Stopped by somebody.
    Stopped,
    /// Something that this version doesn't know.
    Unknown(String),
}

/// One execution of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// Where it stands.
    pub status: ReplicationStatus,
    /// What Harbor says beside the status.
    pub status_text: Option<String>,
    /// Its tasks.
    pub total: u64,
    /// Those that ended well.
    pub succeed: u64,
    /// Those that ended badly.
    pub failed: u64,
}

/// One task of an execution: a repository, whose tags Harbor does not name one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationTask {
    /// Its id.
    pub id: i64,
    /// Where it stands.
    pub status: ReplicationStatus,
    /// What is copied.
    pub source: Option<String>,
    /// Where to.
    pub destination: Option<String>,
}

impl Client {
    /// The replications of this Harbor, with these credentials.
    ///
    /// # Errors
    /// The credentials name an environment variable that isn't set.
    pub fn replication(&self, credentials: &Credentials) -> Result<ReplicationClient, ClientError> {
        let transport = self.transport().with_credentials(credentials)?;
        Ok(ReplicationClient { client: self.clone(), transport })
    }
}

impl ReplicationClient {
    /// All policies.
    ///
    /// # Errors
    /// As for every request to the API.
    pub async fn policies(&self) -> Result<Vec<Policy>, HarborError> {
        let policies = self.counted(self.transport.pages(READ_POLICY, "/api/v2.0/replication/policies?").await)?;
        Ok(policies.into_iter().filter_map(Policy::from_json).collect())
    }

    /// The policy of exactly this name.
    ///
    /// # Errors
    /// As for every request to the API.
    pub async fn find_policy(&self, name: &str) -> Result<Option<Policy>, HarborError> {
        // The name stands in a query, and Harbor looks for it anywhere in a policy's name.
        let mut query = reqwest::Url::parse("http://harbor").map_err(|_| HarborError::Invalid(Invalid::NotTheApi))?;
        query.query_pairs_mut().append_pair("name", name);
        let path = format!("/api/v2.0/replication/policies?{}", query.query().unwrap_or_default());
        let policies = self.counted(self.transport.pages(READ_POLICY, &path).await)?;
        Ok(policies.into_iter().filter_map(Policy::from_json).find(|policy| policy.name() == name))
    }

    /// The registry endpoint of exactly this name, which a policy copies to.
    ///
    /// # Errors
    /// As for every request to the API.
    pub async fn find_endpoint(&self, name: &str) -> Result<Option<Endpoint>, HarborError> {
        let registries = self.counted(self.transport.pages(READ_REGISTRY, "/api/v2.0/registries?").await)?;
        let named = registries.into_iter().find(|registry| text(registry, "name").as_deref() == Some(name));
        Ok(named.and_then(|whole| Some(Endpoint { id: whole.get("id")?.as_i64()?, whole })))
    }

    /// The policy of this id.
    ///
    /// # Errors
    /// As for every request to the API; a policy that is gone is a 404.
    pub async fn policy(&self, id: PolicyId) -> Result<Policy, HarborError> {
        let request = Request::new(Method::GET, READ_POLICY, format!("/api/v2.0/replication/policies/{id}"));
        let policy = self.transport.json(request).await;
        self.counted(
            policy.and_then(|policy| Policy::from_json(policy).ok_or(HarborError::Invalid(Invalid::NotTheApi))),
        )
    }

    /// Creates a policy; its id.
    ///
    /// # Errors
    /// As for every request to the API; a name that is taken is a 409.
    pub async fn create_policy(&self, policy: &NewPolicy) -> Result<PolicyId, HarborError> {
        let request = Request::new(Method::POST, CREATE_POLICY, "/api/v2.0/replication/policies".to_owned())
            .json_body(&policy.to_json());
        self.counted(self.create(request).await.map(PolicyId))
    }

    /// Makes a policy that was just read copy exactly this: changes its filters, writes it whole. Harbor reads a policy
    /// when an execution starts, so one that runs already is not changed.
    ///
    /// # Errors
    /// As for every request to the API.
    pub async fn set_filters(&self, mut policy: Policy, filters: &Filters) -> Result<(), HarborError> {
        policy.whole.insert("filters".to_owned(), filters.to_json());
        let request = Request::new(Method::PUT, UPDATE_POLICY, format!("/api/v2.0/replication/policies/{}", policy.id))
            .json_body(&Value::Object(policy.whole));
        self.counted(self.transport.ask(request).await.map(drop))
    }

    /// Starts a policy; the execution to follow.
    ///
    /// # Errors
    /// As for every request to the API.
    pub async fn start(&self, policy: PolicyId) -> Result<ExecutionId, HarborError> {
        let request = Request::new(Method::POST, START, "/api/v2.0/replication/executions".to_owned())
            .json_body(&json!({ "policy_id": policy.0 }));
        self.counted(self.create(request).await.map(ExecutionId))
    }

    /// Where an execution stands. Its tasks are ahead of it by up to 30 s.
    ///
    /// # Errors
    /// As for every request to the API; an execution that is gone is a 404.
    pub async fn execution(&self, id: ExecutionId) -> Result<Execution, HarborError> {
        let request = Request::new(Method::GET, READ_EXECUTION, format!("/api/v2.0/replication/executions/{id}"));
        let execution = self.transport.json(request).await;
        self.counted(execution.map(|execution| Execution::from_json(id, &execution)))
    }

    /// The tasks of an execution.
    ///
    /// # Errors
    /// As for every request to the API.
    pub async fn tasks(&self, id: ExecutionId) -> Result<Vec<ReplicationTask>, HarborError> {
        let path = format!("/api/v2.0/replication/executions/{id}/tasks?");
        let tasks = self.counted(self.transport.pages(READ_EXECUTION, &path).await)?;
        Ok(tasks.iter().filter_map(ReplicationTask::from_json).collect())
    }

    /// Which of these rights Harbor does not give to these credentials. Each is asked for in a way that changes nothing:
    /// Harbor looks at the right first, and then finds no policy 0, and a policy without a name.
    ///
    /// # Errors
    /// Harbor does not answer, or refuses the credentials.
    pub async fn missing_rights(&self, rights: &[ReplicationRight]) -> Result<Vec<ReplicationRight>, HarborError> {
        let mut missing = Vec::new();
        for right in rights {
            match self.transport.ask(right.question()).await.map(drop) {
                Err(HarborError::Forbidden(_)) => missing.push(*right),
                Err(error)
                    if matches!(
                        error.class(),
                        AnswerClass::Unreachable | AnswerClass::Timeout | AnswerClass::Unauthorized
                    ) =>
                {
                    return self.counted(Err(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(missing)
    }

    /// What was created: the number at the end of `Location`.
    async fn create(&self, request: Request) -> Result<i64, HarborError> {
        let answer = self.transport.ask(request).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(HarborError::Invalid(Invalid::Status { status: answer.status().as_u16(), said: None }));
        }
        id_of(answer.headers()).ok_or(HarborError::Invalid(Invalid::NotTheApi))
    }

    fn counted<T>(&self, answer: Result<T, HarborError>) -> Result<T, HarborError> {
        self.client.counted(answer)
    }
}

impl ReplicationRight {
    /// In Harbor's own words, `resource: action`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ListPolicies => "replication-policy: list",
            Self::ReadPolicy => "replication-policy: read",
            Self::UpdatePolicy => "replication-policy: update",
            Self::CreatePolicy => "replication-policy: create",
            Self::Start => "replication: create",
            Self::ListExecutions => "replication: list",
            Self::ReadExecution => "replication: read",
            Self::ListEndpoints => "registry: list",
        }
    }

    fn question(self) -> Request {
        let get = |path: &str| Request::new(Method::GET, Operation::Api(self.name()), format!("/api/v2.0/{path}"));
        let post = |path: &str, body: &Value| {
            Request::new(Method::POST, Operation::Api(self.name()), format!("/api/v2.0/{path}")).json_body(body)
        };
        match self {
            Self::ListPolicies => get("replication/policies?page_size=1"),
            Self::ReadPolicy => get("replication/policies/0"),
            Self::UpdatePolicy => {
                let path = "/api/v2.0/replication/policies/0".to_owned();
                Request::new(Method::PUT, Operation::Api(self.name()), path).json_body(&json!({}))
            }
            Self::CreatePolicy => post("replication/policies", &json!({})),
            Self::Start => post("replication/executions", &json!({ "policy_id": 0 })),
            Self::ListExecutions => get("replication/executions?page_size=1"),
            Self::ReadExecution => get("replication/executions/0"),
            Self::ListEndpoints => get("registries?page_size=1"),
        }
    }
}

impl Policy {
    fn from_json(policy: Value) -> Option<Self> {
        let Value::Object(whole) = policy else { return None };
        let id = PolicyId(whole.get("id")?.as_i64()?);
        Some(Self { id, whole })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.whole.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it may run.
    pub fn is_enabled(&self) -> bool {
        self.whole.get("enabled").and_then(Value::as_bool).unwrap_or(false)
    }

    /// What starts it: `manual`, `scheduled` or `event_based`.
    pub fn trigger(&self) -> &str {
        self.whole.get("trigger").and_then(|trigger| trigger.get("type")).and_then(Value::as_str).unwrap_or_default()
    }

    /// The id of the registry endpoint that it copies to; none of a policy that pulls into Harbor.
    pub fn registry_id(&self) -> Option<i64> {
        self.whole.get("dest_registry")?.get("id")?.as_i64().filter(|id| *id != 0)
    }

    /// Where its images go, and what they are called there.
    pub fn destination(&self) -> Destination {
        let namespace = self.whole.get("dest_namespace").and_then(Value::as_str);
        let replaced = self.whole.get("dest_namespace_replace_count").and_then(Value::as_i64);
        Destination::new(self.whole.get("dest_registry"), namespace, replaced)
    }

    /// A filter's text by its type (`name`, `tag`, `resource`); none where it lets everything through, or names what it
    /// leaves out.
    pub fn filter(&self, kind: &str) -> Option<&str> {
        let filters = self.whole.get("filters")?.as_array()?;
        let filter = filters.iter().find(|filter| filter.get("type").and_then(Value::as_str) == Some(kind))?;
        let leaves_out = filter.get("decoration").and_then(Value::as_str) == Some("excludes");
        filter.get("value")?.as_str().filter(|_| !leaves_out)
    }
}

impl Endpoint {
    /// Where the images of a policy that the warmer makes for this endpoint would go.
    pub fn destination_of(&self, policy: &OwnPolicy) -> Destination {
        let replaced = policy.dest_namespace_replace_count.map(i64::from);
        Destination::new(Some(&self.whole), policy.dest_namespace.as_deref(), replaced)
    }
}

impl Filters {
    fn to_json(&self) -> Value {
        let tags = match self.tags.as_slice() {
            [tag] => tag.to_string(),
            tags => {
                let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
                format!("{{{}}}", tags.join(","))
            }
        };
        json!([{ "type": "name", "value": self.place.to_string() }, { "type": "tag", "value": tags }])
    }
}

impl NewPolicy {
    fn to_json(&self) -> Value {
        let mut policy = json!({
            "name": self.name,
            "description": "Owned by harbor-warmer: its filters are written before each start",
            "enabled": true,
            "override": true,
            "trigger": { "type": "manual" },
            "dest_registry": { "id": self.registry_id },
            "filters": self.filters.to_json(),
        });
        if let Some(namespace) = &self.dest_namespace {
            policy["dest_namespace"] = json!(namespace);
        }
        if let Some(count) = self.dest_namespace_replace_count {
            policy["dest_namespace_replace_count"] = json!(count);
        }
        policy
    }
}

impl ReplicationStatus {
    fn parse(text: &str) -> Self {
        match text {
            "InProgress" | "Pending" | "Initialized" | "Running" => Self::InProgress,
            "Succeed" | "Success" => Self::Succeed,
            "Failed" | "Error" => Self::Failed,
            "Stopped" => Self::Stopped,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl Execution {
    fn from_json(id: ExecutionId, execution: &Value) -> Self {
        let count = |name: &str| execution.get(name).and_then(Value::as_u64).unwrap_or(0);
        Self {
            id,
            status: status(execution),
            status_text: text(execution, "status_text"),
            total: count("total"),
            succeed: count("succeed"),
            failed: count("failed"),
        }
    }
}

impl ReplicationTask {
    fn from_json(task: &Value) -> Option<Self> {
        Some(Self {
            id: task.get("id")?.as_i64()?,
            status: status(task),
            source: text(task, "src_resource"),
            destination: text(task, "dst_resource"),
        })
    }
}

fn status(object: &Value) -> ReplicationStatus {
    ReplicationStatus::parse(object.get("status").and_then(Value::as_str).unwrap_or_default())
}

fn id_of(headers: &HeaderMap) -> Option<i64> {
    headers.get(header::LOCATION)?.to_str().ok()?.rsplit('/').next()?.parse().ok()
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ReplicationClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationClient").field("harbor", self.client.name()).finish_non_exhaustive()
    }
}
