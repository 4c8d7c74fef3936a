//! Looks at the queue, which change nothing.

use super::*;
use harbor_warmer_core::image::Blob;

pub(in crate::tests) async fn a_list_has_pages_phases_and_a_search(store: Store) {
    for n in 1..=5 {
        take(&store, HandOff { image: place(&format!("library/app{n}")), ..by_digest(n) }, START).await;
    }
    let dead_one = HandOff { image: place("library/gone"), ..by_tag("1.0") };
    take(&store, dead_one, at(1)).await;
    let leased = acquire(&store, 10, at(1)).await.unwrap();
    for leased in leased {
        let settlement = if matches!(leased.unit, Unit::Image(_)) { wait_until(at(9)) } else { dead() };
        settle(&store, leased, settlement, at(1)).await;
    }
    let page = |filter: ListFilter| {
        let store = store.clone();
        async move {
            let list = store.list(filter, at(2)).await.unwrap();
            let names = list.images.iter().map(|image| image.place.repository.as_str().to_owned()).collect::<Vec<_>>();
            (names.join(" ").replace("library/", ""), list.next)
        }
    };
    let (first, next) = page(ListFilter { limit: 4, ..ListFilter::default() }).await;
    assert_eq!(first, "gone app5 app4 app3", "the newest first");
    let (second, end) = page(ListFilter { limit: 4, after: next, ..ListFilter::default() }).await;
    assert_eq!((second.as_str(), end), ("app2 app1", None));
    let (exact, end) = page(ListFilter { limit: 6, ..ListFilter::default() }).await;
    assert_eq!((exact.split(' ').count(), end), (6, None), "no page after the last image");
    let failed = ListFilter { phase: Some(Phase::Failed), limit: 10, ..ListFilter::default() };
    assert_eq!(page(failed).await.0, "gone");
    let whole_digest = digest(2).to_string();
    let queries = [
        ("app3", "app3"),
        ("library/gone:1.0", "gone"),
        ("1.0", "gone"),
        (&digest(2).hex()[..20], "app2"),
        (&whole_digest, "app2"),
        (":", "gone app5 app4 app3 app2 app1"),
        ("nothing", ""),
        ("app3:1.0", ""),
    ];
    for (query, found) in queries {
        let filter = ListFilter { query: Some(query.to_owned()), limit: 10, ..ListFilter::default() };
        assert_eq!(page(filter).await.0, found, "{query}");
    }
}

pub(in crate::tests) async fn a_view_follows_an_announcement_to_its_image(store: Store) {
    let id = store.hand_off(by_tag("1.0"), "east", None, START).await.unwrap().id;
    let announced = store.view(&id, START).await.unwrap().unwrap();
    assert_eq!((announced.summary.phase, announced.summary.root), (Phase::Announced, None));
    resolve_one(&store, 1, START).await;
    let image = store.view(&id, START).await.unwrap().unwrap();
    assert_eq!((image.summary.root, image.wants.len()), (Some(digest(1)), 1));
    let place = place("library/app");
    for reference in [TagOrDigest::Tag(tag("1.0")), TagOrDigest::Digest(digest(1))] {
        assert_eq!(store.find(&place, &reference, START).await.unwrap(), Some(image.clone()));
    }
    assert_eq!(store.view("i77", START).await.unwrap(), None);
    let listed = store.list(ListFilter { limit: 9, ..ListFilter::default() }, START).await.unwrap().images;
    assert_eq!(listed, [image.summary], "one line for both");
}

pub(in crate::tests) async fn a_look_hands_nothing_over(store: Store) {
    assert_eq!(store.peek(&by_tag("1.0")).await.unwrap(), None);
    take(&store, by_tag("1.0"), START).await;
    assert_eq!(store.peek(&by_tag("1.0")).await.unwrap().unwrap().state, ImageState::Queued);
    assert_eq!(store.peek(&for_arm(by_tag("1.0"))).await.unwrap().unwrap().state, ImageState::Queued);
    assert_eq!(rows(&store).await[0].unit.wants().len(), 1);
    resolve_one(&store, 1, START).await;
    warm_one(&store, START).await;
    let warm = store.peek(&by_tag("1.0")).await.unwrap().unwrap();
    assert_eq!((warm.state, warm.resolved), (ImageState::Warm, true));
    assert_eq!(store.peek(&by_digest(1)).await.unwrap(), Some(warm));
}

