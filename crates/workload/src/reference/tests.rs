use oci_spec::distribution::Reference as Oracle;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

#[rstest]
#[case::short_name("nginx", "docker.io/library/nginx:latest")]
#[case::owner("grafana/loki:3.1", "docker.io/grafana/loki:3.1")]
#[case::docker_hub_in_full("docker.io/nginx", "docker.io/library/nginx:latest")]
#[case::docker_hubs_old_name("index.docker.io/library/nginx:1", "docker.io/library/nginx:1")]
#[case::port_is_not_a_tag("localhost:5000/nginx", "localhost:5000/nginx:latest")]
#[case::number_without_a_slash_is_a_tag("nginx:5000", "docker.io/library/nginx:5000")]
#[case::localhost("localhost/nginx", "localhost/nginx:latest")]
#[case::dot_makes_a_registry("ghcr.io/a/b/c:Tag_1.2-x", "ghcr.io/a/b/c:Tag_1.2-x")]
#[case::no_dot_is_an_owner("registry/a", "docker.io/registry/a:latest")]
#[case::docker_hubs_old_name_without_library("index.docker.io/nginx", "docker.io/library/nginx:latest")]
#[case::docker_hubs_host("registry-1.docker.io/library/nginx:1", "docker.io/library/nginx:1")]
#[case::docker_hubs_host_without_library("registry-1.docker.io/nginx", "docker.io/library/nginx:latest")]
#[case::docker_hubs_alias("registry.hub.docker.com/grafana/loki:3", "docker.io/grafana/loki:3")]
#[case::docker_hubs_site("hub.docker.com/grafana/loki:3", "docker.io/grafana/loki:3")]
#[case::a_page_of_docker_hubs_site("hub.docker.com/r/grafana/loki:3", "docker.io/grafana/loki:3")]
#[case::a_page_of_an_official_image("hub.docker.com/_/nginx", "docker.io/library/nginx:latest")]
#[case::docker_hub_with_its_port("docker.io:443/nginx", "docker.io/library/nginx:latest")]
#[case::host_in_capitals("GHCR.IO/a/b:1", "ghcr.io/a/b:1")]
#[case::docker_hub_in_capitals("Docker.IO/nginx", "docker.io/library/nginx:latest")]
#[case::host_with_a_port_in_capitals("Registry:5000/a", "registry:5000/a:latest")]
#[case::port_443("ghcr.io:443/a", "ghcr.io/a:latest")]
#[case::port_443_of_an_address("10.0.0.1:443/a", "10.0.0.1/a:latest")]
#[case::another_port("ghcr.io:8443/a", "ghcr.io:8443/a:latest")]
#[case::port_443_is_all_that_makes_it_a_host("registry:443/a", "registry:443/a:latest")]
#[case::port_443_where_runtimes_speak_http("127.0.0.1:443/a", "127.0.0.1:443/a:latest")]
#[case::capitals_make_a_registry("MyRegistry/app", "MyRegistry/app:latest")]
fn references_are_read_into_their_normal_form(#[case] written: &str, #[case] normal: &str) {
    let reference: Reference = written.parse().unwrap();
    assert_eq!(reference.to_string(), normal);
    assert_eq!(reference.written(), written);
}

#[test]
fn a_digest_keeps_the_tag_beside_it() {
    let reference: Reference = format!("quay.io/a/b:1@sha256:{HEX}").parse().unwrap();
    assert_eq!(reference.tag().map(Tag::as_str), Some("1"));
    assert_eq!(reference.digest().unwrap().to_string(), format!("sha256:{HEX}"));
}

#[test]
fn a_digest_alone_has_no_tag() {
    let reference: Reference = format!("nginx@sha256:{HEX}").parse().unwrap();
    assert_eq!(reference.tag(), None);
    assert_eq!(reference.name(), "docker.io/library/nginx");
}

#[test]
fn references_are_equal_when_their_normal_forms_are() {
    let parse = |text: &str| text.parse::<Reference>().unwrap();
    assert_eq!(parse("nginx"), parse("index.docker.io/library/nginx:latest"));
    assert_ne!(parse("nginx"), parse("nginx:1"));
}

