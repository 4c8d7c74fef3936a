//! What a hostile manifest costs: nothing but this runs in this process, so its peak is this test's.

use harbor_warmer_core::manifest::Manifest;

/// As large as Harbor takes one.
const MANIFEST_BYTES: usize = 4 << 20;

/// The most that reading it may add to a process.
const LIMIT_KIB: u64 = 64 << 10;

/// The largest that this process has been, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    peak.expect("Linux tells VmHWM")
}

/// A manifest of that size whose middle is one piece again and again.
fn manifest(before: &str, piece: &str, after: &str) -> Vec<u8> {
    let pieces = (MANIFEST_BYTES - before.len() - after.len()) / (piece.len() + 1);
    format!("{before}{}{after}", vec![piece; pieces].join(",")).into_bytes()
}

#[test]
fn no_manifest_of_four_megabytes_costs_more_than_64() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let entry = format!(r#"{{"digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}"#);
    let config = format!(r#""config":{{"digest":"{digest}","size":1}}"#);
    let hostile = [
        manifest(&format!(r#"{{"schemaVersion":2,{config},"layers":["#), &entry, "]}"),
        manifest(r#"{"schemaVersion":2,"manifests":["#, &entry, "]}"),
        manifest(r#"{"schemaVersion":2,"manifests":["#, "{}", "]}"),
        manifest(r#"{"schemaVersion":2,"manifests":["#, "0", "]}"),
        manifest(&format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{digest}","annotations":["#), "[]", "]}]}"),
        manifest(r#"{"schemaVersion":2,"#, r#""a":{}"#, r#","config":0}"#),
        manifest(r#"{"schemaVersion":2,"config":{"digest":""#, r"\u0041", r#""}}"#),
    ];
    let before = peak_kib();
    for bytes in &hostile {
        // What comes of it is for other tests: here it is what it costs.
        drop(Manifest::parse(bytes));
    }
    let cost = peak_kib() - before;
    assert!(cost < LIMIT_KIB, "{cost} KiB");
    println!("{cost} KiB over {before} KiB");
}
