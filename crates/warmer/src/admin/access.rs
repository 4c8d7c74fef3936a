//! Who may read and act over the admin API. Pure.
//!
//! Three entrances: a Unix socket, whose file says who may; a port of this machine alone; and a port that others reach.
//! The token opens the last two where one is configured, and the last one only then. Without a token, what a browser
//! would send for a page that isn't the warmer's own is refused: its `Host` is no name of this machine (DNS rebinding),
//! or its `Origin` is another. Probes and metrics are no part of this.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::admin::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// The Unix socket.
    Socket,
    /// A port on a loopback address.
    Loopback,
    /// Any other port.
    Network,
}

impl Entrance {
    /// The entrance that a listener at this address is.
    pub(crate) fn at(address: IpAddr) -> Self {
        if address.to_canonical().is_loopback() { Self::Loopback } else { Self::Network }
    }
}

/// The token's hash, which changes when its file does. None where no token is configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token(Option<Arc<RwLock<[u8; 32]>>>);

impl Token {
    /// A token with this text.
    pub(crate) fn new(text: &[u8]) -> Self {
        Self(Some(Arc::new(RwLock::new(Sha256::digest(text).into()))))
    }

    /// From now on it is this text.
    pub(crate) fn replace(&self, text: &[u8]) {
        if let Some(hash) = &self.0 {
            *hash.write().unwrap_or_else(PoisonError::into_inner) = Sha256::digest(text).into();
        }
    }

    /// Whether the headers have it; none where there is none to have.
    fn is_given(&self, headers: &HeaderMap) -> Option<bool> {
        let hash = self.0.as_ref()?;
        let given = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' ').to_owned())
        });
        let given: [u8; 32] = Sha256::digest(given.unwrap_or_default().as_bytes()).into();
        Some(hash.read().unwrap_or_else(PoisonError::into_inner).ct_eq(&given).into())
    }
}

/// Who may come in by an entrance.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    entrance: Entrance,
    token: Token,
}

impl Access {
    pub(crate) fn new(entrance: Entrance, token: Token) -> Self {
        Self { entrance, token }
    }

    /// Whether a request may be answered.
    pub(super) fn allow(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        if method == Method::POST && !has_json_or_nothing(headers) {
            // What a form on any page could send.
            let sentence = "send JSON, as content-type application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
        }
        if self.entrance == Entrance::Socket {
            return Ok(());
        }
        if is_of_another_page(headers) {
            let sentence = "a page of another origin may not use the admin API";
            return Err(ApiError::new(StatusCode::FORBIDDEN, sentence));
        }
        match (self.token.is_given(headers), self.entrance) {
            (Some(true), _) => Ok(()),
            (Some(false), _) => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "the admin API wants the token of admin.tokenFile, as `Authorization: Bearer TOKEN`; the command line \
                 takes it from --admin-token-file",
            )),
            (None, Entrance::Loopback) if is_this_machine(headers) => Ok(()),
            (None, Entrance::Loopback) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "the admin API answers by the names localhost and 127.0.0.1 alone; for another name, write \
                 admin.tokenFile into the configuration",
            )),
            (None, _) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "the admin API is closed here, since others than this machine reach the port; use the socket of \
                 admin.socket, or write admin.tokenFile into the configuration",
            )),
        }
    }
}

fn has_json_or_nothing(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(is_json)
}

/// Whether a media type is JSON's, with parameters or without.
pub(super) fn is_json(media_type: &http::HeaderValue) -> bool {
    let text = media_type.to_str().unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Browsers say where a request comes from, in one header or the other; programs say neither.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let foreign_origin = headers.get_all(ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        !authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host))
    });
    let foreign_site =
        headers.get_all(SEC_FETCH_SITE).iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    foreign_origin || foreign_site
}

