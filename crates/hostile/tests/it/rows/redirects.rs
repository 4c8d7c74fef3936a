//! Redirects (RFC 9110, section 15.4; object storage behind registries).

use crate::http::Answer;
use crate::row::{End, Row, row};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        rows.push(row(format!("{status} of stored blobs to another host"), move |request, registry| {
            let stored = request.of_blob() && !request.elsewhere && registry.has_stored(request.reference());
            stored.then(|| Answer::redirect(status, format!("{}{}", registry.elsewhere, request.target)))
        }));
    }
    rows.push(row("stored blobs at a signed address on another host", |request, registry| {
        if request.elsewhere {
            // As object storages do: no credentials beside the signature, and one method for each.
            let refused = request.header("authorization").is_some() || request.is_head();
            let bytes = registry.blobs.get(request.reference()).cloned().unwrap_or_default();
            return Some(if refused { Answer::page(400) } else { Answer::new(200).body(bytes) });
        }
        let stored = request.of_blob() && registry.has_stored(request.reference());
        let address = format!("{}{}?X-Amz-Signature=0123", registry.elsewhere, request.path());
        stored.then(|| Answer::redirect(307, address))
    }));
    rows.push(row("stored blobs at an address of the link itself", |request, registry| {
        let stored = request.heads_blob() && registry.has_stored(request.reference());
        stored.then(|| Answer::redirect(307, "http://169.254.169.254/latest/meta-data/"))
    }));
    rows.push(row("stored blobs at an address of another scheme", |request, registry| {
        let stored = request.heads_blob() && registry.has_stored(request.reference());
        stored.then(|| Answer::redirect(307, "https://bucket.invalid/blob"))
    }));
    rows.push(
        row("manifests that redirect to themselves", |request, registry| {
            request.of_manifest().then(|| Answer::redirect(302, format!("{}{}", registry.url, request.target)))
        })
        .ends(End::NotWarm(&[])),
    );
    rows.push(
        row("manifests that redirect further and further", |request, registry| {
            request.of_manifest().then(|| Answer::redirect(307, format!("{}{}0", registry.url, request.target)))
        })
        .ends(End::NotWarm(&[])),
    );
    rows.push(
        row("manifests behind a login page on another host", |request, registry| {
            if request.elsewhere {
                return Some(Answer::page(200));
            }
            request.of_manifest().then(|| Answer::redirect(302, format!("{}/login?then=here", registry.elsewhere)))
        })
        .ends(End::NotWarm(&["login"])),
    );
    for (name, location) in
        [("without a Location", None), ("to nowhere", Some("")), ("to rubbish", Some("http://[::bad"))]
    {
        rows.push(
            row(format!("manifests that redirect {name}"), move |request, _| {
                let answer = || location.map_or_else(|| Answer::new(302), |to| Answer::redirect(302, to));
                request.of_manifest().then(answer)
            })
            .ends(End::NotWarm(&[])),
        );
    }
    rows.push(
        row("blobs that redirect in a loop", |request, registry| {
            request.gets_blob().then(|| Answer::redirect(307, format!("{}{}", registry.url, request.target)))
        })
        .ends(End::NotWarm(&[])),
    );
    rows.push(row("manifests moved once, relative to where they were", |request, _| {
        (request.of_manifest() && request.before == 0).then(|| Answer::redirect(307, request.target.clone()))
    }));
    rows
}
