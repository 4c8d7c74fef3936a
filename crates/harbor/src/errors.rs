//! Harbor's answers that are not what was asked for, told apart in one place.
//!
//! [`classify`] is a pure function of what was asked and what came back. Its rules were read off a real Harbor v2.15.2
//! and off Harbor's source: one status has several meanings there (two kinds of 404, a 401 that is Harbor's own or its
//! upstream's), and only the body tells them apart. A HEAD has none, so some of its answers stay ambiguous.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use harbor_warmer_protocol::Digest;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::tls;
use harbor_warmer_core::project::HarborKind;

/// Why a request to a Harbor did not bring what was asked for. Reads well as a sentence in a receipt or a status, and
/// never holds a secret or a URL's query.
#[derive(Debug, thiserror::Error)]
pub enum HarborError {
    /// The upstream says that it has no such manifest.
    #[error("the upstream has no such tag or manifest")]
    MissingTag,
    /// The upstream says that it has no such blob.
    #[error("the upstream has the manifest but not this blob; push the image there again")]
    MissingBlob,
    /// A 404 that does not say whose: the upstream has no such manifest, or it does not answer.
    #[error("Harbor answered 404 without a reason: no such tag, or its upstream does not answer")]
    NotFoundAmbiguous,
    /// Harbor has nothing of it and its upstream does not answer.
    #[error("Harbor's upstream does not answer; look at the registry endpoint's status in Harbor")]
    UpstreamSilent,
    /// Harbor's own 401.
    #[error("{0}")]
    Unauthorized(Refusal),
    /// The credentials are good, the right is missing.
    #[error("Harbor forbids it: the right to {0} is missing")]
    Forbidden(&'static str),
    /// The upstream refuses Harbor's credentials; Harbor passes its status on.
    #[error("Harbor's upstream refuses Harbor ({0}); renew the credentials of the registry endpoint in Harbor")]
    UpstreamRefused(u16),
    /// 429: Harbor's upstream, or Harbor's limit of connections to it.
    #[error("Harbor or its upstream is rate limiting (429)")]
    RateLimited {
        /// What `Retry-After` asks for; Harbor sends none.
        retry_after: Option<Duration>,
    },
    /// A 5xx.
    #[error("Harbor answered {status}{}", Said(said))]
    ServerError {
        /// The status.
        status: u16,
        /// The first line of what the body says.
        said: Option<String>,
    },
    /// No answer, or no further byte, in time.
    #[error("Harbor did not {waited_for} within {} s", limit.as_secs_f32())]
    Timeout {
        /// Completes "did not …".
        waited_for: &'static str,
        /// The limit that ran out.
        limit: Duration,
    },
    /// No connection, or a connection that broke.
    #[error("the connection to Harbor failed: {cause}")]
    Unreachable {
        /// The innermost cause.
        cause: String,
        /// The whole chain, without its URL.
        #[source]
        source: reqwest::Error,
    },
    /// 412: a project's rule, such as the one against vulnerable images.
    #[error("a policy of the Harbor project refuses this image{}", Said(said))]
    PolicyRefused {
        /// The first line of what the body says.
        said: Option<String>,
    },
    /// An answer that makes no sense.
    #[error("{0}")]
    Invalid(Invalid),
}

/// Whose fault a 401 is, as far as Harbor tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Harbor says the same for a wrong password, an expired robot and a robot without a right to the project.
    CredentialsOrRight,
    /// There is no such project.
    NoSuchProject,
    /// Harbor can't reach its database, and so knows neither robots nor projects.
    Database,
    /// A HEAD has no body to tell the two apart.
    NoSuchProjectOrDatabase,
    /// Harbor's router doesn't know the path, as for capital letters in a repository.
    UnknownPath,
    /// The warmer has no credentials configured, and the project is not public.
    NotPublic,
    /// The token server gave no token.
    Token,
    /// The warmer's own configured credentials can't be read; says why, without the secret.
    Unreadable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialsOrRight => f.write_str(
                "Harbor refused the credentials: the robot's secret is wrong, it has expired, or it may not pull here",
            ),
            Self::NoSuchProject => f.write_str("Harbor has no such project"),
            Self::Database => f.write_str("Harbor's database does not answer"),
            Self::NoSuchProjectOrDatabase => f.write_str("Harbor has no such project, or its database does not answer"),
            Self::UnknownPath => f.write_str("Harbor does not take this for a repository's name"),
            Self::NotPublic => f.write_str("Harbor wants credentials: the project does not exist or is not public"),
            Self::Token => f.write_str("the token server gave no token"),
            Self::Unreadable(why) => write!(f, "the credentials for Harbor can't be read: {why}"),
        }
    }
}

