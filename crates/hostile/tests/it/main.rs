//! Every row of the list, played against the real service.

#![expect(clippy::unwrap_used, reason = "the helpers below the tests are tests as well")]

mod http;
mod random;
mod registry;
mod row;
mod rows;
mod site;

use row::play;

#[test]
fn answers_that_break_http_are_survived() {
    play(rows::framing::rows());
}

#[test]
fn a_registry_that_does_everything_right_is_warmed() {
    play(rows::right::rows());
}

#[test]
fn whatever_a_registry_answers_is_waited_for_or_told() {
    play(rows::statuses::rows());
}

#[test]
fn redirects_are_understood_and_carry_no_credentials() {
    play(rows::redirects::rows());
}

#[test]
fn tokens_and_challenges_of_all_kinds_are_borne() {
    play(rows::access::rows());
}

#[test]
fn manifests_of_all_shapes_are_warmed_or_told() {
    play(rows::manifests::rows());
}

#[test]
fn indexes_of_all_shapes_are_warmed_or_told() {
    play(rows::indexes::rows());
}

#[test]
fn blobs_are_believed_when_they_are_there() {
    play(rows::blobs::rows());
}

#[test]
fn whatever_is_drawn_ends_and_only_what_can_be_had_is_warm() {
    play(random::rows());
}
