//! `queue`.

use std::time::Duration;

use super::section::{Reading, Section};
use crate::config::Queue;

pub(super) fn read_queue(top: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Queue> {
    let mut section = top.section_or_empty("queue", reading)?;
    let seconds = Duration::from_secs;
    let (hour, day) = (seconds(3_600), seconds(86_400));
    let queue = Queue {
        workers: section.count("workers", 32, 1..=256, reading),
        lease: section.duration("lease", seconds(60), seconds(5)..=hour, reading),
        recheck_after: section.duration("recheckAfter", seconds(600), seconds(10)..=7 * day, reading),
        give_up_after: section.duration("giveUpAfter", day, seconds(60)..=30 * day, reading),
        missing_tag_for: section.duration("missingTagFor", day, seconds(0)..=7 * day, reading),
        forget_after: section.duration("forgetAfter", 30 * day, hour..=3_650 * day, reading),
    };
    if queue.forget_after < queue.give_up_after {
        let message = "must not be shorter than giveUpAfter: an image would be forgotten while it is worked on";
        reading.mistake(section.path("forgetAfter"), message);
    }
    section.finish(reading);
    Some(queue)
}
