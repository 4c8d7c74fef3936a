//! `harbor-warmer check`: what the configuration means, and whether each Harbor is as it should be.
//!
//! Every finding that keeps the warmer from its work comes with its cause and its cure. Nothing is changed in any
//! Harbor; of an upstream one manifest is asked for that nobody has.

mod arrivals;
mod harbor;
mod policies;
mod report;
mod settings;
mod target;

use futures_util::future::join_all;

pub(crate) use report::Report;

use self::harbor::check_harbor;
use self::report::{Finding, Section};
use self::settings::{describe, describe_harbor, describe_project, describe_target};
use self::target::check_target;
use harbor_warmer::config::Config;
use harbor_warmer_harbor::install_crypto_provider;

/// What the configuration means; no Harbor is asked.
pub(crate) fn offline(config: &Config) -> Report {
    let mut sections = describe(config);
    for (name, harbor) in &config.harbors {
        let projects = harbor.projects.iter().map(|(name, project)| describe_project(name, project));
        let findings: Vec<Finding> = std::iter::once(describe_harbor(harbor)).chain(projects).collect();
        sections.push(Section { title: format!("Harbor {name}"), findings });
    }
    for (name, target) in &config.targets {
        sections.push(Section { title: format!("Target {name}"), findings: vec![describe_target(target)] });
    }
    Report { sections }
}

/// What the configuration means, and what each Harbor answers: all of them at once, each within a bounded time.
pub(crate) async fn online(config: &Config) -> Report {
    install_crypto_provider();
    let mut sections = describe(config);
    let harbors = join_all(config.harbors.iter().map(|(name, harbor)| check_harbor(name, harbor, config)));
    let targets = join_all(config.targets.iter().map(|(name, target)| check_target(name, target, config)));
    let (harbors, targets) = tokio::join!(harbors, targets);
    sections.extend(harbors);
    sections.extend(targets);
    Report { sections }
}
