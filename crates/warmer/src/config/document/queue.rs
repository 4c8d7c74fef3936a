//! `queue`.

use std::time::Duration;

use harbor_warmer_settings::{Absent, Count, Group, Nested, Setting, Span};

use super::section::{Reading, Section};
use crate::config::Queue;

pub(super) static QUEUE: Setting<Nested> = Setting {
    key: "queue",
    absent: Absent::Depends("as its keys say"),
    meaning: "The queue and its workers.",
    example: "",
    kind: Nested { group: &QUEUE_SETTINGS },
};

static QUEUE_SETTINGS: Group = Group {
    name: "queue",
    heading: "`queue`",
    settings: &[
        &WORKERS,
        &LEASE,
        &RECHECK_AFTER,
        &GIVE_UP_AFTER,
        &MISSING_TAG_FOR,
        &REPLICATE_AGAIN_AFTER,
        &FORGET_AFTER,
        &MOST_UNFINISHED,
    ],
    together: "",
};

static WORKERS: Setting<Count> = Setting {
    key: "workers",
    absent: Absent::Default,
    meaning: "Images worked on at once at each Harbor. One that waits is not worked on.",
    example: "64",
    kind: Count { default: 32, bounds: 1..=256 },
};

static LEASE: Setting<Span> = Setting {
    key: "lease",
    absent: Absent::Default,
    meaning: "An image whose worker ended without a word is taken up again after this. What was in hand when the process died, 5 s after the next start.",
    example: "30s",
    kind: Span { default: Duration::from_secs(60), bounds: Duration::from_secs(5)..=HOUR },
};

static RECHECK_AFTER: Setting<Span> = Setting {
    key: "recheckAfter",
    absent: Absent::Default,
    meaning: "A warm tag is looked at again when somebody asks for it after this: tags move.",
    example: "1h",
    kind: Span { default: Duration::from_secs(600), bounds: Duration::from_secs(10)..=days(7) },
};

static GIVE_UP_AFTER: Setting<Span> = Setting {
    key: "giveUpAfter",
    absent: Absent::Default,
    meaning: "An image that keeps failing is given up after this. What heals by itself (a Harbor that is down, refused \
              credentials, a full quota) doesn't count.",
    example: "6h",
    kind: Span { default: days(1), bounds: Duration::from_secs(60)..=days(30) },
};

static MISSING_TAG_FOR: Setting<Span> = Setting {
    key: "missingTagFor",
    absent: Absent::Default,
    meaning: "A tag that its upstream doesn't have is asked for during this time, from every 30 s to every 10 min: it \
              may be pushed any moment, and a kubelet that retries causes no admission.",
    example: "2h",
    kind: Span { default: days(1), bounds: Duration::ZERO..=days(7) },
};

static REPLICATE_AGAIN_AFTER: Setting<Span> = Setting {
    key: "replicateAgainAfter",
    absent: Absent::Default,
    meaning: "A replicated tag is replicated again when somebody asks for it after this, since a lifecycle rule at the \
              target may have deleted it. Harbor skips what is still there.",
    example: "7d",
    kind: Span { default: days(1), bounds: HOUR..=days(3_650) },
};

static FORGET_AFTER: Setting<Span> = Setting {
    key: "forgetAfter",
    absent: Absent::Default,
    meaning: "An image that nobody asked for during this time is forgotten. Not shorter than `giveUpAfter`.",
    example: "90d",
    kind: Span { default: days(30), bounds: HOUR..=days(3_650) },
};

static MOST_UNFINISHED: Setting<Count> = Setting {
    key: "maxUnfinishedPerCluster",
    absent: Absent::Default,
    meaning: "Images and tags of one cluster that are handed over and not finished, at most. What is new beyond is \
              refused, and the receipt says so: what a cluster asks for in vain fills the disk of all.",
    example: "20000",
    kind: Count { default: 100_000, bounds: 100..=10_000_000 },
};

const HOUR: Duration = Duration::from_secs(3_600);

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

pub(super) fn read_queue(top: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Queue> {
    let mut section = top.nested_or_empty(&QUEUE, reading)?;
    let queue = Queue {
        workers: section.count(&WORKERS, reading),
        lease: section.duration(&LEASE, reading),
        recheck_after: section.duration(&RECHECK_AFTER, reading),
        give_up_after: section.duration(&GIVE_UP_AFTER, reading),
        missing_tag_for: section.duration(&MISSING_TAG_FOR, reading),
        replicate_again_after: section.duration(&REPLICATE_AGAIN_AFTER, reading),
        forget_after: section.duration(&FORGET_AFTER, reading),
        most_unfinished: section.count(&MOST_UNFINISHED, reading),
    };
    if queue.forget_after < queue.give_up_after {
        let message = "must not be shorter than giveUpAfter: an image would be forgotten while it is worked on";
        section.mistake(&FORGET_AFTER, message, reading);
    }
    section.finish(reading);
    Some(queue)
}
