//! Veradco's files, as far as the plugin is concerned.
//!
//! Source: `veradco_conf.yaml` and the plugin's README and `plug.go` in github.com/smart-duck/veradco.

use harbor_warmer::yaml::Documents;
use serde::Deserialize;
use serde_json::Value;

use super::ImportError;

/// The key that only this plugin and its sibling have.
const PROXY_CACHES: &str = "proxyCaches";

/// The plugin with its scope, wherever it was written.
#[derive(Debug)]
pub(super) struct Plugin {
    pub(super) scope: Scope,
    pub(super) proxy_caches: Vec<ProxyCache>,
    pub(super) parallel_jobs: Option<u64>,
}

/// For which requests Veradco calls a plugin. All are regular expressions there.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    name: String,
    pub(super) operations: Option<String>,
    pub(super) namespaces: Option<String>,
    pub(super) labels: Option<Value>,
    pub(super) annotations: Option<Value>,
    pub(super) dry_run: bool,
}

/// An entry of the plugin's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProxyCache {
    #[serde(rename = "regexURL")]
    pub(super) regex_url: String,
    #[serde(rename = "replacementOCI")]
    pub(super) replacement_oci: String,
    #[serde(default)]
    pub(super) replacement_arch: String,
    #[serde(default)]
    pub(super) target_arch: String,
    #[serde(rename = "targetOS", default)]
    pub(super) target_os: String,
}

impl Plugin {
    /// Every plugin in a file: a ConfigMap, Veradco's configuration, or the plugin's alone.
    pub(super) fn all_in(name: &str, text: &str) -> Result<Vec<Self>, ImportError> {
        let mut found = Vec::new();
        collect(name, text, &mut found)?;
        if found.is_empty() { Err(ImportError::NoPlugin) } else { Ok(found) }
    }
}

/// Looks through what any of the files may have at its top: a ConfigMap's `data`, Veradco's `plugins`, the plugin's
/// `proxyCaches`. Other keys are Veradco's own business.
fn collect(place: &str, text: &str, found: &mut Vec<Plugin>) -> Result<(), ImportError> {
    for document in Documents::of(text) {
        let (top, _) = document.map_err(|error| ImportError::Syntax { place: place.to_owned(), error })?;
        for (name, file) in top.get("data").and_then(Value::as_object).into_iter().flatten() {
            // Other files of a ConfigMap may be anything; one with the plugin in it has to be right.
            let Some(text) = file.as_str().filter(|text| text.contains(PROXY_CACHES)) else { continue };
            collect(&format!("data.{name} in {place}"), text, found)?;
        }
        for plugin in top.get("plugins").and_then(Value::as_array).into_iter().flatten() {
            found.extend(configured(plugin)?);
        }
        found.extend(read(&top, Scope::default())?);
    }
    Ok(())
}

/// A plugin as Veradco's configuration has it: its scope, and its own configuration as a text, or in place.
fn configured(plugin: &Value) -> Result<Option<Plugin>, ImportError> {
    let scope = Scope::of(plugin);
    match plugin.get("configuration") {
        // The other plugins' configurations are any text.
        Some(Value::String(text)) if !text.contains(PROXY_CACHES) => Ok(None),
        Some(Value::String(text)) => {
            let place = format!("the configuration of the plugin `{}`", scope.name);
            let document = Documents::of(text).next().transpose();
            let configuration = document.map_err(|error| ImportError::Syntax { place, error })?;
            configuration.map_or(Ok(None), |(configuration, _)| read(&configuration, scope))
        }
        Some(configuration) => read(configuration, scope),
        None => Ok(None),
    }
}

fn read(configuration: &Value, scope: Scope) -> Result<Option<Plugin>, ImportError> {
    let Some(entries) = configuration.get(PROXY_CACHES).and_then(Value::as_array) else { return Ok(None) };
    if entries.iter().any(|entry| entry.get("patternEcrProxyCache").is_some()) {
        return Err(ImportError::Implicit(scope.name));
    }
    let proxy_caches = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            serde_json::from_value(entry.clone())
                .map_err(|error| ImportError::Entry { index, reason: error.to_string() })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let parallel_jobs = configuration.get("maxNumberOfParallelJobs").and_then(Value::as_u64);
    Ok(Some(Plugin { scope, proxy_caches, parallel_jobs }))
}

impl Scope {
    /// Leniently: configurations of older releases of Veradco have lists where later ones have expressions.
    fn of(plugin: &Value) -> Self {
        let expression = |key: &str| match plugin.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|")),
            _ => None,
        };
        let any = |key: &str| plugin.get(key).filter(|value| !value.is_null()).cloned();
        let dry_run = matches!(plugin.get("dryRun"), Some(Value::Bool(true)))
            || expression("dryRun").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        Self {
            name: expression("name").unwrap_or_default(),
            operations: expression("operations"),
            namespaces: expression("namespaces"),
            labels: any("labels"),
            annotations: any("annotations"),
            dry_run,
        }
    }
}
