//! Hand-offs by hand: what `harbor-warmer warm` and `plan` send.

use axum::Json;
use axum::extract::{Request, State};
use futures_util::future;
use harbor_warmer_protocol::ImageState;

use crate::admin::AdminState;
use crate::admin::body::read_json;
use crate::admin::error::ApiError;
use crate::clock;
use crate::hand_off_by_rule;
use crate::intake::IntakeResult;
use harbor_warmer_core::view::plan::{PlanRequest, PlanResponse};
use harbor_warmer_core::view::{WarmEntry, WarmRequest, WarmResponse};

/// What status and metrics call hand-offs by hand.
const COMMAND_LINE: &str = "command-line";

/// The images of one request at most.
const MAX_IMAGES: usize = 1000;

pub(super) async fn warm(State(state): State<AdminState>, request: Request) -> Result<Json<WarmResponse>, ApiError> {
    let WarmRequest { images } = read_json(request).await?;
    bounded(&images)?;
    // All at once, so that they share the queue's syncs of the disk.
    let images = future::join_all(images.into_iter().map(|image| warm_one(&state, image))).await;
    Ok(Json(WarmResponse { images }))
}

pub(super) async fn plan(State(state): State<AdminState>, request: Request) -> Result<Json<PlanResponse>, ApiError> {
    let request: PlanRequest = read_json(request).await?;
    bounded(&request.images)?;
    Ok(Json(state.planner.plan(&request).await))
}

async fn warm_one(state: &AdminState, image: String) -> WarmEntry {
    let refused = |image, reason| WarmEntry { image, id: None, state: ImageState::Refused, reason: Some(reason) };
    let hand_off = match hand_off_by_rule::hand_off(&state.config.rules, &state.config.platforms, &image) {
        Ok(hand_off) => hand_off,
        Err(reason) => return refused(image, reason),
    };
    match state.intake.take(hand_off, COMMAND_LINE, None, clock::now()).await {
        Ok(IntakeResult::Taken(handed_off)) => {
            WarmEntry { image, id: Some(handed_off.id), state: handed_off.state, reason: handed_off.reason }
        }
        Ok(IntakeResult::Refused(reason)) => refused(image, reason),
        Ok(IntakeResult::Unknown) => refused(image, "it was not taken in".to_owned()),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a hand-off by hand can't be written down");
            WarmEntry { image, id: None, state: ImageState::Failed, reason: Some(error.to_string()) }
        }
    }
}

fn bounded(images: &[String]) -> Result<(), ApiError> {
    if images.len() > MAX_IMAGES {
        return Err(ApiError::bad_request(format!(
            "one request may name {MAX_IMAGES} images; send the rest in another"
        )));
    }
    Ok(())
}
