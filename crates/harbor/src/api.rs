//! Harbor's own API, as far as verification and `check` need it. Everything is read leniently: a field that is missing
//! or of another type is as good as none.

use harbor_warmer_protocol::{Digest, ProjectName, RepositoryPath, Tag, TagOrDigest};
use http::{Method, StatusCode};
use serde_json::Value;

use super::errors::{Operation, says_no_such_artifact};
use super::request::Request;
use super::transport::API_MAX_BYTES;
use super::{Client, HarborError, Invalid, Repository};
use crate::retention::Retention;

/// What Harbor has recorded under a digest or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its digest in Harbor. Of an index it may differ from the upstream's: Harbor writes the index anew, with the
    /// children that it has.
    pub digest: Digest,
    /// The media type of its manifest.
    pub media_type: Option<String>,
    /// The children that its record refers to; none for a platform manifest.
    pub references: Vec<Digest>,
    /// `os`, `architecture` and `variant` of its config; none of an index, and where Harbor doesn't say.
    pub platform: Option<(String, String, Option<String>)>,
    /// The tags recorded for it.
    pub tags: Vec<Tag>,
    /// When it was last pulled, in Harbor's own writing (RFC 3339).
    pub pull_time: Option<String>,
}

/// What Harbor says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemInfo {
    /// Such as `v2.15.2-7ec0b0b1`; told only to those who are signed in.
    pub harbor_version: Option<String>,
}

/// What Harbor says of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectSummary {
    /// Its id.
    pub project_id: Option<i64>,
    /// The registry endpoint that it is a proxy cache of; none for a project that is no proxy cache.
    pub registry_id: Option<i64>,
    /// Whether anybody may pull.
    pub public: bool,
    /// The id of its retention rule.
    pub retention_id: Option<i64>,
}

impl Client {
    /// What Harbor has recorded under a digest or tag; none where it says that there is no such artifact. Harbor's
    /// database answers; the upstream isn't asked.
    ///
    /// # Errors
    /// [`AnswerClass::Forbidden`](super::AnswerClass::Forbidden) where the robot may not read artifacts. A 404 that
    /// speaks of anything else is an error, never "not recorded".
    pub async fn artifact(&self, place: &Repository, reference: &TagOrDigest) -> Result<Option<Artifact>, HarborError> {
        self.counted(self.try_artifact(place, reference).await)
    }

    async fn try_artifact(&self, place: &Repository, reference: &TagOrDigest) -> Result<Option<Artifact>, HarborError> {
        // The repository is encoded twice: Harbor's router decodes once before it splits the path.
        let repository = place.repository.as_str().replace('/', "%252F");
        let path = format!(
            "/api/v2.0/projects/{}/repositories/{repository}/artifacts/{reference}?with_tag=true",
            place.project
        );
        let request = Request::new(Method::GET, Operation::Api("read artifacts (artifact: read)"), path)
            .or_404_where(says_no_such_artifact);
        let answer = self.transport().ask(request).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let artifact = Artifact::from_json(&answer.read_json(API_MAX_BYTES).await?);
        artifact.map(Some).ok_or(HarborError::Invalid(Invalid::NotTheApi))
    }

    /// Whether a Harbor answers at this address. Needs no credentials.
    ///
    /// # Errors
    /// It doesn't, or something else does.
    pub async fn ping(&self) -> Result<(), HarborError> {
        let request = Request::new(Method::GET, Operation::Api("ping"), "/api/v2.0/ping".to_owned());
        self.counted(self.transport().ask(request).await.map(drop))
    }

    /// What Harbor says of itself. Needs no credentials.
    ///
    /// # Errors
    /// It doesn't.
    pub async fn systeminfo(&self) -> Result<SystemInfo, HarborError> {
        let path = "/api/v2.0/systeminfo".to_owned();
        let info = self.transport().json(Request::new(Method::GET, Operation::Api("read the version"), path)).await;
        self.counted(info.map(|info| SystemInfo { harbor_version: text(&info, "harbor_version") }))
    }

    /// What Harbor says of a project to everybody who has any right in it. None where there is no such project, or none
    /// that these credentials have to do with; Harbor says the same to wrong credentials.
    ///
    /// # Errors
    /// As for every request to the API.
    pub async fn find_project(&self, project: &ProjectName) -> Result<Option<ProjectSummary>, HarborError> {
        // `q` compares the whole name, the parameter `name` any part of it. Names hold nothing that `q` gives a meaning.
        let path = format!("/api/v2.0/projects?q=name%3D{project}");
        let request = Request::new(Method::GET, Operation::Api("list projects"), path);
        let projects = self.counted(self.transport().json(request).await)?;
        let Value::Array(projects) = projects else { return Err(HarborError::Invalid(Invalid::NotTheApi)) };
        let named = projects.iter().find(|found| text(found, "name").as_deref() == Some(project.as_str()));
        Ok(named.map(ProjectSummary::from_json))
    }

