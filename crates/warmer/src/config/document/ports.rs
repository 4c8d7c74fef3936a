//! `registry`, `admin`, `probes` and `front`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use harbor_warmer_settings::{Absent, Address, Count, File, Group, List, Nested, Setting, Span, Text, format};

use super::files::{CERTIFICATE_FILE, KEY_FILE, PASSWORD_ENV, PASSWORD_FILE, read_one_secret, read_secret, read_tls};
use super::section::{Reading, Section};
use crate::config::{AdminPort, ClusterCredential, Front, ProbePort, RegistryPort};

pub(super) static REGISTRY: Setting<Nested> = Setting {
    key: "registry",
    absent: Absent::Depends("as its keys say"),
    meaning: "The port that policy servers hand images over to.",
    example: "",
    kind: Nested { group: &REGISTRY_SETTINGS },
};

static REGISTRY_SETTINGS: Group = Group {
    name: "registry",
    heading: "`registry`",
    settings: &[&REGISTRY_LISTEN, &TLS, &CLUSTERS, &MAX_CONNECTIONS, &CLIENT_TIMEOUT],
    together: "",
};

static REGISTRY_LISTEN: Setting<Address> = Setting {
    key: "listen",
    absent: Absent::Default,
    meaning: "Where to listen: every interface by default, since the policy servers are other Pods, often of other \
              clusters.",
    example: "\"[::]:8443\"",
    kind: Address { default: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443) },
};

static TLS: Setting<Nested> = Setting {
    key: "tls",
    absent: Absent::Default,
    meaning: "The certificate and its key. Without `tls` the port speaks plain HTTP.",
    example: "",
    kind: Nested { group: &TLS_SETTINGS },
};

static TLS_SETTINGS: Group =
    Group { name: "tls", heading: "`registry.tls`", settings: &[&CERTIFICATE_FILE, &KEY_FILE], together: "" };

static CLUSTERS: Setting<List> = Setting {
    key: "credentials",
    absent: Absent::Default,
    meaning: "Who may hand over, each cluster once. With an empty list anybody may.",
    example: "",
    kind: List { group: &CLUSTER_SETTINGS, least: 0 },
};

static CLUSTER_SETTINGS: Group = Group {
    name: "cluster",
    heading: "`registry.credentials[]`",
    settings: &[&CLUSTER, &PASSWORD_FILE, &PASSWORD_ENV],
    together: r#"{"oneOf": [{"required": ["passwordFile"]}, {"required": ["passwordEnv"]}]}"#,
};

static CLUSTER: Setting<Text> = Setting {
    key: "cluster",
    absent: Absent::Required("write the cluster's name; it is the user name of its policy servers"),
    meaning: "The cluster's name: the user name of its policy servers, which status and metrics show. 1 to 63 letters, \
              digits, `.`, `_` and `-`, but not `anonymous` or `command-line`.",
    example: "production-eu",
    kind: Text { format: &format::CLUSTER_NAME, default: None },
};

static MAX_CONNECTIONS: Setting<Count> = Setting {
    key: "maxConnections",
    absent: Absent::Default,
    meaning: "Connections at once; one more waits.",
    example: "4096",
    kind: Count { default: 1_024, bounds: 1..=100_000 },
};

static CLIENT_TIMEOUT: Setting<Span> = Setting {
    key: "clientTimeout",
    absent: Absent::Default,
    meaning: "How long a client may take to send its headers, and to take an answer.",
    example: "30s",
    kind: Span { default: Duration::from_secs(10), bounds: Duration::from_secs(1)..=Duration::from_secs(600) },
};

pub(super) static ADMIN: Setting<Nested> = Setting {
    key: "admin",
    absent: Absent::Depends("as its keys say"),
    meaning: "The API that the command line uses: it shows images, has them warmed, and tries them again.",
    example: "",
    kind: Nested { group: &ADMIN_SETTINGS },
};

static ADMIN_SETTINGS: Group = Group {
    name: "admin",
    heading: "`admin`",
    settings: &[&ADMIN_LISTEN, &ADMIN_SOCKET, &ADMIN_TOKEN_FILE],
    together: "",
};

static ADMIN_LISTEN: Setting<Address> = Setting {
    key: "listen",
    absent: Absent::Default,
    meaning: "Where to listen. On this machine's own addresses the API answers whoever runs here, by the names \
              `localhost` and `127.0.0.1`, and no web page but its own. On any other address it wants the token of \
              `tokenFile`, and is closed without one. Probes and metrics are answered here too, to anybody.",
    example: "127.0.0.1:9091",
    kind: Address { default: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090) },
};

