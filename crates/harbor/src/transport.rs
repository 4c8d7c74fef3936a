//! One request to a Harbor and its answer: credentials, tokens, redirects, time limits and the reading of errors.
//!
//! A request is sent at most twice: once more with a new token or a changed secret after a 401. Nothing else is
//! repeated here. Credentials go to the configured address and to nobody else (a token server elsewhere only if the
//! configuration names it), wherever a redirect or a challenge leads. What is fetched from elsewhere at all is a blob
//! that is to be read whole, from an address that [`Reach`] allows.

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Url;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::credentials::{Credentials, Reading};
use super::errors::{ERROR_BODY_MAX_BYTES, Operation, classify, is_page};
use super::redirect::{Reach, Redirect};
use super::request::{Accepted, Request, Storage};
use super::tokens::{Challenge, Token, Tokens};
use super::{ClientError, HarborError, Interception, Invalid, Options, Refusal, StorageFault, tls};
use harbor_warmer_core::project::HarborKind;

/// A connection that isn't there after this won't come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Redirects of a blob that are followed: Harbor's to its storage, and one of the storage's own.
const REDIRECTS_MAX: usize = 3;

/// The largest answer of the API that is read.
pub(super) const API_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The largest answer of a token server that is read.
const TOKEN_MAX_BYTES: usize = 256 * 1024;

/// Entries of a list asked for at once; Harbor allows no more.
const PAGE_SIZE: usize = 100;

/// Pages of a list that are read: a bound, not an expectation.
const PAGES_MAX: usize = 100;

/// The way to one Harbor with one set of credentials. Clones share connections and tokens.
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    /// For addresses that an answer names: its names lead nowhere that is barred.
    outside: reqwest::Client,
    reach: Reach,
    token_realm: Option<Url>,
    base: Url,
    kind: HarborKind,
    request_timeout: Duration,
    stall_timeout: Duration,
    credentials: Arc<Credentials>,
    tokens: Arc<Tokens>,
}

/// An answer whose body is still to be read.
pub(super) struct Answer {
    response: reqwest::Response,
    chunk_timeout: Option<Duration>,
    limit: Duration,
    /// It is not the configured address's.
    is_outside: bool,
}

/// Makes ring the process's cryptography, once; whoever was first before stays. Every user of TLS calls it first.
pub fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

// === impl Transport ===

impl Transport {
    pub(super) fn new(options: &Options) -> Result<Self, ClientError> {
        Self::within(options, Reach::new(&options.url, &options.blob_hosts))
    }

    /// With these bounds for what redirects lead to.
    pub(super) fn within(options: &Options, reach: Reach) -> Result<Self, ClientError> {
        install_crypto_provider();
        Ok(Self {
            http: http_client(options, None)?,
            outside: http_client(options, Some(&reach))?,
            reach,
            token_realm: options.token_realm.clone(),
            credentials: Arc::new(Credentials::new(&options.credentials, &options.url)?),
            base: options.url.clone(),
            kind: options.kind,
            request_timeout: options.request_timeout,
            stall_timeout: options.stall_timeout,
            tokens: Arc::default(),
        })
    }

    /// The same Harbor as somebody else.
    pub(super) fn with_credentials(&self, credentials: &crate::Credentials) -> Result<Self, ClientError> {
        let credentials = Credentials::new(credentials, &self.base)?;
        Ok(Self { credentials: Arc::new(credentials), tokens: Arc::default(), ..self.clone() })
    }

    /// Who it asks as; none for somebody anonymous.
    pub(super) fn username(&self) -> Result<Option<String>, HarborError> {
        self.credentials.username()
    }

