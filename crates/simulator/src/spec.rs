//! What a simulator is built from: projects, robots and their rights.

use serde::Deserialize;

/// A project of the simulated Harbor.
#[derive(Debug, Clone)]
pub struct ProjectSpec {
    pub(crate) name: String,
    pub(crate) proxy: bool,
    pub(crate) public: bool,
    pub(crate) docker_hub: bool,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) speed_kb: Option<u64>,
    pub(crate) max_upstream_connections: Option<u32>,
    pub(crate) local_on_not_found: bool,
    pub(crate) repository_filter: Option<String>,
    pub(crate) retention_days: Option<u64>,
}

impl ProjectSpec {
    fn new(name: impl Into<String>, proxy: bool) -> Self {
        Self {
            name: name.into(),
            proxy,
            public: false,
            docker_hub: false,
            quota_bytes: None,
            speed_kb: None,
            max_upstream_connections: None,
            local_on_not_found: false,
            repository_filter: None,
            retention_days: proxy.then_some(7),
        }
    }

    /// A private proxy cache of the simulator's upstream. Like Harbor's it comes with the retention rule "pulled in
    /// the last 7 days".
    pub fn proxy(name: impl Into<String>) -> Self {
        Self::new(name, true)
    }

    /// An ordinary project, no proxy cache.
    pub fn hosted(name: impl Into<String>) -> Self {
        Self::new(name, false)
    }

    /// Anyone may pull, by an anonymous token.
    pub fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// The endpoint is of the type `docker-hub`: one-segment names are redirected to `library/`.
    pub fn docker_hub(mut self) -> Self {
        self.docker_hub = true;
        self
    }

    /// The storage quota.
    pub fn quota_bytes(mut self, bytes: u64) -> Self {
        self.quota_bytes = Some(bytes);
        self
    }

    /// `proxy_speed_kb`: a cap for each upstream stream, in KB a second of Harbor time.
    pub fn speed_kb(mut self, kilobytes: u64) -> Self {
        self.speed_kb = Some(kilobytes);
        self
    }

    /// `max_upstream_conn`: requests beyond it are answered 429. Since 2.14.1.
    pub fn max_upstream_connections(mut self, connections: u32) -> Self {
        self.max_upstream_connections = Some(connections);
        self
    }

    /// `proxy_cache_local_on_not_found`: a cached tag is served although the upstream has it no more. Since 2.15.1.
    pub fn local_on_not_found(mut self) -> Self {
        self.local_on_not_found = true;
        self
    }

    /// `proxy_cache_filter_pattern`: only repositories that it matches are proxied. Since 2.16.
    pub fn repository_filter(mut self, pattern: impl Into<String>) -> Self {
        self.repository_filter = Some(pattern.into());
        self
    }

    /// The days of the retention rule; `None` for a project without one.
    pub fn retention_days(mut self, days: Option<u64>) -> Self {
        self.retention_days = days;
        self
    }
}

/// What a robot may do, in Harbor's words (`resource:action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// `repository:pull`
    RepositoryPull,
    /// `repository:list`
    RepositoryList,
    /// `artifact:read`
    ArtifactRead,
    /// `artifact:list`
    ArtifactList,
    /// `tag:list`
    TagList,
    /// `project:read`
    ProjectRead,
    /// `tag-retention:read`
    RetentionRead,
    /// `replication:create`
    ReplicationCreate,
    /// `replication:read`
    ReplicationRead,
    /// `replication:list`
    ReplicationList,
    /// `replication-policy:create`
    PolicyCreate,
    /// `replication-policy:read`
    PolicyRead,
    /// `replication-policy:list`
    PolicyList,
    /// `replication-policy:update`
    PolicyUpdate,
    /// `replication-policy:delete`
    PolicyDelete,
    /// `registry:list` and `registry:read`
    RegistryRead,
    /// `robot:list`
    RobotList,
}

/// A robot account. Its name is the whole one, prefix included.
#[derive(Debug, Clone)]
pub struct RobotSpec {
    pub(crate) name: String,
    pub(crate) secret: String,
    /// `None` covers all projects and the system itself.
    pub(crate) project: Option<String>,
    pub(crate) rights: Vec<Right>,
    pub(crate) expired: bool,
    /// What the API tells; `None` for never.
    pub(crate) expires_at_seconds: Option<i64>,
}

impl RobotSpec {
    /// `robot$<project>+<name>` with `repository:pull`, `artifact:read`, `artifact:list` and `tag:list` there.
    pub fn project(project: impl Into<String>, name: &str, secret: impl Into<String>) -> Self {
        let project = project.into();
        Self {
            name: format!("robot${project}+{name}"),
            secret: secret.into(),
            project: Some(project),
            rights: vec![Right::RepositoryPull, Right::ArtifactRead, Right::ArtifactList, Right::TagList],
            expired: false,
            expires_at_seconds: None,
        }
    }

    /// `robot$<name>`, a system robot with all rights that [`Right`] knows, in every project.
    pub fn system(name: &str, secret: impl Into<String>) -> Self {
        Self {
            name: format!("robot${name}"),
            secret: secret.into(),
            project: None,
            rights: vec![
                Right::RepositoryPull,
                Right::RepositoryList,
                Right::ArtifactRead,
                Right::ArtifactList,
                Right::TagList,
                Right::ProjectRead,
                Right::RetentionRead,
                Right::ReplicationCreate,
                Right::ReplicationRead,
                Right::ReplicationList,
                Right::PolicyCreate,
                Right::PolicyRead,
                Right::PolicyList,
                Right::PolicyUpdate,
                Right::PolicyDelete,
                Right::RegistryRead,
                Right::RobotList,
            ],
            expired: false,
            expires_at_seconds: None,
        }
    }

    /// These rights instead of the usual ones.
    pub fn rights(mut self, rights: impl IntoIterator<Item = Right>) -> Self {
        self.rights = rights.into_iter().collect();
        self
    }

    /// What the API says of its expiry, in seconds since the Unix epoch. It works on after that.
    pub fn expires_at(mut self, seconds: i64) -> Self {
        self.expires_at_seconds = Some(seconds);
        self
    }

    /// The robot has expired: its answers are those of a wrong password.
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }
}
