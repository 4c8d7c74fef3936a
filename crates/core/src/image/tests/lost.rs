//! What can't be had holds up nothing else, and is no storm.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::attempts::Attempts;

const DAY: Duration = Duration::from_secs(86_400);

fn completing() -> Project {
    Project { complete_index: true, ..a_project() }
}

/// Works on an image until nothing more is to be done, or a time is over.
fn run_for(model: &mut Model, image: &mut Image, project: &Project, time: Duration) -> Option<Next> {
    let ends = model.now + time;
    let mut rounds = 0;
    while model.now < ends {
        rounds += 1;
        assert!(rounds < 100_000, "spins: {:?}", image.next(project, model.now));
        match image.next(project, model.now) {
            Next::Do(steps) => model.carry_out(image, project, steps),
            Next::WaitUntil(until, _) => model.now = until,
            Next::Stuck(about, why) => image.observe(
                project,
                Observation::Failed {
                    step: "verify".to_owned(),
                    about,
                    failure: Failure::new(Problem::NeverRecorded, why),
                },
                model.now,
            ),
            Next::Refused(about, why) => image.observe(
                project,
                Observation::Throttled {
                    step: "verify".to_owned(),
                    about,
                    failure: Failure::new(Problem::StorageRefused, why),
                },
                model.now,
            ),
            end @ (Next::Done(_) | Next::Dead(_)) => return Some(end),
        }
    }
    None
}

#[rstest]
#[case::another_platform("linux/arm64")]
#[case::an_attestation("unknown/unknown")]
fn a_child_that_the_upstream_lacks_keeps_no_other_from_being_warm_and_is_asked_for_rarely(#[case] other: &str) {
    let mut model = Model::index(&["linux/amd64", other]);
    model.missing.insert(digest(101));
    let mut image = wanted(&model);
    run_for(&mut model, &mut image, &completing(), seconds(120));
    assert!((20..25).contains(&model.second(image.warm_at.unwrap())), "{image:?}");
    run_for(&mut model, &mut image, &completing(), DAY);
    let asked = model.requests[&format!("read the manifest {}", digest(101))];
    assert!((10..500).contains(&asked), "{asked} requests in a day");
    assert_eq!(image.tag_status(&tag("1.0"), &completing(), model.now), TagStatus::Recorded);
}

#[test]
fn what_is_missing_is_told_with_its_reason_while_the_image_is_warm() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    model.missing.insert(digest(101));
    let mut image = wanted(&model);
    run_for(&mut model, &mut image, &completing(), seconds(3600));
    while let Next::Do(steps) = image.next(&completing(), model.now) {
        model.carry_out(&mut image, &completing(), steps);
    }
    let stuck = image.stuck(false, None, &completing(), model.now).expect("told");
    assert_eq!((stuck.problem, stuck.step), (Problem::MissingManifest, format!("read the manifest {}", digest(101))));
    assert_eq!(image.phase(&completing(), model.now), Phase::Tagged);
}

#[test]
fn an_image_whose_rest_is_never_had_is_done_after_the_time_to_give_up() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    model.missing.insert(digest(101));
    let mut image = wanted(&model);
    assert_eq!(run_for(&mut model, &mut image, &completing(), DAY * 2), Some(Next::Done(None)));
}

#[test]
fn of_two_wanted_platforms_the_one_that_can_be_had_is_warm_and_the_other_says_why_it_is_not() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    model.missing.insert(digest(101));
    let mut image = Image::new(model.place(), model.root(), START);
    let (amd, arm) = (a_want(Some("1.0"), "linux/amd64", START), a_want(Some("1.0"), "linux/arm64", START));
    image.set_wants(vec![amd.clone(), arm.clone()]);
    assert!(matches!(model.run(&mut image, &a_project()), Next::Done(_)));
    assert_eq!(image.state_of(&amd, &a_project()), ImageState::Warm);
    assert_eq!(image.state_of(&arm, &a_project()), ImageState::Failed);
    assert_eq!(image.reason_of(&arm, &a_project()).as_deref(), Some("the upstream has no such manifest"));
    assert_eq!(image.reason_of(&amd, &a_project()), None);
}

#[test]
fn an_image_without_any_platform_that_can_be_had_is_given_up_with_the_reason() {
    let mut model = Model::index(&["linux/amd64"]);
    model.missing.insert(digest(100));
    let mut image = wanted(&model);
    assert_eq!(model.run(&mut image, &a_project()), Next::Dead(DeadReason::NoSuchManifest));
    image.reopen(model.now);
    model.missing.clear();
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
}

#[test]
fn a_step_that_follows_from_its_own_answer_is_named_and_one_that_is_due_again_is_not() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    let done = vec![(Step::Begin, START)];
    let Next::Do(steps) = image.next(&a_project(), START) else { panic!("begins") };
    assert_eq!(image.repeats(&a_project(), &done, &steps), Some(&Step::Begin));

    model.copies_that_break = usize::MAX;
    let mut done = Vec::new();
    for _ in 0..40 {
        match image.next(&a_project(), model.now) {
            Next::Do(steps) => {
                assert_eq!(image.repeats(&a_project(), &done, &steps), None);
                model.carry_out(&mut image, &a_project(), steps.clone());
                done = steps.into_iter().map(|step| (step, model.now)).collect();
            }
            Next::WaitUntil(until, _) => model.now = until,
            _ => return,
        }
    }
}

