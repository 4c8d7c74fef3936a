//! A tag that was announced and whose digest isn't known yet, or may have changed.
//!
//! Pure, like [`crate::image`]: it says when to ask Harbor for the tag, and what its answers mean. Once the tag is
//! resolved its wants belong to the image of that digest; the announcement stays and remembers which that was.

use std::time::Duration;

use harbor_warmer_protocol::{Digest, HarborImage, Tag};
use serde::{Deserialize, Serialize};

use crate::attempts::Attempts;
use crate::image::{DeadReason, HURRIED_EVERY, Waiting, Want};
use crate::problem::{Failure, Problem};
use crate::project::Project;
use crate::requests::Requests;
use crate::timestamp::Timestamp;
use crate::view::{MilestoneView, StuckView};

/// An announced tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// Where it lives.
    pub place: HarborImage,
    /// The tag.
    pub tag: Tag,
    /// What it meant when Harbor was last asked, and when that was.
    pub resolved: Option<Resolved>,
    /// Since when the upstream says that there is no such tag.
    missing_since: Option<Timestamp>,
    /// When the upstream last said so.
    missing_seen: Option<Timestamp>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given_up: Option<DeadReason>,
    /// When somebody who asked for it last made it be tried at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hurried: Option<Timestamp>,
    /// The requests that were made for it lately.
    #[serde(default, skip_serializing_if = "Requests::is_empty")]
    requests: Requests,
    /// Failures to find out.
    pub attempts: Attempts,
    /// Who asked for it and waits for the answer.
    #[serde(skip)]
    pub wants: Vec<Want>,
}

/// What a tag meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The digest of an index or of a single manifest.
    pub root: Digest,
    /// When Harbor said so: from there it tries for 600 s to attach the tag.
    pub at: Timestamp,
}

/// What to do with an announcement.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// HEAD the tag, and tell a missing tag from a silent upstream.
    HeadTag,
    /// Nothing until then; the reason in a sentence.
    WaitUntil(Timestamp, String),
    /// Its wants go to the image of this digest.
    Resolved(Resolved),
    /// Given up.
    Dead(DeadReason),
    /// Nobody waits for it.
    Idle,
}

/// What was seen of the tag.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Harbor answered for the tag with this digest.
    Headed(Digest),
    /// The upstream answers, and says that there is no such tag.
    Missing,
    /// Something failed that may go better next time.
    Failed(Failure),
    /// Something failed because Harbor is in trouble: it waits longer and longer, and is never given up for it.
    Throttled(Failure),
    /// Work on the project stands still.
    Held,
}

impl Announcement {
    /// An announcement that nothing is known of.
    pub fn new(place: HarborImage, tag: Tag) -> Self {
        Self {
            place,
            tag,
            resolved: None,
            missing_since: None,
            missing_seen: None,
            given_up: None,
            hurried: None,
            requests: Requests::default(),
            attempts: Attempts::default(),
            wants: Vec::new(),
        }
    }

    /// It is asked for again: what it meant is looked up again, and failures are forgotten.
    pub fn reopen(&mut self) {
        self.resolved = None;
        self.missing_since = None;
        self.missing_seen = None;
        self.given_up = None;
        self.requests = Requests::default();
        self.attempts = self.attempts.reopened();
    }

    /// Somebody asks for it while it waits for the next try: it is tried at once, but not more often than once a minute,
    /// so that Pods that are created again and again don't undo the waits. Whether it is.
    pub fn hurry(&mut self, now: Timestamp) -> bool {
        if self.missing_since.is_none() && self.attempts.backing_off(now).is_none() {
            return false;
        }
        if self.hurried.is_some_and(|at| at <= now && now < at + HURRIED_EVERY) {
            return false;
        }
        self.hurried = Some(now);
        self.attempts.try_now();
        true
    }

    /// So many requests are about to be made for it.
    pub fn requests(&mut self, requests: usize, project: &Project, now: Timestamp) {
        self.requests.make(requests, &project.timers, now);
    }

    /// It is a dead letter for this.
    pub fn give_up(&mut self, reason: DeadReason) {
        self.given_up = Some(reason);
    }

    /// Takes in what was seen.
    pub fn observe(&mut self, observation: Observation, now: Timestamp) {
        match observation {
            Observation::Headed(root) => {
                self.resolved = Some(Resolved { root, at: now });
                self.missing_since = None;
                self.missing_seen = None;
                self.attempts.progressed();
            }
            Observation::Missing => {
                self.missing_since.get_or_insert(now);
                self.missing_seen = Some(now);
                self.attempts.progressed();
            }
            Observation::Failed(failure) => {
                let seed = self.seed();
                self.attempts.failed(&format!("HEAD tag {}", self.tag), failure, &seed, now);
            }
            Observation::Throttled(failure) => {
                let seed = self.seed();
                self.attempts.failed(&format!("HEAD tag {}", self.tag), failure, &seed, now);
                self.attempts.failing_since = None;
            }
            Observation::Held => self.attempts.failing_since = None,
        }
    }

