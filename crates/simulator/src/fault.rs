//! Faults between a client and the simulated Harbor, on demand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::content::{SPLIT_MIX_STEP, split_mix};

/// What kind of request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteClass {
    /// Any of those below; no request is of this class itself.
    Any,
    /// `GET /v2/`
    Ping,
    /// `GET /service/token`
    Token,
    /// HEAD of a manifest.
    ManifestHead,
    /// GET of a manifest.
    ManifestGet,
    /// HEAD of a blob.
    BlobHead,
    /// GET of a blob.
    BlobGet,
    /// The list of a repository's tags.
    Tags,
    /// `/api/v2.0` without the replications.
    Api,
    /// `/api/v2.0/replication`
    Replication,
    /// Whatever else.
    Other,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultAction {
    /// The answer comes so many (real) milliseconds later; other faults then still apply.
    DelayMilliseconds(u64),
    /// There never is an answer.
    Hang,
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection ends after so many bytes of the body.
    TruncateAfter(u64),
    /// The body has the right length and a wrong first byte.
    Corrupt,
    /// This status with one of Harbor's error bodies; the request does nothing else.
    Respond(u16),
}

/// A fault, see [`crate::Simulator::inject`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    action: FaultAction,
    #[serde(default = "any_route")]
    route: RouteClass,
    #[serde(default)]
    matching: String,
    #[serde(default)]
    times: Option<u64>,
    #[serde(default = "always")]
    chance: f64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    html: Option<String>,
}

/// What an answer of [`FaultAction::Respond`] wears in place of one of Harbor's error bodies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dress {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) html: Option<String>,
}

/// A fault that is left to no chance.
pub(crate) fn always() -> f64 {
    1.0
}

fn any_route() -> RouteClass {
    RouteClass::Any
}

impl Fault {
    /// This action on every request until it is cleared.
    pub fn new(action: FaultAction) -> Self {
        Self {
            action,
            route: RouteClass::Any,
            matching: String::new(),
            times: None,
            chance: always(),
            headers: BTreeMap::new(),
            html: None,
        }
    }

