//! `/api/v2.0/replication`: policies, executions and their tasks.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harbor::Harbor;
use crate::harbor::access::Caller;
use crate::harbor::api::answer::{ApiAnswer, Query, page, registry_json};
use crate::harbor::error::HarborError;
use crate::harbor::replication::records::{Execution, Policy, PolicyBody, Task, TaskStatus};
use crate::harbor::store::Tables;
use crate::spec::Right;

#[derive(Deserialize)]
struct StartBody {
    policy_id: u64,
}

/// Answers what stands behind `/replication/`.
pub(super) fn answer(
    harbor: &Arc<Harbor>,
    caller: &Caller,
    method: &Method,
    path: &[&str],
    query: &Query,
    body: &[u8],
) -> Result<ApiAnswer, HarborError> {
    let allow = |right| harbor.check_api(caller, right, None);
    match (method.as_str(), path) {
        ("GET", ["policies"]) => {
            allow(Right::PolicyList)?;
            let wanted = query.get("name").unwrap_or_default();
            Ok(harbor.store.read(|tables| {
                let policies = tables.policies.values().filter(|policy| policy.body.name.contains(wanted));
                page(
                    policies.map(|policy| policy_json(harbor, tables, policy)).collect(),
                    query,
                    "replication/policies",
                )
            }))
        }
        ("POST", ["policies"]) => {
            allow(Right::PolicyCreate)?;
            let body = parse_policy(harbor, body)?;
            let now = harbor.clock.now();
            let id = harbor.store.write(|tables| {
                if tables.policies.values().any(|policy| policy.body.name == body.name) {
                    return Err(HarborError::conflict(format!("replication policy {} already exists", body.name)));
                }
                let id = tables.next_id();
                tables.policies.insert(id, Policy { id, body, created: now, updated: now });
                Ok(id)
            })?;
            Ok(ApiAnswer::created(format!("/api/v2.0/replication/policies/{id}")))
        }
        ("GET", ["policies", id]) => {
            allow(Right::PolicyRead)?;
            harbor.store.read(|tables| {
                let policy = tables.policies.get(&number(id)?).ok_or_else(|| policy_not_found(id))?;
                Ok(ApiAnswer::json(policy_json(harbor, tables, policy)))
            })
        }
        ("PUT", ["policies", id]) => {
            allow(Right::PolicyUpdate)?;
            let body = parse_policy(harbor, body)?;
            let now = harbor.clock.now();
            harbor.store.write(|tables| {
                let policy = tables.policies.get_mut(&number(id)?).ok_or_else(|| policy_not_found(id))?;
                policy.body = body;
                policy.updated = now;
                Ok(ApiAnswer::empty(StatusCode::OK))
            })
        }
        ("DELETE", ["policies", id]) => {
            allow(Right::PolicyDelete)?;
            harbor.store.write(|tables| {
                let id = number(id)?;
                tables.policies.remove(&id).ok_or_else(|| policy_not_found(&id.to_string()))?;
                // Its history goes with it.
                tables.executions.retain(|_, execution| execution.policy_id != id);
                Ok(ApiAnswer::empty(StatusCode::OK))
            })
        }
        ("POST", ["executions"]) => {
            allow(Right::ReplicationCreate)?;
            let start: StartBody =
                serde_json::from_slice(body).map_err(|error| HarborError::bad_request(error.to_string()))?;
            let enabled = harbor
                .store
                .read(|tables| tables.policies.get(&start.policy_id).map(|policy| policy.body.enabled))
                .ok_or_else(|| policy_not_found(&start.policy_id.to_string()))?;
            if !enabled {
                return Err(HarborError::precondition_failed(format!("the policy {} is disabled", start.policy_id)));
            }
            let id = harbor
                .start_replication(start.policy_id)
                .ok_or_else(|| policy_not_found(&start.policy_id.to_string()))?;
            Ok(ApiAnswer::created(format!("/api/v2.0/replication/executions/{id}")))
        }
        ("GET", ["executions"]) => {
            allow(Right::ReplicationList)?;
            let policy = query.get("policy_id").map(number).transpose()?;
            let lag = harbor.timers.execution_status_lag;
            Ok(harbor.store.read(|tables| {
                let wanted =
                    tables.executions.values().rev().filter(|it| policy.is_none_or(|policy| it.policy_id == policy));
                page(wanted.map(|it| execution_json(harbor, it, lag)).collect(), query, "replication/executions")
            }))
        }
        ("GET", ["executions", id]) => {
            allow(Right::ReplicationRead)?;
            let lag = harbor.timers.execution_status_lag;
            with_execution(harbor, id, |it| Ok(ApiAnswer::json(execution_json(harbor, it, lag))))
        }
        ("GET", ["executions", id, "tasks"]) => {
            allow(Right::ReplicationList)?;
            with_execution(harbor, id, |it| {
                let tasks = it.tasks.iter().map(|task| task_json(harbor, it.id, task)).collect();
                Ok(page(tasks, query, &format!("replication/executions/{id}/tasks")))
            })
        }
        ("GET", ["executions", id, "tasks", task, "log"]) => {
            allow(Right::ReplicationRead)?;
            let wanted = number(task)?;
            with_execution(harbor, id, |it| {
                let task = it.tasks.iter().find(|known| known.id == wanted);
                let task = task.ok_or_else(|| HarborError::not_found(format!("task {wanted} not found")))?;
                Ok(ApiAnswer::text(task.log.clone()))
            })
        }
        _ => Err(HarborError::not_found("path not found")),
    }
}