    /// Says what to do now. `missing_tag_for` is how long a tag that the upstream doesn't have is asked for: somebody
    /// may be about to push it, and a kubelet that retries causes no admission.
    pub fn next(&self, project: &Project, missing_tag_for: Duration, now: Timestamp) -> Next {
        if let Some(resolved) = self.resolved {
            return Next::Resolved(resolved);
        }
        if self.wants.is_empty() {
            return Next::Idle;
        }
        if let Some(pause) = project.pause.as_ref().filter(|pause| now < pause.probe_at) {
            let spread = Duration::from_millis(u64::from(self.seed().as_bytes()[0]) * 8);
            return Next::WaitUntil(pause.probe_at + spread, format!("the project is paused: {}", pause.reason));
        }
        if let (Some(since), Some(seen)) = (self.missing_since, self.missing_seen) {
            // By the last look, not by the clock: the service may have stood still, and the tag come meanwhile.
            if seen.since(since) >= missing_tag_for {
                return Next::Dead(DeadReason::NoSuchTag);
            }
            // Asked for as often as a sixteenth of the time that it has been missing: soon after a push that is just
            // under way, rarely for a tag that nobody will push.
            let wait = (seen.since(since) / 16).clamp(FIRST_MISSING_RETRY, LONGEST_MISSING_RETRY).min(missing_tag_for);
            let due = project.timers.of(wait).max(Duration::from_millis(25));
            let hurries = self.hurried.is_some_and(|hurried| hurried > seen);
            if now < seen + due && !hurries {
                return Next::WaitUntil(seen + due, MISSING_YET.to_owned());
            }
            return Next::HeadTag;
        }
        if let Some(until) = self.requests.exceeded(0, &project.timers, now) {
            return Next::WaitUntil(until, Waiting::SetAside.to_string());
        }
        if self.attempts.exhausted(project.give_up_after) {
            return Next::Dead(DeadReason::gave_up(&self.attempts));
        }
        if let Some(retry_at) = self.attempts.retry_at.filter(|at| now < *at) {
            let error = self.attempts.last_error().unwrap_or_default();
            return Next::WaitUntil(retry_at, format!("tries again: {error}"));
        }
        Next::HeadTag
    }

    /// What it waits for, or why it goes no further; none where its next step is due. `dead` is why it was given up.
    pub fn stuck(&self, dead: Option<&str>, project: &Project, now: Timestamp) -> Option<StuckView> {
        let stuck = |problem, cause: &str| {
            Some(StuckView::new(format!("ask for the tag {}", self.tag), problem, cause.to_owned()))
        };
        let last = self.attempts.last.back();
        let kind = last.and_then(|last| last.problem).unwrap_or(Problem::Unknown);
        match (dead, &project.pause) {
            (Some(reason), _) if self.given_up.is_some() => {
                stuck(self.given_up.as_ref().map_or(kind, DeadReason::problem), reason)
            }
            // Given up by a version that took no note of the kind.
            (Some(reason), _) if self.is_missing() => stuck(Problem::MissingTag, reason),
            (Some(reason), _) => stuck(kind, reason),
            (None, Some(pause)) => stuck(pause.problem, &format!("work on the project stands still: {}", pause.reason)),
            (None, None) if self.is_missing() => stuck(Problem::MissingTag, MISSING_YET),
            (None, None) => last
                .filter(|_| self.attempts.retry_at.is_some_and(|at| now < at))
                .and_then(|last| stuck(kind, &last.error)),
        }
    }

    /// What it went through, oldest first.
    pub fn timeline(&self) -> Vec<MilestoneView> {
        let milestone = |at: Option<Timestamp>, what: &str| at.map(|at| MilestoneView { at, what: what.to_owned() });
        let asked = self.wants.iter().map(|want| want.first_asked).min();
        let missing = milestone(self.missing_since, "the upstream says that there is no such tag");
        milestone(asked, "handed off").into_iter().chain(missing).collect()
    }

    /// Whether the upstream said that there is no such tag.
    pub fn is_missing(&self) -> bool {
        self.missing_since.is_some()
    }

    /// Something fixed and evenly spread to draw waiting times from.
    fn seed(&self) -> Digest {
        use sha2::Digest as _;
        Digest::from_bytes(sha2::Sha256::digest(format!("{}:{}", self.place, self.tag)).into())
    }
}

