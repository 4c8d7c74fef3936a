//! What a client has to know of a Harbor: its address, how the warmer proves who it is, and how long it waits.

use std::path::PathBuf;
use std::time::Duration;

use harbor_warmer_core::project::HarborKind;

/// One Harbor, as its client needs to know it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What speaks there.
    pub kind: HarborKind,
    /// Its address, `https://host[:port]`; no path.
    pub url: reqwest::Url,
    /// How the warmer proves who it is.
    pub credentials: Credentials,
    /// A token server at another address that gets the credentials, where a Distribution registry's challenges name
    /// one. Without it only a token server at `url` is asked.
    pub token_realm: Option<reqwest::Url>,
    /// The hosts that a redirected blob may be read from, `*.example.com` for all below a domain; empty for every one
    /// that is not this machine, link-local or a cloud's metadata.
    pub blob_hosts: Vec<String>,
    /// A PEM file of certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// A transfer that brings no byte for this long is given up.
    pub stall_timeout: Duration,
    /// Any other request is given up after this.
    pub request_timeout: Duration,
}

/// How the warmer proves who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Not at all: public projects, by the anonymous token flow.
    Anonymous,
    /// A robot or user.
    Basic {
        /// Name, such as `robot$proxy+warmer`.
        username: String,
        /// Secret.
        password: Secret,
    },
    /// A `.dockerconfigjson` file; the entry of the Harbor's host is used.
    DockerConfig(PathBuf),
}

/// Where a secret stands. A file is read again when it changes.
#[derive(Clone, Debug)]
pub enum Secret {
    /// A file that holds the secret and perhaps a final line break.
    File(PathBuf),
    /// The name of an environment variable, read at the start.
    Environment(String),
}

/// A replication policy that is the warmer's alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPolicy {
    /// Its name in Harbor. Created where there is none.
    pub name: String,
    /// The name of Harbor's registry endpoint that it copies to; needed where the policy is to be created.
    pub registry: Option<String>,
    /// The namespace at the target; with none the target's repository is `<project>/<repository>`.
    pub dest_namespace: Option<String>,
    /// How many leading parts of the path the namespace replaces; none leaves it to Harbor (all but the last).
    pub dest_namespace_replace_count: Option<i8>,
}
