//! `harbor-warmer status`.

use harbor_warmer_protocol::{ImageState, Tag};
use harbor_warmer_workload::Reference;

use super::admin_client::{AdminClient, AdminError};
use super::arguments::StatusArguments;
use super::units::{ago_text, bytes_text, count_text, short, span_text};
use super::{CommandError, Exit, Printed};
use crate::terminal::screen::{Screen, Tone};
use crate::terminal::table::{Cell, Column, Table};
use harbor_warmer::clock;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_core::view::{AttemptView, BlobView, ImageList, ImageSummary, ImageView, Phase, StuckView};

pub(super) async fn run(arguments: &StatusArguments, screen: &Screen) -> Result<Printed, CommandError> {
    let client = AdminClient::of(&arguments.service)?;
    let Some(wanted) = &arguments.image else {
        let list = client.images(arguments.phase, None, None, arguments.limit.into()).await?;
        return Ok(list_outcome(&list, arguments, screen)?);
    };
    match find(&client, wanted, arguments).await? {
        Found::One(view) => {
            let text = if arguments.json { json(&view)? } else { render_image(&view, clock::now(), screen) };
            Ok(Printed::new(text, Exit::Done))
        }
        Found::Several(list) => Ok(list_outcome(&list, arguments, screen)?),
        Found::None => Ok(Printed::new(format!("Nobody has asked for {wanted}.\n"), Exit::Failed)),
    }
}

enum Found {
    One(Box<ImageView>),
    Several(ImageList),
    None,
}

/// By id; then by part of its place in Harbor; then by the repository that it has as a reference. A whole reference, with
/// its tag or digest, means no image that has it as a part of its name.
async fn find(client: &AdminClient, wanted: &str, arguments: &StatusArguments) -> Result<Found, AdminError> {
    if let Some(view) = client.image(wanted).await? {
        return Ok(Found::One(Box::new(view)));
    }
    let limit = arguments.limit.into();
    let mut list = client.images(arguments.phase, Some(wanted), None, limit).await?;
    if let Ok(reference) = wanted.parse::<Reference>() {
        if list.images.is_empty() {
            list = client.images(arguments.phase, Some(reference.repository().as_str()), None, limit).await?;
            // A tag that nobody wrote is not looked for.
            if let Some(tag) = reference.tag().filter(|tag| is_written(tag, wanted)) {
                list.images.retain(|image| image.tags.contains(tag));
            }
        }
        let whole = |image: &ImageSummary| is_whole(image, &reference, wanted);
        if list.images.iter().any(whole) {
            list.images.retain(whole);
            list.next = None;
        }
    }
    match list.images.as_slice() {
        [] => Ok(Found::None),
        [one] if list.next.is_none() => {
            let view = client.image(&one.id).await?;
            Ok(view.map_or(Found::None, |view| Found::One(Box::new(view))))
        }
        _ => Ok(Found::Several(list)),
    }
}

fn is_written(tag: &Tag, wanted: &str) -> bool {
    wanted.ends_with(&format!(":{tag}"))
}

/// Whether a reference with a tag or a digest names this image and not only a part of its name: by its repository, or by
/// its whole place in Harbor.
fn is_whole(image: &ImageSummary, reference: &Reference, wanted: &str) -> bool {
    let name = wanted.split_once('@').map_or(wanted, |(name, _)| name);
    let tag = reference.tag().filter(|tag| is_written(tag, name));
    let place = image.place.to_string();
    let written = tag.and_then(|tag| name.strip_suffix(&format!(":{tag}"))).unwrap_or(name);
    let within = format!("{}/{}", image.place.project, image.place.repository);
    let is_place =
        [place.as_str(), within.as_str()].contains(&written) || image.place.repository == *reference.repository();
    let has = match (reference.digest(), tag) {
        (Some(digest), _) => image.root == Some(*digest),
        (None, Some(tag)) => image.tags.contains(tag),
        (None, None) => false,
    };
    is_place && has
}

