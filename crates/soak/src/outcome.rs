//! What a soak came to: the truth as Harbor has it, beside what was owed and what the warmer says.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use harbor_warmer_core::view::{ImageSummary, Phase};
use harbor_warmer_simulator::UpstreamStats;

use crate::ledger::{Ledger, Owed, Published};
use crate::site::Harbors;

/// The most upstream bytes for each byte that is needed.
pub const MOST_BYTES: f64 = 1.05;

/// How long Harbor answers for an index that it read, and so records no tag of it that comes later.
const INDEX_REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How long after an index was read a restart of Harbor's core loses its tag: Harbor waits 400 s for the children, and
/// the tag's window ends after 600 s.
const RESTART_LOSES_TAG_FOR: Duration = Duration::from_secs(600);

/// The numbers, and what is wrong with them.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is told in the table, in its order.
    pub rows: Vec<(&'static str, String)>,
    /// A line for each broken promise.
    pub failures: Vec<String>,
}

/// What was counted on the way.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Admissions played.
    pub admissions: usize,
    /// Of these, with a look-up through the front.
    pub looked_up: usize,
    /// Of these, answered to the end.
    pub handed_over: usize,
    /// Restarts of Harbor's core.
    pub restarts: Vec<Duration>,
    /// Artifacts that the retention deleted.
    pub retired: usize,
    /// Blobs that the garbage collection deleted.
    pub collected: usize,
    /// Requests to Harbor that failed on purpose.
    pub failed_requests: u64,
}

/// Why Harbor can't have recorded a tag, whatever the warmer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unrecordable {
    /// Harbor had read the index before the tag was first asked for, less than seven days ago.
    CameLate,
    /// Harbor's core restarted between reading the index and recording it.
    Restarted,
}

impl Outcome {
    /// Judges.
    pub fn judge(ledger: &Ledger, harbors: &Harbors, said: &[ImageSummary], counts: &Counts, now: Duration) -> Self {
        let mut outcome = Self::default();
        let owed = ledger.owed(now);
        let (mut warm, mut tagged, mut tags) = (0, 0, 0);
        let mut unrecordable: BTreeMap<Unrecordable, usize> = BTreeMap::new();
        for one in &owed {
            let name = name_of(one);
            let missing = missing_from(harbors, one);
            if missing.is_empty() {
                warm += 1;
            } else {
                outcome.failures.push(format!("{name} is not warm: Harbor lacks {}", missing.join(", ")));
            }
            let Some((tag, first_asked)) = &one.tag else { continue };
            tags += 1;
            if is_tagged(harbors, one, tag) {
                tagged += 1;
            } else if let Some(why) = unrecordable_because(harbors, one, *first_asked, &counts.restarts, now) {
                *unrecordable.entry(why).or_default() += 1;
            } else {
                outcome.failures.push(format!("{name} is not tagged"));
            }
        }
        for image in said.iter().filter(|image| image.phase == Phase::Failed) {
            let reason = image.reason.as_deref().unwrap_or_default();
            let root = image.root.map(|root| root.to_string()).unwrap_or_default();
            outcome.failures.push(format!("{} ({root}) is a dead letter: {reason}", image.place));
        }
        outcome.disprove(&owed, harbors, said);
        let (stats, aside) = (harbors.main.upstream_stats(), harbors.aside.upstream_stats());
        let ratio_aside = ratio(aside.bytes(), ledger.needed_aside);
        let ratio = ratio(stats.bytes(), ledger.needed_bytes);
        for (harbor, ratio) in [("first", ratio), ("second", ratio_aside)] {
            if ratio > MOST_BYTES {
                let seen = format!("{ratio:.4} upstream bytes of the {harbor} Harbor for each that is needed");
                outcome.failures.push(seen);
            }
        }
        outcome.tell(owed.len(), warm, tags, tagged, &unrecordable, counts);
        outcome.tell_bytes(ledger, &stats, ratio);
        let needed = megabytes(ledger.needed_aside);
        let seen = format!("{} of {needed} needed, {ratio_aside:.4}", megabytes(aside.bytes()));
        outcome.rows.push(("bytes from the second Harbor's upstream", seen));
        outcome
    }

