//! What people are told of an image that doesn't go on: the step, the cause, the cure.

use harbor_warmer_protocol::Digest;
use rstest::rstest;

use super::replicating::for_target;
use super::*;
use crate::image::{BlockedBy, ReplicationOutcome};
use crate::view::StuckView;

/// Goes on until `until` says that the image is where it should be.
fn run_until(model: &mut Model, image: &mut Image, project: &Project, until: impl Fn(&Image) -> bool) {
    for _ in 0..10_000 {
        if until(image) {
            return;
        }
        match image.next(project, model.now) {
            Next::Do(steps) => model.carry_out(image, project, steps),
            Next::WaitUntil(at, _) => model.now = at,
            end => panic!("{end:?}"),
        }
    }
    panic!("never there: {image:?}");
}

fn stuck(image: &Image, project: &Project, now: Timestamp) -> StuckView {
    image.stuck(false, None, project, now).unwrap_or_else(|| panic!("it goes on: {image:?}"))
}

fn failing(problem: Problem, error: &str) -> (Image, Timestamp) {
    let model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    let failure = Failure::new(problem, error);
    image.observe(
        &a_project(),
        Observation::Failed { step: "HEAD tag 1.0".to_owned(), about: About::Image, failure },
        START,
    );
    (image, START)
}

#[rstest]
#[case::down(Problem::UpstreamSilent)]
#[case::slow(Problem::Timeout)]
#[case::spoilt(Problem::WrongContent)]
fn an_image_that_tries_again_tells_the_step_that_failed_and_the_cure_of_its_kind(#[case] problem: Problem) {
    let (image, now) = failing(problem, "it went wrong");
    let stuck = stuck(&image, &a_project(), now);
    assert_eq!((stuck.step.as_str(), stuck.cause.as_str()), ("HEAD tag 1.0", "it went wrong"));
    assert_eq!((stuck.problem, stuck.cure.as_str()), (problem, problem.cure()));
}

#[test]
fn an_image_that_was_given_up_tells_the_cure_of_its_last_failure() {
    let (image, now) = failing(Problem::ServerError, "Harbor answered 500");
    let project = Project { give_up_after: Duration::ZERO, ..a_project() };
    let stuck = image.stuck(true, Some("gave up: Harbor answered 500"), &project, now).unwrap();
    assert_eq!((stuck.cause.as_str(), stuck.problem), ("gave up: Harbor answered 500", Problem::ServerError));
}

#[test]
fn an_image_of_a_paused_project_tells_the_cure_of_the_pause() {
    let image = wanted(&Model::single());
    let pause = Pause {
        reason: "Harbor has no such project".to_owned(),
        problem: Problem::NoSuchProject,
        probe_at: START + seconds(60),
    };
    let stuck = stuck(&image, &Project { pause: Some(pause), ..a_project() }, START);
    assert_eq!(stuck.step, "read the image's manifest");
    assert_eq!(stuck.cause, "work on the project stands still: Harbor has no such project");
    assert_eq!(stuck.problem, Problem::NoSuchProject);
}

#[test]
fn an_image_on_its_way_tells_each_step_that_it_waits_for() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    let mut image = wanted(&model);
    image.set_wants(vec![for_target("1.0")]);
    let project = Project { complete_index: true, ..a_project() };
    let mut told: Vec<(String, Problem)> = Vec::new();
    loop {
        match image.next(&project, model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &project, steps),
            Next::WaitUntil(until, _) => {
                let stuck = stuck(&image, &project, model.now);
                let now = (stuck.step, stuck.problem);
                if told.last() != Some(&now) {
                    told.push(now);
                }
                model.now = until;
            }
            _ => break,
        }
    }
    let told: Vec<_> = told.iter().map(|(step, problem)| (step.as_str(), *problem)).collect();
    let copying = ("copy the blobs into Harbor", Problem::Copying);
    assert_eq!(told.first(), Some(&copying));
    assert!(told.contains(&("record the image in Harbor", Problem::Recording)), "{told:?}");
    assert!(told.contains(&("record the tag 1.0 in Harbor", Problem::TagPending)), "{told:?}");
    assert_eq!(told.last(), Some(&("replicate 1.0 to prod", Problem::Replicating)));
    assert_eq!(image.stuck(false, None, &project, model.now), None, "all is there");
}

