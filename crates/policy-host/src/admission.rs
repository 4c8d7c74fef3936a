//! What goes back to the API server: the policy's verdict, as the mode of the policy lets it through.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The text of a rejection whose cause is the evaluation timeout (policy-server's words).
pub(crate) const TIMED_OUT: &str = "Policy execution interrupted because it exceeded the allowed execution time";

/// How a policy's verdict is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything is admitted; rejections, timeouts and traps only show in metrics.
    Monitor,
    /// The verdict is applied; a timeout or a trap is a rejection with code 500.
    #[default]
    Protect,
}

/// The `response` of an AdmissionReview (`admission.k8s.io/v1`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionResponse {
    /// The request's uid.
    pub uid: String,
    /// Whether the object is admitted.
    pub allowed: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Annotations of the audit event, by qualified name.
    pub audit_annotations: Option<BTreeMap<String, String>>,
    /// What the person at `kubectl` is shown.
    pub warnings: Option<Vec<String>>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The reason, for a person.
    pub message: Option<String>,
    /// An HTTP status code.
    pub code: Option<u16>,
}

/// An AdmissionReview that can't be answered. A policy server says 422.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// There is no `request` object.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// The request has no `uid`, so no answer could be matched to it.
    #[error("the AdmissionReview's request has no uid")]
    NoUid,
}

/// The guest's answer to `validate` (`ValidationResponse` of kubewarden-policy-sdk). A policy that changes objects is
/// not supported, so `mutated_object` is not read.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    accepted: bool,
    message: Option<String>,
    code: Option<u16>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

impl AdmissionResponse {
    /// The policy's own words.
    pub(crate) fn of_verdict(uid: String, verdict: Verdict) -> Self {
        let status = (!verdict.accepted).then_some(Status { message: verdict.message, code: verdict.code });
        Self {
            uid,
            allowed: verdict.accepted,
            status,
            audit_annotations: verdict.audit_annotations,
            warnings: verdict.warnings,
        }
    }

    /// The host's answer when the policy gave none.
    pub(crate) fn internal_error(uid: String, message: String) -> Self {
        let status = Some(Status { message: Some(message), code: Some(500) });
        Self { uid, allowed: false, status, audit_annotations: None, warnings: None }
    }

    /// Monitor mode admits everything. Warnings and audit annotations stay.
    pub(crate) fn in_mode(self, mode: Mode) -> Self {
        match mode {
            Mode::Protect => self,
            Mode::Monitor => Self { allowed: true, status: None, ..self },
        }
    }
}

/// The request inside an AdmissionReview.
pub(crate) fn request_of(review: &Value) -> Result<&Value, ReviewError> {
    let request = review.get("request").filter(|request| request.is_object()).ok_or(ReviewError::NoRequest)?;
    request.get("uid").and_then(Value::as_str).ok_or(ReviewError::NoUid)?;
    Ok(request)
}

/// The AdmissionReview that carries `response`.
pub(crate) fn review_of(response: &AdmissionResponse) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection() -> AdmissionResponse {
        let verdict = json!({"accepted": false, "message": "no", "code": 403, "warnings": ["careful"]});
        AdmissionResponse::of_verdict("u".to_owned(), serde_json::from_value(verdict).unwrap())
    }

    #[test]
    fn protect_mode_applies_the_verdict() {
        let status = Status { message: Some("no".to_owned()), code: Some(403) };
        assert_eq!(rejection().in_mode(Mode::Protect).status, Some(status));
    }

    #[test]
    fn monitor_mode_admits_and_keeps_the_warnings() {
        let response = rejection().in_mode(Mode::Monitor);
        assert_eq!(
            serde_json::to_value(&response).unwrap(),
            json!({"uid": "u", "allowed": true, "auditAnnotations": null, "warnings": ["careful"]})
        );
    }
}
