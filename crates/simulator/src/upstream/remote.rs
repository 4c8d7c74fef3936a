//! A real registry as upstream, anonymous, with the Bearer token flow.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Response, Url};
use serde::Deserialize;

use crate::digest::Digest;
use crate::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::upstream::{UpstreamDescriptor, UpstreamError, UpstreamManifest};

/// Error bodies are quoted in Harbor's messages; an HTML page would not help anyone.
const BODY_QUOTED: usize = 512;

#[derive(Debug)]
pub(crate) struct Remote {
    base: Url,
    client: Client,
    /// By repository.
    tokens: Mutex<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Vec<String>,
}

impl Remote {
    pub(crate) fn new(base: Url) -> Result<Self, reqwest::Error> {
        // A second call finds the provider installed, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().user_agent("harbor-registry-client").build()?;
        Ok(Self { base, client, tokens: Mutex::default() })
    }

    pub(super) async fn head_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<UpstreamDescriptor, UpstreamError> {
        let answer = self.send(Method::HEAD, repository, &format!("manifests/{reference}")).await?;
        let header = |name: &str| text(answer.headers(), name).unwrap_or_default().to_owned();
        let digest = Digest::parse(&header("docker-content-digest")).or_else(|| Digest::parse(reference));
        let size = header(CONTENT_LENGTH.as_str()).parse().unwrap_or(0);
        Ok(UpstreamDescriptor { digest, media_type: header(CONTENT_TYPE.as_str()), size })
    }

    pub(super) async fn get_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<UpstreamManifest, UpstreamError> {
        let answer = self.send(Method::GET, repository, &format!("manifests/{reference}")).await?;
        let media_type = text(answer.headers(), CONTENT_TYPE.as_str()).unwrap_or_default().to_owned();
        let bytes = answer.bytes().await.map_err(|_| UpstreamError::Unreachable)?;
        Ok(UpstreamManifest { digest: Digest::of(&bytes), media_type, bytes })
    }

    pub(super) async fn open_blob(&self, repository: &str, digest: &Digest) -> Result<(u64, Response), UpstreamError> {
        let answer = self.send(Method::GET, repository, &format!("blobs/{digest}")).await?;
        Ok((answer.content_length().unwrap_or(0), answer))
    }

    pub(super) async fn list_tags(&self, repository: &str) -> Result<Vec<String>, UpstreamError> {
        let answer = self.send(Method::GET, repository, "tags/list").await?;
        let bytes = answer.bytes().await.map_err(|_| UpstreamError::Unreachable)?;
        let list: TagList = serde_json::from_slice(&bytes).map_err(|_| UpstreamError::Unreachable)?;
        Ok(list.tags)
    }

    async fn send(&self, method: Method, repository: &str, rest: &str) -> Result<Response, UpstreamError> {
        let known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(repository).cloned();
        let mut answer = self.attempt(&method, repository, rest, known.as_deref()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(challenge) = text(answer.headers(), WWW_AUTHENTICATE.as_str())
            && let Some(token) = self.fetch_token(challenge, repository).await?
        {
            answer = self.attempt(&method, repository, rest, Some(&token)).await?;
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.to_owned(), token);
        }
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let mut body = answer.text().await.unwrap_or_default();
        body.truncate(body.floor_char_boundary(BODY_QUOTED));
        Err(UpstreamError::Status { status, body })
    }

    async fn attempt(
        &self,
        method: &Method,
        repository: &str,
        rest: &str,
        token: Option<&str>,
    ) -> Result<Response, UpstreamError> {
        let url = self.base.join(&format!("/v2/{repository}/{rest}")).map_err(|_| UpstreamError::Unreachable)?;
        let mut request = self.client.request(method.clone(), url);
        if rest.starts_with("manifests/") {
            request = request.header(ACCEPT, [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", "));
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.send().await.map_err(|_| UpstreamError::Unreachable)
    }

    async fn fetch_token(&self, challenge: &str, repository: &str) -> Result<Option<String>, UpstreamError> {
        let Some(parameters) = challenge.strip_prefix("Bearer ") else { return Ok(None) };
        let parameter = |name: &str| {
            let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let Some(mut url) = parameter("realm").and_then(|realm| Url::parse(&realm).ok()) else { return Ok(None) };
        let scope = parameter("scope").unwrap_or_else(|| format!("repository:{repository}:pull"));
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = parameter("service") {
            url.query_pairs_mut().append_pair("service", &service);
        }
        let answer = self.client.get(url).send().await.map_err(|_| UpstreamError::Unreachable)?;
        let bytes = answer.bytes().await.map_err(|_| UpstreamError::Unreachable)?;
        let Ok(answer) = serde_json::from_slice::<TokenAnswer>(&bytes) else { return Ok(None) };
        Ok([answer.token, answer.access_token].into_iter().find(|token| !token.is_empty()))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
