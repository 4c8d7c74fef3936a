//! Whose turn it is.

use super::*;

fn request(limit: usize, begin: usize) -> AcquireRequest {
    AcquireRequest { harbor: "main".parse().unwrap(), limit, begin, lease: LEASE }
}

/// The repositories of what is leased, without what all have in common.
async fn leased(store: &Store, limit: usize, begin: usize, now: Timestamp) -> Vec<String> {
    let leased = store.acquire(request(limit, begin), now).await.unwrap();
    let repository = |leased: &Leased| leased.unit.place().repository.as_str().replace("library/", "");
    leased.iter().map(repository).collect()
}

fn tag_of(repository: &str, name: &str) -> HandOff {
    HandOff { image: place(&format!("library/{repository}")), ..by_tag(name) }
}

fn image_of(repository: &str) -> HandOff {
    HandOff { image: place(&format!("library/{repository}")), ..by_digest(1) }
}

/// With its content read.
fn begun(leased: &Leased, now: Timestamp) -> Unit {
    let mut image = leased.image().clone();
    let read = Observation::RootWasManifest { blobs: Vec::new(), through_project: true };
    image.observe(&project(), read, now);
    Unit::Image(Box::new(image))
}

pub(in crate::tests) async fn an_image_that_nothing_was_asked_for_begins_only_where_there_is_room(store: Store) {
    for repository in ["a", "b", "c"] {
        take(&store, image_of(repository), START).await;
    }
    assert!(leased(&store, 10, 0, START).await.is_empty());
    assert_eq!(leased(&store, 10, 2, START).await.len(), 2);
    assert_eq!(leased(&store, 10, 2, START).await.len(), 1);
}

pub(in crate::tests) async fn what_is_under_way_goes_before_all_that_waits(store: Store) {
    take(&store, image_of("first"), START).await;
    let first = store.acquire(request(1, 1), START).await.unwrap().remove(0);
    let settled = store.settle(first.lease, begun(&first, START), wait_until(at(20)), Vec::new(), START).await;
    assert!(settled.unwrap());
    for n in 0..50 {
        take(&store, image_of(&format!("later{n}")), at(1)).await;
        take(&store, tag_of("later", &n.to_string()), at(1)).await;
    }
    assert_eq!(leased(&store, 1, 1, at(20)).await, ["first"]);
}

pub(in crate::tests) async fn clusters_have_their_turns_however_many_one_of_them_hands_over(store: Store) {
    for n in 0..100 {
        store.hand_off(tag_of(&format!("junk{n}"), "1"), "east", None, START).await.unwrap();
    }
    store.hand_off(tag_of("wanted", "1"), "west", None, at(1)).await.unwrap();
    store.hand_off(tag_of("wanted", "2"), "west", None, at(1)).await.unwrap();
    let order = leased(&store, 4, 0, at(1)).await;
    assert_eq!(order.iter().filter(|repository| *repository == "wanted").count(), 2, "{order:?}");
}

pub(in crate::tests) async fn repositories_of_a_cluster_have_their_turns(store: Store) {
    for n in 0..100 {
        take(&store, tag_of("junk", &n.to_string()), START).await;
    }
    assert_eq!(leased(&store, 10, 0, START).await.len(), 10);
    take(&store, tag_of("wanted", "1"), at(1)).await;
    assert!(leased(&store, 2, 0, at(1)).await.contains(&"wanted".to_owned()));
}

pub(in crate::tests) async fn an_image_that_a_waiting_cluster_asked_for_first_has_the_turn_of_the_other(store: Store) {
    for n in 0..100 {
        store.hand_off(image_of(&format!("app{n}")), "east", None, START).await.unwrap();
    }
    store.hand_off(image_of("app99"), "west", None, START).await.unwrap();
    assert!(leased(&store, 2, 2, START).await.contains(&"app99".to_owned()));
}

pub(in crate::tests) async fn tags_that_the_upstream_does_not_have_wait_for_all_others_and_are_never_forgotten(
    store: Store,
) {
    for n in 0..20 {
        take(&store, tag_of("missing", &n.to_string()), START).await;
    }
    for mut missing in store.acquire(request(20, 0), START).await.unwrap() {
        let Unit::Announcement(announcement) = &mut missing.unit else { panic!("not an announcement") };
        announcement.observe(announcement::Observation::Missing, START);
        settle(&store, missing, wait_until(at(30)), START).await;
    }
    for n in 0..50 {
        take(&store, tag_of("new", &n.to_string()), at(30)).await;
    }
    let mut order = Vec::new();
    for _ in 0..20 {
        order.extend(leased(&store, 2, 0, at(30)).await);
    }
    let missing = order.iter().filter(|repository| *repository == "missing").count();
    assert!((1..=4).contains(&missing), "{missing} of {}", order.len());
    assert_eq!(leased(&store, 100, 0, at(30)).await.len(), 70 - order.len(), "with time, all of them");
}

pub(in crate::tests) async fn a_unit_at_another_harbor_is_not_leased(store: Store) {
    take(&store, image_of("a"), START).await;
    let elsewhere = AcquireRequest { harbor: "second".parse().unwrap(), ..request(10, 10) };
    assert!(store.acquire(elsewhere, START).await.unwrap().is_empty());
    assert_eq!(store.harbors().await.unwrap(), ["main".parse().unwrap()]);
    lease_one(&store, START).await;
}
