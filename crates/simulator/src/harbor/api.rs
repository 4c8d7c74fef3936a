//! `/api/v2.0`: as much of Harbor's own API as a companion of a proxy cache needs.

pub(crate) mod answer;

use std::collections::HashSet;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::harbor::access::Caller;
use crate::harbor::api::answer::{ApiAnswer, Query, page, registry_json};
use crate::harbor::error::HarborError;
use crate::harbor::store::{Artifact, Project, Repository, Tables};
use crate::harbor::{Harbor, quota, replication_api};
use crate::manifest::{self, Manifest};
use crate::spec::Right;

/// The id of the upstream's endpoint; replication targets come after it.
pub(crate) const UPSTREAM_REGISTRY_ID: u64 = 1;

/// Answers what stands behind `/api/v2.0/`. `path` is still percent-encoded.
pub(crate) fn answer(
    harbor: &Arc<Harbor>,
    caller: &Caller,
    method: &Method,
    path: &[&str],
    query: &Query,
    body: &[u8],
) -> Result<ApiAnswer, HarborError> {
    match (method.as_str(), path) {
        ("GET", ["ping"]) => Ok(ApiAnswer::text("Pong")),
        ("GET", ["health"]) => {
            let component = |name| json!({"name": name, "status": "healthy"});
            let components = ["core", "database", "jobservice", "portal", "redis", "registry"].map(component);
            Ok(ApiAnswer::json(json!({"status": "healthy", "components": components})))
        }
        ("GET", ["systeminfo"]) => {
            let mut shown = json!({"auth_mode": "db_auth", "self_registration": false});
            if caller.name().is_some() {
                shown["harbor_version"] = json!(harbor.store.read(|tables| tables.version.to_string()));
                shown["read_only"] = json!(harbor.store.read(|tables| tables.read_only));
            }
            Ok(ApiAnswer::json(shown))
        }
        // Whoever has any right in a project finds it here, by `?q=name=…` among others.
        ("GET", ["projects"]) => {
            let wanted = query.get("q").and_then(|q| q.strip_prefix("name="));
            let seen = harbor.store.read(|tables| {
                let projects = tables.projects.values().filter(|project| {
                    caller.sees(&project.spec) && wanted.is_none_or(|wanted| project.spec.name == wanted)
                });
                projects.map(project_json).collect()
            });
            Ok(page(seen, query, "projects"))
        }
        ("GET", ["projects", name]) => {
            harbor.check_api(caller, Right::ProjectRead, Some(name))?;
            harbor.store.read(|tables| {
                let missing = || HarborError::not_found(format!("project {name} not found"));
                Ok(ApiAnswer::json(project_json(tables.projects.get(*name).ok_or_else(missing)?)))
            })
        }
        ("GET", ["projects", name, "repositories"]) => {
            harbor.check_api(caller, Right::RepositoryList, Some(name))?;
            Ok(harbor.store.read(|tables| {
                let of_project = |full: &str| full.split('/').next() == Some(*name);
                let rows = tables.repositories.iter().filter(|(full, _)| of_project(full));
                let shown = |(full, row): (&String, &Repository)| {
                    json!({"id": row.id, "name": full, "artifact_count": row.artifacts.len()})
                };
                page(rows.map(shown).collect(), query, &format!("projects/{name}/repositories"))
            }))
        }
        (verb, ["projects", project, "repositories", repository, "artifacts", rest @ ..]) => {
            let repository = format!("{project}/{}", decode_repository(repository));
            artifacts(harbor, caller, verb, project, &repository, rest, query)
        }
        (_, ["replication", rest @ ..]) => replication_api::answer(harbor, caller, method, rest, query, body),
        ("GET", ["registries"]) => {
            harbor.check_api(caller, Right::RegistryRead, None)?;
            Ok(harbor.store.read(|tables| page(registries_json(tables), query, "registries")))
        }
        ("GET", ["registries", id]) => {
            harbor.check_api(caller, Right::RegistryRead, None)?;
            let all = harbor.store.read(registries_json);
            let found = all.into_iter().find(|registry| registry["id"].as_u64() == id.parse().ok());
            found.map(ApiAnswer::json).ok_or_else(|| HarborError::not_found(format!("registry {id} not found")))
        }
        // System robots, or those of a project by `?q=Level=project,ProjectID=…`.
        ("GET", ["robots"]) => harbor.store.read(|tables| {
            let id = query.get("q").and_then(|q| q.strip_prefix("Level=project,ProjectID="));
            let project = id.and_then(|id| tables.projects.values().find(|project| project.id.to_string() == id));
            let project = project.map(|project| project.spec.name.as_str());
            harbor.check_api(caller, Right::RobotList, project)?;
            let robots = tables.robots.iter().filter(|robot| robot.project.as_deref() == project);
            let shown =
                robots.map(|robot| json!({"name": robot.name, "expires_at": robot.expires_at_seconds.unwrap_or(-1)}));
            Ok(page(shown.collect(), query, "robots"))
        }),
        (verb, ["quotas", rest @ ..]) => quota::answer(harbor, caller, verb, rest, query, body),
        ("GET", ["retentions", id]) => harbor.store.read(|tables| {
            let wanted = |project: &&Project| project.id.to_string() == *id;
            let project = tables.projects.values().find(wanted);
            harbor.check_api(caller, Right::RetentionRead, project.map(|project| project.spec.name.as_str()))?;
            let days = project.and_then(|project| project.spec.retention_days);
            let missing = || HarborError::not_found(format!("retention policy {id} not found"));
            let project = project.filter(|_| days.is_some()).ok_or_else(missing)?;
            Ok(ApiAnswer::json(retention_json(project.id, days.unwrap_or_default())))
        }),
        _ => Err(HarborError::not_found("path not found")),
    }
}

