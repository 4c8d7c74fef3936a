//! Blobs, and the ways to ask whether they are there (distribution specification 1.1, RFC 9110 section 14).

use crate::http::{Answer, Framing};
use crate::registry::Registry;
use crate::row::{End, Row, holding, row};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("a HEAD of a blob without a length", |request, registry| {
            request.heads_blob().then(|| registry.answer(request).framed(Framing::Close))
        }),
        row("a HEAD of a blob with another length", |request, registry| {
            request.heads_blob().then(|| registry.answer(request).framed(Framing::Claimed("1".to_owned())))
        })
        .ends(End::NotWarm(&[])),
        row("a HEAD of a blob of no bytes", |request, registry| {
            (request.heads_blob() && registry.has_stored(request.reference()))
                .then(|| registry.answer(request).body(Vec::new()))
        })
        .ends(End::NotWarm(&[])),
        row("a HEAD of a blob that isn't allowed", |request, _| request.heads_blob().then(|| Answer::page(405)))
            .ends(End::NotWarm(&["405"])),
        row("a HEAD of a blob that is 404 for ever, while a GET has it", |request, _| {
            request.heads_blob().then(|| Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"))
        })
        .ends(End::NotWarm(&[])),
        row("blobs without a type, a digest or a length", |request, registry| {
            request.gets_blob().then(|| {
                let answer = registry.answer(request).without("Content-Type").without("Docker-Content-Digest");
                answer.framed(Framing::Chunked { trailers: "" })
            })
        }),
        row("blobs with the digest of another in the header", |request, registry| {
            let other = format!("sha256:{}", "2".repeat(64));
            request.gets_blob().then(|| registry.answer(request).set("Docker-Content-Digest", other))
        }),
        row("blobs that are refused at first", |request, _| {
            (request.gets_blob() && request.before < 2)
                .then(|| Answer::error(404, "NOT_FOUND", "http status code: 404, body: BLOB_UNKNOWN"))
        }),
        row("blobs that the registry doesn't have", |request, _| {
            request.gets_blob().then(|| Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"))
        })
        .ends(End::NotWarm(&[])),
        row("blobs that arrive late", |request, registry| {
            (request.heads_blob() && request.before < 4 && registry.has_stored(request.reference()))
                .then(|| Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"))
        }),
        row("a page in place of each blob, for ever", |request, _| request.gets_blob().then(|| Answer::page(200)))
            .ends(End::NotWarm(&[])),
        row("an artifact that is never recorded", |request, _| {
            request.path().contains("/artifacts/").then(|| Answer::error(404, "NOT_FOUND", "artifact not found"))
        })
        .ends(End::NotWarm(&[])),
        row("an API that may not be read", |request, _| {
            request.path().contains("/api/").then(|| Answer::error(403, "FORBIDDEN", "forbidden"))
        }),
        row("an API that is a page", |request, _| request.path().contains("/artifacts/").then(|| Answer::page(200)))
            .ends(End::NotWarm(&[])),
        row("an API that answers with a list", |request, _| {
            let list = || Answer::new(200).header("Content-Type", "application/json").body("[]");
            request.path().contains("/artifacts/").then(list)
        })
        .ends(End::NotWarm(&[])),
        row("an API that names another artifact", |request, _| {
            let body = format!(r#"{{"digest":"sha256:{}","references":null,"tags":null}}"#, "3".repeat(64));
            let other = || Answer::new(200).header("Content-Type", "application/json").body(body);
            request.path().contains("/artifacts/").then(other)
        })
        .ends(End::NotWarm(&[])),
    ];
    let cache =
        |name: &str, hook: fn(&crate::http::Request, &Registry) -> Option<Answer>| row(name, hook).distribution();
    rows.extend([
        cache("a cache that ignores ranges", |request, registry| {
            let whole = || Answer::new(200).body(registry.blobs.get(request.reference()).cloned().unwrap_or_default());
            (request.gets_blob() && request.header("range").is_some()).then(whole)
        })
        .ends(End::NotWarm(&[])),
        cache("a cache that answers ranges with 416", |request, _| {
            (request.gets_blob() && request.header("range").is_some()).then(|| Answer::page(416))
        })
        .ends(End::NotWarm(&[])),
        cache("a cache that sends wrong bytes, twice", |request, registry| {
            (request.gets_blob() && request.before < 2).then(|| {
                let mut answer = registry.would_answer(request);
                answer.body[0] ^= 1;
                answer
            })
        }),
        cache("a cache that sends wrong bytes for ever", |request, registry| {
            request.gets_blob().then(|| {
                let mut answer = registry.would_answer(request);
                answer.body[0] ^= 1;
                answer
            })
        })
        .ends(End::NotWarm(&["other content"])),
        cache("a cache that sends one byte too many for ever", |request, registry| {
            request.gets_blob().then(|| {
                let mut answer = registry.would_answer(request);
                answer.body.push(0);
                answer
            })
        })
        .ends(End::NotWarm(&[])),
        cache("a cache that compresses what it sends", |request, registry| {
            request.gets_blob().then(|| {
                let empty = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec();
                registry.would_answer(request).header("Content-Encoding", "gzip").body(empty)
            })
        })
        .ends(End::NotWarm(&[])),
    ]);
    rows.push(
        holding("layers of a hundred kinds", |registry| {
            let config = registry.add_config("linux", "amd64");
            let layers: Vec<_> =
                (0..100).map(|kind| registry.add_blob(&format!("application/x-{kind}"), format!("{kind}"))).collect();
            let image = registry.add_image(&config, &layers);
            registry.tag(&image);
            registry.want(&image);
        })
        .at_most(600),
    );
    rows
}
