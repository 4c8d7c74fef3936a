//! What a failed request means: for the image, and for its whole project.

use harbor_warmer_protocol::HarborImage;

use super::Workshop;
use harbor_warmer_core::problem::{Failure, Problem};
use harbor_warmer_core::project::{Cause, Effect};
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
pub(super) fn judge(error: &HarborError) -> (Counts, Option<Effect>) {
    match error.class() {
        // Mended by a person, for the whole project.
        AnswerClass::Unauthorized | AnswerClass::Forbidden | AnswerClass::UpstreamRefused => {
            (Counts::Held, Some(Effect::Refused(failure(error))))
        }
        AnswerClass::Unreachable => (Counts::Throttled, Some(Effect::Silent(failure(error)))),
        AnswerClass::Timeout => (Counts::Throttled, None),
        AnswerClass::RateLimited => (Counts::Throttled, Some(Effect::Limited(failure(error)))),
        // A repository that Docker Hub refuses looks like an upstream that is down. Alone it is given up some day;
        // with several others it is the upstream, and the project is paused.
        AnswerClass::UpstreamSilent => (Counts::Failure, Some(Effect::Silent(failure(error)))),
        AnswerClass::ServerError => match error {
            // A gateway in front of a Harbor that is down or restarts.
            HarborError::ServerError { status: 502..=504, .. } => {
                (Counts::Throttled, Some(Effect::Silent(failure(error))))
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
    Failure::new(problem(error), error.to_string())
}

fn problem(error: &HarborError) -> Problem {
    match error {
        HarborError::MissingTag | HarborError::NotFoundAmbiguous => Problem::MissingManifest,
        HarborError::MissingBlob => Problem::MissingBlob,
        HarborError::UpstreamSilent => Problem::UpstreamSilent,
        HarborError::Unauthorized(refusal) => match refusal {
            Refusal::CredentialsOrRight => Problem::Credentials,
            Refusal::NoSuchProject | Refusal::NoSuchProjectOrDatabase => Problem::NoSuchProject,
            Refusal::Database => Problem::ServerError,
            Refusal::UnknownPath => Problem::UnknownPath,
            Refusal::NotPublic => Problem::NotPublic,
            Refusal::Token => Problem::NoToken,
            Refusal::Unreadable(_) => Problem::CredentialsUnreadable,
        },
        HarborError::Forbidden(_) => Problem::MissingRight,
        HarborError::UpstreamRefused(_) => Problem::UpstreamRefuses,
        HarborError::RateLimited { .. } => Problem::RateLimited,
        HarborError::ServerError { .. } => Problem::ServerError,
        HarborError::Timeout { .. } => Problem::Timeout,
        HarborError::Unreachable { .. } => Problem::Unreachable,
        HarborError::PolicyRefused { .. } => Problem::PolicyRefuses,
        HarborError::Invalid(invalid) => match invalid {
            Invalid::WrongDigest { .. } | Invalid::Truncated { .. } | Invalid::TooLarge { .. } => Problem::WrongContent,
            Invalid::NoDigest | Invalid::NotTheApi | Invalid::NotHarbor(_) => Problem::NotHarbor,
            Invalid::Renamed { .. } => Problem::Renamed,
            Invalid::Redirected { .. } => Problem::Redirected,
            Invalid::Status { .. } => Problem::UnexpectedAnswer,
        },
    }
}

impl Workshop {
    /// Tells the project of a failed request, and how it counts for the image.
    pub(super) fn take_note(&self, place: &HarborImage, error: &HarborError, now: Timestamp) -> Counts {
        let (counts, effect) = judge(error);
        let Some(effect) = effect else { return counts };
        let is_silence = matches!(effect, Effect::Silent(_));
        self.projects.observe(place, effect, now);
        // Once it is no single repository that meets silence, none of them is at fault.
        if is_silence && self.projects.is_paused_for(place, Cause::Silent) { Counts::Held } else { counts }
    }

    /// Tells the project that a blob arrived in its storage.
    pub(super) fn stored(&self, place: &HarborImage, now: Timestamp) {
        self.projects.observe(place, Effect::Stored, now);
    }

    /// Tells the project that a request was served.
    pub(super) fn served(&self, place: &HarborImage, now: Timestamp) {
        self.projects.observe(place, Effect::Served, now);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::robot(HarborError::Unauthorized(Refusal::CredentialsOrRight), Problem::Credentials)]
    #[case::no_project(HarborError::Unauthorized(Refusal::NoSuchProject), Problem::NoSuchProject)]
    #[case::private(HarborError::Unauthorized(Refusal::NotPublic), Problem::NotPublic)]
    #[case::path(HarborError::Unauthorized(Refusal::UnknownPath), Problem::UnknownPath)]
    #[case::token(HarborError::Unauthorized(Refusal::Token), Problem::NoToken)]
    #[case::file(HarborError::Unauthorized(Refusal::Unreadable("gone".to_owned())), Problem::CredentialsUnreadable)]
    #[case::right(HarborError::Forbidden("pull"), Problem::MissingRight)]
    #[case::upstream_refuses(HarborError::UpstreamRefused(401), Problem::UpstreamRefuses)]
    #[case::upstream_silent(HarborError::UpstreamSilent, Problem::UpstreamSilent)]
    #[case::rate_limit(HarborError::RateLimited { retry_after: None }, Problem::RateLimited)]
    #[case::error(HarborError::ServerError { status: 500, said: None }, Problem::ServerError)]
    #[case::policy(HarborError::PolicyRefused { said: None }, Problem::PolicyRefuses)]
    #[case::blob(HarborError::MissingBlob, Problem::MissingBlob)]
    #[case::manifest(HarborError::MissingTag, Problem::MissingManifest)]
    #[case::cut(HarborError::Invalid(Invalid::Truncated { read: 1, expected: 2 }), Problem::WrongContent)]
    #[case::ingress(HarborError::Invalid(Invalid::NotHarbor(404)), Problem::NotHarbor)]
    #[case::library(HarborError::Invalid(Invalid::Renamed { to: "hub/library/x".to_owned() }), Problem::Renamed)]
    #[case::moved(HarborError::Invalid(Invalid::Redirected { to: "https://b".to_owned() }), Problem::Redirected)]
    #[case::teapot(HarborError::Invalid(Invalid::Status { status: 418, said: None }), Problem::UnexpectedAnswer)]
    fn a_failed_request_has_a_cure_of_its_kind(#[case] error: HarborError, #[case] expected: Problem) {
        let failure = failure(&error);
        assert_eq!((failure.problem, failure.error), (expected, error.to_string()));
    }
}
