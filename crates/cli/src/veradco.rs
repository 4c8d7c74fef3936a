//! `harbor-warmer import-veradco`: what Veradco's plugin HarborProxyCachePopulator was told, as values of the chart.
//!
//! Reading never guesses: what has no counterpart becomes a comment beside the value that it would have been. The
//! rules that come out are read by the same code that reads the policy's settings, and tried on sample images, so
//! that the comments show where an image goes.

mod pattern;
mod plugin;
mod rule;
mod scope;
#[cfg(test)]
mod tests;
mod values;

use harbor_warmer::yaml::{NotText, SyntaxError};
use harbor_warmer_workload::{Mistake, RuleSet};
use serde_json::Value;

use plugin::Plugin;
use rule::{ConvertedRule, convert};

/// Why a file can't be turned into values.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file can't be read.
    #[error("can't read {path}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is in another encoding.
    #[error("{path} is no text")]
    NotText {
        /// Which file.
        path: String,
        /// Where, and what to do.
        source: NotText,
    },
    /// A text is neither YAML nor JSON.
    #[error("{place} is not YAML: {error}")]
    Syntax {
        /// Which text.
        place: String,
        /// Where and why.
        error: SyntaxError,
    },
    /// The file is about something else.
    #[error(
        "found no plugin with `proxyCaches` in it; give the plugin's configuration, Veradco's own, or the ConfigMap with it"
    )]
    NoPlugin,
    /// The other plugin, which copies images by itself.
    #[error(
        "the plugin `{0}` is ImplicitProxyCachePopulator, which copies images from public registries into ECR by \
         itself; there is no Harbor in its configuration that could be taken over"
    )]
    Implicit(String),
    /// An entry has no counterpart.
    #[error("proxyCaches[{index}]: {reason}")]
    Entry {
        /// Which one, counted from 0 over all plugins of the file.
        index: usize,
        /// What is in the way, and what to do.
        reason: String,
    },
    /// The rules that come out are not valid.
    #[error("the rules that come out have mistakes: {}", sentences(.0))]
    Rules(Vec<Mistake>),
}

/// What no configuration of Veradco says, but whoever imports it knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The value of the environment variable `hUSER`.
    pub username: Option<String>,
    /// The proxy-cache projects to allow besides those that the configuration names itself.
    pub projects: Vec<String>,
}

/// Turns a configuration of Veradco, the file `name`, into values of the chart: YAML with comments.
///
/// # Errors
/// What is in the way; nothing is left out silently.
pub(crate) fn import(name: &str, text: &str, known: &Known) -> Result<String, ImportError> {
    let plugins = Plugin::all_in(name, text)?;
    let mut rules: Vec<ConvertedRule> = Vec::new();
    for entry in plugins.iter().flat_map(|plugin| &plugin.proxy_caches) {
        let index = rules.len();
        rules.push(convert(entry).map_err(|reason| ImportError::Entry { index, reason })?);
    }
    let harbors = values::harbors(&rules, &known.projects);
    let list = rules.iter().map(|rule| rule.value(values::name_of(&harbors, &rule.origin))).collect();
    let checked = RuleSet::from_value(&Value::Array(list)).map_err(ImportError::Rules)?;
    Ok(values::print(&plugins, &rules, &harbors, known.username.as_deref(), &checked))
}

fn sentences(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
