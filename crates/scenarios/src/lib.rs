#![doc = include_str!("../README.md")]

mod answers;
mod content;
mod expectation;
mod product;
mod replication;
mod scenario;
mod sequence;
mod site;
pub mod slow;
mod table;
mod upstream;
mod watch;

pub use expectation::{Row, Verdict};
pub use scenario::{Scenario, run_all, scenarios, slow_scenarios};
pub use site::{Credentials, LookAtTarget, Site, SiteError, SiteOptions, Target};
pub use table::print;
pub use upstream::{Upstream, UpstreamError};