const MISSING_YET: &str = "the upstream has no such tag (yet)";
const FIRST_MISSING_RETRY: Duration = Duration::from_secs(30);
const LONGEST_MISSING_RETRY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::{a_project, a_want};

    const START: Timestamp = Timestamp::from_millis(1_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn announced() -> Announcement {
        let place = HarborImage {
            harbor: "main".parse().unwrap(),
            project: "hub".parse().unwrap(),
            repository: "library/nginx".parse().unwrap(),
        };
        let mut announcement = Announcement::new(place, "1.27".parse().unwrap());
        announcement.wants.push(a_want(Some("1.27"), "linux/amd64", START));
        announcement
    }

    #[test]
    fn a_new_announcement_is_asked_for_at_once() {
        assert_eq!(announced().next(&a_project(), DAY, START), Next::HeadTag);
    }

    #[test]
    fn a_tag_that_the_upstream_does_not_have_is_asked_for_from_every_30_s_to_every_10_min_for_a_day() {
        let mut announcement = announced();
        let mut now = START;
        let mut asked = Vec::new();
        let dead = loop {
            match announcement.next(&a_project(), DAY, now) {
                Next::HeadTag => {
                    asked.push(now);
                    announcement.observe(Observation::Missing, now);
                }
                Next::WaitUntil(until, _) => now = until,
                other => break other,
            }
        };
        assert_eq!(dead, Next::Dead(DeadReason::NoSuchTag));
        assert!(now.since(START) >= DAY && now.since(START) < DAY + LONGEST_MISSING_RETRY);
        let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        assert_eq!(gaps[0], FIRST_MISSING_RETRY);
        assert_eq!(*gaps.last().unwrap(), LONGEST_MISSING_RETRY);
        assert!(gaps.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn a_missing_tag_is_asked_for_once_more_after_a_time_in_which_nobody_asked() {
        let mut announcement = announced();
        announcement.observe(Observation::Missing, START);
        let back = START + DAY * 3;
        assert_eq!(announcement.next(&a_project(), DAY, back), Next::HeadTag);
        announcement.observe(Observation::Missing, back);
        assert_eq!(announcement.next(&a_project(), DAY, back), Next::Dead(DeadReason::NoSuchTag));
    }

    #[test]
    fn a_missing_tag_that_is_pushed_at_last_is_resolved() {
        let mut announcement = announced();
        announcement.observe(Observation::Missing, START);
        announcement.observe(Observation::Headed(Digest::ZERO), START + DAY / 2);
        let resolved = Resolved { root: Digest::ZERO, at: START + DAY / 2 };
        assert_eq!(announcement.next(&a_project(), DAY, START + DAY / 2), Next::Resolved(resolved));
    }

    #[test]
    fn whoever_asks_again_makes_a_missing_tag_be_asked_for_at_once_but_not_more_often_than_once_a_minute() {
        let mut announcement = announced();
        announcement.observe(Observation::Missing, START);
        let later = START + Duration::from_secs(5);
        assert!(matches!(announcement.next(&a_project(), DAY, later), Next::WaitUntil(..)));
        assert!(announcement.hurry(later));
        assert_eq!(announcement.next(&a_project(), DAY, later), Next::HeadTag);
        announcement.observe(Observation::Missing, later);
        assert!(matches!(announcement.next(&a_project(), DAY, later), Next::WaitUntil(..)));
        assert!(!announcement.hurry(later + Duration::from_secs(59)));
        assert!(announcement.hurry(later + Duration::from_secs(60)));
    }

    #[test]
    fn it_tells_why_it_goes_no_further_and_nothing_once_its_next_step_is_due() {
        let kind = |announcement: &Announcement, dead: Option<&str>, now| {
            announcement.stuck(dead, &a_project(), now).map(|stuck| stuck.problem)
        };
        let mut missing = announced();
        missing.observe(Observation::Missing, START);
        assert_eq!(kind(&missing, None, START), Some(Problem::MissingTag));
        let dead = DeadReason::NoSuchTag.to_string();
        assert_eq!(kind(&missing, Some(&dead), START + DAY), Some(Problem::MissingTag));
        let crashed = DeadReason::Crashed.to_string();
        missing.give_up(DeadReason::Crashed);
        assert_eq!(kind(&missing, Some(&crashed), START + DAY), Some(Problem::Crashed));

        let mut failing = announced();
        failing.observe(Observation::Failed(Failure::new(Problem::ServerError, "502")), START);
        assert_eq!(kind(&failing, None, START), Some(Problem::ServerError));
        assert_eq!(kind(&failing, None, START + DAY), None);
    }

    #[test]
    fn a_paused_project_uses_up_no_time_of_an_announcement() {
        let mut announcement = announced();
        announcement.observe(Observation::Failed(Failure::new(Problem::ServerError, "502")), START);
        announcement.observe(Observation::Held, START + DAY);
        assert_eq!(announcement.next(&a_project(), DAY, START + DAY * 2), Next::HeadTag);
    }
}
