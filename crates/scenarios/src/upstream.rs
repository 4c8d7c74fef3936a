//! The registry behind Harbor's proxy cache, as one who may push there sees it.

use reqwest::{Client, Method, Response, StatusCode, Url, header};

use crate::content::{Blob, Image, OCI_INDEX, OCI_MANIFEST};
use crate::credentials::Credentials;

/// Why an image could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The registry doesn't answer.
    #[error("the upstream registry can't be reached")]
    Unreachable(#[from] reqwest::Error),
    /// It answers something else.
    #[error("the upstream registry answered {status} to {request}")]
    Refused {
        /// Method and path.
        request: String,
        /// The status.
        status: StatusCode,
    },
    /// The start of an upload names no place to upload to.
    #[error("the upstream registry named no place for an upload")]
    NoLocation,
}

/// A registry that takes pushes (distribution-spec, "Push").
#[derive(Clone, Debug)]
pub struct Upstream {
    url: Url,
    credentials: Option<Credentials>,
    http: Client,
}

impl Upstream {
    /// The registry at this address; anonymous without credentials.
    pub fn new(url: Url, credentials: Option<Credentials>, http: Client) -> Self {
        Self { url, credentials, http }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Pushes the image under its tags, the blobs first.
    pub(crate) async fn push(&self, image: &Image, tags: &[&str]) -> Result<(), UpstreamError> {
        for child in &image.children {
            for blob in &child.blobs {
                self.push_blob(&image.repository, blob).await?;
            }
            self.push_manifest(&image.repository, &child.manifest.digest, OCI_MANIFEST, &child.manifest).await?;
        }
        let media_type = if image.index.is_some() { OCI_INDEX } else { OCI_MANIFEST };
        for tag in tags {
            self.push_manifest(&image.repository, tag, media_type, image.root()).await?;
        }
        Ok(())
    }

    async fn push_blob(&self, repository: &str, blob: &Blob) -> Result<(), UpstreamError> {
        let start = self.at(&format!("/v2/{repository}/blobs/uploads/"));
        let answer = self.send(Method::POST, start.clone(), None).await?;
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let mut place = location.and_then(|location| start.join(location).ok()).ok_or(UpstreamError::NoLocation)?;
        place.query_pairs_mut().append_pair("digest", &blob.digest);
        self.send(Method::PUT, place, Some(("application/octet-stream", blob))).await?;
        Ok(())
    }

    async fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: &Blob,
    ) -> Result<(), UpstreamError> {
        let place = self.at(&format!("/v2/{repository}/manifests/{reference}"));
        self.send(Method::PUT, place, Some((media_type, manifest))).await?;
        Ok(())
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    async fn send(&self, method: Method, url: Url, body: Option<(&str, &Blob)>) -> Result<Response, UpstreamError> {
        let request = format!("{method} {}", url.path());
        let mut builder = self.http.request(method, url);
        if let Some(credentials) = &self.credentials {
            builder = builder.basic_auth(&credentials.username, Some(&credentials.password));
        }
        builder = match body {
            Some((media_type, blob)) => builder.header(header::CONTENT_TYPE, media_type).body(blob.bytes.clone()),
            None => builder.header(header::CONTENT_LENGTH, 0),
        };
        let answer = builder.send().await?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(UpstreamError::Refused { request, status: answer.status() })
        }
    }
}