/// Why an answer makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The content is not what its digest says.
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Fewer bytes than the manifest says. Harbor sends a cold blob chunked, so its transfer looks complete.
    Truncated {
        /// Bytes read.
        read: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// More bytes than there should be, or than anybody should read.
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// No header says which digest the tag has.
    NoDigest,
    /// The body is not the JSON that the API promises.
    NotTheApi,
    /// The answer is not Harbor's; names the status.
    NotHarbor(u16),
    /// Harbor keeps the repository under another name, and verifies it only there.
    Renamed {
        /// The repository's path there, project included.
        to: String,
    },
    /// Harbor sends its clients to another address.
    Redirected {
        /// Scheme, host and port.
        to: String,
    },
    /// A status that this request never has.
    Status {
        /// The status.
        status: u16,
        /// The first line of what the body says.
        said: Option<String>,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongDigest { expected, actual } => {
                write!(f, "Harbor sent other content than was asked for: {actual} instead of {expected}")
            }
            Self::Truncated { read, expected } => {
                write!(f, "the transfer ended after {read} of {expected} bytes")
            }
            Self::TooLarge { limit } => write!(f, "the answer is larger than the {limit} bytes that it may have"),
            Self::NoDigest => f.write_str("Harbor's answer does not say which digest the tag has"),
            Self::NotTheApi => f.write_str("the answer is not that of Harbor's API; is `url` the address of a Harbor?"),
            Self::NotHarbor(status) => {
                write!(f, "the answer ({status}) is not Harbor's; is `url` the address of a Harbor?")
            }
            Self::Renamed { to } => {
                write!(f, "Harbor keeps this repository as {to}; write it so in the mapping rule")
            }
            Self::Redirected { to } => write!(f, "Harbor redirects to {to}; write that address in `url`"),
            Self::Status { status, said } => write!(f, "Harbor answered {status}{}", Said(said)),
        }
    }
}

/// `: text`, or nothing.
struct Said<'a>(&'a Option<String>);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(said) => write!(f, ": {said}"),
            None => Ok(()),
        }
    }
}

/// What a [`HarborError`] is, for those who decide what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerClass {
    /// The upstream's own 404 for a tag or manifest.
    MissingTag,
    /// The upstream's own 404 for a blob.
    MissingBlob,
    /// A 404 that does not say whose: a HEAD's.
    NotFoundAmbiguous,
    /// Harbor's upstream does not answer.
    UpstreamSilent,
    /// Harbor's own 401.
    Unauthorized,
    /// A right is missing.
    Forbidden,
    /// The upstream's 401 or 403, passed on.
    UpstreamRefused,
    /// 429.
    RateLimited,
    /// 5xx.
    ServerError,
    /// No answer in time.
    Timeout,
    /// No connection.
    Unreachable,
    /// 412.
    PolicyRefused,
    /// Makes no sense.
    Invalid,
}

/// What an [`AnswerClass`] holds up until it heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heals {
    /// Every image of the project: it is paused and probed, no attempt is used up.
    Project,
    /// Every request to the Harbor: fewer at once, and later.
    Harbor,
    /// This image alone.
    Image,
}

