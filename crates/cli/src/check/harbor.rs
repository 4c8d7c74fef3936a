//! What a Harbor answers, and what follows from it: the asking is at the top, the judging is pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use harbor_warmer_protocol::{Digest, HarborName, ProjectName, RepositoryPath, TagOrDigest};
use harbor_warmer_workload::{Mapped, Mapping};

use super::report::{Finding, Section, Verdict};
use super::settings::{describe_harbor, describe_project, index_projects};
use harbor_warmer::clock;
use harbor_warmer::config::{Config, Harbor, KeepWarm, Project};
use harbor_warmer_core::project::HarborKind;
use harbor_warmer_core::timestamp::Timestamp;
use harbor_warmer_harbor::Credentials;
use harbor_warmer_harbor::retention::Retention;
use harbor_warmer_harbor::{
    AnswerClass, Artifact, Client, HarborError, ProjectSummary, Refusal, Repository, RobotExpiry, SystemInfo,
    Uncounted, Upstream,
};
use harbor_warmer_settings::duration_text;

/// All that is asked of one Harbor together. A person waits for it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// Projects asked about at once.
const PROJECTS_AT_ONCE: usize = 4;

/// A repository of Docker Hub's. Registries that answer a wrong digest alike whether they have the repository or not are
/// asked about it just as well.
const USUAL_REPOSITORY: &str = "library/hello-world";

/// A repository that the upstream is asked about. Many upstreams say nothing of one that they lack, or that is private,
/// so those that it certainly has come first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Probed {
    repository: RepositoryPath,
    /// Why it should be there; none of the usual one.
    known: Option<&'static str>,
}

/// What was answered about one project.
struct ProjectAnswers {
    /// None: there is none that these credentials have to do with.
    summary: Result<Option<ProjectSummary>, HarborError>,
    upstream: Result<Upstream, HarborError>,
    /// What the upstream was asked about.
    probed: Option<Probed>,
    artifact: Result<Option<Artifact>, HarborError>,
    retention: Result<Retention, HarborError>,
}

/// Asks one Harbor everything, within a minute.
pub(super) async fn check_harbor(name: &HarborName, harbor: &Harbor, config: &Config) -> Section {
    let title = format!("Harbor {name}");
    let mut findings = vec![describe_harbor(harbor)];
    match tokio::time::timeout(TIMEOUT, ask_harbor(name, harbor, config)).await {
        Ok(answers) => findings.extend(answers),
        Err(_) => findings.push(Finding::bad(
            format!("it did not answer everything within {} s", TIMEOUT.as_secs()),
            "look at Harbor's load, and at the network between the warmer and Harbor",
        )),
    }
    Section { title, findings }
}

async fn ask_harbor(name: &HarborName, harbor: &Harbor, config: &Config) -> Vec<Finding> {
    let client = match Client::new(name.clone(), &harbor.options, Arc::new(Uncounted)) {
        Ok(client) => client,
        Err(error) => return vec![Finding::bad(error.to_string(), "mend this in the configuration")],
    };
    let mut findings = Vec::new();
    if harbor.options.kind == HarborKind::Distribution {
        findings.push(judge_sign_in(client.sign_in().await));
        findings.extend(harbor.projects.iter().map(|(name, project)| describe_project(name, project)));
        return findings;
    }
    if let Err(error) = client.ping().await {
        findings.push(unanswered(&error));
        return findings;
    }
    findings.push(judge_version(client.systeminfo().await));
    if !matches!(harbor.options.credentials, Credentials::Anonymous) {
        let signed_in = client.sign_in().await;
        let refused = signed_in.is_err();
        findings.push(judge_sign_in(signed_in));
        if refused {
            // Every project would say the same.
            return findings;
        }
    }
    if !matches!(harbor.options.credentials, Credentials::Anonymous) {
        findings.extend(judge_expiry(client.robot_expiry(harbor.projects.keys()).await, clock::now()));
    }
    let client = &client;
    let answers: BTreeMap<&ProjectName, ProjectAnswers> = stream::iter(harbor.projects.keys())
        .map(|project| async move { (project, ask_project(client, project, config).await) })
        .buffer_unordered(PROJECTS_AT_ONCE)
        .collect()
        .await;
    let index_projects = index_projects(harbor);
    for (name, project) in &harbor.projects {
        findings.push(describe_project(name, project));
        let Some(answer) = answers.get(name) else { continue };
        let judged = judge_project(name, answer);
        let is_there = judged.iter().all(|finding| finding.verdict != Verdict::Bad);
        findings.extend(judged);
        if is_there && !index_projects.contains(name) {
            let through = project.resolve_through.as_ref();
            findings.extend(judge_resolve_through(name, project, answer, through.and_then(|name| answers.get(name))));
            findings.extend(judge_retention(name, project.keep_warm, &answer.retention));
        }
    }
    findings
}

