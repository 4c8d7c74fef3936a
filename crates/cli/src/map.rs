//! `harbor-warmer map`: rules tried without a service, in the words of the policy.
//!
//! What is done about an image is decided by the code that the policy runs at an admission, and a file is accepted or
//! refused by the code that `serve` and the policy read it with. Nobody is asked whether the image exists.

use std::path::Path;

use harbor_warmer::config::{self, Config};
use harbor_warmer::yaml::{Documents, NotText, SyntaxError, text_of};
use harbor_warmer_workload::{CustomKinds, Decision, Judge, Mistake, PolicySettings};
use serde_json::Value;

use super::arguments::{MapArguments, RulesArguments};
use super::image_list::{Named, custom_kinds, each_named};
use super::units::count_text;
use super::{CommandError, Exit, Printed};
use crate::terminal::screen::{Screen, Tone};
use crate::terminal::table::{Cell, Column, Table};

/// Why there are no rules to try.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("can't read the settings {path}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is in another encoding.
    #[error("the settings {path} are no text")]
    NotText {
        /// Which file.
        path: String,
        /// Where, and what to do.
        source: NotText,
    },
    /// The file is neither YAML nor JSON.
    #[error("the settings {path}: {error}")]
    Syntax {
        /// Which file.
        path: String,
        /// Where and why.
        error: SyntaxError,
    },
    /// Several policies, and nobody said which.
    #[error("{path} holds {count} documents with settings of this policy; give a file with one of them")]
    Several {
        /// Which file.
        path: String,
        /// How many.
        count: usize,
    },
    /// The policy would refuse them.
    #[error("{}", mistakes_text(.path, .mistakes))]
    Mistaken {
        /// Which file.
        path: String,
        /// What the policy says of them.
        mistakes: Vec<Mistake>,
    },
}

fn mistakes_text(path: &str, mistakes: &[Mistake]) -> String {
    let lines: String = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
    format!("{} in the settings {path}{lines}", count_text(mistakes.len(), "mistake"))
}

/// Rules from either file.
enum Rules {
    Config(Box<Config>),
    Settings(Box<PolicySettings>),
}

impl Rules {
    fn read(arguments: &RulesArguments) -> Result<Self, CommandError> {
        match (&arguments.config, &arguments.settings) {
            (Some(path), _) => Ok(Self::Config(Box::new(config::load(path)?))),
            (None, Some(path)) => Ok(Self::Settings(Box::new(read_settings(path)?))),
            (None, None) => Ok(Self::Settings(Box::new(settings_of("", &Value::Null)?))),
        }
    }

    fn judge(&self) -> Judge<'_> {
        match self {
            Self::Config(config) => Judge { rules: &config.rules, platforms: &config.platforms },
            Self::Settings(settings) => settings.judge(),
        }
    }

    fn custom_kinds(&self) -> CustomKinds {
        match self {
            // The warmer is told images, so its configuration knows no kinds.
            Self::Config(_) => CustomKinds::default(),
            Self::Settings(settings) => settings.custom_kinds.clone(),
        }
    }
}

pub(super) fn run(arguments: &MapArguments, screen: &Screen) -> Result<Printed, CommandError> {
    let rules = Rules::read(&arguments.rules)?;
    let custom = rules.custom_kinds().and(custom_kinds(&arguments.images)?);
    let judge = rules.judge();
    let mut judged: Vec<(String, Decision)> = Vec::new();
    let notes = each_named(&arguments.images.images, &custom, arguments.images.strict, &mut |named| {
        let found: Vec<_> = match named {
            Named::Image(image) => vec![(image.to_owned(), judge.image(image))],
            Named::Object(object) => {
                let images = judge.object(object, &custom).into_iter();
                images.map(|judged| (judged.image.written, judged.decision)).collect()
            }
        };
        let count = found.len();
        for one in found {
            if !judged.contains(&one) {
                judged.push(one);
            }
        }
        count
    })?;
    let config = match &rules {
        Rules::Config(config) => Some(config.as_ref()),
        Rules::Settings(_) => None,
    };
    let rows: Vec<_> = judged.iter().map(|(image, decision)| (image.as_str(), Outcome::of(decision, config))).collect();
    let failed = rows.iter().any(|(_, outcome)| outcome.verdict == Verdict::Wrong);
    let exit = if failed { Exit::Failed } else { Exit::Done };
    Ok(Printed { text: render(&rows, screen), exit, notes })
}

