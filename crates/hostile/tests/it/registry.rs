//! A registry that does everything right: what each row breaks in one place.
//!
//! As a Distribution registry it is a cache that has a blob once it was asked for it. As a Harbor it tells so by a HEAD
//! of a blob, and records a manifest that was read once its blobs are there. Written from the distribution and image
//! specifications and from Harbor's public API alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::http::{Answer, Request};

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What a row calls the image.
pub(crate) const REPOSITORY: &str = "library/app";
pub(crate) const TAG: &str = "1.0";
/// The project where there are projects.
pub(crate) const PROJECT: &str = "hub";

/// As what the registry is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Harbor,
    Distribution,
}

#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) kind: Kind,
    /// `http://127.0.0.1:PORT`, and the same server by another name.
    pub(crate) url: String,
    pub(crate) elsewhere: String,
    pub(crate) manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) tags: BTreeMap<String, String>,
    /// The manifests without which the image isn't warm.
    wanted: Vec<String>,
    stored: Mutex<BTreeSet<String>>,
    read: Mutex<BTreeSet<String>>,
}

pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A descriptor of the image specification.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()})
}

impl Registry {
    pub(crate) fn new(kind: Kind, url: String, elsewhere: String) -> Self {
        Self {
            kind,
            url,
            elsewhere,
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            tags: BTreeMap::new(),
            wanted: Vec::new(),
            stored: Mutex::default(),
            read: Mutex::default(),
        }
    }

