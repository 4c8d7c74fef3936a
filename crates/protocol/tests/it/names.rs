use harbor_warmer_protocol::{
    Digest, HarborName, NameError, Offer, Platform, Platforms, ProjectName, RepositoryPath, Tag, TagOrDigest,
    TargetName,
};
use oci_spec::distribution::Reference;
use proptest::prelude::*;
use rstest::rstest;

proptest! {
    #[test]
    fn a_repository_is_what_oci_clients_take_for_one(text in "[a-zA_./-]{0,14}") {
        // A host in front, so that nothing of the text is taken for a registry.
        let theirs = format!("h.io/{text}").parse::<Reference>().is_ok_and(|reference| reference.repository() == text);
        prop_assert_eq!(text.parse::<RepositoryPath>().is_ok(), theirs);
    }

    #[test]
    fn a_tag_is_what_oci_clients_take_for_one(text in "[aZ0_.:@-]{0,5}") {
        let theirs = format!("h.io/a:{text}").parse::<Reference>().is_ok_and(|r| r.tag() == Some(&text) && r.repository() == "a");
        prop_assert_eq!(text.parse::<Tag>().is_ok(), theirs);
    }

    #[test]
    fn a_digest_is_read_back_as_itself(bytes: [u8; 32]) {
        let digest = Digest::from_bytes(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(Digest::from_hex(&digest.hex()), Ok(digest));
        prop_assert_eq!(digest.as_bytes(), &bytes);
    }

    #[test]
    fn a_text_is_a_tag_or_a_digest_and_never_both(text in "[ -~]{0,80}") {
        if let Ok(parsed) = text.parse::<TagOrDigest>() {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn any_text_is_refused_or_taken_without_a_panic(text in any::<String>()) {
        drop((text.parse::<HarborName>(), text.parse::<ProjectName>(), text.parse::<Platform>()));
        drop((text.parse::<TargetName>(), Platforms::from_path_form(&text), text.parse::<Digest>()));
    }
}

#[rstest]
#[case::empty("", NameError::Empty)]
#[case::dot("harbor.example.com", NameError::NotALabel)]
#[case::port("harbor:443", NameError::NotALabel)]
#[case::slash("a/b", NameError::NotALabel)]
#[case::capital("Main", NameError::NotALabel)]
#[case::hyphen_first("-a", NameError::NotALabel)]
#[case::two_hyphens("a--b", NameError::NotALabel)]
#[case::long("a23456789012345678901234567890123", NameError::TooLong(32))]
fn a_harbors_name_can_never_be_a_host(#[case] text: &str, #[case] error: NameError) {
    assert_eq!(text.parse::<HarborName>(), Err(error));
}

#[test]
fn no_target_can_be_called_none() {
    assert_eq!("none".parse::<TargetName>(), Err(NameError::Reserved("none")));
}

#[rstest]
#[case::windows("windows/amd64", true)]
#[case::variant("linux/arm/v7", true)]
#[case::one_part("linux", false)]
#[case::four_parts("linux/arm/v7/x", false)]
#[case::capital("linux/AMD64", false)]
#[case::hyphen("linux/am-d64", false)]
#[case::empty_variant("linux/arm/", false)]
fn a_platform_is_os_architecture_and_perhaps_variant(#[case] text: &str, #[case] valid: bool) {
    assert_eq!(text.parse::<Platform>().is_ok(), valid);
}

/// The order in which containerd's `platforms.Only` matches.
#[rstest]
#[case::amd64("linux/amd64", &["linux/amd64", "linux/386"])]
#[case::amd64_v3("linux/amd64/v3", &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"])]
#[case::arm64("linux/arm64", &["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"])]
#[case::arm64_v8("linux/arm64/v8", &["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"])]
#[case::arm64_v9(
    "linux/arm64/v9",
    &[
        "linux/arm64/v9", "linux/arm64/v8.5", "linux/arm64/v8.4", "linux/arm64/v8.3", "linux/arm64/v8.2",
        "linux/arm64/v8.1", "linux/arm64", "linux/arm/v9", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5",
    ]
)]
#[case::arm("linux/arm", &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"])]
#[case::arm_v7("linux/arm/v7", &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"])]
#[case::arm_v6("linux/arm/v6", &["linux/arm/v6", "linux/arm/v5"])]
#[case::arm_v5("linux/arm/v5", &["linux/arm/v5"])]
#[case::i386("linux/386", &["linux/386"])]
#[case::s390x("linux/s390x", &["linux/s390x"])]
#[case::windows("windows/amd64", &["windows/amd64", "windows/386"])]
fn a_platform_falls_back_as_containerd_does(#[case] wanted: &str, #[case] expected: &[&str]) {
    let wanted: Platform = wanted.parse().unwrap();
    let all = expected.iter().copied().chain([
        "linux/amd64/v2",
        "linux/amd64/v4",
        "linux/arm64/v8.2",
        "linux/arm/v8",
        "linux/ppc64le",
        "linux/amd64",
        "windows/arm64",
        "darwin/amd64",
        "linux/arm64",
        "linux/386",
        "linux/arm/v7",
        "unknown/unknown",
        "linux/",
    ]);
    let mut ranked: Vec<(usize, &str)> = all
        .filter_map(|text| {
            let mut parts = text.split('/');
            let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
            Some((wanted.rank(os, architecture, parts.next())?, text))
        })
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    let expected: Vec<_> = expected.iter().copied().enumerate().collect();
    assert_eq!(ranked, expected);
}

#[rstest]
#[case::aarch64("linux/arm64", "linux", "aarch64", None)]
#[case::aarch64_with_a_variant("linux/arm64", "linux", "AArch64", Some("v8"))]
#[case::variant_without_its_letter("linux/arm64", "linux", "arm64", Some("8"))]
#[case::x86_64("linux/amd64", "Linux", "x86_64", None)]
#[case::x86_64_with_a_hyphen("linux/amd64", "linux", "x86-64", Some("v1"))]
#[case::i386("linux/386", "linux", "i386", Some("anything"))]
#[case::armhf("linux/arm/v7", "linux", "armhf", None)]
#[case::armel("linux/arm/v6", "linux", "armel", None)]
#[case::arm_is_v7("linux/arm/v7", "linux", "arm", None)]
#[case::arm_without_the_letter("linux/arm/v6", "linux", "arm", Some("6"))]
#[case::no_system("linux/amd64", "", "amd64", None)]
#[case::empty_variant("linux/amd64", "linux", "amd64", Some(""))]
#[case::wanted_so("linux/aarch64", "linux", "arm64", None)]
#[case::macos("darwin/arm64", "macOS", "arm64", None)]
fn other_names_of_a_platform_are_that_platform(
    #[case] wanted: &str,
    #[case] os: &str,
    #[case] architecture: &str,
    #[case] variant: Option<&str>,
) {
    assert_eq!(wanted.parse::<Platform>().unwrap().rank(os, architecture, variant), Some(0));
}

#[rstest]
#[case::the_best_wherever_it_stands("linux/arm64", &["linux/arm/v7", "linux/arm64", "linux/arm64"], &[1])]
#[case::fallback("linux/amd64", &["linux/arm64", "linux/386"], &[1])]
#[case::undeclared_last("linux/amd64", &["-", "linux/386"], &[1])]
#[case::undeclared_alone("linux/amd64", &["attestation", "linux/arm64", "-", "-"], &[2])]
#[case::an_attestation_is_none("linux/amd64", &["attestation"], &[])]
#[case::none("linux/amd64", &["linux/arm64"], &[])]
#[case::every_version_of_windows("windows/amd64", &["windows/amd64", "linux/amd64", "windows/amd64"], &[0, 2])]
fn one_entry_of_an_index_is_chosen(#[case] wanted: &str, #[case] offers: &[&str], #[case] expected: &[usize]) {
    let offers: Vec<_> = offers
        .iter()
        .map(|text| match text.split('/').collect::<Vec<_>>()[..] {
            ["-"] => Offer::Undeclared,
            [os, architecture] => Offer::Image { os, architecture, variant: None },
            [os, architecture, variant] => Offer::Image { os, architecture, variant: Some(variant) },
            _ => Offer::Nothing,
        })
        .collect();
    assert_eq!(wanted.parse::<Platform>().unwrap().choose(&offers), expected);
}

#[test]
fn platforms_are_read_from_json_in_any_order_and_refused_when_there_are_none() {
    let platforms: Platforms = serde_json::from_str(r#"["linux/arm64", "linux/amd64", "linux/arm64"]"#).unwrap();
    assert_eq!(platforms.path_form(), "linux-amd64_linux-arm64");
    assert_eq!(serde_json::to_string(&platforms).unwrap(), r#"["linux/amd64","linux/arm64"]"#);
    assert!(serde_json::from_str::<Platforms>("[]").is_err());
}

#[test]
fn names_are_checked_when_they_are_read_from_json() {
    assert!(serde_json::from_str::<HarborName>("\"main\"").is_ok());
    assert!(serde_json::from_str::<HarborName>("\"harbor.example.com\"").is_err());
    assert!(serde_json::from_str::<Tag>("\"a b\"").is_err());
    assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
}
