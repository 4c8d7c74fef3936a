use std::fmt::Write as _;

use rstest::rstest;

use super::*;

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn index_of(entries: &str) -> Result<Vec<Child>, Unusable> {
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#).replace("DIGEST", DIGEST);
    match Manifest::parse(index.as_bytes())? {
        Manifest::Index(children) => Ok(children),
        Manifest::Image(blobs) => panic!("an index: {blobs:?}"),
    }
}

fn image_of(rest: &str) -> Result<Vec<Blob>, Unusable> {
    let config = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"DIGEST","size":2}"#;
    let manifest = format!(r#"{{"schemaVersion":2,{config}{rest}}}"#).replace("DIGEST", DIGEST);
    match Manifest::parse(manifest.as_bytes())? {
        Manifest::Image(blobs) => Ok(blobs),
        Manifest::Index(children) => panic!("an image: {children:?}"),
    }
}

const GOOD: &str = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"DIGEST","size":2,
    "platform":{"os":"linux","architecture":"arm64","variant":"v8"}}"#;

fn arm64() -> Option<(String, String, Option<String>)> {
    Some(("linux".to_owned(), "arm64".to_owned(), Some("v8".to_owned())))
}

#[rstest]
#[case::attestation(
    r#"{"digest":"DIGEST","size":2,"platform":{"os":"unknown","architecture":"unknown"}}"#,
    None,
    false
)]
#[case::no_platform(r#"{"digest":"DIGEST","size":2}"#, None, true)]
#[case::null_platform(r#"{"digest":"DIGEST","size":2,"platform":null}"#, None, true)]
#[case::empty_platform(r#"{"digest":"DIGEST","size":2,"platform":{}}"#, None, true)]
#[case::empty_texts(r#"{"digest":"DIGEST","size":2,"platform":{"os":"","architecture":"","variant":""}}"#, None, true)]
#[case::platform_of_another_type(r#"{"digest":"DIGEST","size":2,"platform":["linux"]}"#, None, true)]
#[case::no_system(
    r#"{"digest":"DIGEST","size":2,"platform":{"architecture":"s390x"}}"#,
    Some((String::new(), "s390x".to_owned(), None)),
    false
)]
#[case::no_media_type_and_no_size(
    r#"{"digest":"DIGEST","platform":{"os":"linux","architecture":"arm64","variant":"v8"}}"#,
    arm64(),
    false
)]
#[case::more_than_anybody_asked_for(
    r#"{"digest":"DIGEST","size":2,"urls":[["x"]],"annotations":{"a":{"b":[1,2.5,null,true]}},"data":"e30=",
        "platform":{"os":"linux","os.version":1,"os.features":{},"architecture":"arm64","variant":"v8"}}"#,
    arm64(),
    false
)]
#[case::a_key_twice(r#"{"digest":"sha256:0","size":-1,"digest":"DIGEST","size":2}"#, None, true)]
fn an_entry_is_read_as_far_as_it_says_something(
    #[case] entry: &str,
    #[case] platform: Option<(String, String, Option<String>)>,
    #[case] undeclared: bool,
) {
    let children = index_of(entry).unwrap();
    assert_eq!(children, [Child { digest: DIGEST.parse().unwrap(), platform, undeclared }]);
}

