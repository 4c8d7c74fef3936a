//! The running service, as the command line speaks to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use reqwest::{Client, Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arguments::ServiceArguments;
use harbor_warmer::admin::ErrorBody;
use harbor_warmer_core::view::plan::{PlanRequest, PlanResponse};
use harbor_warmer_core::view::{ImageList, ImageView, Phase, WarmRequest, WarmResponse};
use harbor_warmer_harbor::{cause_of, install_crypto_provider};

/// A service on the same machine or behind a port-forward answers at once, or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than the service's own time for a request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Planning asks Harbor about every blob of every image.
const PLAN_TIMEOUT: Duration = Duration::from_secs(600);

/// Why the service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is none.
    #[error(
        "`{0}` is not the address of an admin API; write one such as http://127.0.0.1:9090 or \
         unix:/var/lib/harbor-warmer/admin.sock"
    )]
    Address(String),
    /// The token can't be read.
    #[error("can't read a token from {} (--admin-token-file): {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No HTTP client can be built on this machine.
    #[error("no HTTP client can be built")]
    Client(#[source] reqwest::Error),
    /// No connection, or no answer.
    #[error("no answer from {address}: {cause}; is `harbor-warmer serve` running, and is --admin its admin port?")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// The innermost cause.
        cause: String,
    },
    /// It answers with an error.
    #[error("{sentence}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it says.
        sentence: String,
    },
    /// Something else answers.
    #[error("{address} does not answer as a harbor-warmer does: {cause}; is --admin its admin port?")]
    NotAService {
        /// Where.
        address: String,
        /// What is odd.
        cause: String,
    },
}

/// A client of the admin API.
#[derive(Clone, Debug)]
pub struct AdminClient {
    base: Url,
    /// As the person wrote it.
    address: String,
    token: Option<HeaderValue>,
    http: Client,
}

/// What stands before the path of a socket.
const SOCKET: &str = "unix:";

impl AdminClient {
    /// A client of the service that the arguments name. Connects to nothing yet.
    ///
    /// # Errors
    /// [`AdminError::Address`] or [`AdminError::Token`].
    pub fn of(service: &ServiceArguments) -> Result<Self, AdminError> {
        let token = service.admin_token_file.as_deref().map(read_token).transpose()?;
        Ok(Self { token, ..Self::new(&service.admin)? })
    }