#[rstest]
#[case::empty("", ReferenceError::Empty)]
#[case::blank(" ", ReferenceError::Empty)]
#[case::capitals("Nginx", ReferenceError::Capitals)]
#[case::capital_below_a_registry("ghcr.io/Acme/nginx", ReferenceError::Capitals)]
#[case::capital_below_an_owner("acme/Nginx:1", ReferenceError::Capitals)]
#[case::triple_underscore("a___b", ReferenceError::InvalidRepository)]
#[case::space("a b", ReferenceError::InvalidRepository)]
#[case::newline("nginx\n", ReferenceError::InvalidRepository)]
#[case::trailing_slash("ghcr.io/", ReferenceError::InvalidRepository)]
#[case::double_slash("ghcr.io//a", ReferenceError::InvalidRepository)]
#[case::climbing("ghcr.io/../a", ReferenceError::InvalidRepository)]
#[case::ipv6("[::1]:5000/a", ReferenceError::Ipv6)]
#[case::ipv6_without_a_port("[fc00::3]/app:1", ReferenceError::Ipv6)]
#[case::scheme("https://ghcr.io/a", ReferenceError::Scheme)]
#[case::plain_scheme("http://registry:5000/a", ReferenceError::Scheme)]
#[case::dockers_scheme("docker://nginx:1", ReferenceError::Scheme)]
#[case::helms_scheme("oci://ghcr.io/a/b", ReferenceError::Scheme)]
#[case::ko("ko://github.com/Acme/app/cmd/server", ReferenceError::Ko)]
#[case::port_without_number("ghcr.io:/a", ReferenceError::InvalidRegistry)]
#[case::underscore_in_a_host("my_registry.example.com/a", ReferenceError::InvalidRegistry)]
#[case::empty_tag("nginx:", ReferenceError::InvalidTag)]
#[case::tag_with_a_dot_first("nginx:.1", ReferenceError::InvalidTag)]
#[case::tag_with_a_plus("nginx:1.0+build", ReferenceError::InvalidTag)]
#[case::not_ascii("nginx:é", ReferenceError::InvalidTag)]
#[case::digest_of_other_algorithm("nginx@sha512:00", ReferenceError::InvalidDigest(DigestError::UnsupportedAlgorithm))]
#[case::short_digest("nginx@sha256:00", ReferenceError::InvalidDigest(DigestError::InvalidHex))]
#[case::helms_template("{{ .Values.image }}", ReferenceError::Template)]
#[case::helms_template_for_the_tag("nginx:{{ .Values.tag }}", ReferenceError::Template)]
#[case::shells_variable("${REGISTRY}/app:1", ReferenceError::Template)]
#[case::shells_variable_without_braces("$IMAGE", ReferenceError::Template)]
#[case::tektons_parameter("$(params.image)", ReferenceError::Template)]
#[case::argos_parameter("ghcr.io/acme/{{inputs.parameters.app}}:1", ReferenceError::Template)]
#[case::placeholder_in_brackets("<your-registry>/app:1", ReferenceError::Template)]
#[case::placeholder_of_windows("%IMAGE%", ReferenceError::Template)]
#[case::azures_tokens("#{IMAGE}#", ReferenceError::Template)]
fn what_is_no_reference_is_refused_for_its_reason(#[case] text: &str, #[case] error: ReferenceError) {
    assert_eq!(text.parse::<Reference>(), Err(error));
}

#[test]
fn megabytes_are_refused_before_they_are_read() {
    assert_eq!("a".repeat(1_000_000).parse::<Reference>(), Err(ReferenceError::TooLong));
}

#[test]
fn a_tag_has_at_most_128_characters() {
    assert!(format!("a:{}", "t".repeat(128)).parse::<Reference>().is_ok());
    assert_eq!(format!("a:{}", "t".repeat(129)).parse::<Reference>(), Err(ReferenceError::InvalidTag));
}

#[test]
fn a_repository_has_at_most_255_characters() {
    let of = |length: usize| format!("ghcr.io/{}", "a".repeat(length)).parse::<Reference>();
    assert!(of(255).is_ok());
    assert_eq!(of(256), Err(ReferenceError::InvalidRepository));
}

/// What oci-spec knows nothing of: names that one registry has several of, and a host that only its capitals tell.
fn has_a_name_of_its_own(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let aliases = ["registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"];
    let host = first.to_ascii_lowercase();
    first.bytes().any(|b| b.is_ascii_uppercase()) || host.ends_with(":443") || aliases.contains(&host.as_str())
}

