//! A recorded tag on its way to its target.

use super::*;

pub(super) fn for_target(tag: &str) -> Want {
    Want { target: Some("prod".parse().unwrap()), ..a_want(Some(tag), "linux/amd64", START) }
}

#[test]
fn a_tag_is_replicated_after_it_was_recorded_and_not_before() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    let mut image = wanted(&model);
    image.set_wants(vec![for_target("1.0")]);
    let project = Project { complete_index: true, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Replicated);
    assert_eq!(model.executions(), [["1.0"]]);
    assert!((45..75).contains(&model.second(model.now)), "{}", model.second(model.now));
}

#[test]
fn a_refused_tag_does_not_hide_that_the_others_arrived() {
    let mut model = Model::single();
    model.refused_tag = Some(tag("latest"));
    let mut image = wanted(&model);
    image.set_wants(vec![for_target("1.0"), for_target("latest")]);
    let project = Project { give_up_after: seconds(600), ..a_project() };
    let Next::Dead(DeadReason::GaveUp(why)) = model.run(&mut image, &project) else { panic!("given up") };
    assert!(why.error.contains("latest") && why.error.contains("refused"), "{why:?}");
    let target = "prod".parse().unwrap();
    assert!(
        image.is_replicated(&tag("1.0"), &target, &project) && !image.is_replicated(&tag("latest"), &target, &project)
    );
    let tried_alone = model.executions().iter().filter(|tags| **tags == ["1.0"]).count();
    assert_eq!(tried_alone, 1, "{:?}", model.executions());
}

#[test]
fn between_two_tries_a_replication_tells_why_the_last_one_failed() {
    let mut model = Model::single();
    model.refused_tag = Some(tag("1.0"));
    let mut image = wanted(&model);
    image.set_wants(vec![for_target("1.0")]);
    let project = a_project();
    loop {
        match image.next(&project, model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &project, steps),
            Next::WaitUntil(_, Waiting::Retry(why)) => {
                assert_eq!(why.error, "the replication of 1.0 to prod: the target refused");
                return;
            }
            Next::WaitUntil(until, _) => model.now = until,
            end => panic!("{end:?}"),
        }
    }
}

#[test]
fn a_want_for_a_target_that_nobody_replicates_to_waits_for_nothing() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    image.set_wants(vec![for_target("1.0")]);
    let project = Project { targets: vec![], ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert!(model.executions().is_empty());
}
