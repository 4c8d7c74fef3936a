//! One request to a Harbor and its answer: credentials, tokens, redirects, time limits and the reading of errors.
//!
//! A request is sent at most twice: once more with a new token or a changed secret after a 401. Nothing else is
//! repeated here. Credentials go to the configured address and to nobody else, wherever a redirect leads.

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::Url;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::credentials::{Credentials, Reading};
use super::errors::{ERROR_BODY_MAX_BYTES, Operation, classify};
use super::tokens::{Challenge, Token, Tokens};
use super::{ClientError, HarborError, Invalid, Options, Refusal, tls};
use harbor_warmer_core::project::HarborKind;

/// A connection that isn't there after this won't come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Redirects of a blob that are followed: Harbor's to its storage, and one of the storage's own.
const REDIRECTS_MAX: usize = 3;

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
    base: Url,
    kind: HarborKind,
    request_timeout: Duration,
    stall_timeout: Duration,
    credentials: Arc<Credentials>,
    tokens: Arc<Tokens>,
}

/// A request to be sent.
pub(super) struct Request {
    method: Method,
    operation: Operation,
    path: String,
    repository: String,
    headers: HeaderMap,
    body: Option<Bytes>,
    is_streamed: bool,
    accepted: Accepted,
}

/// Which answer that is not a success is none of an error.
#[derive(Clone, Copy)]
enum Accepted {
    Success,
    Status(StatusCode),
    NotFoundWhere(fn(&[u8]) -> bool),
}

/// An answer whose body is still to be read.
pub(super) struct Answer {
    response: reqwest::Response,
    chunk_timeout: Option<Duration>,
    limit: Duration,
}

/// Makes ring the process's cryptography, once; whoever was first before stays. Every user of TLS calls it first.
pub fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

// === impl Request ===

impl Request {
    pub(super) fn new(method: Method, operation: Operation, path: String) -> Self {
        Self {
            method,
            operation,
            path,
            repository: String::new(),
            headers: HeaderMap::new(),
            body: None,
            is_streamed: false,
            accepted: Accepted::Success,
        }
    }

    /// Pulls from this repository, for which a token may be needed.
    pub(super) fn pulls(mut self, repository: String) -> Self {
        self.repository = repository;
        self
    }

    pub(super) fn accept(mut self, types: HeaderValue) -> Self {
        self.headers.insert(header::ACCEPT, types);
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    pub(super) fn json_body(mut self, body: &Value) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(body.to_string().into());
        self
    }

    /// Its body may take as long as it needs, as long as bytes come: the stall timeout counts.
    pub(super) fn streamed(mut self) -> Self {
        self.is_streamed = true;
        self
    }

    /// An answer with this status is no error.
    pub(super) fn or_status(mut self, status: StatusCode) -> Self {
        self.accepted = Accepted::Status(status);
        self
    }

    /// A 404 whose body says what is expected is no error.
    pub(super) fn or_404_where(mut self, says: fn(&[u8]) -> bool) -> Self {
        self.accepted = Accepted::NotFoundWhere(says);
        self
    }
}

// === impl Transport ===

