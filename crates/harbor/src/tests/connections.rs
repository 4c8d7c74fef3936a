use std::sync::{Arc, Mutex};
use std::time::Duration;

use harbor_warmer_protocol::HarborName;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Server, answer, client, digest_of, options, place, stalled, tag};
use crate::{AnswerClass, Client, ClientError, Counters, HarborError, Invalid, Uncounted};

#[tokio::test]
async fn a_harbor_that_is_not_there_is_told_without_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(&options(&format!("http://{address}"))).head_manifest(&place(), &tag("1.0")).await.unwrap_err();
    assert_eq!(error.class(), AnswerClass::Unreachable);
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!format!("{error:?}").contains("manifests"), "{error:?}");
}

#[tokio::test]
async fn a_harbor_that_hangs_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = options(&format!("http://{}", listener.local_addr().unwrap()));
    options.request_timeout = Duration::from_millis(50);
    options.stall_timeout = Duration::from_millis(50);
    let client = client(&options);
    let error = client.head_manifest(&place(), &tag("1.0")).await.unwrap_err();
    assert_eq!(error.to_string(), "Harbor did not answer within 0.05 s");
    let error = client.touch_blob(&place(), digest_of(b""), 1).await.unwrap_err();
    assert_eq!(error.class(), AnswerClass::Timeout);
}

#[tokio::test]
async fn an_error_whose_body_does_not_come_is_still_told_in_time() {
    let server = Server::start(|_| answer(503, &[], stalled(b"{"))).await;
    let mut options = options(&server.url());
    options.request_timeout = Duration::from_millis(50);
    let error = client(&options).touch_blob(&place(), digest_of(b""), 1).await.unwrap_err();
    assert_eq!(error.to_string(), "Harbor answered 503 and can't serve at present");
}

#[rstest]
#[case::short_name("/v2/proxy/library/nginx/manifests/1.0", "proxy/library/nginx")]
#[tokio::test]
async fn a_name_that_harbor_keeps_under_library_is_an_error_of_the_rule(
    #[case] location: &'static str,
    #[case] expected: &str,
) {
    let server = Server::start(move |_| answer(301, &[("location", location)], "")).await;
    let error = server.client().head_manifest(&place(), &tag("1.0")).await.unwrap_err();
    match error {
        HarborError::Invalid(Invalid::Renamed { to }) => assert_eq!(to, expected),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_harbor_that_redirects_to_https_is_told_to_be_written_so() {
    let server = Server::start(|seen| {
        let location = format!("https://127.0.0.1{}?token=s3cr3t", seen.target);
        answer(308, &[("location", location.as_str())], "")
    })
    .await;
    let client = server.client();
    let expected = "Harbor redirects to https://127.0.0.1; write that address in `url`";
    assert_eq!(client.head_manifest(&place(), &tag("1.0")).await.unwrap_err().to_string(), expected);
    assert_eq!(client.touch_blob(&place(), digest_of(b""), 1).await.unwrap_err().to_string(), expected);
}

/// A server with a certificate of its own that answers everything with an empty 200; the certificate's file.
async fn tls_server(directory: &tempfile::TempDir) -> (String, std::path::PathBuf) {
    crate::install_crypto_provider();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, certified.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                if read > 0 {
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await);
                    drop(stream.shutdown().await);
                }
            });
        }
    });
    (format!("https://localhost:{port}"), path)
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_file_or_when_that_is_written_out() {
    let directory = tempfile::tempdir().unwrap();
    let (url, ca_file) = tls_server(&directory).await;
    let mut options = options(&url);
    let error = client(&options).ping().await.unwrap_err();
    assert_eq!(error.class(), AnswerClass::Unreachable);
    assert!(error.to_string().contains("certificate"), "{error}");
    options.insecure_skip_verify = true;
    client(&options).ping().await.unwrap();
    options.insecure_skip_verify = false;
    options.ca_file = Some(ca_file);
    client(&options).ping().await.unwrap();
}

#[rstest]
#[case::empty("")]
#[case::not_pem("not a certificate")]
fn a_file_of_authorities_without_one_is_refused_at_the_start(#[case] text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, text).unwrap();
    let mut options = options("https://harbor.example");
    options.ca_file = Some(path);
    let error = Client::new("main".parse().unwrap(), &options, Arc::new(Uncounted)).unwrap_err();
    assert!(matches!(error, ClientError::CaFileInvalid { .. }), "{error:?}");
}

/// Remembers the classes that were counted.
#[derive(Default)]
struct Counted(Mutex<Vec<(String, &'static str)>>);

impl Counters for Counted {
    fn answered(&self, harbor: &HarborName, class: &'static str) {
        self.0.lock().unwrap().push((harbor.to_string(), class));
    }

    fn blob_bytes(&self, _bytes: u64) {}
}

#[tokio::test]
async fn answers_are_counted_by_class() {
    let server = Server::start(|seen| answer(if seen.target.contains("blobs") { 503 } else { 200 }, &[], "")).await;
    let counted = Arc::new(Counted::default());
    let counters: Arc<dyn Counters> = Arc::clone(&counted) as Arc<dyn Counters>;
    let client = Client::new("main".parse().unwrap(), &options(&server.url()), counters).unwrap();
    client.ping().await.unwrap();
    client.touch_blob(&place(), digest_of(b""), 1).await.unwrap_err();
    let main = || "main".to_owned();
    assert_eq!(*counted.0.lock().unwrap(), [(main(), "ok"), (main(), "outage")]);
}
