//! What every engine has to keep, in words of the store's own operations.

mod asked_again;
mod lines;
mod looks;

use std::collections::HashSet;

use harbor_warmer_protocol::{ImageState, TagOrDigest};

use super::*;
use crate::{AnnouncedTags, Counts, ListFilter};

/// Puts an engine through the suite. `$fresh` gives an empty queue, and something that keeps its storage until it is
/// dropped.
macro_rules! conforms {
    ($fresh:path) => {
        $crate::tests::suite::conforms! { $fresh:
            a_known_image_is_no_second_unit_whether_it_waits_is_held_or_is_done
            what_waits_longest_is_leased_first_and_nothing_before_it_is_due
            many_workers_at_once_never_hold_the_same_unit
            a_want_that_comes_in_while_the_unit_is_held_is_seen_at_once
            a_want_that_is_known_changes_nothing_while_the_unit_is_held
            a_want_that_is_new_ends_a_wait
            a_lease_that_ran_out_is_taken_over_and_counts_as_a_crash
            only_a_lease_that_ran_out_counts_as_a_crash
            a_worker_that_lost_its_lease_writes_nothing
            a_renewed_lease_is_not_taken_over
            a_unit_that_is_given_back_is_due_at_once
            a_dead_announcement_is_revived_a_minute_later_and_no_sooner
            a_dead_image_is_revived_a_minute_later_or_by_a_want_that_is_new
            a_requeue_revives_at_once
            a_requeue_of_a_resolved_announcement_revives_its_image
            a_requeue_leaves_what_is_held_to_its_worker
            a_resolved_announcement_hands_its_wants_to_the_image
            a_want_that_came_in_during_the_look_up_moves_with_the_others
            wants_move_into_an_image_that_is_held_done_or_dead
            two_tags_of_one_digest_are_one_image
            an_announcement_that_is_resolved_sends_later_wants_straight_to_the_image
            layers_without_a_tag_belong_to_the_index_that_they_were_seen_in_or_stand_for_themselves
            layers_of_a_tag_that_moved_since_the_last_look_go_to_the_other_image
            a_tag_that_moved_takes_its_wants_along_and_later_ones_too
            who_wrote_the_digest_beside_the_tag_keeps_the_image_when_the_tag_moves
            a_tag_that_was_rolled_back_is_verified_again
            a_done_image_is_warm_for_a_while_and_looked_at_again_when_asked_for_after_that
            a_tag_is_looked_up_again_when_asked_for_after_a_while
            a_done_image_comes_back_at_the_time_that_its_worker_set
            another_platform_reopens_a_done_image
            another_cluster_does_not_reopen_a_done_image
            what_nobody_asks_for_is_forgotten
            a_list_has_pages_phases_and_a_search
            a_view_follows_an_announcement_to_its_image
            a_look_hands_nothing_over
            a_look_at_an_image_whose_blobs_are_on_their_way_says_warming
            a_look_at_a_finished_image_says_warm_only_if_harbor_has_it
            announced_tags_are_those_that_may_mean_the_digest
            the_queue_is_counted_by_phase_with_what_is_due_longest
            the_next_due_time_is_a_wait_or_the_end_of_a_lease
            a_hand_off_wakes_the_workers
            an_image_that_nothing_was_asked_for_begins_only_where_there_is_room
            what_is_under_way_goes_before_all_that_waits
            clusters_have_their_turns_however_many_one_of_them_hands_over
            repositories_of_a_cluster_have_their_turns
            an_image_that_a_waiting_cluster_asked_for_first_has_the_turn_of_the_other
            tags_that_the_upstream_does_not_have_wait_for_all_others_and_are_never_forgotten
            a_unit_at_another_harbor_is_not_leased
            whoever_asks_again_has_a_missing_tag_looked_for_at_once_but_once_a_minute
            layers_that_the_policy_looked_up_resolve_their_tag_without_another_request
            a_want_that_an_image_does_not_serve_says_why_and_reopens_nothing
        }
    };
    ($fresh:path: $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _storage) = $fresh();
                $crate::tests::suite::$case(store).await;
            }
        )*
    };
}
pub(super) use asked_again::*;
pub(super) use conforms;
pub(super) use lines::*;
pub(super) use looks::*;

