//! What keeps an image from going on, and what a person can do about it.
//!
//! A [`Problem`] is the kind of a cause; the cause itself is a sentence with the names in it. Kinds are kept with the
//! failures of an image, so that a cure can be told long after the answer that it is for. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The kind of what an image waits for, or why it goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Other images stand before it at Harbor.
    Turn,
    /// Harbor copies its blobs.
    Copying,
    /// Harbor looks for the blobs of its manifest every 20 s.
    Recording,
    /// Harbor records its tag when the index is complete, or its deadline is over.
    TagPending,
    /// Harbor copies it to the target.
    Replicating,
    /// Only what nobody waits for is left, and Harbor's rate limit has to be over first.
    Strain,
    /// The robot's secret is wrong, it has expired, or it may not pull from the project.
    Credentials,
    /// The warmer can't read its own credentials.
    CredentialsUnreadable,
    /// Harbor has no such project.
    NoSuchProject,
    /// The project is not public, and the warmer has no credentials.
    NotPublic,
    /// Harbor's token server gave no token.
    NoToken,
    /// The registry's challenges name a token server at another address.
    ForeignTokenServer,
    /// Harbor does not take the repository's name for one.
    UnknownPath,
    /// The robot lacks a right.
    MissingRight,
    /// The upstream refuses Harbor's credentials.
    UpstreamRefuses,
    /// Harbor's upstream does not answer.
    UpstreamSilent,
    /// Harbor or its upstream limits requests.
    RateLimited,
    /// Harbor answers with an error of its own.
    ServerError,
    /// Harbor, or a gateway before it, says that it can't serve at present.
    Outage,
    /// A login proxy stands before Harbor.
    LogInProxy,
    /// An ingress or firewall before Harbor answers in its place.
    Intercepted,
    /// A blob can't be read from the storage that Harbor redirects to.
    BlobHost,
    /// Harbor does not answer in time.
    Timeout,
    /// There is no connection to Harbor.
    Unreachable,
    /// Harbor takes blobs and does not keep them.
    StorageRefused,
    /// Harbor has every blob and does not record the manifest.
    NeverRecorded,
    /// A policy of the Harbor project refuses the image.
    PolicyRefuses,
    /// The upstream has no such tag.
    MissingTag,
    /// The upstream has no such manifest.
    MissingManifest,
    /// The upstream lacks a blob of the image.
    MissingBlob,
    /// The upstream sends no digest for the tag.
    NoDigest,
    /// Other content came than was asked for, or less.
    WrongContent,
    /// What answers is no Harbor.
    NotHarbor,
    /// Harbor keeps the repository under another name.
    Renamed,
    /// Harbor is at another address.
    Redirected,
    /// An answer that nobody expects.
    UnexpectedAnswer,
    /// Harbor or project are not in the configuration.
    NotConfigured,
    /// The queue can't be read.
    Queue,
    /// An execution of the replication failed.
    ReplicationFailed,
    /// The replication can't be started as it is set up.
    ReplicationSetUp,
    /// The replication policy is disabled in Harbor.
    ReplicationDisabled,
    /// The image has none of the wanted platforms.
    NoSuchPlatform,
    /// Harbor does not cache what this is.
    Unsupported,
    /// Its worker ended without a word several times.
    Crashed,
    /// It is named by its digest alone, and the configuration leaves such images out.
    Untagged,
    /// Harbor records the tag no more, for up to 7 days.
    TagBlocked,
    /// The tag means another image now.
    TagMoved,
    /// Harbor had the time to record the tag, and did not.
    TagNeverRecorded,
    /// The robot may not see whether the tag is recorded.
    TagUnreadable,
    /// What was asked followed again from its answer: going on would be a storm.
    NoProgress,
    /// More requests were made for it than any good image needs.
    RequestsExceeded,
    /// It failed, and nobody took down of what kind that was.
    Unknown,
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A sentence.
    pub error: String,
    /// Of what kind that is.
    pub problem: Problem,
    /// How long to wait at least: Harbor, or what stands before it, said so.
    pub retry_after: Option<Duration>,
}