impl HarborError {
    /// What it is, for those who decide.
    pub fn class(&self) -> AnswerClass {
        match self {
            Self::MissingTag => AnswerClass::MissingTag,
            Self::MissingBlob => AnswerClass::MissingBlob,
            Self::NotFoundAmbiguous => AnswerClass::NotFoundAmbiguous,
            Self::UpstreamSilent => AnswerClass::UpstreamSilent,
            Self::Unauthorized(_) => AnswerClass::Unauthorized,
            Self::Forbidden(_) => AnswerClass::Forbidden,
            Self::UpstreamRefused(_) => AnswerClass::UpstreamRefused,
            Self::RateLimited { .. } => AnswerClass::RateLimited,
            Self::ServerError { .. } => AnswerClass::ServerError,
            Self::Timeout { .. } => AnswerClass::Timeout,
            Self::Unreachable { .. } => AnswerClass::Unreachable,
            Self::PolicyRefused { .. } => AnswerClass::PolicyRefused,
            Self::Invalid(_) => AnswerClass::Invalid,
        }
    }

    /// How long Harbor asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// From a failed connection or a broken transfer; timeouts of the client's own are told by [`Self::Timeout`].
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        Self::Unreachable { cause: tls::cause_of(&error), source: error }
    }
}

impl AnswerClass {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::MissingTag => "missing_tag",
            Self::MissingBlob => "missing_blob",
            Self::NotFoundAmbiguous => "not_found",
            Self::UpstreamSilent => "upstream_silent",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::UpstreamRefused => "upstream_refused",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::PolicyRefused => "policy_refused",
            Self::Invalid => "invalid",
        }
    }

    /// What it holds up.
    pub fn heals(self) -> Heals {
        match self {
            Self::UpstreamSilent | Self::Unauthorized | Self::Forbidden | Self::UpstreamRefused => Heals::Project,
            Self::RateLimited | Self::ServerError | Self::Timeout | Self::Unreachable => Heals::Harbor,
            Self::MissingTag | Self::MissingBlob | Self::NotFoundAmbiguous | Self::PolicyRefused | Self::Invalid => {
                Heals::Image
            }
        }
    }

    /// Whether Harbor would be better served with fewer requests at once.
    pub fn is_overload(self) -> bool {
        self.heals() == Heals::Harbor
    }
}

/// What was asked for; the same status means different things for different requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
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
    pub(super) fn takes_tokens(self) -> bool {
        match self {
            Self::Version | Self::HeadManifest | Self::GetManifest | Self::HeadBlob | Self::GetBlob => true,
            Self::Token | Self::Api(_) => false,
        }
    }
}

/// The longest error body that is read.
pub(super) const ERROR_BODY_MAX_BYTES: usize = 64 * 1024;

/// How much of what a body says is repeated.
const SAID_MAX_CHARACTERS: usize = 160;

/// What an answer that is not a success means.
pub(super) fn classify(
    operation: Operation,
    kind: HarborKind,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> HarborError {
    let answer = ErrorBody::parse(body);
    let message = answer.message.as_str();
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
        StatusCode::PRECONDITION_FAILED => HarborError::PolicyRefused { said: answer.said() },
        StatusCode::TOO_MANY_REQUESTS => HarborError::RateLimited { retry_after: retry_after(headers) },
        _ if status.is_server_error() => HarborError::ServerError { status: status.as_u16(), said: answer.said() },
        _ => HarborError::Invalid(Invalid::Status { status: status.as_u16(), said: answer.said() }),
    }
}

/// Whether a 404 of Harbor's artifact API says that there is no such artifact, and not that something else is wrong.
pub(super) fn says_no_such_artifact(body: &[u8]) -> bool {
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

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    // The form with a date is left out: neither Harbor nor Distribution sends it, and it would need a clock.
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
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
