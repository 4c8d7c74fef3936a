//! What somebody asks for again while it waits, has failed, or can't be had.

use super::*;

fn missing(leased: &Leased, now: Timestamp) -> Unit {
    let mut unit = leased.unit.clone();
    match &mut unit {
        Unit::Announcement(announcement) => announcement.observe(announcement::Observation::Missing, now),
        Unit::Image(image) => panic!("not an announcement: {image:?}"),
    }
    unit
}

/// Lets a worker find that the tag isn't there; it looks again in ten minutes.
async fn miss(store: &Store, now: Timestamp) {
    let leased = lease_one(store, now).await;
    let settlement = Settlement::Wait { due: now + seconds(600), reason: Some("no such tag (yet)".to_owned()) };
    let unit = missing(&leased, now);
    assert!(store.settle(leased.lease, unit, settlement, Vec::new(), now).await.unwrap());
}

pub(in crate::tests) async fn whoever_asks_again_has_a_missing_tag_looked_for_at_once_but_once_a_minute(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    miss(&store, START).await;
    let asked = store.hand_off(by_tag("1.0"), "east", None, at(5)).await.unwrap();
    assert_eq!((asked.state, asked.reason), (ImageState::Queued, None), "what was found before is no answer any more");
    miss(&store, at(5)).await;
    take(&store, by_tag("1.0"), at(30)).await;
    assert_eq!(store.next_due(&place("x").harbor, true).await.unwrap(), Some(at(605)));
    take(&store, by_tag("1.0"), at(65)).await;
    lease_one(&store, at(65)).await;
}

pub(in crate::tests) async fn layers_that_the_policy_looked_up_resolve_their_tag_without_another_request(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    miss(&store, START).await;
    store.hand_off(layers(100, Some("1.0")), "east", Some(resolved(1, at(20))), at(21)).await.unwrap();
    let leased = lease_one(&store, at(21)).await;
    let Unit::Announcement(announcement) = &leased.unit else { panic!("{leased:?}") };
    assert_eq!(announcement.resolved, Some(resolved(1, at(20))));
}

pub(in crate::tests) async fn a_want_that_an_image_does_not_serve_says_why_and_reopens_nothing(store: Store) {
    take(&store, by_digest(1), START).await;
    let leased = lease_one(&store, START).await;
    let unit = leased.warmed(START);
    let done = Settlement::Done { again: None };
    store.settle(leased.lease, unit, done, Vec::new(), START).await.unwrap();
    let for_s390x = HandOff { platforms: platforms("linux/s390x"), ..by_digest(1) };
    for seconds_later in [1, 2, 100_000] {
        let asked = store.hand_off(for_s390x.clone(), "east", None, at(seconds_later)).await.unwrap();
        assert_eq!(asked.state, ImageState::Failed);
        let reason = asked.reason.expect("told");
        assert_eq!(reason, "the image has no linux/s390x; it has linux/amd64, linux/arm64");
        assert_eq!(store.next_due(&place("x").harbor, true).await.unwrap(), None, "nothing is opened again");
    }
    assert_eq!(take(&store, by_digest(1), at(3)).await, ImageState::Warm, "what it does serve is as it was");
}
