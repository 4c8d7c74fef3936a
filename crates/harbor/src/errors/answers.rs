//! Answers, read: [`classify`] is a pure function of what was asked and what came back.
//!
//! Its rules were read off a real Harbor v2.15.2 and off Harbor's source: one status has several meanings there (two
//! kinds of 404, a 401 that is Harbor's own or its upstream's), and only the body tells them apart. A HEAD has none, so
//! some of its answers stay ambiguous. Harbor never sends a page: where one comes, something else answered.

use std::time::{Duration, SystemTime};

use harbor_warmer_core::project::HarborKind;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::{HarborError, Interception, Invalid, Refusal};

/// What was asked for; the same status means different things for different requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The registry API's version check.
    Version,
    /// HEAD of a manifest: answers without a body.
    HeadManifest,
    /// GET of a manifest by digest.
    GetManifest,
    /// HEAD of a blob.
    HeadBlob,
    /// GET of a blob.
    GetBlob,
    /// A token.
    Token,
    /// Harbor's own API; completes "the right to … is missing".
    Api(&'static str),
}

impl Operation {
    /// Whether it belongs to the registry API, which may ask for a token.
    pub(crate) fn takes_tokens(self) -> bool {
        match self {
            Self::Version | Self::HeadManifest | Self::GetManifest | Self::HeadBlob | Self::GetBlob => true,
            Self::Token | Self::Api(_) => false,
        }
    }
}

/// The longest error body that is read.
pub(crate) const ERROR_BODY_MAX_BYTES: usize = 64 * 1024;

/// How much of what a body says is repeated.
const SAID_MAX_CHARACTERS: usize = 160;

