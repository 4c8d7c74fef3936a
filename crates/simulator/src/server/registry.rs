//! The registry's routes: `/v2/…` and the token service.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION, RANGE,
    USER_AGENT,
};
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::json;

use super::{Body, Route, Site, fixed, route, set, text};
use crate::content::Content;
use crate::digest::Digest;
use crate::harbor::access::Caller;
use crate::harbor::{
    ArtifactInfo, BlobAnswer, Core, HarborError, ManifestAnswer, ManifestOutcome, ManifestRequest, ServedBy,
};
use crate::request_log::Entry;

/// Go's server keeps answers up to this size back and then knows their length.
const SMALL_ANSWER: u64 = 2048;
const API_VERSION: &str = "docker-distribution-api-version";
const CONTENT_DIGEST: &str = "docker-content-digest";

pub(super) struct Context<'a> {
    pub(super) site: &'a Arc<Site>,
    pub(super) core: &'a Arc<Core>,
    pub(super) caller: &'a Caller,
    pub(super) headers: &'a HeaderMap,
    pub(super) host: &'a str,
}

pub(super) async fn answer(
    context: &Context<'_>,
    method: &Method,
    path: &str,
    query: Option<&str>,
    route: Route<'_>,
    entry: &Arc<Entry>,
) -> Result<Response<Body>, HarborError> {
    let harbor = &context.site.harbor;
    let (head, reads) = (method == Method::HEAD, method == Method::GET || method == Method::HEAD);
    let unrecognized = || HarborError::unauthorized(format!("un-recognized request: {method} {path}"), "");
    match route {
        Route::Ping => {
            harbor.check_login(context.caller, context.host)?;
            let json = Some("application/json; charset=utf-8");
            let mut response = fixed(StatusCode::OK, json, Bytes::from_static(b"{}"), entry);
            set(&mut response, API_VERSION, "registry/2.0");
            Ok(response)
        }
        Route::Token if method != Method::GET => Err(HarborError::method_not_allowed("method not allowed")),
        Route::Token => {
            let issued = harbor.issue_token(context.caller, &route::query(query).all("scope"))?;
            let shown = json!({
                "token": issued.token,
                "access_token": "",
                "expires_in": issued.expires_in,
                "issued_at": harbor.clock.timestamp(harbor.clock.now()),
            });
            Ok(fixed(StatusCode::OK, Some("application/json"), shown.to_string().into(), entry))
        }
        Route::Manifest(info) if reads => {
            harbor.check_pull(context.caller, &info.repository, context.host)?;
            let accept: Vec<&str> =
                context.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
            let request = ManifestRequest {
                head,
                from_replication: text(context.headers, USER_AGENT.as_str()) == Some("harbor-registry-client"),
                accept: Some(&accept.join(",")),
            };
            // The body of an error isn't sent for a HEAD, so the two kinds of 404 look the same there.
            Ok(match harbor.manifest(context.core, &info, request).await? {
                ManifestOutcome::Found(answer) => manifest_response(answer, entry),
                ManifestOutcome::LibraryRedirect(location) => redirect(&location, entry),
            })
        }
        Route::Blob(info, digest) if head => {
            harbor.check_pull(context.caller, &info.repository, context.host)?;
            let size = harbor.head_blob(&info.repository, &digest)?;
            if let Some(bucket) = &context.site.bucket {
                return Ok(stored_elsewhere(&bucket.url(method, &digest), entry));
            }
            Ok(local_blob_headers(Response::new(Body::whole(Bytes::new(), entry)), &digest, size))
        }
        Route::Blob(info, digest) => {
            harbor.check_pull(context.caller, &info.repository, context.host)?;
            blob(context, &info, &digest, entry).await
        }
        Route::Tags(info) if reads => {
            harbor.check_pull(context.caller, &info.repository, context.host)?;
            let answer = harbor.list_tags(&info).await?;
            let shown = json!({"name": info.repository, "tags": answer.tags});
            Ok(fixed(StatusCode::OK, Some("application/json"), shown.to_string().into(), entry))
        }
        Route::Manifest(info) | Route::Upload(info) => {
            harbor.check_pull(context.caller, &info.repository, context.host)?;
            Err(HarborError::denied(format!("can not push artifact to a proxy project: {}", info.project)))
        }
        Route::Tags(_) | Route::Unrecognized => Err(unrecognized()),
        Route::Api(_) | Route::Admin(_) | Route::Other => Err(HarborError::not_found("page not found")),
    }
}

