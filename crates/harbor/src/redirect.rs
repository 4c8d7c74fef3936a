//! What a redirect means, and which addresses a redirected blob may be fetched from.
//!
//! Harbor redirects in two cases only. Its registry sends a client to the storage for a blob that is *stored* (S3,
//! Azure, GCS and others, unless `redirect: disable: true`); and a repository of Docker Hub with a single name is sent
//! to `library/…`. Whatever else redirects is not Harbor. [`Redirect::read`] tells them apart, and is pure.
//!
//! A storage's address comes out of an answer, so it is nobody's decision who is called: [`Reach`] bars what a server
//! must not make its clients call. Names are looked up by [`Reach`] too, so that what is judged is what is called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use harbor_warmer_core::project::HarborKind;
use http::StatusCode;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::errors::{Barred, Operation};

/// What a redirect says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The registry has the blob and names the place of its content.
    Stored(Url),
    /// The same registry, under another path of its own: a cache of Distribution that is behind a proxy.
    Own(Url),
    /// Harbor keeps the repository under another name.
    Renamed(String),
    /// Harbor itself is at another address.
    Moved(Url),
    /// A person would log in there.
    LogIn(Url),
}

/// Parts of addresses at which people log in: OAuth 2 and OpenID Connect, SAML, and what proxies call their pages.
const LOG_IN: [&str; 14] = [
    "/login",
    "/signin",
    "/sign_in",
    "/sign-in",
    "/sso",
    "/saml",
    "/oauth",
    "/openid",
    "/authorize",
    "/cdn-cgi/access",
    "client_id=",
    "redirect_uri=",
    "samlrequest=",
    "return_to=",
];

impl Redirect {
    /// What a redirect of `asked` to `target` means. `digest` is the hexadecimal part of the blob's digest.
    pub(super) fn read(kind: HarborKind, operation: Operation, status: StatusCode, asked: &Url, target: Url) -> Self {
        let is_own = target.origin() == asked.origin();
        if is_own && target.path().starts_with("/v2/") {
            return match kind {
                // Docker Hub's single names: 301 to `library/…`, but its blobs and its record are only found there.
                HarborKind::Harbor => {
                    let to = target.path().trim_start_matches("/v2/");
                    let name = to.rsplit_once("/manifests/").or_else(|| to.rsplit_once("/blobs/"));
                    Self::Renamed(name.map_or(to, |(name, _)| name).to_owned())
                }
                HarborKind::Distribution => Self::Own(target),
            };
        }
        let is_of_a_blob = matches!(operation, Operation::HeadBlob | Operation::GetBlob);
        // A registry that has moved redirects its manifests too, which are asked for first. What sends blobs alone to
        // the same path of another host is a storage or a CDN.
        let is_same_host = target.host() == asked.host();
        if !is_own && target.path() == asked.path() && (is_same_host || !is_of_a_blob) {
            return Self::Moved(target);
        }
        if !is_of_a_blob {
            return Self::LogIn(target);
        }
        // Every storage driver's paths hold the digest; `http.Redirect` of Distribution's blob server is a 307.
        let hex = asked.path().rsplit_once(':').map_or("", |(_, hex)| hex);
        let names_the_blob = hex.len() >= 32 && target.path().contains(hex);
        let place = format!("{}?{}", target.path(), target.query().unwrap_or_default()).to_ascii_lowercase();
        let is_log_in = !names_the_blob && LOG_IN.iter().any(|part| place.contains(part));
        if names_the_blob || status == StatusCode::TEMPORARY_REDIRECT && !is_log_in {
            Self::Stored(target)
        } else {
            Self::LogIn(target)
        }
    }
}

/// Which addresses a redirected blob may be fetched from.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// The configured Harbor's own host is an address of this machine, as in a test: then others of it are no further.
    own_machine: bool,
    /// The hosts that the configuration lists; none of them listed, any will do that is not barred.
    listed: Vec<String>,
}

impl Reach {
    /// `base` is the configured address; `listed` are hosts, `*.example.com` for all below it.
    pub(super) fn new(base: &Url, listed: &[String]) -> Self {
        let own_machine = match base.host() {
            Some(url::Host::Domain(name)) => is_localhost(name),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        Self { own_machine, listed: listed.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    /// Whether `target` may be called, as far as its text tells; its name's addresses are looked at when it is called.
    pub(super) fn allows(&self, target: &Url) -> Result<(), Barred> {
        if !matches!(target.scheme(), "https" | "http") {
            return Err(Barred::Scheme);
        }
        if !target.username().is_empty() || target.password().is_some() {
            return Err(Barred::UserInfo);
        }
        let inside = match target.host() {
            Some(url::Host::Domain(name)) => is_localhost(name) && !self.own_machine,
            Some(url::Host::Ipv4(address)) => self.bars(address.into()),
            Some(url::Host::Ipv6(address)) => self.bars(address.into()),
            None => true,
        };
        if inside {
            return Err(Barred::Inside);
        }
        let host = target.host_str().unwrap_or_default().trim_end_matches('.');
        let is_listed = |listed: &String| match listed.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|name| name.len() > 1 && name.ends_with('.')),
            None => listed == host,
        };
        if self.listed.is_empty() || self.listed.iter().any(is_listed) { Ok(()) } else { Err(Barred::NotListed) }
    }

    /// Whether this address is one that nobody may be sent to.
    fn bars(&self, address: IpAddr) -> bool {
        let address = v4_within(address);
        if address.is_loopback() {
            return !self.own_machine;
        }
        match address {
            IpAddr::V4(address) => {
                let [first, ..] = address.octets();
                // "This network", and what nobody has: 240.0.0.0/4 with the broadcast address.
                first == 0 || first >= 224 || address.is_link_local() || METADATA_V4.contains(&address)
            }
            IpAddr::V6(address) => {
                address.is_unspecified()
                    || address.is_multicast()
                    || address.segments()[0] & 0xffc0 == 0xfe80
                    // Site-local, deprecated and never routed.
                    || address.segments()[0] & 0xffc0 == 0xfec0
                    || METADATA_V6.contains(&address)
            }
        }
    }
}

/// Where clouds tell a machine its secrets, outside 169.254.0.0/16: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// AWS: metadata of machines, and credentials of Pods; Google's.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// The IPv4 address within an IPv6 one that only wraps it: mapped, compatible, NAT64, 6to4.
fn v4_within(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let segments = v6.segments();
    let of = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        [0x64, 0xff9b, _, _, _, _, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        _ => address,
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name == "localhost.localdomain" || name == "ip6-localhost"
}

/// Looks names up, and leaves out the addresses that are barred: a name may mean another address at each look-up.
impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.into_iter().filter(|address| !reach.bars(address.ip())).collect();
            if allowed.is_empty() {
                return Err(Box::from("its name leads to the warmer's own machine, link-local, or nowhere"));
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl Reach {
    /// For a client's names.
    pub(super) fn resolver(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }
}
