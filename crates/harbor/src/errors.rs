//! Harbor's answers that are not what was asked for, told apart in one place.
//!
//! This is the vocabulary; [`answers`] reads answers into it.

mod answers;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use harbor_warmer_protocol::Digest;

pub(super) use answers::{ERROR_BODY_MAX_BYTES, Operation, classify, is_page, says_no_such_artifact};

use super::tls;

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
        /// What `Retry-After` asks for; Harbor itself sends none.
        retry_after: Option<Duration>,
    },
    /// Harbor, or a gateway before it, says that it can't serve at present: 408, 425, 502 to 504, 507, 520 to 530 (a
    /// CDN's words for an origin that fails), and a 500 that is a page.
    #[error("Harbor answered {status} and can't serve at present{}", Said(said))]
    Outage {
        /// The status.
        status: u16,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
        /// The first line of what the body says.
        said: Option<String>,
    },
    /// Something that stands before Harbor answered in its place.
    #[error("{0}")]
    Intercepted(Interception),
    /// The storage that Harbor redirects a blob's reader to.
    #[error("Harbor redirects the blob to its storage at {to}, and {fault}")]
    Storage {
        /// Scheme, host and port.
        to: String,
        /// What is wrong there.
        fault: StorageFault,
    },
    /// Any other 5xx.
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

/// What stands before Harbor and answered in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interception {
    /// A redirect to where a person logs in.
    LogIn {
        /// Scheme, host and port.
        to: String,
    },
    /// A page that refuses the request: an ingress's or a web application firewall's.
    Refused(u16),
    /// A page, where Harbor has none.
    Page(u16),
}

impl fmt::Display for Interception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogIn { to } => write!(f, "a login proxy stands before Harbor: it sends the warmer to {to}"),
            Self::Refused(status) => {
                write!(f, "this {status} is not Harbor's: an ingress or firewall before it refuses the request")
            }
            Self::Page(status) => write!(f, "a web page came ({status}) where Harbor has none: something else answers"),
        }
    }
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
    /// The challenge names a token server at another address than the configured one, which would get the credentials.
    ForeignRealm {
        /// Scheme, host and port.
        to: String,
    },
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
            Self::ForeignRealm { to } => {
                write!(
                    f,
                    "the registry names a token server elsewhere, {to}, which is not asked: `tokenRealm` is not set to it"
                )
            }
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
    /// Harbor's header for the tag's digest is there and empty: its upstream told it none.
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
    /// A replication can't be started, since its policy is disabled.
    PolicyDisabled,
    /// A status that this request never has.
    Status {
        /// The status.
        status: u16,
        /// The first line of what the body says.
        said: Option<String>,
    },
}

/// Why a blob can't be read from the storage that Harbor redirects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageFault {
    /// The address is one that is not called.
    Barred(Barred),
    /// It answers with this status.
    Status(u16),
    /// There is no connection, or it broke; the innermost cause.
    Connection(String),
    /// It redirects again and again.
    Endless,
}

impl fmt::Display for StorageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Barred(why) => write!(f, "that is not called: {why}"),
            Self::Status(status) => write!(f, "that answers {status}"),
            Self::Connection(cause) => write!(f, "the connection there failed: {cause}"),
            Self::Endless => f.write_str("that redirects without end"),
        }
    }
}

/// Why an address that a redirect names is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// Neither `http` nor `https`.
    Scheme,
    /// It holds a user name or password.
    UserInfo,
    /// It is the warmer's own machine, or one that only machines of its network can call: what a server must not make
    /// others call.
    Inside,
    /// The configuration names the hosts that blobs may come from, and it is none of them.
    NotListed,
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "its scheme is neither https nor http",
            Self::UserInfo => "it holds a user name or password",
            Self::Inside => "its address is the warmer's own machine, link-local, or that of a cloud's metadata",
            Self::NotListed => "`blobHosts` of this Harbor does not list it",
        })
    }
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
            Self::NoDigest => {
                f.write_str("no digest came with the answer for this tag, so nobody knows which image it is")
            }
            Self::NotTheApi => f.write_str("the answer is not that of Harbor's API; is `url` the address of a Harbor?"),
            Self::NotHarbor(status) => {
                write!(f, "the answer ({status}) is not Harbor's; is `url` the address of a Harbor?")
            }
            Self::Renamed { to } => {
                write!(f, "Harbor keeps this repository as {to}; write it so in the mapping rule")
            }
            Self::Redirected { to } => write!(f, "Harbor redirects to {to}; write that address in `url`"),
            Self::PolicyDisabled => f.write_str("the replication policy is disabled in Harbor"),
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
    /// Can't serve at present.
    Outage,
    /// Something before Harbor answered.
    Intercepted,
    /// The storage that Harbor redirects to.
    Storage,
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
            Self::Outage { .. } => AnswerClass::Outage,
            Self::Intercepted(_) => AnswerClass::Intercepted,
            Self::Storage { .. } => AnswerClass::Storage,
            Self::ServerError { .. } => AnswerClass::ServerError,
            Self::Timeout { .. } => AnswerClass::Timeout,
            Self::Unreachable { .. } => AnswerClass::Unreachable,
            Self::PolicyRefused { .. } => AnswerClass::PolicyRefused,
            Self::Invalid(_) => AnswerClass::Invalid,
        }
    }

    /// Whether these credentials can't look this up: a right is missing, or what stands before Harbor refuses the path.
    /// Nothing is wrong with what was asked for then, and another way may tell.
    pub fn bars_reading(&self) -> bool {
        match self {
            Self::Forbidden(_) | Self::Intercepted(Interception::Refused(_)) => true,
            Self::MissingTag
            | Self::MissingBlob
            | Self::NotFoundAmbiguous
            | Self::UpstreamSilent
            | Self::Unauthorized(_)
            | Self::UpstreamRefused(_)
            | Self::RateLimited { .. }
            | Self::Outage { .. }
            | Self::Storage { .. }
            | Self::Intercepted(Interception::LogIn { .. } | Interception::Page(_))
            | Self::ServerError { .. }
            | Self::Timeout { .. }
            | Self::Unreachable { .. }
            | Self::PolicyRefused { .. }
            | Self::Invalid(_) => false,
        }
    }

    /// How long Harbor asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Outage { retry_after, .. } => *retry_after,
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
            Self::Outage => "outage",
            Self::Intercepted => "intercepted",
            Self::Storage => "storage",
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
            Self::RateLimited | Self::Outage | Self::ServerError | Self::Timeout | Self::Unreachable => Heals::Harbor,
            Self::MissingTag
            | Self::MissingBlob
            | Self::NotFoundAmbiguous
            | Self::PolicyRefused
            | Self::Intercepted
            | Self::Storage
            | Self::Invalid => Heals::Image,
        }
    }

    /// Whether Harbor would be better served with fewer requests at once.
    pub fn is_overload(self) -> bool {
        self.heals() == Heals::Harbor
    }
}