async fn take(store: &Store, hand_off: HandOff, now: Timestamp) -> ImageState {
    store.hand_off(hand_off, "east", None, now).await.unwrap().state
}

fn wait_until(due: Timestamp) -> Settlement {
    Settlement::Wait { due, reason: Some("waits".to_owned()) }
}

fn dead() -> Settlement {
    Settlement::Dead { reason: "no such tag".to_owned() }
}

async fn next_due(store: &Store) -> Option<Timestamp> {
    store.next_due(&"main".parse().unwrap(), true).await.unwrap()
}

async fn settle(store: &Store, leased: Leased, settlement: Settlement, now: Timestamp) -> bool {
    store.settle(leased.lease, leased.unit, settlement, Vec::new(), now).await.unwrap()
}

pub(super) async fn a_known_image_is_no_second_unit_whether_it_waits_is_held_or_is_done(store: Store) {
    let first = store.hand_off(by_digest(1), "east", None, START).await.unwrap();
    assert_eq!((first.state, first.resolved), (ImageState::New, true));
    let again = store.hand_off(by_digest(1), "east", None, START).await.unwrap();
    assert_eq!((again.state, &again.id), (ImageState::Queued, &first.id));
    let leased = lease_one(&store, START).await;
    assert_eq!(take(&store, by_digest(1), START).await, ImageState::Queued);
    assert!(
        store
            .settle(leased.lease, leased.warmed(START), Settlement::Done { again: None }, Vec::new(), START)
            .await
            .unwrap()
    );
    let done = store.hand_off(by_digest(1), "east", None, at(1)).await.unwrap();
    assert_eq!((done.state, &done.id), (ImageState::Warm, &first.id));
    assert_nothing_is_due(&store, at(100_000)).await;
    assert_eq!(rows(&store).await.len(), 1);
}

pub(super) async fn what_waits_longest_is_leased_first_and_nothing_before_it_is_due(store: Store) {
    for (n, asked) in [(2, 10), (3, 20), (1, 30)] {
        take(&store, by_digest(n), at(asked)).await;
    }
    let mut order = Vec::new();
    for due in [70, 60, 50] {
        let leased = acquire(&store, 1, at(30)).await.unwrap().remove(0);
        order.push(leased.image().root);
        settle(&store, leased, wait_until(at(due)), at(30)).await;
    }
    assert_eq!(order, [digest(2), digest(3), digest(1)], "as they came");
    assert_nothing_is_due(&store, at(49)).await;
    assert_eq!(lease_one(&store, at(50)).await.image().root, digest(1), "as they are due");
}

pub(super) async fn many_workers_at_once_never_hold_the_same_unit(store: Store) {
    let hand_offs = (0..200).map(|n| {
        let image = place(&format!("library/app{n}"));
        let hand_off = HandOff { image, ..by_digest(1) };
        store.hand_off(hand_off, "east", None, START)
    });
    futures_util::future::try_join_all(hand_offs).await.unwrap();
    let workers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let leased = acquire(&store, 3, START).await.unwrap();
                if leased.is_empty() {
                    return held;
                }
                held.extend(leased.into_iter().map(|leased| leased.lease.name()));
            }
        })
    });
    let held = futures_util::future::join_all(workers.collect::<Vec<_>>()).await;
    let held: Vec<_> = held.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(held.len(), 200);
    assert_eq!(held.iter().collect::<HashSet<_>>().len(), 200);
}

pub(super) async fn a_want_that_comes_in_while_the_unit_is_held_is_seen_at_once(store: Store) {
    for settlement in [wait_until(at(9_000)), Settlement::Done { again: None }, dead()] {
        let name = format!("library/{settlement:?}").to_lowercase();
        let name: String = name.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '/').collect();
        let hand_off = HandOff { image: place(&name), ..by_digest(1) };
        take(&store, hand_off.clone(), START).await;
        let leased = lease_one(&store, START).await;
        take(&store, for_arm(hand_off), at(1)).await;
        assert!(settle(&store, leased, settlement.clone(), at(2)).await);
        let again = lease_one(&store, at(2)).await;
        assert_eq!(again.image().wants.len(), 2, "{settlement:?}");
        assert_hints_are_right(&store, at(2)).await;
        assert!(settle(&store, again, settlement, at(3)).await);
        assert_nothing_is_due(&store, at(3)).await;
    }
}