fn artifacts(
    harbor: &Harbor,
    caller: &Caller,
    method: &str,
    project: &str,
    repository: &str,
    rest: &[&str],
    query: &Query,
) -> Result<ApiAnswer, HarborError> {
    let with_tags = query.get("with_tag") != Some("false");
    match (method, rest) {
        ("GET", []) => {
            harbor.check_api(caller, Right::ArtifactList, Some(project))?;
            harbor.store.read(|tables| {
                let row = repository_row(tables, repository)?;
                let children: HashSet<&Digest> =
                    row.artifacts.values().flat_map(|artifact| &artifact.children).collect();
                let tagged: HashSet<&Digest> = row.tags.values().map(|tag| &tag.digest).collect();
                // Children of an index are listed only where they have a tag of their own.
                let listed = row
                    .artifacts
                    .iter()
                    .filter(|(digest, _)| !children.contains(digest) || tagged.contains(digest))
                    .map(|(digest, artifact)| {
                        artifact_json(harbor, tables, repository, row, digest, artifact, with_tags)
                    });
                Ok(page(listed.collect(), query, &format!("projects/{project}/repositories/-/artifacts")))
            })
        }
        ("GET", [reference]) => {
            harbor.check_api(caller, Right::ArtifactRead, Some(project))?;
            harbor.store.read(|tables| {
                let row = repository_row(tables, repository)?;
                let separator = if reference.starts_with("sha256:") { '@' } else { ':' };
                let missing =
                    || HarborError::not_found(format!("artifact {repository}{separator}{reference} not found"));
                let (digest, artifact) = tables.artifact(repository, reference).ok_or_else(missing)?;
                Ok(ApiAnswer::json(artifact_json(harbor, tables, repository, row, digest, artifact, with_tags)))
            })
        }
        ("GET", [reference, "tags"]) => {
            harbor.check_api(caller, Right::TagList, Some(project))?;
            harbor.store.read(|tables| {
                let row = repository_row(tables, repository)?;
                let missing = || HarborError::not_found(format!("artifact {repository}:{reference} not found"));
                let (digest, artifact) = tables.artifact(repository, reference).ok_or_else(missing)?;
                Ok(page(tags_json(harbor, row, digest, artifact), query, "tags"))
            })
        }
        ("POST", [_, "tags"]) => {
            harbor.check_api(caller, Right::ArtifactRead, Some(project))?;
            Err(HarborError::method_not_allowed("the operation isn't supported for a proxy cache project"))
        }
        _ => Err(HarborError::not_found("path not found")),
    }
}

fn repository_row<'a>(tables: &'a Tables, repository: &str) -> Result<&'a Repository, HarborError> {
    let missing = || HarborError::not_found(format!("repository {repository} not found"));
    tables.repositories.get(repository).ok_or_else(missing)
}

/// The name is encoded twice. Core's router goes by the path as it was sent, so a name that is encoded once does as
/// well there; what stands in front of core may decode it.
fn decode_repository(segment: &str) -> String {
    percent_decode(&percent_decode(segment))
}

pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(hex.unwrap_or(*byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn project_json(project: &Project) -> Value {
    let spec = &project.spec;
    let mut metadata = json!({"public": spec.public.to_string()});
    if spec.retention_days.is_some() {
        metadata["retention_id"] = json!(project.id.to_string());
    }
    if let Some(speed) = spec.speed_kb {
        metadata["proxy_speed_kb"] = json!(speed.to_string());
    }
    if let Some(filter) = &spec.repository_filter {
        metadata["proxy_cache_filter_pattern"] = json!(filter);
    }
    if let Some(limit) = spec.max_upstream_connections {
        metadata["max_upstream_conn"] = json!(limit.to_string());
    }
    let mut shown = json!({"project_id": project.id, "name": spec.name, "metadata": metadata});
    if spec.proxy {
        shown["registry_id"] = json!(UPSTREAM_REGISTRY_ID);
    }
    shown
}

fn registries_json(tables: &Tables) -> Vec<Value> {
    let mut upstream = registry_json(UPSTREAM_REGISTRY_ID, "upstream");
    upstream["status"] = json!(if tables.endpoint_unhealthy { "unhealthy" } else { "healthy" });
    let targets = tables.targets.iter().map(|(id, target)| registry_json(*id, &target.name));
    std::iter::once(upstream).chain(targets).collect()
}

fn retention_json(id: u64, days: u64) -> Value {
    json!({
        "id": id,
        "algorithm": "or",
        "rules": [{
            "id": 1,
            "disabled": false,
            "action": "retain",
            "template": "nDaysSinceLastPull",
            "params": {"nDaysSinceLastPull": days},
            "tag_selectors":
                [{"kind": "doublestar", "decoration": "matches", "pattern": "**", "extras": "{\"untagged\":true}"}],
            "scope_selectors":
                {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
        }],
        "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 0 * * *"}},
        "scope": {"level": "project", "ref": id},
    })
}

fn artifact_json(
    harbor: &Harbor,
    tables: &Tables,
    repository: &str,
    row: &Repository,
    digest: &Digest,
    artifact: &Artifact,
    with_tags: bool,
) -> Value {
    let stored = tables.manifests.get(digest);
    let parsed = stored.and_then(|stored| manifest::parse(&stored.media_type, &stored.bytes));
    let manifest_size = stored.map_or(0, |stored| stored.bytes.len() as u64);
    let (references, media_type, size) = match parsed {
        Some(Manifest::Index { children }) => {
            let shown = children.iter().map(|child| {
                let platform = &child.platform;
                json!({
                    "parent_id": artifact.id,
                    "child_id": row.artifacts.get(&*child.digest).map(|known| known.id),
                    "child_digest": child.digest,
                    "platform": {
                        "architecture": platform.architecture,
                        "os": platform.os,
                        "variant": platform.variant,
                    },
                    "annotations": child.annotations,
                })
            });
            (json!(shown.collect::<Vec<_>>()), stored.map(|stored| stored.media_type.clone()), manifest_size)
        }
        Some(Manifest::Image { config, layers }) => {
            let blobs: u64 = layers.iter().map(|layer| layer.size).sum();
            (Value::Null, Some(config.media_type), manifest_size + config.size + blobs)
        }
        None => (Value::Null, None, manifest_size),
    };
    let tags = match tags_json(harbor, row, digest, artifact) {
        tags if with_tags && !tags.is_empty() => json!(tags),
        _ => Value::Null,
    };
    let project = repository.split('/').next().unwrap_or_default();
    json!({
        "id": artifact.id,
        "type": "IMAGE",
        "digest": digest,
        "media_type": media_type,
        "manifest_media_type": stored.map(|stored| &stored.media_type),
        "size": size,
        "project_id": tables.projects.get(project).map(|project| project.id),
        "repository_id": row.id,
        "repository_name": repository,
        "push_time": harbor.clock.timestamp(artifact.pushed),
        "pull_time": harbor.clock.timestamp(artifact.pulled),
        "references": references,
        "tags": tags,
    })
}

fn tags_json(harbor: &Harbor, row: &Repository, digest: &Digest, artifact: &Artifact) -> Vec<Value> {
    let own = row.tags.iter().filter(|(_, tag)| tag.digest == *digest);
    own.map(|(name, tag)| {
        json!({
            "id": tag.id,
            "name": name,
            "artifact_id": artifact.id,
            "repository_id": row.id,
            "push_time": harbor.clock.timestamp(tag.pushed),
            "pull_time": harbor.clock.timestamp(tag.pulled),
            "immutable": false,
        })
    })
    .collect()
}
