//! Status codes and `Retry-After` (RFC 9110, sections 15 and 10.2.3; 520 to 529 as content networks use them).

use crate::http::Answer;
use crate::row::{End, Row, row};

/// What heals by itself, and is no fault of the image.
const OUTAGES: [u16; 14] = [408, 425, 429, 502, 503, 504, 507, 520, 521, 522, 523, 524, 525, 529];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for status in OUTAGES {
        rows.push(row(format!("{status} with a page, three times"), move |request, _| {
            (request.number < 3).then(|| Answer::page(status))
        }));
    }
    for status in [408, 425, 500, 507, 520, 522, 529] {
        let waits = row(format!("{status} with a page for ever"), move |request, _| {
            request.of_manifest().then(|| Answer::page(status))
        });
        rows.push(waits.ends(End::Waits(&[])));
    }
    for status in [429, 502, 503, 504] {
        let waits = row(format!("{status} without a body for ever"), move |_, _| Some(Answer::new(status)));
        rows.push(waits.ends(End::Waits(&["tries again"])).at_most(20));
    }
    for status in [400, 405, 406, 410, 411, 418, 451, 501, 505] {
        let healing = row(format!("{status} with a page, twice"), move |request, _| {
            (request.number < 2).then(|| Answer::page(status))
        });
        rows.push(healing);
    }
    let after = |name: &str, value: &'static str| {
        row(format!("429 with Retry-After {name}, four times"), move |request, _| {
            let refused = || Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", value);
            (request.number < 4).then(refused)
        })
    };
    rows.extend([
        after("0", "0"),
        after("1", "1"),
        after("of a moment long ago", "Wed, 21 Oct 2015 07:28:00 GMT"),
        after("negative", "-5"),
        after("of no sense", "soon"),
        after("empty", ""),
        after("with a fraction", "1.5"),
        after("in another form of date", "Wed Oct 21 07:28:00 2015"),
    ]);
    let far = |name: &str, value: &'static str| {
        let waits = row(format!("503 with Retry-After {name}"), move |request, _| {
            (request.before < 1).then(|| Answer::page(503).header("Retry-After", value))
        });
        // A time that nobody can mean is bounded, whatever the bound is.
        waits.ends(End::NotWarm(&["answered"]))
    };
    rows.extend([
        far("of the year 9999", "Fri, 31 Dec 9999 23:59:59 GMT"),
        far("beyond 64 bits", "99999999999999999999999999"),
    ]);
    rows.push(row("503 with two Retry-After, four times", |request, _| {
        (request.number < 4).then(|| Answer::page(503).header("Retry-After", "1").header("Retry-After", "2"))
    }));
    rows.push(row("204 in place of a manifest, once", |request, _| {
        (request.gets_manifest() && request.before < 1).then(|| Answer::new(204))
    }));
    rows.push(row("304 in place of a manifest, once", |request, _| {
        (request.gets_manifest() && request.before < 1).then(|| Answer::new(304))
    }));
    rows.push(row("206 in place of a manifest, once", |request, registry| {
        (request.gets_manifest() && request.before < 1).then(|| {
            let mut answer = registry.would_answer(request).header("Content-Range", "bytes 0-9/1000");
            answer.status = 206;
            answer.body.truncate(10);
            answer
        })
    }));
    rows.push(row("a status of 999, twice", |request, _| (request.number < 2).then(|| Answer::page(999))));
    rows.push(
        row("a firewall's 403 page for ever", |request, _| request.of_manifest().then(|| Answer::page(403)))
            .ends(End::NotWarm(&["not harbor"])),
    );
    rows.push(
        row("an ingress's 400 page for ever", |request, _| request.of_manifest().then(|| Answer::page(400)))
            .ends(End::NotWarm(&["not harbor"])),
    );
    rows.push(
        row("200 with a page in place of everything", |request, _| request.of_manifest().then(|| Answer::page(200)))
            .ends(End::NotWarm(&[])),
    );
    rows.push(row("an ingress refuses names that are encoded twice", |request, _| {
        request.target.contains("%25").then(|| Answer::page(400))
    }));
    for (name, value) in [
        ("429 with an hour to wait, for ever", "3600"),
        ("429 with a date to wait for, for ever", "Fri, 31 Dec 2027 23:59:59 GMT"),
    ] {
        let waits = row(name, move |_, _| {
            Some(Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", value))
        });
        rows.push(waits.ends(End::Waits(&["429"])).at_most(12));
    }
    rows
}
