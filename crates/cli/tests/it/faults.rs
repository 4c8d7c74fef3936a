//! The fault table: whatever goes wrong between the warmer and Harbor, in Harbor, or behind it ends warm, or in the
//! dead letters with the reason.
//!
//! Warm is what the simulated Harbor says, never the warmer's word alone. Where a fault must not use anything up, the
//! warmer is told to give up after no time of failing: one counted failure would then be a dead letter.

use std::time::Duration;

use futures_util::future::join_all;
use harbor_warmer::config::Config;
use harbor_warmer_core::view::Phase;
use harbor_warmer_protocol::{ImageState, Subject};
use harbor_warmer_simulator::{
    Fault, FaultAction, ImageSpec, ProjectSpec, PushedImage, RequestRecord, Right, RobotSpec, RouteClass, Simulator,
    UpstreamEffect, UpstreamFault, UpstreamRequest,
};
use rstest::rstest;

use crate::site::{Options, PATIENCE, Site, harbor, two_platforms};

const ROBOT: &str = "robot$hub+warmer";
const AMD64: &str = "linux/amd64";

/// So many that meet silence are taken for an upstream that is down.
const REPOSITORIES: [&str; 3] = ["library/a", "library/b", "library/c"];

/// The kinds of request that an image needs on its way.
const ROUTES: [RouteClass; 5] =
    [RouteClass::ManifestHead, RouteClass::ManifestGet, RouteClass::BlobHead, RouteClass::BlobGet, RouteClass::Api];

/// A Harbor that doesn't answer is noticed soon.
fn hasty(config: &mut Config) {
    for harbor in config.harbors.values_mut() {
        harbor.options.request_timeout = Duration::from_millis(500);
        harbor.options.stall_timeout = Duration::from_millis(500);
    }
}

/// One failure that counts is a dead letter.
fn impatient(config: &mut Config) {
    hasty(config);
    config.queue.give_up_after = Duration::ZERO;
    config.queue.missing_tag_for = Duration::ZERO;
}

fn options(tune: fn(&mut Config)) -> Options {
    Options { tune, ..Options::default() }
}

fn draining(tune: fn(&mut Config)) -> Options {
    Options { project: "transfer: drain".to_owned(), ..options(tune) }
}

async fn impatient_site() -> Site {
    Site::with(harbor(), options(impatient)).await
}

fn push(site: &Site) -> PushedImage {
    site.harbor.upstream().push(two_platforms("library/app", "1.0"))
}

async fn announce(site: &Site) -> String {
    site.announce("library/app", "1.0", AMD64).await.image.unwrap()
}

/// Every upstream request of this kind fails until further notice.
fn always(effect: UpstreamEffect, request: UpstreamRequest) -> UpstreamFault {
    UpstreamFault::new(effect).on(request).times(u32::MAX)
}

async fn until(site: &Site, condition: impl FnMut(&Simulator) -> bool) {
    site.harbor.wait_until(condition, PATIENCE).await.unwrap();
}

fn asked_for_blobs(harbor: &Simulator) -> bool {
    harbor.requests().iter().any(|request| request.class == RouteClass::BlobGet && request.bytes_sent > 0)
}

fn copies_a_blob_of(harbor: &Simulator, repository: &str) -> bool {
    let path = format!("/{repository}/blobs/");
    let asked =
        |one: &RequestRecord| one.class == RouteClass::BlobGet && one.bytes_sent > 0 && one.path.contains(&path);
    harbor.requests().iter().any(asked)
}