/// What oci-spec says, without the three things in which it is laxer than a container runtime: it takes other digest
/// algorithms and capitals in their hexadecimal, an owner with capitals, and an underscore in a host name.
fn oracle(text: &str) -> Option<Oracle> {
    let reference: Oracle = text.parse().ok()?;
    let digest_is_ours = reference.digest().is_none_or(|digest| {
        digest.strip_prefix("sha256:").is_some_and(|hex| !hex.bytes().any(|b| b.is_ascii_uppercase()))
    });
    let lower_case = !reference.repository().bytes().any(|b| b.is_ascii_uppercase());
    let host_name = !reference.registry().contains('_');
    (digest_is_ours && lower_case && host_name).then_some(reference)
}

fn check_against_the_oracle(text: &str) {
    if has_a_name_of_its_own(text) {
        return;
    }
    match (text.parse::<Reference>(), oracle(text)) {
        (Ok(ours), Some(theirs)) => {
            assert_eq!(ours.registry(), theirs.registry(), "{text}");
            assert_eq!(ours.repository().as_str(), theirs.repository(), "{text}");
            assert_eq!(ours.tag().map(Tag::as_str), theirs.tag(), "{text}");
            assert_eq!(ours.digest().map(ToString::to_string).as_deref(), theirs.digest(), "{text}");
            assert_eq!(ours.to_string(), theirs.whole(), "{text}");
        }
        (Err(_), None) => {}
        (ours, theirs) => panic!("{text:?}: we say {ours:?}, oci-spec says {theirs:?}"),
    }
}

proptest! {
    #[test]
    fn texts_like_references_are_judged_as_oci_spec_judges_them(
        text in "([a-zA-Z0-9._-]{1,8}(:[0-9]{0,4})?/)?[a-z0-9A-Z]{1,3}([._/-]{1,2}[a-z0-9]{1,4}){0,3}(:[a-zA-Z0-9._-]{0,9})?(@sha256:[0-9a-f]{63,65})?"
    ) {
        check_against_the_oracle(&text);
    }

    #[test]
    fn any_ascii_is_judged_as_oci_spec_judges_it(text in "[ -~]{0,40}") {
        check_against_the_oracle(&text);
    }

    #[test]
    fn separators_are_judged_as_oci_spec_judges_them(text in "[ab/:@._-]{0,12}") {
        check_against_the_oracle(&text);
    }

    #[test]
    fn any_text_at_all_is_read_without_a_panic(text in any::<String>()) {
        drop(text.parse::<Reference>());
    }

    #[test]
    fn the_normal_form_is_read_back_as_itself(text in "([a-z]{1,5}\\.io/)?[a-z]{1,5}(/[a-z]{1,5})?(:[a-z0-9]{1,5})?") {
        let reference: Reference = text.parse().unwrap();
        let normal: Reference = reference.to_string().parse().unwrap();
        prop_assert_eq!(&normal, &reference);
        prop_assert_eq!(normal.to_string(), reference.to_string());
    }
}

#[rstest]
#[case::error_1(ReferenceError::Template)]
#[case::error_2(ReferenceError::Ko)]
#[case::error_3(ReferenceError::Scheme)]
#[case::error_4(ReferenceError::Ipv6)]
#[case::error_5(ReferenceError::InvalidRegistry)]
#[case::error_6(ReferenceError::Capitals)]
#[case::error_7(ReferenceError::InvalidRepository)]
#[case::error_8(ReferenceError::InvalidTag)]
#[case::error_9(ReferenceError::InvalidDigest(DigestError::UnsupportedAlgorithm))]
#[case::error_10(ReferenceError::InvalidDigest(DigestError::InvalidHex))]
fn a_reason_leaves_room_for_the_image_in_a_warning(#[case] error: ReferenceError) {
    assert!(error.to_string().chars().count() <= 80, "{error}");
}

proptest! {
    #[test]
    fn every_spelling_of_an_image_has_one_normal_form(
        path in "[a-z]{1,6}(/[a-z]{1,6})?", alias in 0..6_usize, tag in "[a-z0-9]{1,5}",
    ) {
        let aliases = ["", "docker.io/", "index.docker.io/", "DOCKER.IO/", "registry-1.docker.io:443/", "hub.docker.com/"];
        prop_assume!(alias == 0 || path != "library");
        let parse = |text: String| text.parse::<Reference>().unwrap().to_string();
        prop_assume!(!(path.starts_with("localhost/") && alias == 0));
        // The address of a page at hub.docker.com, and not of a repository.
        prop_assume!(!path.starts_with("r/"));
        prop_assert_eq!(parse(format!("{}{path}:{tag}", aliases[alias])), parse(format!("docker.io/{path}:{tag}")));
    }
}
