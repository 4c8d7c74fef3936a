//! Handshakes with servers that have all kinds of certificates, over sockets of this machine.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rstest::rstest;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::tests::options;
use crate::{Client, Uncounted};

/// A certificate of a server, and the text of a `caFile`.
struct Served {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca_file: String,
}

fn params(names: &[&str], is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.is_ca = is_ca;
    params
}

const AUTHORITY: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

fn self_signed(params: &CertificateParams) -> Served {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Served { ca_file: certificate.pem(), chain: vec![certificate.der().clone()], key }
}

/// As `openssl req -x509` makes it.
fn own() -> Served {
    self_signed(&params(&["localhost"], AUTHORITY))
}

fn issued() -> Served {
    let authority = CertifiedIssuer::self_signed(params(&[], AUTHORITY), KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params(&["localhost"], IsCa::NoCa).signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Served { ca_file: authority.pem(), chain: vec![certificate.der().clone()], key }
}

fn expired() -> Served {
    let mut params = params(&["localhost"], AUTHORITY);
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    self_signed(&params)
}

fn early() -> Served {
    let mut params = params(&["localhost"], AUTHORITY);
    (params.not_before, params.not_after) = (date_time_ymd(2901, 1, 1), date_time_ymd(2902, 1, 1));
    self_signed(&params)
}

impl Served {
    /// With its own certificate in the file too.
    fn with_its_own(mut self) -> Self {
        let own = own();
        self.ca_file.push_str(&own.ca_file);
        Self { ca_file: self.ca_file, ..own }
    }
}

fn of_another() -> Served {
    Served { ca_file: own().ca_file, ..own() }
}

/// A server's TLS; none of plain HTTP.
#[derive(Clone)]
enum Server {
    Tls(tokio_rustls::TlsAcceptor),
    /// Sends these bytes, whatever it is asked.
    Bytes(&'static [u8]),
}

impl Server {
    fn with(served: &Served) -> Self {
        crate::install_crypto_provider();
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(served.chain.clone(), served.key.clone_key())
            .unwrap();
        Self::Tls(tokio_rustls::TlsAcceptor::from(Arc::new(tls)))
    }

    /// Its address.
    async fn start(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().answer(stream));
            }
        });
        format!("https://localhost:{port}")
    }

    /// An empty 200 to every request.
    async fn answer(self, mut stream: TcpStream) {
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        match self {
            Self::Tls(acceptor) => {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                    drop(stream.write_all(OK).await);
                    drop(stream.shutdown().await);
                }
            }
            Self::Bytes(bytes) => {
                drop(stream.read(&mut [0; 4096]).await);
                drop(stream.write_all(bytes).await);
                drop(stream.shutdown().await);
            }
        }
    }
}

async fn ping(url: &str, ca_file: Option<&str>) -> Result<(), String> {
    let directory = TempDir::new().unwrap();
    let mut options = options(url);
    options.ca_file = ca_file.map(|text| {
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, text).unwrap();
        path
    });
    let client =
        Client::new("main".parse().unwrap(), &options, Arc::new(Uncounted)).map_err(|error| error.to_string())?;
    client.ping().await.map_err(|error| error.to_string())
}

#[rstest]
#[case::self_signed_as_openssl_does(own())]
#[case::self_signed(self_signed(&params(&["localhost"], IsCa::NoCa)))]
#[case::issued_by_an_authority(issued())]
#[case::among_others(Served { ca_file: own().ca_file + &issued().ca_file, ..own() }.with_its_own())]
#[tokio::test]
async fn a_certificate_of_the_file_is_trusted_as_gos_programs_do(#[case] served: Served) {
    let url = Server::with(&served).start().await;
    assert_eq!(ping(&url, Some(&served.ca_file)).await, Ok(()));
}

#[rstest]
#[case::without_a_file(own(), None, "is marked as an authority's (CA:TRUE)")]
#[case::of_an_unknown_authority(issued(), None, "put the issuing authority's certificate into caFile")]
#[case::another_one_in_the_file(of_another(), Some(()), "put this very certificate into caFile")]
#[case::expired(expired(), Some(()), "has expired")]
#[case::not_valid_yet(early(), Some(()), "is not valid yet")]
#[case::for_another_name(self_signed(&params(&["harbor.example"], AUTHORITY)), Some(()), "is for DnsName(\"harbor.example\")")]
#[case::issued_for_no_name(self_signed(&params(&[], AUTHORITY)), Some(()), "names no host")]
#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_with_what_to_do(
    #[case] served: Served,
    #[case] with_file: Option<()>,
    #[case] fragment: &str,
) {
    let url = Server::with(&served).start().await;
    let told = ping(&url, with_file.map(|()| served.ca_file.as_str())).await.unwrap_err();
    assert!(told.starts_with("the connection to Harbor failed: it") && told.contains(fragment), "{told}");
}

#[rstest]
#[case::plain_http(b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is not TLS")]
#[case::other_protocol(b"SSH-2.0-OpenSSH_9.6\r\n", "what answers there is not TLS")]
#[case::no_common_version(b"\x15\x03\x03\x00\x02\x02\x46", "speaks neither TLS 1.2 nor 1.3")]
#[case::handshake_failure(b"\x15\x03\x03\x00\x02\x02\x28", "speaks neither TLS 1.2 nor 1.3")]
#[case::client_certificate(b"\x15\x03\x03\x00\x02\x02\x74", "wants a client certificate")]
#[case::host_name(b"\x15\x03\x03\x00\x02\x02\x70", "has no certificate for this host name")]
#[case::other_alert(b"\x15\x03\x03\x00\x02\x02\x50", "ended the TLS handshake with the alert InternalError")]
#[tokio::test]
async fn a_handshake_that_fails_is_told_in_a_persons_words(#[case] bytes: &'static [u8], #[case] fragment: &str) {
    let url = Server::Bytes(bytes).start().await;
    let told = ping(&url, None).await.unwrap_err();
    assert!(told.contains(fragment), "{told}");
}
