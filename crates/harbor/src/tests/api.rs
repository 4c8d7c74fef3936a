use harbor_warmer_protocol::{Tag, TagOrDigest};
use http::StatusCode;
use rstest::rstest;
use serde_json::json;

use super::{Seen, Server, answer, digest_of, error, json as json_answer, place, tag};
use crate::{AnswerClass, SystemInfo};

#[tokio::test]
async fn an_artifact_is_asked_for_with_its_repository_encoded_twice() {
    let (index, child) = (digest_of(b"index"), digest_of(b"child"));
    let server = Server::start(move |_| {
        json_answer(
            StatusCode::OK,
            &json!({
                "digest": index,
                "manifest_media_type": "application/vnd.oci.image.index.v1+json",
                "references": [{ "child_digest": child, "platform": { "os": "linux" } }, { "child_digest": 7 }, null],
                "tags": [{ "name": "1.0", "immutable": false }, { "name": "not a tag" }],
                "pull_time": "2026-11-24T05:00:00.000Z",
            }),
        )
    })
    .await;
    let artifact = server.client().artifact(&place(), &tag("1.0")).await.unwrap().unwrap();
    assert_eq!((artifact.digest, artifact.references.as_slice()), (index, [child].as_slice()));
    assert_eq!(artifact.tags, ["1.0".parse::<Tag>().unwrap()]);
    assert_eq!(artifact.pull_time.as_deref(), Some("2026-11-24T05:00:00.000Z"));
    let path = "GET /api/v2.0/projects/proxy/repositories/team%252Fapp/artifacts/1.0?with_tag=true";
    assert_eq!(server.targets(), [path]);
}

#[tokio::test]
async fn an_artifact_by_digest_without_references_or_tags_has_none() {
    let digest = digest_of(b"child");
    let body = json!({ "digest": digest, "references": null, "tags": null });
    let server = Server::start(move |_| json_answer(StatusCode::OK, &body)).await;
    let artifact = server.client().artifact(&place(), &TagOrDigest::Digest(digest)).await.unwrap().unwrap();
    assert!(artifact.references.is_empty() && artifact.tags.is_empty());
    assert!(server.targets()[0].contains(&format!("/artifacts/{digest}?")));
}

#[rstest]
#[case::artifact("artifact proxy/team/app:1.0 not found")]
#[case::repository("repository proxy/team/app not found")]
#[tokio::test]
async fn an_artifact_that_harbor_does_not_know_is_not_recorded(#[case] message: &'static str) {
    let server = Server::start(move |_| error(404, "NOT_FOUND", message)).await;
    assert_eq!(server.client().artifact(&place(), &tag("1.0")).await.unwrap(), None);
}

#[rstest]
#[case::right_missing(error(403, "FORBIDDEN", "forbidden"), AnswerClass::Forbidden)]
#[case::project_gone(error(404, "NOT_FOUND", "project proxy not found"), AnswerClass::Unauthorized)]
#[case::not_harbor(answer(404, &[], "404 page not found"), AnswerClass::Invalid)]
#[case::a_page_of_somebody_elses(answer(200, &[], "<html>"), AnswerClass::Invalid)]
#[case::no_digest(answer(200, &[], "{}"), AnswerClass::Invalid)]
#[case::down(error(500, "UNKNOWN", "internal server error"), AnswerClass::ServerError)]
#[tokio::test]
async fn an_artifact_api_that_says_anything_else_does_not_mean_not_recorded(
    #[case] response: axum::response::Response,
    #[case] expected: AnswerClass,
) {
    let response = std::sync::Arc::new(std::sync::Mutex::new(Some(response)));
    let server = Server::start(move |_| response.lock().unwrap().take().unwrap()).await;
    let error = server.client().artifact(&place(), &tag("1.0")).await.unwrap_err();
    assert_eq!(error.class(), expected, "{error}");
}

#[tokio::test]
async fn a_missing_right_is_named_as_harbor_names_it() {
    let server = Server::start(|_| error(403, "FORBIDDEN", "forbidden")).await;
    let error = server.client().artifact(&place(), &tag("1.0")).await.unwrap_err().to_string();
    assert!(error.contains("artifact: read"), "{error}");
}

#[tokio::test]
async fn without_credentials_a_401_of_the_api_is_a_missing_right() {
    let server = Server::start(|_| error(401, "UNAUTHORIZED", "unauthorized")).await;
    let error = server.client().artifact(&place(), &tag("1.0")).await.unwrap_err();
    assert_eq!(error.class(), AnswerClass::Forbidden);
}

#[tokio::test]
async fn what_check_asks_is_read_leniently() {
    let server = Server::start(|seen: &Seen| {
        json_answer(
            StatusCode::OK,
            &match seen.target.as_str() {
                "/api/v2.0/systeminfo" => json!({ "harbor_version": "v2.15.2-7ec0b0b1", "auth_mode": "db_auth" }),
                "/api/v2.0/projects/123" if seen.header("x-is-resource-name") == "true" => json!({
                    "project_id": 7, "name": "123", "registry_id": 3,
                    "metadata": { "public": "true", "retention_id": "12" },
                }),
                "/api/v2.0/projects/plain" => json!({ "project_id": 8, "registry_id": 0, "metadata": null }),
                _ => json!(null),
            },
        )
    })
    .await;
    let client = server.client();
    let version = SystemInfo { harbor_version: Some("v2.15.2-7ec0b0b1".to_owned()) };
    assert_eq!(client.systeminfo().await.unwrap(), version);
    let cache = client.project(&"123".parse().unwrap()).await.unwrap();
    assert_eq!((cache.registry_id, cache.retention_id, cache.public), (Some(3), Some(12), true));
    let plain = client.project(&"plain".parse().unwrap()).await.unwrap();
    assert_eq!((plain.registry_id, plain.retention_id, plain.public), (None, None, false));
}
