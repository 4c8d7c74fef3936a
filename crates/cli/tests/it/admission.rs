//! From an AdmissionReview to blobs in Harbor, through the real `.wasm` and the real ports.
//!
//! None of these is about time, so evaluations have as much as they want on a busy machine; [`crate::burst`] has the
//! policy server's own limit.

use harbor_warmer_core::view::{ImageView, Phase};
use harbor_warmer_policy_host::DockerConfig;
use harbor_warmer_simulator::{ImageSpec, PushedImage};
use rstest::rstest;

use crate::policy_server::{CLUSTER, TlsSite, admit, plain, policy_server, policy_server_at};
use crate::site::{Options, Site, harbor, two_platforms};

const AMD64: &str = "linux/amd64";

fn push(site: &Site) -> PushedImage {
    site.harbor.upstream().push(two_platforms("library/nginx", "1.27"))
}

/// Waits until the only image in the queue is warm.
async fn the_only_image_is_warm(site: &Site) -> ImageView {
    let images = site.list().await.images;
    assert_eq!(images.len(), 1, "{images:#?}");
    site.wait_until_warm(&images[0].id).await
}

#[rstest]
#[case::short("nginx:1.27")]
#[case::whole("docker.io/library/nginx:1.27")]
#[case::by_its_ecr_name("123456789012.dkr.ecr.eu-west-1.amazonaws.com/dockerhub/library/nginx:1.27")]
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_makes_harbor_fill(#[case] name: &str) {
    let site = Site::start().await;
    let image = push(&site);
    let host = policy_server(&site).eval_timeout(None).build().unwrap();
    assert_eq!(host.validate_settings().await.message, None);
    assert_eq!(admit(&host, &[name]).await, [""; 0]);
    let view = the_only_image_is_warm(&site).await;
    site.assert_copied_once(&image, AMD64);
    assert!(!site.harbor_has(&image, "linux/arm64"), "only the wanted platform is moved");
    site.wait_for(&view.summary.id, |view| view.summary.phase == Phase::Tagged).await;
    assert!(site.harbor.tag("hub", "library/nginx", "1.27").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_resolved_reaches_the_warmer() {
    let site = Site::start().await;
    let image = push(&site);
    let host = policy_server(&site).eval_timeout(None).build().unwrap();
    let review = crate::policy_server::deployment(&["nginx:1.27"]);
    let evaluation = host.validate(&review["request"]).await;
    assert!(evaluation.response.allowed);
    let log = evaluation.logs.join("\n");
    assert!(log.contains(r#""outcome":"resolved""#) && log.contains(r#""image.manifests":"1""#), "{log}");
    the_only_image_is_warm(&site).await;
    site.assert_copied_once(&image, AMD64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_by_digest_is_warmed() {
    let site = Site::start().await;
    let image = push(&site);
    let host = policy_server(&site).eval_timeout(None).build().unwrap();
    let name = format!("nginx@{}", image.digest);
    assert_eq!(admit(&host, &[&name]).await, [""; 0]);
    the_only_image_is_warm(&site).await;
    site.assert_copied_once(&image, AMD64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_by_tag_and_digest_is_warmed_and_tagged() {
    let site = Site::start().await;
    let image = push(&site);
    let host = policy_server(&site).eval_timeout(None).build().unwrap();
    let name = format!("nginx:1.27@{}", image.digest);
    assert_eq!(admit(&host, &[&name]).await, [""; 0]);
    let view = the_only_image_is_warm(&site).await;
    site.wait_for(&view.summary.id, |view| view.summary.phase == Phase::Tagged).await;
    site.assert_copied_once(&image, AMD64);
    assert!(site.harbor.tag("hub", "library/nginx", "1.27").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_one_architecture_is_warmed_and_tagged() {
    let site = Site::start().await;
    let image = site.harbor.upstream().push(ImageSpec::new("library/tool", "2").single_manifest());
    let host = policy_server(&site).eval_timeout(None).build().unwrap();
    assert_eq!(admit(&host, &["tool:2"]).await, [""; 0]);
    let view = the_only_image_is_warm(&site).await;
    site.assert_copied_once(&image, AMD64);
    site.wait_for(&view.summary.id, |view| view.summary.phase == Phase::Tagged).await;
    assert_eq!(site.harbor.tag("hub", "library/tool", "2").as_ref(), Some(&image.digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_that_there_is_no_such_tag() {
    let site = Site::start().await;
    push(&site);
    let host = policy_server(&site).eval_timeout(None).build().unwrap();
    let warnings = admit(&host, &["nginx:1.72"]).await;
    assert_eq!(warnings, ["harbor-warmer: docker.io/library/nginx:1.72: Harbor's upstream has no such tag"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_that_the_image_is_for_other_platforms() {
    let site = Site::start().await;
    site.harbor.upstream().push(two_platforms("library/nginx", "arm").platforms(["linux/arm64"]));
    let host = policy_server(&site).eval_timeout(None).build().unwrap();
    let warnings = admit(&host, &["nginx:arm"]).await;
    assert_eq!(
        warnings,
        ["harbor-warmer: docker.io/library/nginx:arm: nothing in it for linux/amd64, only linux/arm64"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_warmer_everything_is_admitted_with_one_warning() {
    // A port that was free a moment ago, and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let host = policy_server_at(&free).registry(plain(&free)).eval_timeout(None).build().unwrap();
    let warnings = admit(&host, &["nginx:1", "redis:7", "postgres:17", "busybox:1"]).await;
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("4 images were not handed to the warmer: not reachable"), "{warnings:#?}");
}

#[rstest]
#[case::none(None, Some("the policy server's credentials are refused"))]
#[case::wrong(Some(("blue", "guess")), Some("the policy server's credentials are refused"))]
#[case::another_clusters(Some(("green", "s3cret")), Some("the policy server's credentials are refused"))]
#[case::right(Some(("blue", "s3cret")), None)]
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_needs_its_credentials(#[case] given: Option<(&str, &str)>, #[case] refusal: Option<&str>) {
    let registry = "credentials: [{cluster: blue, passwordFile: password}]".to_owned();
    let site = Site::with(harbor(), Options { registry, ..Options::default() }).await;
    let image = push(&site);
    let address = site.service.registry_address.to_string();
    let mut sources = plain(&address);
    if let Some((user, password)) = given {
        sources.docker_config = DockerConfig::default().with_credentials(&address, user, password);
    }
    let host = policy_server_at(&address).registry(sources).eval_timeout(None).build().unwrap();
    let warnings = admit(&host, &["nginx:1.27"]).await;
    match refusal {
        Some(refusal) => {
            assert!(warnings.len() == 1 && warnings[0].contains(refusal), "{warnings:#?}");
            assert!(site.list().await.images.is_empty());
        }
        None => {
            assert_eq!(warnings, [""; 0]);
            let view = the_only_image_is_warm(&site).await;
            assert_eq!(view.wants[0].cluster, "blue");
            site.assert_copied_once(&image, AMD64);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_an_authority_of_ones_own_an_admission_ends_warm() {
    let tls = TlsSite::start(Options::default()).await;
    let image = push(&tls.site);
    let host = tls.policy_server().eval_timeout(None).build().unwrap();
    assert_eq!(admit(&host, &["nginx:1.27"]).await, [""; 0]);
    let view = the_only_image_is_warm(&tls.site).await;
    assert_eq!(view.wants[0].cluster, CLUSTER);
    tls.site.assert_copied_once(&image, AMD64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warmer_with_another_authoritys_certificate_is_told_nothing() {
    let tls = TlsSite::start(Options::default()).await;
    let elsewhere = TlsSite::start(Options::default()).await;
    let address = tls.site.service.registry_address.to_string();
    let sources = elsewhere.sources(&address);
    let host = policy_server_at(&address).registry(sources).eval_timeout(None).build().unwrap();
    let warnings = admit(&host, &["nginx:1.27"]).await;
    assert!(warnings.len() == 1 && warnings[0].contains("not reachable"), "{warnings:#?}");
    assert!(tls.site.list().await.images.is_empty());
}