async fn ask_project(client: &Client, project: &ProjectName, config: &Config) -> ProjectAnswers {
    let summary = client.find_project(project).await;
    let retention = match summary.as_ref().ok().and_then(Option::as_ref).map(|summary| summary.retention_id) {
        Some(Some(id)) => client.retention(id).await,
        Some(None) | None => Ok(Retention::Nothing),
    };
    let place = |repository: RepositoryPath| Repository { project: project.clone(), repository };
    let (mut upstream, mut probed) = (Ok(Upstream::Silent), None);
    for candidate in probed_repositories(client, project, config).await {
        upstream = client.probe(&place(candidate.repository.clone())).await;
        let is_told = !matches!(upstream, Ok(Upstream::Silent));
        if is_told || probed.is_none() {
            probed = Some(candidate);
        }
        if is_told {
            break;
        }
    }
    let artifact = match &probed {
        // Recorded by nobody: what counts is whether the robot may ask.
        Some(probed) => client.artifact(&place(probed.repository.clone()), &TagOrDigest::Digest(Digest::ZERO)).await,
        None => Ok(None),
    };
    ProjectAnswers { summary, upstream, probed, artifact, retention }
}

/// What to ask the upstream about, the most certain first.
async fn probed_repositories(client: &Client, project: &ProjectName, config: &Config) -> Vec<Probed> {
    let pinned = config.pinned.iter().find_map(|image| match config.rules.map(&image.parse().ok()?) {
        Mapping::Mapped(Mapped { image, .. }) if image.harbor == *client.name() && image.project == *project => {
            Some(image.repository)
        }
        _ => None,
    });
    let cached = client.latest_repository(project).await.ok().flatten();
    let probed = |known| move |repository| Probed { repository, known };
    let usual = USUAL_REPOSITORY.parse().ok().map(probed(None));
    let certain = pinned.map(probed(Some("is pinned"))).into_iter().chain(cached.map(probed(Some("is cached"))));
    certain.chain(usual).collect()
}

pub(super) fn unanswered(error: &HarborError) -> Finding {
    let cure = match error.class() {
        AnswerClass::Unreachable => {
            "look at url, at the name's address, and for a private certificate authority at caFile"
        }
        AnswerClass::Timeout => "look at the network between here and Harbor, and at Harbor's load",
        AnswerClass::ServerError => "look at the logs of Harbor's core and nginx",
        AnswerClass::Outage => "look whether Harbor, and the ingress or load balancer before it, are up",
        AnswerClass::Intercepted => {
            "look at the ingress, firewall or login proxy before Harbor: it must let /v2/ and /api/ through as they are"
        }
        _ => "look at url: it must be the address of a Harbor, without a path",
    };
    Finding::bad(format!("it does not answer: {error}"), cure)
}

fn judge_version(info: Result<SystemInfo, HarborError>) -> Finding {
    match info {
        Ok(SystemInfo { harbor_version: Some(version) }) => Finding::good(format!("it answers, version {version}")),
        // Harbor tells its version to those who signed in, by a setting of its own.
        Ok(SystemInfo { harbor_version: None }) => Finding::good("it answers, and does not tell its version"),
        Err(error) => Finding::bad(
            format!("it answers, but not as a Harbor does: {error}"),
            "look at url; for a registry that is no Harbor write `kind: distribution`",
        ),
    }
}

fn judge_sign_in(signed_in: Result<(), HarborError>) -> Finding {
    match signed_in {
        Ok(()) => Finding::good("the credentials are accepted"),
        Err(error @ HarborError::Unauthorized(_)) => Finding::bad(
            format!("the credentials are refused: {error}"),
            "a robot's name is whole, such as robot$hub+warmer; robots expire after 30 days by default: look at the \
             robot in Harbor, refresh its secret, and write that into the password file",
        ),
        Err(error) => unanswered(&error),
    }
}

