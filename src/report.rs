//! What people are told of a request: a log line for each image, warnings where they can act, and audit annotations.
//!
//! Nothing of the workload goes in but its kind, its name and its images: a Pod's environment holds secrets.

use std::collections::HashMap;

use harbor_warmer_protocol::{ImageState, Platforms};
use harbor_warmer_workload::{Decision, PolicySettings};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::handoff::{ANNOUNCED_MAX, Handed, LookUp};
use crate::legible::legible;
use crate::plan::{Plan, PlannedImage};
use crate::request::AdmissionRequest;

/// Kubernetes asks for warnings of at most 120 characters and may cut those above 256 (AdmissionResponse.warnings).
const WARNING_MAX: usize = 120;
/// Nobody reads more than these at once, and the API server caps all of them together at 4096 characters.
const WARNINGS_MAX: usize = 10;
/// How much of an image's name a warning shows at most, and at least where the reason needs the room: the reason is what
/// a person needs more, and its end is what is cut.
const WARNING_IMAGE_MAX: usize = 56;
const WARNING_IMAGE_MIN: usize = 24;
/// References have at most 730 characters, but what is no reference can be of any length.
const LOGGED_IMAGE_MAX: usize = 512;

/// What is said of one request.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) log: Vec<LogLine>,
    pub(crate) warnings: Vec<String>,
    pub(crate) audit: HashMap<String, String>,
}

/// A line of the policy server's structured log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    level: Level,
    message: String,
    fields: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Info,
    Warning,
    Error,
}

impl LogLine {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { level: Level::Error, message: legible(&message.into(), LOGGED_IMAGE_MAX), fields: Vec::new() }
    }
}

impl Serialize for LogLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        // The names that policy-evaluator's PolicyLogEntry reads; the rest becomes the line's data.
        map.serialize_entry(
            "level",
            match self.level {
                Level::Info => "info",
                Level::Warning => "warning",
                Level::Error => "error",
            },
        )?;
        map.serialize_entry("message", &self.message)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The outcomes that are counted, in the words of log and audit annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Announced and not looked up.
    Announced,
    /// Announced, and its platform manifests handed over.
    Resolved,
    /// The warmer won't have it.
    Refused,
    /// Should have been handed over, but wasn't.
    Failed,
    /// Not to be handed over.
    Ignored,
    /// Would have been handed over.
    DryRun,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Resolved => "resolved",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
            Self::DryRun => "dry-run",
        }
    }
}

/// What is said of one image.
struct Verdict {
    outcome: Outcome,
    reason: Option<String>,
    /// Whether the person who applied the workload, or whoever they ask, can do something about it.
    actionable: bool,
}

impl Verdict {
    fn quiet(outcome: Outcome, reason: impl Into<Option<String>>) -> Self {
        Self { outcome, reason: reason.into(), actionable: false }
    }

    fn loud(outcome: Outcome, reason: String) -> Self {
        Self { outcome, reason: Some(reason), actionable: true }
    }

    fn of(image: &PlannedImage, handed: Option<&Handed>) -> Self {
        match (&image.decision, handed) {
            (Decision::HandOver { hand_off, .. }, Some(handed)) => Self::of_handed(handed, &hand_off.platforms),
            (Decision::HandOver { .. }, None) => Self::quiet(Outcome::Failed, None),
            (Decision::TooLong(_) | Decision::Unreadable(_) | Decision::Unmappable(_), _) => {
                Self::loud(Outcome::Failed, image.decision.to_string())
            }
            (
                Decision::LeftUnread(_)
                | Decision::Unmatched
                | Decision::Excluded(_)
                | Decision::OptedOut
                | Decision::Unpulled(_)
                | Decision::NoPlatform(_),
                _,
            ) => Self::quiet(Outcome::Ignored, image.decision.to_string()),
        }
    }

    fn of_handed(handed: &Handed, wanted: &Platforms) -> Self {
        match handed {
            Handed::DryRun => Self::quiet(Outcome::DryRun, None),
            Handed::NotTried => Self::quiet(Outcome::Failed, "given up after the calls before it failed".to_owned()),
            Handed::BeyondLimit => {
                Self::quiet(Outcome::Failed, format!("one request announces at most {ANNOUNCED_MAX} images"))
            }
            // Told once for all of them.
            Handed::Failed(error) => Self::quiet(Outcome::Failed, error.to_string()),
            Handed::NoReceipt(error) => Self::loud(Outcome::Failed, error.to_string()),
            Handed::Announced(receipt, look_up) => {
                let reason = receipt.reason.as_deref().map(|reason| legible(reason, WARNING_MAX));
                match receipt.state {
                    ImageState::Refused => {
                        let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                        Self::loud(Outcome::Refused, format!("refused by the warmer: {reason}"))
                    }
                    ImageState::Failed => {
                        let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                        Self::loud(Outcome::Announced, format!("could not be warmed before: {reason}"))
                    }
                    ImageState::New | ImageState::Queued | ImageState::Warming | ImageState::Warm => {
                        Self::of_look_up(look_up, wanted)
                    }
                }
            }
        }
    }

