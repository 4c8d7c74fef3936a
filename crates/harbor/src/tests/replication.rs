use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Seen, Server, answer, basic, error, json as json_answer, place, robot};
use crate::{AnswerClass, ExecutionId, Filters, Naming, NewPolicy, Parts, PolicyId, ReplicationStatus};

fn policies() -> Vec<Value> {
    let mut policies: Vec<Value> =
        (0..130).map(|id| json!({ "id": id, "name": format!("to-ecr-{id}"), "enabled": true })).collect();
    policies.push(json!({
        "id": 500, "name": "to-ecr", "enabled": true, "trigger": { "type": "event_based" },
        "dest_registry": { "id": 2, "credential": { "access_secret": "*****" } },
        "filters": [{ "type": "name", "value": "proxy/**" }], "dest_namespace": "", "dest_namespace_replace_count": 1,
        "a_field_of_a_newer_harbor": { "kept": true },
    }));
    policies
}

fn page(seen: &Seen, all: &[Value]) -> Value {
    let url = reqwest::Url::parse(&format!("http://harbor{}", seen.target)).unwrap();
    let number = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.parse::<usize>().unwrap();
    let (page, size) = (number("page"), number("page_size"));
    all.iter().skip((page - 1) * size).take(size).cloned().collect()
}

/// A Harbor with many policies; what was written is what is read.
async fn harbor() -> Server {
    let written = Arc::new(Mutex::new(None::<Value>));
    Server::start(move |seen: &Seen| {
        let path = seen.target.split('?').next().unwrap();
        match (&seen.method, path) {
            (&Method::GET, "/api/v2.0/replication/policies") => json_answer(StatusCode::OK, &page(seen, &policies())),
            (&Method::GET, "/api/v2.0/registries") => {
                let registries = json!([{ "id": 1, "name": "ecr-eu" }, { "id": 2, "name": "ecr" }]);
                json_answer(StatusCode::OK, &registries)
            }
            (&Method::GET, "/api/v2.0/replication/policies/500") => {
                let policy = written.lock().unwrap().clone().unwrap_or_else(|| policies().pop().unwrap());
                json_answer(StatusCode::OK, &policy)
            }
            (&Method::PUT, "/api/v2.0/replication/policies/500") => {
                *written.lock().unwrap() = Some(seen.json());
                answer(200, &[], "")
            }
            (&Method::POST, "/api/v2.0/replication/policies") => {
                answer(201, &[("location", "/api/v2.0/replication/policies/501")], "")
            }
            (&Method::POST, "/api/v2.0/replication/executions") => {
                answer(201, &[("location", "/api/v2.0/replication/executions/77")], "")
            }
            (&Method::GET, "/api/v2.0/replication/executions/77") => {
                let execution =
                    json!({ "id": 77, "status": "InProgress", "status_text": "", "total": 2, "succeed": 1 });
                json_answer(StatusCode::OK, &execution)
            }
            (&Method::GET, "/api/v2.0/replication/executions/77/tasks") => {
                let tasks = json!([
                    { "id": 1, "status": "Succeed", "src_resource": "proxy/team/app:[1.0]", "dst_resource": "x" },
                    { "id": 2, "status": "Failed" },
                    { "id": 3, "status": "Postponed" },
                    { "status": "Failed" },
                ]);
                json_answer(StatusCode::OK, &tasks)
            }
            _ => error(404, "NOT_FOUND", "nothing"),
        }
    })
    .await
}

fn filters(tags: &[&str]) -> Filters {
    Filters { place: place(), tags: tags.iter().map(|tag| tag.parse().unwrap()).collect() }
}

#[tokio::test]
async fn a_policy_is_found_by_its_exact_name_beyond_the_first_page_with_credentials_of_its_own() {
    let server = harbor().await;
    let directory = tempfile::tempdir().unwrap();
    let replication = server.client().replication(&robot(&directory, "system-robot")).unwrap();
    let policy = replication.find_policy("to-ecr").await.unwrap().unwrap();
    assert_eq!((policy.id, policy.trigger(), policy.registry_id()), (PolicyId(500), "event_based", Some(2)));
    assert_eq!((policy.filter("name"), policy.filter("tag")), (Some("proxy/**"), None));
    assert_eq!(policy.destination().naming, Naming { namespace: None, replaced: Some(1), parts: Parts::Any });
    assert_eq!(replication.find_policy("to-ecr-13").await.unwrap().unwrap().id, PolicyId(13));
    assert_eq!(replication.find_policy("ecr").await.unwrap(), None);
    assert!(server.seen().iter().all(|seen| seen.authorization() == basic("system-robot")));
}

