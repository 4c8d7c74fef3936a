//! The images in the queue: list, look, find, requeue.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::Deserialize;

use crate::admin::AdminState;
use crate::admin::error::ApiError;
use crate::admin::reference;
use crate::clock;
use harbor_warmer_core::view::{ImageList, ImageView, Phase};
use harbor_warmer_store::ListFilter;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    phase: Option<Phase>,
    query: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindQuery {
    image: String,
}

pub(super) async fn list(
    State(state): State<AdminState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ImageList>, ApiError> {
    let Query(ListQuery { phase, query, after, limit }) = query?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let filter = ListFilter { phase, query: query.filter(|text| !text.is_empty()), after, limit };
    Ok(Json(state.store.list(filter, clock::now()).await?))
}

pub(super) async fn view(State(state): State<AdminState>, Path(id): Path<String>) -> Result<Json<ImageView>, ApiError> {
    state.store.view(&id, clock::now()).await?.map(Json).ok_or_else(|| unknown(&id))
}

pub(super) async fn find(
    State(state): State<AdminState>,
    query: Result<Query<FindQuery>, QueryRejection>,
) -> Result<Json<ImageView>, ApiError> {
    let Query(FindQuery { image }) = query?;
    let (place, reference) = reference::parse(&image).map_err(ApiError::bad_request)?;
    let found = state.store.find(&place, &reference, clock::now()).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(format!("nobody has asked for {image}")))
}

pub(super) async fn requeue(State(state): State<AdminState>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    if state.store.requeue(&id, clock::now()).await? {
        tracing::info!(image.id = %id, "an image is requeued by hand");
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(unknown(&id))
}

fn unknown(id: &str) -> ApiError {
    let id: String = id.chars().take(64).collect();
    ApiError::not_found(format!("there is no image with the id `{id}`; /api/v1/images lists them"))
}