#[rstest]
#[case::late(FaultAction::DelayMilliseconds(200), 3)]
#[case::hanging(FaultAction::Hang, 2)]
#[case::reset(FaultAction::Reset, 2)]
#[case::cut_before_its_first_byte(FaultAction::TruncateAfter(0), 2)]
#[case::cut_in_the_middle(FaultAction::TruncateAfter(100), 2)]
#[case::wrong_content(FaultAction::Corrupt, 2)]
#[case::unauthorized(FaultAction::Respond(401), 1)]
#[case::forbidden(FaultAction::Respond(403), 1)]
#[case::refused_by_a_policy(FaultAction::Respond(412), 2)]
#[case::a_status_nobody_expects(FaultAction::Respond(418), 2)]
#[case::rate_limited(FaultAction::Respond(429), 2)]
#[case::server_error(FaultAction::Respond(500), 2)]
#[case::bad_gateway(FaultAction::Respond(502), 2)]
#[case::unavailable(FaultAction::Respond(503), 2)]
#[case::gateway_timeout(FaultAction::Respond(504), 2)]
#[tokio::test(flavor = "multi_thread")]
async fn answers_of_any_kind_of_request_that_go_wrong_for_a_while_are_survived(
    #[case] action: FaultAction,
    #[case] times: u64,
) {
    join_all(ROUTES.map(|route| async move {
        let site = Site::with(harbor(), options(hasty)).await;
        let image = push(&site);
        let fault = site.harbor.inject(Fault::new(action).on(route).times(times));
        let id = announce(&site).await;
        site.wait_until_warm(&id).await;
        assert!(fault.hits() > 0, "{route:?}");
        // A robot that may not read artifacts has its images verified by their blobs, which come first.
        until(&site, |_| site.harbor_has(&image, AMD64)).await;
    }))
    .await;
}

#[rstest]
#[case::hanging(FaultAction::Hang)]
#[case::reset(FaultAction::Reset)]
#[case::cut(FaultAction::TruncateAfter(100_000))]
#[case::wrong_content(FaultAction::Corrupt)]
#[case::server_error(FaultAction::Respond(500))]
#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_are_read_to_their_end_survive_broken_transfers(#[case] action: FaultAction) {
    let site = Site::with(harbor(), draining(hasty)).await;
    let image = push(&site);
    let fault = site.harbor.inject(Fault::new(action).on(RouteClass::BlobGet).times(2));
    let id = announce(&site).await;
    site.wait_until_warm(&id).await;
    assert_eq!(fault.hits(), 2);
    assert!(site.harbor_has(&image, AMD64));
}