pub(super) async fn a_want_that_is_known_changes_nothing_while_the_unit_is_held(store: Store) {
    take(&store, by_digest(1), START).await;
    let leased = lease_one(&store, START).await;
    take(&store, by_digest(1), at(1)).await;
    assert!(settle(&store, leased, wait_until(at(500)), at(2)).await);
    assert_nothing_is_due(&store, at(499)).await;
    lease_one(&store, at(500)).await;
}

pub(super) async fn a_want_that_is_new_ends_a_wait(store: Store) {
    take(&store, by_digest(1), START).await;
    let leased = lease_one(&store, START).await;
    settle(&store, leased, wait_until(at(500)), START).await;
    take(&store, by_digest(1), at(1)).await;
    assert_nothing_is_due(&store, at(1)).await;
    take(&store, for_arm(by_digest(1)), at(1)).await;
    assert_eq!(lease_one(&store, at(1)).await.image().wants.len(), 2);
}

pub(super) async fn a_lease_that_ran_out_is_taken_over_and_counts_as_a_crash(store: Store) {
    take(&store, by_digest(1), START).await;
    assert_eq!(lease_one(&store, START).await.crashes, 0);
    assert_nothing_is_due(&store, at(59)).await;
    assert_eq!(lease_one(&store, at(60)).await.crashes, 1);
    assert_eq!(lease_one(&store, at(120)).await.crashes, 2);
    let leased = lease_one(&store, at(180)).await;
    assert_eq!(leased.crashes, 3);
    settle(&store, leased, wait_until(at(181)), at(181)).await;
    assert_eq!(lease_one(&store, at(181)).await.crashes, 0, "a worker that says something has not crashed");
}

pub(super) async fn only_a_lease_that_ran_out_counts_as_a_crash(store: Store) {
    take(&store, by_digest(1), START).await;
    let released = lease_one(&store, START).await;
    store.release(released.lease, at(1)).await.unwrap();
    let waiting = lease_one(&store, at(1)).await;
    settle(&store, waiting, wait_until(at(2)), at(1)).await;
    assert_eq!(lease_one(&store, at(4_000)).await.crashes, 0);
}

pub(super) async fn a_worker_that_lost_its_lease_writes_nothing(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    let lost = lease_one(&store, START).await;
    let holder = lease_one(&store, at(60)).await;
    let before = rows(&store).await;
    assert!(!store.renew(lost.lease, at(900)).await.unwrap());
    store.release(lost.lease, at(61)).await.unwrap();
    let settlements =
        [wait_until(at(61)), Settlement::Done { again: None }, dead(), Settlement::Resolved(resolved(1, at(61)))];
    for settlement in settlements {
        let unit = lost.headed(1, at(61));
        assert!(!store.settle(lost.lease, unit, settlement, Vec::new(), at(61)).await.unwrap());
    }
    assert_eq!(rows(&store).await, before);
    assert_hints_are_right(&store, at(61)).await;
    assert!(settle(&store, holder, Settlement::Done { again: None }, at(62)).await, "who holds it is not disturbed");
    let again = store.settle(lost.lease, lost.headed(1, at(63)), dead(), Vec::new(), at(63)).await;
    assert!(!again.unwrap(), "nor is what is finished");
}

pub(super) async fn a_renewed_lease_is_not_taken_over(store: Store) {
    take(&store, by_digest(1), START).await;
    let leased = lease_one(&store, START).await;
    assert!(store.renew(leased.lease, at(100)).await.unwrap());
    assert_nothing_is_due(&store, at(99)).await;
    assert_eq!(lease_one(&store, at(100)).await.crashes, 1);
}

pub(super) async fn a_unit_that_is_given_back_is_due_at_once(store: Store) {
    take(&store, by_digest(1), START).await;
    let leased = lease_one(&store, START).await;
    store.release(leased.lease, at(5)).await.unwrap();
    let again = lease_one(&store, at(5)).await;
    assert_eq!(again.unit, leased.unit);
    assert!(!settle(&store, leased, Settlement::Done { again: None }, at(6)).await, "what was given back is gone");
}

