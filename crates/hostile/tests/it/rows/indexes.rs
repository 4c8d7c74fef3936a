//! Indexes of all shapes (OCI image index specification, Docker's manifest lists, what build tools push).

use serde_json::{Value, json};

use crate::http::Answer;
use crate::registry::{DOCKER_LIST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Registry, descriptor};
use crate::row::{End, Row, holding, row};

/// An index of linux/amd64, which is wanted, and an entry that is made by this.
fn beside(name: &str, other: impl Fn(&mut Registry) -> Value + Send + Sync + 'static) -> Row {
    holding(name, move |registry| {
        let amd64 = registry.add_platform("linux", "amd64");
        let other = other(registry);
        let index = registry.add_index(&[other, amd64.clone()]);
        registry.tag(&index);
        registry.want(&amd64);
    })
}

/// The entry of linux/arm64, changed by this.
fn odd(name: &str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Row {
    beside(name, move |registry| {
        let mut entry = registry.add_platform("linux", "arm64");
        change(&mut entry);
        entry
    })
}

/// The only entry, of linux/amd64, changed by this.
fn alone(name: &str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Row {
    holding(name, move |registry| {
        let mut amd64 = registry.add_platform("linux", "amd64");
        change(&mut amd64);
        let index = registry.add_index(&[amd64.clone()]);
        registry.tag(&index);
        registry.want(&amd64);
    })
}

fn remove(entry: &mut Value, key: &str) {
    entry.as_object_mut().unwrap().remove(key);
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        odd("an entry of size -1", |it| it["size"] = json!(-1)),
        odd("an entry of a size that is a text", |it| it["size"] = json!("7")),
        odd("an entry without a size", |it| remove(it, "size")),
        odd("an entry without a media type", |it| remove(it, "mediaType")),
        odd("an entry without a digest", |it| remove(it, "digest")),
        odd("an entry by sha512", |it| it["digest"] = json!(format!("sha512:{}", "a".repeat(128)))),
        odd("an entry by rubbish", |it| it["digest"] = json!("latest")),
        odd("an entry without os", |it| it["platform"] = json!({"architecture": "arm64"})),
        odd("an entry whose os is a number", |it| it["platform"]["os"] = json!(7)),
        odd("an entry whose platform is a text", |it| it["platform"] = json!("linux/arm64")),
        odd("an entry whose platform is null", |it| it["platform"] = Value::Null),
        odd("an entry with an empty platform", |it| it["platform"] = json!({})),
        odd("an entry without a platform beside the wanted one", |it| remove(it, "platform")),
        odd("an entry of a type that nobody knows", |it| it["mediaType"] = json!("application/x-unknown")),
        odd("an entry that the registry doesn't have", |it| {
            it["digest"] = json!(format!("sha256:{}", "1".repeat(64)));
        }),
        beside("null among the entries", |_| Value::Null),
        beside("a text among the entries", |_| json!("sha256:1")),
        beside("an attestation among the entries", |registry| {
            let mut attestation = registry.add_platform("unknown", "unknown");
            attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
            attestation
        }),
        beside("a blob among the entries", |registry| registry.add_blob(OCI_LAYER, "a cached layer")),
        beside("an index among the entries", |registry| {
            let arm64 = registry.add_platform("linux", "arm64");
            registry.add_index(&[arm64])
        }),
        alone("one entry without a platform", |it| remove(it, "platform")),
        alone("one entry with an empty platform", |it| it["platform"] = json!({})),
        alone("one entry of empty texts", |it| it["platform"] = json!({"os": "", "architecture": ""})),
        alone("one entry whose platform is null", |it| it["platform"] = Value::Null),
        alone("one entry that says x86_64", |it| it["platform"]["architecture"] = json!("x86_64")),
        alone("one entry of linux/386", |it| it["platform"]["architecture"] = json!("386")),
        alone("one entry in capitals", |it| it["platform"] = json!({"os": "Linux", "architecture": "AMD64"})),
        alone("one entry with a version of its os", |it| it["platform"]["os.version"] = json!("10.0.1")),
        alone("one entry of linux/amd64/v1", |it| it["platform"]["variant"] = json!("v1")),
    ];
    for (name, os, architecture) in [("of linux/s390x", "linux", "s390x"), ("of windows", "windows", "amd64")] {
        rows.push(
            alone(&format!("one entry {name}"), move |it| {
                it["platform"] = json!({"os": os, "architecture": architecture});
            })
            .ends(End::NotWarm(&["linux/amd64"])),
        );
    }
    rows.push(
        holding("attestations alone", |registry| {
            let attestation = registry.add_platform("unknown", "unknown");
            let index = registry.add_index(&[attestation]);
            registry.tag(&index);
        })
        .ends(End::NotWarm(&["linux/amd64"])),
    );
    rows.push(
        holding("the wanted platform in an index within the index", |registry| {
            let amd64 = registry.add_platform("linux", "amd64");
            let inner = registry.add_index(&[amd64]);
            let index = registry.add_index(&[inner]);
            registry.tag(&index);
        })
        .ends(End::NotWarm(&[])),
    );
    rows.push(
        row("an index whose only entry is itself", |request, _| {
            // A digest can't contain itself; a registry that doesn't hash can serve it all the same.
            let asked = request.reference() == LOOP || request.by_tag();
            (request.of_manifest() && asked).then(|| {
                let entry = json!({"mediaType": OCI_INDEX, "digest": LOOP, "size": 200});
                let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).to_string();
                let answer = Answer::new(200).header("Content-Type", OCI_INDEX).header("Docker-Content-Digest", LOOP);
                answer.body(body)
            })
        })
        .ends(End::NotWarm(&[])),
    );
    rows.push(
        holding("an index of 600 platforms", |registry| {
            let amd64 = registry.add_platform("linux", "amd64");
            let mut entries: Vec<_> = (0..600)
                .map(|number| {
                    let mut entry = descriptor(OCI_MANIFEST, format!("platform {number}").as_bytes());
                    entry["platform"] = json!({"os": "linux", "architecture": format!("cpu{number}")});
                    entry
                })
                .collect();
            entries.push(amd64.clone());
            let index = registry.add_index(&entries);
            registry.tag(&index);
            registry.want(&amd64);
        })
        // More than any index of a real image has: told, and not worked on.
        .ends(End::NotWarm(&["601 entries"]))
        .at_most(60),
    );
    rows.push(holding("two entries of the same platform", |registry| {
        let first = registry.add_platform("linux", "amd64");
        let config = registry.add_config("linux", "amd64");
        let layer = registry.add_blob(OCI_LAYER, "another layer");
        let mut second = registry.add_image(&config, &[layer]);
        second["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let index = registry.add_index(&[first.clone(), second]);
        registry.tag(&index);
        registry.want(&first);
    }));
    rows.push(holding("Docker's manifest list", |registry| {
        let amd64 = registry.add_platform("linux", "amd64");
        let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [amd64]});
        let list = registry.add_manifest(DOCKER_LIST, list.to_string());
        registry.tag(&list);
        registry.want(&amd64);
    }));
    rows.push(holding("an index without a media type of its own", |registry| {
        let amd64 = registry.add_platform("linux", "amd64");
        let index = registry.add_manifest(OCI_INDEX, json!({"schemaVersion": 2, "manifests": [amd64]}).to_string());
        registry.tag(&index);
        registry.want(&amd64);
    }));
    rows.push(
        row("the wanted manifest that the registry has no more", |request, registry| {
            let wanted = registry.manifests.iter().find(|(_, (_, bytes))| bytes.windows(6).any(|it| it == b"config"));
            let gone = wanted.is_some_and(|_| request.of_manifest() && !request.by_tag());
            let is_index = registry.tags.values().any(|root| root == request.reference());
            (gone && !is_index)
                .then(|| Answer::error(404, "NOT_FOUND", "resource not found: repo hub/library/app, tag  not found"))
        })
        .ends(End::NotWarm(&[])),
    );
    // The same with the rest of the index completed: what can't be had holds up nothing.
    let complete = |row: Row| row.project("transfer: touch, completeIndex: true").at_most(150);
    rows.push(complete(odd("a child that is gone, and the index is to be completed", |it| {
        it["digest"] = json!(format!("sha256:{}", "1".repeat(64)));
    })));
    rows.push(complete(beside("an index among the entries, and the index is to be completed", |registry| {
        let arm64 = registry.add_platform("linux", "arm64");
        registry.add_index(&[arm64])
    })));
    rows.push(complete(beside("a blob among the entries, and the index is to be completed", |registry| {
        registry.add_blob(OCI_LAYER, "a cached layer")
    })));
    rows.push(complete(beside("a child without layers, and the index is to be completed", |registry| {
        let config = registry.add_config("linux", "arm64");
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": null});
        let mut listed = registry.add_manifest(OCI_MANIFEST, manifest.to_string());
        listed["platform"] = json!({"os": "linux", "architecture": "arm64"});
        listed
    })));
    rows.push(complete(holding("an index that is whole and is to be completed", Registry::add_usual_image)));
    rows
}

const LOOP: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
