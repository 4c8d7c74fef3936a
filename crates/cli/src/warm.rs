//! `harbor-warmer warm`: hands images over and, with `--wait`, follows them to their end.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use harbor_warmer_protocol::ImageState;
use tokio::time::Instant;

use super::admin_client::{AdminClient, AdminError};
use super::arguments::WarmArguments;
use super::image_list::{ImageList, image_list};
use super::progress::{Progress, Standing};
use super::status::state_cell;
use super::units::count_text;
use super::{CommandError, Exit, Printed};
use crate::terminal::screen::{Screen, Tone};
use crate::terminal::table::{Cell, Column, Table};
use harbor_warmer_core::view::{ImageView, Phase, WarmEntry, WarmRequest};

/// How often the images are looked at: a person sees the bars move.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A service that restarts is back sooner than this, and has forgotten nothing.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// The service takes so many in one request.
const BATCH: usize = 500;

/// Images looked at at once.
const LOOKS_AT_ONCE: usize = 8;

/// The name under which the service keeps what this command asks for.
const CLUSTER: &str = "command-line";

/// One image that is followed.
struct Followed {
    image: String,
    id: Option<String>,
    standing: Standing,
}

pub(super) async fn run(arguments: &WarmArguments, screen: &Screen) -> Result<Printed, CommandError> {
    let client = AdminClient::of(&arguments.service)?;
    let ImageList { images, notes } = image_list(&arguments.images)?;
    let mut entries = Vec::new();
    for batch in images.chunks(BATCH) {
        entries.extend(client.warm(&WarmRequest { images: batch.to_vec() }).await?.images);
    }
    if !arguments.wait {
        let taken = entries.iter().all(|entry| !matches!(entry.state, ImageState::Refused | ImageState::Failed));
        let exit = if taken { Exit::Done } else { Exit::Failed };
        return Ok(Printed { text: render_entries(&entries, screen), exit, notes });
    }
    let mut followed: Vec<_> = entries.into_iter().map(Followed::from).collect();
    let waited = wait(&client, &mut followed, arguments.timeout, screen).await?;
    let exit = match waited {
        Waited::TimedOut => Exit::TimedOut,
        Waited::Settled if followed.iter().all(|image| image.standing == Standing::Warm) => Exit::Done,
        Waited::Settled => Exit::Failed,
    };
    Ok(Printed { text: render_followed(&followed, screen), exit, notes })
}

enum Waited {
    Settled,
    TimedOut,
}

async fn wait(
    client: &AdminClient,
    followed: &mut [Followed],
    timeout: Option<Duration>,
    screen: &Screen,
) -> Result<Waited, AdminError> {
    let mut progress = Progress::new(screen);
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut last_answer = Instant::now();
    loop {
        match look(client, followed, &mut progress).await {
            Ok(()) => last_answer = Instant::now(),
            Err(error @ AdminError::Unreachable { .. }) if last_answer.elapsed() < GONE_AFTER => {
                progress.say(&format!("{error}; trying again"));
            }
            Err(error) => return Err(error),
        }
        if followed.iter().all(|image| image.standing != Standing::UnderWay) {
            return Ok(Waited::Settled);
        }
        let next = Instant::now() + LOOK_EVERY;
        match deadline {
            Some(deadline) if deadline <= next => {
                tokio::time::sleep_until(deadline).await;
                return Ok(Waited::TimedOut);
            }
            _ => tokio::time::sleep_until(next).await,
        }
    }
}

async fn look(client: &AdminClient, followed: &mut [Followed], progress: &mut Progress) -> Result<(), AdminError> {
    let under_way = followed.iter_mut().filter(|image| image.standing == Standing::UnderWay);
    let mut looks = stream::iter(under_way)
        .map(|image| async move {
            let id = image.id.clone().unwrap_or_default();
            let view = client.image(&id).await;
            (image, view)
        })
        .buffered(LOOKS_AT_ONCE);
    while let Some((image, view)) = looks.next().await {
        match view? {
            Some(view) => {
                image.standing = standing(&view);
                progress.show(&image.image, &view, &image.standing);
            }
            None => image.standing = Standing::Failed("the service no longer knows it".to_owned()),
        }
    }
    Ok(())
}

/// By this command's own wants: others may want more platforms of the same image, and wait longer.
fn standing(view: &ImageView) -> Standing {
    if view.summary.phase == Phase::Failed {
        return Standing::Failed(view.summary.reason.clone().unwrap_or_else(|| "given up".to_owned()));
    }
    let mut own = view.wants.iter().filter(|want| want.cluster == CLUSTER).peekable();
    let warm = match own.peek() {
        Some(_) => own.all(|want| want.state == ImageState::Warm),
        None => view.summary.phase >= Phase::Warm,
    };
    if warm { Standing::Warm } else { Standing::UnderWay }
}