#[test]
fn an_image_in_the_line_says_that_it_waits_for_its_turn() {
    let image = wanted(&Model::single());
    assert_eq!(image.stuck(false, None, &a_project(), START), None, "its next step is due");
    let told = Waiting::Turn.to_string();
    let stuck = image.stuck(false, Some(&told), &a_project(), START).unwrap();
    assert_eq!(stuck.problem, Problem::Turn);
}

#[test]
fn a_replication_that_fails_tells_what_the_execution_said() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    image.set_wants(vec![for_target("1.0")]);
    let project = a_project();
    run_until(&mut model, &mut image, &project, |image| !image.replications.is_empty());
    let target: harbor_warmer_protocol::TargetName = "prod".parse().unwrap();
    let execution = image.replications[0].execution.unwrap();
    let outcome = ReplicationOutcome::Failed("denied: the token has expired".to_owned());
    let looked = Observation::ReplicationLooked { target, execution, outcome };
    image.observe(&project, looked, model.now);
    let stuck = stuck(&image, &project, model.now);
    assert_eq!(stuck.step, "replicate 1.0 to prod");
    assert_eq!(
        (stuck.cause.as_str(), stuck.problem),
        ("the replication of 1.0 to prod: denied: the token has expired", Problem::ReplicationFailed)
    );
}

#[rstest]
#[case::gone(DeadReason::NoSuchManifest, Problem::MissingManifest)]
#[case::of_another_kind(DeadReason::Unsupported("a Helm chart".to_owned()), Problem::Unsupported)]
fn a_hopeless_image_tells_why(#[case] reason: DeadReason, #[case] problem: Problem) {
    let mut image = wanted(&Model::single());
    image.hopeless = Some(reason.clone());
    let stuck = image.stuck(true, None, &a_project(), START).unwrap();
    assert_eq!((stuck.cause, stuck.problem), (reason.to_string(), problem));
}

#[test]
fn an_image_without_the_wanted_platform_says_which_there_are() {
    let mut model = Model::index(&["linux/arm64"]);
    let mut image = wanted(&model);
    assert!(matches!(model.run(&mut image, &a_project()), Next::Dead(DeadReason::NoSuchPlatform { .. })));
    let stuck = image.stuck(true, None, &a_project(), model.now).unwrap();
    assert_eq!((stuck.step.as_str(), stuck.problem), ("find a wanted platform in the index", Problem::NoSuchPlatform));
    assert_eq!(stuck.cause, "the image has no linux/amd64; it has linux/arm64");
}

#[test]
fn a_crashed_image_points_to_the_log() {
    let image = wanted(&Model::single());
    let reason = DeadReason::Crashed.to_string();
    let stuck = image.stuck(true, Some(&reason), &a_project(), START).unwrap();
    assert_eq!((stuck.cause, stuck.problem), (reason, Problem::Crashed));
}

#[test]
fn an_image_that_is_warm_with_a_tag_that_can_not_be_read_says_which_right_is_missing() {
    let mut model = Model::single();
    model.artifacts_are_readable = false;
    let mut image = wanted(&model);
    assert!(matches!(model.run(&mut image, &a_project()), Next::Done(_)));
    assert_eq!(stuck(&image, &a_project(), model.now).problem, Problem::TagUnreadable);
}

/// A workload that names the image by its digest, then another that names it by a tag.
fn untagged() -> Vec<Want> {
    vec![a_want(None, "linux/amd64", START)]
}

#[test]
fn a_tag_that_a_read_by_digest_alone_blocked_is_named_with_that_cause() {
    let mut model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    image.set_wants(untagged());
    assert!(matches!(model.run(&mut image, &a_project()), Next::Done(_)));
    assert_eq!(image.tell_blocked_tags(&a_project(), model.now), [].into());

    let late = Want { headed: Some(model.now), ..a_want(Some("latest"), "linux/amd64", model.now) };
    image.set_wants([untagged(), vec![late]].concat());
    assert!(matches!(model.run(&mut image, &a_project()), Next::Done(Some(_))));
    assert_eq!(image.tell_blocked_tags(&a_project(), model.now), [(tag("latest"), BlockedBy::UntaggedRead)].into());
    let stuck = stuck(&image, &a_project(), model.now);
    assert_eq!((stuck.step.as_str(), stuck.problem), ("record the tag latest in Harbor", Problem::TagBlocked));
    let why = "its index was read for a workload that names it by its digest alone, before latest was asked for";
    assert!(stuck.cause.starts_with(why), "{}", stuck.cause);
    assert!(stuck.cause.contains("cache:manifestlist:hub/library/app:sha256:"), "{}", stuck.cause);
}