pub(super) async fn a_dead_announcement_is_revived_a_minute_later_and_no_sooner(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    give_one_up(&store, START).await;
    let failed = store.hand_off(by_tag("1.0"), "east", None, at(59)).await.unwrap();
    let told = format!(
        "no such tag; it is tried again when it is asked for 60 s after it was given up, or at once with \
         `harbor-warmer requeue {}`",
        failed.id
    );
    assert_eq!((failed.state, failed.reason), (ImageState::Failed, Some(told)), "it says what to do");
    assert_eq!(take(&store, for_arm(by_tag("1.0")), at(59)).await, ImageState::Failed);
    assert_nothing_is_due(&store, at(59)).await;
    let revived = store.hand_off(by_tag("1.0"), "east", None, at(60)).await.unwrap();
    assert_eq!((revived.state, revived.reason), (ImageState::Queued, None));
    let leased = lease_one(&store, at(60)).await;
    assert_eq!(leased.unit.wants().len(), 2, "what was asked for meanwhile is not lost");
    assert_hints_are_right(&store, at(60)).await;
}

pub(super) async fn a_dead_image_is_revived_a_minute_later_or_by_a_want_that_is_new(store: Store) {
    take(&store, by_digest(1), START).await;
    give_one_up(&store, START).await;
    let failed = store.hand_off(by_digest(1), "east", None, at(59)).await.unwrap();
    let requeue = format!("`harbor-warmer requeue {}`", failed.id);
    assert_eq!(failed.state, ImageState::Failed);
    assert!(failed.reason.unwrap().contains(&requeue), "it says what to do");
    assert_eq!(take(&store, for_arm(by_digest(1)), at(59)).await, ImageState::Queued);
    give_one_up(&store, at(59)).await;
    assert_nothing_is_due(&store, at(118)).await;
    assert_eq!(take(&store, by_digest(1), at(119)).await, ImageState::Queued);
    lease_one(&store, at(119)).await;
}

pub(super) async fn a_requeue_revives_at_once(store: Store) {
    let image = store.hand_off(by_digest(1), "east", None, START).await.unwrap().id;
    give_one_up(&store, START).await;
    let announcement = store.hand_off(by_tag("1.0"), "east", None, START).await.unwrap().id;
    give_one_up(&store, START).await;
    for id in [image, announcement] {
        assert!(store.requeue(&id, at(1)).await.unwrap());
        assert_hints_are_right(&store, at(1)).await;
        lease_one(&store, at(1)).await;
    }
    for unknown in ["i99", "a99", "", "1", "x1"] {
        assert!(!store.requeue(unknown, at(1)).await.unwrap(), "{unknown}");
    }
}

pub(super) async fn a_requeue_of_a_resolved_announcement_revives_its_image(store: Store) {
    let announcement = store.hand_off(by_tag("1.0"), "east", None, START).await.unwrap().id;
    resolve_one(&store, 1, START).await;
    give_one_up(&store, START).await;
    assert!(store.requeue(&announcement, at(1)).await.unwrap());
    assert_eq!(lease_one(&store, at(1)).await.image().root, digest(1));
}

pub(super) async fn a_requeue_leaves_what_is_held_to_its_worker(store: Store) {
    let id = store.hand_off(by_digest(1), "east", None, START).await.unwrap().id;
    let leased = lease_one(&store, START).await;
    assert!(store.requeue(&id, at(1)).await.unwrap());
    assert_nothing_is_due(&store, at(1)).await;
    assert!(settle(&store, leased, Settlement::Done { again: None }, at(2)).await);
}

pub(super) async fn a_resolved_announcement_hands_its_wants_to_the_image(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    store.hand_off(for_arm(by_tag("1.0")), "west", None, START).await.unwrap();
    resolve_one(&store, 1, at(1)).await;
    assert_hints_are_right(&store, at(1)).await;
    let image = lease_one(&store, at(1)).await;
    assert_eq!(image.image().root, digest(1));
    let wants = &image.image().wants;
    assert_eq!(wants.iter().map(|want| want.cluster.as_str()).collect::<Vec<_>>(), ["east", "west"]);
    assert!(wants.iter().all(|want| want.headed == Some(at(1)) && want.tag == Some(tag("1.0"))));
    assert_eq!(wants[0].first_asked, START);
}

