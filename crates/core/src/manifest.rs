//! What a manifest's bytes say: an index of platforms, or the blobs of one.

use harbor_warmer_protocol::Digest;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::Deserialize;

use crate::image::{Blob, Child};

/// A manifest, as far as warming goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// An image index or a Docker manifest list.
    Index(Vec<Child>),
    /// An image manifest; config first.
    Image(Vec<Blob>),
}

/// Tells the kinds apart by what is there: media types are optional in an OCI manifest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// A sentence that says why Harbor does not cache such a manifest, or that it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let shape: Shape =
            serde_json::from_slice(bytes).map_err(|error| format!("the manifest can't be read: {error}"))?;
        match shape {
            Shape { schema_version: 1, .. } => Err("the manifest has the old schema version 1".to_owned()),
            Shape { manifests: Some(_), .. } => {
                let index: ImageIndex =
                    serde_json::from_slice(bytes).map_err(|error| format!("the index can't be read: {error}"))?;
                Ok(Self::Index(index.manifests().iter().map(child).collect::<Result<_, _>>()?))
            }
            Shape { config: Some(_), layers: Some(_), .. } => {
                let manifest: ImageManifest =
                    serde_json::from_slice(bytes).map_err(|error| format!("the manifest can't be read: {error}"))?;
                let descriptors = std::iter::once(manifest.config()).chain(manifest.layers());
                Ok(Self::Image(descriptors.map(blob).collect::<Result<_, _>>()?))
            }
            Shape { .. } => Err("it is neither an image manifest nor an index".to_owned()),
        }
    }
}

fn child(descriptor: &Descriptor) -> Result<Child, String> {
    // An attestation says `unknown/unknown`: it runs nowhere, and belongs to the index all the same.
    let platform = descriptor.platform().as_ref().and_then(|platform| {
        let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
        let runs = os != "unknown" && architecture != "unknown";
        runs.then(|| (os, architecture, platform.variant().clone()))
    });
    Ok(Child { digest: digest(descriptor)?, platform })
}

fn blob(descriptor: &Descriptor) -> Result<Blob, String> {
    let media_type = descriptor.media_type().to_string();
    // image-spec layer.md, "Non-Distributable Layers", and Docker's foreign layers: they are served from elsewhere.
    let distributable = !media_type.contains("nondistributable") && !media_type.contains(".foreign.");
    Ok(Blob { digest: digest(descriptor)?, size_bytes: descriptor.size(), distributable })
}

fn digest(descriptor: &Descriptor) -> Result<Digest, String> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|error| format!("the digest {text} can't be used: {error}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn an_attestation_is_a_child_without_a_platform() {
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[
              {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{DIGEST}","size":2,
                "platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}},
              {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{DIGEST}","size":2,
                "platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#
        );
        let Ok(Manifest::Index(children)) = Manifest::parse(index.as_bytes()) else { panic!("an index") };
        let arm = ("linux".to_owned(), "arm64".to_owned(), Some("v8".to_owned()));
        assert_eq!(children.iter().map(|child| child.platform.clone()).collect::<Vec<_>>(), [Some(arm), None]);
    }

    #[rstest]
    #[case::oci("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", false)]
    #[case::docker("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", false)]
    #[case::zstd("application/vnd.oci.image.layer.v1.tar+zstd", true)]
    fn layers_that_come_from_elsewhere_are_told_apart(#[case] media_type: &str, #[case] distributable: bool) {
        let manifest = format!(
            r#"{{"schemaVersion":2,
              "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{DIGEST}","size":2}},
              "layers":[{{"mediaType":"{media_type}","digest":"{DIGEST}","size":5}}]}}"#
        );
        let Ok(Manifest::Image(blobs)) = Manifest::parse(manifest.as_bytes()) else { panic!("an image") };
        assert_eq!(blobs.iter().map(|blob| blob.distributable).collect::<Vec<_>>(), [true, distributable]);
    }

    #[rstest]
    #[case::not_json("<html>")]
    #[case::schema_1(r#"{"schemaVersion":1,"fsLayers":[]}"#)]
    #[case::artifact(r#"{"schemaVersion":2,"blobs":[]}"#)]
    #[case::index_with_a_bad_digest(r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"md5:1","size":1}]}"#)]
    fn what_is_no_image_is_told_with_a_reason(#[case] text: &str) {
        assert!(!Manifest::parse(text.as_bytes()).unwrap_err().is_empty());
    }
}
