//! Manifests as Harbor reads and writes them.
//!
//! Own parsing, on purpose: the simulator shares no code with what it tests, so a misreading can't hide on both sides.

use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;

use crate::digest::Digest;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_NONDISTRIBUTABLE_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
pub(crate) const IN_TOTO_LAYER: &str = "application/vnd.in-toto+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(crate) const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// A manifest that Harbor knows how to cache.
#[derive(Debug, Clone)]
pub(crate) enum Manifest {
    Image { config: Blob, layers: Vec<Blob> },
    Index { children: Vec<IndexChild> },
}

impl Manifest {
    /// The blobs that it refers to itself: none for an index.
    pub(crate) fn blob_digests(self) -> Vec<Digest> {
        match self {
            Self::Image { config, layers } => std::iter::once(config).chain(layers).map(|blob| blob.digest).collect(),
            Self::Index { .. } => Vec::new(),
        }
    }
}

/// A blob that an image manifest refers to.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: String,
}

impl Blob {
    /// Docker's foreign layers are skipped by a replication; OCI's non-distributable ones are not.
    pub(crate) fn is_docker_foreign(&self) -> bool {
        self.media_type == DOCKER_FOREIGN_LAYER
    }
}

/// A descriptor in an index: field for field what docker/distribution 2.8 keeps of it, in its order, since Harbor
/// prints it again.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct IndexChild {
    #[serde(rename = "mediaType", default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    /// Whatever upstream says: Harbor doesn't look at it.
    #[serde(default)]
    pub(crate) size: i64,
    #[serde(default)]
    pub(crate) digest: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) platform: IndexPlatform,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub(crate) struct IndexPlatform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    os_version: String,
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
}

#[derive(Deserialize)]
struct RawImage {
    config: RawBlob,
    /// Go reads `null` and nothing at all as an empty list.
    #[serde(default)]
    layers: Option<Vec<RawBlob>>,
}

#[derive(Deserialize)]
struct RawBlob {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: String,
    size: i64,
}

#[derive(Deserialize)]
struct RawIndex {
    #[serde(default)]
    manifests: Option<Vec<IndexChild>>,
}

/// `distribution.UnmarshalManifest`: `None` for what Harbor can't read, among them the short-lived
/// `application/vnd.oci.artifact.manifest.v1+json`.
pub(crate) fn parse(media_type: &str, bytes: &[u8]) -> Option<Manifest> {
    match media_type.split(';').next().map(str::trim)? {
        OCI_INDEX | DOCKER_LIST => {
            let raw: RawIndex = serde_json::from_slice(bytes).ok()?;
            Some(Manifest::Index { children: raw.manifests.unwrap_or_default() })
        }
        OCI_MANIFEST | DOCKER_MANIFEST => {
            let raw: RawImage = serde_json::from_slice(bytes).ok()?;
            let blob = |raw: RawBlob| {
                let size = u64::try_from(raw.size).unwrap_or(0);
                Some(Blob { digest: Digest::parse(&raw.digest)?, size, media_type: raw.media_type })
            };
            let config = blob(raw.config)?;
            let layers = raw.layers.unwrap_or_default().into_iter().map(blob).collect::<Option<_>>()?;
            Some(Manifest::Image { config, layers })
        }
        _ => None,
    }
}

/// `manifestlist.FromDescriptors`: an index printed anew with these children. Annotations, subject and artifact type
/// of the index itself are gone and the indentation is three spaces, so its digest is another one even when no child
/// is missing, unless upstream's bytes came from the docker command line in the first place.
pub(crate) fn print_index(children: &[IndexChild]) -> (&'static str, Vec<u8>) {
    #[derive(Serialize)]
    struct Printed<'a> {
        #[serde(rename = "schemaVersion")]
        schema_version: u32,
        #[serde(rename = "mediaType")]
        media_type: &'a str,
        manifests: &'a [IndexChild],
    }
    let media_type = match children.first() {
        Some(first) if first.media_type == OCI_MANIFEST => OCI_INDEX,
        _ => DOCKER_LIST,
    };
    (media_type, print_indented(&Printed { schema_version: 2, media_type, manifests: children }))
}

/// JSON as `json.MarshalIndent(v, "", "   ")` prints it.
pub(crate) fn print_indented(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut printer = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"   "));
    value.serialize(&mut printer).expect("plain structs with string keys always print");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn an_index_printed_anew_loses_its_annotations_and_gets_another_digest() {
        let upstream = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{DIGEST}","size":7,"platform":{{"os":"linux","architecture":"amd64"}}}}],"annotations":{{"a":"b"}}}}"#
        );
        let Some(Manifest::Index { children }) = parse(OCI_INDEX, upstream.as_bytes()) else {
            panic!("an index was expected");
        };
        let (media_type, bytes) = print_index(&children);
        assert_eq!(media_type, OCI_INDEX);
        let printed = String::from_utf8(bytes.clone()).unwrap();
        assert!(printed.starts_with("{\n   \"schemaVersion\": 2,\n   \"mediaType\""), "{printed}");
        assert!(!printed.contains("annotations"), "{printed}");
        assert_ne!(Digest::of(&bytes), Digest::of(upstream.as_bytes()));
        let Some(Manifest::Index { children }) = parse(media_type, &bytes) else { panic!("it stays an index") };
        assert_eq!(print_index(&children).1, bytes, "printing is stable");
    }

    #[test]
    fn an_artifact_manifest_of_the_withdrawn_type_is_not_readable() {
        assert!(parse("application/vnd.oci.artifact.manifest.v1+json", b"{}").is_none());
    }
}
