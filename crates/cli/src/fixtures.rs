//! Images for the tests of what is printed.

use serde_json::json;

use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::{ImageSummary, ImageView};

/// The moment at which the fixtures are looked at.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

pub(super) fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// An image with 2 of 3 blobs, asked for 95 s ago.
pub(super) fn warming() -> ImageView {
    let start = NOW.as_millis() - 95_000;
    let view = json!({
        "id": "i-17", "harbor": "main", "project": "hub", "repository": "library/nginx", "tags": ["1.27"],
        "root": digest('a'), "phase": "warming", "reason": "waiting for 1 blob",
        "blobsLocal": 2, "blobsTotal": 3, "bytesLocal": 47_300_000, "bytesTotal": 196_083_712u64, "failures": 1,
        "firstAsked": start, "lastAsked": NOW.as_millis() - 4_000, "due": NOW.as_millis() + 2_000,
        "wants": [
            {"cluster": "cluster-a", "tag": "1.27", "platforms": ["linux/amd64"], "target": "prod",
             "firstAsked": start, "lastAsked": NOW.as_millis() - 4_000, "state": "warming"},
            {"cluster": "command-line", "platforms": ["linux/amd64", "linux/arm64"],
             "firstAsked": start, "lastAsked": start, "state": "queued"}
        ],
        "tagRecords": [
            {"tag": "1.27", "windowEnds": start + 600_000},
            {"tag": "latest", "blocked": "its index was read before; heals on 2026-10-01"}
        ],
        "manifests": [
            {"digest": digest('b'), "platform": "linux/amd64", "wanted": true, "read": start + 1_000},
            {"digest": digest('c'), "wanted": false}
        ],
        "blobs": [
            {"digest": digest('d'), "sizeBytes": 47_299_000, "asks": 1, "local": start + 3_000},
            {"digest": digest('e'), "sizeBytes": 1_000, "asks": 0, "local": start + 1_200},
            {"digest": digest('f'), "sizeBytes": 148_783_712u64, "asks": 2, "readBytes": 12_000_000}
        ],
        "attempts": [{"at": start + 60_000, "step": "TouchBlobs", "error": "Harbor answered 500"}],
        "timeline": [{"at": start, "what": "asked for"}, {"at": start + 820, "what": "index read"}],
        "stuck": {"step": "copy the blobs into Harbor", "problem": "copying", "cause": "Harbor copies blobs",
                  "cure": "Nothing: a layer takes as long as Harbor's upstream needs to send it."},
        "newTagsBlockedUntil": start + 604_800_000
    });
    serde_json::from_value(view).unwrap()
}

/// The same as one line of a list.
pub(super) fn summary(id: &str, phase: &str, reason: Option<&str>) -> ImageSummary {
    let mut summary = warming().summary;
    summary.id = id.to_owned();
    summary.phase = serde_json::from_value(phase.into()).unwrap();
    summary.reason = reason.map(str::to_owned);
    summary
}
