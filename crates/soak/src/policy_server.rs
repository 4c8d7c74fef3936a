//! The policy server of each cluster, played by a plain HTTP client: announce, look up what the receipt asks for, hand
//! the platform manifests over.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use harbor_warmer_protocol::{
    Digest, HandOff, HarborImage, Lookup, Platforms, Receipt, RegistryRequest, Subject, TagOrDigest,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::ledger::{Published, cluster_name};
use crate::script::{Admission, Written};
use crate::site::{Harbors, PASSWORD};

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                        application/vnd.docker.distribution.manifest.list.v2+json, \
                        application/vnd.docker.distribution.manifest.v2+json";

/// What came of an admission.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The warmer's id of the image or announcement.
    pub id: String,
    /// Whether a look-up was asked for.
    pub looked_up: bool,
    /// Whether it was answered to its end, and the platform manifests handed over.
    pub handed_over: bool,
}

/// Plays the admission against the warmer's registry port at `warmer`.
///
/// # Errors
/// The warmer did not take it: an admission must never be lost.
pub async fn admit(
    http: &reqwest::Client,
    warmer: std::net::SocketAddr,
    admission: &Admission,
    published: &Published,
) -> anyhow::Result<Admitted> {
    let root: Digest = published.image.digest.parse()?;
    let image = HarborImage {
        harbor: Harbors::name_of(published.project).parse()?,
        project: published.project.parse()?,
        repository: published.image.repository.parse()?,
    };
    let platforms = Platforms::new(
        admission.platforms.split(',').map(|platform| platform.parse()).collect::<Result<Vec<_>, _>>()?,
    )?;
    let client = Client { http, warmer, cluster: cluster_name(admission.cluster) };
    let (subject, reference, tag) = match &admission.written {
        Written::Tag(tag) => (Subject::Tag(tag.parse()?), tag.clone(), Some(tag.parse()?)),
        Written::Digest => (Subject::Pin { digest: root, tag: None }, root.to_string(), None),
        Written::Both(tag) => {
            (Subject::Pin { digest: root, tag: Some(tag.parse()?) }, root.to_string(), Some(tag.parse()?))
        }
    };
    let hand_off = HandOff { image: image.clone(), target: None, platforms: platforms.clone(), subject };
    let receipt = client.hand_over(&hand_off).await?;
    let id = receipt.image.context("the receipt names no image")?;
    if receipt.lookup == Lookup::No {
        return Ok(Admitted { id, looked_up: false, handed_over: false });
    }
    let mut admitted = Admitted { id, looked_up: true, handed_over: false };
    let Some(children) = client.look_up(&image, &reference, admission.platforms).await? else { return Ok(admitted) };
    for child in children {
        let subject = Subject::Layers { child, tag: tag.clone() };
        client.hand_over(&HandOff { subject, ..hand_off.clone() }).await?;
    }
    admitted.handed_over = true;
    Ok(admitted)
}

struct Client<'a> {
    http: &'a reqwest::Client,
    warmer: std::net::SocketAddr,
    cluster: &'static str,
}

impl Client<'_> {
    async fn ask(&self, method: Method, name: &str, reference: &str) -> anyhow::Result<reqwest::Response> {
        let url = format!("http://{}/v2/{name}/manifests/{reference}", self.warmer);
        let request = self.http.request(method, url).basic_auth(self.cluster, Some(PASSWORD));
        request.header("Accept", ACCEPTED).send().await.context("the warmer does not answer")
    }

    async fn hand_over(&self, hand_off: &HandOff) -> anyhow::Result<Receipt> {
        let (name, tag) = hand_off.to_name()?;
        let answer = self.ask(Method::GET, &name, &tag).await?;
        ensure!(answer.status() == StatusCode::OK, "the warmer answers a hand-off with {}", answer.status());
        Ok(Receipt::from_manifest(&answer.bytes().await?)?)
    }

    /// The platform manifests, looked up through the warmer's front; none where it defers or refuses.
    async fn look_up(
        &self,
        image: &HarborImage,
        reference: &str,
        platforms: &str,
    ) -> anyhow::Result<Option<Vec<Digest>>> {
        let name = RegistryRequest::front_name(image)?;
        let head = self.ask(Method::HEAD, &name, reference).await?;
        if !head.status().is_success() {
            return Ok(None);
        }
        let digest = head.headers().get("Docker-Content-Digest").context("a HEAD without a digest")?.to_str()?;
        let TagOrDigest::Digest(root) = digest.parse()? else { anyhow::bail!("`{digest}` is no digest") };
        let Some(manifest) = self.manifest(&name, &root).await? else { return Ok(None) };
        let Some(children) = manifest["manifests"].as_array() else { return Ok(Some(vec![root])) };
        let wanted: BTreeSet<&str> = platforms.split(',').collect();
        let mut found = Vec::new();
        for child in children {
            let text = |field: &str| child["platform"][field].as_str().unwrap_or_default();
            if !wanted.contains(format!("{}/{}", text("os"), text("architecture")).as_str()) {
                continue;
            }
            let digest: Digest = child["digest"].as_str().context("a child without a digest")?.parse()?;
            if self.manifest(&name, &digest).await?.is_none() {
                return Ok(None);
            }
            found.push(digest);
        }
        Ok(Some(found))
    }

    async fn manifest(&self, name: &str, digest: &Digest) -> anyhow::Result<Option<Value>> {
        let answer = self.ask(Method::GET, name, &digest.to_string()).await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&answer.bytes().await?)?))
    }
}
