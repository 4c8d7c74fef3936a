//! The core against a model of Harbor in virtual time: whole warmings, timed, in microseconds.

mod diagnosis;
mod keeping;
mod lost;
mod model;
mod replicating;

use std::time::Duration;

use harbor_warmer_protocol::{Digest, ImageState, Platforms, Tag};
use rstest::rstest;

use super::{About, BlobState, Content, DeadReason, Image, Next, Observation, Step, TagStatus, Waiting, Want};
use crate::problem::{Failure, Problem};
use crate::project::{HarborKind, Transfer};
use crate::project::{Pause, Project};
use crate::timers::Timers;
use crate::timestamp::Timestamp;
use crate::view::Phase;
use model::{Model, START, digest};

pub(crate) fn a_project() -> Project {
    Project {
        kind: HarborKind::Harbor,
        transfer: Transfer::Touch,
        complete_index: false,
        resolves_through: false,
        skips_untagged: false,
        timers: Timers::REAL,
        give_up_after: Duration::from_secs(86_400),
        replicate_again_after: Duration::from_secs(86_400),
        targets: vec!["prod".parse().unwrap()],
        keep_warm_every: None,
        pause: None,
        strained: false,
        probes_storage: false,
    }
}

pub(crate) fn a_want(tag: Option<&str>, platforms: &str, asked: Timestamp) -> Want {
    Want {
        cluster: "east".to_owned(),
        tag: tag.map(|tag| tag.parse().unwrap()),
        pinned: false,
        platforms: Platforms::new(platforms.split(',').map(|platform| platform.parse().unwrap())).unwrap(),
        target: None,
        first_asked: asked,
        last_asked: asked,
        headed: None,
    }
}

impl Image {
    /// With this seen as well.
    fn observed(mut self, observation: Observation, now: Timestamp) -> Self {
        self.observe(&a_project(), observation, now);
        self
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// The image of `model`, wanted by its tag for linux/amd64.
fn wanted(model: &Model) -> Image {
    let mut image = Image::new(model.place(), model.root(), START);
    image.set_wants(vec![a_want(Some("1.0"), "linux/amd64", START)]);
    image
}

#[test]
fn one_of_two_platforms_is_warm_at_about_20_s_and_its_tag_recorded_after_harbors_deadline() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    let mut image = wanted(&model);
    let end = model.run(&mut image, &a_project());
    assert_eq!(end, Next::Done(None));
    assert!((20..25).contains(&model.second(image.warm_at.unwrap())), "{image:?}");
    assert_eq!(image.phase(&a_project(), model.now), Phase::Tagged);
    assert!((400..430).contains(&model.second(model.now)), "{}", model.second(model.now));
    assert_eq!(model.whole_transfers_of_other_platforms(&image), 0);
}

#[test]
fn a_completed_index_has_its_tag_at_about_50_s() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64", "unknown/unknown"]);
    let mut image = wanted(&model);
    let project = Project { complete_index: true, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
    assert!((40..60).contains(&model.second(model.now)), "{}", model.second(model.now));
}

#[test]
fn with_a_second_project_for_indexes_the_tag_is_there_at_about_35_s() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    let mut image = wanted(&model);
    let project = Project { complete_index: true, resolves_through: true, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
    assert!((30..42).contains(&model.second(model.now)), "{}", model.second(model.now));
}

#[rstest]
#[case::blobs_at_once(1, 42)]
#[case::blobs_just_after_a_look(40, 120)]
fn an_index_is_read_so_that_a_busy_harbor_has_recorded_its_children_at_the_first_look(
    #[case] blobs_take: u64,
    #[case] tagged_before: u64,
) {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"])
        .with_blobs_of(seconds(blobs_take))
        .that_records_within(seconds(2));
    let mut image = wanted(&model);
    let project = Project { complete_index: true, resolves_through: true, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
    assert!(model.second(model.now) < tagged_before, "{}", model.second(model.now));
}

#[test]
fn an_image_slower_than_the_index_deadline_gets_its_tag_through_a_second_project() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]).with_blobs_of(seconds(490));
    let mut image = wanted(&model);
    let project = Project { complete_index: true, resolves_through: true, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
}

