//! The object storage behind Harbor's registry: another host, to which stored blobs are redirected.
//!
//! Harbor does so by default on S3, Azure, GCS and OSS: GET and HEAD of a blob that it has are answered 307 with a
//! signed address. As at S3, a signature is for one method, and credentials beside it are refused: whoever follows
//! with Harbor's `Authorization` has sent a secret to a stranger, and gets nothing for it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Body, fixed, set, text};
use crate::digest::Digest;
use crate::harbor::Harbor;
use crate::request_log::Entry;

/// A request that reached the object storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRequest {
    /// Its method.
    pub method: String,
    /// Its path with the query.
    pub path: String,
    /// Whether it carried credentials: it never should.
    pub with_credentials: bool,
    /// The status that it was answered with.
    pub status: u16,
}

#[derive(Debug)]
pub(crate) struct Bucket {
    address: SocketAddr,
    requests: Mutex<Vec<BucketRequest>>,
}

impl Bucket {
    /// Listens on a free port. It goes by the name `localhost`, so that it is another host than Harbor is.
    pub(crate) async fn bind() -> io::Result<(Self, TcpListener)> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        Ok((Self { address: listener.local_addr()?, requests: Mutex::default() }, listener))
    }

    /// The signed address of a blob.
    pub(super) fn url(&self, method: &Method, digest: &Digest) -> String {
        format!("http://localhost:{}{}", self.address.port(), path(method, digest))
    }

    pub(crate) fn requests(&self) -> Vec<BucketRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves until it is stopped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, harbor: Arc<Harbor>, stopped: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stopped.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (bucket, harbor, stopped) = (Arc::clone(&self), Arc::clone(&harbor), stopped.clone());
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = bucket.answer(&harbor, &request);
                    async { Ok::<_, std::convert::Infallible>(answer) }
                });
                tokio::select! {
                    () = stopped.cancelled() => {}
                    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
                }
            });
        }
    }

    fn answer(&self, harbor: &Harbor, request: &Request<Incoming>) -> Response<Body> {
        let asked = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let with_credentials = text(request.headers(), AUTHORIZATION.as_str()).is_some();
        let entry = Entry::unlogged();
        let response = if with_credentials {
            refused(StatusCode::BAD_REQUEST, "InvalidArgument", &entry)
        } else {
            match signed_digest(request.method(), asked) {
                Some(digest) => match harbor.store.read(|tables| tables.blobs.get(&*digest).cloned()) {
                    Some(content) => {
                        let size = content.size();
                        let length = if request.method() == Method::HEAD { 0 } else { size };
                        let mut response = Response::new(Body::local(content, 0, length, &entry));
                        set(&mut response, "content-length", &size.to_string());
                        response
                    }
                    None => refused(StatusCode::NOT_FOUND, "NoSuchKey", &entry),
                },
                None => refused(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", &entry),
            }
        };
        let (method, status) = (request.method().to_string(), response.status().as_u16());
        let seen = BucketRequest { method, path: asked.to_owned(), with_credentials, status };
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        response
    }
}

/// Where distribution's storage drivers keep a blob, signed for one method.
fn path(method: &Method, digest: &Digest) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    let signature = Digest::of(format!("{method} {hex}").as_bytes());
    let signature = signature.strip_prefix("sha256:").unwrap_or_default();
    format!(
        "/harbor/docker/registry/v2/blobs/sha256/{}/{hex}/data?X-Amz-Expires=1200&X-Amz-Signature={signature}",
        &hex[..2]
    )
}

fn signed_digest(method: &Method, asked: &str) -> Option<Digest> {
    let hex = asked.split('/').nth(8)?;
    let digest = Digest::parse(&format!("sha256:{hex}"))?;
    (path(method, &digest) == asked).then_some(digest)
}

fn refused(status: StatusCode, code: &str, entry: &Arc<Entry>) -> Response<Body> {
    let shown = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>");
    fixed(status, Some("application/xml"), Bytes::from(shown), entry)
}