fn list_outcome(list: &ImageList, arguments: &StatusArguments, screen: &Screen) -> Result<Printed, serde_json::Error> {
    let text = if arguments.json { json(list)? } else { render_list(list, clock::now(), screen) };
    Ok(Printed::new(text, Exit::Done))
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

/// The images as a table.
fn render_list(list: &ImageList, now: Timestamp, screen: &Screen) -> String {
    if list.images.is_empty() {
        return "No image.\n".to_owned();
    }
    let mut table = Table::new([
        ("ID", Column::Left),
        ("IMAGE", Column::ShrinkingImage),
        ("PHASE", Column::Left),
        ("BLOBS", Column::Right),
        ("SIZE", Column::Right),
        ("ASKED", Column::Right),
        ("REASON", Column::Shrinking),
    ]);
    for image in &list.images {
        table.row([
            Cell::from(image.id.clone()),
            Cell::from(name(image)),
            phase_cell(image.phase),
            Cell::from(blobs_text(image)),
            Cell::from(size_text(image)),
            Cell::from(ago_text(now.since(image.last_asked))),
            Cell::from(image.reason.clone().unwrap_or_default()),
        ]);
    }
    let mut text = table.render(screen, 0);
    if list.next.is_some() {
        let more = format!("The newest {}; --limit shows more.\n", count_text(list.images.len(), "image"));
        text.push_str(&screen.paint(&more, Tone::Faint));
    }
    text
}

/// Where it lives, with its tags, or the start of its digest where it has none.
fn name(image: &ImageSummary) -> String {
    let tags: Vec<_> = image.tags.iter().map(Tag::as_str).collect();
    match (tags.is_empty(), image.root) {
        (false, _) => format!("{}:{}", image.place, tags.join(",")),
        (true, Some(root)) => format!("{}@sha256:{}…", image.place, short(&root)),
        (true, None) => image.place.to_string(),
    }
}

fn phase_cell(phase: Phase) -> Cell {
    let text = phase.label();
    match phase {
        Phase::Warm | Phase::Tagged | Phase::Replicated => Cell::toned(text, Tone::Good),
        Phase::Failed => Cell::toned(text, Tone::Bad),
        Phase::Warming | Phase::Local => Cell::toned(text, Tone::Warning),
        Phase::Announced | Phase::Queued => Cell::from(text),
    }
}

pub(super) fn state_cell(state: ImageState) -> Cell {
    let text = state.to_string();
    match state {
        ImageState::Warm => Cell::toned(text, Tone::Good),
        ImageState::Failed | ImageState::Refused => Cell::toned(text, Tone::Bad),
        ImageState::New | ImageState::Queued | ImageState::Warming => Cell::from(text),
    }
}

fn blobs_text(image: &ImageSummary) -> String {
    if image.blobs_total == 0 { "-".to_owned() } else { format!("{}/{}", image.blobs_local, image.blobs_total) }
}

fn size_text(image: &ImageSummary) -> String {
    if image.blobs_total == 0 { "-".to_owned() } else { bytes_text(image.bytes_total) }
}

/// Everything about one image.
fn render_image(view: &ImageView, now: Timestamp, screen: &Screen) -> String {
    let summary = &view.summary;
    let mut text = format!("{}\n", screen.paint(&name(summary), Tone::Heading));
    text.push_str(&render_facts(view, now, screen));
    let mut section = |title: &str, body: String| {
        text.push_str(&format!("\n{}\n{body}", screen.paint(title, Tone::Heading)));
    };
    if !view.wants.is_empty() {
        section("Asked for by", render_wants(view, now, screen));
    }
    if !view.tag_records.is_empty() {
        section("Tags in Harbor", render_tags(view, now, screen));
    }
    if !view.manifests.is_empty() {
        section("Manifests", render_manifests(view, now, screen));
    }
    if !view.blobs.is_empty() {
        section("Blobs", render_blobs(&view.blobs, now, screen));
    }
    if !view.attempts.is_empty() {
        section("Attempts that failed", render_attempts(view, screen));
    }
    if !view.timeline.is_empty() || view.stuck.is_some() {
        section("Timeline", render_timeline(view, now, screen));
    }
    if let Some(stuck) = &view.stuck {
        text.push_str(&render_stuck(stuck, screen));
    }
    text
}

fn render_facts(view: &ImageView, now: Timestamp, screen: &Screen) -> String {
    let summary = &view.summary;
    let mut table = Table::new([("", Column::Left), ("", Column::Shrinking)]);
    let mut fact = |name: &str, value: Cell| table.row([Cell::toned(name, Tone::Faint), value]);
    fact("id", summary.id.clone().into());
    fact("digest", summary.root.map_or_else(|| "not resolved yet".to_owned(), |root| root.to_string()).into());
    fact("phase", phase_cell(summary.phase));
    if let Some(reason) = &summary.reason {
        let tone = if summary.phase == Phase::Failed { Tone::Bad } else { Tone::Warning };
        fact("reason", Cell::toned(reason.clone(), tone));
    }
    let blobs = match summary.blobs_total {
        0 => "not known yet".to_owned(),
        total => format!(
            "{} of {} in Harbor, {} of {}",
            summary.blobs_local,
            count_text(total, "blob"),
            bytes_text(summary.bytes_local),
            bytes_text(summary.bytes_total)
        ),
    };
    fact("content", blobs.into());
    let asked =
        format!("first {}, last {}", ago_text(now.since(summary.first_asked)), ago_text(now.since(summary.last_asked)));
    fact("asked for", asked.into());
    if summary.failures > 0 {
        fact("failures", format!("{} since it was last seen to move", summary.failures).into());
    }
    // A dead letter has no next step, and an image that is done only keeps warm.
    if summary.phase < Phase::Warm {
        let due = match summary.due.since(now) {
            wait if wait.as_secs() == 0 => "due".to_owned(),
            wait => format!("in {}", span_text(wait)),
        };
        fact("next step", due.into());
    }
    if let Some(until) = view.new_tags_blocked_until {
        fact("new tags", format!("none before {until}: Harbor has read this index").into());
    }
    // The facts have no headings: their line is the first, and empty.
    table.render(screen, 2).split_once('\n').map(|(_, facts)| facts.to_owned()).unwrap_or_default()
}

fn render_wants(view: &ImageView, now: Timestamp, screen: &Screen) -> String {
    let mut table = Table::new([
        ("CLUSTER", Column::Shrinking),
        ("TAG", Column::Shrinking),
        ("PLATFORMS", Column::Left),
        ("TARGET", Column::Left),
        ("LAST", Column::Right),
        ("STATE", Column::Left),
    ]);
    for want in &view.wants {
        let platforms: Vec<_> = want.platforms.iter().map(ToString::to_string).collect();
        table.row([
            Cell::from(want.cluster.clone()),
            Cell::from(want.tag.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)),
            Cell::from(platforms.join(",")),
            Cell::from(want.target.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)),
            Cell::from(ago_text(now.since(want.last_asked))),
            state_cell(want.state),
        ]);
    }
    table.render(screen, 2)
}

