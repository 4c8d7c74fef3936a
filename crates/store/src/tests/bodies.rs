//! The formats that bodies were ever stored in. A fixture that a release has written is never changed: a format that
//! differs gets one of its own, and the old one stays in the list.

use rstest::rstest;
use rusqlite::types::{FromSql, ToSql, ToSqlOutput, Value, ValueRef};

use super::*;
use crate::body::Sql;
use harbor_warmer_core::image::TagStatus;

const IMAGE_V1: &str = include_str!("../fixtures/image-v1.json");
const ANNOUNCEMENT_V1: &str = include_str!("../fixtures/announcement-v1.json");
const WANT_V1: &str = include_str!("../fixtures/want-v1.json");
const PINNED_WANT_V1: &str = include_str!("../fixtures/want-v1-pinned.json");

fn parse<T: FromSql>(fixture: &str) -> T {
    T::column_result(ValueRef::Blob(fixture.as_bytes())).unwrap_or_else(|error| panic!("{error}: {fixture}"))
}

fn print(body: &impl ToSql) -> serde_json::Value {
    let ToSqlOutput::Owned(Value::Blob(bytes)) = body.to_sql().unwrap() else { panic!("bodies are stored as blobs") };
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn an_image_of_the_first_format_means_what_it_meant() {
    let Unit::Image(mut image) = parse(IMAGE_V1) else { panic!("not an image") };
    image.set_wants(vec![parse::<Sql<Want>>(WANT_V1).0]);
    assert_eq!((image.place.clone(), image.root), (place("library/app"), digest(1)));
    assert_eq!(image.phase(&project(), at(100)), Phase::Tagged);
    assert_eq!(image.tag_status(&tag("1.0"), &project(), at(100)), TagStatus::Recorded);
    assert_eq!(image.last_error(), Some("Harbor answered 502"));
}

#[test]
fn an_announcement_of_the_first_format_means_what_it_meant() {
    let Unit::Announcement(announcement) = parse(ANNOUNCEMENT_V1) else { panic!("not an announcement") };
    assert_eq!((&announcement.place, &announcement.tag), (&place("library/app"), &tag("1.0")));
    assert_eq!(announcement.resolved, Some(resolved(1, at(2))));
}

#[test]
fn what_is_written_today_is_the_newest_format() {
    for fixture in [IMAGE_V1, ANNOUNCEMENT_V1] {
        assert_eq!(print(&parse::<Unit>(fixture)), serde_json::from_str::<serde_json::Value>(fixture).unwrap());
    }
    for fixture in [WANT_V1, PINNED_WANT_V1] {
        assert_eq!(
            print(&Sql(&parse::<Sql<Want>>(fixture).0)),
            serde_json::from_str::<serde_json::Value>(fixture).unwrap()
        );
    }
}

#[rstest]
#[case::a_newer_version(br#"{"v2":{"image":{}}}"#, "unknown variant `v2`, expected `v1`")]
#[case::a_unit_of_another_kind(br#"{"v1":{"chart":{}}}"#, "unknown variant `chart`")]
#[case::half_of_one(br#"{"v1":{"image":{"place""#, "EOF")]
#[case::nothing(b"", "EOF")]
fn what_is_no_body_says_why(#[case] bytes: &[u8], #[case] why: &str) {
    let error = Unit::column_result(ValueRef::Blob(bytes)).unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
}
