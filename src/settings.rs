use harbor_warmer_workload::{PolicySettings, sentences};
use kubewarden_policy_sdk::settings::Validatable;
use serde::Deserialize;
use serde_json::Value;

/// The settings as they arrive. Any JSON will do here: a value that serde refuses would reach the user as an error
/// with the whole payload in it, and only the first one.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct RawSettings(Value);

impl Validatable for RawSettings {
    fn validate(&self) -> Result<(), String> {
        PolicySettings::try_from(&self.0).map(drop).map_err(|mistakes| sentences(&mistakes))
    }
}

#[cfg(test)]
mod described;
#[cfg(test)]
mod presets;
#[cfg(test)]
mod tests;