/// Nobody is believed who wants to be left alone for longer: a clock or a setting may be wrong there.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

impl Failure {
    /// A failure of this kind.
    pub fn new(problem: Problem, error: impl Into<String>) -> Self {
        Self { error: error.into(), problem, retry_after: None }
    }

    /// One after which to wait so long, and an hour at most.
    #[must_use]
    pub fn not_within(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait.min(RETRY_AFTER_MAX)), ..self }
    }
}

/// Whose job it is to mend a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// Nobody's: time mends it, or there is nothing to mend.
    Nobodys,
    /// Theirs who write the workload.
    Workload,
    /// Theirs who run the warmer: its configuration, its credentials, its disk.
    Warmer,
    /// Harbor's administrator's.
    Harbor,
    /// Theirs who run what stands before Harbor: the ingress, the firewall, the network.
    Network,
    /// Theirs who push to the upstream, or run it.
    Upstream,
}

impl Whose {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Nobodys => "nobody",
            Self::Workload => "who writes the workload",
            Self::Warmer => "who runs the warmer",
            Self::Harbor => "Harbor's administrator",
            Self::Network => "who runs the network before Harbor",
            Self::Upstream => "who pushes the image, or runs its registry",
        }
    }
}

impl Problem {
    /// Whether this is the way of things, and nobody has to do anything.
    pub fn passes(self) -> bool {
        matches!(
            self,
            Self::Turn | Self::Copying | Self::Recording | Self::TagPending | Self::Replicating | Self::Strain
        )
    }

    /// Whose job it is to mend it.
    pub fn whose(self) -> Whose {
        match self {
            Self::Turn
            | Self::Copying
            | Self::Recording
            | Self::TagPending
            | Self::Replicating
            | Self::Strain
            | Self::TagMoved
            | Self::Unsupported => Whose::Nobodys,
            Self::UnknownPath | Self::MissingTag | Self::MissingManifest | Self::NoSuchPlatform => Whose::Workload,
            Self::Credentials
            | Self::CredentialsUnreadable
            | Self::NotPublic
            | Self::ForeignTokenServer
            | Self::NotHarbor
            | Self::Renamed
            | Self::Redirected
            | Self::BlobHost
            | Self::NotConfigured
            | Self::Queue
            | Self::ReplicationSetUp
            | Self::Crashed
            | Self::Untagged
            | Self::NoProgress
            | Self::RequestsExceeded
            | Self::Unknown => Whose::Warmer,
            Self::NoSuchProject
            | Self::NoToken
            | Self::MissingRight
            | Self::UpstreamRefuses
            | Self::UpstreamSilent
            | Self::RateLimited
            | Self::ServerError
            | Self::Timeout
            | Self::StorageRefused
            | Self::NeverRecorded
            | Self::PolicyRefuses
            | Self::WrongContent
            | Self::UnexpectedAnswer
            | Self::ReplicationFailed
            | Self::ReplicationDisabled
            | Self::TagBlocked
            | Self::TagNeverRecorded
            | Self::TagUnreadable => Whose::Harbor,
            Self::Outage | Self::LogInProxy | Self::Intercepted | Self::Unreachable => Whose::Network,
            Self::MissingBlob | Self::NoDigest => Whose::Upstream,
        }
    }