static ADMIN_SOCKET: Setting<Text> = Setting {
    key: "socket",
    absent: Absent::Depends("no socket"),
    meaning: "A Unix socket with the same API, for the warmer's own user: in Kubernetes the command line reaches it with \
              `kubectl exec` and `HARBOR_WARMER_ADMIN=unix:PATH`. At most 107 bytes.",
    example: "/var/lib/harbor-warmer/admin.sock",
    kind: Text { format: &format::PATH, default: None },
};

static ADMIN_TOKEN_FILE: Setting<File> = Setting {
    key: "tokenFile",
    absent: Absent::Depends("no token"),
    meaning: "A file with the token that the API wants over TCP, as `Authorization: Bearer TOKEN`: one line of at least \
              16 characters. Read again when it changes.",
    example: "secrets/admin-token",
    kind: File,
};

pub(super) static PROBES: Setting<Nested> = Setting {
    key: "probes",
    absent: Absent::Depends("no port of their own; the port of `admin` answers them"),
    meaning: "A port for probes and metrics alone: `/livez`, `/readyz` and `/metrics`, for anybody who reaches it.",
    example: "",
    kind: Nested { group: &PROBE_SETTINGS },
};

static PROBE_SETTINGS: Group = Group { name: "probes", heading: "`probes`", settings: &[&PROBES_LISTEN], together: "" };

static PROBES_LISTEN: Setting<Address> = Setting {
    key: "listen",
    absent: Absent::Default,
    meaning: "Where to listen: every interface by default, as the kubelet and Prometheus come from outside of the Pod. \
              Let a NetworkPolicy admit Prometheus and nobody else.",
    example: "0.0.0.0:9090",
    kind: Address { default: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9092) },
};

pub(super) static FRONT: Setting<Nested> = Setting {
    key: "front",
    absent: Absent::Depends("as its keys say"),
    meaning: "How long a policy's look-ups may wait for Harbor.",
    example: "",
    kind: Nested { group: &FRONT_SETTINGS },
};

static FRONT_SETTINGS: Group =
    Group { name: "front", heading: "`front`", settings: &[&WAIT, &BUDGET, &BUDGET_WINDOW, &CACHE_FOR], together: "" };

// A policy server's limit of 2 s is counted in ticks of a second, so an evaluation has 1 s in the worst case, and its
// look-ups queue behind one lock. With half of it for all waiting, the other half is left for the calls themselves. A
// limit that is overrun is a refused admission in protect mode.
static WAIT: Setting<Span> = Setting {
    key: "wait",
    absent: Absent::Default,
    meaning: "The most that one look-up may wait. Not longer than `budget`.",
    example: "200ms",
    kind: Span { default: Duration::from_millis(400), bounds: Duration::ZERO..=Duration::from_secs(10) },
};

static BUDGET: Setting<Span> = Setting {
    key: "budget",
    absent: Absent::Default,
    meaning: "The most that all look-ups of one user (without credentials: one address) may wait in sum. Keep it well \
              below the policy server's evaluation timeout, which is 2 s by default and 1 s in the worst case, as it \
              is counted in ticks of a second.",
    example: "800ms",
    kind: Span { default: Duration::from_millis(500), bounds: Duration::ZERO..=Duration::from_secs(60) },
};

static BUDGET_WINDOW: Setting<Span> = Setting {
    key: "budgetWindow",
    absent: Absent::Default,
    meaning: "The time in which a spent budget is full again.",
    example: "1m",
    kind: Span { default: Duration::from_secs(30), bounds: Duration::from_secs(1)..=Duration::from_secs(3_600) },
};

static CACHE_FOR: Setting<Span> = Setting {
    key: "cacheFor",
    absent: Absent::Default,
    meaning: "How long Harbor's answer to a tag is repeated.",
    example: "2m",
    kind: Span { default: Duration::from_secs(30), bounds: Duration::ZERO..=Duration::from_secs(600) },
};

/// Names that status and metrics use for those who have none.
const RESERVED_CLUSTERS: [&str; 2] = ["anonymous", "command-line"];

