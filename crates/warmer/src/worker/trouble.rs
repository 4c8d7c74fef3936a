//! What a failed request means: for the image, and for its whole project.

use harbor_warmer_protocol::HarborImage;

use super::Workshop;
use crate::clock::Timestamp;
use crate::harbor::{AnswerClass, HarborError};
use crate::project::Bearing;

/// How a failed request counts for the image that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// Not at all: the project is paused, and everything waits.
    Held,
    /// It waits longer and longer, and is never given up for it: Harbor is in trouble, not the image.
    Throttled,
    /// As a failure: for long enough, and the image is a dead letter.
    Failure,
}

/// One exhaustive judgement of every class of answer.
pub(super) fn judge(error: &HarborError) -> (Counts, Option<Bearing>) {
    match error.class() {
        // Mended by a person, for the whole project.
        AnswerClass::Unauthorized | AnswerClass::Forbidden | AnswerClass::UpstreamRefused => {
            (Counts::Held, Some(Bearing::Refused))
        }
        AnswerClass::Unreachable => (Counts::Throttled, Some(Bearing::Silent)),
        AnswerClass::Timeout => (Counts::Throttled, None),
        AnswerClass::RateLimited => (Counts::Throttled, Some(Bearing::Limited)),
        // A repository that Docker Hub refuses looks like an upstream that is down. Alone it is given up some day;
        // with several others it is the upstream, and the project is paused.
        AnswerClass::UpstreamSilent => (Counts::Failure, Some(Bearing::Silent)),
        AnswerClass::ServerError => match error {
            // A gateway in front of a Harbor that is down or restarts.
            HarborError::ServerError { status: 502..=504, .. } => (Counts::Throttled, Some(Bearing::Silent)),
            _ => (Counts::Failure, None),
        },
        AnswerClass::MissingTag
        | AnswerClass::MissingBlob
        | AnswerClass::NotFoundAmbiguous
        | AnswerClass::PolicyRefused
        | AnswerClass::Invalid => (Counts::Failure, None),
    }
}

impl Workshop {
    /// Tells the project of a failed request, and how it counts for the image.
    pub(super) fn take_note(&self, place: &HarborImage, error: &HarborError, now: Timestamp) -> Counts {
        let (counts, bearing) = judge(error);
        if let Some(bearing) = bearing {
            self.projects.observe(place, bearing, &error.to_string(), now);
        }
        counts
    }

    /// Tells the project that a blob arrived in its storage.
    pub(super) fn stored(&self, place: &HarborImage, now: Timestamp) {
        self.projects.observe(place, Bearing::Stored, "", now);
    }

    /// Tells the project that a request was served.
    pub(super) fn served(&self, place: &HarborImage, now: Timestamp) {
        self.projects.observe(place, Bearing::Served, "", now);
    }
}
