//! Manifests of all shapes (OCI image specification 1.1, Docker's schema 2 and 1).

use serde_json::{Value, json};

use crate::http::Answer;
use crate::registry::{DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Registry, descriptor};
use crate::row::{End, Row, holding, row};

/// A single image of linux/amd64 whose manifest is made by this, out of a config and two layers.
fn image(name: &str, manifest: impl Fn(&mut Registry, Value, Vec<Value>) -> Value + Send + Sync + 'static) -> Row {
    holding(name, move |registry| {
        let config = registry.add_config("linux", "amd64");
        let layers = [0, 1].map(|number| registry.add_blob(OCI_LAYER, format!("layer {number}"))).to_vec();
        let manifest = manifest(registry, config, layers);
        registry.tag(&manifest);
        registry.want(&manifest);
    })
}

fn usual(config: &Value, layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers})
}

/// A single image whose manifest is the usual one with other members.
fn with(name: &str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Row {
    image(name, move |registry, config, layers| {
        let mut manifest = usual(&config, &layers);
        change(&mut manifest);
        registry.add_manifest(OCI_MANIFEST, manifest.to_string())
    })
}

/// What the tag names is these bytes.
fn bytes(name: &str, media_type: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    let bytes = bytes.into();
    holding(name, move |registry| {
        let listed = registry.add_manifest(media_type, bytes.clone());
        registry.tag(&listed);
    })
    .ends(End::NotWarm(&[]))
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        with("members that nobody knows", |it| it["x"] = json!({"deep": [[[[{}]]]]})),
        with("annotations, a subject and an artifact type", |it| {
            it["annotations"] = json!({"org.opencontainers.image.source": "https://example.com", "": ""});
            it["artifactType"] = json!("application/vnd.example+json");
            it["subject"] = descriptor(OCI_MANIFEST, b"another");
        }),
        with("no media type of its own", |it| {
            it.as_object_mut().unwrap().remove("mediaType");
        }),
        with("a layer twice", |it| {
            let first = it["layers"][0].clone();
            it["layers"].as_array_mut().unwrap().push(first);
        }),
        with("layers of a type that nobody knows", |it| it["layers"][0]["mediaType"] = json!("application/x-unknown")),
        with("zstd layers", |it| it["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+zstd")),
        with("an encrypted layer", |it| {
            it["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        }),
        with("a layer with data in it", |it| it["layers"][0]["data"] = json!("bGF5ZXIgMA==")),
        with("a layer without a media type", |it| {
            it["layers"][0].as_object_mut().unwrap().remove("mediaType");
        }),
        with("layers null", |it| it["layers"] = Value::Null),
        with("no layers", |it| {
            it.as_object_mut().unwrap().remove("layers");
        }),
        with("an empty list of layers", |it| it["layers"] = json!([])),
        with("schemaVersion 1 in a manifest of version 2", |it| it["schemaVersion"] = json!(1))
            .ends(End::NotWarm(&["schema version 1"])),
        image("a config of nothing", |registry, _, layers| {
            let empty = registry.add_blob("application/vnd.oci.empty.v1+json", "{}");
            registry.add_image(&empty, &layers)
        }),
        image("a layer of no bytes", |registry, config, mut layers| {
            layers.push(registry.add_blob(OCI_LAYER, ""));
            registry.add_image(&config, &layers)
        }),
        image("Docker's types", |registry, config, layers| {
            let mut manifest = usual(&config, &layers);
            manifest["mediaType"] = json!(DOCKER_MANIFEST);
            registry.add_manifest(DOCKER_MANIFEST, manifest.to_string())
        }),
        image("an artifact's config", |registry, _, layers| {
            let config = registry.add_blob("application/vnd.cncf.helm.config.v1+json", "{\"name\":\"chart\"}");
            registry.add_image(&config, &layers)
        }),
        image("printed with many spaces", |registry, config, layers| {
            let text = serde_json::to_string_pretty(&usual(&config, &layers)).unwrap().replace("  ", "\t\t \r\n");
            registry.add_manifest(OCI_MANIFEST, text)
        }),
        image("a foreign layer that the registry doesn't have", |registry, config, mut layers| {
            let mut foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"windows");
            foreign["urls"] = json!(["https://layers.invalid/base"]);
            layers.push(foreign);
            registry.add_image(&config, &layers)
        })
        .at_most(120),
        image("a manifest of 3 MB", |registry, config, layers| {
            let mut manifest = usual(&config, &layers);
            manifest["annotations"] = json!({"large": "x".repeat(3_000_000)});
            registry.add_manifest(OCI_MANIFEST, manifest.to_string())
        }),
        image("2,000 layers", |registry, config, mut layers| {
            layers.extend((0..2_000).map(|number| registry.add_blob(OCI_LAYER, format!("small layer {number}"))));
            registry.add_image(&config, &layers)
        })
        // More than any runtime mounts: told, and not worked on.
        .ends(End::NotWarm(&["2002 layers"])),
    ];
    let size = |name: &str, size: Value| with(name, move |it| it["layers"][0]["size"] = size.clone());
    rows.extend([
        size("a layer of size -1", json!(-1)).ends(End::NotWarm(&[])),
        size("a layer whose size is a text", json!("7")).ends(End::NotWarm(&[])),
        size("a layer beyond 64 bits", json!(1e30)).ends(End::NotWarm(&[])),
        size("a layer whose size is another than its blob's", json!(1_000_000)).ends(End::NotWarm(&[])),
    ]);
    let digest = |name: &str, digest: &'static str| {
        with(name, move |it| it["layers"][0]["digest"] = json!(digest)).ends(End::NotWarm(&[]))
    };
    rows.extend([
        digest("a layer by md5", "md5:d41d8cd98f00b204e9800998ecf8427e"),
        digest("a layer by no digest", ""),
        digest("a layer by a path", "sha256:../../../../etc/passwd"),
        digest("a layer by capitals", "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"),
        digest(
            "a layer that the registry doesn't have",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
    ]);
    rows.extend([
        bytes("nothing", OCI_MANIFEST, ""),
        bytes("an empty object", OCI_MANIFEST, "{}"),
        bytes("a list", OCI_MANIFEST, "[]"),
        bytes("null", OCI_MANIFEST, "null"),
        bytes("an object that doesn't end", OCI_MANIFEST, "{\"schemaVersion\": 2, \"config\": {"),
        bytes("not UTF-8", OCI_MANIFEST, b"{\"schemaVersion\": 2, \"x\": \"\xff\xfe\"}".to_vec()),
        bytes("100,000 brackets", OCI_MANIFEST, "[".repeat(100_000)),
        bytes("a config that is a text", OCI_MANIFEST, r#"{"schemaVersion":2,"config":"x","layers":[]}"#),
        bytes("layers that are an object", OCI_MANIFEST, r#"{"schemaVersion":2,"config":{},"layers":{}}"#),
        bytes("schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", r#"{"schemaVersion":1,"name":"library/app","tag":"1.0","architecture":"amd64","fsLayers":[{"blobSum":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}],"history":[]}"#),
        bytes("an artifact manifest", "application/vnd.oci.artifact.manifest.v1+json", r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"x","blobs":[]}"#),
        bytes("an index without entries", OCI_INDEX, r#"{"schemaVersion":2,"manifests":[]}"#),
        bytes("a type that is none", "text/plain", "hello"),
    ]);
    rows.push(
        row("a manifest that begins with a byte order mark", |_, _| None)
            .content(|registry| {
                let (config, layer) = (registry.add_config("linux", "amd64"), registry.add_blob(OCI_LAYER, "layer"));
                let text = format!("\u{feff}{}", usual(&config, &[layer]));
                let listed = registry.add_manifest(OCI_MANIFEST, text);
                registry.tag(&listed);
            })
            .ends(End::NotWarm(&[])),
    );
    rows.push(
        row("layers listed twice, under one name", |_, _| None)
            .content(|registry| {
                let (config, layer) = (registry.add_config("linux", "amd64"), registry.add_blob(OCI_LAYER, "layer"));
                let text = format!(
                    r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[],"layers":[{layer}]}}"#
                );
                let listed = registry.add_manifest(OCI_MANIFEST, text);
                registry.tag(&listed);
            })
            // Which of them is meant can't be known.
            .ends(End::NotWarm(&["twice"])),
    );
    rows.push(row("another manifest than its digest's, once", |request, registry| {
        (request.gets_manifest() && request.before < 1).then(|| {
            let mut answer = registry.would_answer(request);
            answer.body.push(b'\n');
            answer
        })
    }));
    rows.push(
        row("another manifest than its digest's, for ever", |request, registry| {
            request.gets_manifest().then(|| {
                let mut answer = registry.would_answer(request);
                answer.body.push(b'\n');
                answer
            })
        })
        .ends(End::NotWarm(&["other content"])),
    );
    rows.push(
        row("a compressed manifest that nobody asked for", |request, registry| {
            request.gets_manifest().then(|| {
                // An empty gzip stream: whoever unpacks it finds nothing.
                let empty = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec();
                registry.would_answer(request).header("Content-Encoding", "gzip").body(empty)
            })
        })
        .ends(End::NotWarm(&[])),
    );
    rows.push(row("a content type with parameters, in capitals", |request, registry| {
        let answer = registry.answer(request);
        let found = answer.headers.iter().find(|(name, _)| name == "Content-Type").map(|(_, value)| value.clone());
        let shouted = found.map(|media_type| format!("{}; charset=UTF-8", media_type.to_uppercase()));
        shouted.filter(|_| request.of_manifest()).map(|shouted| answer.set("Content-Type", shouted))
    }));
    rows.push(row("no content type", |request, registry| {
        request.of_manifest().then(|| registry.answer(request).without("Content-Type"))
    }));
    rows.push(row("a content type of plain text", |request, registry| {
        request.of_manifest().then(|| registry.answer(request).set("Content-Type", "text/plain"))
    }));
    // Tags.
    rows.push(
        row("a tag that doesn't exist", |_, _| None)
            .content(|registry| {
                registry.add_usual_image();
                registry.tags.clear();
            })
            .ends(End::NotWarm(&["tag"])),
    );
    rows.push(row("a tag that appears at its third question", |request, _| {
        (request.heads_manifest() && request.by_tag() && request.before < 2)
            .then(|| Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"))
    }));
    rows.push(
        row("a HEAD of the tag that isn't allowed", |request, _| {
            (request.heads_manifest() && request.by_tag()).then(|| Answer::page(405))
        })
        .ends(End::NotWarm(&["405"])),
    );
    let digests = |name: &str, digest: Option<&'static str>| {
        row(name, move |request, registry| {
            (request.heads_manifest() && request.by_tag()).then(|| {
                let answer = registry.answer(request).without("Docker-Content-Digest");
                digest.map_or_else(|| answer.clone(), |digest| answer.clone().header("Docker-Content-Digest", digest))
            })
        })
        .ends(End::NotWarm(&["digest"]))
    };
    rows.extend([
        digests("a HEAD of the tag without a digest", None),
        digests("a HEAD of the tag with an empty digest", Some("")),
        digests("a HEAD of the tag with half a digest", Some("sha256:1234")),
        digests("a HEAD of the tag with another sort of digest", Some("sha512:cf83e1357eefb8bd")),
    ]);
    rows.push(
        row("a HEAD of the tag with the digest of nothing that is there", |request, registry| {
            let absent = format!("sha256:{}", "0".repeat(64));
            (request.heads_manifest() && request.by_tag())
                .then(|| registry.answer(request).set("Docker-Content-Digest", absent))
        })
        .ends(End::NotWarm(&[])),
    );
    rows
}
