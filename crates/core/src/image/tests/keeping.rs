//! Keeping warm what Harbor's retention would drop.

use super::*;
use crate::projects::Needs;

#[test]
fn an_image_is_pulled_once_in_half_the_retention_period_and_never_later() {
    let mut model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    let every = seconds(84 * 3600);
    let project = Project { keep_warm_every: Some(every), ..a_project() };
    let weeks = 4;
    while model.now.since(START) < seconds(weeks * 7 * 86_400) {
        let Next::Done(Some(again)) = model.run(&mut image, &project) else { panic!("rests") };
        assert!(again > model.now && again <= model.now + every);
        model.now = again;
    }
    let pulls = model.pulls.len();
    assert!((8..=10).contains(&pulls), "{pulls} pulls in {weeks} weeks");
    assert_eq!(model.most_transfers_of_a_blob(), 1);
}

#[test]
fn an_image_that_is_gone_when_it_is_to_be_kept_is_warmed_again() {
    let mut model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    let project = Project { keep_warm_every: Some(seconds(84 * 3600)), ..a_project() };
    let Next::Done(Some(again)) = model.run(&mut image, &project) else { panic!("rests") };
    model.now = again;
    model.loses_everything();
    assert!(matches!(model.run(&mut image, &project), Next::Done(Some(_))));
    assert_eq!(model.most_transfers_of_a_blob(), 2);
    assert!(image.warm_at.is_some_and(|warm| warm > again));
    // Redis may still answer for the index, so its tag is only trusted when it is seen.
    assert_eq!(image.phase(&project, model.now), Phase::Warm);
}

#[test]
fn while_harbor_limits_requests_nothing_is_moved_that_nobody_waits_for() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    let mut image = wanted(&model);
    let strained = Project { complete_index: true, strained: true, ..a_project() };
    while model.now.since(START) < seconds(120) {
        match image.next(&strained, model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &strained, steps),
            Next::WaitUntil(until, _) => model.now = until,
            other => panic!("{other:?}"),
        }
    }
    assert!(image.warm_at.is_some());
    assert_eq!(model.whole_transfers_of_other_platforms(&image), 0);
    let project = Project { strained: false, ..strained };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
}

#[test]
fn what_only_completes_an_index_takes_no_turn_at_finding_out_whether_the_limit_is_over() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]).with_blobs_of(seconds(600));
    let mut image = wanted(&model);
    let project = Project { complete_index: true, ..a_project() };
    while image.blobs.len() == image.wanted_blobs().len() {
        match image.next(&project, model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &project, steps),
            Next::WaitUntil(until, _) => model.now = until,
            other => panic!("{other:?}"),
        }
    }
    let wanted: Vec<_> = image.wanted_blobs().into_keys().collect();
    for digest in wanted {
        image.blobs.get_mut(&digest).unwrap().local = Some(model.now);
    }
    assert_eq!(image.needs(true, model.now), Needs::Nothing);
    assert!(matches!(image.needs(false, model.now), Needs::Storage(_)));
}

#[test]
fn an_image_that_harbor_had_already_is_pulled_at_once_to_be_kept() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    model.has_everything();
    let mut image = wanted(&model);
    let project = Project { keep_warm_every: Some(seconds(36 * 3600)), ..a_project() };
    let Next::Done(Some(_)) = model.run(&mut image, &project) else { panic!("{image:?}") };
    assert!(image.kept.is_some(), "nobody knows when it was last pulled: {image:?}");
    assert_eq!(model.most_transfers_of_a_blob(), 0);
}

#[test]
fn a_failure_of_long_ago_that_was_made_good_gives_no_image_up() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    let project = Project { keep_warm_every: Some(seconds(36 * 3600)), ..a_project() };
    let Next::Done(Some(_)) = model.run(&mut image, &project) else { panic!("{image:?}") };
    let failed = || Observation::Failed {
        step: "pull it to keep it".to_owned(),
        about: About::Image,
        failure: Failure::new(Problem::ServerError, "500"),
    };
    image.observe(&project, failed(), model.now);
    image.observe(&project, Observation::Kept(model.root()), model.now);
    let Next::Done(Some(again)) = image.next(&project, model.now) else { panic!("{image:?}") };
    assert!(matches!(image.next(&project, again), Next::Do(_)), "{image:?}");

    // One of two pulls fails: the image is kept all the same, and not tried again before its time.
    let mut partly = image.clone();
    partly.observe(&project, failed(), model.now);
    partly.observe(&project, Observation::Finished, model.now);
    assert!(matches!(partly.next(&project, again), Next::Do(_)), "{partly:?}");

    // Asked for again: the first look fails, the second finds it as it was.
    image.reopen(again);
    image.observe(&project, failed(), again);
    model.now = again + seconds(60);
    let Next::Done(Some(later)) = model.run(&mut image, &project) else { panic!("{image:?}") };
    assert!(matches!(image.next(&project, later), Next::Do(_)), "{image:?}");
}
