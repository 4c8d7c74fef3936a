//! What a failed request means: for the image, and for its whole project.

use harbor_warmer_protocol::HarborImage;

use super::Workshop;
use harbor_warmer_core::hindrance::{Failure, Hindrance};
use harbor_warmer_core::project::{Bearing, Cause};
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_harbor::{AnswerClass, HarborError, Invalid, Refusal};

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
            (Counts::Held, Some(Bearing::Refused(failure(error))))
        }
        AnswerClass::Unreachable => (Counts::Throttled, Some(Bearing::Silent(failure(error)))),
        AnswerClass::Timeout => (Counts::Throttled, None),
        AnswerClass::RateLimited => (Counts::Throttled, Some(Bearing::Limited(failure(error)))),
        // A repository that Docker Hub refuses looks like an upstream that is down. Alone it is given up some day;
        // with several others it is the upstream, and the project is paused.
        AnswerClass::UpstreamSilent => (Counts::Failure, Some(Bearing::Silent(failure(error)))),
        AnswerClass::ServerError => match error {
            // A gateway in front of a Harbor that is down or restarts.
            HarborError::ServerError { status: 502..=504, .. } => {
                (Counts::Throttled, Some(Bearing::Silent(failure(error))))
            }
            _ => (Counts::Failure, None),
        },
        AnswerClass::MissingTag
        | AnswerClass::MissingBlob
        | AnswerClass::NotFoundAmbiguous
        | AnswerClass::PolicyRefused
        | AnswerClass::Invalid => (Counts::Failure, None),
    }
}

/// What a failed request is, in a sentence and as something to be mended.
pub(super) fn failure(error: &HarborError) -> Failure {
    Failure::new(hindrance(error), error.to_string())
}

fn hindrance(error: &HarborError) -> Hindrance {
    match error {
        HarborError::MissingTag | HarborError::NotFoundAmbiguous => Hindrance::MissingManifest,
        HarborError::MissingBlob => Hindrance::MissingBlob,
        HarborError::UpstreamSilent => Hindrance::UpstreamSilent,
        HarborError::Unauthorized(refusal) => match refusal {
            Refusal::CredentialsOrRight => Hindrance::Credentials,
            Refusal::NoSuchProject | Refusal::NoSuchProjectOrDatabase => Hindrance::NoSuchProject,
            Refusal::Database => Hindrance::ServerError,
            Refusal::UnknownPath => Hindrance::UnknownPath,
            Refusal::NotPublic => Hindrance::NotPublic,
            Refusal::Token => Hindrance::NoToken,
            Refusal::Unreadable(_) => Hindrance::CredentialsUnreadable,
        },
        HarborError::Forbidden(_) => Hindrance::MissingRight,
        HarborError::UpstreamRefused(_) => Hindrance::UpstreamRefuses,
        HarborError::RateLimited { .. } => Hindrance::RateLimited,
        HarborError::ServerError { .. } => Hindrance::ServerError,
        HarborError::Timeout { .. } => Hindrance::Timeout,
        HarborError::Unreachable { .. } => Hindrance::Unreachable,
        HarborError::PolicyRefused { .. } => Hindrance::PolicyRefuses,
        HarborError::Invalid(invalid) => match invalid {
            Invalid::WrongDigest { .. } | Invalid::Truncated { .. } | Invalid::TooLarge { .. } => {
                Hindrance::WrongContent
            }
            Invalid::NoDigest | Invalid::NotTheApi | Invalid::NotHarbor(_) => Hindrance::NotHarbor,
            Invalid::Renamed { .. } => Hindrance::Renamed,
            Invalid::Redirected { .. } => Hindrance::Redirected,
            Invalid::Status { .. } => Hindrance::UnexpectedAnswer,
        },
    }
}

impl Workshop {
    /// Tells the project of a failed request, and how it counts for the image.
    pub(super) fn take_note(&self, place: &HarborImage, error: &HarborError, now: Timestamp) -> Counts {
        let (counts, bearing) = judge(error);
        let Some(bearing) = bearing else { return counts };
        let is_silence = matches!(bearing, Bearing::Silent(_));
        self.projects.observe(place, bearing, now);
        // Once it is no single repository that meets silence, none of them is at fault.
        if is_silence && self.projects.is_paused_for(place, Cause::Silent) { Counts::Held } else { counts }
    }

    /// Tells the project that a blob arrived in its storage.
    pub(super) fn stored(&self, place: &HarborImage, now: Timestamp) {
        self.projects.observe(place, Bearing::Stored, now);
    }

    /// Tells the project that a request was served.
    pub(super) fn served(&self, place: &HarborImage, now: Timestamp) {
        self.projects.observe(place, Bearing::Served, now);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::robot(HarborError::Unauthorized(Refusal::CredentialsOrRight), Hindrance::Credentials)]
    #[case::no_project(HarborError::Unauthorized(Refusal::NoSuchProject), Hindrance::NoSuchProject)]
    #[case::private(HarborError::Unauthorized(Refusal::NotPublic), Hindrance::NotPublic)]
    #[case::path(HarborError::Unauthorized(Refusal::UnknownPath), Hindrance::UnknownPath)]
    #[case::token(HarborError::Unauthorized(Refusal::Token), Hindrance::NoToken)]
    #[case::file(HarborError::Unauthorized(Refusal::Unreadable("gone".to_owned())), Hindrance::CredentialsUnreadable)]
    #[case::right(HarborError::Forbidden("pull"), Hindrance::MissingRight)]
    #[case::upstream_refuses(HarborError::UpstreamRefused(401), Hindrance::UpstreamRefuses)]
    #[case::upstream_silent(HarborError::UpstreamSilent, Hindrance::UpstreamSilent)]
    #[case::rate_limit(HarborError::RateLimited { retry_after: None }, Hindrance::RateLimited)]
    #[case::error(HarborError::ServerError { status: 500, said: None }, Hindrance::ServerError)]
    #[case::policy(HarborError::PolicyRefused { said: None }, Hindrance::PolicyRefuses)]
    #[case::blob(HarborError::MissingBlob, Hindrance::MissingBlob)]
    #[case::manifest(HarborError::MissingTag, Hindrance::MissingManifest)]
    #[case::cut(HarborError::Invalid(Invalid::Truncated { read: 1, expected: 2 }), Hindrance::WrongContent)]
    #[case::ingress(HarborError::Invalid(Invalid::NotHarbor(404)), Hindrance::NotHarbor)]
    #[case::library(HarborError::Invalid(Invalid::Renamed { to: "hub/library/x".to_owned() }), Hindrance::Renamed)]
    #[case::moved(HarborError::Invalid(Invalid::Redirected { to: "https://b".to_owned() }), Hindrance::Redirected)]
    #[case::teapot(HarborError::Invalid(Invalid::Status { status: 418, said: None }), Hindrance::UnexpectedAnswer)]
    fn a_failed_request_has_a_cure_of_its_kind(#[case] error: HarborError, #[case] expected: Hindrance) {
        let failure = failure(&error);
        assert_eq!((failure.hindrance, failure.error), (expected, error.to_string()));
    }
}
