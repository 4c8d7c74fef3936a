//! What a hostile answer can make the client do: nothing but what it was told to.
//!
//! A server that answers every operation with a redirect or a challenge to an address of the attacker's choice. Behind
//! two of these addresses a trap listens, which counts connections and keeps what it is sent; the others would lead to
//! what listens on machines that warmers run on. A connection is an attempt, so the client's resolver is asked as well.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use reqwest::dns::Resolve as _;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Server, answer, digest_of, options, place, robot, tag};
use crate::redirect::Reach;
use crate::transport::Transport;
use crate::{Barred, Client, HarborError, Options, Refusal, Shared, StorageFault, Uncounted};
use harbor_warmer_core::project::HarborKind;

const SECRET: &str = "robots-s3cr3t";
const BLOB: &[u8] = b"a layer";

/// Listens, and keeps what it is sent.
struct Trap {
    port: u16,
    caught: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Trap {
    async fn set(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let caught = Arc::new(Mutex::new(Vec::new()));
        let catches = Arc::clone(&caught);
        let task = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut sent = vec![0; 4096];
                let read = connection.read(&mut sent).await.unwrap_or(0);
                catches.lock().unwrap().push(String::from_utf8_lossy(&sent[..read]).into_owned());
                drop(connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\na layer").await);
            }
        });
        Self { port, caught, task }
    }

    fn caught(&self) -> Vec<String> {
        self.caught.lock().unwrap().clone()
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Addresses of what a warmer's machine can call and an attacker can't; `PORT` is the trap's.
const INSIDE: [&str; 46] = [
    "http://127.0.0.1:PORT/x",
    "http://127.1:PORT/x",
    "http://127.0.1:PORT/x",
    "http://127.255.255.254:PORT/x",
    "http://2130706433:PORT/x",
    "http://017700000001:PORT/x",
    "http://0177.0.0.1:PORT/x",
    "http://0x7f.0.0.1:PORT/x",
    "http://0x7f000001:PORT/x",
    "http://0X7F000001:PORT/x",
    "http://127.0.0.0x1:PORT/x",
    "http://%31%32%37.0.0.1:PORT/x",
    "http://１２７.0.0.1:PORT/x",
    "http://127。0。0。1:PORT/x",
    "http://0.0.0.0:PORT/x",
    "http://0:PORT/x",
    "http://0.1.2.3:PORT/x",
    "http://[::1]:PORT/x",
    "http://[0:0:0:0:0:0:0:1]:PORT/x",
    "http://[::]:PORT/x",
    "http://[::ffff:127.0.0.1]:PORT/x",
    "http://[::ffff:7f00:1]:PORT/x",
    "http://[::127.0.0.1]:PORT/x",
    "http://[::ffff:0:127.0.0.1]:PORT/x",
    "http://[64:ff9b::127.0.0.1]:PORT/x",
    "http://[2002:7f00:1::]:PORT/x",
    "http://[fe80::1]:PORT/x",
    "http://[fec0::1]:PORT/x",
    "http://[ff02::1]:PORT/x",
    "http://localhost:PORT/x",
    "http://LOCALHOST:PORT/x",
    "http://localhost.:PORT/x",
    "http://any.localhost:PORT/x",
    "http://localhost.localdomain:PORT/x",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://0251.0376.0251.0376/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fd00:ec2::23]/v1/credentials",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://255.255.255.255:PORT/x",
    "http://224.0.0.1:PORT/x",
];

/// Addresses that a client of HTTP has no business with, or that hide where they lead.
const ODD: [&str; 12] = [
    "file:///etc/passwd",
    "ftp://127.0.0.1:PORT/x",
    "gopher://127.0.0.1:PORT/_x",
    "unix:///var/run/docker.sock",
    "data:text/plain,x",
    "javascript:alert(1)",
    "http://robot:pw@127.0.0.1:PORT/x",
    "http://harbor.example@127.0.0.1:PORT/x",
    "http://harbor.example:443@127.0.0.1:PORT/x",
    "http://127.0.0.1:PORT#@harbor.example/x",
    "http://127.0.0.1:PORT\\@harbor.example/x",
    "http:127.0.0.1:PORT/x",
];

/// Every question of the client, the drain last: the only one that reads from where it is sent.
async fn ask_everything(client: &Client) -> Vec<HarborError> {
    let (place, digest) = (place(), digest_of(BLOB));
    let mut errors = Vec::new();
    errors.extend(client.sign_in().await.err());
    errors.extend(client.head_manifest(&place, &tag("1")).await.err());
    errors.extend(client.get_manifest(&place, digest).await.err());
    errors.extend(client.probe(&place).await.err());
    errors.extend(client.head_blob(&place, digest).await.err());
    errors.extend(client.touch_blob(&place, digest, BLOB.len() as u64).await.err());
    errors.extend(client.ping().await.err());
    errors.extend(client.systeminfo().await.err());
    errors.extend(client.artifact(&place, &tag("1")).await.err());
    errors.extend(client.find_project(&place.project).await.err());
    errors.extend(client.drain_blob(&place, digest, BLOB.len() as u64).await.err());
    errors
}

/// The addresses, with the ports of the traps.
fn addresses(v4: &Trap, v6: &Trap) -> Vec<String> {
    let port = |address: &str| if address.contains('[') { v6.port } else { v4.port };
    INSIDE.iter().chain(&ODD).map(|address| address.replace("PORT", &port(address).to_string())).collect()
}

/// A client as of a Harbor that is on another machine: so nothing on this one is its own.
fn confined(options: &Options) -> Client {
    let reach = Reach::new(&"https://harbor.example".parse().unwrap(), &options.blob_hosts);
    let transport = Transport::within(options, reach).unwrap();
    Client { shared: Arc::new(Shared { name: "main".parse().unwrap(), transport, counters: Arc::new(Uncounted) }) }
}

fn options_of(server: &Server, kind: HarborKind, directory: &tempfile::TempDir) -> Options {
    let mut options = options(&server.url());
    options.kind = kind;
    options.credentials = robot(directory, SECRET);
    options
}

/// 58 addresses, each as a redirect of two statuses and as a challenge, with and without a blob's digest in them; eleven
/// operations: 3,828 questions to each kind.
#[rstest]
#[case::harbor(HarborKind::Harbor)]
#[case::distribution(HarborKind::Distribution)]
#[tokio::test]
async fn no_answer_makes_the_client_call_inside_or_show_its_secret(#[case] kind: HarborKind) {
    let (v4, v6) = (Trap::set("127.0.0.1").await, Trap::set("::1").await);
    let directory = tempfile::tempdir().unwrap();
    let digest = digest_of(BLOB).to_string();
    let hex = digest.strip_prefix("sha256:").unwrap();
    let says = Arc::new(Mutex::new((200, "location", http::HeaderValue::from_static(""))));
    let said = Arc::clone(&says);
    let server = Server::start(move |_| {
        let (status, name, value) = said.lock().unwrap().clone();
        let mut answer = answer(status, &[], "");
        answer.headers_mut().insert(name, value);
        answer
    })
    .await;
    let client = confined(&options_of(&server, kind, &directory));
    for address in addresses(&v4, &v6) {
        for (status, path) in [302_u16, 307, 401].into_iter().flat_map(|status| [(status, ""), (status, hex)]) {
            let to = format!("{address}{path}");
            let challenge = format!(r#"Bearer realm="{to}",service="s",scope="repository:a:pull""#);
            let (name, value) = if status == 401 { ("www-authenticate", challenge) } else { ("location", to) };
            *says.lock().unwrap() = (status, name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            let errors = ask_everything(&client).await;
            assert!(!errors.is_empty(), "{address}");
            for error in errors {
                let told = format!("{error} {error:?}");
                assert!(!told.contains(SECRET), "{address}: {told}");
            }
        }
    }
    assert!(v4.caught().is_empty(), "{:?}", v4.caught());
    assert!(v6.caught().is_empty(), "{:?}", v6.caught());
    // The trap can catch: without the bounds the same client would have been there.
    let inside = format!("http://127.0.0.1:{}/{hex}", v4.port);
    *says.lock().unwrap() = (307, "location", inside.parse().unwrap());
    let unbounded = super::client(&options_of(&server, kind, &directory));
    assert_eq!(unbounded.drain_blob(&place(), digest_of(BLOB), BLOB.len() as u64).await.unwrap(), 7);
    let caught = v4.caught();
    assert_eq!(caught.len(), 1);
    assert!(!caught[0].to_ascii_lowercase().contains("authorization"), "{caught:?}");
}

#[rstest]
fn every_inside_address_is_barred(
    #[values("http://harbor.example", "https://10.0.0.7", "https://169.254.1.1", "https://[fd12::1]")] base: &str,
) {
    let reach = Reach::new(&base.parse().unwrap(), &[]);
    for address in INSIDE {
        let url = address.replace("PORT", "8080").parse().unwrap();
        assert_eq!(reach.allows(&url), Err(Barred::Inside), "{address}");
    }
}

#[rstest]
#[case::bucket("https://bucket.s3.eu-central-1.amazonaws.com/x", Ok(()))]
#[case::minio_in_a_private_network("http://10.1.2.3:9000/x", Ok(()))]
#[case::private_ipv6("http://[fd12:3456::1]:9000/x", Ok(()))]
#[case::nat_of_a_carrier("http://100.64.0.1/x", Ok(()))]
#[case::a_name_that_only_begins_so("https://localhost.example.com/x", Ok(()))]
#[case::user("https://a@bucket.example/x", Err(Barred::UserInfo))]
#[case::file("file:///etc/passwd", Err(Barred::Scheme))]
fn storages_are_where_storages_are(#[case] target: &str, #[case] expected: Result<(), Barred>) {
    let reach = Reach::new(&"https://harbor.example".parse().unwrap(), &[]);
    assert_eq!(reach.allows(&target.parse().unwrap()), expected);
}

#[rstest]
#[case::listed("https://bucket.example/x", Ok(()))]
#[case::capitals("https://BUCKET.example./x", Ok(()))]
#[case::below("https://eu.s3.example.com/x", Ok(()))]
#[case::deep_below("https://b.eu.s3.example.com/x", Ok(()))]
#[case::the_domain_itself("https://s3.example.com/x", Err(Barred::NotListed))]
#[case::only_ends_so("https://evils3.example.com/x", Err(Barred::NotListed))]
#[case::other("https://bucket.example.org/x", Err(Barred::NotListed))]
#[case::listed_and_inside("http://127.0.0.1/x", Err(Barred::Inside))]
fn a_list_bounds_where_blobs_come_from(#[case] target: &str, #[case] expected: Result<(), Barred>) {
    let listed = ["Bucket.example", "*.s3.example.com", "127.0.0.1"].map(str::to_owned);
    let reach = Reach::new(&"https://harbor.example".parse().unwrap(), &listed);
    assert_eq!(reach.allows(&target.parse().unwrap()), expected);
}

/// Rebinding: a name that was looked at may mean something else when it is called, so the addresses that are called
/// are those that were judged.
#[tokio::test]
async fn a_name_that_leads_inside_is_not_called() {
    let name = || "localhost".parse::<reqwest::dns::Name>().unwrap();
    let outside = Reach::new(&"https://harbor.example".parse().unwrap(), &[]);
    assert!(outside.resolve(name()).await.is_err());
    let own = Reach::new(&"http://127.0.0.1:80".parse().unwrap(), &[]);
    let found: Vec<IpAddr> = own.resolve(name()).await.unwrap().map(|address| address.ip()).collect();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
}

#[tokio::test]
async fn a_chain_that_begins_outside_and_ends_inside_is_left_there() {
    let trap = Trap::set("127.0.0.1").await;
    let inside = format!("http://127.0.0.1:{}/x", trap.port);
    // A storage at Harbor's own address, which redirects once more.
    let server = Server::start(move |seen| {
        let to = if seen.target.starts_with("/bucket") { inside.as_str() } else { "/bucket/data" };
        answer(307, &[("location", to)], "")
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let client = confined(&options_of(&server, HarborKind::Harbor, &directory));
    let error = client.drain_blob(&place(), digest_of(BLOB), 7).await.unwrap_err();
    assert!(matches!(&error, HarborError::Storage { fault: StorageFault::Barred(Barred::Inside), .. }), "{error:?}");
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].authorization(), "");
    assert!(trap.caught().is_empty(), "{:?}", trap.caught());
}

#[rstest]
#[case::elsewhere("http://other.invalid/token")]
#[case::other_scheme("https://HOST/token")]
#[case::other_port("http://127.0.0.1:1/token")]
#[case::user("http://a:b@HOST/token")]
#[case::only_begins_so("http://HOST.evil.example/token")]
#[case::name_as_user("http://HOST@evil.example/token")]
#[case::no_scheme("//evil.example/token")]
#[tokio::test]
async fn a_token_server_that_is_not_the_registrys_own_gets_nothing(#[case] realm: &'static str) {
    let server = Server::start(move |seen| match seen.target.contains("token") {
        true => answer(200, &[], r#"{"token":"t"}"#),
        false => {
            let realm = realm.replace("HOST", seen.header("host"));
            answer(401, &[("www-authenticate", format!(r#"Bearer realm="{realm}""#).as_str())], "")
        }
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let client = confined(&options_of(&server, HarborKind::Distribution, &directory));
    let error = client.head_manifest(&place(), &tag("1")).await.unwrap_err();
    let HarborError::Unauthorized(refusal) = error else { panic!("{error:?}") };
    assert!(matches!(refusal, Refusal::ForeignRealm { .. } | Refusal::Token), "{refusal:?}");
    assert_eq!(server.seen().len(), 1);
}