pub(super) async fn a_want_that_came_in_during_the_look_up_moves_with_the_others(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    let leased = lease_one(&store, START).await;
    store.hand_off(by_tag("1.0"), "west", None, at(1)).await.unwrap();
    let settlement = Settlement::Resolved(resolved(1, at(1)));
    assert!(store.settle(leased.lease, leased.headed(1, at(1)), settlement, Vec::new(), at(2)).await.unwrap());
    assert_eq!(clusters_of(&store, 1).await.len(), 2);
    assert_eq!(lease_one(&store, at(2)).await.image().root, digest(1), "and only the image is due");
    assert_hints_are_right(&store, at(2)).await;
}

pub(super) async fn wants_move_into_an_image_that_is_held_done_or_dead(store: Store) {
    // Held: the worker comes back to it.
    take(&store, by_digest(1), START).await;
    let held = lease_one(&store, START).await;
    store.hand_off(by_tag("held"), "west", None, START).await.unwrap();
    resolve_one(&store, 1, START).await;
    assert!(
        store
            .settle(held.lease, held.warmed(at(1)), Settlement::Done { again: None }, Vec::new(), at(1))
            .await
            .unwrap()
    );
    let held = lease_one(&store, at(1)).await;
    assert_eq!(held.image().wants.len(), 2);
    // Done: the tag is new to it.
    assert!(
        store
            .settle(held.lease, held.warmed(at(1)), Settlement::Done { again: None }, Vec::new(), at(1))
            .await
            .unwrap()
    );
    store.hand_off(by_tag("done"), "north", None, at(2)).await.unwrap();
    resolve_one(&store, 1, at(2)).await;
    let held = lease_one(&store, at(2)).await;
    assert_eq!(held.image().wants.len(), 3);
    // Dead: a want that is new is tried.
    assert!(settle(&store, held, dead(), at(3)).await);
    store.hand_off(by_tag("dead"), "south", None, at(3)).await.unwrap();
    resolve_one(&store, 1, at(3)).await;
    assert_eq!(lease_one(&store, at(3)).await.image().wants.len(), 4);
    assert_hints_are_right(&store, at(3)).await;
}

pub(super) async fn two_tags_of_one_digest_are_one_image(store: Store) {
    for name in ["1.0", "latest"] {
        take(&store, by_tag(name), START).await;
    }
    let both = acquire(&store, 10, START).await.unwrap();
    assert_eq!(both.len(), 2);
    for leased in both {
        let settlement = Settlement::Resolved(resolved(1, START));
        store.settle(leased.lease, leased.headed(1, START), settlement, Vec::new(), START).await.unwrap();
    }
    let image = lease_one(&store, START).await;
    let mut tags: Vec<_> = image.image().wants.iter().filter_map(|want| want.tag.clone()).collect();
    tags.sort();
    assert_eq!(tags, [tag("1.0"), tag("latest")]);
}

pub(super) async fn an_announcement_that_is_resolved_sends_later_wants_straight_to_the_image(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    resolve_one(&store, 1, START).await;
    let west = store.hand_off(by_tag("1.0"), "west", None, at(599)).await.unwrap();
    assert!(west.resolved);
    assert_eq!(clusters_of(&store, 1).await, ["east", "west"].map(str::to_owned).into());
    assert_eq!(lease_one(&store, at(599)).await.image().root, digest(1));
}

pub(super) async fn layers_without_a_tag_belong_to_the_index_that_they_were_seen_in_or_stand_for_themselves(
    store: Store,
) {
    store.hand_off(layers(100, None), "east", Some(resolved(1, START)), START).await.unwrap();
    assert_eq!(lease_one(&store, START).await.image().root, digest(1));
    store.hand_off(layers(100, None), "east", None, START).await.unwrap();
    assert_eq!(lease_one(&store, START).await.image().root, digest(100));
}

pub(super) async fn layers_of_a_tag_that_moved_since_the_last_look_go_to_the_other_image(store: Store) {
    store.hand_off(layers(100, Some("1.0")), "east", Some(resolved(1, START)), START).await.unwrap();
    resolve_one(&store, 1, START).await;
    warm_one(&store, START).await;
    // However old the warmer's own look is, these layers were just looked up.
    let same = store.hand_off(layers(100, Some("1.0")), "west", Some(resolved(1, at(9_000))), at(9_000)).await.unwrap();
    assert!(same.resolved);
    assert_eq!(clusters_of(&store, 1).await.len(), 2);
    warm_one(&store, at(9_000)).await;
    store.hand_off(layers(102, Some("1.0")), "east", Some(resolved(2, at(9_001))), at(9_001)).await.unwrap();
    let other = lease_one(&store, at(9_001)).await;
    assert_eq!(other.image().root, digest(2));
    assert_eq!(other.image().wants[0].headed, None, "its worker asks Harbor for the tag");
}