#[rstest]
#[case::size_below_zero(r#"{"digest":"DIGEST","size":-1}"#, BrokenEntry::Size("-1".to_owned()))]
#[case::size_as_text(r#"{"digest":"DIGEST","size":"12"}"#, BrokenEntry::Size("\"12\"".to_owned()))]
#[case::broken_number(r#"{"digest":"DIGEST","size":1.5}"#, BrokenEntry::Size("something that it can't be".to_owned()))]
#[case::too_large(
    r#"{"digest":"DIGEST","size":99999999999999999999}"#,
    BrokenEntry::Size("something that it can't be".to_owned())
)]
#[case::other_algorithm(r#"{"digest":"sha512:00","size":1}"#, BrokenEntry::Digest("sha512:00".to_owned()))]
#[case::no_digest(r#"{"size":1}"#, BrokenEntry::NoDigest)]
#[case::null_digest(r#"{"digest":null,"size":1}"#, BrokenEntry::NoDigest)]
#[case::a_digest_that_is_a_number(r#"{"digest":7,"size":1}"#, BrokenEntry::Digest("7".to_owned()))]
#[case::null("null", BrokenEntry::NotAnObject)]
#[case::text(r#""x""#, BrokenEntry::NotAnObject)]
#[case::list("[[1]]", BrokenEntry::NotAnObject)]
fn a_broken_entry_hides_no_other_and_alone_is_the_reason(#[case] broken: &str, #[case] fault: BrokenEntry) {
    for entries in [format!("{broken},{GOOD}"), format!("{GOOD},{broken}")] {
        let children = index_of(&entries).unwrap();
        assert_eq!(children.iter().map(|child| child.platform.clone()).collect::<Vec<_>>(), [arm64()]);
    }
    assert_eq!(index_of(broken).unwrap_err(), Unusable::NoUsableEntry(fault.clone()));
    // A layer that can't be named can't be left out.
    let layers = format!(r#","layers":[{GOOD},{broken}]"#);
    assert_eq!(image_of(&layers).unwrap_err(), Unusable::BrokenBlob { role: "layer 2".to_owned(), fault });
}

#[rstest]
#[case::none("")]
#[case::null(r#","layers":null"#)]
#[case::empty(r#","layers":[]"#)]
#[case::of_another_type(r#","layers":{"a":1}"#)]
#[case::and_no_index(r#","manifests":null"#)]
fn an_image_without_layers_has_its_config_alone(#[case] rest: &str) {
    assert_eq!(image_of(rest).unwrap().len(), 1);
}

#[test]
fn an_empty_index_has_no_entries() {
    assert_eq!(index_of("").unwrap(), []);
}

#[rstest]
#[case::oci("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", false)]
#[case::docker("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", false)]
#[case::zstd("application/vnd.oci.image.layer.v1.tar+zstd", true)]
fn layers_that_come_from_elsewhere_are_told_apart(#[case] media_type: &str, #[case] distributable: bool) {
    let layers = format!(r#","layers":[{{"mediaType":"{media_type}","digest":"DIGEST","size":5}}]"#);
    let blobs = image_of(&layers).unwrap();
    assert_eq!(blobs.iter().map(|blob| blob.distributable).collect::<Vec<_>>(), [true, distributable]);
    assert_eq!(blobs.iter().map(|blob| blob.size_bytes).collect::<Vec<_>>(), [2, 5]);
}

#[rstest]
#[case::no_json("<html>", Unusable::NotJson)]
#[case::list("[]", Unusable::NotJson)]
#[case::cut(r#"{"schemaVersion":2,"manifests":[{"#, Unusable::NotJson)]
#[case::schema_1(r#"{"schemaVersion":1,"fsLayers":[]}"#, Unusable::SchemaVersion1)]
#[case::artifact(r#"{"schemaVersion":2,"blobs":[]}"#, Unusable::NeitherImageNorIndex)]
#[case::layers_alone(r#"{"schemaVersion":2,"layers":[]}"#, Unusable::NeitherImageNorIndex)]
fn what_is_no_image_is_told_with_a_reason(#[case] text: &str, #[case] expected: Unusable) {
    assert_eq!(Manifest::parse(text.as_bytes()).unwrap_err(), expected);
}

fn many(count: usize) -> String {
    let mut entries = String::new();
    for number in 0..count {
        let separator = if number == 0 { "" } else { "," };
        write!(entries, r#"{separator}{{"digest":"sha256:{number:064x}","size":2}}"#).unwrap();
    }
    entries
}

#[test]
fn the_caps_are_the_largest_that_is_read() {
    let layers = |count| image_of(&format!(r#","layers":[{}]"#, many(count)));
    assert_eq!(layers(MAX_LAYERS).unwrap().len(), MAX_LAYERS + 1);
    assert_eq!(layers(22_000).unwrap_err(), Unusable::TooManyLayers { found: 22_000 });
    assert_eq!(index_of(&many(MAX_CHILDREN)).unwrap().len(), MAX_CHILDREN);
    assert_eq!(index_of(&many(MAX_CHILDREN + 1)).unwrap_err(), Unusable::TooManyChildren { found: MAX_CHILDREN + 1 });
    assert_eq!(index_of(&many(14_000)).unwrap_err(), Unusable::TooManyChildren { found: 14_000 });
}
