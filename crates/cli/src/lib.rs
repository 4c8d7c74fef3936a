//! The command line: what a person types, what is printed, and what the exit code tells a script.
//!
//! Everything but `serve`, `check`, `map` and `import-veradco` speaks to the admin port of the running service. Commands ask; pure functions
//! turn the answers into text, so that tests need neither a service nor a terminal.

mod admin_client;
mod arguments;
mod check;
mod descriptors;
#[cfg(test)]
mod fixtures;
mod image_list;
mod import_veradco;
mod logging;
mod manifest;
mod map;
mod plan;
mod progress;
mod requeue;
mod signals;
mod status;
mod terminal;
#[cfg(test)]
mod tests;
mod units;
mod unread;
mod veradco;
mod warm;

use std::process::ExitCode;

use http::StatusCode;

pub use admin_client::{AdminClient, AdminError};
pub use arguments::{
    Arguments, CheckArguments, Command, ConfigArguments, LogFormat, LoggingArguments, ServiceArguments,
};
pub use descriptors::raise_descriptor_limit;
pub use image_list::ImageListError;
pub use logging::{LoggingError, start_logging};
pub use map::SettingsError;
pub use signals::{INTERRUPTED, shutdown_on_signals};
pub use terminal::screen::{Screen, Tone, complain};

use crate::veradco::ImportError;
use harbor_warmer::config::{self, ConfigError};

/// What the exit code says. The help text lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done as asked.
    Done = 0,
    /// Some image failed or was refused; `check` found a problem.
    Failed = 1,
    /// Wrong arguments, or a mistake in a file of the user's.
    Usage = 2,
    /// The running service can't be reached.
    Unreachable = 3,
    /// The time ran out.
    TimedOut = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The service did not do what it was asked.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The arguments name no images.
    #[error(transparent)]
    Images(#[from] ImageListError),
    /// The policy's settings have mistakes.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The file can't be turned into values.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// What is to be printed has no JSON form.
    #[error("the answer can't be printed as JSON")]
    Json(#[from] serde_json::Error),
}

impl CommandError {
    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Images(_) | Self::Settings(_) | Self::Import(_) => Exit::Usage,
            Self::Json(_) => Exit::Failed,
            Self::Admin(error) => match error {
                AdminError::Address(_) | AdminError::Token { .. } => Exit::Usage,
                AdminError::Unreachable { .. } | AdminError::NotAService { .. } => Exit::Unreachable,
                AdminError::Refused { status: StatusCode::BAD_REQUEST, .. } => Exit::Usage,
                AdminError::Refused { .. } | AdminError::Client(_) => Exit::Failed,
            },
        }
    }
}

/// A chain of causes, on one line where it is one. A cause that the one before it tells already isn't repeated.
pub fn causes<'e>(chain: impl Iterator<Item = &'e (dyn std::error::Error + 'static)>) -> String {
    chain.map(ToString::to_string).fold(String::new(), |told, cause| match () {
        () if told.is_empty() => cause,
        () if told.contains(&cause) => told,
        () => format!("{told}: {cause}"),
    })
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Printed {
    /// What is printed.
    text: String,
    exit: Exit,
    /// What is said beside it, on standard error.
    notes: Vec<String>,
}

impl Printed {
    fn new(text: impl Into<String>, exit: Exit) -> Self {
        Self { text: text.into(), exit, notes: Vec::new() }
    }
}

/// Carries out any command but [`Command::Serve`], which the caller runs, and prints what it came to.
///
/// # Errors
/// What kept the command from its work; [`CommandError::exit`] has the exit code.
pub async fn run(command: &Command) -> Result<Exit, CommandError> {
    let screen = Screen::stdout();
    let outcome = carry_out(command, &screen).await?;
    for note in &outcome.notes {
        complain(&format!("harbor-warmer: {note}"));
    }
    screen.print(&outcome.text);
    Ok(outcome.exit)
}

async fn carry_out(command: &Command, screen: &Screen) -> Result<Printed, CommandError> {
    match command {
        Command::Serve(_) => Ok(Printed::new("`serve` runs by itself.\n", Exit::Usage)),
        Command::Check(arguments) => {
            let config = config::load(&arguments.config.config)?;
            let report = if arguments.offline { check::offline(&config) } else { check::online(&config).await };
            let exit = if report.has_problems() { Exit::Failed } else { Exit::Done };
            Ok(Printed::new(report.render(screen), exit))
        }
        Command::Status(arguments) => status::run(arguments, screen).await,
        Command::Warm(arguments) => warm::run(arguments, screen).await,
        Command::Plan(arguments) => plan::run(arguments, screen).await,
        Command::Map(arguments) => map::run(arguments, screen),
        Command::Requeue(arguments) => requeue::run(arguments, screen).await,
        Command::ImportVeradco(arguments) => import_veradco::run(arguments),
    }
}