fn manifest_response(answer: ManifestAnswer, entry: &Arc<Entry>) -> Response<Body> {
    let body = answer.body.unwrap_or_default();
    let mut response = fixed(StatusCode::OK, Some(&answer.media_type), body, entry);
    set(&mut response, CONTENT_LENGTH.as_str(), &answer.size.to_string());
    set(&mut response, CONTENT_DIGEST, &answer.digest);
    match answer.served_by {
        ServedBy::Registry => {
            set(&mut response, API_VERSION, "registry/2.0");
            set(&mut response, ETAG.as_str(), &format!("\"{}\"", answer.digest));
        }
        // The middleware writes the digest as it is, without quotes; both are empty for a cold GET by tag.
        ServedBy::Middleware => set(&mut response, ETAG.as_str(), &answer.digest),
    }
    response
}

fn redirect(location: &str, entry: &Arc<Entry>) -> Response<Body> {
    let mut response = fixed(StatusCode::MOVED_PERMANENTLY, None, Bytes::new(), entry);
    set(&mut response, LOCATION.as_str(), location);
    response
}

/// distribution's `redirect` of a storage driver that signs addresses.
fn stored_elsewhere(location: &str, entry: &Arc<Entry>) -> Response<Body> {
    let mut response = redirect(location, entry);
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    set(&mut response, API_VERSION, "registry/2.0");
    response
}

async fn blob(
    context: &Context<'_>,
    info: &ArtifactInfo,
    digest: &Digest,
    entry: &Arc<Entry>,
) -> Result<Response<Body>, HarborError> {
    match context.site.harbor.blob(context.core, info, digest).await? {
        BlobAnswer::LibraryRedirect(location) => Ok(redirect(&location, entry)),
        BlobAnswer::Local(content) => Ok(match &context.site.bucket {
            Some(bucket) => stored_elsewhere(&bucket.url(&Method::GET, digest), entry),
            None => local_blob(context, content, digest, entry),
        }),
        BlobAnswer::Proxied { reader, permit } => {
            // Before 2.16 the headers with length and digest are set after the body, too late for them.
            let (size, first) = (reader.size(), context.site.harbor.version().sends_blob_headers_first());
            let mut response = Response::new(Body::proxied(reader, permit, first, entry));
            set(&mut response, CONTENT_TYPE.as_str(), "application/octet-stream");
            if first {
                set(&mut response, CONTENT_DIGEST, digest);
            }
            if first || size <= SMALL_ANSWER {
                set(&mut response, CONTENT_LENGTH.as_str(), &size.to_string());
            }
            Ok(response)
        }
    }
}

fn local_blob(context: &Context<'_>, content: Content, digest: &Digest, entry: &Arc<Entry>) -> Response<Body> {
    let size = content.size();
    match text(context.headers, RANGE.as_str()).and_then(|range| parse_range(range, size)) {
        Some((start, end)) => {
            let length = end - start;
            let response = Response::new(Body::local(content, start, length, entry));
            let mut response = local_blob_headers(response, digest, length);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, CONTENT_RANGE.as_str(), &format!("bytes {start}-{}/{size}", end - 1));
            response
        }
        None => local_blob_headers(Response::new(Body::local(content, 0, size, entry)), digest, size),
    }
}

fn local_blob_headers(mut response: Response<Body>, digest: &Digest, length: u64) -> Response<Body> {
    set(&mut response, CONTENT_LENGTH.as_str(), &length.to_string());
    set(&mut response, CONTENT_TYPE.as_str(), "application/octet-stream");
    set(&mut response, CONTENT_DIGEST, digest);
    set(&mut response, API_VERSION, "registry/2.0");
    set(&mut response, ETAG.as_str(), &format!("\"{digest}\""));
    set(&mut response, CACHE_CONTROL.as_str(), "max-age=31536000");
    set(&mut response, ACCEPT_RANGES.as_str(), "bytes");
    response
}

/// One range of bytes, as start and end (exclusive).
fn parse_range(header: &str, size: u64) -> Option<(u64, u64)> {
    let (start, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.parse().ok()?;
    let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.saturating_add(1).min(size) };
    (start < end).then_some((start, end))
}