#[rstest]
#[case::rate_limited_heads(FaultAction::Respond(429), RouteClass::ManifestHead, "rate limiting (429)")]
#[case::rate_limited_blobs(FaultAction::Respond(429), RouteClass::BlobGet, "rate limiting (429)")]
#[case::bad_gateway(FaultAction::Respond(502), RouteClass::Any, "Harbor answered 502")]
#[case::unavailable(FaultAction::Respond(503), RouteClass::ManifestGet, "Harbor answered 503")]
#[case::gateway_timeout(FaultAction::Respond(504), RouteClass::BlobHead, "Harbor answered 504")]
#[case::hanging_heads(FaultAction::Hang, RouteClass::ManifestHead, "Harbor did not")]
#[case::hanging_blobs(FaultAction::Hang, RouteClass::BlobGet, "Harbor did not")]
#[case::reset(FaultAction::Reset, RouteClass::Any, "the connection to Harbor failed")]
#[case::cut(FaultAction::TruncateAfter(10), RouteClass::ManifestGet, "the connection to Harbor failed")]
#[case::unauthorized(FaultAction::Respond(401), RouteClass::ManifestHead, "the project is paused: Harbor refused")]
#[case::forbidden(FaultAction::Respond(403), RouteClass::ManifestGet, "the project is paused: Harbor forbids it")]
#[tokio::test(flavor = "multi_thread")]
async fn a_harbor_in_trouble_is_waited_for_and_uses_nothing_up(
    #[case] action: FaultAction,
    #[case] route: RouteClass,
    #[case] reason: &str,
) {
    let site = impatient_site().await;
    let image = push(&site);
    let fault = site.harbor.inject(Fault::new(action).on(route));
    let id = announce(&site).await;
    site.wait_for_reason(&id, reason).await;
    if !reason.contains("paused") {
        until(&site, |_| fault.hits() >= 2).await;
    }
    fault.clear();
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

#[rstest]
#[case::expired_robot(
    |harbor: &Simulator| harbor.set_robot_expired(ROBOT, true),
    |harbor: &Simulator| harbor.set_robot_expired(ROBOT, false),
    "Harbor refused the credentials"
)]
#[case::wrong_secret(
    |harbor: &Simulator| harbor.set_robot_secret(ROBOT, "another"),
    |harbor: &Simulator| harbor.set_robot_secret(ROBOT, "s3cret"),
    "Harbor refused the credentials"
)]
#[case::robot_that_may_not_pull(
    |harbor: &Simulator| harbor.set_robot_rights(ROBOT, [Right::ArtifactRead]),
    |harbor: &Simulator| harbor.set_robot_rights(ROBOT, [Right::RepositoryPull, Right::ArtifactRead]),
    "Harbor refused the credentials"
)]
#[case::upstream_refuses_harbor(
    |harbor: &Simulator| harbor.upstream().fail_next(
        UpstreamFault::new(UpstreamEffect::Status(401)).on(UpstreamRequest::ClientStream).times(3)
    ),
    |_: &Simulator| {},
    "Harbor's upstream refuses Harbor (401)"
)]
#[case::full_quota(
    |harbor: &Simulator| harbor.set_quota("hub", Some(100_000)),
    |harbor: &Simulator| harbor.set_quota("hub", None),
    "quota"
)]
#[case::read_only(
    |harbor: &Simulator| harbor.set_read_only(true),
    |harbor: &Simulator| harbor.set_read_only(false),
    "read-only"
)]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_mends_in_harbor_is_waited_for_and_uses_nothing_up(
    #[case] harm: fn(&Simulator),
    #[case] mend: fn(&Simulator),
    #[case] reason: &str,
) {
    let site = impatient_site().await;
    let image = push(&site);
    harm(&site.harbor);
    let id = announce(&site).await;
    let view = site.wait_for_reason(&id, reason).await;
    assert!(view.stuck.is_some_and(|stuck| !stuck.problem.passes()), "a person is told what to do");
    assert!(!site.harbor_has(&image, AMD64));
    assert!(site.is_ready().await, "hand-offs are taken in all the same");
    mend(&site.harbor);
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_does_not_exist_is_waited_for() {
    let bare = Simulator::builder().time_scale(crate::site::SCALE).robot(RobotSpec::project("hub", "warmer", "s3cret"));
    let site = Site::with(bare, options(impatient)).await;
    let image = push(&site);
    let id = announce(&site).await;
    site.wait_for_reason(&id, "Harbor has no such project").await;
    site.harbor.update_project(ProjectSpec::proxy("hub"));
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

#[rstest]
#[case::upstream_down(
    |harbor: &Simulator| harbor.upstream().set_down(true),
    |harbor: &Simulator| harbor.upstream().set_down(false)
)]
#[case::unhealthy_endpoint(
    |harbor: &Simulator| harbor.set_endpoint_healthy(false),
    |harbor: &Simulator| harbor.set_endpoint_healthy(true)
)]
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_three_repositories_find_silent_pauses_the_project_and_is_waited_for(
    #[case] harm: fn(&Simulator),
    #[case] mend: fn(&Simulator),
) {
    let site = Site::with(harbor(), options(hasty)).await;
    harm(&site.harbor);
    let mut images = Vec::new();
    for repository in REPOSITORIES {
        let image = site.harbor.upstream().push(two_platforms(repository, "1.0"));
        images.push((site.announce(repository, "1.0", AMD64).await.image.unwrap(), image));
    }
    site.wait_for_reason(&images[0].0, "the project is paused: Harbor's upstream does not answer").await;
    let heads =
        |harbor: &Simulator| harbor.requests().iter().filter(|one| one.class == RouteClass::ManifestHead).count();
    until(&site, |harbor| heads(harbor) >= 9).await;
    let mut failures = 0;
    for (id, _) in &images {
        failures += site.view(id).await.summary.failures;
    }
    assert!(failures <= 5, "{failures} failures counted: probes of a paused project use no attempts up");
    mend(&site.harbor);
    for (id, image) in images {
        site.wait_until_warm(&id).await;
        assert!(site.harbor_has(&image, AMD64));
    }
}

#[rstest]
#[case::upstream_down(
    |harbor: &Simulator| harbor.upstream().set_down(true),
    |harbor: &Simulator| harbor.upstream().set_down(false)
)]
#[case::unhealthy_endpoint(
    |harbor: &Simulator| harbor.set_endpoint_healthy(false),
    |harbor: &Simulator| harbor.set_endpoint_healthy(true)
)]
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_goes_away_while_blobs_are_copied_is_waited_for(
    #[case] harm: fn(&Simulator),
    #[case] mend: fn(&Simulator),
) {
    let site = Site::with(harbor(), options(hasty)).await;
    let mut images = Vec::new();
    site.harbor.upstream().rate(Some(10_000));
    for repository in REPOSITORIES {
        let image = site.harbor.upstream().push(two_platforms(repository, "1.0"));
        images.push((site.announce(repository, "1.0", AMD64).await.image.unwrap(), image));
        until(&site, |harbor| copies_a_blob_of(harbor, repository)).await;
    }
    harm(&site.harbor);
    for (id, _) in &images {
        site.wait_for_reason(id, "the project is paused: Harbor's upstream does not answer").await;
    }
    mend(&site.harbor);
    site.harbor.upstream().rate(None);
    for (id, image) in images {
        site.wait_until_warm(&id).await;
        assert!(site.harbor_has(&image, AMD64));
    }
}

