//! What a failed request means: for the image, and for its whole project.

use harbor_warmer_protocol::HarborImage;

use super::Workshop;
use harbor_warmer_core::problem::{Failure, Problem};
use harbor_warmer_core::project::{Cause, Effect};
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_harbor::{AnswerClass, HarborError, Interception, Invalid, Refusal};

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
        AnswerClass::Unreachable | AnswerClass::Timeout => (Counts::Throttled, Some(Effect::Silent(failure(error)))),
        AnswerClass::RateLimited => (Counts::Throttled, Some(Effect::Limited(failure(error)))),
        // A repository that Docker Hub refuses looks like an upstream that is down. Alone it is given up some day;
        // with several others it is the upstream, and the project is paused.
        AnswerClass::UpstreamSilent => (Counts::Failure, Some(Effect::Silent(failure(error)))),
        // A gateway in front of a Harbor that is down or restarts.
        AnswerClass::Outage => (Counts::Throttled, Some(Effect::Silent(failure(error)))),
        AnswerClass::Intercepted => match error {
            // Whoever mends it mends it for everything.
            HarborError::Intercepted(Interception::LogIn { .. }) => {
                (Counts::Held, Some(Effect::Refused(failure(error))))
            }
            // A firewall may dislike one path; of several images it is the whole Harbor that can't be reached.
            _ => (Counts::Failure, Some(Effect::Silent(failure(error)))),
        },
        AnswerClass::Storage => (Counts::Failure, Some(Effect::Silent(failure(error)))),
        AnswerClass::ServerError => (Counts::Failure, None),
        AnswerClass::MissingTag
        | AnswerClass::MissingBlob
        | AnswerClass::NotFoundAmbiguous
        | AnswerClass::PolicyRefused
        | AnswerClass::Invalid => (Counts::Failure, None),
    }
}

/// What a failed request is, in a sentence and as something to be mended.
pub(super) fn failure(error: &HarborError) -> Failure {
    let failure = Failure::new(problem(error), error.to_string());
    match error.retry_after() {
        Some(wait) => failure.not_within(wait),
        None => failure,
    }
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
            Refusal::ForeignRealm { .. } => Problem::ForeignTokenServer,
            Refusal::Unreadable(_) => Problem::CredentialsUnreadable,
        },
        HarborError::Forbidden(_) => Problem::MissingRight,
        HarborError::UpstreamRefused(_) => Problem::UpstreamRefuses,
        HarborError::RateLimited { .. } => Problem::RateLimited,
        HarborError::Outage { .. } => Problem::Outage,
        HarborError::Intercepted(Interception::LogIn { .. }) => Problem::LogInProxy,
        HarborError::Intercepted(Interception::Refused(_) | Interception::Page(_)) => Problem::Intercepted,
        HarborError::Storage { .. } => Problem::BlobHost,
        HarborError::ServerError { .. } => Problem::ServerError,
        HarborError::Timeout { .. } => Problem::Timeout,
        HarborError::Unreachable { .. } => Problem::Unreachable,
        HarborError::PolicyRefused { .. } => Problem::PolicyRefuses,
        HarborError::Invalid(invalid) => match invalid {
            Invalid::WrongDigest { .. } | Invalid::Truncated { .. } | Invalid::TooLarge { .. } => Problem::WrongContent,
            Invalid::NoDigest => Problem::NoDigest,
            Invalid::NotTheApi | Invalid::NotHarbor(_) => Problem::NotHarbor,
            Invalid::Renamed { .. } => Problem::Renamed,
            Invalid::Redirected { .. } => Problem::Redirected,
            Invalid::PolicyDisabled => Problem::ReplicationDisabled,
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
    use std::time::Duration;

    use harbor_warmer_harbor::StorageFault;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::limit(HarborError::RateLimited { retry_after: Some(Duration::from_secs(90)) })]
    #[case::outage(HarborError::Outage { status: 503, retry_after: Some(Duration::from_secs(90)), said: None })]
    fn what_is_asked_to_wait_waits_as_told(#[case] error: HarborError) {
        let (counts, effect) = judge(&error);
        assert_eq!(counts, Counts::Throttled);
        let (Effect::Limited(failure) | Effect::Silent(failure)) = effect.unwrap() else { panic!() };
        assert_eq!(failure.retry_after, Some(Duration::from_secs(90)));
    }

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
    #[case::outage(HarborError::Outage { status: 503, retry_after: None, said: None }, Problem::Outage)]
    #[case::log_in(HarborError::Intercepted(Interception::LogIn { to: "https://idp".to_owned() }), Problem::LogInProxy)]
    #[case::firewall(HarborError::Intercepted(Interception::Refused(403)), Problem::Intercepted)]
    #[case::page(HarborError::Intercepted(Interception::Page(200)), Problem::Intercepted)]
    #[case::bucket(HarborError::Storage { to: "https://b".to_owned(), fault: StorageFault::Endless }, Problem::BlobHost)]
    #[case::no_digest(HarborError::Invalid(Invalid::NoDigest), Problem::NoDigest)]
    #[case::realm(
        HarborError::Unauthorized(Refusal::ForeignRealm { to: "https://t".to_owned() }),
        Problem::ForeignTokenServer
    )]
    #[case::policy(HarborError::PolicyRefused { said: None }, Problem::PolicyRefuses)]
    #[case::blob(HarborError::MissingBlob, Problem::MissingBlob)]
    #[case::manifest(HarborError::MissingTag, Problem::MissingManifest)]
    #[case::cut(HarborError::Invalid(Invalid::Truncated { read: 1, expected: 2 }), Problem::WrongContent)]
    #[case::ingress(HarborError::Invalid(Invalid::NotHarbor(404)), Problem::NotHarbor)]
    #[case::library(HarborError::Invalid(Invalid::Renamed { to: "hub/library/x".to_owned() }), Problem::Renamed)]
    #[case::moved(HarborError::Invalid(Invalid::Redirected { to: "https://b".to_owned() }), Problem::Redirected)]
    #[case::disabled(HarborError::Invalid(Invalid::PolicyDisabled), Problem::ReplicationDisabled)]
    #[case::teapot(HarborError::Invalid(Invalid::Status { status: 418, said: None }), Problem::UnexpectedAnswer)]
    fn a_failed_request_has_a_cure_of_its_kind(#[case] error: HarborError, #[case] expected: Problem) {
        let failure = failure(&error);
        assert_eq!((failure.problem, failure.error), (expected, error.to_string()));
    }
}