fn render_tags(view: &ImageView, now: Timestamp, screen: &Screen) -> String {
    let mut table = Table::new([("TAG", Column::Shrinking), ("RECORDED", Column::Left), ("", Column::Shrinking)]);
    for tag in &view.tag_records {
        let recorded = match tag.recorded {
            Some(at) => Cell::toned(ago_text(now.since(at)), Tone::Good),
            None => Cell::from("not yet"),
        };
        let note = match (&tag.blocked, tag.window_ends) {
            (Some(blocked), _) => Cell::toned(blocked.clone(), Tone::Bad),
            (None, Some(ends)) if tag.recorded.is_none() && ends > now => {
                Cell::from(format!("Harbor attaches it within {}", span_text(ends.since(now))))
            }
            _ => Cell::default(),
        };
        table.row([Cell::from(tag.tag.to_string()), recorded, note]);
    }
    table.render(screen, 2)
}

fn render_manifests(view: &ImageView, now: Timestamp, screen: &Screen) -> String {
    let mut table = Table::new([
        ("DIGEST", Column::Shrinking),
        ("PLATFORM", Column::Left),
        ("WANTED", Column::Left),
        ("READ", Column::Right),
        ("RECORDED", Column::Right),
    ]);
    let seen = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| ago_text(now.since(at)));
    for manifest in &view.manifests {
        table.row([
            Cell::from(manifest.digest.to_string()),
            Cell::from(manifest.platform.clone().unwrap_or_else(|| "-".to_owned())),
            Cell::from(if manifest.wanted { "yes" } else { "completes the index" }),
            Cell::from(seen(manifest.read)),
            Cell::from(seen(manifest.recorded)),
        ]);
    }
    table.render(screen, 2)
}

