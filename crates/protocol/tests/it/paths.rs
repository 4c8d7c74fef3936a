use harbor_warmer_protocol::{
    Digest, HandOff, HarborImage, Platform, Platforms, REPOSITORY_MAX_CHARACTERS, RegistryRequest, RequestError,
    Subject, Tag, TagOrDigest,
};
use oci_spec::distribution::Reference;
use proptest::prelude::*;
use rstest::rstest;

pub(crate) const HEX: &str = "383fe0b1c3a1f1a0c1a54d6c2f14f9b5d6a0d8f9e3c5b7a190807060504030f1";

fn image() -> impl Strategy<Value = HarborImage> {
    ("[a-z0-9]{1,6}(-[a-z0-9]{1,4}){0,2}", "[a-z0-9]{1,6}([._-][a-z0-9]{1,4}){0,2}", repository()).prop_map(
        |(harbor, project, repository)| HarborImage {
            harbor: harbor.parse().unwrap(),
            project: project.parse().unwrap(),
            repository: repository.parse().unwrap(),
        },
    )
}

/// Repositories that try to be mistaken for parts of the contract among them.
fn repository() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}",
        Just("manifests".to_owned()),
        Just("blobs".to_owned()),
        Just("v1".to_owned()),
        Just("tag".to_owned()),
        Just("untagged".to_owned()),
        Just("none".to_owned()),
        Just("linux-amd64".to_owned()),
    ];
    prop::collection::vec(component, 1..5).prop_map(|components| components.join("/"))
}

fn tag() -> impl Strategy<Value = Tag> {
    prop_oneof![
        "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
        Just("untagged".to_owned()),
        Just("manifests".to_owned()),
        Just(format!("sha256-{HEX}")),
    ]
    .prop_map(|text| text.parse().unwrap())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn platforms() -> impl Strategy<Value = Platforms> {
    let platform = ("[a-z0-9]{1,7}", "[a-z0-9]{1,7}", prop::option::of("[a-z0-9]{1,3}")).prop_map(
        |(os, architecture, variant)| {
            let variant = variant.map_or_else(String::new, |variant| format!("/{variant}"));
            format!("{os}/{architecture}{variant}").parse::<Platform>().unwrap()
        },
    );
    prop::collection::vec(platform, 1..4).prop_map(|platforms| Platforms::new(platforms).unwrap())
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        tag().prop_map(Subject::Tag),
        (digest(), prop::option::of(tag())).prop_map(|(digest, tag)| Subject::Pin { digest, tag }),
        (digest(), prop::option::of(tag())).prop_map(|(child, tag)| Subject::Layers { child, tag }),
    ]
}

fn hand_off() -> impl Strategy<Value = HandOff> {
    let target = prop::option::of("[a-mo-z0-9]{1,8}(-[a-z0-9]{1,4}){0,2}");
    (image(), target, platforms(), subject()).prop_map(|(image, target, platforms, subject)| HandOff {
        image,
        target: target.map(|text| text.parse().unwrap()),
        platforms,
        subject,
    })
}

proptest! {
    #[test]
    fn a_hand_off_is_parsed_back_as_itself(hand_off in hand_off()) {
        if let Ok((name, tag)) = hand_off.to_name() {
            let path = format!("/v2/{name}/manifests/{tag}");
            prop_assert_eq!(RegistryRequest::parse(&path), Ok(RegistryRequest::HandOff(hand_off)));
        }
    }

    #[test]
    fn what_the_policy_prints_is_what_an_oci_client_sends(hand_off in hand_off()) {
        if let Ok(reference) = hand_off.to_reference("harbor-warmer.kubewarden.svc:8443") {
            let (name, tag) = hand_off.to_name().unwrap();
            let parsed: Reference = reference.parse().unwrap();
            prop_assert_eq!(parsed.registry(), "harbor-warmer.kubewarden.svc:8443");
            prop_assert_eq!(parsed.repository(), name);
            prop_assert_eq!(parsed.tag(), Some(tag.as_str()));
            // With a digest the body would have to hash to it.
            prop_assert_eq!(parsed.digest(), None);
        }
    }

    #[test]
    fn a_manifest_request_is_parsed_back_as_itself(image in image(), tag in tag(), digest in digest(), by_tag: bool) {
        let reference = if by_tag { TagOrDigest::Tag(tag) } else { TagOrDigest::Digest(digest) };
        let text = RegistryRequest::front_reference("w:1", &image, &reference).unwrap();
        let parsed: Reference = text.parse().unwrap();
        let last = parsed.digest().or(parsed.tag()).unwrap();
        let path = format!("/v2/{}/manifests/{last}", parsed.repository());
        prop_assert_eq!(RegistryRequest::parse(&path), Ok(RegistryRequest::Manifest { image, reference }));
    }

    #[test]
    fn whatever_parses_as_a_hand_off_prints_as_the_same_path(path in "/v2/v1/(tag|pin|pin-untagged|layers)/[a-z0-9/_.-]{0,120}/manifests/[a-zA-Z0-9._:-]{0,20}") {
        if let Ok(RegistryRequest::HandOff(hand_off)) = RegistryRequest::parse(&path) {
            let (name, tag) = hand_off.to_name().unwrap();
            prop_assert_eq!(format!("/v2/{name}/manifests/{tag}"), path);
        }
    }

    #[test]
    fn any_path_is_parsed_without_a_panic(path in any::<String>(), tail in "[ -~]{0,80}") {
        drop(RegistryRequest::parse(&path));
        drop(RegistryRequest::parse(&format!("/v2/{tail}")));
        drop(RegistryRequest::parse(&format!("/v2/v1/{tail}/manifests/{path}")));
    }
}