    /// All pages of a list; `path` ends in a query.
    pub(super) async fn pages(&self, operation: Operation, path: &str) -> Result<Vec<Value>, HarborError> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let separator = if path.ends_with('?') { "" } else { "&" };
            let path = format!("{path}{separator}page={page}&page_size={PAGE_SIZE}");
            let Value::Array(entries) = self.json(Request::new(Method::GET, operation, path)).await? else {
                return Err(HarborError::Invalid(Invalid::NotTheApi));
            };
            let last = entries.len() < PAGE_SIZE;
            all.extend(entries);
            if last {
                break;
            }
        }
        Ok(all)
    }

    pub(super) fn kind(&self) -> HarborKind {
        self.kind
    }

    /// Sends a request. What comes back is a success, or what the request accepts besides; for a blob that is not to be
    /// read also the redirect to where it is stored.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, HarborError> {
        let authorization = self.authorization(&request).await?;
        let mut answer = self.exchange(&request, authorization.as_ref()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && !answer.is_outside
            && let Some(authorization) = self.another(&request, authorization.as_ref(), answer.headers()).await?
        {
            answer = self.exchange(&request, Some(&authorization)).await?;
        }
        let status = answer.status();
        if status.is_success() && is_page(answer.headers(), b"") {
            return Err(HarborError::Intercepted(Interception::Page(status.as_u16())));
        }
        match request.accepted {
            _ if status.is_success() || answer.is_stored_elsewhere() => return Ok(answer),
            Accepted::Status(accepted) if status == accepted => return Ok(answer),
            Accepted::Success | Accepted::Status(_) | Accepted::NotFoundWhere(_) => {}
        }
        if answer.is_outside {
            let to = answer.response.url().origin().ascii_serialization();
            return Err(HarborError::Storage { to, fault: StorageFault::Status(status.as_u16()) });
        }
        let headers = answer.headers().clone();
        let body = self.read_error(&mut answer).await;
        match request.accepted {
            Accepted::NotFoundWhere(says) if status == StatusCode::NOT_FOUND && says(&body) => Ok(answer),
            Accepted::Success | Accepted::Status(_) | Accepted::NotFoundWhere(_) => {
                let error = classify(request.operation, self.kind, status, &headers, &body);
                Err(if self.credentials.is_anonymous() { as_anonymous(request.operation, error) } else { error })
            }
        }
    }

    /// Sends a request whose answer is JSON.
    pub(super) async fn json(&self, request: Request) -> Result<Value, HarborError> {
        self.ask(request).await?.read_json(API_MAX_BYTES).await
    }

    /// A token at hand, else the credentials as they are: Harbor takes a robot's directly.
    async fn authorization(&self, request: &Request) -> Result<Option<HeaderValue>, HarborError> {
        if request.operation.takes_tokens()
            && let Some(token) = self.tokens.at_hand(&request.repository, Instant::now()).await
        {
            return Ok(Some(token));
        }
        self.credentials.basic(Reading::IfChanged)
    }

    /// What else could be sent after a 401: the secret's file may have changed, or a token may be asked for.
    async fn another(
        &self,
        request: &Request,
        refused: Option<&HeaderValue>,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, HarborError> {
        let basic = self.credentials.basic(Reading::Anew)?;
        if let Some(challenge) = Challenge::from_headers(headers).filter(|_| request.operation.takes_tokens()) {
            let fetch = self.fetch_token(&challenge, &request.repository, basic.as_ref());
            return self.tokens.renew(&request.repository, refused, Instant::now(), fetch).await.map(Some);
        }
        // A token that was refused makes way for the credentials; credentials only for other ones.
        Ok(basic.filter(|basic| Some(basic) != refused))
    }

    async fn fetch_token(
        &self,
        challenge: &Challenge,
        repository: &str,
        basic: Option<&HeaderValue>,
    ) -> Result<Token, HarborError> {
        let refused = || HarborError::Unauthorized(Refusal::Token);
        let mut url = match self.kind {
            // Harbor is its own token server. Its challenge names the address that it believes to have, which need not
            // be the one that it is reached by.
            HarborKind::Harbor => self.base.join("/service/token").map_err(|_| refused())?,
            HarborKind::Distribution => self.pinned(self.base.join(&challenge.realm).map_err(|_| refused())?)?,
        };
        let scope = match &challenge.scope {
            Some(scope) => Some(scope.clone()),
            None if repository.is_empty() => None,
            None => Some(format!("repository:{repository}:pull")),
        };
        url.query_pairs_mut()
            .extend_pairs(challenge.service.iter().map(|service| ("service", service)))
            .extend_pairs(scope.iter().map(|scope| ("scope", scope)));
        let mut builder = self.http.get(url).timeout(self.request_timeout);
        if let Some(basic) = basic {
            builder = builder.header(header::AUTHORIZATION, basic);
        }
        let limit = self.request_timeout;
        let response = builder.send().await.map_err(|error| failed(error, "give a token", limit))?;
        let mut answer = Answer { response, chunk_timeout: None, limit, is_outside: false };
        let status = answer.status();
        if !status.is_success() {
            let headers = answer.headers().clone();
            let body = self.read_error(&mut answer).await;
            return Err(classify(Operation::Token, self.kind, status, &headers, &body));
        }
        Token::from_json(&answer.read_json(TOKEN_MAX_BYTES).await?, Instant::now())
    }

    /// A token server gets the credentials, so it is the configured address's own, or the one that the configuration
    /// names. What a challenge says alone decides nothing.
    fn pinned(&self, realm: Url) -> Result<Url, HarborError> {
        let is_named = self
            .token_realm
            .as_ref()
            .is_some_and(|named| named.origin() == realm.origin() && named.path() == realm.path());
        let is_own = realm.origin() == self.base.origin();
        if (is_own || is_named) && realm.username().is_empty() && realm.password().is_none() {
            return Ok(realm);
        }
        Err(HarborError::Unauthorized(Refusal::ForeignRealm { to: realm.origin().ascii_serialization() }))
    }

    /// Sends a request once, and follows it to where it is redirected, as far as that is of use.
    async fn exchange(&self, request: &Request, authorization: Option<&HeaderValue>) -> Result<Answer, HarborError> {
        let asked = self.base.join(&request.path).map_err(|_| HarborError::Invalid(Invalid::NotTheApi))?;
        let origin_of = |url: &Url| url.origin().ascii_serialization();
        let mut url = asked.clone();
        let mut answer = self.send(request, url.clone(), authorization).await?;
        for _ in 0..REDIRECTS_MAX {
            let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let target = location.and_then(|location| url.join(location).ok());
            let Some(target) = target.filter(|_| answer.status().is_redirection()) else { return Ok(answer) };
            let redirect = match answer.is_outside {
                true => Redirect::Stored(target),
                false => Redirect::read(self.kind, request.operation, answer.status(), &asked, target),
            };
            match redirect {
                Redirect::Stored(_) if request.storage == Storage::Tells => return Ok(answer),
                Redirect::Stored(target) => {
                    answer = self.send_outside(request, target.clone()).await?;
                    url = target;
                }
                Redirect::Own(target) => {
                    answer = self.send(request, target.clone(), authorization).await?;
                    url = target;
                }
                Redirect::Renamed(to) => return Err(HarborError::Invalid(Invalid::Renamed { to })),
                Redirect::Moved(to) => return Err(HarborError::Invalid(Invalid::Redirected { to: origin_of(&to) })),
                Redirect::LogIn(to) => {
                    return Err(HarborError::Intercepted(Interception::LogIn { to: origin_of(&to) }));
                }
            }
        }
        match answer.status().is_redirection() {
            true => Err(HarborError::Storage { to: origin_of(&url), fault: StorageFault::Endless }),
            false => Ok(answer),
        }
    }

    /// Reads from an address that an answer named: without credentials, and only where that is allowed.
    async fn send_outside(&self, request: &Request, url: Url) -> Result<Answer, HarborError> {
        let to = url.origin().ascii_serialization();
        let client = match url.origin() == self.base.origin() {
            // A storage that Harbor's own address leads to.
            true => &self.http,
            false => match self.reach.allows(&url) {
                Ok(()) => &self.outside,
                Err(barred) => return Err(HarborError::Storage { to, fault: StorageFault::Barred(barred) }),
            },
        };
        let builder = client.request(request.method.clone(), url).headers(request.headers.clone());
        let mut answer = self.answer(request, builder).await.map_err(|error| match error {
            HarborError::Unreachable { source, .. } => {
                HarborError::Storage { to, fault: StorageFault::Connection(tls::cause_of(&source)) }
            }
            error => error,
        })?;
        answer.is_outside = true;
        Ok(answer)
    }

    async fn send(
        &self,
        request: &Request,
        url: Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, HarborError> {
        let mut builder = self.http.request(request.method.clone(), url).headers(request.headers.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        self.answer(request, builder).await
    }

    async fn answer(&self, request: &Request, builder: reqwest::RequestBuilder) -> Result<Answer, HarborError> {
        if request.is_streamed {
            let limit = self.stall_timeout;
            let response = match tokio::time::timeout(limit, builder.send()).await {
                Ok(response) => response.map_err(|error| failed(error, "answer", limit))?,
                Err(_) => return Err(HarborError::Timeout { waited_for: "answer", limit }),
            };
            return Ok(Answer { response, chunk_timeout: Some(limit), limit, is_outside: false });
        }
        let limit = self.request_timeout;
        let response = builder.timeout(limit).send().await.map_err(|error| failed(error, "answer", limit))?;
        Ok(Answer { response, chunk_timeout: None, limit, is_outside: false })
    }

    /// As much of an error's body as is worth reading, and as came in time; what is missing makes the error vaguer.
    async fn read_error(&self, answer: &mut Answer) -> Bytes {
        let mut body = BytesMut::new();
        let reading = async {
            while let Ok(Some(chunk)) = answer.next_chunk().await {
                body.extend_from_slice(&chunk[..chunk.len().min(ERROR_BODY_MAX_BYTES - body.len())]);
                if body.len() == ERROR_BODY_MAX_BYTES {
                    break;
                }
            }
        };
        // On time or not, what came is what there is.
        drop(tokio::time::timeout(self.request_timeout, reading).await);
        body.freeze()
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// It is no content, but a redirect to where that is stored.
    pub(super) fn is_stored_elsewhere(&self) -> bool {
        self.status().is_redirection() && self.headers().contains_key(header::LOCATION)
    }

    /// The next piece of the body; none at its end. Dropping the answer before that closes the connection.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, HarborError> {
        let limit = self.limit;
        let chunk = match self.chunk_timeout {
            None => self.response.chunk().await,
            Some(timeout) => match tokio::time::timeout(timeout, self.response.chunk()).await {
                Ok(chunk) => chunk,
                Err(_) => return Err(HarborError::Timeout { waited_for: "send another byte", limit: timeout }),
            },
        };
        chunk.map_err(|error| failed(error, "send the whole answer", limit))
    }

    pub(super) async fn read_whole(mut self, max_bytes: usize) -> Result<Bytes, HarborError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.next_chunk().await? {
            if body.len() + chunk.len() > max_bytes {
                return Err(HarborError::Invalid(Invalid::TooLarge { limit: max_bytes as u64 }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    pub(super) async fn read_json(self, max_bytes: usize) -> Result<Value, HarborError> {
        let body = self.read_whole(max_bytes).await?;
        serde_json::from_slice(&body).map_err(|_| HarborError::Invalid(Invalid::NotTheApi))
    }
}

/// A 401 is not about credentials where none were sent.
fn as_anonymous(operation: Operation, error: HarborError) -> HarborError {
    match (error, operation) {
        (HarborError::Unauthorized(Refusal::CredentialsOrRight), Operation::Api(right)) => {
            HarborError::Forbidden(right)
        }
        (HarborError::Unauthorized(Refusal::CredentialsOrRight), _) => HarborError::Unauthorized(Refusal::NotPublic),
        (error, _) => error,
    }
}

fn failed(error: reqwest::Error, waited_for: &'static str, limit: Duration) -> HarborError {
    if error.is_timeout() && !error.is_connect() {
        return HarborError::Timeout { waited_for, limit };
    }
    HarborError::from_transport(error)
}

/// HTTP/1.1 alone: several streams are faster than one that is multiplexed, and closing one is closing a connection,
/// which every proxy on the way understands. Proxies come from the environment.
fn http_client(options: &Options, reach: Option<&Reach>) -> Result<reqwest::Client, ClientError> {
    let mut named = None;
    if let Some(path) = &options.ca_file {
        let pem = std::fs::read(path).map_err(|source| ClientError::CaFileUnreadable { path: path.clone(), source })?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap_or_default();
        let tls = (!certificates.is_empty()).then(|| tls::trusting(certificates)).and_then(Result::ok);
        named = Some(tls.ok_or_else(|| ClientError::CaFileInvalid { path: path.clone() })?);
    }
    let builder = || {
        let builder = match reach {
            Some(reach) => reqwest::Client::builder().dns_resolver(reach.resolver()),
            None => reqwest::Client::builder(),
        };
        let builder = match &named {
            Some(tls) if !options.insecure_skip_verify => builder.tls_backend_preconfigured(tls.clone()),
            _ => builder,
        };
        builder
            .user_agent(concat!("harbor-warmer/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tls_danger_accept_invalid_certs(options.insecure_skip_verify)
    };
    let built = builder().build();
    let built = match built {
        // A container without certificate authorities: over plain HTTP there is nothing to verify.
        Err(_) if options.url.scheme() == "http" => builder().tls_certs_only([]).build(),
        built => built,
    };
    built.map_err(|source| ClientError::Http { cause: tls::cause_of(&source), source })
}