pub(super) fn read_registry(top: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<RegistryPort> {
    let mut section = top.nested_or_empty(&REGISTRY, reading)?;
    let listen = section.address(&REGISTRY_LISTEN, reading);
    let tls = section.nested(&TLS, reading).and_then(|mut tls| {
        let files = read_tls(&mut tls, reading);
        tls.finish(reading);
        files
    });
    let credentials = read_clusters(&mut section, reading);
    let max_connections = section.count(&MAX_CONNECTIONS, reading);
    let client_timeout = section.duration(&CLIENT_TIMEOUT, reading);
    section.finish(reading);
    Some(RegistryPort { listen, tls, credentials, max_connections, client_timeout })
}

fn read_clusters(registry: &mut Section<'_>, reading: &mut Reading<'_>) -> Vec<ClusterCredential> {
    let mut seen = HashSet::new();
    let sections = registry.list(&CLUSTERS, reading);
    sections.into_iter().filter_map(|section| read_cluster(section, &mut seen, reading)).collect()
}

fn read_cluster<'a>(
    mut section: Section<'a>,
    seen: &mut HashSet<&'a str>,
    reading: &mut Reading<'_>,
) -> Option<ClusterCredential> {
    let cluster = section.text(&CLUSTER, reading);
    let password = read_secret(&mut section, reading);
    match cluster {
        None => {}
        Some(name) if !is_cluster_name(name) => {
            let message = format!("`{name}`: write 1 to 63 letters, digits, `.`, `_` and `-`");
            section.mistake(&CLUSTER, message, reading);
        }
        Some(name) if RESERVED_CLUSTERS.contains(&name) => {
            let message = format!("`{name}` is what status and metrics call those without a name; choose another");
            section.mistake(&CLUSTER, message, reading);
        }
        Some(name) if !seen.insert(name) => {
            section.mistake(&CLUSTER, format!("`{name}` stands here twice; each cluster has one entry"), reading);
        }
        Some(_) => {}
    }
    section.finish(reading);
    Some(ClusterCredential { cluster: cluster?.to_owned(), password: password? })
}

/// What is fit for a user name (no colon), a metric's label and a log field.
fn is_cluster_name(name: &str) -> bool {
    matches!(name.len(), 1..=63) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

pub(super) fn read_admin(
    top: &mut Section<'_>,
    registry: Option<&RegistryPort>,
    reading: &mut Reading<'_>,
) -> Option<AdminPort> {
    let mut section = top.nested_or_empty(&ADMIN, reading)?;
    let listen = section.address(&ADMIN_LISTEN, reading);
    if let Some(registry) = registry
        && collide(registry.listen, listen)
    {
        let message = format!("{listen} and the registry's {} are the same port; choose another", registry.listen);
        section.mistake(&ADMIN_LISTEN, message, reading);
    }
    let socket = section.text(&ADMIN_SOCKET, reading);
    if socket == Some("") {
        section.mistake(&ADMIN_SOCKET, "must not be empty; write the path of a socket", reading);
    }
    let socket = socket.map(|text| reading.directory.join(text));
    if let Some(path) = &socket
        && path.as_os_str().len() > MAX_SOCKET_PATH
    {
        let message = format!("{} is longer than the {MAX_SOCKET_PATH} bytes of a socket's path", path.display());
        section.mistake(&ADMIN_SOCKET, message, reading);
    }
    let token = read_one_secret(&mut section, &ADMIN_TOKEN_FILE, reading);
    if let Some((path, token)) = &token
        && token.len() < MIN_TOKEN
    {
        let message = format!("{} has a token of less than {MIN_TOKEN} characters", path.display());
        section.mistake(&ADMIN_TOKEN_FILE, message, reading);
    }
    section.finish(reading);
    Some(AdminPort { listen, socket, token_file: token.map(|(path, _)| path) })
}

pub(super) fn read_probes(
    top: &mut Section<'_>,
    registry: Option<&RegistryPort>,
    admin: Option<&AdminPort>,
    reading: &mut Reading<'_>,
) -> Option<ProbePort> {
    let mut section = top.nested(&PROBES, reading)?;
    let listen = section.address(&PROBES_LISTEN, reading);
    let others = [("registry", registry.map(|port| port.listen)), ("admin", admin.map(|port| port.listen))];
    for (name, other) in others.into_iter().filter_map(|(name, other)| Some((name, other?))) {
        if collide(other, listen) {
            let message = format!("{listen} and {other} of `{name}` are the same port; choose another");
            section.mistake(&PROBES_LISTEN, message, reading);
        }
    }
    section.finish(reading);
    Some(ProbePort { listen })
}

/// A `sockaddr_un` of Linux has 108 bytes for a path and its final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// A token is made by a program, so nobody has to remember it.
const MIN_TOKEN: usize = 16;

/// Whether the second of two listeners would find the port taken. Port 0 is any free one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

pub(super) fn read_front(top: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Front> {
    let mut section = top.nested_or_empty(&FRONT, reading)?;
    let front = Front {
        wait: section.duration(&WAIT, reading),
        budget: section.duration(&BUDGET, reading),
        budget_window: section.duration(&BUDGET_WINDOW, reading),
        cache_for: section.duration(&CACHE_FOR, reading),
    };
    if front.wait > front.budget {
        section.mistake(&WAIT, "must not be longer than budget, which it is taken from", reading);
    }
    if front.budget > front.budget_window {
        section.mistake(&BUDGET, "must not be longer than budgetWindow, the time in which it refills", reading);
    }
    section.finish(reading);
    Some(front)
}