#[test]
fn without_one_its_tag_is_blocked_for_seven_days_and_the_image_is_warm_all_the_same() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]).with_blobs_of(seconds(490));
    let mut image = wanted(&model);
    assert!(matches!(model.run(&mut image, &a_project()), Next::Done(Some(_))), "blocked, and looked for again");
    assert_eq!(image.phase(&a_project(), model.now), Phase::Warm);
    let status = image.tag_status(&tag("1.0"), &a_project(), model.now);
    let TagStatus::Blocked { heals_at, .. } = status else { panic!("{status:?}") };
    assert!(heals_at.since(START) >= seconds(7 * 86_400));
}

#[test]
fn a_single_manifest_has_its_tag_at_about_30_s() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(image.phase(&a_project(), model.now), Phase::Tagged);
    assert!((20..36).contains(&model.second(model.now)), "{}", model.second(model.now));
}

#[test]
fn a_layer_slower_than_200_s_is_recorded_by_reading_its_manifest_again() {
    let mut model = Model::index(&["linux/amd64"]).with_blobs_of(seconds(255));
    let mut image = wanted(&model);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    let warm = model.second(image.warm_at.unwrap());
    assert!((275..300).contains(&warm), "{warm}");
    assert_eq!(image.phase(&a_project(), model.now), Phase::Tagged);
}

#[test]
fn a_harbor_that_restarts_in_mid_warming_is_noticed_and_the_image_is_warm_in_the_end() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    model.restarts_at(START + seconds(10));
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(image.phase(&a_project(), model.now), Phase::Tagged);
    assert!((65..100).contains(&model.second(image.warm_at.unwrap())), "{}", model.second(image.warm_at.unwrap()));
}

#[test]
fn a_harbor_that_restarts_just_before_it_attaches_the_tag_is_asked_for_it_again_soon() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    model.restarts_at(START + seconds(21));
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(image.phase(&a_project(), model.now), Phase::Tagged);
    assert!((50..80).contains(&model.second(model.now)), "{}", model.second(model.now));
}

