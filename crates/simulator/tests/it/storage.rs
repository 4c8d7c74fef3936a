//! What Harbor's registry keeps its blobs in: an object storage that it redirects to, and one that lost a part.

use harbor_warmer_simulator::{ImageSpec, PushedImage};
use reqwest::Method;
use rstest::rstest;

use crate::client::{AMD64, Lab, builder};

async fn stored(lab: &Lab) -> PushedImage {
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    lab.warm_child(&image, AMD64).await;
    lab.until_recorded(&image, &image.child(AMD64).digest).await;
    image
}

#[rstest]
#[case::head(Method::HEAD)]
#[case::get(Method::GET)]
#[tokio::test]
async fn a_stored_blob_is_redirected_to_another_host_which_takes_no_credentials(#[case] method: Method) {
    let lab = Lab::with(builder().object_storage()).await;
    let image = stored(&lab).await;
    assert!(lab.simulator.bucket_requests().is_empty(), "what comes from the upstream is no redirect");
    let (layer, size) = image.child(AMD64).layers[0].clone();
    let answer = lab.send(method.clone(), &lab.blob("app", &layer)).await;
    assert_eq!(answer.status(), 307);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("http://localhost:"), "{location}");

    let follow = || lab.client.request(method.clone(), &location);
    let followed = follow().send().await.unwrap();
    assert_eq!(
        (followed.status().as_u16(), &followed.headers()["content-length"]),
        (200, &size.to_string().parse().unwrap())
    );
    let sent = if method == Method::HEAD { 0 } else { size };
    assert_eq!(followed.bytes().await.unwrap().len() as u64, sent);
    assert_eq!(follow().basic_auth("robot$proxy+warmer", Some("secret")).send().await.unwrap().status(), 400);
    let other = if method == Method::HEAD { Method::GET } else { Method::HEAD };
    assert_eq!(lab.client.request(other, &location).send().await.unwrap().status(), 403, "signed for one method");
    let seen = lab.simulator.bucket_requests();
    assert_eq!(seen.iter().map(|request| request.status).collect::<Vec<_>>(), [200, 400, 403]);
    assert_eq!(seen.iter().map(|request| request.with_credentials).collect::<Vec<_>>(), [false, true, false]);
}

#[tokio::test]
async fn a_blob_that_is_not_stored_is_404_with_object_storage_too() {
    let lab = Lab::with(builder().object_storage()).await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1"));
    let layer = &image.child(AMD64).layers[0].0;
    assert_eq!(lab.head(&lab.blob("app", layer)).await.status(), 404);
}

#[tokio::test]
async fn a_storage_that_lost_a_part_tells_another_length() {
    let lab = Lab::start().await;
    let image = stored(&lab).await;
    let (layer, size) = image.child(AMD64).layers[0].clone();
    for kept in [size - 1, 0] {
        assert!(lab.simulator.truncate_stored_blob(&layer, kept));
        let head = lab.head(&lab.blob("app", &layer)).await;
        assert_eq!(head.headers()["content-length"], kept.to_string());
        assert_eq!(lab.drain("app", &layer).await as u64, kept);
    }
    assert!(!lab.simulator.truncate_stored_blob(&image.digest, 0), "an index is no blob");
}