#[rstest]
#[case::server_error(FaultAction::Respond(500), RouteClass::ManifestGet, "gave up: Harbor answered 500")]
#[case::server_error_of_a_blob(FaultAction::Respond(500), RouteClass::BlobGet, "gave up: Harbor answered 500")]
#[case::server_error_of_the_api(FaultAction::Respond(500), RouteClass::Api, "gave up: Harbor answered 500")]
#[case::policy(FaultAction::Respond(412), RouteClass::ManifestGet, "a policy of the Harbor project refuses this image")]
#[case::unexpected(FaultAction::Respond(418), RouteClass::ManifestHead, "Harbor answered 418")]
#[case::wrong_manifest(FaultAction::Corrupt, RouteClass::ManifestGet, "Harbor sent other content than was asked for")]
#[case::no_harbor(FaultAction::Corrupt, RouteClass::Api, "is `url` the address of a Harbor?")]
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_keeps_failing_is_a_dead_letter_with_the_reason(
    #[case] action: FaultAction,
    #[case] route: RouteClass,
    #[case] reason: &str,
) {
    let site = impatient_site().await;
    push(&site);
    site.harbor.inject(Fault::new(action).on(route));
    let id = announce(&site).await;
    let told = site.wait_for_dead_letter(&id).await;
    assert!(told.contains(reason), "{told}");
    let view = site.view(&id).await;
    assert!(!view.attempts.is_empty(), "the attempts are kept: {view:#?}");
}

