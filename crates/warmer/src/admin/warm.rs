//! Hand-offs by hand: what `harbor-warmer warm` and `plan` send.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use futures_util::future;
use harbor_warmer_protocol::ImageState;
use http::StatusCode;

use crate::admin::AdminState;
use crate::admin::body::read_json;
use crate::admin::error::{ApiError, printable};
use crate::clock;
use crate::hand_off_by_rule;
use crate::intake::IntakeResult;
use harbor_warmer_core::view::plan::{PlanRequest, PlanResponse};
use harbor_warmer_core::view::{WarmEntry, WarmRequest, WarmResponse};

/// What status and metrics call hand-offs by hand.
const COMMAND_LINE: &str = "command-line";

/// A plan is given up after this: the command line waits for it a little longer.
const PLAN_WITHIN: Duration = Duration::from_secs(570);

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
    let Ok(_place) = state.planning.try_acquire() else {
        let sentence = "others are being planned; try again when they are done";
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, sentence));
    };
    match tokio::time::timeout(PLAN_WITHIN, state.planner.plan(&request)).await {
        Ok(mut planned) => {
            for entry in &mut planned.images {
                entry.reason = entry.reason.as_deref().map(printable);
            }
            Ok(Json(planned))
        }
        Err(_) => Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("Harbor did not answer for all of them within {} s; name fewer images", PLAN_WITHIN.as_secs()),
        )),
    }
}

async fn warm_one(state: &AdminState, image: String) -> WarmEntry {
    let refused = |image, reason: String| {
        let reason = Some(printable(&reason));
        WarmEntry { image, id: None, state: ImageState::Refused, reason }
    };
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