    /// The repository of a project that has changed last; none of an empty project.
    ///
    /// # Errors
    /// [`AnswerClass::Forbidden`](super::AnswerClass::Forbidden) to a robot without the right. It is one that nobody has
    /// to give, so this answer is not counted.
    pub async fn latest_repository(&self, project: &ProjectName) -> Result<Option<RepositoryPath>, HarborError> {
        let path = format!("/api/v2.0/projects/{project}/repositories?page_size=1&sort=-update_time");
        let request = Request::new(Method::GET, Operation::Api("list repositories (repository: list)"), path)
            .header("x-is-resource-name", "true");
        let listed = match self.transport().json(request).await {
            Err(error @ HarborError::Forbidden(_)) => return Err(error),
            listed => self.counted(listed)?,
        };
        let name = listed.as_array().and_then(|all| text(all.first()?, "name"));
        Ok(name.and_then(|name| name.split_once('/')?.1.parse().ok()))
    }

    /// What the retention rules of this id drop.
    ///
    /// # Errors
    /// [`AnswerClass::Forbidden`](super::AnswerClass::Forbidden) to a robot without the right. It is one that nobody has
    /// to give, so this answer is not counted.
    pub async fn retention(&self, id: i64) -> Result<Retention, HarborError> {
        let operation = Operation::Api("read the retention rule (tag-retention: read)");
        let policy =
            self.transport().json(Request::new(Method::GET, operation, format!("/api/v2.0/retentions/{id}"))).await;
        match policy {
            Err(error @ HarborError::Forbidden(_)) => Err(error),
            policy => self.counted(policy).map(|policy| Retention::of(&policy)),
        }
    }

    /// What Harbor says of a project. A project robot may not ask.
    ///
    /// # Errors
    /// [`AnswerClass::Forbidden`](super::AnswerClass::Forbidden) to a robot without the right; a project that does not
    /// exist is [`Refusal::NoSuchProject`](super::Refusal::NoSuchProject) or a 403, depending on the robot.
    pub async fn project(&self, project: &ProjectName) -> Result<ProjectSummary, HarborError> {
        let path = format!("/api/v2.0/projects/{project}");
        // By name, also where the name is a number, which Harbor would take for an id.
        let request = Request::new(Method::GET, Operation::Api("read the project (project: read)"), path)
            .header("x-is-resource-name", "true");
        let project = self.transport().json(request).await;
        self.counted(project.map(|project| ProjectSummary::from_json(&project)))
    }
}

impl Artifact {
    fn from_json(artifact: &Value) -> Option<Self> {
        let items = |name: &str| artifact.get(name).and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            digest: digest(artifact, "digest")?,
            media_type: text(artifact, "manifest_media_type"),
            references: items("references").filter_map(|reference| digest(reference, "child_digest")).collect(),
            platform: platform(artifact.get("extra_attrs").unwrap_or(&Value::Null)),
            tags: items("tags").filter_map(|tag| text(tag, "name")?.parse().ok()).collect(),
            pull_time: text(artifact, "pull_time"),
        })
    }
}

impl ProjectSummary {
    fn from_json(project: &Value) -> Self {
        let metadata = project.get("metadata").unwrap_or(&Value::Null);
        Self {
            project_id: project.get("project_id").and_then(Value::as_i64),
            // Zero stands for none.
            registry_id: project.get("registry_id").and_then(Value::as_i64).filter(|id| *id != 0),
            public: text(metadata, "public").is_some_and(|public| public == "true"),
            retention_id: text(metadata, "retention_id").and_then(|id| id.parse().ok()),
        }
    }
}

/// The platform that Harbor read from the config: `architecture` and `os` stand beside each other
/// (`src/controller/artifact/processor/image/manifest_v2.go`), the variant only inside `config` if anywhere.
fn platform(attributes: &Value) -> Option<(String, String, Option<String>)> {
    Some((text(attributes, "os")?, text(attributes, "architecture")?, text(attributes, "variant")))
}

pub(super) fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn digest(object: &Value, name: &str) -> Option<Digest> {
    object.get(name)?.as_str()?.parse().ok()
}
