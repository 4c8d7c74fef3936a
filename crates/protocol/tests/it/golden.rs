use std::fmt::Write as _;

use harbor_warmer_protocol::{
    Digest, HandOff, HarborImage, ImageState, Lookup, Platforms, Receipt, RegistryRequest, Subject, TagOrDigest,
};

use crate::paths::HEX;

/// The wire format, line by line. A line that changes breaks every policy and warmer of the other version, so it
/// changes only together with `VERSION`.
const GOLDEN: &str = include_str!("../golden/v1.txt");

fn hand_off(target: Option<&str>, platforms: &[&str], subject: Subject) -> HandOff {
    HandOff {
        image: HarborImage {
            harbor: "main".parse().unwrap(),
            project: "dockerhub".parse().unwrap(),
            repository: "library/nginx".parse().unwrap(),
        },
        target: target.map(|name| name.parse().unwrap()),
        platforms: Platforms::new(platforms.iter().map(|text| text.parse().unwrap())).unwrap(),
        subject,
    }
}

fn wire_format() -> String {
    let digest = Digest::from_hex(HEX).unwrap();
    let tag = || "1.27".parse().unwrap();
    let amd64 = ["linux/amd64"];
    let hand_offs = [
        hand_off(None, &amd64, Subject::Tag(tag())),
        hand_off(Some("ecr-eu"), &["windows/amd64", "linux/arm/v7", "linux/amd64"], Subject::Tag(tag())),
        hand_off(None, &amd64, Subject::Pin { digest, tag: Some(tag()) }),
        hand_off(None, &amd64, Subject::Pin { digest, tag: None }),
        hand_off(None, &amd64, Subject::Layers { child: digest, tag: Some(tag()) }),
        hand_off(None, &amd64, Subject::Layers { child: digest, tag: None }),
        hand_off(None, &amd64, Subject::Pin { digest, tag: Some("untagged".parse().unwrap()) }),
    ];
    let mut text = String::new();
    for hand_off in &hand_offs {
        writeln!(text, "{}", hand_off.to_reference("warmer:8443").unwrap()).unwrap();
    }
    for reference in [TagOrDigest::Tag(tag()), TagOrDigest::Digest(digest)] {
        let front = RegistryRequest::front_reference("warmer:8443", &hand_offs[0].image, &reference);
        writeln!(text, "{}", front.unwrap()).unwrap();
    }
    let receipts = [
        Receipt { state: ImageState::New, lookup: Lookup::Yes, image: Some("42".to_owned()), reason: None },
        Receipt {
            state: ImageState::Refused,
            lookup: Lookup::No,
            image: None,
            reason: Some("project `dockerhub` is not configured".to_owned()),
        },
    ];
    for receipt in receipts {
        writeln!(text, "{}", String::from_utf8(receipt.to_manifest()).unwrap()).unwrap();
    }
    text
}

#[test]
fn the_wire_format_is_the_golden_file() {
    assert_eq!(wire_format(), GOLDEN);
}

#[test]
fn the_golden_file_is_still_read() {
    for line in GOLDEN.lines() {
        if line.starts_with('{') {
            assert!(Receipt::from_manifest(line.as_bytes()).is_ok(), "{line}");
            continue;
        }
        let (_, name) = line.split_once('/').unwrap();
        let path = match name.split_once('@') {
            Some((name, digest)) => format!("/v2/{name}/manifests/{digest}"),
            None => {
                let (name, tag) = name.rsplit_once(':').unwrap();
                format!("/v2/{name}/manifests/{tag}")
            }
        };
        assert!(RegistryRequest::parse(&path).is_ok(), "{line}");
    }
}