/// What becomes of an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is handed over.
    Warmed,
    /// It is left alone, as the rules or the workload say.
    LeftAlone,
    /// A rule is for it, but nothing comes of that.
    Wrong,
}

impl Outcome {
    /// In the policy's words; of the warmer's configuration it is also known what the warmer refuses.
    pub(super) fn of(decision: &Decision, config: Option<&Config>) -> Self {
        let verdict = match decision {
            Decision::HandOver { .. } => Verdict::Warmed,
            Decision::Unmatched
            | Decision::Excluded(_)
            | Decision::OptedOut
            | Decision::Unpulled(_)
            | Decision::LeftUnread(_) => Verdict::LeftAlone,
            Decision::TooLong(_) | Decision::Unreadable(_) | Decision::Unmappable(_) | Decision::NoPlatform(_) => {
                Verdict::Wrong
            }
        };
        let text = decision.to_string();
        if let (Decision::HandOver { hand_off, .. }, Some(config)) = (decision, config) {
            let (harbor, project) = (&hand_off.image.harbor, &hand_off.image.project);
            let is_open = config.harbors.get(harbor).is_some_and(|harbor| harbor.projects.contains_key(project));
            if !is_open {
                let text =
                    format!("{text}, which the warmer refuses: `{project}` is not under harbors.{harbor}.projects");
                return Self { verdict: Verdict::Wrong, text };
            }
        }
        Self { verdict, text }
    }
}

fn render(rows: &[(&str, Outcome)], screen: &Screen) -> String {
    let mut table = Table::new([("IMAGE", Column::ShrinkingImage), ("WHAT THE RULES SAY", Column::Shrinking)]);
    for (image, outcome) in rows {
        let tone = match outcome.verdict {
            Verdict::Warmed => Tone::Good,
            Verdict::LeftAlone => Tone::Faint,
            Verdict::Wrong => Tone::Bad,
        };
        table.row([Cell::from(*image), Cell::toned(outcome.text.clone(), tone)]);
    }
    let warmed = rows.iter().filter(|(_, outcome)| outcome.verdict == Verdict::Warmed).count();
    format!("{}{warmed} of {} would be handed over.\n", table.render(screen, 0), count_text(rows.len(), "image"))
}

// === The policy's settings ===

fn read_settings(path: &Path) -> Result<PolicySettings, SettingsError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| SettingsError::Unreadable { path: name.clone(), source })?;
    let text = text_of(bytes).map_err(|source| SettingsError::NotText { path: name.clone(), source })?;
    let mut found = Vec::new();
    for document in Documents::of(&text) {
        let (document, _) = document.map_err(|error| SettingsError::Syntax { path: name.clone(), error })?;
        found.extend(settings_in(document));
    }
    match found.as_slice() {
        [] => settings_of(&name, &Value::Null),
        [settings] => settings_of(&name, settings),
        several => Err(SettingsError::Several { path: name, count: several.len() }),
    }
}

/// The settings that a document is or holds. Of a manifest with other objects too, such as a rendered chart, those of a
/// policy that has rules.
fn settings_in(document: Value) -> Option<Value> {
    let is_object_of_kubernetes = document.get("kind").is_some() && document.get("apiVersion").is_some();
    match is_object_of_kubernetes {
        true => document.pointer("/spec/settings").filter(|settings| settings.get("rules").is_some()).cloned(),
        false => Some(document),
    }
}

fn settings_of(path: &str, value: &Value) -> Result<PolicySettings, SettingsError> {
    PolicySettings::try_from(value).map_err(|mistakes| SettingsError::Mistaken { path: path.to_owned(), mistakes })
}

#[cfg(test)]
mod tests;
