//! Storage quotas as the API shows and sets them. A quota has the id of its project here.

use http::StatusCode;
use serde_json::{Value, json};

use crate::harbor::Harbor;
use crate::harbor::access::Caller;
use crate::harbor::api::answer::{ApiAnswer, Query, page};
use crate::harbor::error::HarborError;
use crate::harbor::store::{Project, Tables};

/// Answers what stands behind `/api/v2.0/quotas`. No robot may ask for it.
pub(super) fn answer(
    harbor: &Harbor,
    caller: &Caller,
    method: &str,
    path: &[&str],
    query: &Query,
    body: &[u8],
) -> Result<ApiAnswer, HarborError> {
    harbor.check_administrator(caller)?;
    match (method, path) {
        ("GET", []) => Ok(harbor.store.read(|tables| {
            let of = query.get("reference_id");
            let chosen = tables.projects.values().filter(|project| of.is_none_or(|id| project.id.to_string() == id));
            page(chosen.map(|project| quota_json(tables, project)).collect(), query, "quotas")
        })),
        ("PUT", [id]) => {
            let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
            let Some(storage) = wanted["hard"]["storage"].as_i64() else {
                return Err(HarborError::bad_request("the storage quota is missing"));
            };
            harbor.store.write(|tables| {
                let missing = || HarborError::not_found(format!("quota {id} not found"));
                let mut projects = tables.projects.values_mut();
                let project = projects.find(|project| project.id.to_string() == *id).ok_or_else(missing)?;
                // -1 is no limit.
                project.spec.quota_bytes = u64::try_from(storage).ok();
                Ok(ApiAnswer::empty(StatusCode::OK))
            })
        }
        _ => Err(HarborError::not_found("path not found")),
    }
}

fn quota_json(tables: &Tables, project: &Project) -> Value {
    let name = &project.spec.name;
    let storage = project.spec.quota_bytes.map_or(json!(-1), |bytes| json!(bytes));
    json!({
        "id": project.id,
        "ref": {"id": project.id, "name": name},
        "hard": {"storage": storage},
        "used": {"storage": tables.used_bytes(name)},
    })
}