/// A robot that expires sooner is told as something to look at.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// When a robot expires, if it may know.
pub(super) fn judge_expiry(expiry: Result<Option<RobotExpiry>, HarborError>, now: Timestamp) -> Option<Finding> {
    match expiry {
        Ok(Some(RobotExpiry { robot, at: None })) => Some(Finding::good(format!("{robot} never expires"))),
        Ok(Some(RobotExpiry { robot, at: Some(at) })) if at.since(now) > EXPIRES_SOON => {
            Some(Finding::good(format!("{robot} expires at {at}")))
        }
        Ok(Some(RobotExpiry { robot, at: Some(at) })) => Some(Finding::doubtful(
            format!("{robot} expires at {at}"),
            "in Harbor, edit the robot and lengthen its time, which counts from when it was made",
        )),
        Err(HarborError::Forbidden(_)) => {
            let text = "when the robot expires, it may not read: that takes the right `robot: list` (Harbor v2.12)";
            Some(Finding::stated(text))
        }
        // A user does not expire; other errors are told where more depends on them.
        Ok(None) | Err(_) => None,
    }
}

fn judge_project(name: &ProjectName, answers: &ProjectAnswers) -> Vec<Finding> {
    let no_such_project = || {
        Finding::bad(
            format!("{name} does not exist"),
            "create it in Harbor with \"Proxy Cache\" switched on, or correct its name under projects",
        )
    };
    if matches!(&answers.summary, Err(HarborError::Unauthorized(Refusal::NoSuchProject)))
        || matches!(&answers.upstream, Err(HarborError::Unauthorized(Refusal::NoSuchProject)))
    {
        return vec![no_such_project()];
    }
    if let Ok(Some(ProjectSummary { registry_id: None, .. })) = &answers.summary {
        let cure = "a project becomes a proxy cache only when it is created: make another with \"Proxy Cache\" on";
        return vec![Finding::bad(format!("{name} is an ordinary project, not a proxy cache"), cure)];
    }
    let known_proxy = matches!(answers.summary, Ok(Some(_)));
    let mut findings = vec![judge_upstream(name, known_proxy, answers)];
    findings.push(judge_artifact(name, &answers.artifact));
    findings
}

fn judge_upstream(name: &ProjectName, known_proxy: bool, answers: &ProjectAnswers) -> Finding {
    let probed = answers.probed.as_ref().map(|probed| probed.repository.as_str()).unwrap_or_default();
    match &answers.upstream {
        // Only a proxy cache passes on what an upstream says.
        Ok(Upstream::Answers) => Finding::good(format!("{name} is a proxy cache, and its upstream answers")),
        Ok(Upstream::Silent) => match answers.probed.as_ref().and_then(|probed| probed.known) {
            Some(known) => Finding::doubtful(
                format!("{name}: its upstream does not answer: it said nothing of {probed}, which {known}"),
                "under Administration, Registries, test the connection of its endpoint",
            ),
            None if known_proxy => Finding::doubtful(
                format!("{name} is a proxy cache, but its upstream said nothing of {probed}"),
                "no matter where the upstream has no such repository; else test the registry endpoint in Harbor. An \
                 image under `pinned`, or the right `repository: list`, lets this ask about one that is there",
            ),
            None => Finding::doubtful(
                format!("{name} exists; whether it is a proxy cache can't be told"),
                format!(
                    "its upstream said nothing of {probed}: look in Harbor whether the project is a proxy cache, and \
                     whether its registry endpoint is healthy"
                ),
            ),
        },
        Err(error @ HarborError::Unauthorized(Refusal::CredentialsOrRight)) => Finding::bad(
            format!("{name}: {error}"),
            "give the robot the right `repository: pull` in this project; a project robot has rights in its own alone",
        ),
        Err(error @ HarborError::Unauthorized(Refusal::NotPublic)) => {
            Finding::bad(format!("{name}: {error}"), "make the project public, or write credentials")
        }
        Err(error @ HarborError::UpstreamRefused(_)) => {
            Finding::bad(format!("{name}: {error}"), "edit the registry endpoint under Administration, Registries")
        }
        Err(error @ HarborError::RateLimited { .. }) => Finding::doubtful(
            format!("{name}: {error}"),
            "it heals by itself; credentials at the registry endpoint raise Docker Hub's limit",
        ),
        Err(error) => Finding::bad(format!("{name}: {error}"), "look at the logs of Harbor's core"),
    }
}

