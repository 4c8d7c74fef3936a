#![doc = include_str!("../README.md")]

mod answers;
mod apart;
mod content;
mod credentials;
mod error;
mod expectation;
mod ground;
mod product;
mod relay;
mod replication;
mod scenario;
mod second_tag;
mod sequence;
mod site;
mod slow;
mod table;
mod trouble;
mod upstream;
mod warmer;
mod watch;

pub use credentials::Credentials;
pub use error::SiteError;
pub use expectation::{Row, Verdict};
pub use ground::{Ground, Grounds, MakeGround};
pub use scenario::{Scenario, run_all, scenarios};
pub use site::{LookAtTarget, Site, SiteOptions, Target};
pub use table::print;
pub use upstream::{Upstream, UpstreamError};
