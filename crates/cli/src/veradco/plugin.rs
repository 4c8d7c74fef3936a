//! Veradco's files, as far as the plugin is concerned.
//!
//! Source: `veradco_conf.yaml` and the plugin's README and `plug.go` in github.com/smart-duck/veradco.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ImportError;

/// The plugin with its scope, wherever it was written.
#[derive(Debug)]
pub(super) struct Plugin {
    pub(super) scope: Scope,
    pub(super) proxy_caches: Vec<ProxyCache>,
    pub(super) parallel_jobs: Option<u64>,
}

/// For which requests Veradco calls a plugin. All are regular expressions there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Scope {
    name: String,
    configuration: String,
    pub(super) operations: Option<String>,
    pub(super) namespaces: Option<String>,
    pub(super) labels: Option<serde_json::Value>,
    pub(super) annotations: Option<serde_json::Value>,
    #[serde(rename = "dryRun")]
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

/// What any of the files may have at its top. Other keys are Veradco's own business.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Top {
    /// A ConfigMap.
    data: Option<BTreeMap<String, String>>,
    /// Veradco's configuration.
    plugins: Option<Vec<Scope>>,
    /// The plugin's.
    proxy_caches: Option<Vec<serde_json::Value>>,
    max_number_of_parallel_jobs: Option<u64>,
}

impl Plugin {
    /// Every plugin in a file: a ConfigMap, Veradco's configuration, or the plugin's alone.
    pub(super) fn all_in(text: &str) -> Result<Vec<Self>, ImportError> {
        let mut found = Vec::new();
        collect(text, &mut found)?;
        if found.is_empty() { Err(ImportError::NoPlugin) } else { Ok(found) }
    }
}

fn collect(text: &str, found: &mut Vec<Plugin>) -> Result<(), ImportError> {
    let top: Top = read(text)?;
    for file in top.data.iter().flatten().map(|(_, file)| file) {
        collect(file, found)?;
    }
    for scope in top.plugins.into_iter().flatten() {
        // The other plugins' configurations are any text.
        let Ok(configuration) = read::<Top>(&scope.configuration) else { continue };
        found.extend(plugin(configuration, scope)?);
    }
    if top.proxy_caches.is_some() {
        let configuration = Top { data: None, plugins: None, ..top };
        found.extend(plugin(configuration, Scope::default())?);
    }
    Ok(())
}

fn plugin(configuration: Top, scope: Scope) -> Result<Option<Plugin>, ImportError> {
    let Some(entries) = configuration.proxy_caches else { return Ok(None) };
    if entries.iter().any(|entry| entry.get("patternEcrProxyCache").is_some()) {
        return Err(ImportError::Implicit(scope.name));
    }
    let proxy_caches = entries
        .into_iter()
        .map(|entry| serde_json::from_value(entry).map_err(|error| ImportError::Yaml(format!("proxyCaches: {error}"))))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Plugin { scope, proxy_caches, parallel_jobs: configuration.max_number_of_parallel_jobs }))
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, ImportError> {
    serde_saphyr::from_str(text).map_err(|error| ImportError::Yaml(error.to_string()))
}