pub(in crate::tests) async fn announced_tags_are_those_that_may_mean_the_digest(store: Store) {
    for name in ["1.0", "latest"] {
        take(&store, by_tag(name), START).await;
    }
    let elsewhere = HandOff { image: place("library/app2"), ..by_tag("2.0") };
    take(&store, elsewhere, START).await;
    let pinned = HandOff { subject: Subject::Pin { digest: digest(1), tag: Some(tag("pinned")) }, ..by_digest(1) };
    take(&store, pinned, START).await;
    let place = place("library/app");
    let own = vec![tag("pinned")];
    let expected = AnnouncedTags { own: own.clone(), others: ["1.0", "latest"].map(tag).into() };
    assert_eq!(store.announced_tags(&place, digest(1)).await.unwrap(), expected);
    let request = AcquireRequest { harbor: "main".parse().unwrap(), limit: 1, begin: 0, lease: LEASE };
    let leased = store.acquire(request, START).await.unwrap().remove(0);
    let settlement = Settlement::Resolved(resolved(1, START));
    store.settle(leased.lease, leased.headed(1, START), settlement, Vec::new(), START).await.unwrap();
    let expected = AnnouncedTags { own, others: vec![tag("latest")] };
    assert_eq!(store.announced_tags(&place, digest(1)).await.unwrap(), expected, "the first one has been asked for");
}

pub(in crate::tests) async fn the_queue_is_counted_by_phase_with_what_is_due_longest(store: Store) {
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    take(&store, by_digest(1), START).await;
    give_one_up(&store, START).await;
    take(&store, by_digest(2), START).await;
    warm_one(&store, START).await;
    take(&store, by_digest(3), at(4)).await;
    take(&store, by_tag("1.0"), at(5)).await;
    take(&store, by_tag("2.0"), at(7)).await;
    let request = AcquireRequest { harbor: "main".parse().unwrap(), limit: 1, begin: 0, lease: LEASE };
    store.acquire(request, at(8)).await.unwrap();
    let counts = store.counts().await.unwrap();
    let phases = [(Phase::Announced, 2), (Phase::Queued, 1), (Phase::Warm, 1), (Phase::Failed, 1)];
    assert_eq!(counts.phases, phases.into());
    assert_eq!(counts.oldest_due, Some(at(7)), "neither what is held nor what waits for Harbor waits for a worker");
    assert_eq!(counts.waiting, [("main".parse().unwrap(), 1)].into());
    assert_eq!(counts.unfinished, [("east".to_owned(), 3)].into());
}

pub(in crate::tests) async fn a_look_at_a_finished_image_says_warm_only_if_harbor_has_it(store: Store) {
    store.hand_off(by_tag("1.0"), "east", None, START).await.unwrap();
    resolve_one(&store, 1, START).await;
    let leased = lease_one(&store, START).await;
    // The tag means another image now and this one is gone, so nothing is left to do.
    assert!(settle(&store, leased, Settlement::Done { again: None }, START).await);
    assert_eq!(store.peek(&by_tag("1.0")).await.unwrap().unwrap().state, ImageState::Queued);
}

pub(in crate::tests) async fn a_look_at_an_image_whose_blobs_are_on_their_way_says_warming(store: Store) {
    store.hand_off(by_digest(1), "east", None, START).await.unwrap();
    let mut leased = lease_one(&store, START).await;
    let Unit::Image(image) = &mut leased.unit else { panic!("not an image") };
    let blob = Blob { digest: digest(50), size_bytes: 1, distributable: true };
    let read = Observation::RootWasManifest { blobs: vec![blob], through_project: true };
    image.observe(&project(), read, START);
    assert!(settle(&store, leased, wait_until(at(60)), START).await);
    assert_eq!(store.peek(&by_digest(1)).await.unwrap().unwrap().state, ImageState::Warming);
}
