//! The guest's `__console_log`, which the waPC crate hands to the `log` facade and to nobody else.
//!
//! An evaluation runs on one thread from start to end, so what is logged on that thread meanwhile is its own.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// The module of the waPC crate that logs a guest's lines, prefixed with `Guest module <id>: `.
const GUEST_LINES: &str = "wapc::wapchost::modulestate";

struct Console;

/// Collects the calling thread's console lines until it is finished.
pub(crate) struct Capture(());

impl Capture {
    /// Starts collecting. Where the process has a `log` logger of its own, nothing is collected.
    pub(crate) fn start() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            if log::set_logger(&Console).is_ok() {
                log::set_max_level(log::LevelFilter::Info);
            }
        });
        LINES.set(Some(Vec::new()));
        Self(())
    }

    pub(crate) fn finish(self) -> Vec<String> {
        LINES.take().unwrap_or_default()
    }
}

impl log::Log for Console {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == GUEST_LINES
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = record.args().to_string();
        let line = line.split_once(": ").map_or(line.as_str(), |(_module, line)| line);
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.push(line.to_owned());
            }
        });
    }

    fn flush(&self) {}
}
