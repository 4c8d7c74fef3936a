use harbor_warmer_protocol::{
    Digest, HarborName, NameError, Platform, Platforms, ProjectName, RepositoryPath, Tag, TagOrDigest, TargetName,
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

#[rstest]
#[case::same("linux/amd64", "linux", "amd64", None, true)]
#[case::variant_of_the_image_counts_only_where_one_is_wanted("linux/arm64", "linux", "arm64", Some("v8"), true)]
#[case::image_without_variant("linux/arm/v7", "linux", "arm", None, true)]
#[case::other_variant("linux/arm/v7", "linux", "arm", Some("v6"), false)]
#[case::other_os("linux/amd64", "windows", "amd64", None, false)]
#[case::attestation("linux/amd64", "unknown", "unknown", None, false)]
fn a_platform_accepts_what_its_nodes_run(
    #[case] wanted: &str,
    #[case] os: &str,
    #[case] architecture: &str,
    #[case] variant: Option<&str>,
    #[case] accepted: bool,
) {
    assert_eq!(wanted.parse::<Platform>().unwrap().accepts(os, architecture, variant), accepted);
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
