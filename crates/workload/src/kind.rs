use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use serde_json::Value;

use crate::fields::type_name;
use crate::{Fields, Mistake};

/// The kinds that Kubernetes itself runs Pods for, with the place of their pod spec. Matched by group as well as by
/// kind: other groups have a `Job` too. Versions don't count, since the place has never moved.
const BUILT_IN: [(&str, &str, &str); 8] = [
    (Pod::GROUP, Pod::KIND, "/spec"),
    (ReplicationController::GROUP, ReplicationController::KIND, TEMPLATE),
    (Deployment::GROUP, Deployment::KIND, TEMPLATE),
    (ReplicaSet::GROUP, ReplicaSet::KIND, TEMPLATE),
    (StatefulSet::GROUP, StatefulSet::KIND, TEMPLATE),
    (DaemonSet::GROUP, DaemonSet::KIND, TEMPLATE),
    (Job::GROUP, Job::KIND, TEMPLATE),
    (CronJob::GROUP, CronJob::KIND, "/spec/jobTemplate/spec/template/spec"),
];

const TEMPLATE: &str = "/spec/template/spec";

/// Custom resources that run Pods, by API group and kind, with the place of their pod spec. A kind may stand there
/// several times, once for each of its pod specs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomKinds(Vec<CustomKind>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct CustomKind {
    group: String,
    kind: String,
    pod_spec: String,
}

impl CustomKinds {
    /// Reads the list under the key `customResources`: `group`, `kind` and `podSpec`, a JSON pointer (RFC 6901) in
    /// which a part `*` stands for every element of a list. Without `podSpec` it is `/spec/template/spec`.
    ///
    /// # Errors
    /// Every mistake in it, each with its path.
    pub fn from_value(value: &Value) -> Result<Self, Vec<Mistake>> {
        let Some(list) = value.as_array() else {
            let message = format!("must be a list, not {}", type_name(value));
            return Err(vec![Mistake::new("customResources", message)]);
        };
        let mut mistakes = Vec::new();
        let mut kinds = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let path = format!("customResources[{index}]");
            kinds.extend(CustomKind::read(value, &path, &mut mistakes));
        }
        if mistakes.is_empty() { Ok(Self(kinds)) } else { Err(mistakes) }
    }

    /// The places of the pod specs of a kind. None where it is not known to run Pods.
    pub(crate) fn pod_specs<'k>(&'k self, group: &'k str, kind: &'k str) -> impl Iterator<Item = &'k str> {
        let built_in = BUILT_IN.iter().filter(move |(g, k, _)| *g == group && *k == kind).map(|(_, _, place)| *place);
        let custom = self.0.iter().filter(move |custom| custom.group == group && custom.kind == kind);
        built_in.chain(custom.map(|custom| custom.pod_spec.as_str()))
    }
}

impl CustomKind {
    fn read(value: &Value, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let before = mistakes.len();
        let mut fields = Fields::of(value, path, mistakes)?;
        let group = fields.text("group", mistakes);
        let kind = fields.text("kind", mistakes);
        let pod_spec = fields.text("podSpec", mistakes).unwrap_or(TEMPLATE);
        if fields.get("group").is_none() {
            mistakes.push(Mistake::new(fields.path("group"), "missing; write the API group, for example argoproj.io"));
        }
        if kind.is_none_or(str::is_empty) && mistakes.len() == before {
            mistakes.push(Mistake::new(fields.path("kind"), "missing; write the kind, for example Rollout"));
        }
        if !pod_spec.starts_with('/') {
            let message = format!("`{pod_spec}`: a JSON pointer starts with a slash, for example {TEMPLATE}");
            mistakes.push(Mistake::new(fields.path("podSpec"), message));
        }
        if BUILT_IN.iter().any(|(g, k, _)| Some(*g) == group && Some(*k) == kind) {
            mistakes.push(Mistake::new(path, "this kind is read anyway; remove it"));
        }
        fields.finish(mistakes);
        (mistakes.len() == before).then_some(()).and_then(|()| {
            Some(Self { group: group?.to_owned(), kind: kind?.to_owned(), pod_spec: pod_spec.to_owned() })
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_of_another_group_is_not_taken_for_a_kubernetes_job() {
        let custom = CustomKinds::default();
        assert_eq!(custom.pod_specs("batch", "Job").count(), 1);
        assert_eq!(custom.pod_specs("batch.volcano.sh", "Job").count(), 0);
    }

    #[test]
    fn a_kind_may_have_several_pod_specs() {
        let custom = CustomKinds::from_value(&json!([
            {"group": "leaderworkerset.x-k8s.io", "kind": "LeaderWorkerSet", "podSpec": "/spec/a/spec"},
            {"group": "leaderworkerset.x-k8s.io", "kind": "LeaderWorkerSet", "podSpec": "/spec/b/spec"},
            {"group": "argoproj.io", "kind": "Rollout"},
        ]))
        .unwrap();
        let places: Vec<_> = custom.pod_specs("leaderworkerset.x-k8s.io", "LeaderWorkerSet").collect();
        assert_eq!(places, ["/spec/a/spec", "/spec/b/spec"]);
        assert_eq!(custom.pod_specs("argoproj.io", "Rollout").collect::<Vec<_>>(), [TEMPLATE]);
    }

    #[rstest]
    #[case::not_a_list(json!({}), "customResources: must be a list, not a map")]
    #[case::not_a_map(json!(["Rollout"]), "customResources[0]: must be a map of keys, not a text")]
    #[case::no_group(json!([{"kind": "Rollout"}]), "customResources[0].group: missing; write the API group, for example argoproj.io")]
    #[case::no_kind(json!([{"group": "argoproj.io"}]), "customResources[0].kind: missing; write the kind, for example Rollout")]
    #[case::no_pointer(
        json!([{"group": "a.io", "kind": "B", "podSpec": "spec.template"}]),
        "customResources[0].podSpec: `spec.template`: a JSON pointer starts with a slash, for example /spec/template/spec"
    )]
    #[case::built_in(json!([{"group": "apps", "kind": "Deployment"}]), "customResources[0]: this kind is read anyway; remove it")]
    #[case::unknown_key(
        json!([{"group": "a.io", "kind": "B", "version": "v1"}]),
        "customResources[0].version: unknown key; the keys here are group, kind, podSpec"
    )]
    fn mistakes_name_the_key_and_say_what_to_write(#[case] value: Value, #[case] message: &str) {
        let mistakes: Vec<_> = CustomKinds::from_value(&value).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(mistakes, [message]);
    }
}
