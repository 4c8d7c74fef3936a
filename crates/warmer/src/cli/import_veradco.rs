//! `harbor-warmer import-veradco`.

use super::arguments::ImportVeradcoArguments;
use super::{CommandError, Exit, Outcome};
use crate::import_veradco::{ImportError, import};

pub(super) fn run(arguments: &ImportVeradcoArguments) -> Result<Outcome, CommandError> {
    let text = std::fs::read_to_string(&arguments.file)
        .map_err(|source| ImportError::File { path: arguments.file.display().to_string(), source })?;
    Ok(Outcome { text: import(&text, &arguments.project)?, exit: Exit::Done })
}