impl From<WarmEntry> for Followed {
    fn from(entry: WarmEntry) -> Self {
        let reason = || entry.reason.clone().unwrap_or_else(|| entry.state.to_string());
        let standing = match (&entry.id, entry.state) {
            (_, ImageState::Refused | ImageState::Failed) | (None, _) => Standing::Failed(reason()),
            (Some(_), ImageState::Warm) => Standing::Warm,
            (Some(_), ImageState::New | ImageState::Queued | ImageState::Warming) => Standing::UnderWay,
        };
        Self { image: entry.image, id: entry.id, standing }
    }
}

fn render_entries(entries: &[WarmEntry], screen: &Screen) -> String {
    let mut table = Table::new([
        ("ID", Column::Left),
        ("IMAGE", Column::ShrinkingImage),
        ("STATE", Column::Left),
        ("REASON", Column::Shrinking),
    ]);
    for entry in entries {
        table.row([
            Cell::from(entry.id.clone().unwrap_or_else(|| "-".to_owned())),
            Cell::from(entry.image.clone()),
            state_cell(entry.state),
            Cell::from(entry.reason.clone().unwrap_or_default()),
        ]);
    }
    table.render(screen, 0)
}

fn render_followed(followed: &[Followed], screen: &Screen) -> String {
    let mut table =
        Table::new([("IMAGE", Column::ShrinkingImage), ("OUTCOME", Column::Left), ("REASON", Column::Shrinking)]);
    for image in followed {
        let (outcome, reason) = match &image.standing {
            Standing::Warm => (Cell::toned("warm", Tone::Good), ""),
            Standing::UnderWay => (Cell::toned("not yet", Tone::Warning), "it goes on without this command"),
            Standing::Failed(reason) => (Cell::toned("failed", Tone::Bad), reason.as_str()),
        };
        table.row([Cell::from(image.image.clone()), outcome, Cell::from(reason)]);
    }
    let warm = followed.iter().filter(|image| image.standing == Standing::Warm).count();
    format!("{}{warm} of {} warm.\n", table.render(screen, 0), count_text(followed.len(), "image"))
}

#[cfg(test)]
mod tests {
    use harbor_warmer_protocol::ImageState;
    use rstest::rstest;

    use super::{Followed, Standing, render_entries, render_followed, standing};
    use crate::fixtures::warming;
    use crate::terminal::screen::Screen;
    use harbor_warmer_core::view::{Phase, WarmEntry};

    fn entry(image: &str, id: Option<&str>, state: ImageState, reason: Option<&str>) -> WarmEntry {
        WarmEntry { image: image.to_owned(), id: id.map(str::to_owned), state, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn an_image_is_warm_when_this_commands_own_want_is() {
        let mut view = warming();
        assert_eq!(standing(&view), Standing::UnderWay);

        view.wants[1].state = ImageState::Warm;
        assert_eq!(standing(&view), Standing::Warm);
    }

    #[rstest]
    #[case(Phase::Announced, Standing::UnderWay)]
    #[case(Phase::Local, Standing::UnderWay)]
    #[case(Phase::Warm, Standing::Warm)]
    #[case(Phase::Replicated, Standing::Warm)]
    #[case(Phase::Failed, Standing::Failed("waiting for 1 blob".to_owned()))]
    fn without_a_want_of_its_own_the_phase_decides(#[case] phase: Phase, #[case] expected: Standing) {
        let mut view = warming();
        view.wants.truncate(1);
        view.summary.phase = phase;
        assert_eq!(standing(&view), expected);
    }

    #[test]
    fn what_was_handed_over_is_a_table() {
        let entries = [
            entry("nginx:1.27", Some("i-17"), ImageState::New, None),
            entry("ghcr.io/a/b", None, ImageState::Refused, Some("no rule matches it")),
        ];
        insta::assert_snapshot!(render_entries(&entries, &Screen::default()), @r"
        ID    IMAGE        STATE    REASON
        i-17  nginx:1.27   new
        -     ghcr.io/a/b  refused  no rule matches it
        ");
    }

    #[test]
    fn the_outcome_counts_what_is_warm() {
        let followed = [
            entry("nginx:1.27", Some("i-17"), ImageState::Warm, None),
            entry("redis", Some("i-18"), ImageState::Queued, None),
            entry("ghcr.io/a/b", None, ImageState::Refused, Some("no rule matches it")),
        ]
        .map(Followed::from);
        insta::assert_snapshot!(render_followed(&followed, &Screen::default()), @r"
        IMAGE        OUTCOME  REASON
        nginx:1.27   warm
        redis        not yet  it goes on without this command
        ghcr.io/a/b  failed   no rule matches it
        1 of 3 images warm.
        ");
    }
}
