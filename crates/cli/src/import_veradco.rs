//! `harbor-warmer import-veradco`.

use harbor_warmer::yaml::text_of;

use super::arguments::ImportVeradcoArguments;
use super::{CommandError, Exit, Printed};
use crate::veradco::{ImportError, Known, import};

pub(super) fn run(arguments: &ImportVeradcoArguments) -> Result<Printed, CommandError> {
    let path = arguments.file.display().to_string();
    let bytes = std::fs::read(&arguments.file).map_err(|source| ImportError::File { path: path.clone(), source })?;
    let text = text_of(bytes).map_err(|source| ImportError::NotText { path: path.clone(), source })?;
    let known = Known { username: arguments.username.clone(), projects: arguments.project.clone() };
    Ok(Printed::new(import(&path, &text, &known)?, Exit::Done))
}