#[test]
fn an_image_that_takes_too_many_requests_is_set_aside_and_goes_on_afterwards() {
    let model = Model::single();
    let mut image = wanted(&model);
    image.requests(1_000_000, &a_project(), START);
    let Next::WaitUntil(until, Waiting::SetAside) = image.next(&a_project(), START) else { panic!("{image:?}") };
    let stuck = image.stuck(false, None, &a_project(), START).expect("told");
    assert_eq!(stuck.problem, Problem::RequestsExceeded);
    assert!(matches!(image.next(&a_project(), until), Next::Do(_)));
}

#[test]
fn a_recorded_tag_that_somebody_else_asked_for_is_found_and_never_called_blocked() {
    let mut model = Model::index(&["linux/amd64"]);
    // The policy's look-up asked for the tag and read the index; the worker comes later and knows nothing of the HEAD.
    let mut other = wanted(&model);
    for _ in 0..4 {
        if let Next::Do(steps) = other.next(&a_project(), model.now) {
            model.carry_out(&mut other, &a_project(), steps);
        }
    }
    let mut image = wanted(&model);
    model.now = model.now + seconds(60);
    run_for(&mut model, &mut image, &a_project(), seconds(3600));
    assert_eq!(image.tag_status(&tag("1.0"), &a_project(), model.now), TagStatus::Recorded);
}

#[test]
fn a_single_manifest_for_another_platform_is_warmed_and_says_what_it_runs_on() {
    let mut model = Model::single();
    let mut image = Image::new(model.place(), model.root(), START);
    let (amd, arm) = (a_want(Some("1.0"), "linux/amd64", START), a_want(Some("1.0"), "linux/arm64", START));
    image.set_wants(vec![amd.clone(), arm.clone()]);
    model.run(&mut image, &a_project());
    let platform = Some(("linux".to_owned(), "amd64".to_owned(), None));
    image.observe(&a_project(), Observation::ArtifactRecorded { digest: model.root(), platform }, model.now);
    assert_eq!(image.state_of(&amd, &a_project()), ImageState::Warm);
    let reason = image.reason_of(&arm, &a_project()).expect("told");
    assert_eq!(reason, "the image has no linux/arm64; it has linux/amd64");
    assert!(image.answers(&arm, &a_project()), "asking again would find the same");
}

#[test]
fn a_replicated_tag_that_is_asked_for_after_a_day_is_replicated_again_and_not_before() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    image.set_wants(vec![Want { target: Some("prod".parse().unwrap()), ..a_want(Some("1.0"), "linux/amd64", START) }]);
    model.run(&mut image, &a_project());
    assert_eq!(model.executions().len(), 1);
    for (hours, executions) in [(1, 1), (23, 2), (23, 2), (2, 3)] {
        model.now = model.now + seconds(hours * 3600);
        image.reopen(model.now);
        model.run(&mut image, &a_project());
        assert_eq!(model.executions().len(), executions, "after {hours} h more");
    }
}

#[test]
fn a_workload_that_names_a_digest_alone_is_told_that_it_is_not_replicated() {
    let model = Model::single();
    let image = wanted(&model);
    let want = Want { target: Some("prod".parse().unwrap()), ..a_want(None, "linux/amd64", START) };
    assert!(image.note_of(&want, &a_project()).expect("told").contains("by its digest alone"));
}

fn parts() -> impl Strategy<Value = (usize, Vec<bool>, Vec<bool>, Vec<bool>, bool)> {
    (1usize..5).prop_flat_map(|n| {
        let flags = || proptest::collection::vec(proptest::bool::weighted(0.3), n);
        (Just(n), flags(), flags(), flags(), any::<bool>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is missing or broken: it ends, its requests are bounded, and a wanted platform that can be had is warm.
    #[test]
    fn what_can_be_had_is_had_whatever_else_can_not((n, missing, broken, lost_layers, complete) in parts()) {
        const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64", "unknown/unknown", "linux/s390x"];
        let mut model = Model::index(&PLATFORMS[..n]);
        for child in 0..n {
            let number = u8::try_from(child).unwrap();
            if missing[child] { model.missing.insert(digest(100 + number)); }
            if broken[child] { model.broken.insert(digest(100 + number)); }
            if lost_layers[child] { model.broken.insert(digest(1 + number)); }
        }
        let project = Project { complete_index: complete, ..a_project() };
        let mut image = Image::new(model.place(), model.root(), START);
        let (amd, arm) = (a_want(Some("1.0"), "linux/amd64", START), a_want(None, "linux/arm64", START));
        image.set_wants(vec![amd.clone(), arm.clone()]);
        let end = run_for(&mut model, &mut image, &project, DAY * 3);
        prop_assert!(end.is_some(), "{image:?}");
        let requests: usize = model.requests.values().sum();
        prop_assert!(requests < 3_000, "{requests} requests");
        for (child, want) in [(0, &amd), (1, &arm)] {
            let can_be_had = child < n && !missing[child] && !broken[child] && !lost_layers[child];
            let expected = if can_be_had { ImageState::Warm } else { ImageState::Failed };
            prop_assert_eq!(image.state_of(want, &project), expected, "{:?} of {:?}", want.platforms, image);
            prop_assert_eq!(image.reason_of(want, &project).is_none(), can_be_had);
        }
        prop_assert!(image.attempts.last.len() <= Attempts::KEPT);
    }
}
