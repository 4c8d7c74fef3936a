//! HTTP, broken or merely unusual (RFC 9110 and 9112).

use std::time::Duration;

use crate::http::{Answer, Ending, Framing};
use crate::row::{End, Row, row};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    // Unusual, and right: it has to work.
    rows.push(row("chunked manifests with extensions and trailers", |request, registry| {
        request.gets_manifest().then(|| {
            let trailers = "Docker-Content-Digest: sha256:00\r\nX-Checksum: 1\r\n";
            registry.answer(request).framed(Framing::Chunked { trailers })
        })
    }));
    rows.push(row("bodies that end with their connection", |request, registry| {
        (!request.is_head()).then(|| registry.answer(request).framed(Framing::Close))
    }));
    rows.push(row("HTTP/1.0 throughout", |request, registry| {
        let mut answer = registry.answer(request);
        answer.version = "HTTP/1.0";
        Some(answer)
    }));
    rows.push(row("header names in lower case", |request, registry| {
        let mut answer = registry.answer(request);
        for (name, _) in &mut answer.headers {
            *name = name.to_lowercase();
        }
        Some(answer)
    }));
    rows.push(row("header names in capitals", |request, registry| {
        let mut answer = registry.answer(request);
        for (name, _) in &mut answer.headers {
            *name = name.to_uppercase();
        }
        Some(answer)
    }));
    rows.push(row("103 Early Hints before each answer", |request, registry| {
        let mut answer = registry.answer(request);
        answer.preamble = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        Some(answer)
    }));
    rows.push(row("100 Continue that nobody asked for", |request, registry| {
        let mut answer = registry.answer(request);
        answer.preamble = "HTTP/1.1 100 Continue\r\n\r\n";
        Some(answer)
    }));
    rows.push(row("a connection that closes after each answer without a word", |request, registry| {
        Some(registry.answer(request).ending(Ending::Close))
    }));
    rows.push(row("a head that comes line by line", |request, registry| {
        let mut answer = registry.answer(request);
        answer.drip = Duration::from_millis(10);
        Some(answer)
    }));
    rows.push(row("a hundred headers of 200 bytes", |request, registry| {
        let mut answer = registry.answer(request);
        for number in 0..90 {
            answer = answer.header(&format!("X-Noise-{number}"), "n".repeat(200));
        }
        Some(answer)
    }));
    rows.push(row("a HEAD of a manifest without a length", |request, registry| {
        request.heads_manifest().then(|| registry.answer(request).framed(Framing::Close))
    }));
    // Wrong for a while.
    for (name, broken) in [
        ("a body cut in the middle", (|answer| answer.cut_after(100)) as fn(Answer) -> Answer),
        ("a body cut before its first byte", |answer| answer.cut_after(0)),
        ("no answer at all", |_| Answer::nothing()),
        ("silence", |_| Answer::silence()),
        ("chunked without an end", |answer| answer.framed(Framing::Chunked { trailers: "" }).cut_after(50)),
        ("a length beyond the body", |answer| {
            answer.framed(Framing::Claimed("100000".to_owned())).ending(Ending::Close)
        }),
        ("rubbish in place of a status line", |mut answer| {
            answer.version = "SSH-2.0-OpenSSH_9.6";
            answer.ending(Ending::Close)
        }),
        ("a length that is no number", |answer| answer.framed(Framing::Claimed("many".to_owned()))),
        ("a negative length", |answer| answer.framed(Framing::Claimed("-1".to_owned()))),
        ("two lengths that differ", |answer| answer.header("Content-Length", "7")),
    ] {
        rows.push(row(format!("{name}, twice, when a manifest is read"), move |request, registry| {
            (request.gets_manifest() && request.before < 2).then(|| broken(registry.would_answer(request)))
        }));
        rows.push(row(format!("{name}, twice, when a blob is read"), move |request, registry| {
            (request.gets_blob() && request.before < 2).then(|| broken(registry.would_answer(request)))
        }));
    }
    // Wrong for ever.
    rows.push(
        row("manifests that are always cut", |request, registry| {
            request.gets_manifest().then(|| registry.would_answer(request).cut_after(100))
        })
        .ends(End::NotWarm(&["connection"])),
    );
    rows.push(row("nothing but silence", |_, _| Some(Answer::silence())).ends(End::Waits(&["did not"])));
    rows.push(
        row("a manifest of one byte each second", |request, registry| {
            request.gets_manifest().then(|| {
                let mut answer = registry.would_answer(request);
                answer.drip = Duration::from_secs(1);
                answer
            })
        })
        .ends(End::NotWarm(&["did not"])),
    );
    rows
}
