//! A request to a Harbor: what is asked, and which answers are none of an error.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::errors::Operation;

/// A request to be sent.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) operation: Operation,
    pub(super) path: String,
    pub(super) repository: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) is_streamed: bool,
    pub(super) storage: Storage,
    pub(super) accepted: Accepted,
}

/// What a redirect to the storage is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// The blob is stored, and no more was to be found out.
    Tells,
    /// The content is wanted.
    Read,
}

/// Which answer that is not a success is none of an error.
#[derive(Clone, Copy)]
pub(super) enum Accepted {
    Success,
    Status(StatusCode),
    NotFoundWhere(fn(&[u8]) -> bool),
}

impl Request {
    pub(super) fn new(method: Method, operation: Operation, path: String) -> Self {
        Self {
            method,
            operation,
            path,
            repository: String::new(),
            headers: HeaderMap::new(),
            body: None,
            is_streamed: false,
            storage: Storage::Tells,
            accepted: Accepted::Success,
        }
    }

    /// Pulls from this repository, for which a token may be needed.
    pub(super) fn pulls(mut self, repository: String) -> Self {
        self.repository = repository;
        self
    }

    pub(super) fn accept(mut self, types: HeaderValue) -> Self {
        self.headers.insert(header::ACCEPT, types);
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    pub(super) fn json_body(mut self, body: &Value) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(body.to_string().into());
        self
    }

    /// Its body may take as long as it needs, as long as bytes come: the stall timeout counts.
    pub(super) fn streamed(mut self) -> Self {
        self.is_streamed = true;
        self
    }

    /// Reads the content wherever it is. Without this a redirect to the storage is the answer.
    pub(super) fn read_from_storage(mut self) -> Self {
        self.storage = Storage::Read;
        self
    }

    /// An answer with this status is no error.
    pub(super) fn or_status(mut self, status: StatusCode) -> Self {
        self.accepted = Accepted::Status(status);
        self
    }

    /// A 404 whose body says what is expected is no error.
    pub(super) fn or_404_where(mut self, says: fn(&[u8]) -> bool) -> Self {
        self.accepted = Accepted::NotFoundWhere(says);
        self
    }
}