pub(super) async fn a_tag_that_moved_takes_its_wants_along_and_later_ones_too(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    resolve_one(&store, 1, START).await;
    store.hand_off(by_digest(1), "west", None, START).await.unwrap();
    let image = lease_one(&store, START).await;
    let moved = vec![(tag("1.0"), resolved(2, at(1)))];
    assert!(
        store.settle(image.lease, image.warmed(at(1)), Settlement::Done { again: None }, moved, at(1)).await.unwrap()
    );
    assert_eq!(clusters_of(&store, 1).await, [String::from("west")].into(), "who pinned the digest keeps it");
    assert_eq!(clusters_of(&store, 2).await, [String::from("east")].into());
    store.hand_off(by_tag("1.0"), "north", None, at(2)).await.unwrap();
    assert_eq!(clusters_of(&store, 2).await, ["east", "north"].map(str::to_owned).into());
    assert_hints_are_right(&store, at(2)).await;
}

pub(super) async fn who_wrote_the_digest_beside_the_tag_keeps_the_image_when_the_tag_moves(store: Store) {
    let pin = Subject::Pin { digest: digest(1), tag: Some(tag("1.0")) };
    store.hand_off(hand_off(pin), "west", None, START).await.unwrap();
    let image = lease_one(&store, START).await;
    let moved = vec![(tag("1.0"), resolved(2, at(1)))];
    let wait = Settlement::Wait { due: at(1), reason: None };
    assert!(store.settle(image.lease, image.warmed(at(1)), wait, moved, at(1)).await.unwrap());
    assert_eq!(clusters_of(&store, 1).await, [String::from("west")].into());
    assert!(lease_one(&store, at(1)).await.image().wants[0].pinned);
}

pub(super) async fn a_tag_that_was_rolled_back_is_verified_again(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    resolve_one(&store, 1, START).await;
    let image = lease_one(&store, START).await;
    let Unit::Image(mut warm) = image.warmed(START) else { panic!("{image:?}") };
    warm.observe(&project(), Observation::TagHeaded { tag: tag("1.0"), digest: digest(2) }, at(1));
    let moved = vec![(tag("1.0"), resolved(2, at(1)))];
    let done = Settlement::Done { again: None };
    assert!(store.settle(image.lease, Unit::Image(warm), done, moved, at(1)).await.unwrap());
    warm_one(&store, at(1)).await;
    take(&store, by_tag("1.0"), at(700)).await;
    resolve_one(&store, 1, at(701)).await;
    let back = lease_one(&store, at(701)).await;
    assert_eq!(back.image().root, digest(1));
    let status = back.image().tag_status(&tag("1.0"), &project(), at(701));
    assert_eq!(status, harbor_warmer_core::image::TagStatus::Unseen, "Harbor's record of it is looked at");
}

pub(super) async fn a_done_image_is_warm_for_a_while_and_looked_at_again_when_asked_for_after_that(store: Store) {
    take(&store, by_digest(1), START).await;
    warm_one(&store, START).await;
    assert_eq!(take(&store, by_digest(1), at(599)).await, ImageState::Warm);
    assert_nothing_is_due(&store, at(9_000)).await;
    assert_eq!(take(&store, by_digest(1), at(600)).await, ImageState::Queued);
    let again = lease_one(&store, at(600)).await;
    let Unit::Image(image) = &again.unit else { panic!("{again:?}") };
    let next = image.next(&project(), at(600));
    assert!(
        !matches!(next, harbor_warmer_core::image::Next::Done(_)),
        "what was verified is verified again, but {next:?}"
    );
    assert_hints_are_right(&store, at(600)).await;
}