    /// Something before Harbor (a firewall, a gateway, a load balancer) answers with this status and a page of its own.
    pub fn page(status: u16) -> Self {
        Self::new(FaultAction::Respond(status)).html(format!(
            "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        ))
    }

    /// A login proxy stands before Harbor: 302 to where people log in.
    pub fn login_page() -> Self {
        let location = "https://login.invalid/oauth2/authorize?client_id=harbor&response_type=code";
        Self::page(302).header("location", location)
    }

    /// An ingress that refuses a slash which is encoded twice, as Harbor's API wants it in names of repositories.
    pub fn refuses_double_encoding() -> Self {
        Self::page(400).matching("%252F")
    }

    /// `Retry-After`, in seconds or as a date.
    pub fn retry_after(self, value: impl Into<String>) -> Self {
        self.header("retry-after", value)
    }

    /// An answer of [`FaultAction::Respond`] has this header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// An answer of [`FaultAction::Respond`] has this page in place of Harbor's JSON.
    pub fn html(mut self, text: impl Into<String>) -> Self {
        self.html = Some(text.into());
        self
    }

    /// Only for requests of this class.
    pub fn on(mut self, route: RouteClass) -> Self {
        self.route = route;
        self
    }

    /// Only where the path contains this text.
    pub fn matching(mut self, text: impl Into<String>) -> Self {
        self.matching = text.into();
        self
    }

    /// Only for so many of the requests that it is meant for, 0 to 1, by chance.
    pub fn chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    /// Only for the next so many requests.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

/// A fault that was injected. Dropping the handle leaves the fault in place.
#[derive(Debug, Clone)]
pub struct FaultHandle {
    faults: Arc<Faults>,
    active: Arc<Active>,
}

impl FaultHandle {
    /// Ends the fault; requests that hang already go on hanging.
    pub fn clear(&self) {
        self.faults.lock().retain(|active| !Arc::ptr_eq(active, &self.active));
    }

    /// How many requests it has met.
    pub fn hits(&self) -> u64 {
        self.active.hits.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: Mutex<Vec<Arc<Active>>>,
    dice: Dice,
}

/// What is left to chance, the same in every run with the same seed.
#[derive(Debug, Default)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Whether something happens that has this chance.
    pub(crate) fn falls(&self, chance: f64) -> bool {
        if chance >= 1.0 {
            return true;
        }
        let mut state = self.0.fetch_add(SPLIT_MIX_STEP, Ordering::Relaxed);
        // 53 bits are what a float holds exactly.
        let drawn = (split_mix(&mut state) >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < chance
    }
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    hits: AtomicU64,
}

/// What the faults say about one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) action: Option<FaultAction>,
    pub(crate) dress: Dress,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { active: Mutex::default(), dice: Dice::new(seed) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Active>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn inject(self: &Arc<Self>, fault: Fault) -> FaultHandle {
        let active = Arc::new(Active { fault, hits: AtomicU64::new(0) });
        self.lock().push(Arc::clone(&active));
        FaultHandle { faults: Arc::clone(self), active }
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// All delays add up; of the rest, the fault that was injected first wins.
    pub(crate) fn judge(&self, class: RouteClass, path: &str) -> Verdict {
        let mut verdict = Verdict::default();
        self.lock().retain(|active| {
            let fault = &active.fault;
            let meant = (fault.route == RouteClass::Any || fault.route == class) && path.contains(&fault.matching);
            if !meant || !self.dice.falls(fault.chance) {
                return true;
            }
            match fault.action {
                FaultAction::DelayMilliseconds(delay) => verdict.delay += Duration::from_millis(delay),
                action if verdict.action.is_none() => {
                    verdict.action = Some(action);
                    verdict.dress = Dress { headers: fault.headers.clone(), html: fault.html.clone() };
                }
                _ => return true,
            }
            let hits = active.hits.fetch_add(1, Ordering::Relaxed) + 1;
            fault.times.is_none_or(|times| hits < times)
        });
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_ends_by_itself_and_counts_its_hits() {
        let faults = Arc::new(Faults::default());
        let handle = faults.inject(Fault::new(FaultAction::Respond(503)).on(RouteClass::BlobGet).times(2));
        assert_eq!(faults.judge(RouteClass::BlobHead, "/x"), Verdict::default());
        for _ in 0..2 {
            assert_eq!(faults.judge(RouteClass::BlobGet, "/x").action, Some(FaultAction::Respond(503)));
        }
        assert_eq!(faults.judge(RouteClass::BlobGet, "/x"), Verdict::default());
        assert_eq!(handle.hits(), 2);
    }

    #[test]
    fn a_delay_leaves_room_for_another_fault() {
        let faults = Arc::new(Faults::default());
        faults.inject(Fault::new(FaultAction::DelayMilliseconds(5)));
        let reset = faults.inject(Fault::new(FaultAction::Reset).matching("/blobs/"));
        let verdict = faults.judge(RouteClass::BlobGet, "/v2/a/b/blobs/x");
        assert_eq!((verdict.delay, verdict.action), (Duration::from_millis(5), Some(FaultAction::Reset)));
        reset.clear();
        assert_eq!(faults.judge(RouteClass::BlobGet, "/v2/a/b/blobs/x").action, None);
    }

    #[test]
    fn a_fault_by_chance_meets_its_share_of_the_requests_and_the_same_ones_again() {
        let met = |seed| {
            let faults = Arc::new(Faults::new(seed));
            faults.inject(Fault::new(FaultAction::Respond(503)).chance(0.05));
            (0..10_000).filter(|_| faults.judge(RouteClass::Api, "/").action.is_some()).collect::<Vec<_>>()
        };
        assert!((400..600).contains(&met(7).len()), "{} of 10000", met(7).len());
        assert_eq!(met(7), met(7));
        assert_ne!(met(7), met(8));
    }

    #[test]
    fn faults_are_read_from_json() {
        let fault: Fault = serde_json::from_str(r#"{"route":"blob-get","times":3,"action":{"respond":429}}"#).unwrap();
        assert_eq!((fault.route, fault.times, fault.action), (RouteClass::BlobGet, Some(3), FaultAction::Respond(429)));
        let text = r#"{"action":{"respond":503},"headers":{"retry-after":"7"},"html":"<p>"}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!((fault.headers["retry-after"].as_str(), fault.html.as_deref()), ("7", Some("<p>")));
        let fault: Fault = serde_json::from_str(r#"{"action":"hang"}"#).unwrap();
        assert_eq!((fault.route, fault.action), (RouteClass::Any, FaultAction::Hang));
    }
}
