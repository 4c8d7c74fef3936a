//! What the configuration says, in sentences. Pure.

use std::collections::BTreeSet;

use harbor_warmer_protocol::ProjectName;

use super::report::{Finding, Section};
use crate::map::{Outcome, Verdict};
use harbor_warmer::config::{Config, Harbor, Project, Replication, Target};
use harbor_warmer_core::project::{HarborKind, Transfer};
use harbor_warmer_harbor::{Credentials, OwnPolicy};
use harbor_warmer_settings::duration_text;
use harbor_warmer_workload::Judge;

pub(super) fn describe(config: &Config) -> Vec<Section> {
    vec![describe_ports(config), describe_queue(config), describe_rules(config)]
}

fn describe_ports(config: &Config) -> Section {
    let registry = &config.registry;
    let scheme = if registry.tls.is_some() { "HTTPS" } else { "plain HTTP" };
    let mut findings = vec![Finding::stated(format!("registry port {} ({scheme})", registry.listen))];
    let open = !registry.listen.ip().is_loopback();
    if registry.credentials.is_empty() {
        let text = "anybody who reaches the registry port may hand images over";
        findings.push(if open {
            Finding::doubtful(text, "give each cluster a user name and password under registry.credentials")
        } else {
            Finding::stated(text)
        });
    } else {
        let clusters: Vec<_> = registry.credentials.iter().map(|credential| credential.cluster.as_str()).collect();
        findings.push(Finding::stated(format!("these clusters may hand over: {}", clusters.join(", "))));
        if registry.tls.is_none() && open {
            let text = "their passwords cross the network in the clear";
            findings.push(Finding::doubtful(text, "name certificateFile and keyFile under registry.tls"));
        }
    }
    let front = &config.front;
    findings.push(Finding::stated(format!(
        "a policy's look-up waits for Harbor at most {}, all of a user's at most {} within {}",
        duration_text(front.wait),
        duration_text(front.budget),
        duration_text(front.budget_window)
    )));
    findings.push(Finding::stated(format!("admin port {}", config.admin.listen)));
    if config.admin.token_file.is_some() {
        findings.push(Finding::stated("its API wants the token of tokenFile"));
    } else if !config.admin.listen.ip().is_loopback() {
        let text = "others than this machine reach the admin port, so that it answers probes and metrics alone";
        let advice = "for `status`, `warm`, `plan` and `requeue` write admin.socket or admin.tokenFile";
        findings.push(Finding::doubtful(text, advice));
    }
    if let Some(socket) = &config.admin.socket {
        findings.push(Finding::stated(format!("admin socket {}", socket.display())));
    }
    if let Some(probes) = &config.probes {
        findings.push(Finding::stated(format!("probes and metrics {}", probes.listen)));
    }
    Section { title: "Ports".to_owned(), findings }
}

fn describe_queue(config: &Config) -> Section {
    let queue = &config.queue;
    let findings = vec![
        Finding::stated(format!("in {}, {} images at once", config.data_dir.display(), queue.workers)),
        Finding::stated(format!(
            "a warm tag is looked at again when asked for after {}",
            duration_text(queue.recheck_after)
        )),
        Finding::stated(format!(
            "given up: what keeps failing after {}, a tag that its upstream lacks after {}",
            duration_text(queue.give_up_after),
            duration_text(queue.missing_tag_for)
        )),
    ];
    Section { title: "Queue".to_owned(), findings }
}

fn describe_rules(config: &Config) -> Section {
    let platforms: Vec<_> = config.platforms.iter().map(ToString::to_string).collect();
    let mut findings = Vec::new();
    if config.rules.is_empty() {
        let text = "no rule: `warm` and `plan` on the command line refuse every image";
        findings.push(Finding::doubtful(text, "write the same rules as in the policy's settings under rules"));
    } else {
        let harbors: Vec<_> = config.rules.harbors().map(ToString::to_string).collect();
        let rules = match config.rules.len() {
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
        findings.push(Finding::stated(format!("{rules}, to {}", list_text(&harbors))));
        let targets: Vec<_> = config.rules.targets().map(ToString::to_string).collect();
        if !targets.is_empty() {
            findings.push(Finding::stated(format!("with the replication targets {}", targets.join(", "))));
        }
    }
    findings.push(Finding::stated(format!("for {}", platforms.join(", "))));
    findings.extend(describe_examples(config));
    Section { title: "Rules of the command line".to_owned(), findings }
}

/// For each rule an image that it decides, and what comes of that.
fn describe_examples(config: &Config) -> impl Iterator<Item = Finding> {
    let judge = Judge { rules: &config.rules, platforms: &config.platforms };
    config.rules.example_of_each().into_iter().enumerate().map(move |(index, example)| {
        let Some(example) = example else {
            return Finding::doubtful(
                format!("rules[{index}]: no example is found for its pattern"),
                "try an image that it is meant for: `harbor-warmer map --config FILE IMAGE`",
            );
        };
        let image = example.to_string();
        let outcome = Outcome::of(&judge.image(&image), Some(config));
        let text = format!("{image}: {}", outcome.text);
        match outcome.verdict {
            Verdict::Warmed | Verdict::LeftAlone => Finding::stated(text),
            Verdict::Wrong => Finding::doubtful(
                text,
                "this image is made up; if real ones fare like it, mend the rule: `harbor-warmer map` tries it",
            ),
        }
    })
}

fn list_text(names: &[String]) -> String {
    if names.is_empty() { "nowhere".to_owned() } else { names.join(", ") }
}

/// How the warmer goes to a Harbor.
pub(super) fn describe_harbor(harbor: &Harbor) -> Finding {
    let who = match &harbor.options.credentials {
        Credentials::Anonymous => "anonymously".to_owned(),
        Credentials::Basic { username, .. } => format!("as {username}"),
        Credentials::DockerConfig(path) => format!("with the credentials of {}", path.display()),
    };
    let kind = match harbor.options.kind {
        HarborKind::Harbor => "",
        HarborKind::Distribution => ", a distribution cache",
    };
    let (initial, max) = (harbor.concurrency.initial, harbor.concurrency.max);
    Finding::stated(format!("{}{kind}, {who}, {initial} to {max} transfers at once", place(harbor)))
}

/// What is done in a project.
pub(super) fn describe_project(name: &ProjectName, project: &Project) -> Finding {
    let transfer = match project.transfer {
        Transfer::Touch => "touched",
        Transfer::Drain => "drained",
    };
    let index = if project.complete_index { "whole indexes" } else { "the wanted platforms alone" };
    let through = match &project.resolve_through {
        Some(through) => format!(", indexes read through {through}"),
        None => String::new(),
    };
    Finding::stated(format!("project {name}: blobs are {transfer}, {index}{through}"))
}

/// What is said of a target.
pub(super) fn describe_target(target: &Target) -> Finding {
    let policy = match &target.replication {
        Replication::Own(OwnPolicy { name: policy, .. }) => {
            format!("by the warmer's own policy {policy}, whose filters it sets")
        }
        Replication::Existing { policy } => format!("by the policy {policy}, started as it is"),
    };
    Finding::stated(format!("replicated from {} {policy}", target.harbor))
}

/// Projects through which others' indexes are read.
pub(super) fn index_projects(harbor: &Harbor) -> BTreeSet<&ProjectName> {
    harbor.projects.values().filter_map(|project| project.resolve_through.as_ref()).collect()
}

fn place(harbor: &Harbor) -> &str {
    harbor.options.url.as_str().trim_end_matches('/')
}