#[test]
fn a_tag_that_came_later_and_one_that_missed_the_deadline_have_their_own_causes() {
    let mut model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    model.run(&mut image, &a_project());
    let late = Want { headed: Some(model.now), ..a_want(Some("latest"), "linux/amd64", model.now) };
    image.set_wants([image.wants.clone(), vec![late]].concat());
    model.run(&mut image, &a_project());
    assert_eq!(image.tell_blocked_tags(&a_project(), model.now), [(tag("latest"), BlockedBy::EarlierRead)].into());

    let mut model = Model::index(&["linux/amd64"]).with_blobs_of(seconds(600));
    let mut image = wanted(&model);
    model.run(&mut image, &a_project());
    assert_eq!(image.tell_blocked_tags(&a_project(), model.now), [(tag("1.0"), BlockedBy::Deadline)].into());
    assert_eq!(image.tell_blocked_tags(&a_project(), model.now), [].into(), "each is told once");
}

#[rstest]
#[case::an_index_is_left_out(Model::index(&["linux/amd64"]), untagged(), Next::Dead(DeadReason::Untagged))]
#[case::one_manifest_blocks_no_tag(Model::single(), untagged(), Next::Done(None))]
#[case::a_tag_of_it_is_asked_for_first(
    Model::index(&["linux/amd64"]),
    [untagged(), vec![Want { headed: Some(START), ..a_want(Some("1.0"), "linux/amd64", START) }]].concat(),
    Next::Done(None)
)]
fn what_is_named_by_its_digest_alone_is_left_out_where_that_would_block_tags(
    #[case] mut model: Model,
    #[case] wants: Vec<Want>,
    #[case] expected: Next,
) {
    let project = Project { skips_untagged: true, ..a_project() };
    let mut image = Image::new(wanted(&model).place, model.root(), START);
    image.set_wants(wants);
    let end = model.run(&mut image, &project);
    assert_eq!(std::mem::discriminant(&end), std::mem::discriminant(&expected), "{end:?}");
    if expected == Next::Dead(DeadReason::Untagged) {
        assert_eq!(model.most_transfers_of_a_blob(), 0);
        let stuck = image.stuck(true, None, &project, model.now).unwrap();
        assert!(stuck.cause.contains("`warmUntagged: false`") && stuck.cure.contains("`resolveThrough`"), "{stuck:?}");
    }
}

#[test]
fn what_was_left_out_is_warmed_once_a_tag_of_it_is_asked_for() {
    let mut model = Model::index(&["linux/amd64"]);
    let project = Project { skips_untagged: true, ..a_project() };
    let mut image = Image::new(wanted(&model).place, model.root(), START);
    image.set_wants(untagged());
    assert_eq!(model.run(&mut image, &project), Next::Dead(DeadReason::Untagged));
    image.set_wants([untagged(), vec![a_want(Some("1.0"), "linux/amd64", model.now)]].concat());
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.tag_status(&tag("1.0"), &project, model.now), TagStatus::Recorded);
}

#[test]
fn an_image_named_by_its_digest_alone_is_read_through_the_second_project_and_blocks_no_tag() {
    let mut model = Model::index(&["linux/amd64"]);
    let project = Project { resolves_through: true, ..a_project() };
    let mut image = Image::new(wanted(&model).place, model.root(), START);
    image.set_wants(untagged());
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!((image.index_opened, image.phase(&project, model.now)), (None, Phase::Warm));

    image.set_wants([untagged(), vec![a_want(Some("1.0"), "linux/amd64", model.now)]].concat());
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
}

#[test]
fn the_root_of_a_pinned_image_is_not_asked_for_where_it_is_warmed_anyway() {
    let mut image = Image::new(wanted(&Model::single()).place, Digest::ZERO, START);
    image.set_wants(untagged());
    image.observe(&a_project(), Observation::Begun, START);
    assert_eq!(image.next(&a_project(), START), Next::Do(vec![Step::ReadRoot { through_project: true }]));
}
