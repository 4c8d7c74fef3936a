//! Connections that never ask for anything, and what they may not keep from those who do.
//!
//! `CROWD_SECONDS=600 cargo test --release -p harbor-warmer-cli --test it crowd -- --nocapture` is the long run: 5,000
//! idle and 2,000 slow connections to a port with TLS, opened again soon after they are cut. It needs 20,000 file
//! descriptors. How fast a machine can shake hands is not looked at: the idle ones don't, as it costs them nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harbor_warmer_protocol::{HandOff, Platforms, Receipt, Subject};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::policy_server::{CLUSTER, TlsSite};
use crate::site::{Options, Site, place};

/// What an idle connection may hold up at most: less than the time after which it would be cut for being idle.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_keep_the_probes_waiting() {
    let site = Site::start().await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(site.service.admin_address).await.unwrap());
    }
    for path in ["livez", "readyz", "metrics"] {
        let request = site.http.get(format!("http://{}/{path}", site.service.admin_address)).send();
        let answer = tokio::time::timeout(SOON, request).await.unwrap_or_else(|_| panic!("{path} is not answered"));
        assert!(answer.unwrap().status().is_success(), "{path}");
    }
}

/// What a connection of the crowd does.
#[derive(Clone, Copy)]
enum Manner {
    /// Says nothing, not even what a handshake begins with.
    Idle,
    /// Shakes hands, then a byte of its request a second.
    Slow,
}

/// Connections that are opened again whenever they are cut, from addresses of their own.
struct Crowd {
    address: SocketAddr,
    connector: TlsConnector,
    opened: AtomicUsize,
}

impl Crowd {
    async fn stay(self: Arc<Self>, number: usize, manner: Manner) {
        // A handful of hosts, none of them the one that hands over.
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 7, u8::try_from(number % 16).unwrap()));
        loop {
            let _cut: std::io::Result<()> = self.connect(from, manner).await;
            // A host that is cut needs a moment for the next connection, even one that means harm.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn connect(&self, from: IpAddr, manner: Manner) -> std::io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(from, 0))?;
        let mut stream = socket.connect(self.address).await?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        if let Manner::Slow = manner {
            let mut stream = self.connector.connect(server_name(), stream).await?;
            for byte in b"GET /v2/ HTTP/1.1\r\nhost: localhost\r\nx: ".iter().chain([b'x'; 600].iter()) {
                stream.write_all(&[*byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            return Ok(());
        }
        stream.read_u8().await.map(drop)
    }
}

fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into())
}

fn trusting(authority: &str) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // As a policy server does it: each connection is a whole handshake.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// A hand-off as a policy server makes it: a connection of its own each time.
async fn hand_over(tls: &TlsSite, connector: &TlsConnector, tag: &str) -> std::io::Result<Receipt> {
    let hand_off = HandOff {
        image: place("shop/app"),
        target: None,
        platforms: Platforms::new(["linux/amd64".parse().unwrap()]).unwrap(),
        subject: Subject::Tag(tag.parse().unwrap()),
    };
    let (name, tag) = hand_off.to_name().unwrap();
    let stream = TcpStream::connect(tls.site.service.registry_address).await?;
    let mut stream = connector.connect(server_name(), stream).await?;
    let authorization = STANDARD.encode(format!("{CLUSTER}:s3cret"));
    let request = format!(
        "GET /v2/{name}/manifests/{tag} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Basic {authorization}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    Receipt::from_manifest(&answer[body..])
        .map_err(|error| std::io::Error::other(format!("{error}: {}", String::from_utf8_lossy(&answer))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_without_credentials_do_not_starve_those_who_hand_over() {
    let seconds: Option<u64> = std::env::var("CROWD_SECONDS").ok().map(|text| text.parse().unwrap());
    let (idle, slow) = if seconds.is_some() { (5_000, 2_000) } else { (500, 20) };
    // In the short run as many places less as there are fewer who want one. Whoever is slow is not cut for that alone.
    let registry = if seconds.is_some() { "clientTimeout: 10m" } else { "maxConnections: 64, clientTimeout: 10m" };
    let tls = TlsSite::start(Options { registry: registry.to_owned(), ..Options::default() }).await;
    let connector = trusting(&tls.authority);
    let crowd = Arc::new(Crowd {
        address: tls.site.service.registry_address,
        connector: connector.clone(),
        opened: AtomicUsize::new(0),
    });
    let mut tasks = JoinSet::new();
    for number in 0..idle + slow {
        let manner = if number < idle { Manner::Idle } else { Manner::Slow };
        tasks.spawn(Arc::clone(&crowd).stay(number, manner));
    }
    // Each has had its turn once.
    while crowd.opened.load(Ordering::Relaxed) < idle + slow {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let began = Instant::now();
    let mut took = Vec::new();
    let mut failed = Vec::new();
    while seconds.map_or(took.len() + failed.len() < 20, |seconds| began.elapsed().as_secs() < seconds) {
        let tag = format!("1.{}", took.len());
        let asked = Instant::now();
        match tokio::time::timeout(SOON, hand_over(&tls, &connector, &tag)).await {
            Ok(Ok(_)) => took.push(asked.elapsed()),
            Ok(Err(error)) => failed.push(error.to_string()),
            Err(_) => failed.push(format!("no answer within {SOON:?}")),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    took.sort_unstable();
    let within_a_second = took.iter().filter(|took| **took <= Duration::from_secs(1)).count();
    let all = took.len() + failed.len();
    let at = |part: usize| took.get((took.len() * part / 1000).min(took.len().saturating_sub(1)));
    println!(
        "{idle} idle and {slow} slow connections, {} opened in {:?}: {within_a_second} of {all} hand-offs within 1 s; \
         half within {:?}, 99% within {:?}, the slowest {:?}; {} failed",
        crowd.opened.load(Ordering::Relaxed),
        began.elapsed(),
        at(500),
        at(990),
        took.last(),
        failed.len(),
    );
    assert!(failed.is_empty(), "{failed:#?}");
    if seconds.is_some() {
        assert!(within_a_second * 100 >= all * 99, "{within_a_second} of {all} within 1 s");
    }
    tasks.shutdown().await;
}
