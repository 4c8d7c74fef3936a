//! What `warm --wait` shows meanwhile: bars by image and blob on a terminal, a line for each change elsewhere.

use std::collections::BTreeMap;

use harbor_warmer_protocol::Digest;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::units::{bytes_text, count_text, short};
use crate::terminal::screen::{Screen, complain};
use harbor_warmer_core::view::{BlobView, ImageView};

/// Blobs shown beneath an image; the rest are in its own bar.
const BLOBS_SHOWN: usize = 6;

const IMAGE_TEMPLATE: &str = "{prefix:.bold} [{bar:30}] {binary_bytes:>11} of {binary_total_bytes:<11} {wide_msg}";
/// Before the first manifest was read there is nothing to measure by.
const UNKNOWN_TEMPLATE: &str = "{prefix:.bold} {wide_msg}";
const BLOB_TEMPLATE: &str = "  {prefix:.dim} [{bar:24}] {binary_bytes:>11} of {binary_total_bytes:<11} {msg:.dim}";

/// Where an image is, as far as the command goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    UnderWay,
    Warm,
    Failed(String),
}

/// The progress of every image.
pub(super) struct Progress {
    bars: Option<MultiProgress>,
    images: BTreeMap<String, Shown>,
}

/// What stands there of one image.
#[derive(Default)]
struct Shown {
    line: String,
    bar: Option<ProgressBar>,
    blobs: BTreeMap<Digest, ProgressBar>,
}

impl Progress {
    pub(super) fn new(screen: &Screen) -> Self {
        Self { bars: screen.width.map(|_| MultiProgress::new()), images: BTreeMap::new() }
    }

    /// An image was looked at.
    pub(super) fn show(&mut self, image: &str, view: &ImageView, standing: &Standing) {
        let shown = self.images.entry(image.to_owned()).or_default();
        match &self.bars {
            Some(bars) => shown.draw(bars, image, view, standing),
            None => {
                let line = line(image, view, standing);
                if line != shown.line {
                    complain(&line);
                    shown.line = line;
                }
            }
        }
    }

    /// Something that is no progress.
    pub(super) fn say(&self, text: &str) {
        match &self.bars {
            // The bars are drawn again on the next look; nobody is there to hear of a line that can't be printed.
            Some(bars) => drop(bars.println(text)),
            None => complain(text),
        }
    }
}

impl Shown {
    fn draw(&mut self, bars: &MultiProgress, image: &str, view: &ImageView, standing: &Standing) {
        let summary = &view.summary;
        let bar = self.bar.get_or_insert_with(|| bars.add(ProgressBar::new(summary.bytes_total)));
        bar.set_style(style(if summary.blobs_total == 0 { UNKNOWN_TEMPLATE } else { IMAGE_TEMPLATE }));
        bar.set_prefix(image.to_owned());
        bar.set_length(summary.bytes_total);
        bar.set_position(view.summary.bytes_local);
        bar.set_message(message(view, standing));
        if *standing != Standing::UnderWay {
            for (_, blob) in std::mem::take(&mut self.blobs) {
                blob.finish_and_clear();
            }
            bar.finish();
            return;
        }
        for blob in &view.blobs {
            if blob.local.is_some()
                && let Some(gone) = self.blobs.remove(&blob.digest)
            {
                gone.finish_and_clear();
            }
        }
        for blob in under_way(&view.blobs) {
            let known = self.blobs.len();
            let last = self.blobs.values().last().unwrap_or(bar).clone();
            if !self.blobs.contains_key(&blob.digest) && known < BLOBS_SHOWN {
                let line = ProgressBar::new(blob.size_bytes).with_style(style(BLOB_TEMPLATE));
                let line = bars.insert_after(&last, line);
                line.set_prefix(short(&blob.digest));
                self.blobs.insert(blob.digest, line);
            }
            if let Some(line) = self.blobs.get(&blob.digest) {
                line.set_message(if blob.asks > 1 { format!("asked {} times", blob.asks) } else { String::new() });
            }
        }
    }
}

/// The templates are constants of this file; a test holds them to be valid.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

/// Blobs that Harbor has been asked for and doesn't have yet.
fn under_way(blobs: &[BlobView]) -> impl Iterator<Item = &BlobView> {
    blobs.iter().filter(|blob| blob.local.is_none() && blob.asks > 0)
}

fn message(view: &ImageView, standing: &Standing) -> String {
    match standing {
        Standing::Warm => "warm".to_owned(),
        Standing::Failed(reason) => format!("failed: {reason}"),
        Standing::UnderWay => match &view.summary.reason {
            Some(reason) => format!("{}: {reason}", view.summary.phase.label()),
            None => view.summary.phase.label().to_owned(),
        },
    }
}

/// One line without bars. Bytes under way aren't in it: it would change with every look.
fn line(image: &str, view: &ImageView, standing: &Standing) -> String {
    let summary = &view.summary;
    let message = message(view, standing);
    if summary.blobs_total == 0 {
        return format!("{image}: {message}");
    }
    format!(
        "{image}: {message} ({} of {}, {} of {})",
        summary.blobs_local,
        count_text(summary.blobs_total, "blob"),
        bytes_text(summary.bytes_local),
        bytes_text(summary.bytes_total)
    )
}

#[cfg(test)]
mod tests {
    use indicatif::{MultiProgress, ProgressDrawTarget, ProgressStyle};

    use super::{BLOB_TEMPLATE, IMAGE_TEMPLATE, Progress, Shown, Standing, UNKNOWN_TEMPLATE, line};
    use crate::fixtures::{NOW, warming};
    use crate::terminal::screen::Screen;

    #[test]
    fn the_templates_are_valid() {
        for template in [IMAGE_TEMPLATE, UNKNOWN_TEMPLATE, BLOB_TEMPLATE] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn a_line_says_where_an_image_is() {
        assert_eq!(
            line("nginx:1.27", &warming(), &Standing::UnderWay),
            "nginx:1.27: warming: waiting for 1 blob (2 of 3 blobs, 45.1 MiB of 187 MiB)"
        );
    }

    #[test]
    fn another_ask_makes_no_new_line() {
        let mut progress = Progress::new(&Screen::default());
        progress.show("nginx:1.27", &warming(), &Standing::UnderWay);
        let mut later = warming();
        later.blobs[2].asks += 1;
        progress.show("nginx:1.27", &later, &Standing::UnderWay);

        let first = line("nginx:1.27", &warming(), &Standing::UnderWay);
        assert_eq!(progress.images["nginx:1.27"].line, first);
    }

    #[test]
    fn bars_show_the_image_and_the_blobs_under_way() {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut shown = Shown::default();

        shown.draw(&bars, "nginx:1.27", &warming(), &Standing::UnderWay);

        let bar = shown.bar.clone().unwrap();
        assert_eq!((bar.position(), bar.length()), (47_300_000, Some(196_083_712)));
        assert_eq!(bar.message(), "warming: waiting for 1 blob");
        let blobs: Vec<_> = shown.blobs.values().map(|blob| (blob.prefix(), blob.position(), blob.message())).collect();
        assert_eq!(blobs, [("ffffffffffff".to_owned(), 0, "asked 2 times".to_owned())]);

        let mut warm = warming();
        warm.blobs[2].local = Some(NOW);
        warm.summary.bytes_local = warm.summary.bytes_total;
        shown.draw(&bars, "nginx:1.27", &warm, &Standing::Warm);

        assert!(shown.blobs.is_empty());
        assert!(bar.is_finished());
        assert_eq!((bar.position(), bar.message()), (196_083_712, "warm".to_owned()));
    }
}
