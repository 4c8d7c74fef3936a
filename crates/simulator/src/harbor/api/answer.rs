//! What every part of the API takes and gives: queries, answers, and lists by the page.

use http::StatusCode;
use serde_json::{Value, json};

/// An answer of the API, not yet HTTP.
#[derive(Debug)]
pub(crate) struct ApiAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: ApiBody,
}

#[derive(Debug)]
pub(crate) enum ApiBody {
    Empty,
    Text(String),
    Json(Value),
}

impl ApiAnswer {
    pub(crate) fn json(value: Value) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: ApiBody::Json(value) }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: ApiBody::Text(text.into()) }
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: ApiBody::Empty }
    }

    pub(crate) fn created(location: String) -> Self {
        Self { headers: vec![("location", location)], ..Self::empty(StatusCode::CREATED) }
    }
}

/// The query of a request, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(pub(crate) Vec<(String, String)>);

impl Query {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }
}

/// One page of a list, with Harbor's headers.
pub(in crate::harbor) fn page(all: Vec<Value>, query: &Query, path: &str) -> ApiAnswer {
    let number = |name, default: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default).max(1);
    let (page, size) = (number("page", 1), number("page_size", 10).min(100));
    let total = all.len();
    let mut headers = vec![("x-total-count", total.to_string())];
    if page * size < total {
        let next = page + 1;
        headers.push(("link", format!("</api/v2.0/{path}?page={next}&page_size={size}>; rel=\"next\"")));
    }
    let shown: Vec<Value> = all.into_iter().skip((page - 1) * size).take(size).collect();
    ApiAnswer { status: StatusCode::OK, headers, body: ApiBody::Json(shown.into()) }
}

/// A registry endpoint as the API shows it.
pub(in crate::harbor) fn registry_json(id: u64, name: &str) -> Value {
    json!({"id": id, "name": name, "type": "docker-registry", "url": format!("https://{name}.invalid"), "status": "healthy"})
}