    fn of_look_up(look_up: &LookUp, wanted: &Platforms) -> Self {
        match look_up {
            LookUp::NotAsked => Self::quiet(Outcome::Announced, None),
            LookUp::BeyondLimit => Self::quiet(Outcome::Announced, "beyond maxImages, not looked up".to_owned()),
            LookUp::Unfinished => Self::quiet(Outcome::Announced, "its look-up has not ended".to_owned()),
            LookUp::Failed(error) => Self::quiet(Outcome::Announced, format!("the look-up failed: {error}")),
            LookUp::TooLong(error) => Self::quiet(Outcome::Announced, format!("not looked up: {error}")),
            LookUp::Unexpected(reason) => Self::quiet(Outcome::Announced, format!("not looked up: {reason}")),
            LookUp::NoSuchTag => Self::loud(Outcome::Announced, "Harbor's upstream has no such tag".to_owned()),
            LookUp::NoSuchPlatform(offered) => Self::loud(
                Outcome::Announced,
                format!("nothing in it for {}, only {}", list(wanted), offered.join(", ")),
            ),
            LookUp::HandedOver(_) => Self::quiet(Outcome::Resolved, None),
        }
    }
}

fn list(platforms: &Platforms) -> String {
    let platforms: Vec<_> = platforms.iter().map(ToString::to_string).collect();
    platforms.join(", ")
}

impl Report {
    /// The report of a request that could not be looked at.
    pub(crate) fn of_failure(line: LogLine) -> Self {
        Self { log: vec![line], ..Self::default() }
    }

    /// What is said of each image and of the whole. Of the log only the lines that `told`, which holds those of the same
    /// images some calls ago, hasn't: they have been written already.
    pub(crate) fn new(
        request: &AdmissionRequest<'_>,
        settings: &PolicySettings,
        plan: &Plan,
        handed: &[Option<Handed>],
        told: &[LogLine],
    ) -> Self {
        let log = log_lines(request, plan, handed);
        let log = log.into_iter().enumerate().filter(|(index, line)| told.get(*index) != Some(line));
        let log = log.map(|(_, line)| line).collect();
        let verdicts: Vec<_> = verdicts(plan, handed).collect();
        let audit = audit(plan, verdicts.iter().map(|(_, _, verdict)| verdict.outcome));
        let mut warnings = Vec::new();
        if settings.warnings && !plan.controlled {
            warnings.extend(shared_warnings(plan, handed, settings));
            let own = verdicts.iter().filter(|(_, _, verdict)| verdict.actionable);
            warnings.extend(own.map(|(image, _, verdict)| {
                let reason = verdict.reason.as_deref().unwrap_or_default();
                let room = WARNING_MAX.saturating_sub(WARNING_START.len() + 2 + reason.chars().count());
                let name = legible(&image.name, room.clamp(WARNING_IMAGE_MIN, WARNING_IMAGE_MAX));
                warning(&format!("{name}: {reason}"))
            }));
        }
        if warnings.len() > WARNINGS_MAX {
            let more = warnings.len() - (WARNINGS_MAX - 1);
            warnings.truncate(WARNINGS_MAX - 1);
            warnings.push(warning(&format!("{more} more of these are in the policy server's log")));
        }
        Self { log, warnings, audit }
    }
}

fn verdicts<'r>(
    plan: &'r Plan,
    handed: &'r [Option<Handed>],
) -> impl Iterator<Item = (&'r PlannedImage, Option<&'r Handed>, Verdict)> {
    let images = plan.images.iter().zip(handed);
    images.map(|(image, handed)| (image, handed.as_ref(), Verdict::of(image, handed.as_ref())))
}

/// What is to be logged of each image, as far as it has come.
pub(crate) fn log_lines(request: &AdmissionRequest<'_>, plan: &Plan, handed: &[Option<Handed>]) -> Vec<LogLine> {
    let mut lines: Vec<_> =
        verdicts(plan, handed).map(|(image, handed, verdict)| log_line(request, image, handed, &verdict)).collect();
    if !plan.unfound.is_empty() {
        let places = plan.unfound.join(", ");
        let message = format!("{} {}: no pod spec or image at {places}", request.kind, request.name);
        let mut fields = workload_fields(request);
        fields.push(("reason", legible(&places, LOGGED_IMAGE_MAX)));
        lines.push(LogLine { level: Level::Info, message: legible(&message, LOGGED_IMAGE_MAX), fields });
    }
    lines
}