impl Transport {
    pub(super) fn new(options: &Options) -> Result<Self, ClientError> {
        install_crypto_provider();
        Ok(Self {
            http: http_client(options)?,
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

    /// Sends a request. What comes back is a success, or what the request accepts besides.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, HarborError> {
        let authorization = self.authorization(&request).await?;
        let mut answer = self.exchange(&request, authorization.as_ref()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(authorization) = self.another(&request, authorization.as_ref(), answer.headers()).await?
        {
            answer = self.exchange(&request, Some(&authorization)).await?;
        }
        let status = answer.status();
        match request.accepted {
            _ if status.is_success() => return Ok(answer),
            Accepted::Status(accepted) if status == accepted => return Ok(answer),
            Accepted::Success | Accepted::Status(_) | Accepted::NotFoundWhere(_) => {}
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
        self.ask(request).await?.read_json(super::api::API_MAX_BYTES).await
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
            HarborKind::Distribution => Url::parse(&challenge.realm).map_err(|_| refused())?,
        };
        if !matches!(url.scheme(), "https" | "http") {
            return Err(refused());
        }
        let scope = match &challenge.scope {
            Some(scope) => Some(scope.clone()),
            None if repository.is_empty() => None,
            None => Some(format!("repository:{repository}:pull")),
        };
        let may_have_credentials = url.scheme() == "https" || url.origin() == self.base.origin();
        url.query_pairs_mut()
            .extend_pairs(challenge.service.iter().map(|service| ("service", service)))
            .extend_pairs(scope.iter().map(|scope| ("scope", scope)));
        let mut builder = self.http.get(url).timeout(self.request_timeout);
        if let Some(basic) = basic.filter(|_| may_have_credentials) {
            builder = builder.header(header::AUTHORIZATION, basic);
        }
        let limit = self.request_timeout;
        let response = builder.send().await.map_err(|error| failed(error, "give a token", limit))?;
        let mut answer = Answer { response, chunk_timeout: None, limit };
        let status = answer.status();
        if !status.is_success() {
            let headers = answer.headers().clone();
            let body = self.read_error(&mut answer).await;
            return Err(classify(Operation::Token, self.kind, status, &headers, &body));
        }
        Token::from_json(&answer.read_json(TOKEN_MAX_BYTES).await?, Instant::now())
    }

    /// Sends a request once, and follows it to where it is redirected.
    async fn exchange(&self, request: &Request, authorization: Option<&HeaderValue>) -> Result<Answer, HarborError> {
        let not_a_url = |_| HarborError::Invalid(Invalid::NotTheApi);
        let asked = self.base.join(&request.path).map_err(not_a_url)?;
        let mut url = asked.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send(request, url.clone(), authorization).await?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let Some(target) = location.and_then(|location| url.join(location).ok()) else {
                return Ok(answer);
            };
            self.may_follow(request, &asked, &target)?;
            url = target;
        }
        Err(HarborError::Invalid(Invalid::Redirected { to: url.origin().ascii_serialization() }))
    }

    /// Whether a redirect is one to follow: a blob's to Harbor's storage, which has a host and a query of its own.
    fn may_follow(&self, request: &Request, asked: &Url, target: &Url) -> Result<(), HarborError> {
        let own = target.origin() == asked.origin();
        if own && self.kind == HarborKind::Harbor && target.path().starts_with("/v2/") {
            // Docker Hub's single names: 301 to `library/…`, but its blobs and its record are only found there.
            let to = target.path().trim_start_matches("/v2/");
            let to = to.rsplit_once("/manifests/").or_else(|| to.rsplit_once("/blobs/")).map_or(to, |(name, _)| name);
            return Err(HarborError::Invalid(Invalid::Renamed { to: to.to_owned() }));
        }
        let is_storage = request.operation == Operation::GetBlob
            && target.path() != asked.path()
            && (target.scheme() == "https" || asked.scheme() == "http" && target.scheme() == "http");
        let is_own_of_a_cache = own && self.kind == HarborKind::Distribution;
        if is_storage || is_own_of_a_cache {
            return Ok(());
        }
        Err(HarborError::Invalid(Invalid::Redirected { to: target.origin().ascii_serialization() }))
    }

    async fn send(
        &self,
        request: &Request,
        url: Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, HarborError> {
        let is_own = url.origin() == self.base.origin();
        let mut builder = self.http.request(request.method.clone(), url).headers(request.headers.clone());
        if let Some(authorization) = authorization.filter(|_| is_own) {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        if request.is_streamed {
            let limit = self.stall_timeout;
            let response = match tokio::time::timeout(limit, builder.send()).await {
                Ok(response) => response.map_err(|error| failed(error, "answer", limit))?,
                Err(_) => return Err(HarborError::Timeout { waited_for: "answer", limit }),
            };
            return Ok(Answer { response, chunk_timeout: Some(self.stall_timeout), limit });
        }
        let limit = self.request_timeout;
        let response = builder.timeout(limit).send().await.map_err(|error| failed(error, "answer", limit))?;
        Ok(Answer { response, chunk_timeout: None, limit })
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
fn http_client(options: &Options) -> Result<reqwest::Client, ClientError> {
    let mut named = None;
    if let Some(path) = &options.ca_file {
        let pem = std::fs::read(path).map_err(|source| ClientError::CaFileUnreadable { path: path.clone(), source })?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap_or_default();
        let tls = (!certificates.is_empty()).then(|| tls::trusting(certificates)).and_then(Result::ok);
        named = Some(tls.ok_or_else(|| ClientError::CaFileInvalid { path: path.clone() })?);
    }
    let builder = || {
        let builder = match &named {
            Some(tls) if !options.insecure_skip_verify => {
                reqwest::Client::builder().tls_backend_preconfigured(tls.clone())
            }
            _ => reqwest::Client::builder(),
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