#[rstest]
#[case::wrong_content(UpstreamEffect::Corrupt, "Harbor sent other content than was asked for")]
#[case::cut(UpstreamEffect::TruncateAfter(1000), "the transfer ended after")]
#[case::missing(UpstreamEffect::Status(404), "the upstream has the manifest but not this blob")]
#[case::broken(UpstreamEffect::Status(500), "Harbor answered 500")]
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_the_upstream_spoils_each_time_is_a_dead_letter_with_the_reason(
    #[case] effect: UpstreamEffect,
    #[case] reason: &str,
) {
    let site = Site::with(harbor(), draining(impatient)).await;
    let image = push(&site);
    let (largest, _) = image.child(AMD64).blobs().max_by_key(|(_, size)| *size).unwrap();
    site.harbor.upstream().fail_next(always(effect, UpstreamRequest::ClientStream).matching(largest.as_str()));
    let id = announce(&site).await;
    let told = site.wait_for_dead_letter(&id).await;
    assert!(told.contains(reason), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_silent_repository_is_given_up_alone() {
    let site = impatient_site().await;
    push(&site);
    site.harbor.upstream().set_down(true);
    let id = announce(&site).await;
    let told = site.wait_for_dead_letter(&id).await;
    assert!(told.contains("Harbor's upstream does not answer"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_the_upstream_does_not_have_is_a_dead_letter() {
    let site = impatient_site().await;
    push(&site);
    let id = site.announce("library/app", "2.0", AMD64).await.image.unwrap();
    assert_eq!(site.wait_for_dead_letter(&id).await, "the upstream has no such tag");
    let again = site.announce("library/app", "2.0", AMD64).await;
    assert_eq!(again.state, ImageState::Failed);
    let reason = again.reason.unwrap();
    assert!(reason.starts_with("the upstream has no such tag; it is tried again"), "{reason}");
    assert!(reason.ends_with(&format!("`harbor-warmer requeue {id}`")), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_pushed_after_its_admission_is_found() {
    let site = Site::with(harbor(), options(hasty)).await;
    let id = announce(&site).await;
    site.wait_for_reason(&id, "the upstream has no such tag (yet)").await;
    let image = push(&site);
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_removed_while_its_image_is_warmed_leaves_the_image_warm() {
    let site = Site::with(harbor(), options(impatient)).await;
    let image = push(&site);
    site.harbor.upstream().rate(Some(100_000));
    let id = announce(&site).await;
    until(&site, asked_for_blobs).await;
    site.harbor.upstream().remove_tag("library/app", "1.0");
    site.harbor.upstream().rate(None);
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_the_upstream_does_not_have_is_a_dead_letter() {
    let site = impatient_site().await;
    push(&site);
    let digest = "sha256:00000000000000000000000000000000000000000000000000000000000000aa".parse().unwrap();
    let receipt = site.hand_off("library/app", AMD64, Subject::Pin { digest, tag: None }).await;
    assert_eq!(site.wait_for_dead_letter(&receipt.image.unwrap()).await, "the upstream has no such manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_the_platform_is_a_dead_letter_that_says_which_there_are() {
    let site = impatient_site().await;
    push(&site);
    let id = site.announce("library/app", "1.0", "windows/amd64").await.image.unwrap();
    let told = site.wait_for_dead_letter(&id).await;
    assert_eq!(told, "the image has no windows/amd64; it has linux/amd64, linux/arm64");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_that_may_not_read_artifacts_warms_by_the_blobs() {
    let site = impatient_site().await;
    let image = push(&site);
    site.harbor.set_robot_rights(ROBOT, [Right::RepositoryPull]);
    let id = announce(&site).await;
    let view = site.wait_until_warm(&id).await;
    assert_eq!(view.summary.phase, Phase::Warm, "a tag that can't be read is not said to be recorded");
    for (blob, _) in image.child(AMD64).blobs() {
        assert!(site.harbor.blob_is_local("hub", "library/app", blob.as_str()));
    }
    until(&site, |harbor| harbor.artifact_recorded("hub", "library/app", image.child(AMD64).digest.as_str())).await;
}

#[rstest]
#[case::connection_breaks(UpstreamEffect::Disconnect)]
#[case::copy_is_cut(UpstreamEffect::TruncateAfter(1000))]
#[case::copy_is_wrong(UpstreamEffect::Corrupt)]
#[tokio::test(flavor = "multi_thread")]
async fn a_background_copy_that_fails_once_is_asked_for_again(#[case] effect: UpstreamEffect) {
    let site = impatient_site().await;
    let image = push(&site);
    let (largest, _) = image.child(AMD64).blobs().max_by_key(|(_, size)| *size).unwrap();
    let fault = UpstreamFault::new(effect).on(UpstreamRequest::CacheCopy).matching(largest.as_str());
    site.harbor.upstream().fail_next(fault);
    let id = announce(&site).await;
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harbor_that_restarts_while_it_copies_is_asked_again() {
    let site = impatient_site().await;
    let image = push(&site);
    site.harbor.upstream().rate(Some(50_000));
    let id = announce(&site).await;
    until(&site, asked_for_blobs).await;
    site.harbor.restart().await;
    site.harbor.upstream().rate(None);
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_expire_are_fetched_anew() {
    let site = impatient_site().await;
    let image = push(&site);
    site.harbor.upstream().rate(Some(500_000));
    let id = announce(&site).await;
    until(&site, asked_for_blobs).await;
    site.harbor.expire_tokens();
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

/// A layer that takes longer than 200 s: Harbor fetches it itself then, finds a copy under way, and pushes a manifest
/// whose layer isn't there. It forgets the manifest without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_slower_than_harbors_patience_does_not_lose_the_artifact() {
    let site = impatient_site().await;
    let image = push(&site);
    site.harbor.upstream().rate(Some((2 << 20) / 260));
    let id = announce(&site).await;
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
    let (largest, _) = image.child(AMD64).blobs().max_by_key(|(_, size)| *size).unwrap();
    let local = site.harbor.blob_local_at("hub", "library/app", largest.as_str()).unwrap();
    assert!(local > Duration::from_secs(200), "the layer was too fast to show anything: {local:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_harbor_can_not_store_does_not_keep_the_image_from_being_warm() {
    let site = impatient_site().await;
    let spec = ImageSpec::new("library/app", "1.0")
        .platforms(["windows/amd64", AMD64])
        .nondistributable_layer("windows/amd64");
    let image = site.harbor.upstream().push(spec);
    let id = site.announce("library/app", "1.0", "windows/amd64").await.image.unwrap();
    site.wait_until_warm(&id).await;
    let child = image.child("windows/amd64");
    let local =
        child.blobs().filter(|(blob, _)| site.harbor.blob_is_local("hub", "library/app", blob.as_str())).count();
    assert_eq!(local, child.blobs().count() - 1, "all but the one that the upstream does not hold");
}

/// Five of seven blobs are refused, and two begin to be copied: their places must not keep the others out.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_429_in_the_middle_of_an_image_is_lived_with() {
    let site = impatient_site().await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0").layer_sizes([64 << 10; 6]));
    site.harbor.inject(Fault::new(FaultAction::Respond(429)).on(RouteClass::BlobGet).times(5));
    let id = announce(&site).await;
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

/// `max_upstream_conn`: Harbor answers 429 to whatever is too much at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_one_connection_to_the_upstream_is_lived_with() {
    let limited = Simulator::builder()
        .time_scale(crate::site::SCALE)
        .project(ProjectSpec::proxy("hub").max_upstream_connections(1))
        .limit_on_project()
        .robot(RobotSpec::project("hub", "warmer", "s3cret"));
    let site = Site::with(limited, options(impatient)).await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0").layer_sizes([64 << 10; 6]));
    let id = announce(&site).await;
    site.wait_until_warm(&id).await;
    assert!(site.harbor_has(&image, AMD64));
}

/// Harbor stores what is read through any proxy project, a single manifest too; only an index is nothing but read.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_in_the_project_that_indexes_are_read_through() {
    let projects = harbor()
        .project(ProjectSpec::proxy("resolve"))
        .robot(RobotSpec::project("resolve", "warmer", "s3cret"))
        .robot(RobotSpec::system("both", "s3cret"));
    let project = "resolveThrough: resolve}\n      resolve: {".to_owned();
    let tune = |config: &mut Config| {
        for harbor in config.harbors.values_mut() {
            if let harbor_warmer_harbor::Credentials::Basic { username, .. } = &mut harbor.options.credentials {
                *username = "robot$both".to_owned();
            }
        }
    };
    let site = Site::with(projects, Options { project, tune, ..Options::default() }).await;
    let image = site.harbor.upstream().push(two_platforms("library/app", "1.0").single_manifest());
    let pin = Subject::Pin { digest: image.digest.parse().unwrap(), tag: None };
    let id = site.hand_off("library/app", AMD64, pin).await.image.unwrap();
    site.wait_until_warm(&id).await;
    site.assert_copied_once(&image, AMD64);
    let read_there = site
        .harbor
        .requests()
        .into_iter()
        .filter(|request| request.class == RouteClass::ManifestGet && request.path.starts_with("/v2/resolve/"));
    assert_eq!(read_there.count(), 0, "Harbor would fetch all of it into that project after 200 s");
}

/// A site that looks a tag up as often as it is announced, with an image whose tag is recorded.
async fn recorded() -> (Site, PushedImage, String) {
    let tune = |config: &mut Config| config.queue.recheck_after = Duration::ZERO;
    let options = Options { front: "cacheFor: 0ms".to_owned(), ..options(tune) };
    let site = Site::with(harbor(), Options { project: "completeIndex: true".to_owned(), ..options }).await;
    let image = push(&site);
    let id = announce(&site).await;
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    (site, image, id)
}

async fn roots(site: &Site) -> Vec<String> {
    site.list().await.images.into_iter().filter_map(|image| image.root).map(|root| root.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_at_each_other_request_does_not_pass_harbors_copy_off_as_the_image() {
    let (site, image, _) = recorded().await;
    let fault = UpstreamFault::new(UpstreamEffect::Disconnect).on(UpstreamRequest::ManifestHead).matching("1.0");
    site.harbor.upstream().fail_next(fault.times(2));
    let again = announce(&site).await;
    site.wait_for(&again, |view| view.summary.phase >= Phase::Warm).await;
    assert_eq!(roots(&site).await, [image.digest.to_string()]);
}

/// Harbor answers for a tag that it has recorded out of its own storage when the upstream doesn't answer: for an index
/// with the digest of its own copy of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_tag_whose_upstream_does_not_answer_is_looked_up_when_it_does() {
    let (site, image, id) = recorded().await;
    site.harbor.upstream().set_down(true);
    let requests = site.harbor.upstream_stats().manifest_heads;
    announce(&site).await;
    until(&site, |harbor| harbor.upstream_stats().manifest_heads > requests + 1).await;
    site.harbor.upstream().set_down(false);
    site.wait_for(&id, |view| view.summary.phase == Phase::Tagged).await;
    assert_eq!(roots(&site).await, [image.digest.to_string()]);
}
