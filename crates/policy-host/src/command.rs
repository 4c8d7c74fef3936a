//! The commands, and what they have in common: where settings, sources and credentials come from.

pub(crate) mod bench;
pub(crate) mod run;
pub(crate) mod serve;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use harbor_warmer_policy_host::{
    AllowedCapabilities, DockerConfig, Exchange, Kubewarden, PolicyHost, PolicyHostBuilder, RegistrySources,
    parse_interactions,
};
use serde_json::Value;

/// How a policy is hosted. The names are kwctl's.
#[derive(clap::Args)]
pub(crate) struct Hosting {
    /// YAML or JSON file with the policy's settings
    #[arg(short, long, value_name = "FILE", conflicts_with = "settings_json")]
    settings_path: Option<PathBuf>,
    /// The policy's settings as JSON
    #[arg(long, value_name = "JSON")]
    settings_json: Option<String>,
    /// YAML file with `insecure_sources` and `source_authorities`
    #[arg(long, value_name = "FILE")]
    sources_path: Option<PathBuf>,
    /// Directory of a Docker `config.json` with registry credentials
    #[arg(long, value_name = "DIR")]
    docker_config_json_path: Option<PathBuf>,
    /// Host capabilities granted to the policy; can be repeated
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    allowed_host_capabilities: Vec<String>,
    /// Accepted for kwctl's sake: OCI lookups need no context
    #[arg(long)]
    allow_context_aware: bool,
    /// The Kubewarden that is played; no flag of kwctl's
    #[arg(long, value_enum, default_value_t = KubewardenArg::UpTo1_37)]
    kubewarden: KubewardenArg,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum KubewardenArg {
    /// Up to 1.37: one lock for all look-ups of a capability
    #[value(name = "1.37")]
    UpTo1_37,
    /// From 1.38: look-ups wait for none of another image; 256 MiB of memory
    #[value(name = "1.38")]
    From1_38,
}

impl Hosting {
    /// A builder for the policy in `wasm`.
    pub(crate) fn builder(&self, wasm: &Path) -> anyhow::Result<PolicyHostBuilder> {
        let mut registry = match &self.sources_path {
            Some(path) => RegistrySources::from_file(path)?,
            None => RegistrySources::default(),
        };
        if let Some(directory) = &self.docker_config_json_path {
            registry.docker_config = DockerConfig::from_directory(directory)?;
        }
        let patterns = self.allowed_host_capabilities.iter().map(String::as_str);
        let allowed = AllowedCapabilities::of_patterns(patterns)?;
        let kubewarden = match self.kubewarden {
            KubewardenArg::UpTo1_37 => Kubewarden::UpTo1_37,
            KubewardenArg::From1_38 => Kubewarden::From1_38,
        };
        let builder = PolicyHost::builder().wasm(wasm).settings(self.settings()?).registry(registry);
        Ok(builder.allowed_capabilities(allowed).kubewarden(kubewarden))
    }

    fn settings(&self) -> anyhow::Result<Value> {
        match (&self.settings_path, &self.settings_json) {
            (Some(path), _) => serde_saphyr::from_str(&read(path)?)
                .map_err(|error| anyhow::anyhow!("{} is not YAML: {error}", path.display())),
            (None, Some(json)) => serde_json::from_str(json).context("--settings-json is not JSON"),
            (None, None) => Ok(Value::Object(serde_json::Map::new())),
        }
    }
}

/// Refuses settings that the policy refuses, in kwctl's words.
pub(crate) async fn require_valid_settings(host: &PolicyHost) -> anyhow::Result<()> {
    let validation = host.validate_settings().await;
    if !validation.valid {
        bail!("Provided settings are not valid: {}", validation.message.unwrap_or_default());
    }
    Ok(())
}

/// Reads an AdmissionRequest, bare or inside an AdmissionReview.
pub(crate) fn read_request(path: &Path) -> anyhow::Result<Value> {
    let document: Value =
        serde_json::from_str(&read(path)?).with_context(|| format!("{} is not JSON", path.display()))?;
    match document {
        Value::Object(mut fields) if fields.get("request").is_some_and(Value::is_object) => {
            Ok(fields.remove("request").unwrap_or_default())
        }
        request => Ok(request),
    }
}

pub(crate) fn read_interactions(path: &Path) -> anyhow::Result<Vec<Exchange>> {
    parse_interactions(&read(path)?).with_context(|| format!("cannot replay {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