    /// What it is, in a line without the names that a cause has.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Turn => "other images stand before it at Harbor",
            Self::Copying => "Harbor copies its blobs",
            Self::Recording => "Harbor looks for the blobs of its manifest every 20 s",
            Self::TagPending => "Harbor records its tag when the index is complete, or its deadline is over",
            Self::Replicating => "Harbor copies it to the target",
            Self::Strain => "what nobody waits for is left until Harbor's rate limit is over",
            Self::Credentials => "the robot's secret is wrong, it has expired, or it may not pull from the project",
            Self::CredentialsUnreadable => "the warmer can't read its own credentials",
            Self::NoSuchProject => "Harbor has no such project",
            Self::NotPublic => "the project is not public, and the warmer has no credentials",
            Self::NoToken => "Harbor's token server gave no token",
            Self::ForeignTokenServer => "the registry names a token server at another address",
            Self::UnknownPath => "Harbor does not take the repository's name for one",
            Self::MissingRight => "the robot lacks a right",
            Self::UpstreamRefuses => "the upstream refuses Harbor's credentials",
            Self::UpstreamSilent => "Harbor's upstream does not answer",
            Self::RateLimited => "Harbor or its upstream limits requests (429)",
            Self::ServerError => "Harbor answers with an error of its own (500)",
            Self::Outage => "Harbor, or a gateway before it, can't serve at present (502 to 504 and others)",
            Self::LogInProxy => "a login proxy stands before Harbor",
            Self::Intercepted => "an ingress or firewall before Harbor answers with a page of its own",
            Self::BlobHost => "a blob can't be read from the storage that Harbor redirects to",
            Self::Timeout => "Harbor does not answer in time",
            Self::Unreachable => "there is no connection to Harbor",
            Self::StorageRefused => "Harbor takes blobs and does not keep them",
            Self::NeverRecorded => "Harbor has every blob and does not record the manifest",
            Self::PolicyRefuses => "a policy of the Harbor project refuses the image",
            Self::MissingTag => "the upstream has no such tag",
            Self::MissingManifest => "the upstream has no such manifest",
            Self::MissingBlob => "the upstream lacks a blob of the image",
            Self::NoDigest => "the upstream sends no digest for the tag",
            Self::WrongContent => "other content came than was asked for, or less",
            Self::NotHarbor => "what answers is no Harbor",
            Self::Renamed => "Harbor keeps the repository under another name",
            Self::Redirected => "Harbor is at another address",
            Self::UnexpectedAnswer => "an answer that nobody expects",
            Self::NotConfigured => "Harbor or project are not in the configuration",
            Self::Queue => "the queue can't be read",
            Self::ReplicationFailed => "an execution of the replication failed",
            Self::ReplicationSetUp => "the replication can't be started as it is set up",
            Self::ReplicationDisabled => "the replication policy is disabled in Harbor",
            Self::NoSuchPlatform => "the image has none of the wanted platforms",
            Self::Unsupported => "Harbor does not cache what this is, or it is larger than any image",
            Self::Crashed => "its worker ended without a word several times",
            Self::Untagged => "it is named by its digest alone, and the configuration leaves such images out",
            Self::TagBlocked => "Harbor records the tag no more, for up to 7 days",
            Self::TagMoved => "the tag means another image now",
            Self::TagNeverRecorded => "Harbor had the time to record the tag, and did not",
            Self::TagUnreadable => "the warmer may not see whether the tag is recorded",
            Self::NoProgress => "a turn learnt nothing new, whatever it asked",
            Self::RequestsExceeded => "it asked for far more than an image needs, and is set aside",
            Self::Unknown => "it failed, and nobody took down of what kind that was",
        }
    }

    /// What a person can do, in sentences.
    pub fn cure(self) -> &'static str {
        match self {
            Self::Turn => {
                "Nothing: it begins when the images before it are done. How many go on at once is bounded by the \
                 Harbor's `concurrency.max` and by `queue.workers`."
            }
            Self::Copying => "Nothing: a layer takes as long as Harbor's upstream needs to send it.",
            Self::Recording => "Nothing: Harbor looks every 20 s, and is reminded when that doesn't help.",
            Self::TagPending => {
                "Nothing, but it may take 7 minutes. `completeIndex: true` or `resolveThrough` on the project has \
                 Harbor record tags sooner."
            }
            Self::Replicating => "Nothing: Harbor's page Replications shows how far the execution is.",
            Self::Strain => "Nothing: what workloads wait for is there. The rest follows when the limit is over.",
            Self::Credentials => {
                "Give the warmer a robot of this project that has not expired, with the right to pull; \
                 `harbor-warmer check` says which of the three it is. No restart is needed."
            }
            Self::CredentialsUnreadable => {
                "Mend the file or variable that `credentials` of this Harbor names. A file is read again when it \
                 changes."
            }
            Self::NoSuchProject => {
                "Create the proxy-cache project in Harbor, or correct its name in the mapping rule and under \
                 `projects`."
            }
            Self::NotPublic => "Give the warmer `credentials` for this Harbor, or make the project public there.",
            Self::NoToken => {
                "Look at the log of Harbor's core: its token service `/service/token` must be reachable at the \
                 address that Harbor names (`hostname`, `external_url`)."
            }
            Self::ForeignTokenServer => {
                "Name it as `tokenRealm` of this Harbor, if it is the registry's own: it is sent the credentials."
            }
            Self::UnknownPath => {
                "Correct the mapping rule: a repository in Harbor is written in lower case, as the upstream knows it."
            }
            Self::MissingRight => "Grant the robot that right; `harbor-warmer check` names each one that is missing.",
            Self::UpstreamRefuses => {
                "Renew the credentials of the registry endpoint in Harbor (Administration, Registries). If they are \
                 good, the repository is private or doesn't exist."
            }
            Self::UpstreamSilent => {
                "Test the registry endpoint in Harbor (Administration, Registries), and Harbor's way to it. If other \
                 images of the project arrive, this repository is private or doesn't exist."
            }
            Self::RateLimited => {
                "Wait, or lift the limit: give the registry endpoint in Harbor an account at its upstream, or raise \
                 the project's `max_upstream_conn`."
            }
            Self::ServerError => "Look at the logs of Harbor's core and registry at the time of the attempt.",
            Self::Outage => {
                "Look whether Harbor and what stands before it (ingress, load balancer, CDN) are up; it goes on by \
                 itself."
            }
            Self::LogInProxy => {
                "Let the warmer past the login proxy: give it an address of Harbor that asks nobody to log in, for \
                 `/v2/`, `/api/` and `/service/token`."
            }
            Self::Intercepted => {
                "Look at the ingress or web application firewall before Harbor: it has to let `/v2/` and `/api/` \
                 through as they are, with `%252F` in a path and without a log-in of its own."
            }
            Self::BlobHost => {
                "Let the warmer reach that host, and list it in `blobHosts` if that is set; or use `transfer: touch`, \
                 which reads nothing from there."
            }
            Self::Timeout => {
                "Look at Harbor's load and at its upstream's speed. If both are slow for good, raise `requestTimeout` \
                 and `stallTimeout`."
            }
            Self::Unreachable => {
                "Look whether Harbor is up, and whether `url`, DNS, network policy and certificate (`caFile`) let \
                 the warmer reach it: `harbor-warmer check`."
            }
            Self::StorageRefused => {
                "Raise the project's quota, run garbage collection, or end Harbor's read-only mode; then it goes on \
                 by itself."
            }
            Self::NeverRecorded => {
                "Look for the manifest's digest in the log of Harbor's core: its database or its registry refuses \
                 the push."
            }
            Self::PolicyRefuses => {
                "Mend the image, or change the rule of the Harbor project (vulnerabilities, signatures) that refuses \
                 it."
            }
            Self::MissingTag => {
                "Correct the tag in the workload, or push it: while `missingTagFor` lasts it is then found by itself."
            }
            Self::MissingManifest => "Correct the digest in the workload, or push the image to the upstream again.",
            Self::MissingBlob => "Push the image to the upstream again: its registry has lost a layer.",
            Self::NoDigest => {
                "Write the digest in the workload (`image:tag@sha256:…`), or have the upstream's registry send \
                 `Docker-Content-Digest`."
            }
            Self::WrongContent => {
                "Look for a proxy or a disk between Harbor and its upstream that spoils content; then \
                 `harbor-warmer requeue`."
            }
            Self::NotHarbor => "Correct `url` of this Harbor: something else answers there, such as an ingress.",
            Self::Renamed => "Write the repository in the mapping rule as Harbor keeps it, such as `library/nginx`.",
            Self::Redirected => "Write the address that Harbor redirects to as its `url`.",
            Self::UnexpectedAnswer => "Look at what stands before Harbor, and at the log of its core.",
            Self::NotConfigured => {
                "Write the project down under `harbors.NAME.projects` again, or let the image be forgotten."
            }
            Self::Queue => "Look at the disk of `dataDir`, and at the warmer's log.",
            Self::ReplicationFailed => {
                "Look at the execution on Harbor's page Replications: as a rule the target's credentials have \
                 expired, or may not create the repository."
            }
            Self::ReplicationSetUp => {
                "Mend `targets.NAME.replication`, or what it names in Harbor; `harbor-warmer check` says how."
            }
            Self::ReplicationDisabled => "Enable the policy on Harbor's page Replications; it goes on by itself.",
            Self::NoSuchPlatform => {
                "Use an image that is built for the nodes, or narrow the platforms in the policy's settings."
            }
            Self::Unsupported => "Nothing in Harbor: this kind of content is pulled from its upstream.",
            Self::Crashed => "Look for a panic in the warmer's log and report it; then `harbor-warmer requeue`.",
            Self::Untagged => {
                "Name a second proxy project as `resolveThrough`, which warms such images without harm, or set \
                 `warmUntagged: true` on the project."
            }
            Self::TagBlocked => {
                "Wait for the date, or have an administrator delete the two Redis keys and requeue the image. \
                 `resolveThrough` on the project keeps it from happening again."
            }
            Self::TagMoved => "Nothing: the image that the tag means now is warmed by itself.",
            Self::TagNeverRecorded => {
                "Look for the tag in the log of Harbor's core. An image with layers that Harbor can't store \
                 (Windows) is never recorded."
            }
            Self::TagUnreadable => {
                "Grant the robot `artifact: read` and `tag: list`, so that tags can be verified. If it has them, the \
                 ingress or firewall before Harbor refuses `%252F` in a path."
            }
            Self::NoProgress => {
                "Look at what Harbor answers to that step in the log of its core; report it if the answers are right."
            }
            Self::RequestsExceeded => {
                "Look at the image's attempts for what is asked again and again; then `harbor-warmer requeue`."
            }
            Self::Unknown => "Look at the attempts that failed; then `harbor-warmer requeue`.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind; the match makes a new one known here.
    fn all() -> Vec<Problem> {
        use Problem::*;
        let next = |problem| match problem {
            Turn => Some(Copying),
            Copying => Some(Recording),
            Recording => Some(TagPending),
            TagPending => Some(Replicating),
            Replicating => Some(Strain),
            Strain => Some(Credentials),
            Credentials => Some(CredentialsUnreadable),
            CredentialsUnreadable => Some(NoSuchProject),
            NoSuchProject => Some(NotPublic),
            NotPublic => Some(NoToken),
            NoToken => Some(ForeignTokenServer),
            ForeignTokenServer => Some(UnknownPath),
            UnknownPath => Some(MissingRight),
            MissingRight => Some(UpstreamRefuses),
            UpstreamRefuses => Some(UpstreamSilent),
            UpstreamSilent => Some(RateLimited),
            RateLimited => Some(ServerError),
            ServerError => Some(Outage),
            Outage => Some(LogInProxy),
            LogInProxy => Some(Intercepted),
            Intercepted => Some(BlobHost),
            BlobHost => Some(Timeout),
            Timeout => Some(Unreachable),
            Unreachable => Some(StorageRefused),
            StorageRefused => Some(NeverRecorded),
            NeverRecorded => Some(PolicyRefuses),
            PolicyRefuses => Some(MissingTag),
            MissingTag => Some(MissingManifest),
            MissingManifest => Some(MissingBlob),
            MissingBlob => Some(NoDigest),
            NoDigest => Some(WrongContent),
            WrongContent => Some(NotHarbor),
            NotHarbor => Some(Renamed),
            Renamed => Some(Redirected),
            Redirected => Some(UnexpectedAnswer),
            UnexpectedAnswer => Some(NotConfigured),
            NotConfigured => Some(Queue),
            Queue => Some(ReplicationFailed),
            ReplicationFailed => Some(ReplicationSetUp),
            ReplicationSetUp => Some(ReplicationDisabled),
            ReplicationDisabled => Some(NoSuchPlatform),
            NoSuchPlatform => Some(Unsupported),
            Unsupported => Some(Crashed),
            Crashed => Some(Untagged),
            Untagged => Some(TagBlocked),
            TagBlocked => Some(TagMoved),
            TagMoved => Some(TagNeverRecorded),
            TagNeverRecorded => Some(TagUnreadable),
            TagUnreadable => Some(NoProgress),
            NoProgress => Some(RequestsExceeded),
            RequestsExceeded => Some(Unknown),
            Unknown => None,
        };
        std::iter::successors(Some(Turn), |problem| next(*problem)).collect()
    }

    #[test]
    fn every_problem_has_a_cure_of_its_own_in_whole_sentences() {
        let all = all();
        let mut cures: Vec<_> = all.iter().map(|problem| problem.cure()).collect();
        for cure in &cures {
            assert!(cure.starts_with(char::is_uppercase) && cure.ends_with('.'), "{cure}");
            assert!(!cure.contains("  "), "{cure}");
        }
        for problem in &all {
            // Of these two nobody can make more, and time doesn't either.
            let is_final = matches!(problem, Problem::Unsupported | Problem::TagMoved);
            let passes = problem.cure().starts_with("Nothing") && !is_final;
            assert_eq!(problem.passes(), passes, "{problem:?}");
            assert_eq!(problem.whose() == Whose::Nobodys, problem.cure().starts_with("Nothing"), "{problem:?}");
        }
        cures.sort_unstable();
        cures.dedup();
        assert_eq!(cures.len(), all.len());
    }

    /// `docs/problems.md` is this table; `UPDATE=1` writes it.
    #[test]
    fn the_documentation_has_every_problem_with_its_cause_its_cure_and_whose_job_it_is() {
        let mut table = String::from("| Problem | Cause | Cure | Whose job |\n|---|---|---|---|\n");
        for problem in all() {
            let name = serde_json::to_value(problem).unwrap();
            let (name, whose) = (name.as_str().unwrap(), problem.whose().words());
            let mut cause = problem.cause().to_owned();
            cause[..1].make_ascii_uppercase();
            table.push_str(&format!("| `{name}` | {cause}. | {} | {whose} |\n", problem.cure()));
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (before, written) = page.split_once("| Problem |").unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, format!("{before}{table}")).unwrap();
            return;
        }
        assert_eq!(format!("| Problem |{written}"), table, "run it with UPDATE=1");
    }

    #[test]
    fn nobody_is_left_alone_for_longer_than_an_hour() {
        let failure = |seconds| Failure::new(Problem::Outage, "x").not_within(Duration::from_secs(seconds));
        assert_eq!(failure(90).retry_after, Some(Duration::from_secs(90)));
        assert_eq!(failure(u64::MAX).retry_after, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_problem_is_read_again_as_it_was_written_down() {
        for problem in all() {
            let text = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem, "{text}");
        }
        assert_eq!(serde_json::to_value(Problem::NoSuchProject).unwrap(), "no-such-project");
    }
}