/// Whether `Host` is a name that no page elsewhere can have.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn status(access: &Access, method: Method, pairs: &[(&str, &str)]) -> u16 {
        match access.allow(&method, &headers(pairs)) {
            Ok(()) => 200,
            Err(error) => axum::response::IntoResponse::into_response(error).status().as_u16(),
        }
    }

    #[rstest]
    #[case::a_program("localhost:9090", &[], 200)]
    #[case::an_address("127.0.0.1:9090", &[], 200)]
    #[case::another_loopback_address("127.8.8.8", &[], 200)]
    #[case::ipv6("[::1]:9090", &[], 200)]
    #[case::a_mapped_address("[::ffff:127.0.0.1]:9090", &[], 200)]
    #[case::a_page_of_its_own("localhost:9090", &[("origin", "http://localhost:9090"), ("sec-fetch-site", "same-origin")], 200)]
    #[case::an_address_bar("localhost:9090", &[("sec-fetch-site", "none")], 200)]
    #[case::a_rebound_name("evil.example:9090", &[], 403)]
    #[case::a_rebound_name_of_its_own_origin("evil.example:9090", &[("origin", "http://evil.example:9090")], 403)]
    #[case::a_name_that_begins_like_this_machine("localhost.evil.example", &[], 403)]
    #[case::an_address_within_a_name("127.0.0.1.evil.example", &[], 403)]
    #[case::userinfo("localhost@evil.example", &[], 403)]
    #[case::no_host("", &[], 403)]
    #[case::a_foreign_page("localhost:9090", &[("origin", "https://evil.example")], 403)]
    #[case::a_page_of_another_port("localhost:9090", &[("origin", "http://localhost:8080")], 403)]
    #[case::a_sandboxed_page("localhost:9090", &[("origin", "null")], 403)]
    #[case::an_image_on_a_foreign_page("localhost:9090", &[("sec-fetch-site", "cross-site")], 403)]
    #[case::two_origins("localhost:9090", &[("origin", "http://localhost:9090"), ("origin", "https://evil.example")], 403)]
    fn without_a_token_only_this_machine_and_no_foreign_page(
        #[case] host: &str,
        #[case] more: &[(&str, &str)],
        #[case] expected: u16,
    ) {
        let access = Access::new(Entrance::Loopback, Token::default());
        let mut pairs = vec![("host", host)];
        pairs.extend(more);
        for method in [Method::GET, Method::POST] {
            assert_eq!(status(&access, method, &pairs), expected);
        }
    }

    #[rstest]
    #[case::given("Bearer sesame", 200)]
    #[case::in_another_case("bearer sesame", 200)]
    #[case::wrong("Bearer other", 401)]
    #[case::empty("Bearer ", 401)]
    #[case::another_scheme("Basic sesame", 401)]
    #[case::without_a_scheme("sesame", 401)]
    fn a_token_opens_every_port_that_has_one(#[case] authorization: &str, #[case] expected: u16) {
        for entrance in [Entrance::Loopback, Entrance::Network] {
            let access = Access::new(entrance, Token::new(b"sesame"));
            let pairs = [("host", "warmer.example:9090"), ("authorization", authorization)];
            assert_eq!(status(&access, Method::POST, &pairs), expected);
            assert_eq!(status(&access, Method::GET, &pairs[..1]), 401);
        }
    }

    #[test]
    fn a_port_that_others_reach_is_closed_without_a_token_and_the_socket_is_always_open() {
        let network = Access::new(Entrance::Network, Token::default());
        assert_eq!(status(&network, Method::GET, &[("host", "127.0.0.1:9090")]), 403);
        assert_eq!(status(&network, Method::GET, &[("host", "127.0.0.1"), ("authorization", "Bearer ")]), 403);
        let socket = Access::new(Entrance::Socket, Token::new(b"sesame"));
        assert_eq!(status(&socket, Method::POST, &[]), 200);
    }

    #[test]
    fn a_replaced_token_replaces_the_old_one() {
        let token = Token::new(b"sesame");
        let access = Access::new(Entrance::Network, token.clone());
        token.replace(b"open");
        assert_eq!(status(&access, Method::GET, &[("authorization", "Bearer sesame")]), 401);
        assert_eq!(status(&access, Method::GET, &[("authorization", "Bearer open")]), 200);
    }

    #[rstest]
    #[case("text/plain", 415)]
    #[case("application/x-www-form-urlencoded", 415)]
    #[case("multipart/form-data; boundary=x", 415)]
    #[case("application/json; charset=utf-8", 200)]
    fn a_form_of_any_page_can_not_post(#[case] media_type: &str, #[case] expected: u16) {
        for entrance in [Entrance::Socket, Entrance::Loopback] {
            let access = Access::new(entrance, Token::default());
            let pairs = [("host", "localhost"), ("content-type", media_type)];
            assert_eq!(status(&access, Method::POST, &pairs), expected);
        }
    }
}