/// What is true of several images at once is told once.
fn shared_warnings(plan: &Plan, handed: &[Option<Handed>], settings: &PolicySettings) -> Vec<String> {
    let mut warnings = Vec::new();
    let failures = || handed.iter().flatten().filter(|handed| matches!(handed, Handed::Failed(_) | Handed::NotTried));
    let mut errors = failures().filter_map(|handed| match handed {
        Handed::Failed(error) => Some(error),
        _ => None,
    });
    if let Some(error) = errors.next_back() {
        let images = count(failures().count(), "image was", "images were");
        warnings.push(warning(&format!("{images} not handed to the warmer: {error}")));
    }
    let beyond = handed.iter().flatten().filter(|handed| matches!(handed, Handed::BeyondLimit)).count() + plan.unread;
    if beyond > 0 {
        let images = count(beyond, "image was", "images were");
        warnings.push(warning(&format!("{images} not announced; one request announces {ANNOUNCED_MAX}")));
    }
    let handed_over = handed.iter().flatten().count();
    let not_looked_up = |handed: &&Handed| matches!(handed, Handed::Announced(_, LookUp::BeyondLimit));
    let announced_only = handed.iter().flatten().filter(not_looked_up).count();
    if announced_only > 0 {
        let max = settings.max_images;
        warnings.push(warning(&format!(
            "{announced_only} of {handed_over} images were announced, but not looked up (maxImages is {max})"
        )));
    }
    let no_platform = plan.images.iter().find_map(|image| match &image.decision {
        Decision::NoPlatform(platforms) => Some(platforms),
        _ => None,
    });
    if let Some(platforms) = no_platform {
        warnings.push(warning(&format!("nothing is warmed: the node selection allows none of {}", list(platforms))));
    }
    warnings
}

fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

const WARNING_START: &str = "harbor-warmer: ";

fn warning(text: &str) -> String {
    let full = format!("{WARNING_START}{text}");
    if full.chars().count() <= WARNING_MAX {
        return legible(&full, WARNING_MAX);
    }
    let cut: String = full.chars().take(WARNING_MAX - 3).collect();
    legible(&format!("{cut}..."), WARNING_MAX)
}

fn workload_fields(request: &AdmissionRequest<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("request.uid", legible(request.uid, 64)),
        ("workload.kind", legible(request.kind, 64)),
        ("workload.namespace", legible(request.namespace, 64)),
        ("workload.name", legible(request.name, 256)),
    ]
}

fn log_line(
    request: &AdmissionRequest<'_>,
    image: &PlannedImage,
    handed: Option<&Handed>,
    verdict: &Verdict,
) -> LogLine {
    let name = legible(&image.name, LOGGED_IMAGE_MAX);
    let mut fields = vec![("outcome", verdict.outcome.word().to_owned())];
    fields.extend(workload_fields(request));
    fields.extend(verdict.reason.clone().map(|reason| ("reason", reason)));
    if let Decision::HandOver { hand_off, .. } = &image.decision {
        fields.push(("image.repository", hand_off.image.to_string()));
        fields.push(("image.platforms", list(&hand_off.platforms)));
    }
    if let Some(Handed::Announced(receipt, look_up)) = handed {
        fields.push(("image.state", receipt.state.to_string()));
        fields.extend(receipt.image.as_deref().map(|id| ("image.id", legible(id, 64))));
        if let LookUp::HandedOver(children) = look_up {
            fields.push(("image.manifests", children.to_string()));
        }
    }
    let mut message = format!("{name}: {}", verdict.outcome.word());
    if let Some(reason) = &verdict.reason {
        message.push_str(", ");
        message.push_str(reason);
    }
    fields.push(("image.name", name));
    let level = match verdict.outcome {
        Outcome::Failed | Outcome::Refused => Level::Warning,
        Outcome::Announced | Outcome::Resolved | Outcome::Ignored | Outcome::DryRun if verdict.actionable => {
            Level::Warning
        }
        Outcome::Announced | Outcome::Resolved | Outcome::Ignored | Outcome::DryRun => Level::Info,
    };
    LogLine { level, message, fields }
}

/// How many images ended how. A request without images has no annotations, unless some should have been there.
fn audit(plan: &Plan, outcomes: impl Iterator<Item = Outcome>) -> HashMap<String, String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    // Those beyond the bound were not looked at one by one, but nobody is to think that they are warmed.
    for outcome in outcomes.chain(std::iter::repeat_n(Outcome::Failed, plan.unread)) {
        *counts.entry("images").or_default() += 1;
        *counts.entry(outcome.word()).or_default() += 1;
    }
    let mut audit: HashMap<_, _> =
        counts.into_iter().map(|(name, count)| (name.to_owned(), count.to_string())).collect();
    if !plan.unfound.is_empty() {
        audit.insert("not-found".to_owned(), legible(&plan.unfound.join(" "), LOGGED_IMAGE_MAX));
    }
    audit
}

#[cfg(test)]
mod tests;
