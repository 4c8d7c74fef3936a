use serde_json::Value;

/// What the policy needs of an admission request, read leniently: nothing in it is ever an error.
#[derive(Clone, Debug)]
pub(crate) struct AdmissionRequest<'a> {
    pub(crate) uid: &'a str,
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) operation: Operation,
    /// Such as `ephemeralcontainers`; empty for the object itself.
    pub(crate) sub_resource: &'a str,
    /// The request's effects are thrown away, so it must have none.
    pub(crate) dry_run: bool,
    pub(crate) object: &'a Value,
    pub(crate) old_object: &'a Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    /// DELETE, CONNECT and whatever else there may be: nothing will be pulled.
    Other,
}

impl<'a> AdmissionRequest<'a> {
    pub(crate) fn read(request: &'a Value) -> Self {
        let get = |key: &str| request.get(key).unwrap_or(&Value::Null);
        let text = |value: &'a Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let object = get("object");
        // The request's kind is what the webhook asked for; an object may be in another version of it.
        let (group, kind) = match request.get("kind") {
            Some(kind) if kind.is_object() => (text(kind, "group"), text(kind, "kind")),
            _ => {
                let api_version = text(object, "apiVersion");
                (api_version.split_once('/').map_or("", |(group, _)| group), text(object, "kind"))
            }
        };
        let generated = || object.get("metadata").map_or("", |metadata| text(metadata, "generateName"));
        let name = match text(request, "name") {
            "" => object.get("metadata").map_or("", |metadata| text(metadata, "name")),
            name => name,
        };
        Self {
            uid: text(request, "uid"),
            group,
            kind,
            namespace: text(request, "namespace"),
            name: if name.is_empty() { generated() } else { name },
            operation: match text(request, "operation") {
                "CREATE" => Operation::Create,
                "UPDATE" => Operation::Update,
                _ => Operation::Other,
            },
            sub_resource: text(request, "subResource"),
            // Where it isn't clear that the request is meant, it isn't.
            dry_run: !matches!(get("dryRun"), Value::Null | Value::Bool(false)),
            object,
            old_object: get("oldObject"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::said(json!({"dryRun": true}), true)]
    #[case::denied(json!({"dryRun": false}), false)]
    #[case::null(json!({"dryRun": null}), false)]
    #[case::missing(json!({}), false)]
    #[case::unclear(json!({"dryRun": "no"}), true)]
    fn a_request_whose_dry_run_is_unclear_is_one(#[case] request: Value, #[case] dry_run: bool) {
        assert_eq!(AdmissionRequest::read(&request).dry_run, dry_run);
    }

    #[test]
    fn the_kind_is_the_requests_and_else_the_objects() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
        let request = json!({"kind": {"group": "", "version": "v1", "kind": "Pod"}, "object": object});
        let read = AdmissionRequest::read(&request);
        assert_eq!((read.group, read.kind), ("", "Pod"));
        let request = json!({"kind": null, "object": object});
        let read = AdmissionRequest::read(&request);
        assert_eq!((read.group, read.kind), ("apps", "Deployment"));
    }
}