fn render_blobs(blobs: &[BlobView], now: Timestamp, screen: &Screen) -> String {
    let mut table = Table::new([
        ("DIGEST", Column::Shrinking),
        ("SIZE", Column::Right),
        ("ASKED", Column::Right),
        ("IN HARBOR", Column::Left),
    ]);
    for blob in blobs {
        let local = match blob.local {
            Some(at) => Cell::toned(ago_text(now.since(at)), Tone::Good),
            None => Cell::from("not yet"),
        };
        let asks = match blob.asks {
            0 => "-".to_owned(),
            asks => format!("{asks}×"),
        };
        table.row([
            Cell::from(blob.digest.to_string()),
            Cell::from(bytes_text(blob.size_bytes)),
            Cell::from(asks),
            local,
        ]);
    }
    table.render(screen, 2)
}

/// Those that differ in nothing but a digest are one line with the time of the last.
fn render_attempts(view: &ImageView, screen: &Screen) -> String {
    let mut table = Table::new([
        ("LAST", Column::Left),
        ("TIMES", Column::Right),
        ("STEP", Column::Shrinking),
        ("ERROR", Column::Shrinking),
    ]);
    for Alike { attempts, steps, .. } in alike(&view.attempts) {
        let (Some(last), Some(step)) = (attempts.last(), steps.first()) else { continue };
        let step = match steps.len() {
            1 => (*step).to_owned(),
            count => format!("{step} and {} like it", count - 1),
        };
        table.row([
            last.at.to_string().into(),
            format!("{}×", attempts.len()).into(),
            step.into(),
            last.error.clone().into(),
        ]);
    }
    table.render(screen, 2)
}

/// Attempts that differ in nothing but digests.
struct Alike<'v> {
    /// The step and the error without their digests.
    key: (String, String),
    attempts: Vec<&'v AttemptView>,
    /// The different steps.
    steps: Vec<&'v str>,
}

/// In the order in which the first of each came.
fn alike(attempts: &[AttemptView]) -> Vec<Alike<'_>> {
    let mut groups: Vec<Alike<'_>> = Vec::new();
    for attempt in attempts {
        let key = (without_digests(&attempt.step), without_digests(&attempt.error));
        let step = attempt.step.as_str();
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => {
                group.attempts.push(attempt);
                if !group.steps.contains(&step) {
                    group.steps.push(step);
                }
            }
            None => groups.push(Alike { key, attempts: vec![attempt], steps: vec![step] }),
        }
    }
    groups
}

fn without_digests(text: &str) -> String {
    let is_digest = |word: &&str| word.split_once("sha256:").is_some_and(|(_, hex)| hex.len() >= 12);
    text.split(' ').map(|word| if is_digest(&word) { "sha256:" } else { word }).collect::<Vec<_>>().join(" ")
}

/// What happened, and at its end what doesn't.
fn render_timeline(view: &ImageView, now: Timestamp, screen: &Screen) -> String {
    let mut table = Table::new([("WHEN", Column::Left), ("AFTER", Column::Right), ("WHAT", Column::Shrinking)]);
    let start = view.summary.first_asked;
    let after = |at: Timestamp| format!("{:.1} s", at.since(start).as_secs_f64());
    for milestone in &view.timeline {
        table.row([milestone.at.to_string().into(), after(milestone.at).into(), milestone.what.clone().into()]);
    }
    if let Some(stuck) = &view.stuck {
        let here = match stuck.problem.passes() {
            true => Cell::from(format!("waits to {}", stuck.step)),
            false => Cell::toned(format!("stuck: can't {}", stuck.step), Tone::Bad),
        };
        table.row([now.to_string().into(), after(now).into(), here]);
    }
    table.render(screen, 2)
}

/// Why it goes no further, and what a person can do. These two are read to their ends, so they are never cut.
fn render_stuck(stuck: &StuckView, screen: &Screen) -> String {
    let line = |name: &str, text: &str| {
        let indent = " ".repeat(CAUSE_INDENT);
        let lines = wrap(&printable(text), screen.width.map(|width| width.saturating_sub(CAUSE_INDENT)));
        let name = screen.paint(&format!("{name:<5}"), Tone::Faint);
        format!("  {name}  {}\n", lines.join(&format!("\n{indent}")))
    };
    line("cause", &stuck.cause) + &line("cure", &stuck.cure)
}

/// Nothing that moves a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Two spaces, the longer name, and two spaces.
const CAUSE_INDENT: usize = 9;

/// Breaks a text between words, so that no line is longer than `width` unless a word is.
fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width.is_none_or(|width| line.chars().count() + 1 + word.chars().count() <= width) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
