//! An image of three platforms, pushed as the distribution specification says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(super) const REPOSITORY: &str = "library/app";
pub(super) const TAG: &str = "1.0";

const PLATFORMS: [(&str, &str); 3] = [("linux", "amd64"), ("linux", "arm64"), ("linux", "s390x")];

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What was pushed.
pub(super) struct Image {
    index: String,
    platforms: BTreeMap<String, Platform>,
}

struct Platform {
    manifest: String,
    /// Digests and sizes; the large layer comes last.
    blobs: Vec<(String, u64)>,
}

impl Image {
    /// Every digest that a cache holds once this platform was pulled by the tag.
    pub(super) fn contents_of(&self, platform: &str) -> BTreeSet<String> {
        let Platform { manifest, blobs } = &self.platforms[platform];
        let blobs = blobs.iter().map(|(digest, _)| digest);
        [&self.index, manifest].into_iter().chain(blobs).cloned().collect()
    }

    pub(super) fn blob_bytes_of(&self, platform: &str) -> u64 {
        self.platforms[platform].blobs.iter().map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn large_layer_of(&self, platform: &str) -> String {
        self.platforms[platform].blobs.last().unwrap().0.clone()
    }
}

/// Pushes the image; its large layers have so many bytes, which can't be compressed.
pub(super) async fn push(http: &reqwest::Client, registry: SocketAddr, large: usize) -> Image {
    let mut platforms = BTreeMap::new();
    let mut children = Vec::new();
    for (n, (os, architecture)) in PLATFORMS.into_iter().enumerate() {
        let config = json!({"os": os, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": []}});
        let config = push_blob(http, registry, CONFIG, config.to_string().into_bytes()).await;
        let small = push_blob(http, registry, LAYER, noise(n as u64, 4 << 10)).await;
        let large = push_blob(http, registry, LAYER, noise(100 + n as u64, large)).await;
        let blobs = [&config, &small, &large].map(|blob| (digest(blob), blob["size"].as_u64().unwrap())).into();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [small, large]});
        let mut child = push_manifest(http, registry, MANIFEST, &manifest, None).await;
        child["platform"] = json!({"os": os, "architecture": architecture});
        platforms.insert(format!("{os}/{architecture}"), Platform { manifest: digest(&child), blobs });
        children.push(child);
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
    let index = push_manifest(http, registry, INDEX, &index, Some(TAG)).await;
    Image { index: digest(&index), platforms }
}

/// Bytes that can't be compressed, by Marsaglia's xorshift: an unoptimised build makes a hundred megabytes of them.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut noise = vec![0; bytes];
    for word in noise.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    noise
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": content.len()})
}

async fn push_blob(http: &reqwest::Client, registry: SocketAddr, media_type: &str, content: Vec<u8>) -> Value {
    let descriptor = descriptor(media_type, &content);
    let url = format!("http://{registry}/v2/{REPOSITORY}/blobs/uploads/");
    let begun = http.post(url).send().await.unwrap().error_for_status().unwrap();
    let location = begun.headers()["location"].to_str().unwrap();
    let separator = if location.contains('?') { '&' } else { '?' };
    let url = format!("{location}{separator}digest={}", digest(&descriptor));
    http.put(url).body(content).send().await.unwrap().error_for_status().unwrap();
    descriptor
}

async fn push_manifest(
    http: &reqwest::Client,
    registry: SocketAddr,
    media_type: &str,
    manifest: &Value,
    tag: Option<&str>,
) -> Value {
    let content = manifest.to_string().into_bytes();
    let descriptor = descriptor(media_type, &content);
    let reference = tag.map_or_else(|| digest(&descriptor), str::to_owned);
    let url = format!("http://{registry}/v2/{REPOSITORY}/manifests/{reference}");
    let put = http.put(url).header("content-type", media_type).body(content).send().await.unwrap();
    put.error_for_status().unwrap();
    descriptor
}