fn with_execution(
    harbor: &Harbor,
    id: &str,
    look: impl FnOnce(&Execution) -> Result<ApiAnswer, HarborError>,
) -> Result<ApiAnswer, HarborError> {
    let wanted = number(id)?;
    harbor.store.read(|tables| {
        let missing = || HarborError::not_found(format!("replication execution {wanted} not found"));
        look(tables.executions.get(&wanted).ok_or_else(missing)?)
    })
}

fn number(text: &str) -> Result<u64, HarborError> {
    text.parse().map_err(|_| HarborError::bad_request(format!("{text} is not a number")))
}

fn policy_not_found(id: &str) -> HarborError {
    HarborError::not_found(format!("replication policy {id} not found"))
}

fn parse_policy(harbor: &Harbor, body: &[u8]) -> Result<PolicyBody, HarborError> {
    let body: PolicyBody = serde_json::from_slice(body).map_err(|error| HarborError::bad_request(error.to_string()))?;
    if body.name.is_empty() {
        return Err(HarborError::bad_request("empty name"));
    }
    let target = body.dest_registry.as_ref().map(|registry| registry.id);
    if !harbor.store.read(|tables| target.is_some_and(|target| tables.targets.contains_key(&target))) {
        return Err(HarborError::bad_request("either src_registry or dest_registry must be a known registry"));
    }
    if body.single_active_replication && body.trigger() == "event_based" {
        return Err(HarborError::bad_request("single active replication is not allowed for event based policies"));
    }
    Ok(body)
}

fn policy_json(harbor: &Harbor, tables: &Tables, policy: &Policy) -> Value {
    let mut shown = json!(policy.body);
    shown["id"] = json!(policy.id);
    shown["creation_time"] = json!(harbor.clock.timestamp(policy.created));
    shown["update_time"] = json!(harbor.clock.timestamp(policy.updated));
    shown["deletion"] = json!(policy.body.replicate_deletion);
    shown["dest_namespace_replace_count"] = json!(policy.body.dest_namespace_replace_count.unwrap_or(-1));
    shown["src_registry"] = json!({"id": 0, "name": "Local", "type": "harbor", "url": "http://core:8080"});
    let target = policy.body.dest_registry.as_ref().and_then(|registry| tables.targets.get_key_value(&registry.id));
    shown["dest_registry"] = target.map_or(Value::Null, |(id, target)| registry_json(*id, &target.name));
    shown
}

/// The status lags: an execution is shown as running half a minute after its tasks are done. One without tasks is
/// marked as done at once.
fn execution_json(harbor: &Harbor, execution: &Execution, lag: Duration) -> Value {
    let count = |status| execution.tasks.iter().filter(|task| task.status == status).count();
    let shown_from = execution.ended.map(|ended| if execution.tasks.is_empty() { ended } else { ended + lag });
    let status = match shown_from {
        Some(from) if from <= harbor.clock.now() => {
            if count(TaskStatus::Failed) == 0 && !execution.failed {
                "Succeed"
            } else {
                "Failed"
            }
        }
        Some(_) | None => "InProgress",
    };
    let shown_end = execution.ended.filter(|_| status != "InProgress");
    json!({
        "id": execution.id,
        "policy_id": execution.policy_id,
        "status": status,
        "trigger": execution.trigger,
        "start_time": harbor.clock.timestamp(execution.started),
        "end_time": shown_end.map_or_else(no_time, |at| harbor.clock.timestamp(at)),
        "status_text": execution.status_text,
        "total": execution.tasks.len(),
        "failed": count(TaskStatus::Failed),
        "succeed": count(TaskStatus::Succeed),
        "in_progress": count(TaskStatus::InProgress),
        "stopped": 0,
    })
}

fn task_json(harbor: &Harbor, execution: u64, task: &Task) -> Value {
    json!({
        "id": task.id,
        "execution_id": execution,
        "status": task.status.as_str(),
        "job_id": format!("job-{}", task.id),
        "operation": "copy",
        "resource_type": "image",
        "src_resource": task.source,
        "dst_resource": task.destination,
        "start_time": harbor.clock.timestamp(task.started),
        "end_time": task.ended.map_or_else(no_time, |at| harbor.clock.timestamp(at)),
    })
}

/// How Go prints a time that isn't set.
fn no_time() -> String {
    "0001-01-01T00:00:00.000Z".to_owned()
}
