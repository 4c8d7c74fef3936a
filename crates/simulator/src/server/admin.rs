//! `/_simulator/`: what a person or another process does to the simulator from outside. Without credentials, since
//! it listens on loopback and is nobody's production.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Body, Site, fixed};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::image::ImageSpec;
use crate::request_log::Entry;
use crate::upstream::UpstreamFault;

/// The answer to a command that restarts Harbor leaves before its connection ends.
const RESTART_DELAY: Duration = Duration::from_millis(50);

/// What can be posted to `/_simulator/faults`.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Command {
    Request { fault: Fault },
    Upstream { fault: UpstreamFault },
    UpstreamDown { down: bool },
    UpstreamRate { bytes_per_second: Option<u64> },
    UpstreamLatency { milliseconds: u64 },
    Endpoint { healthy: bool },
    ReadOnly { read_only: bool },
    Quota { project: String, bytes: Option<u64> },
    RobotExpired { name: String, expired: bool },
    MoveTag { repository: String, tag: String, digest: String },
    RemoveTag { repository: String, tag: String },
    RemoveManifest { repository: String, digest: String },
    RemoveBlob { repository: String, digest: String },
    NoDigests { without: bool },
    DeleteRedisKey { key: String },
    Advance { seconds: u64 },
    Retention { project: String },
    GarbageCollection { delete_untagged: bool },
    Restart,
    Install { version: String },
    TruncateStoredBlob { digest: String, bytes: u64 },
}

