use harbor_warmer_protocol::{EMPTY_CONFIG_DIGEST, ImageState, Lookup, RECEIPT_ARTIFACT_TYPE, Receipt, ReceiptError};
use oci_spec::image::{ImageManifest, MediaType};
use proptest::prelude::*;
use rstest::rstest;

fn receipt() -> impl Strategy<Value = Receipt> {
    let state = prop_oneof![
        Just(ImageState::New),
        Just(ImageState::Queued),
        Just(ImageState::Warming),
        Just(ImageState::Warm),
        Just(ImageState::Failed),
        Just(ImageState::Refused),
    ];
    let lookup = prop_oneof![Just(Lookup::Yes), Just(Lookup::No)];
    let text = || prop::option::of(any::<String>());
    (state, lookup, text(), text()).prop_map(|(state, lookup, image, reason)| Receipt { state, lookup, image, reason })
}

proptest! {
    #[test]
    fn a_receipt_is_read_back_as_itself(receipt in receipt()) {
        prop_assert_eq!(Receipt::from_manifest(&receipt.to_manifest()), Ok(receipt));
    }

    #[test]
    fn a_receipt_is_a_valid_image_manifest_to_the_host_and_to_the_policy(receipt in receipt()) {
        // The host parses it and hands its own JSON to the policy, which parses that: twice through oci-spec's type.
        let host: ImageManifest = serde_json::from_slice(&receipt.to_manifest()).unwrap();
        let policy: ImageManifest = serde_json::from_slice(&serde_json::to_vec(&host).unwrap()).unwrap();
        prop_assert_eq!(policy.media_type(), &Some(MediaType::ImageManifest));
        prop_assert_eq!(policy.config().digest().to_string(), EMPTY_CONFIG_DIGEST);
        prop_assert_eq!(policy.layers().len(), 0);
        let artifact_type = policy.artifact_type().as_ref().map(ToString::to_string);
        let annotations = policy.annotations().clone().unwrap_or_default();
        let read = Receipt::from_parts(artifact_type.as_deref(), |key| annotations.get(key).cloned());
        prop_assert_eq!(read, Ok(receipt));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        drop(Receipt::from_manifest(&bytes));
    }
}

fn manifest(artifact_type: &str, annotations: &str) -> Vec<u8> {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"{artifact_type}",
        "config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{EMPTY_CONFIG_DIGEST}","size":2}},
        "layers":[],"annotations":{annotations},"somethingNew":1}}"#
    )
    .into_bytes()
}

#[rstest]
#[case::other_artifact(manifest("application/vnd.example", "{}"), ReceiptError::NotAReceipt)]
#[case::no_state(manifest(RECEIPT_ARTIFACT_TYPE, "{}"), ReceiptError::UnknownState)]
#[case::state_of_a_newer_warmer(
    manifest(RECEIPT_ARTIFACT_TYPE, r#"{"io.harbor-warmer.state":"simmering"}"#),
    ReceiptError::UnknownState
)]
#[case::not_json(b"<html>".to_vec(), ReceiptError::InvalidManifest)]
fn what_is_no_receipt_is_refused_for_its_reason(#[case] bytes: Vec<u8>, #[case] error: ReceiptError) {
    assert_eq!(Receipt::from_manifest(&bytes), Err(error));
}

#[rstest]
#[case::yes(r#""yes""#, Lookup::Yes)]
#[case::no(r#""no""#, Lookup::No)]
#[case::unclear(r#""perhaps""#, Lookup::No)]
fn anything_but_a_clear_yes_asks_for_no_look_up(#[case] value: &str, #[case] lookup: Lookup) {
    let annotations = format!(r#"{{"io.harbor-warmer.state":"new","io.harbor-warmer.lookup":{value}}}"#);
    assert_eq!(Receipt::from_manifest(&manifest(RECEIPT_ARTIFACT_TYPE, &annotations)).unwrap().lookup, lookup);
}
