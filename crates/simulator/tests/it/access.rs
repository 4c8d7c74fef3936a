//! Credentials, challenges and rights.

use harbor_warmer_simulator::{ProjectSpec, Right};
use reqwest::Method;
use serde_json::Value;

use crate::client::{Lab, ROBOT, SECRET, SYSTEM_ROBOT, builder, json, measured_image};

async fn refused(answer: reqwest::Response) -> (u16, String, String) {
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    let shown = json(answer).await;
    let message = shown["errors"][0]["message"].as_str().unwrap().to_owned();
    (status, challenge.unwrap_or_else(|| "none".to_owned()), message)
}

#[tokio::test]
async fn who_shows_no_credentials_is_sent_to_the_token_service() {
    let lab = Lab::start().await;
    lab.simulator.upstream().push(measured_image());
    let url = lab.simulator.url();
    let answer = lab.client.get(format!("{url}/v2/")).send().await.unwrap();
    let expected = format!(r#"Bearer realm="{url}/service/token",service="harbor-registry""#);
    assert_eq!(refused(answer).await, (401, expected.clone(), "unauthorized".to_owned()));
    let answer = lab.client.get(format!("{url}/v2/proxy/library/app/manifests/1.0")).send().await.unwrap();
    let (status, challenge, _) = refused(answer).await;
    assert_eq!((status, challenge), (401, format!(r#"{expected},scope="repository:proxy/library/app:pull""#)));

    let service =
        format!("{url}/service/token?service=harbor-registry&scope=repository%3Aproxy%2Flibrary%2Fapp%3Apull");
    let pull = |token: String| {
        let request = lab.client.head(format!("{url}/v2/proxy/library/app/manifests/1.0"));
        async move { request.bearer_auth(token).send().await.unwrap().status().as_u16() }
    };
    let token = |answer: Value| answer["token"].as_str().unwrap().to_owned();
    let answer = lab.client.get(&service).basic_auth(ROBOT, Some(SECRET)).send().await.unwrap();
    let answer = json(answer).await;
    assert_eq!(answer["expires_in"], 1800);
    let good = token(answer);
    assert_eq!(pull(good.clone()).await, 200);
    let anonymous = json(lab.client.get(&service).send().await.unwrap()).await;
    assert_eq!(pull(token(anonymous)).await, 401, "a private project");
    assert_eq!(lab.client.post(&service).send().await.unwrap().status(), 405);
    lab.simulator.expire_tokens();
    assert_eq!(pull(good).await, 401);
}

#[tokio::test]
async fn a_public_project_is_pulled_with_an_anonymous_token() {
    let lab = Lab::with(builder().project(ProjectSpec::proxy("proxy").public())).await;
    lab.simulator.upstream().push(measured_image());
    let url = lab.simulator.url();
    let path = format!("{url}/v2/proxy/library/app/manifests/1.0");
    assert_eq!(lab.client.head(&path).send().await.unwrap().status(), 401, "even here");
    let service = format!("{url}/service/token?service=harbor-registry&scope=repository:proxy/library/app:pull");
    let answer = json(lab.client.get(service).send().await.unwrap()).await;
    let answer = lab.client.head(&path).bearer_auth(answer["token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let shown = lab.client.get(format!("{url}/api/v2.0/projects/proxy")).send().await.unwrap();
    assert_eq!(shown.status(), 200, "and anyone may look at it");
    assert_eq!(lab.client.get(format!("{url}/api/v2.0/projects/resolve")).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_wrong_password_an_expired_robot_and_a_missing_right_look_the_same() {
    let mut lab = Lab::start().await;
    let path = lab.manifest("library/app", "1.0");
    let message = "unauthorized to access repository: proxy/library/app, action: pull".to_owned();
    let expected = (401, r#"Basic realm="harbor""#.to_owned(), message);
    lab.simulator.upstream().push(measured_image());
    lab.simulator.set_robot_expired(ROBOT, true);
    assert_eq!(refused(lab.get(&path).await).await, expected);
    lab.simulator.set_robot_expired(ROBOT, false);
    lab.simulator.set_robot_rights(ROBOT, [Right::ArtifactRead]);
    assert_eq!(refused(lab.get(&path).await).await, expected);
    lab.login(ROBOT, "wrong");
    assert_eq!(refused(lab.get(&path).await).await, expected);
    lab.login(ROBOT, SECRET);
    let other = refused(lab.get("/v2/resolve/library/app/manifests/1.0").await).await;
    assert_eq!((other.0, other.1), (401, r#"Basic realm="harbor""#.to_owned()));
}

#[tokio::test]
async fn a_project_that_does_not_exist_has_an_empty_challenge() {
    let lab = Lab::start().await;
    let answer = refused(lab.get("/v2/nosuch/app/manifests/1.0").await).await;
    assert_eq!(answer, (401, String::new(), "project nosuch not found".to_owned()));
    let answer = refused(lab.get("/v2/proxy/Library/app/manifests/1.0").await).await;
    assert_eq!(
        (answer.0, answer.2),
        (401, "un-recognized request: GET /v2/proxy/Library/app/manifests/1.0".to_owned())
    );
}

#[tokio::test]
async fn the_api_asks_for_rights_except_where_it_tells_nothing() {
    let mut lab = Lab::start().await;
    let artifact = "/api/v2.0/projects/proxy/repositories/library%252Fapp/artifacts/1.0";
    assert_eq!(lab.get(artifact).await.status(), 404);
    let (status, shown) = lab.get_json("/api/v2.0/projects/proxy").await;
    assert_eq!((status, &shown["errors"][0]["code"]), (403, &Value::from("FORBIDDEN")));
    let start = serde_json::json!({"policy_id": 1});
    let started = lab.send_json(Method::POST, "/api/v2.0/replication/executions", &start).await;
    assert_eq!(started.status(), 403);
    lab.simulator.set_robot_rights(ROBOT, [Right::RepositoryPull]);
    assert_eq!(lab.get(artifact).await.status(), 403);
    lab.login(ROBOT, "wrong");
    assert_eq!(lab.get(artifact).await.status(), 401);
    for open in ["ping", "health", "systeminfo"] {
        assert_eq!(lab.get(&format!("/api/v2.0/{open}")).await.status(), 200);
    }
    lab.login(SYSTEM_ROBOT, SECRET);
    let (_, project) = lab.get_json("/api/v2.0/projects/proxy").await;
    assert_eq!(project["registry_id"], 1, "a proxy cache");
    let retention = project["metadata"]["retention_id"].as_str().unwrap().to_owned();
    let (_, retention) = lab.get_json(&format!("/api/v2.0/retentions/{retention}")).await;
    assert_eq!(retention["rules"][0]["params"]["nDaysSinceLastPull"], 7);
}

#[tokio::test]
async fn a_project_is_found_by_whoever_has_a_right_in_it_and_a_robot_by_who_may_list_them() {
    let mut lab = Lab::start().await;
    lab.simulator.set_robot_rights(ROBOT, [Right::RepositoryPull]);
    let (_, projects) = lab.get_json("/api/v2.0/projects?q=name%3Dproxy").await;
    assert_eq!(projects[0]["registry_id"], 1, "{projects}");
    let id = projects[0]["project_id"].as_u64().unwrap();
    let robots = format!("/api/v2.0/robots?q=Level%3Dproject%2CProjectID%3D{id}");
    assert_eq!(lab.get(&robots).await.status(), 403);
    lab.simulator.set_robot_rights(ROBOT, [Right::RobotList]);
    let (_, listed) = lab.get_json(&robots).await;
    assert_eq!((&listed[0]["name"], &listed[0]["expires_at"]), (&Value::from(ROBOT), &Value::from(-1)));
    assert_eq!(lab.get("/api/v2.0/robots").await.status(), 403, "system robots are others");
    lab.login(ROBOT, "wrong");
    let (status, projects) = lab.get_json("/api/v2.0/projects?q=name%3Dproxy").await;
    assert_eq!((status, projects), (200, serde_json::json!([])));
}