fn image_of(repository: &str) -> HarborImage {
    HarborImage {
        harbor: "main".parse().unwrap(),
        project: "dockerhub".parse().unwrap(),
        repository: repository.parse().unwrap(),
    }
}

fn hand_off_of(repository: &str, subject: Subject) -> HandOff {
    let platforms = Platforms::new(["linux/amd64".parse().unwrap()]).unwrap();
    HandOff { image: image_of(repository), target: None, platforms, subject }
}

#[test]
fn the_tag_untagged_is_not_the_lack_of_a_tag() {
    let digest = Digest::from_hex(HEX).unwrap();
    let tagged = hand_off_of("a", Subject::Pin { digest, tag: Some("untagged".parse().unwrap()) });
    let untagged = hand_off_of("a", Subject::Pin { digest, tag: None });
    assert_ne!(tagged.to_name(), untagged.to_name());
    assert_eq!(untagged.to_name().unwrap().1, "untagged");
}

#[test]
fn a_name_of_255_characters_is_printed_and_one_of_256_is_refused() {
    let tag = || Subject::Tag("1".parse().unwrap());
    let overhead = hand_off_of("a", tag()).to_name().unwrap().0.len() - 1;
    let longest = "a".repeat(REPOSITORY_MAX_CHARACTERS - overhead);
    let hand_off = hand_off_of(&longest, tag());
    let reference = hand_off.to_reference("warmer.example.com").unwrap();
    assert!(reference.parse::<Reference>().is_ok());
    let (name, tag_text) = hand_off.to_name().unwrap();
    let path = format!("/v2/{name}/manifests/{tag_text}");
    assert_eq!(RegistryRequest::parse(&path), Ok(RegistryRequest::HandOff(hand_off)));
    let error = hand_off_of(&format!("{longest}a"), tag()).to_name().unwrap_err();
    assert_eq!(error.characters, 256);
    let path = path.replacen("aaa", "aaaa", 1);
    assert!(matches!(RegistryRequest::parse(&path), Err(RequestError::InvalidName("name", _))));
}

#[rstest]
#[case::version_check("/v2/")]
#[case::version_check_without_a_slash("/v2")]
fn the_version_check_is_known(#[case] path: &str) {
    assert_eq!(RegistryRequest::parse(path), Ok(RegistryRequest::Version));
}

#[test]
fn clients_may_ask_for_a_receipt_by_digest_and_for_its_config() {
    let name = hand_off_of("a", Subject::Tag("1".parse().unwrap())).to_name().unwrap().0;
    let digest = Digest::from_hex(HEX).unwrap();
    let by_digest = RegistryRequest::parse(&format!("/v2/{name}/manifests/sha256:{HEX}"));
    assert_eq!(by_digest, Ok(RegistryRequest::ReceiptByDigest { digest }));
    let blob = RegistryRequest::parse(&format!("/v2/{name}/blobs/sha256:{HEX}"));
    assert_eq!(blob, Ok(RegistryRequest::Blob { digest }));
}

#[rstest]
#[case::not_the_registry_api("/healthz", "UNSUPPORTED")]
#[case::prefix_of_it("/v2x/", "UNSUPPORTED")]
#[case::catalog("/v2/_catalog", "UNSUPPORTED")]
#[case::tags("/v2/v1/tag/none/linux-amd64/main/p/a/tags/list", "UNSUPPORTED")]
#[case::next_version("/v2/v2/tag/none/linux-amd64/main/p/a/manifests/1", "NAME_INVALID")]
#[case::unknown_verb("/v2/v1/warm/none/linux-amd64/main/p/a/manifests/1", "NAME_INVALID")]
#[case::no_repository("/v2/v1/tag/none/linux-amd64/main/p/manifests/1", "NAME_INVALID")]
#[case::capital_platform("/v2/v1/tag/none/Linux-amd64/main/p/a/manifests/1", "NAME_INVALID")]
#[case::unsorted_platforms("/v2/v1/tag/none/linux-arm64_linux-amd64/main/p/a/manifests/1", "NAME_INVALID")]
#[case::platform_twice("/v2/v1/tag/none/linux-amd64_linux-amd64/main/p/a/manifests/1", "NAME_INVALID")]
#[case::host_for_a_harbor("/v2/v1/tag/none/linux-amd64/harbor.example.com/p/a/manifests/1", "NAME_INVALID")]
#[case::climbing("/v2/v1/tag/none/linux-amd64/main/p/../a/manifests/1", "NAME_INVALID")]
#[case::escaped("/v2/v1/tag/none/linux-amd64/main/p/a%2fb/manifests/1", "NAME_INVALID")]
#[case::query("/v2/v1/harbor/main/p/a?x/manifests/1", "NAME_INVALID")]
#[case::short_pin("/v2/v1/pin/00/none/linux-amd64/main/p/a/manifests/1", "NAME_INVALID")]
#[case::tag_where_there_is_none(
    "/v2/v1/pin-untagged/383fe0b1c3a1f1a0c1a54d6c2f14f9b5d6a0d8f9e3c5b7a190807060504030f1/none/linux-amd64/main/p/a/manifests/1",
    "MANIFEST_INVALID"
)]
#[case::no_tag("/v2/v1/tag/none/linux-amd64/main/p/a/manifests/", "MANIFEST_INVALID")]
#[case::other_algorithm("/v2/v1/harbor/main/p/a/manifests/sha512:00", "MANIFEST_INVALID")]
#[case::bad_blob("/v2/v1/harbor/main/p/a/blobs/sha256:00", "MANIFEST_INVALID")]
fn paths_outside_the_contract_are_refused_with_the_specs_code(#[case] path: &str, #[case] code: &str) {
    assert_eq!(RegistryRequest::parse(path).unwrap_err().code(), code);
}