pub(super) fn answer(site: &Arc<Site>, method: &Method, path: &[&str], body: &Bytes) -> Response<Body> {
    let outcome = match (method.as_str(), path) {
        ("GET", ["state"]) => Ok(state(site)),
        ("GET", ["requests"]) => Ok(json!(site.log.records())),
        ("GET", ["counts"]) => Ok(json!(site.log.counts())),
        ("DELETE", ["requests"]) => {
            site.log.clear();
            Ok(json!({}))
        }
        ("POST", ["faults"]) => parse::<Command>(body).and_then(|command| carry_out(site, command)),
        ("DELETE", ["faults"]) => {
            site.faults.clear();
            Ok(json!({}))
        }
        ("POST", ["images"]) => parse::<ImageSpec>(body).and_then(|spec| {
            if spec.repository.is_empty() || spec.tag.is_empty() || spec.platforms.is_empty() {
                return Err("an image needs a repository, a tag and a platform".to_owned());
            }
            Ok(json!(site.harbor.upstream.push(spec)))
        }),
        _ => Err("no such command".to_owned()),
    };
    let (status, shown) = match outcome {
        Ok(shown) => (StatusCode::OK, shown),
        Err(message) => (StatusCode::BAD_REQUEST, json!({ "error": message })),
    };
    fixed(status, Some("application/json"), format!("{shown}\n").into(), &Entry::unlogged())
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn carry_out(site: &Arc<Site>, command: Command) -> Result<Value, String> {
    let harbor = &site.harbor;
    let upstream = &harbor.upstream;
    match command {
        Command::Request { fault } => {
            site.faults.inject(fault);
        }
        Command::Upstream { fault } => upstream.fail_next(fault),
        Command::UpstreamDown { down } => upstream.set_down(down),
        Command::UpstreamRate { bytes_per_second } => upstream.rate(bytes_per_second),
        Command::UpstreamLatency { milliseconds } => upstream.latency(Duration::from_millis(milliseconds)),
        Command::Endpoint { healthy } => harbor.store.write(|tables| tables.endpoint_unhealthy = !healthy),
        Command::ReadOnly { read_only } => harbor.store.write(|tables| tables.read_only = read_only),
        Command::Quota { project, bytes } => harbor.store.write(|tables| {
            let known = tables.projects.get_mut(&project).ok_or_else(|| format!("no project {project}"))?;
            known.spec.quota_bytes = bytes;
            Ok::<_, String>(())
        })?,
        Command::RobotExpired { name, expired } => harbor.store.write(|tables| {
            let robot = tables.robots.iter_mut().find(|robot| robot.name == name);
            robot.ok_or_else(|| format!("no robot {name}"))?.expired = expired;
            Ok::<_, String>(())
        })?,
        Command::MoveTag { repository, tag, digest } => {
            let digest = Digest::parse(&digest).ok_or_else(|| format!("{digest} is not a digest"))?;
            upstream.move_tag(&repository, &tag, &digest);
        }
        Command::RemoveTag { repository, tag } => upstream.remove_tag(&repository, &tag),
        Command::RemoveManifest { repository, digest } => upstream.remove_manifest(&repository, &digest),
        Command::RemoveBlob { repository, digest } => upstream.remove_blob(&repository, &digest),
        Command::NoDigests { without } => upstream.send_no_digests(without),
        Command::DeleteRedisKey { key } => {
            let found = harbor.store.write(|tables| tables.redis.remove(&key).is_some());
            return Ok(json!({ "deleted": found }));
        }
        Command::Advance { seconds } => harbor.clock.add(Duration::from_secs(seconds)),
        Command::Retention { project } => return Ok(json!({ "deleted": harbor.run_retention(&project) })),
        Command::GarbageCollection { delete_untagged } => {
            return Ok(json!({ "deleted": harbor.collect_garbage(delete_untagged) }));
        }
        Command::Install { version } => {
            let version = version.parse()?;
            harbor.store.write(|tables| tables.version = version);
        }
        Command::TruncateStoredBlob { digest, bytes } => {
            return Ok(json!({ "found": harbor.truncate_stored_blob(&digest, bytes) }));
        }
        Command::Restart => {
            let harbor = Arc::clone(harbor);
            tokio::spawn(async move {
                tokio::time::sleep(RESTART_DELAY).await;
                harbor.restart_core().await;
            });
        }
    }
    Ok(json!({}))
}

fn state(site: &Site) -> Value {
    let harbor = &site.harbor;
    let now = harbor.clock.now();
    let stats = harbor.upstream.stats();
    harbor.store.read(|tables| {
        let repositories = tables.repositories.iter().map(|(name, row)| {
            let artifacts = row.artifacts.iter().map(|(digest, artifact)| {
                let shown = json!({
                    "recordedAtSeconds": artifact.pushed.as_secs_f64(),
                    "pulledAtSeconds": artifact.pulled.as_secs_f64(),
                    "children": artifact.children,
                });
                (digest.to_string(), shown)
            });
            let tags = row.tags.iter().map(|(name, tag)| {
                (name.clone(), json!({"digest": tag.digest, "recordedAtSeconds": tag.pushed.as_secs_f64()}))
            });
            let artifacts: serde_json::Map<_, _> = artifacts.collect();
            let tags: serde_json::Map<_, _> = tags.collect();
            (name.clone(), json!({"artifacts": artifacts, "tags": tags}))
        });
        let blobs = tables.links.iter().map(|(name, links)| {
            let links = links.iter().map(|(digest, link)| {
                (digest.to_string(), json!({"sizeBytes": link.size, "localAtSeconds": link.at.as_secs_f64()}))
            });
            (name.clone(), Value::Object(links.collect()))
        });
        json!({
            "nowSeconds": now.as_secs_f64(),
            "timeScale": site.time_scale,
            "projects": tables.projects.keys().collect::<Vec<_>>(),
            "repositories": repositories.collect::<serde_json::Map<_, _>>(),
            "blobs": blobs.collect::<serde_json::Map<_, _>>(),
            "redisKeys": tables.redis.keys().collect::<std::collections::BTreeSet<_>>(),
            "wholeCopies": tables.transfers,
            "targets": tables.targets.values().collect::<Vec<_>>(),
            "upstream": stats,
        })
    })
}