    /// Whether everything that was promised is so.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// What the warmer says of an owed image has to be so.
    fn disprove(&mut self, owed: &[Owed], harbors: &Harbors, said: &[ImageSummary]) {
        for one in owed {
            let Published { project, image } = &one.published;
            let claim = said.iter().find(|said| {
                said.place.project.as_str() == *project
                    && said.place.repository.as_str() == image.repository
                    && said.root.is_some_and(|root| root.to_string() == *image.digest)
            });
            match claim {
                None => {
                    let known = said.iter().filter(|said| said.place.repository.as_str() == image.repository);
                    let known: Vec<_> = known.map(in_short).collect();
                    let known = known.join("; ");
                    self.failures.push(format!("the warmer does not know {}; it knows {known}", name_of(one)));
                }
                Some(said) if said.phase >= Phase::Warm && said.phase != Phase::Failed => {
                    if !missing_from(harbors, one).is_empty() {
                        self.failures.push(format!("the warmer says that {} is {:?}", name_of(one), said.phase));
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn tell(
        &mut self,
        owed: usize,
        warm: usize,
        tags: usize,
        tagged: usize,
        unrecordable: &BTreeMap<Unrecordable, usize>,
        counts: &Counts,
    ) {
        let Counts { admissions, looked_up, handed_over, restarts, retired, collected, failed_requests } = counts;
        self.rows.extend([
            ("admissions", format!("{admissions}, {looked_up} with a look-up, {handed_over} of them answered")),
            ("requests to Harbor that failed on purpose", failed_requests.to_string()),
            ("restarts of Harbor's core", restarts.len().to_string()),
            ("dropped by retention and garbage collection", format!("{retired} artifacts, {collected} blobs")),
            ("owed at the end", format!("{owed}, and {tags} tags")),
            ("warm", format!("{warm} of {owed}")),
            ("tagged", format!("{tagged} of {tags}")),
        ]);
        for (why, count) in unrecordable {
            self.rows.push((why.label(), count.to_string()));
        }
    }

    fn tell_bytes(&mut self, ledger: &Ledger, stats: &UpstreamStats, ratio: f64) {
        self.rows.extend([
            ("bytes needed", megabytes(ledger.needed_bytes)),
            ("of these, needed again after seven days", megabytes(ledger.needed_again_bytes)),
            ("bytes from the upstream", megabytes(stats.bytes())),
            ("of these, copied into Harbor", megabytes(stats.copied_bytes)),
            ("for each that is needed", format!("{ratio:.4} (at most {MOST_BYTES})")),
        ]);
    }
}

impl Unrecordable {
    fn label(self) -> &'static str {
        match self {
            Self::CameLate => "not recordable by Harbor: the tag came after its index",
            Self::Restarted => "not recordable by Harbor: its core restarted meanwhile",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
        for (what, seen) in &self.rows {
            writeln!(f, "{what:width$}  {seen}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

/// So many of the owed images are there.
pub fn warm_now(ledger: &Ledger, harbors: &Harbors, now: Duration) -> (usize, usize) {
    let owed = ledger.owed(now);
    (owed.iter().filter(|one| missing_from(harbors, one).is_empty()).count(), owed.len())
}

/// One number by another.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
pub fn ratio(bytes: u64, needed: u64) -> f64 {
    bytes as f64 / needed.max(1) as f64
}

/// In millions.
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

/// What the warmer says of an image.
fn in_short(said: &ImageSummary) -> String {
    let ImageSummary { id, phase, tags, root, last_asked, reason, .. } = said;
    let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
    let root = root.map(|root| root.to_string()).unwrap_or_default();
    let reason = reason.as_deref().unwrap_or_default();
    format!("{id} {} {root:.15} {phase:?}, asked for last at {last_asked} {reason}", tags.join(","))
}

fn name_of(one: &Owed) -> String {
    let Published { project, image } = &one.published;
    match &one.tag {
        Some((tag, _)) => format!("{project}/{}:{tag} ({})", image.repository, &image.digest[..15]),
        None => format!("{project}/{}@{}", image.repository, &image.digest[..15]),
    }
}

fn missing_from(harbors: &Harbors, one: &Owed) -> Vec<String> {
    let Published { project, image } = &one.published;
    let harbor = harbors.of(project);
    let mut missing = Vec::new();
    for child in one.published.required(&one.platforms) {
        if !harbor.artifact_recorded(project, &image.repository, &child.digest) {
            missing.push(format!("the artifact of {}", child.platform));
        }
        let absent = |(blob, _): &(harbor_warmer_simulator::Digest, u64)| {
            !harbor.blob_is_local(project, &image.repository, blob)
        };
        let absent = child.blobs().filter(absent).count();
        if absent > 0 {
            missing.push(format!("{absent} blobs of {}", child.platform));
        }
    }
    missing
}

fn is_tagged(harbors: &Harbors, one: &Owed, tag: &str) -> bool {
    let Published { project, image } = &one.published;
    let harbor = harbors.of(project);
    let Some(recorded) = harbor.tag(project, &image.repository, tag) else { return false };
    let children = harbor.recorded_index_children(project, &image.repository, &recorded).unwrap_or_default();
    recorded == image.digest || one.published.required(&one.platforms).iter().all(|it| children.contains(&it.digest))
}

fn unrecordable_because(
    harbors: &Harbors,
    one: &Owed,
    first_asked: Duration,
    restarts: &[Duration],
    now: Duration,
) -> Option<Unrecordable> {
    let Published { project, image } = &one.published;
    let key = format!("cache:manifestlist:{project}/{}:{}", image.repository, image.digest);
    let expires = harbors.of(project).redis_key_expires(&key).filter(|expires| *expires > now)?;
    let opened = expires.saturating_sub(INDEX_REMEMBERED);
    if restarts.iter().any(|at| (opened..opened + RESTART_LOSES_TAG_FOR).contains(at)) {
        return Some(Unrecordable::Restarted);
    }
    (first_asked > opened).then_some(Unrecordable::CameLate)
}
