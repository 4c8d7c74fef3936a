//! `registry`, `admin` and `front`.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::files::{read_secret, read_tls};
use super::section::{Reading, Section};
use crate::config::{AdminPort, ClusterCredential, Front, RegistryPort};

/// Every interface: the policy servers are other Pods, often other clusters.
const REGISTRY_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);

/// This machine alone: whoever reaches the admin port may have images warmed and sees their names.
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// Names that status and metrics use for those who have none.
const RESERVED_CLUSTERS: [&str; 2] = ["anonymous", "command-line"];

pub(super) fn read_registry(top: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<RegistryPort> {
    let mut section = top.section_or_empty("registry", reading)?;
    let listen = section.address("listen", REGISTRY_LISTEN, reading);
    let tls = match section.get("tls") {
        Some(_) => section.section("tls", reading).and_then(|mut tls| {
            let files = read_tls(&mut tls, reading);
            tls.finish(reading);
            files
        }),
        None => None,
    };
    let credentials = read_clusters(&mut section, reading);
    let max_connections = section.count("maxConnections", 1024, 1..=100_000, reading);
    let seconds = Duration::from_secs(1)..=Duration::from_secs(600);
    let client_timeout = section.duration("clientTimeout", Duration::from_secs(10), seconds, reading);
    section.finish(reading);
    Some(RegistryPort { listen, tls, credentials, max_connections, client_timeout })
}

fn read_clusters(registry: &mut Section<'_>, reading: &mut Reading<'_>) -> Vec<ClusterCredential> {
    let path = registry.path("credentials");
    let list = registry.list("credentials", reading).unwrap_or_default();
    let mut seen = HashSet::new();
    list.iter()
        .enumerate()
        .filter_map(|(index, value)| read_cluster(value, &format!("{path}[{index}]"), &mut seen, reading))
        .collect()
}

fn read_cluster<'a>(
    value: &'a Value,
    path: &str,
    seen: &mut HashSet<&'a str>,
    reading: &mut Reading<'_>,
) -> Option<ClusterCredential> {
    let mut section = Section::of(value, path, reading)?;
    let cluster = section.text("cluster", reading);
    let password = read_secret(&mut section, reading);
    match cluster {
        None if section.get("cluster").is_none() => {
            section.missing("cluster", "write the cluster's name; it is the user name of its policy servers", reading);
        }
        None => {}
        Some(name) if !is_cluster_name(name) => {
            let message = format!("`{name}`: write 1 to 63 letters, digits, `.`, `_` and `-`");
            reading.mistake(section.path("cluster"), message);
        }
        Some(name) if RESERVED_CLUSTERS.contains(&name) => {
            let message = format!("`{name}` is what status and metrics call those without a name; choose another");
            reading.mistake(section.path("cluster"), message);
        }
        Some(name) if !seen.insert(name) => {
            reading.mistake(section.path("cluster"), format!("`{name}` stands here twice; each cluster has one entry"));
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
    let mut section = top.section_or_empty("admin", reading)?;
    let listen = section.address("listen", ADMIN_LISTEN, reading);
    if let Some(registry) = registry
        && collide(registry.listen, listen)
    {
        let message = format!("{listen} and the registry's {} are the same port; choose another", registry.listen);
        reading.mistake(section.path("listen"), message);
    }
    section.finish(reading);
    Some(AdminPort { listen })
}

/// Whether the second of two listeners would find the port taken. Port 0 is any free one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

pub(super) fn read_front(top: &mut Section<'_>, reading: &mut Reading<'_>) -> Option<Front> {
    let mut section = top.section_or_empty("front", reading)?;
    let millis = Duration::from_millis;
    // A policy server's limit of 2 s is counted in ticks of a second, so an evaluation has 1 s in the worst case, and
    // its look-ups queue behind one lock. With half of it for all waiting, the other half is left for the calls
    // themselves. A limit that is overrun is a refused admission in protect mode.
    let wait = section.duration("wait", millis(400), millis(0)..=millis(10_000), reading);
    let budget = section.duration("budget", millis(500), millis(0)..=millis(60_000), reading);
    let budget_window = section.duration("budgetWindow", millis(30_000), millis(1_000)..=millis(3_600_000), reading);
    let cache_for = section.duration("cacheFor", millis(30_000), millis(0)..=millis(600_000), reading);
    if wait > budget {
        reading.mistake(section.path("wait"), "must not be longer than budget, which it is taken from");
    }
    if budget > budget_window {
        reading.mistake(section.path("budget"), "must not be longer than budgetWindow, the time in which it refills");
    }
    section.finish(reading);
    Some(Front { wait, budget, budget_window, cache_for })
}