#[test]
fn a_harbor_that_restarts_before_the_index_is_read_through_the_project_records_the_tag_all_the_same() {
    let mut model = Model::index(&["linux/amd64"]).with_blobs_of(seconds(30));
    let mut image = wanted(&model);
    model.restarts_at(START + seconds(15));
    let project = Project { resolves_through: true, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
}

#[rstest]
#[case::keys_deleted(true, Phase::Tagged)]
#[case::keys_kept(false, Phase::Warm)]
fn a_blocked_tag_is_recorded_when_it_is_asked_for_after_its_keys_were_deleted(
    #[case] deleted: bool,
    #[case] expected: Phase,
) {
    let mut model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    model.restarts_at(START + seconds(15));
    assert!(matches!(model.run(&mut image, &a_project()), Next::Done(Some(_))), "blocked, and looked for again");
    assert_eq!(image.phase(&a_project(), model.now), Phase::Warm);
    if deleted {
        model.forgets_the_index();
    }
    model.now = model.now + seconds(3600);
    image.reopen(model.now);
    assert!(matches!(model.run(&mut image, &a_project()), Next::Done(_)));
    assert_eq!(image.phase(&a_project(), model.now), expected);
}

#[test]
fn a_blob_whose_copy_broke_is_asked_for_again() {
    let mut model = Model::single();
    model.copies_that_break = 1;
    let mut image = wanted(&model);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert!(model.second(image.warm_at.unwrap()) < 130);
    assert!(image.blobs.values().all(|blob| blob.drained.is_none()), "that would move it twice: {image:?}");
}

#[rstest]
#[case::thirty_megabytes(120)]
#[case::a_gigabyte(4_000)]
#[case::three_gigabytes(12_000)]
fn a_lost_copy_is_asked_for_again_after_a_minute_whatever_its_size(#[case] copy_takes: u64) {
    let mut model = Model::index(&["linux/amd64"]).with_blobs_of(seconds(copy_takes));
    // The largest blob is asked for first.
    model.copies_that_break = 1;
    let mut image = wanted(&model);
    let project = Project { resolves_through: true, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    let local = model.second(image.blobs[&digest(1)].local.unwrap());
    assert!((copy_takes + 60..copy_takes + 90).contains(&local), "{local}");
    assert_eq!(image.blobs[&digest(1)].drained, None, "that would move it twice");
}

/// How often a blob of which nothing is heard is asked for within an hour.
fn asks_within_an_hour(takes: Option<Duration>) -> u32 {
    let size_bytes = 3 << 30;
    let blob = BlobState { size_bytes, distributable: true, ..BlobState::default() };
    let mut image = wanted(&Model::single());
    image.content = Content::Manifest;
    let read = Observation::ChildRead { digest: image.root, blobs: Vec::new() };
    image.observe(&a_project(), Observation::ArtifactAbsent(image.root), START);
    image.observe(&a_project(), read, START);
    image.manifests.get_mut(&image.root).unwrap().blobs = vec![digest(1)];
    image.blobs.insert(digest(1), blob);
    let mut now = START;
    while now < START + seconds(3600) {
        match image.next(&a_project(), now) {
            Next::WaitUntil(until, _) => {
                assert!(until > now);
                now = until;
            }
            Next::Do(steps) => {
                for step in steps {
                    match step {
                        Step::LookForBlob { digest: blob, .. } => {
                            image.observe(&a_project(), Observation::BlobAbsent(blob), now)
                        }
                        Step::TouchBlob { digest, sample, .. } => {
                            image.observe(&a_project(), Observation::BlobAsked(digest), now);
                            if let Some(takes) = takes.filter(|_| sample) {
                                let sampled = Observation::BlobSampled { digest, takes };
                                image.observe(&a_project(), sampled, now);
                            }
                        }
                        other => panic!("{other}"),
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
    image.blobs[&digest(1)].asks
}

#[test]
fn a_copy_that_may_still_be_under_way_is_asked_for_each_minute_and_one_that_should_be_over_more_and_more_rarely() {
    assert!((45..=60).contains(&asks_within_an_hour(None)), "{}", asks_within_an_hour(None));
    let slow = asks_within_an_hour(Some(seconds(12_000)));
    assert!((45..=60).contains(&slow), "{slow}");
    // Each is a transfer of 3 GB.
    let quick = asks_within_an_hour(Some(seconds(20)));
    assert!(quick <= 8, "{quick}");
}

#[test]
fn a_lost_copy_of_a_blob_that_is_read_to_its_end_is_asked_for_again() {
    let mut model = Model::single();
    model.copies_that_break = 1;
    let mut image = wanted(&model);
    let project = Project { transfer: Transfer::Drain, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(model.most_transfers_of_a_blob(), 2);
    assert!(model.second(image.warm_at.unwrap()) < 60);
}

#[test]
fn a_storage_that_refused_is_probed_with_one_blob_read_to_its_end() {
    let mut model = Model::index(&["linux/amd64"]);
    model.copies_that_break = usize::MAX;
    let mut image = wanted(&model);
    let project = Project { probes_storage: true, ..a_project() };
    loop {
        match image.next(&project, model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &project, steps),
            Next::WaitUntil(until, _) => {
                assert!(until > model.now);
                model.now = until;
            }
            Next::Refused(_, _) => break,
            other => panic!("{other:?}"),
        }
    }
    let asked: Vec<_> = image.blobs.values().map(|blob| (blob.size_bytes, blob.asks)).collect();
    assert_eq!(asked, [(8 << 20, 1), (64 << 10, 0)]);
}

#[test]
fn a_blob_that_harbor_does_not_keep_is_asked_for_twice_and_read_to_its_end_once_before_that_is_said() {
    let mut model = Model::single();
    model.copies_that_break = usize::MAX;
    let mut image = wanted(&model);
    loop {
        match image.next(&a_project(), model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &a_project(), steps),
            Next::WaitUntil(until, _) => model.now = until,
            Next::Refused(_, why) => {
                assert!(why.contains("quota"), "{why}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(model.most_transfers_of_a_blob(), 3);
    assert!(image.blobs.values().any(|blob| blob.drained.is_some()));
}

#[test]
fn a_storage_that_refuses_for_days_is_waited_for_and_tried_rarely() {
    let mut model = Model::single();
    model.copies_that_break = usize::MAX;
    let mut image = wanted(&model);
    let days = 3;
    while model.now.since(START) < seconds(days * 86_400) {
        match image.next(&a_project(), model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &a_project(), steps),
            Next::WaitUntil(until, _) => model.now = until,
            Next::Refused(_, error) => {
                let failure = Failure::new(Problem::StorageRefused, error);
                let refused = Observation::Throttled { step: "verify".to_owned(), about: About::Image, failure };
                image.observe(&a_project(), refused, model.now);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(image.attempts.last.len(), crate::attempts::Attempts::KEPT);
    let transfers = model.most_transfers_of_a_blob();
    assert!(transfers < 1500, "{transfers} transfers of a blob in {days} days");
    model.copies_that_break = 0;
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(image.phase(&a_project(), model.now), Phase::Tagged);
}

#[test]
fn a_storage_that_was_mended_in_a_pause_is_not_judged_by_what_it_refused_before() {
    let mut model = Model::index(&["linux/amd64"]).with_blobs_of(seconds(8));
    model.copies_that_break = usize::MAX;
    let mut image = wanted(&model);
    let mut project = a_project();
    let reason = loop {
        match image.next(&project, model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &project, steps),
            Next::WaitUntil(until, _) => model.now = until,
            Next::Refused(_, reason) => break reason,
            other => panic!("{other:?}"),
        }
    };
    let failure = Failure::new(Problem::StorageRefused, reason.clone());
    let refused = Observation::Throttled { step: "verify".to_owned(), about: About::Image, failure };
    image.observe(&project, refused, model.now);
    project.pause = Some(Pause { reason, problem: Problem::StorageRefused, probe_at: model.now + seconds(60) });
    let Next::WaitUntil(probe_at, Waiting::Paused(_)) = image.next(&project, model.now) else {
        panic!("the project is paused")
    };
    image.observe(&project, Observation::Held, model.now);

    // The other blob was read to its end just before the pause, and nobody has looked since.
    model.copies_that_break = 0;
    model.now = probe_at;
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
    assert_eq!(image.attempts.last.len(), 1, "nothing is refused anew: {:?}", image.attempts.last);
}

#[test]
fn reading_a_manifest_again_moves_no_moment_of_the_timeline() {
    let model = Model::single();
    let mut image = wanted(&model);
    for second in [1, 90] {
        let read = Observation::ChildRead { digest: model.root(), blobs: Vec::new() };
        image.observe(&a_project(), read, START + seconds(second));
    }
    let moments: Vec<_> = image.timeline().into_iter().filter(|step| step.what.contains("manifest read")).collect();
    assert_eq!(moments.iter().map(|step| step.at).collect::<Vec<_>>(), [START + seconds(1)]);
}

#[test]
fn an_image_that_harbor_has_already_moves_nothing() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    model.has_everything();
    let mut image = wanted(&model);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(model.most_transfers_of_a_blob(), 0);
    assert!(model.now.since(START) < seconds(2), "{}", model.second(model.now));
}

#[test]
fn a_reopened_image_is_looked_at_again_and_warmed_again_if_it_is_gone() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    model.run(&mut image, &a_project());
    model.now = model.now + seconds(8 * 86_400);
    model.loses_everything();
    image.reopen(model.now);
    assert_eq!(image.state_of(&image.wants[0], &a_project()), ImageState::Warming);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(model.most_transfers_of_a_blob(), 2);
    assert_eq!(image.phase(&a_project(), model.now), Phase::Tagged);
}

#[test]
fn a_second_tag_after_the_index_was_read_is_blocked_once_harbors_deadline_is_over() {
    let mut model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    model.run(&mut image, &a_project());
    let mut wants = image.wants.clone();
    wants.push(Want { headed: Some(model.now), ..a_want(Some("latest"), "linux/amd64", model.now) });
    image.set_wants(wants);
    let from = model.now;
    assert!(matches!(model.run(&mut image, &a_project()), Next::Done(Some(_))), "blocked, and looked for again");
    assert!(matches!(image.tag_status(&tag("latest"), &a_project(), model.now), TagStatus::Blocked { .. }));
    assert!(model.now.since(from) < seconds(500), "only until Harbor's deadline is over");
}

#[test]
fn every_wanted_tag_is_asked_for_before_the_index_is_read() {
    let model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    image.set_wants(vec![
        Want { headed: Some(START), ..a_want(Some("1.0"), "linux/amd64", START) },
        a_want(Some("latest"), "linux/amd64", START),
    ]);
    assert_eq!(image.next(&a_project(), START), Next::Do(vec![Step::Begin]), "no HEAD before its turn");
    image.observe(&a_project(), Observation::Begun, START);
    let first = image.next(&a_project(), START);
    assert_eq!(first, Next::Do(vec![Step::HeadTag(tag("latest"))]));
    image.observe(&a_project(), Observation::TagHeaded { tag: tag("latest"), digest: model.root() }, START);
    assert_eq!(image.next(&a_project(), START), Next::Do(vec![Step::ReadRoot { through_project: true }]));
}

#[test]
fn a_tag_is_gone_when_the_upstream_has_said_so_three_times_in_a_row() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    image.observe(&a_project(), Observation::Begun, START);
    for missed in 1..=3 {
        assert_eq!(image.next(&a_project(), model.now), Next::Do(vec![Step::HeadTag(tag("1.0"))]));
        image.observe(&a_project(), Observation::TagGone(tag("1.0")), model.now);
        if missed == 2 {
            // Seen in between, so it starts anew.
            let headed = Observation::TagHeaded { tag: tag("1.0"), digest: model.root() };
            assert!(image.clone().observed(headed, model.now).tags[&tag("1.0")].missed == 0);
        }
        if missed < 3 {
            let Next::WaitUntil(retry_at, Waiting::Retry(_)) = image.next(&a_project(), model.now) else {
                panic!("{image:?}")
            };
            model.now = retry_at;
        }
    }
    assert_eq!(image.tag_status(&tag("1.0"), &a_project(), model.now), TagStatus::Moved);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(image.phase(&a_project(), model.now), Phase::Warm);
}

/// While its upstream doesn't answer, Harbor names its own copy of an index for a tag that it has recorded.
#[test]
fn a_root_that_a_tag_names_and_the_upstream_does_not_have_makes_the_tag_be_asked_for_again() {
    let model = Model::index(&["linux/amd64"]);
    let mut image = wanted(&model);
    image.observe(&a_project(), Observation::Begun, START);
    image.observe(&a_project(), Observation::TagHeaded { tag: tag("1.0"), digest: model.root() }, START);
    image.observe(&a_project(), Observation::ManifestMissing(model.root()), START);
    let Next::WaitUntil(retry_at, Waiting::Retry(_)) = image.next(&a_project(), START) else { panic!("{image:?}") };
    assert_eq!(image.next(&a_project(), retry_at), Next::Do(vec![Step::HeadTag(tag("1.0"))]));
    let moved = Observation::TagHeaded { tag: tag("1.0"), digest: Digest::ZERO };
    let superseded = image.clone().observed(moved, retry_at);
    assert_eq!(superseded.next(&a_project(), retry_at), Next::Done(None), "its wants go to the other image");

    image.wants.push(Want { pinned: true, ..a_want(Some("1.0"), "linux/amd64", START) });
    let pinned = image.observed(Observation::ManifestMissing(model.root()), retry_at);
    assert_eq!(pinned.next(&a_project(), retry_at), Next::Dead(DeadReason::NoSuchManifest));
}

#[test]
fn a_tag_that_means_another_image_now_is_not_waited_for() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    image.observe(&a_project(), Observation::TagHeaded { tag: tag("1.0"), digest: Digest::ZERO }, START);
    assert_eq!(image.tag_status(&tag("1.0"), &a_project(), START), TagStatus::Moved);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(image.phase(&a_project(), model.now), Phase::Warm);
}

#[test]
fn a_record_that_still_shows_the_image_that_the_tag_meant_before_is_no_record() {
    let model = Model::single();
    let mut image = wanted(&model);
    let project = a_project();
    image.observe(&project, Observation::RootWasManifest { blobs: vec![], through_project: true }, START);
    let old = Observation::TagRecorded { tag: tag("1.0"), digest: digest(99), children: vec![] };
    image.observe(&project, old, START);
    assert_ne!(image.tag_status(&tag("1.0"), &project, START), TagStatus::Recorded);
}

#[rstest]
#[case::other_architecture("linux/s390x")]
#[case::other_variant("linux/amd64/v2,linux/arm/v6")]
fn an_index_without_the_wanted_platform_is_a_dead_letter_that_names_what_there_is(#[case] platforms: &str) {
    let mut model = Model::index(&["linux/amd64/v3", "linux/arm64"]);
    let mut image = wanted(&model);
    image.set_wants(vec![a_want(Some("1.0"), platforms, START)]);
    let Next::Dead(DeadReason::NoSuchPlatform { offered, .. }) = model.run(&mut image, &a_project()) else {
        panic!("dead")
    };
    assert_eq!(offered, ["linux/amd64/v3", "linux/arm64"]);
    assert_eq!(model.most_transfers_of_a_blob(), 0);
}

#[test]
fn a_robot_that_may_not_read_artifacts_has_the_image_verified_by_its_blobs() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    model.artifacts_are_readable = false;
    let mut image = wanted(&model);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert_eq!(image.phase(&a_project(), model.now), Phase::Warm);
    assert!(model.now.since(START) < seconds(5));
}

#[test]
fn a_layer_that_harbor_can_not_store_is_not_waited_for() {
    let mut model = Model::single().with_a_foreign_layer();
    let mut image = wanted(&model);
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
    assert!(model.now.since(START) < seconds(700));
    assert!(image.warm_at.is_some());
}

#[test]
fn a_pause_uses_up_nothing_however_long_it_is() {
    let mut model = Model::single();
    let mut image = wanted(&model);
    let pause = Pause {
        reason: "the robot has expired".to_owned(),
        problem: Problem::Credentials,
        probe_at: START + seconds(30 * 86_400),
    };
    let paused = Project { pause: Some(pause), ..a_project() };
    let failure = Failure::new(Problem::Credentials, "401");
    image.observe(&paused, Observation::Failed { step: "HEAD".to_owned(), about: About::Image, failure }, START);
    let Next::WaitUntil(until, Waiting::Paused(reason)) = image.next(&paused, START + seconds(1)) else { panic!() };
    assert!(until >= START + seconds(30 * 86_400) && reason.contains("expired"));
    image.observe(&paused, Observation::Held, until);
    model.now = until;
    assert_eq!(model.run(&mut image, &a_project()), Next::Done(None));
}

#[test]
fn a_drained_image_reads_every_blob_once() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    let mut image = wanted(&model);
    let project = Project { transfer: Transfer::Drain, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(model.most_transfers_of_a_blob(), 1);
}

#[test]
fn a_distribution_cache_is_verified_by_manifest_and_blobs_and_has_no_tags_to_wait_for() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    let mut image = wanted(&model);
    let project = Project { kind: HarborKind::Distribution, ..a_project() };
    assert_eq!(model.run(&mut image, &project), Next::Done(None));
    assert_eq!(image.phase(&project, model.now), Phase::Warm);
    assert_eq!(model.most_transfers_of_a_blob(), 1);
}

#[test]
fn what_was_written_down_and_read_again_goes_on_the_same_way() {
    let mut model = Model::index(&["linux/amd64", "linux/arm64"]);
    let project = Project { complete_index: true, ..a_project() };
    let mut image = wanted(&model);
    let mut restarts = 0;
    while let Next::Do(_) | Next::WaitUntil(..) = image.next(&project, model.now) {
        match image.next(&project, model.now) {
            Next::Do(steps) => model.carry_out(&mut image, &project, steps),
            Next::WaitUntil(until, _) => model.now = until,
            _ => unreachable!(),
        }
        let wants = std::mem::take(&mut image.wants);
        let stored = serde_json::to_vec(&image).unwrap();
        image = serde_json::from_slice(&stored).unwrap();
        image.set_wants(wants);
        restarts += 1;
    }
    assert!(restarts > 5);
    assert_eq!(image.phase(&project, model.now), Phase::Tagged);
    assert_eq!(model.most_transfers_of_a_blob(), 1);
}