    pub(crate) fn add_blob(&mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Value {
        let bytes = bytes.into();
        let listed = descriptor(media_type, &bytes);
        self.blobs.insert(digest_of(&bytes), bytes);
        listed
    }

    pub(crate) fn add_manifest(&mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Value {
        let bytes = bytes.into();
        let listed = descriptor(media_type, &bytes);
        self.manifests.insert(digest_of(&bytes), (media_type.to_owned(), bytes));
        listed
    }

    /// A config blob of a platform.
    pub(crate) fn add_config(&mut self, os: &str, architecture: &str) -> Value {
        let config = json!({"os": os, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": []}});
        self.add_blob(OCI_CONFIG, config.to_string())
    }

    /// An image manifest with these layers; its descriptor.
    pub(crate) fn add_image(&mut self, config: &Value, layers: &[Value]) -> Value {
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
        self.add_manifest(OCI_MANIFEST, manifest.to_string())
    }

    /// An image manifest of a platform with two layers; its descriptor, platform included.
    pub(crate) fn add_platform(&mut self, os: &str, architecture: &str) -> Value {
        let config = self.add_config(os, architecture);
        let layers = [0, 1].map(|number| self.add_blob(OCI_LAYER, format!("layer {number} of {os}/{architecture}")));
        let mut listed = self.add_image(&config, &layers);
        listed["platform"] = json!({"os": os, "architecture": architecture});
        listed
    }

    /// An index of these entries; its descriptor.
    pub(crate) fn add_index(&mut self, entries: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        self.add_manifest(OCI_INDEX, index.to_string())
    }

    /// What the tag names.
    pub(crate) fn tag(&mut self, listed: &Value) {
        self.tags.insert(TAG.to_owned(), text(listed, "digest"));
    }

    /// The image is warm when this manifest is.
    pub(crate) fn want(&mut self, listed: &Value) {
        self.wanted.push(text(listed, "digest"));
    }

    /// An index of linux/amd64, which is wanted, and linux/arm64.
    pub(crate) fn add_usual_image(&mut self) {
        let (amd64, arm64) = (self.add_platform("linux", "amd64"), self.add_platform("linux", "arm64"));
        let index = self.add_index(&[amd64.clone(), arm64]);
        self.tag(&index);
        self.want(&amd64);
    }

    /// One manifest of linux/amd64, without an index.
    pub(crate) fn add_single_image(&mut self) {
        let amd64 = self.add_platform("linux", "amd64");
        self.tag(&amd64);
        self.want(&amd64);
    }

    /// Blobs that a manifest refers to.
    pub(crate) fn blobs_of(&self, manifest: &str) -> Vec<String> {
        let Some((_, bytes)) = self.manifests.get(manifest) else { return Vec::new() };
        let read: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let layers = read["layers"].as_array().cloned().unwrap_or_default();
        // Those that may not be distributed are fetched by nodes from where their `urls` say.
        let kept_away = |listed: &&Value| {
            let media_type = text(listed, "mediaType");
            media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
        };
        let layers = layers.iter().filter(|layer| !kept_away(layer));
        std::iter::once(&read["config"]).chain(layers).map(|listed| text(listed, "digest")).collect()
    }

    pub(crate) fn store(&self, digest: &str) {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned());
    }

    pub(crate) fn has_stored(&self, digest: &str) -> bool {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    /// Whether the manifest was read and all its blobs were asked for.
    fn holds(&self, manifest: &str) -> bool {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).contains(manifest);
        read && self.blobs_of(manifest).iter().all(|blob| self.has_stored(blob))
    }

    /// Whether everything that is wanted is there.
    pub(crate) fn is_warm(&self) -> bool {
        !self.wanted.is_empty() && self.wanted.iter().all(|manifest| self.holds(manifest))
    }

    /// The right answer; the blob that it is about arrives, the manifest counts as read.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let answer = self.would_answer(request);
        if !request.is_head() && matches!(answer.status, 200 | 206) {
            if request.of_blob() {
                self.store(request.reference());
            } else if request.of_manifest() {
                let digest = self.tags.get(request.reference()).map_or(request.reference(), String::as_str);
                self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned());
            }
        }
        answer
    }

    /// The right answer, by which nothing arrives.
    pub(crate) fn would_answer(&self, request: &Request) -> Answer {
        let path = request.path();
        let name = match self.kind {
            Kind::Harbor => format!("/v2/{PROJECT}/{REPOSITORY}/"),
            Kind::Distribution => format!("/v2/{REPOSITORY}/"),
        };
        if path == "/v2/" {
            return json_answer(&json!({})).header("Docker-Distribution-Api-Version", "registry/2.0");
        }
        if let Some(rest) = path.strip_prefix(&name) {
            if let Some(reference) = rest.strip_prefix("manifests/") {
                return self.manifest(reference);
            }
            if let Some(digest) = rest.strip_prefix("blobs/") {
                return self.blob(digest, request);
            }
            if rest == "tags/list" {
                return json_answer(&json!({"name": REPOSITORY, "tags": self.tags.keys().collect::<Vec<_>>()}));
            }
        }
        if self.kind == Kind::Harbor
            && let Some(rest) = path.strip_prefix("/api/v2.0/")
        {
            return self.api(rest);
        }
        Answer::error(404, "NOT_FOUND", "page not found")
    }

    fn manifest(&self, reference: &str) -> Answer {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        match self.manifests.get(digest) {
            Some((media_type, bytes)) => Answer::new(200)
                .header("Content-Type", media_type)
                .header("Docker-Content-Digest", digest)
                .body(bytes.clone()),
            // Harbor's words for what its upstream doesn't have.
            None if self.kind == Kind::Harbor => {
                let message = format!("resource not found: repo {PROJECT}/{REPOSITORY}, tag  not found");
                Answer::error(404, "NOT_FOUND", &message)
            }
            None => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    fn blob(&self, digest: &str, request: &Request) -> Answer {
        // A Harbor's HEAD tells what it has; a Distribution cache's asks its origin.
        let stored = self.has_stored(digest);
        let absent = self.kind == Kind::Harbor && request.is_head() && !stored;
        match self.blobs.get(digest).filter(|_| !absent) {
            // Parts are served of what is in the storage; what comes from the origin comes whole.
            Some(bytes) if stored && request.header("range").is_some() => {
                let range = request.header("range").and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
                let (first, last) = range.unwrap_or(("0", ""));
                let first = first.parse().unwrap_or(0).min(bytes.len());
                let end = last.parse().map_or(bytes.len(), |last: usize| (last + 1).clamp(first, bytes.len()));
                if first == end {
                    return Answer::new(416).header("Content-Range", format!("bytes */{}", bytes.len()));
                }
                Answer::new(206)
                    .header("Content-Type", "application/octet-stream")
                    .header("Content-Range", format!("bytes {first}-{}/{}", end - 1, bytes.len()))
                    .header("Docker-Content-Digest", digest)
                    .body(bytes[first..end].to_vec())
            }
            Some(bytes) => Answer::new(200)
                .header("Content-Type", "application/octet-stream")
                .header("Docker-Content-Digest", digest)
                .body(bytes.clone()),
            None => Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        }
    }

    fn api(&self, rest: &str) -> Answer {
        let (project, _) = rest.split_once("/artifacts/").unwrap_or((rest, ""));
        let reference = rest.split_once("/artifacts/").map_or("", |(_, reference)| reference);
        let reference = reference.split('/').next().unwrap_or_default();
        if rest == "ping" {
            return Answer::new(200).header("Content-Type", "text/plain").body("Pong");
        }
        if rest == "systeminfo" {
            return json_answer(&json!({"harbor_version": "v2.15.2", "auth_mode": "db_auth"}));
        }
        if !project.starts_with("projects/") || reference.is_empty() {
            return Answer::error(404, "NOT_FOUND", "path not found");
        }
        let reference = reference.replace("%3A", ":");
        let digest = self.tags.get(&reference).cloned().unwrap_or(reference);
        let missing =
            || Answer::error(404, "NOT_FOUND", &format!("artifact {PROJECT}/{REPOSITORY}@{digest} not found"));
        let Some((media_type, bytes)) = self.manifests.get(&digest) else { return missing() };
        let read: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let entries = read["manifests"].as_array().cloned().unwrap_or_default();
        let recorded: Vec<_> = entries.iter().map(|entry| text(entry, "digest")).filter(|it| self.holds(it)).collect();
        if recorded.is_empty() && !self.holds(&digest) {
            return missing();
        }
        let names = self.tags.iter().filter(|(_, named)| **named == digest).map(|(name, _)| json!({"name": name}));
        json_answer(&json!({
            "digest": digest,
            "manifest_media_type": media_type,
            "references": recorded.iter().map(|child| json!({"child_digest": child})).collect::<Vec<_>>(),
            "tags": names.collect::<Vec<_>>(),
        }))
    }
}

fn json_answer(value: &Value) -> Answer {
    Answer::new(200).header("Content-Type", "application/json").body(value.to_string())
}

pub(crate) fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
