//! Faults of the upstream, each for a number of requests.

use serde::Deserialize;

use crate::fault::{Dice, always};

/// Which of Harbor's requests to the upstream a fault is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamRequest {
    /// All of them.
    Any,
    /// HEAD of a manifest.
    ManifestHead,
    /// GET of a manifest.
    ManifestGet,
    /// The stream of a blob that is passed on to a client.
    ClientStream,
    /// The second stream of a blob, which fills the cache.
    CacheCopy,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamEffect {
    /// The upstream answers with this status.
    Status(u16),
    /// The connection breaks before there is an answer.
    Disconnect,
    /// The body ends after so many bytes.
    TruncateAfter(u64),
    /// The body has the right length and the wrong bytes.
    Corrupt,
}

/// A fault of the upstream, see [`crate::Upstream::fail_next`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UpstreamFault {
    effect: UpstreamEffect,
    #[serde(default = "any_request")]
    request: UpstreamRequest,
    #[serde(default)]
    matching: String,
    #[serde(default = "once")]
    times: u32,
    #[serde(default = "always")]
    chance: f64,
}

fn any_request() -> UpstreamRequest {
    UpstreamRequest::Any
}

fn once() -> u32 {
    1
}

impl UpstreamFault {
    /// This effect on the next request, whichever it is.
    pub fn new(effect: UpstreamEffect) -> Self {
        Self { effect, request: UpstreamRequest::Any, matching: String::new(), times: 1, chance: always() }
    }

    /// Only for this kind of request.
    pub fn on(mut self, request: UpstreamRequest) -> Self {
        self.request = request;
        self
    }

    /// Only where `repository@reference` contains this text.
    pub fn matching(mut self, text: impl Into<String>) -> Self {
        self.matching = text.into();
        self
    }

    /// From now on for so many of the requests that it is meant for, 0 to 1, by chance.
    pub fn chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self.times = u32::MAX;
        self
    }

    /// For so many requests.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }
}

/// The effect of the first fault that is meant for this request, which is one of its times.
pub(super) fn take(
    faults: &mut Vec<UpstreamFault>,
    request: UpstreamRequest,
    subject: &str,
    dice: &Dice,
) -> Option<UpstreamEffect> {
    let place = faults.iter().position(|fault| {
        (fault.request == UpstreamRequest::Any || fault.request == request)
            && subject.contains(&fault.matching)
            && dice.falls(fault.chance)
    })?;
    let fault = &mut faults[place];
    fault.times = fault.times.saturating_sub(1);
    let (effect, spent) = (fault.effect, fault.times == 0);
    if spent {
        faults.remove(place);
    }
    Some(effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_by_chance_goes_on_and_meets_its_share() {
        let dice = Dice::new(7);
        let mut faults = vec![UpstreamFault::new(UpstreamEffect::Disconnect).chance(0.5)];
        let met = (0..1000).filter(|_| take(&mut faults, UpstreamRequest::CacheCopy, "a@1", &dice).is_some()).count();
        assert!((400..600).contains(&met), "{met} of 1000");
    }
}