/// What an answer that is not a success means.
pub(crate) fn classify(
    operation: Operation,
    kind: HarborKind,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> HarborError {
    let answer = ErrorBody::parse(body);
    let message = answer.message.as_str();
    let is_page = is_page(headers, body);
    match status.as_u16() {
        408 | 425 | 502..=504 | 507 | 520..=530 => return outage(status, headers, &answer),
        500 if is_page => return outage(status, headers, &answer),
        // A 404 says more, below; 429 means the same whoever says it.
        400..=403 | 405..=428 | 430..=499 if is_page => {
            return HarborError::Intercepted(Interception::Refused(status.as_u16()));
        }
        511 => return HarborError::Intercepted(Interception::Refused(status.as_u16())),
        _ => {}
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if passed_on(message, status) => {
            HarborError::UpstreamRefused(status.as_u16())
        }
        StatusCode::UNAUTHORIZED => HarborError::Unauthorized(refusal(operation, headers, message)),
        StatusCode::FORBIDDEN => HarborError::Forbidden(match operation {
            Operation::Api(right) => right,
            Operation::Version | Operation::Token => "sign in",
            Operation::HeadManifest | Operation::GetManifest | Operation::HeadBlob | Operation::GetBlob => "pull",
        }),
        StatusCode::NOT_FOUND => not_found(operation, kind, &answer),
        // Of what the API is asked, the start of a disabled policy alone is answered so (`replication.Ctl.Start`).
        StatusCode::PRECONDITION_FAILED if matches!(operation, Operation::Api(_)) => {
            HarborError::Invalid(Invalid::PolicyDisabled)
        }
        StatusCode::PRECONDITION_FAILED => HarborError::PolicyRefused { said: answer.said() },
        StatusCode::TOO_MANY_REQUESTS => HarborError::RateLimited { retry_after: retry_after(headers) },
        _ if status.is_server_error() => HarborError::ServerError { status: status.as_u16(), said: answer.said() },
        _ => HarborError::Invalid(Invalid::Status { status: status.as_u16(), said: answer.said() }),
    }
}

/// Whether a 404 of Harbor's artifact API says that there is no such artifact, and not that something else is wrong.
pub(crate) fn says_no_such_artifact(body: &[u8]) -> bool {
    let message = ErrorBody::parse(body).message;
    message.ends_with("not found") && (message.starts_with("artifact ") || message.starts_with("repository "))
}

/// Harbor's client of its upstream writes `http status code: 401, body: …` (src/pkg/registry/client.go, `do`).
fn passed_on(message: &str, status: StatusCode) -> bool {
    message.contains(&format!("http status code: {}", status.as_u16()))
}

fn refusal(operation: Operation, headers: &HeaderMap, message: &str) -> Refusal {
    let empty_challenge = headers.get(header::WWW_AUTHENTICATE).is_some_and(|challenge| challenge.is_empty());
    if message.contains("un-recognized request") {
        Refusal::UnknownPath
    } else if message.starts_with("project ") && message.ends_with("not found") {
        Refusal::NoSuchProject
    } else if message.contains("failed to connect to") {
        // The driver's words, with its address: Harbor makes a 401 of whatever goes wrong while it looks for the project.
        Refusal::Database
    } else if message.is_empty() && empty_challenge {
        Refusal::NoSuchProjectOrDatabase
    } else if operation == Operation::Token {
        Refusal::Token
    } else {
        Refusal::CredentialsOrRight
    }
}

fn not_found(operation: Operation, kind: HarborKind, answer: &ErrorBody) -> HarborError {
    let message = answer.message.as_str();
    let not_harbor = HarborError::Invalid(Invalid::NotHarbor(StatusCode::NOT_FOUND.as_u16()));
    match (operation, kind) {
        (Operation::GetBlob | Operation::HeadBlob, HarborKind::Distribution) => match answer.is_harbors {
            // Its upstream's outage is a 500, so this is the upstream's word.
            true => HarborError::MissingBlob,
            false => HarborError::NotFoundAmbiguous,
        },
        // A pull-through cache of Distribution says `MANIFEST_UNKNOWN` when its upstream is down, too.
        (_, HarborKind::Distribution) => HarborError::NotFoundAmbiguous,
        (Operation::HeadManifest | Operation::HeadBlob, HarborKind::Harbor) => HarborError::NotFoundAmbiguous,
        (Operation::GetBlob, HarborKind::Harbor) if passed_on(message, StatusCode::NOT_FOUND) => {
            HarborError::MissingBlob
        }
        (Operation::GetManifest | Operation::GetBlob, HarborKind::Harbor) => {
            if message.starts_with("resource not found") {
                HarborError::MissingTag
            } else if answer.is_harbors {
                // `artifact … not found`, `repository … not found`, `blob unknown`: Harbor looked at what it has
                // itself, since its upstream did not answer.
                HarborError::UpstreamSilent
            } else {
                not_harbor
            }
        }
        (Operation::Api(_), HarborKind::Harbor) if message.starts_with("project ") => {
            HarborError::Unauthorized(Refusal::NoSuchProject)
        }
        (Operation::Api(_) | Operation::Version | Operation::Token, HarborKind::Harbor) => {
            if answer.is_harbors {
                HarborError::Invalid(Invalid::Status { status: 404, said: answer.said() })
            } else {
                not_harbor
            }
        }
    }
}

fn outage(status: StatusCode, headers: &HeaderMap, answer: &ErrorBody) -> HarborError {
    HarborError::Outage { status: status.as_u16(), retry_after: retry_after(headers), said: answer.said() }
}

/// `Retry-After` in seconds, or as a date (RFC 9110, 10.2.3). A date is held against the answer's own `Date`: so no
/// clock is needed, and none that is wrong does harm.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
    let asked = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| -> Option<SystemTime> { httpdate::parse_http_date(text).ok() };
    date(asked)?.duration_since(date(text(header::DATE)?)?).ok()
}

/// Whether an answer is a page for people, by its type or by how it begins.
pub(crate) fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let starts_with = |text: &[u8], word: &str| {
        text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
    };
    ["text/html", "application/xhtml"].iter().any(|page| starts_with(media_type, page))
        || ["<!doctype html", "<html"].iter().any(|start| starts_with(body.trim_ascii_start(), start))
}

/// What an error's body says.
struct ErrorBody {
    message: String,
    /// Whether it is the distribution spec's `{"errors":[{"code","message"}]}`, which Harbor's API uses too; an ingress
    /// in front of Harbor writes something else.
    is_harbors: bool,
}

impl ErrorBody {
    fn parse(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let told = |object: &Value, name: &str| object.get(name)?.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        match body.get("errors").and_then(Value::as_array) {
            Some(errors) => {
                let message = errors.iter().find_map(|error| told(error, "message").or_else(|| told(error, "code")));
                Self { message: message.unwrap_or_default(), is_harbors: true }
            }
            // A token server says `details`, an ingress `message`.
            None => {
                let message = told(&body, "message").or_else(|| told(&body, "details"));
                Self { message: message.unwrap_or_default(), is_harbors: false }
            }
        }
    }

    /// The first line, cut to what a person reads; control characters are dropped.
    fn said(&self) -> Option<String> {
        let line = self.message.lines().find(|line| !line.trim().is_empty())?;
        Some(line.trim().chars().filter(|c| !c.is_control()).take(SAID_MAX_CHARACTERS).collect())
    }
}
