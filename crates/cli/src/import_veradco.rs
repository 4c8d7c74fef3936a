//! `harbor-warmer import-veradco`.

use super::arguments::ImportVeradcoArguments;
use super::{CommandError, Exit, Printed};
use crate::veradco::{ImportError, Known, import};

pub(super) fn run(arguments: &ImportVeradcoArguments) -> Result<Printed, CommandError> {
    let text = std::fs::read_to_string(&arguments.file)
        .map_err(|source| ImportError::File { path: arguments.file.display().to_string(), source })?;
    let known = Known { username: arguments.username.clone(), projects: arguments.project.clone() };
    Ok(Printed { text: import(&text, &known)?, exit: Exit::Done })
}
