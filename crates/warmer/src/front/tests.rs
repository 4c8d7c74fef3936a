use std::time::Duration;

use futures_util::future;
use harbor_warmer_protocol::{Digest, TagOrDigest};
use tokio::time::Instant;

use super::{Caller, Deferral, Front, FrontError};
use crate::clock;
use crate::harbors::NotAllowed;
use crate::places::backlog::Position;
use crate::test_harbor::{Behind, INDEX, MANIFEST, announcement, image, index, manifest};

const REPOSITORY: &str = "hub/library/nginx";

/// Long enough that no test runs into it by a slow machine.
const PATIENT: &str = "front: {wait: 10s, budget: 20s, budgetWindow: 60s}";

/// So short that nothing but a cached answer is in time.
const HASTY: &str = "front: {wait: 40ms, budget: 80ms, budgetWindow: 1h}";

fn caller() -> Caller {
    Caller::Cluster("east".into())
}

fn tag(tag: &str) -> TagOrDigest {
    TagOrDigest::Tag(tag.parse().unwrap())
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn head(front: &std::sync::Arc<Front>, name: &str) -> Result<Digest, FrontError> {
    front.head(&caller(), &image("hub"), &tag(name)).await.map(|head| head.digest)
}

#[tokio::test]
async fn a_tag_is_asked_for_once_and_repeated() {
    let behind = Behind::start(PATIENT).await;
    let digest = behind.harbor.put(REPOSITORY, &["1"], INDEX, &index(&[]));
    for _ in 0..3 {
        let head = behind.front.head(&caller(), &image("hub"), &tag("1")).await.unwrap();
        assert_eq!((head.digest, head.media_type.as_deref()), (digest, Some(INDEX)));
    }
    assert_eq!(behind.harbor.asked(), ["HEAD /v2/hub/library/nginx/manifests/1"]);
    let known = behind.front.known_tag(&image("hub"), &"1".parse().unwrap(), clock::now()).unwrap();
    assert_eq!(known.0, digest);
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_request() {
    let behind = Behind::start(PATIENT).await;
    let digest = behind.harbor.put(REPOSITORY, &["1"], INDEX, &index(&[]));
    behind.harbor.hold(true);
    let asking = future::join_all((0..5).map(|_| head(&behind.front, "1")));
    let released = async {
        until("the request arrives", async || !behind.harbor.asked().is_empty()).await;
        behind.harbor.hold(false);
    };
    let (answers, ()) = future::join(asking, released).await;
    assert_eq!(answers, vec![Ok(digest); 5]);
    assert_eq!(behind.harbor.asked().len(), 1);
}

#[tokio::test]
async fn manifests_come_unchanged_and_tell_the_root_of_their_children() {
    let behind = Behind::start(PATIENT).await;
    let child = manifest(&[]);
    let child_digest = behind.harbor.put(REPOSITORY, &[], MANIFEST, &child);
    let bytes = index(&[("amd64", child_digest)]);
    let root = behind.harbor.put(REPOSITORY, &["1"], INDEX, &bytes);
    let body = behind.front.get(&caller(), &image("hub"), root).await.unwrap();
    assert_eq!((body.bytes.as_ref(), body.media_type.as_str()), (bytes.as_slice(), INDEX));
    let body = behind.front.get(&caller(), &image("hub"), child_digest).await.unwrap();
    assert_eq!((body.bytes.as_ref(), body.media_type.as_str()), (child.as_slice(), MANIFEST));
    assert_eq!(behind.front.root_of_child(&image("hub"), child_digest), Some(root));
    assert!(behind.front.known_manifest(&image("hub"), root, clock::now()).is_some());
}

#[tokio::test]
async fn a_burst_at_a_hung_harbor_is_deferred_and_its_waiting_stays_within_the_budget() {
    let behind = Behind::start("front: {wait: 50ms, budget: 100ms, budgetWindow: 1h}").await;
    behind.harbor.hold(true);
    let mut waited = Duration::ZERO;
    for number in 0..50 {
        let started = Instant::now();
        let answer = head(&behind.front, &format!("{number}")).await;
        waited += started.elapsed();
        assert!(matches!(answer, Err(FrontError::Deferred(_))), "{answer:?}");
    }
    // The rest is this machine's own slowness; without the budget it would be 2.5 s at the least.
    assert!(waited < Duration::from_millis(1500), "{waited:?}");
    assert!(behind.harbor.asked().len() <= 3, "a hung Harbor is not asked fifty times");
    assert!(!behind.front.invites(&caller(), &announcement("1"), clock::now()));
    assert_eq!(head(&behind.front, "x").await, Err(FrontError::Deferred(Deferral::BudgetSpent)));
}

#[tokio::test]
async fn what_comes_too_late_is_there_for_the_next() {
    let behind = Behind::start(HASTY).await;
    let digest = behind.harbor.put(REPOSITORY, &["1"], INDEX, &index(&[]));
    behind.harbor.hold(true);
    assert_eq!(head(&behind.front, "1").await, Err(FrontError::Deferred(Deferral::WaitedInVain)));
    behind.harbor.hold(false);
    until("the relay lands", async || head(&behind.front, "1").await == Ok(digest)).await;
    assert_eq!(behind.harbor.asked().len(), 1);
}

/// A front whose Harbor was late twice and is well again.
async fn troubled() -> Behind {
    // A wait that a slow machine keeps, and a budget that two in vain don't spend.
    let behind = Behind::start("front: {wait: 300ms, budget: 60s, budgetWindow: 60s}").await;
    behind.harbor.put(REPOSITORY, &["1", "2", "3"], INDEX, &index(&[]));
    behind.harbor.hold(true);
    for name in ["1", "2"] {
        assert_eq!(head(&behind.front, name).await, Err(FrontError::Deferred(Deferral::WaitedInVain)));
    }
    behind.harbor.hold(false);
    for name in ["1", "2"] {
        let name = name.parse().unwrap();
        let landed = async || behind.front.known_tag(&image("hub"), &name, clock::now()).is_some();
        until("the late answers land", landed).await;
    }
    behind
}

#[tokio::test]
async fn a_harbor_in_trouble_is_probed_by_a_head_and_trusted_again() {
    let behind = troubled().await;
    let (digest, _) = behind.front.known_tag(&image("hub"), &"1".parse().unwrap(), clock::now()).unwrap();
    let get = behind.front.get(&caller(), &image("hub"), digest).await.map(|body| body.media_type);
    assert_eq!(get, Err(FrontError::Deferred(Deferral::Troubled)), "no GET is a probe");
    assert_eq!(head(&behind.front, "3").await, Err(FrontError::Deferred(Deferral::Troubled)), "nobody waits for it");
    until("the probe finds it well", async || head(&behind.front, "3").await == Ok(digest)).await;
    assert!(behind.front.get(&caller(), &image("hub"), digest).await.is_ok());
}

#[tokio::test]
async fn hand_offs_alone_find_out_that_harbor_is_well_again() {
    let behind = troubled().await;
    let invites = async || behind.front.invites(&caller(), &announcement("3"), clock::now());
    assert!(!invites().await);
    until("a receipt invites again", invites).await;
    assert_eq!(behind.harbor.asked().last().unwrap(), "HEAD /v2/hub/library/nginx/manifests/3");
}

#[tokio::test]
async fn a_missing_tag_is_told_from_a_silent_upstream() {
    let behind = Behind::start(PATIENT).await;
    assert_eq!(head(&behind.front, "1").await, Err(FrontError::Missing));
    assert_eq!(head(&behind.front, "1").await, Err(FrontError::Missing));
    assert_eq!(behind.harbor.asked().len(), 3, "HEAD, probe, and HEAD again, once");
    assert!(behind.harbor.asked()[1].starts_with("GET /v2/hub/library/nginx/manifests/sha256:"), "never by tag");
    behind.harbor.lose_upstream();
    assert_eq!(head(&behind.front, "2").await, Err(FrontError::Deferred(Deferral::UpstreamSilent)));
    let missing = Digest::from_bytes([9; 32]);
    let get = behind.front.get(&caller(), &image("hub"), missing).await.map(|body| body.media_type);
    assert_eq!(get, Err(FrontError::Deferred(Deferral::UpstreamSilent)));
}

#[tokio::test]
async fn every_announced_tag_is_asked_for_before_its_index_is_read() {
    let behind = Behind::start(PATIENT).await;
    let root = behind.harbor.put(REPOSITORY, &["1", "1.27", "latest"], INDEX, &index(&[]));
    for name in ["1", "1.27", "latest", "gone"] {
        behind.store.hand_off(announcement(name), "east", None, clock::now()).await.unwrap();
    }
    assert_eq!(head(&behind.front, "1").await, Ok(root));
    behind.front.get(&caller(), &image("hub"), root).await.unwrap();
    let mut asked = behind.harbor.asked();
    assert_eq!(asked.pop().unwrap(), format!("GET /v2/hub/library/nginx/manifests/{root}"));
    asked.sort();
    let heads = ["1", "1.27", "gone", "latest"].map(|name| format!("HEAD /v2/hub/library/nginx/manifests/{name}"));
    assert_eq!(asked, heads, "and the one that was just asked for not again");
}

#[tokio::test]
async fn an_index_is_read_through_the_second_project_and_its_children_through_the_first() {
    let behind = Behind::start(PATIENT).await;
    let child = behind.harbor.put("quay/library/nginx", &[], MANIFEST, &manifest(&[]));
    behind.harbor.put("quay-resolve/library/nginx", &[], MANIFEST, &manifest(&[]));
    let bytes = index(&[("amd64", child)]);
    let root = behind.harbor.put("quay-resolve/library/nginx", &[], INDEX, &bytes);
    behind.front.get(&caller(), &image("quay"), root).await.unwrap();
    behind.front.get(&caller(), &image("quay"), root).await.unwrap();
    behind.front.get(&caller(), &image("quay"), child).await.unwrap();
    assert_eq!(
        behind.harbor.asked(),
        [
            format!("HEAD /v2/quay-resolve/library/nginx/manifests/{root}"),
            format!("GET /v2/quay-resolve/library/nginx/manifests/{root}"),
            format!("HEAD /v2/quay-resolve/library/nginx/manifests/{child}"),
            format!("GET /v2/quay/library/nginx/manifests/{child}"),
        ]
    );
    assert_eq!(behind.front.known_manifest(&image("quay"), root, clock::now()), None);
    assert!(behind.front.known_manifest(&image("quay-resolve"), root, clock::now()).is_some());
}

#[tokio::test]
async fn what_the_configuration_does_not_name_is_never_asked() {
    let behind = Behind::start(PATIENT).await;
    let answer = behind.front.head(&caller(), &image("private"), &tag("1")).await.map(|head| head.digest);
    assert!(matches!(answer, Err(FrontError::NotAllowed(NotAllowed::ProjectNotAllowed { .. }))), "{answer:?}");
    assert!(behind.harbor.asked().is_empty());
}

#[tokio::test]
async fn content_of_another_digest_is_not_passed_on() {
    let behind = Behind::start(PATIENT).await;
    let wanted = Digest::from_bytes([9; 32]);
    behind.harbor.put_path(format!("/v2/{REPOSITORY}/manifests/{wanted}"), MANIFEST, &manifest(&[]));
    let answer = behind.front.get(&caller(), &image("hub"), wanted).await.map(|body| body.media_type);
    assert!(matches!(answer, Err(FrontError::Failed(_))), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_goes_away_gets_its_budget_back() {
    let behind = Behind::start("front: {wait: 10s, budget: 10s, budgetWindow: 1h}").await;
    behind.harbor.hold(true);
    let asking = head(&behind.front, "1");
    let arrived = until("the request arrives", async || !behind.harbor.asked().is_empty());
    tokio::select! {
        answer = asking => panic!("{answer:?}"),
        () = arrived => {}
    }
    assert!(behind.front.invites(&caller(), &announcement("1"), clock::now()));
}

#[tokio::test]
async fn while_the_line_at_harbor_is_too_long_no_manifest_is_read_and_no_receipt_invites_to() {
    let behind = Behind::start(PATIENT).await;
    let root = behind.harbor.put(REPOSITORY, &["1"], INDEX, &index(&[]));
    let places = behind.harbors.get(&image("hub")).unwrap().places.limiter().allowed();
    let waits = |n: usize| {
        let other = Digest::from_bytes([u8::try_from(n).unwrap(); 32]);
        behind.backlogs.stands(&image("hub"), other, Position::Waits, clock::now());
    };
    (1..places).for_each(waits);
    assert!(behind.front.invites(&caller(), &announcement("1"), clock::now()));
    waits(places);

    assert!(!behind.front.invites(&caller(), &announcement("1"), clock::now()));
    assert_eq!(head(&behind.front, "1").await, Ok(root), "a HEAD starts no deadline that the worker can't start anew");
    let get = behind.front.get(&caller(), &image("hub"), root).await.map(|body| body.media_type);
    assert_eq!(get, Err(FrontError::Deferred(Deferral::Backlog)));
    assert_eq!(behind.harbor.asked(), ["HEAD /v2/hub/library/nginx/manifests/1"]);
    let told = r#"harbor_warmer_front_deferrals_total{reason="backlog"} 2"#;
    assert!(behind.metrics.to_text().contains(told), "{}", behind.metrics.to_text());

    behind.backlogs.stands(&image("hub"), Digest::from_bytes([1; 32]), Position::Gone, clock::now());
    assert!(behind.front.get(&caller(), &image("hub"), root).await.is_ok());
    assert!(
        !behind.front.invites(&caller(), &announcement("2"), clock::now()),
        "what was read stands in the line, too"
    );
}
