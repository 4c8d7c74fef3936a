//! A clock that was set.

use rstest::rstest;

use super::sqlite::fresh;
use super::*;

const HOUR: u64 = 3_600;
const YEAR: u64 = 365 * 24 * HOUR;

/// What a worker has that has asked for a tag: the moment stands in the body.
fn asked(leased: &Leased, now: Timestamp) -> Unit {
    let mut image = leased.image().clone();
    let headed = Observation::TagHeaded { tag: tag("1.0"), digest: image.root };
    image.observe(&project(), headed, now);
    Unit::Image(Box::new(image))
}

/// A queue that was used at `then` is opened at `now`: what waits, what was in hand, and what is handed over are due
/// within a minute, and no body has a moment that has not come.
#[rstest]
#[case::back_by_a_second(1)]
#[case::back_by_a_minute(61)]
#[case::back_by_an_hour(HOUR)]
#[case::back_by_a_year(YEAR)]
#[tokio::test]
async fn after_a_start_with_a_clock_that_was_set_back_nothing_waits_for_the_old_time(#[case] back: u64) {
    let (store, directory) = fresh();
    let then = START + seconds(back);
    for n in 1..=3 {
        store.hand_off(by_digest(n), "east", None, then).await.unwrap();
    }
    store.wake(then).await.unwrap();
    let waits = acquire(&store, 1, then).await.unwrap().remove(0);
    let wait = Settlement::Wait { due: then + seconds(600), reason: None };
    let unit = asked(&waits, then);
    store.settle(waits.lease, unit, wait, Vec::new(), then).await.unwrap();
    acquire(&store, 1, then).await.unwrap();
    drop(store);

    let store = super::sqlite::open(directory.path());
    assert_eq!(store.set_back(), seconds(back));
    store.forgive_the_clock(START).await.unwrap();
    let mut seen = BTreeSet::new();
    for passed in [0, 6, 60] {
        for leased in acquire(&store, 10, at(passed)).await.unwrap() {
            let body = serde_json::to_string(&leased.unit).unwrap();
            assert!(!body.contains(&then.as_millis().to_string()) || back < 60, "{body}");
            seen.insert(leased.lease.name());
            let done = Settlement::Done { again: None };
            store.settle(leased.lease, leased.unit, done, Vec::new(), at(passed)).await.unwrap();
        }
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn what_was_verified_by_a_clock_that_was_ahead_is_not_verified_lately() {
    let (store, directory) = fresh();
    let ahead = START + seconds(YEAR);
    store.hand_off(by_digest(1), "east", None, ahead).await.unwrap();
    warm_one(&store, ahead).await;
    drop(store);
    let store = super::sqlite::open(directory.path());
    assert_ne!(
        store.hand_off(by_digest(1), "east", None, START).await.unwrap().state,
        harbor_warmer_protocol::ImageState::Warm
    );
    lease_one(&store, START).await;
}

#[tokio::test]
async fn a_clock_that_goes_on_is_not_called_set_back() {
    let (store, directory) = fresh();
    store.wake(START).await.unwrap();
    drop(store);
    assert_eq!(super::sqlite::open(directory.path()).set_back(), Duration::ZERO);
}