fn judge_artifact(name: &ProjectName, artifact: &Result<Option<Artifact>, HarborError>) -> Finding {
    match artifact {
        Ok(_) => Finding::good(format!("{name}: artifacts may be read, so Harbor itself says what is warm")),
        Err(HarborError::Forbidden(_)) => Finding::doubtful(
            format!(
                "{name}: artifacts may not be read; warm will mean that every blob is there, and no tag is verified"
            ),
            "give the robot the right `artifact: read` in this project",
        ),
        Err(HarborError::Unauthorized(_)) => Finding::doubtful(
            format!("{name}: the API refuses these credentials, though the registry takes them"),
            "give the robot the right `artifact: read` in this project",
        ),
        Err(error) => {
            Finding::bad(format!("{name}: artifacts can't be read: {error}"), "look at the logs of Harbor's core")
        }
    }
}

/// What the rules drop, against when an image is pulled again.
fn judge_retention(
    name: &ProjectName,
    keep_warm: KeepWarm,
    retention: &Result<Retention, HarborError>,
) -> Option<Finding> {
    let every = match (keep_warm, retention) {
        (KeepWarm::Never, _) | (KeepWarm::Every(_), Err(_)) => return None,
        (KeepWarm::Every(every), Ok(_)) => every,
        (KeepWarm::ByRule, Ok(retention)) => retention.keep_warm_every().unwrap_or(KeepWarm::USUALLY),
        (KeepWarm::ByRule, Err(HarborError::Forbidden(_))) => {
            return Some(Finding::doubtful(
                format!(
                    "{name}: its retention rules may not be read; images are pulled again after {}, as for 7 days",
                    duration_text(KeepWarm::USUALLY)
                ),
                "give the robot the right `tag-retention: read` in this project, or write half of the rules' time as \
                 keepWarmEvery",
            ));
        }
        (KeepWarm::ByRule, Err(error)) => {
            let text = format!("{name}: its retention rules can't be read: {error}");
            return Some(Finding::doubtful(text, "look at the logs of Harbor's core"));
        }
    };
    let again = duration_text(every);
    let retention = retention.as_ref().copied().unwrap_or(Retention::Nothing);
    Some(match retention {
        Retention::Nothing => Finding::good(format!("{name}: {retention}")),
        Retention::Unpulled(time) if every < time => {
            Finding::good(format!("{name}: {retention}; images are pulled again after {again}"))
        }
        Retention::Unpulled(_) => Finding::bad(
            format!("{name}: {retention}, before images are pulled again after {again}"),
            "lengthen the retention rule to two days at least, or write a shorter keepWarmEvery",
        ),
        Retention::Pulled { .. } => Finding::doubtful(
            format!("{name}: {retention}"),
            "they are warmed again when that is noticed. To keep them, add the rule \"pulled within the last # days\" for \
             all repositories and tags, untagged artifacts included",
        ),
    })
}

/// `through` are the answers about the project that indexes are read through.
fn judge_resolve_through(
    name: &ProjectName,
    project: &Project,
    answers: &ProjectAnswers,
    through: Option<&ProjectAnswers>,
) -> Option<Finding> {
    let Some(other) = &project.resolve_through else {
        let cure = format!(
            "create a second proxy-cache project of the same registry endpoint, such as {name}-index, let the robot \
             pull from it,\nand write:\n  projects:\n    {name}: {{resolveThrough: {name}-index}}\n    {name}-index:"
        );
        let text = format!(
            "{name} has no resolveThrough: tags are recorded later, and those of images slower than 400 s not for 7 days"
        );
        return Some(Finding::doubtful(text, cure));
    };
    let endpoint = |answers: &ProjectAnswers| answers.summary.as_ref().ok()?.as_ref()?.registry_id;
    match (endpoint(answers), through.and_then(endpoint)) {
        (Some(own), Some(others)) if own == others => {
            Some(Finding::good(format!("{other} is a proxy cache of the same endpoint")))
        }
        (Some(_), Some(_)) => Some(Finding::bad(
            format!("{other} is a proxy cache of another endpoint than {name}"),
            "indexes read through it would be other images'; name a project of the same registry endpoint",
        )),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
