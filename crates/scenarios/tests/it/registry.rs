//! A registry in memory that takes pushes: what stands behind the simulated Harbor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use bytes::Bytes;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

/// A manifest or blob by the path that it is asked for, with its media type.
type Contents = Arc<Mutex<HashMap<String, (String, Bytes)>>>;

/// No body of a scenario is as large.
const MAX_BYTES: usize = 128 << 20;

/// Starts it on a free port; it ends with the test.
pub(crate) async fn start() -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port can be listened on");
    let address = listener.local_addr().expect("a listener has an address");
    let router = Router::new().fallback(answer).layer(DefaultBodyLimit::max(MAX_BYTES)).with_state(Contents::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}").parse().expect("an address makes a URL")
}

async fn answer(State(contents): State<Contents>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    match parts.method.as_str() {
        "POST" => reply(202).header("location", format!("{path}upload")).body(Body::empty()),
        "PUT" => {
            let body = axum::body::to_bytes(body, MAX_BYTES).await.expect("a test's body is small");
            let media_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
            let content = (media_type.unwrap_or_default().to_owned(), body);
            let (repository, rest) =
                path.split_once("/blobs/uploads/").map_or((path.as_str(), None), |(repository, _)| {
                    (repository, parts.uri.query().and_then(|query| query.strip_prefix("digest=")))
                });
            let mut contents = contents.lock().unwrap_or_else(PoisonError::into_inner);
            match rest {
                Some(digest) => {
                    let digest = digest.replace("%3A", ":");
                    contents.insert(format!("{repository}/blobs/{digest}"), content);
                }
                None => {
                    // A manifest is found by its digest too.
                    let (repository, _) = path.rsplit_once('/').expect("a manifest's path has a reference");
                    contents.insert(format!("{repository}/{}", digest_of(&content.1)), content.clone());
                    contents.insert(path, content);
                }
            }
            reply(201).body(Body::empty())
        }
        method => {
            let found = contents.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
            match found {
                Some((media_type, bytes)) => {
                    let head = method == "HEAD";
                    reply(200)
                        .header("content-type", media_type)
                        .header("content-length", bytes.len())
                        .header("docker-content-digest", digest_of(&bytes))
                        .body(if head { Body::empty() } else { Body::from(bytes) })
                }
                None => reply(404).body(Body::from(r#"{"errors":[{"code":"NOT_FOUND","message":"unknown"}]}"#)),
            }
        }
    }
    .expect("a status and plain headers make an answer")
}

fn reply(status: u16) -> axum::http::response::Builder {
    Response::builder().status(status)
}

fn digest_of(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
