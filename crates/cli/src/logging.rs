//! The log: to standard error, as text for a person and as JSON for a collector.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

use super::arguments::{LogFormat, LoggingArguments};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is none.
    #[error("--log-level `{level}` is no level; write error, warn, info, debug or trace")]
    Level {
        /// As it was written.
        level: String,
        /// What the filter says.
        #[source]
        source: ParseError,
    },
    /// Somebody else has set one up in this process.
    #[error("the log is set up already")]
    AlreadyStarted,
}

/// Starts logging for the whole process.
///
/// # Errors
/// [`LoggingError`].
pub fn start_logging(arguments: &LoggingArguments) -> Result<(), LoggingError> {
    let level = &arguments.log_level;
    let filter: Targets = level.parse().map_err(|source| LoggingError::Level { level: level.clone(), source })?;
    let is_terminal = std::io::stderr().is_terminal();
    let default = if is_terminal { LogFormat::Text } else { LogFormat::Json };
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A log that nobody reads any more is no reason to stop: without this, a line that can't be written panics.
    let log = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let log = match arguments.log_format.unwrap_or(default) {
        LogFormat::Text => log.with_ansi(colours).boxed(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let started = tracing_subscriber::registry().with(log.with_filter(filter)).try_init();
    started.map_err(|_| LoggingError::AlreadyStarted)
}