pub(super) async fn a_tag_is_looked_up_again_when_asked_for_after_a_while(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    resolve_one(&store, 1, START).await;
    warm_one(&store, START).await;
    assert_eq!(take(&store, by_tag("1.0"), at(599)).await, ImageState::Warm);
    let asked = store.hand_off(by_tag("1.0"), "east", None, at(600)).await.unwrap();
    assert_eq!((asked.state, asked.resolved), (ImageState::Queued, false));
    resolve_one(&store, 2, at(601)).await;
    assert_eq!(lease_one(&store, at(601)).await.image().root, digest(2));
}

pub(super) async fn a_done_image_comes_back_at_the_time_that_its_worker_set(store: Store) {
    for n in [1, 2] {
        take(&store, by_digest(n), START).await;
    }
    let again = [Some(at(500)), None];
    for (leased, again) in acquire(&store, 2, START).await.unwrap().into_iter().zip(again) {
        let unit = leased.warmed(START);
        assert!(store.settle(leased.lease, unit, Settlement::Done { again }, Vec::new(), START).await.unwrap());
    }
    assert_eq!(store.wake(at(499)).await.unwrap(), 0);
    assert_nothing_is_due(&store, at(9_000)).await;
    assert_eq!(store.wake(at(500)).await.unwrap(), 1);
    assert_hints_are_right(&store, at(500)).await;
    lease_one(&store, at(500)).await;
    assert_eq!(store.wake(at(900_000)).await.unwrap(), 0, "the other one has no such time");
}

pub(super) async fn another_platform_reopens_a_done_image(store: Store) {
    take(&store, by_digest(1), START).await;
    warm_one(&store, START).await;
    assert_eq!(take(&store, for_arm(by_digest(1)), at(1)).await, ImageState::Queued);
    assert_hints_are_right(&store, at(1)).await;
    assert_eq!(lease_one(&store, at(1)).await.image().wants.len(), 2);
}

pub(super) async fn another_cluster_does_not_reopen_a_done_image(store: Store) {
    take(&store, by_digest(1), START).await;
    warm_one(&store, START).await;
    let west = store.hand_off(by_digest(1), "west", None, at(1)).await.unwrap();
    assert_eq!(west.state, ImageState::Warm);
    assert_nothing_is_due(&store, at(9_000)).await;
    assert_eq!(clusters_of(&store, 1).await.len(), 2);
}

pub(super) async fn what_nobody_asks_for_is_forgotten(store: Store) {
    take(&store, by_tag("1.0"), START).await;
    resolve_one(&store, 1, START).await;
    warm_one(&store, START).await;
    take(&store, by_digest(2), START).await;
    give_one_up(&store, START).await;
    take(&store, by_digest(3), START).await;
    warm_one(&store, START).await;
    take(&store, by_digest(3), at(7_200)).await;
    warm_one(&store, at(7_200)).await;
    take(&store, by_digest(4), START).await;
    assert_eq!(store.forget(START).await.unwrap(), 0, "not before their time");
    assert_eq!(store.forget(at(1)).await.unwrap(), 3, "the announcement, the warm one and the dead one");
    assert_hints_are_right(&store, at(1)).await;
    let left: Vec<_> = rows(&store).await.into_iter().map(|row| row.unit).collect();
    assert_eq!(left.len(), 2, "what was asked for since, and what is not finished: {left:?}");
    assert_eq!(take(&store, by_tag("1.0"), at(2)).await, ImageState::New);
}

pub(super) async fn the_next_due_time_is_a_wait_or_the_end_of_a_lease(store: Store) {
    assert_eq!(next_due(&store).await, None);
    take(&store, by_digest(1), START).await;
    assert_eq!(next_due(&store).await, None, "what stands in line has its turn when there is room");
    let leased = lease_one(&store, START).await;
    assert_eq!(next_due(&store).await, Some(START + LEASE));
    settle(&store, leased, wait_until(at(500)), START).await;
    assert_eq!(next_due(&store).await, Some(at(500)));
    warm_one(&store, at(500)).await;
    assert_eq!(next_due(&store).await, None);
}

pub(super) async fn a_hand_off_wakes_the_workers(store: Store) {
    let woken = store.woken();
    let wakes = tokio::time::timeout(seconds(10), woken);
    let (woken, _) = tokio::join!(wakes, store.hand_off(by_digest(1), "east", None, START));
    woken.expect("a hand-off wakes");
}