#[tokio::test]
async fn filters_are_changed_and_everything_else_of_the_policy_stays() {
    let server = harbor().await;
    let replication = server.client().replication(&crate::Credentials::Anonymous).unwrap();
    let policy = replication.policy(PolicyId(500)).await.unwrap();
    replication.set_filters(policy, &filters(&["1.0", "latest"])).await.unwrap();
    let policy = replication.policy(PolicyId(500)).await.unwrap();
    assert_eq!((policy.filter("name"), policy.filter("tag")), (Some("proxy/team/app"), Some("{1.0,latest}")));
    let mut written = server.seen().into_iter().find(|seen| seen.method == Method::PUT).unwrap().json();
    let mut before = policies().pop().unwrap();
    written["filters"] = Value::Null;
    before["filters"] = Value::Null;
    assert_eq!(written, before);
    replication.set_filters(policy, &filters(&["1.0"])).await.unwrap();
    assert_eq!(replication.policy(PolicyId(500)).await.unwrap().filter("tag"), Some("1.0"));
}

#[tokio::test]
async fn an_execution_is_started_and_followed_by_its_tasks() {
    let server = harbor().await;
    let replication = server.client().replication(&crate::Credentials::Anonymous).unwrap();
    let id = replication.start(PolicyId(500)).await.unwrap();
    assert_eq!(id, ExecutionId(77));
    assert_eq!(server.seen()[0].json(), json!({ "policy_id": 500 }));
    let execution = replication.execution(id).await.unwrap();
    assert_eq!((execution.status, execution.total, execution.succeed), (ReplicationStatus::InProgress, 2, 1));
    let tasks = replication.tasks(id).await.unwrap();
    let statuses: Vec<_> = tasks.iter().map(|task| task.status.clone()).collect();
    let unknown = ReplicationStatus::Unknown("Postponed".to_owned());
    assert_eq!(statuses, [ReplicationStatus::Succeed, ReplicationStatus::Failed, unknown]);
    assert_eq!(tasks[0].source.as_deref(), Some("proxy/team/app:[1.0]"));
}

#[tokio::test]
async fn a_policy_of_the_warmers_own_is_started_by_hand_and_copies_nothing_else() {
    let server = harbor().await;
    let replication = server.client().replication(&crate::Credentials::Anonymous).unwrap();
    assert_eq!(replication.find_endpoint("nosuch").await.unwrap(), None);
    let policy = NewPolicy {
        name: "harbor-warmer-ecr".to_owned(),
        registry_id: replication.find_endpoint("ecr").await.unwrap().unwrap().id,
        dest_namespace: Some("cache".to_owned()),
        dest_namespace_replace_count: Some(0),
        filters: filters(&["1.0"]),
    };
    assert_eq!(replication.create_policy(&policy).await.unwrap(), PolicyId(501));
    let sent = server.seen()[2].json();
    assert_eq!((&sent["trigger"]["type"], &sent["dest_registry"]["id"]), (&json!("manual"), &json!(2)));
    assert_eq!((&sent["dest_namespace"], &sent["dest_namespace_replace_count"]), (&json!("cache"), &json!(0)));
    let filters = json!([{ "type": "name", "value": "proxy/team/app" }, { "type": "tag", "value": "1.0" }]);
    assert_eq!(sent["filters"], filters);
}

#[tokio::test]
async fn a_start_without_the_right_names_the_right() {
    let server = Server::start(|_| error(403, "FORBIDDEN", "forbidden")).await;
    let replication = server.client().replication(&crate::Credentials::Anonymous).unwrap();
    let error = replication.start(PolicyId(1)).await.unwrap_err();
    assert_eq!(error.class(), AnswerClass::Forbidden);
    assert!(error.to_string().contains("replication: create"), "{error}");
}

#[tokio::test]
async fn a_disabled_policy_is_told_as_such_and_a_failed_task_by_its_log() {
    let server = Server::start(|seen| match seen.target.ends_with("/tasks/3/log") {
        true => super::answer(200, &[("content-type", "text/plain")], "t [ERROR] [/a.go:1]: denied by ECR\nt [INFO] x"),
        false => error(412, "PRECONDITION", "the policy 1 is disabled"),
    })
    .await;
    let replication = server.client().replication(&crate::Credentials::Anonymous).unwrap();
    let error = replication.start(PolicyId(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "the replication policy is disabled in Harbor");
    let said = replication.last_error(ExecutionId(77), 3).await.unwrap();
    assert_eq!(said.as_deref(), Some("denied by ECR"));
    assert_eq!(server.targets()[1], "GET /api/v2.0/replication/executions/77/tasks/3/log");
}