    /// A client of the service whose admin API is at `address`, a URL or a socket. Connects to nothing yet.
    ///
    /// # Errors
    /// [`AdminError::Address`].
    pub fn new(address: &str) -> Result<Self, AdminError> {
        let none = || AdminError::Address(address.to_owned());
        install_crypto_provider();
        // The admin API is inside the cluster or on this machine; a proxy for the Internet is not asked.
        let builder = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("harbor-warmer/", env!("CARGO_PKG_VERSION")));
        let (base, builder) = match address.strip_prefix(SOCKET) {
            Some(path) if path.starts_with('/') => {
                // `unix:///path`, as Docker has it, is the same path.
                let path = format!("/{}", path.trim_start_matches('/'));
                (Url::parse("http://localhost/").map_err(|_| none())?, builder.unix_socket(path))
            }
            Some(_) => return Err(none()),
            None => (address.parse::<Url>().map_err(|_| none())?, builder),
        };
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(none());
        }
        let http = builder.build().map_err(AdminError::Client)?;
        Ok(Self { base, address: address.to_owned(), token: None, http })
    }

    /// A page of images, the newest first.
    ///
    /// # Errors
    /// As for every request.
    pub async fn images(
        &self,
        phase: Option<Phase>,
        query: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ImageList, AdminError> {
        let mut url = self.url(&["images"]);
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("limit", &limit.to_string());
            if let Some(phase) = phase {
                pairs.append_pair("phase", phase.label());
            }
            for (name, value) in [("query", query), ("after", after)] {
                if let Some(value) = value {
                    pairs.append_pair(name, value);
                }
            }
        }
        self.ask(Method::GET, url, None::<&()>, TIMEOUT).await
    }

    /// Everything about one image; none where the id is nobody's.
    ///
    /// # Errors
    /// As for every request.
    pub async fn image(&self, id: &str) -> Result<Option<ImageView>, AdminError> {
        match self.ask(Method::GET, self.url(&["images", id]), None::<&()>, TIMEOUT).await {
            Ok(view) => Ok(Some(view)),
            Err(AdminError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hands images over.
    ///
    /// # Errors
    /// As for every request.
    pub async fn warm(&self, request: &WarmRequest) -> Result<WarmResponse, AdminError> {
        self.ask(Method::POST, self.url(&["warm"]), Some(request), TIMEOUT).await
    }

    /// What warming images would bring.
    ///
    /// # Errors
    /// As for every request.
    pub async fn plan(&self, request: &PlanRequest) -> Result<PlanResponse, AdminError> {
        self.ask(Method::POST, self.url(&["plan"]), Some(request), PLAN_TIMEOUT).await
    }

    /// Tries an image again; false where the id is nobody's.
    ///
    /// # Errors
    /// As for every request.
    pub async fn requeue(&self, id: &str) -> Result<bool, AdminError> {
        let url = self.url(&["images", id, "requeue"]);
        match self.send(Method::POST, url, None::<&()>, TIMEOUT).await {
            Ok(_) => Ok(true),
            Err(AdminError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Only a URL that can't be a base has no segments, and `new` refuses those.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        url
    }

    async fn ask<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&B>,
        timeout: Duration,
    ) -> Result<T, AdminError> {
        let bytes = self.send(method, url, body, timeout).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| AdminError::NotAService { address: self.address.clone(), cause: error.to_string() })
    }

    async fn send<B: Serialize>(
        &self,
        method: Method,
        url: Url,
        body: Option<&B>,
        timeout: Duration,
    ) -> Result<Vec<u8>, AdminError> {
        let mut request = self.http.request(method, url).timeout(timeout);
        if let Some(token) = &self.token {
            request = request.header(http::header::AUTHORIZATION, token.clone());
        }
        if let Some(body) = body {
            let json = serde_json::to_vec(body)
                .map_err(|error| AdminError::NotAService { address: self.address.clone(), cause: error.to_string() })?;
            request = request.header(http::header::CONTENT_TYPE, "application/json").body(json);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        Err(match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(ErrorBody { error }) => AdminError::Refused { status, sentence: error },
            Err(_) => {
                AdminError::NotAService { address: self.address.clone(), cause: format!("its status is {status}") }
            }
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> AdminError {
        let cause = if error.is_timeout() { "it took too long".to_owned() } else { cause_of(error) };
        AdminError::Unreachable { address: self.address.clone(), cause }
    }
}

/// The header that proves that whoever asks may.
fn read_token(path: &Path) -> Result<HeaderValue, AdminError> {
    let failed = |why: &str| AdminError::Token { path: path.to_owned(), why: why.to_owned() };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() {
        return Err(failed("it is empty"));
    }
    let mut header =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| failed("it is not one line of text"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{AdminClient, AdminError};

    #[rstest]
    #[case("127.0.0.1:9090")]
    #[case("localhost")]
    #[case("ftp://localhost")]
    #[case("unix:admin.sock")]
    #[case("unix:")]
    #[case("")]
    fn an_address_is_a_url(#[case] address: &str) {
        assert!(matches!(AdminClient::new(address), Err(AdminError::Address(_))), "{address}");
    }

    #[rstest]
    #[case("http://localhost:9090", "http://localhost:9090/api/v1/images/a%2Fb")]
    #[case("http://localhost:9090/warmer/", "http://localhost:9090/warmer/api/v1/images/a%2Fb")]
    fn an_id_is_one_segment_of_the_path(#[case] address: &str, #[case] url: &str) {
        assert_eq!(AdminClient::new(address).unwrap().url(&["images", "a/b"]).as_str(), url);
    }

    #[rstest]
    #[case("unix:/run/admin.sock")]
    #[case("unix:///run/admin.sock")]
    #[tokio::test]
    async fn nobody_at_the_socket_is_said_with_its_address(#[case] address: &str) {
        let error = AdminClient::new(address).unwrap().image("i-1").await.unwrap_err();
        assert!(matches!(&error, AdminError::Unreachable { address: told, .. } if told == address), "{error}");
    }

    #[test]
    fn a_token_is_one_line_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (text, header) in [("sesame\n", Some("Bearer sesame")), ("\n", None), ("two\nlines", None)] {
            std::fs::write(&path, text).unwrap();
            let read = super::read_token(&path).ok();
            assert_eq!(read.as_ref().map(|header| header.to_str().unwrap()), header);
        }
    }

    #[tokio::test]
    async fn nobody_at_the_port_is_said_with_its_address() {
        // Bound and let go, so that the port is free.
        let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = AdminClient::new(&format!("http://{address}")).unwrap().image("i-1").await.unwrap_err();

        let text = error.to_string();
        assert!(matches!(error, AdminError::Unreachable { .. }), "{text}");
        assert!(text.contains(&address.to_string()) && text.contains("harbor-warmer serve"), "{text}");
    }
}
