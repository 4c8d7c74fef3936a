//! What differs between the versions of Harbor that sites run.

use harbor_warmer_simulator::{
    HarborVersion, ImageSpec, ProjectSpec, PushedImage, UpstreamEffect, UpstreamFault, UpstreamRequest,
};
use rstest::rstest;

use crate::client::{AMD64, ARM64, Lab, builder};

const V2_13: HarborVersion = HarborVersion::new(13, 2);
const V2_14_0: HarborVersion = HarborVersion::new(14, 0);
const V2_15_0: HarborVersion = HarborVersion::new(15, 0);
const V2_15_1: HarborVersion = HarborVersion::new(15, 1);
const V2_15_2: HarborVersion = HarborVersion::new(15, 2);
const V2_16: HarborVersion = HarborVersion::new(16, 0);

async fn tagged(lab: &Lab, spec: ImageSpec) -> PushedImage {
    let image = lab.simulator.upstream().push(spec);
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    for child in &image.children {
        lab.warm_child(&image, &child.platform).await;
    }
    lab.until_tagged(&image).await;
    image
}

#[tokio::test]
async fn the_version_is_told() {
    let lab = Lab::with(builder().version(V2_14_0)).await;
    assert_eq!(lab.get_json("/api/v2.0/systeminfo").await.1["harbor_version"], "v2.14.0");
    lab.simulator.install(V2_16);
    assert_eq!(lab.get_json("/api/v2.0/systeminfo").await.1["harbor_version"], "v2.16.0");
}

#[rstest]
#[case::before(V2_13, true)]
#[case::first(V2_14_0, false)]
#[case::last(V2_15_0, false)]
#[case::after(V2_15_1, true)]
#[tokio::test]
async fn asking_for_a_tag_that_is_gone_upstream_destroys_harbors_copy(
    #[case] version: HarborVersion,
    #[case] stays: bool,
) {
    let lab = Lab::with(builder().version(version)).await;
    let image = tagged(&lab, ImageSpec::new("app", "1").platforms([AMD64, ARM64])).await;
    lab.simulator.upstream().remove_tag("app", "1");
    assert_eq!(lab.head(&lab.manifest("app", "1")).await.status(), 404);
    assert_eq!(lab.simulator.tag("proxy", "app", "1").is_some(), stays);
    assert_eq!(lab.simulator.artifact_recorded("proxy", "app", &image.child(ARM64).digest), stays);
}

#[rstest]
#[case::before(V2_15_0, 404)]
#[case::since(V2_15_1, 200)]
#[tokio::test]
async fn a_project_may_serve_what_is_gone_upstream(#[case] version: HarborVersion, #[case] status: u16) {
    let project = ProjectSpec::proxy("proxy").local_on_not_found();
    let lab = Lab::with(builder().version(version).project(project)).await;
    tagged(&lab, ImageSpec::new("app", "1").single_manifest()).await;
    lab.simulator.upstream().remove_tag("app", "1");
    assert_eq!(lab.head(&lab.manifest("app", "1")).await.status(), status);
}

#[rstest]
#[case::before(V2_15_0, false)]
#[case::since(V2_15_1, true)]
#[tokio::test]
async fn the_pull_of_a_child_keeps_its_index(#[case] version: HarborVersion, #[case] stays: bool) {
    let lab = Lab::with(builder().version(version)).await;
    let image = tagged(&lab, ImageSpec::new("app", "1").platforms([AMD64, ARM64])).await;
    let child = image.child(AMD64).digest.clone();
    lab.simulator.advance(std::time::Duration::from_secs(6 * 24 * 3600));
    lab.get_manifest(&image, &child).await;
    lab.simulator.advance(std::time::Duration::from_secs(2 * 24 * 3600));
    lab.simulator.run_retention("proxy");
    assert_eq!(lab.simulator.tag("proxy", "app", "1").is_some(), stays);
    assert_eq!(lab.simulator.artifact_recorded("proxy", "app", &child), stays, "an index takes its children along");
}

#[rstest]
#[case::before(V2_14_0, 200)]
#[case::since(HarborVersion::new(14, 1), 429)]
#[tokio::test]
async fn upstream_connections_are_limited(#[case] version: HarborVersion, #[case] status: u16) {
    let project = ProjectSpec::proxy("proxy").max_upstream_connections(1);
    let lab = Lab::with(builder().version(version).project(project)).await;
    lab.simulator.upstream().rate(Some(1 << 10));
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").layer_sizes([8 << 20]));
    let blob = lab.blob("app", &image.child(AMD64).layers[0].0);
    let mut first = lab.get(&blob).await;
    first.chunk().await.unwrap();
    assert_eq!(lab.get(&blob).await.status(), status);
}

#[rstest]
#[case::before(V2_13, false)]
#[case::since(V2_14_0, true)]
#[tokio::test]
async fn a_get_by_tag_records_the_tag_of_a_manifest(#[case] version: HarborVersion, #[case] recorded: bool) {
    let lab = Lab::with(builder().version(version)).await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").single_manifest());
    lab.warm_child(&image, AMD64).await;
    lab.get_manifest(&image, "1").await;
    lab.until_recorded(&image, &image.digest).await;
    lab.pass(lab.simulator.now(), 60).await;
    assert_eq!(lab.tagged_at(&image).is_some(), recorded);
}

#[rstest]
#[case::before(V2_15_2, false)]
#[case::since(V2_16, true)]
#[tokio::test]
async fn a_proxied_blob_tells_its_length_and_is_cut_when_the_upstream_breaks(
    #[case] version: HarborVersion,
    #[case] measured: bool,
) {
    let lab = Lab::with(builder().version(version)).await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    let layer = image.child(AMD64).layers[0].0.clone();
    let fault = UpstreamFault::new(UpstreamEffect::TruncateAfter(1000)).on(UpstreamRequest::ClientStream);
    lab.simulator.upstream().fail_next(fault);
    let answer = lab.get(&lab.blob("app", &layer)).await;
    assert_eq!(answer.headers().contains_key("content-length"), measured);
    assert_eq!(answer.headers().contains_key("docker-content-digest"), measured);
    assert_eq!(answer.bytes().await.is_err(), measured);
}

#[rstest]
#[case::before(V2_15_2, 200)]
#[case::since(V2_16, 404)]
#[tokio::test]
async fn a_filter_of_repositories_reads_like_a_missing_tag(#[case] version: HarborVersion, #[case] status: u16) {
    let project = ProjectSpec::proxy("proxy").repository_filter("library/**");
    let lab = Lab::with(builder().version(version).project(project)).await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    let other = lab.simulator.upstream().push(ImageSpec::new("library/app", "1"));
    let answer = lab.get(&lab.manifest("app", &image.digest)).await;
    assert_eq!(answer.status(), status);
    let said = answer.text().await.unwrap();
    let expected = r#"resource not found: repository \"app\" does not match"#;
    assert_eq!(said.contains(expected), status == 404, "{said}");
    lab.get_manifest(&other, &other.digest).await;
}
