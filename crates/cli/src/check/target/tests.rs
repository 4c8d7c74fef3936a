//! Findings on a target, from the answers of a simulated Harbor.

use harbor_warmer_simulator::{Right, Simulator};
use rstest::rstest;
use serde_json::{Value, json};

use crate::check::harbor::tests::{assert_says, config, harbor, report, system_robot};
use harbor_warmer::config::Config;

/// What the robot needs, but for making a policy.
const RIGHTS: [Right; 6] = [
    Right::PolicyList,
    Right::PolicyRead,
    Right::PolicyUpdate,
    Right::ReplicationCreate,
    Right::ReplicationList,
    Right::ReplicationRead,
];

const OWN: &str = "{own: harbor-warmer-prod}";

async fn start() -> Simulator {
    harbor(system_robot()).replication_target("ecr").start().await.unwrap()
}

/// A target with this replication, and rules for it.
fn with_target(simulator: &Simulator, directory: &tempfile::TempDir, replication: &str, rules: &str) -> Config {
    let rest = format!(
        "targets:
  prod:
    harbor: main
    credentials: {{username: 'robot$warmer', passwordFile: password}}
    replication: {replication}
rules: [{rules}]
"
    );
    config(&simulator.url(), directory.path(), "robot$warmer", "{hub: {}}", &rest)
}

/// A policy that an administrator makes.
async fn policy(simulator: &Simulator, changes: Value) {
    harbor_warmer_harbor::install_crypto_provider();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let registries =
        http.get(format!("{}/api/v2.0/registries", simulator.url())).basic_auth("admin", Some("Harbor12345"));
    let registries = registries.send().await.unwrap().bytes().await.unwrap();
    let registries: Vec<Value> = serde_json::from_slice(&registries).unwrap();
    let ecr = registries.iter().find(|registry| registry["name"] == "ecr").unwrap();
    let mut policy = json!({
        "name": "harbor-warmer-prod", "enabled": true, "trigger": {"type": "manual"},
        "dest_registry": {"id": ecr["id"]}, "filters": [{"type": "name", "value": "hub/app"}, {"type": "tag", "value": "1"}],
    });
    policy.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let made = http.post(format!("{}/api/v2.0/replication/policies", simulator.url()));
    let made = made.basic_auth("admin", Some("Harbor12345")).header("content-type", "application/json");
    let made = made.body(policy.to_string()).send().await.unwrap();
    assert_eq!(made.status(), 201);
}

#[tokio::test]
async fn a_policy_and_a_rule_that_agree_are_well() {
    let simulator = start().await;
    policy(&simulator, json!({})).await;
    let directory = tempfile::tempdir().unwrap();
    let rules = "{prefix: ecr.invalid/hub, repository: '{rest}', harbor: main, project: hub, target: prod}";

    let (text, problems) = report(&with_target(&simulator, &directory, OWN, rules)).await;

    assert!(!problems, "{text}");
    assert_says(
        &text,
        &[
            "✓ the credentials have every right that replicating needs",
            "✓ the policy harbor-warmer-prod is there",
            "✓ rules[0]: ecr.invalid/hub/app:latest arrives as workloads name it",
        ],
    );
}

#[rstest]
#[case::own_policy_is_absent(OWN, &["✗ there is no policy harbor-warmer-prod", "write `registry` under replication"])]
#[case::other_policy_is_absent("{existing: to-ecr}", &["✗ there is no policy to-ecr", "correct its name under replication.existing"])]
#[case::its_endpoint_is_absent("{own: p, registry: nosuch}", &["✗ there is no registry endpoint nosuch"])]
#[tokio::test]
async fn a_policy_that_is_not_there_is_told_with_who_makes_it(#[case] replication: &str, #[case] fragments: &[&str]) {
    let simulator = start().await;
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&with_target(&simulator, &directory, replication, "")).await;

    assert!(problems, "{text}");
    assert_says(&text, fragments);
}

#[tokio::test]
async fn a_policy_that_will_be_made_is_judged_by_the_configuration() {
    let simulator = start().await;
    let directory = tempfile::tempdir().unwrap();
    let rules = "{prefix: ecr.invalid/team, repository: 'team/{rest}', harbor: main, project: hub, target: prod}";
    let wrong = "{own: p, registry: ecr, destNamespace: mirror}";

    let (text, problems) = report(&with_target(&simulator, &directory, wrong, rules)).await;

    assert!(problems, "{text}");
    assert_says(
        &text,
        &[
            "✓ the policy p will be made, to the endpoint ecr at ecr.invalid",
            "✗ rules[0]: ecr.invalid/team/app:latest would arrive as ecr.invalid/mirror/app:latest, where nobody looks for it",
            "write `destNamespace: team` and `destNamespaceReplaceCount: 2` under replication",
        ],
    );
    let right = "{own: p, registry: ecr, destNamespace: team, destNamespaceReplaceCount: 2}";
    let (text, problems) = report(&with_target(&simulator, &directory, right, rules)).await;
    assert!(!problems, "{text}");
}

#[tokio::test]
async fn an_existing_policy_that_brings_images_elsewhere_is_refused() {
    let simulator = start().await;
    policy(&simulator, json!({"name": "to-ecr", "dest_namespace": "mirror", "dest_namespace_replace_count": 1})).await;
    let directory = tempfile::tempdir().unwrap();
    let rules = "{prefix: ecr.invalid/hub, repository: '{rest}', harbor: main, project: hub, target: prod}";

    let (text, problems) = report(&with_target(&simulator, &directory, "{existing: to-ecr}", rules)).await;

    assert!(problems, "{text}");
    assert_says(
        &text,
        &["would arrive as ecr.invalid/mirror/app:latest", "in Harbor, edit the policy: no destination namespace"],
    );
}

#[rstest]
#[case(Right::PolicyList, "replication-policy: list")]
#[case(Right::PolicyRead, "replication-policy: read")]
#[case(Right::PolicyUpdate, "replication-policy: update")]
#[case(Right::ReplicationCreate, "replication: create")]
#[case(Right::ReplicationList, "replication: list")]
#[case(Right::ReplicationRead, "replication: read")]
#[tokio::test]
async fn a_missing_right_is_named_alone(#[case] right: Right, #[case] name: &str) {
    let simulator = start().await;
    policy(&simulator, json!({})).await;
    let rights = RIGHTS.into_iter().chain([Right::RepositoryPull]).filter(|known| *known != right);
    simulator.set_robot_rights("robot$warmer", rights);
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&with_target(&simulator, &directory, OWN, "")).await;

    assert!(problems, "{text}");
    assert_says(&text, &[&format!("✗ these credentials lack `{name}`\n"), "edit the system robot"]);
}

#[tokio::test]
async fn making_a_policy_needs_two_more_rights() {
    let simulator = start().await;
    simulator.set_robot_rights("robot$warmer", RIGHTS.into_iter().chain([Right::RepositoryPull]));
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&with_target(&simulator, &directory, "{own: p, registry: ecr}", "")).await;

    assert!(problems, "{text}");
    assert_says(&text, &["✗ these credentials lack `replication-policy: create`, `registry: list`"]);
}

#[rstest]
#[case::disabled(json!({"enabled": false}), "✗ the policy harbor-warmer-prod is disabled")]
#[case::by_events(json!({"trigger": {"type": "event_based"}}), "✗ the policy harbor-warmer-prod starts by events")]
#[tokio::test]
async fn a_policy_that_can_not_serve_is_told(#[case] changes: Value, #[case] finding: &str) {
    let simulator = start().await;
    policy(&simulator, changes).await;
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&with_target(&simulator, &directory, OWN, "")).await;

    assert!(problems, "{text}");
    assert_says(&text, &[finding]);
}

#[tokio::test]
async fn a_namespace_that_the_policy_does_not_have_is_told() {
    let simulator = start().await;
    policy(&simulator, json!({"dest_namespace": "old"})).await;
    let directory = tempfile::tempdir().unwrap();

    let (text, _) =
        report(&with_target(&simulator, &directory, "{own: harbor-warmer-prod, destNamespace: new}", "")).await;

    assert_says(&text, &["! the policy harbor-warmer-prod has another destination namespace than the configuration"]);
}

#[rstest]
#[case::by_events(
    json!({"trigger": {"type": "event_based"}, "filters": [{"type": "name", "value": "hub/**"}]}),
    Some("! the policy other copies from hub by events: what it brings has no tag"))]
#[case::wide(
    json!({"filters": [{"type": "name", "value": "hub/**"}]}),
    Some("! the policy other copies from hub whatever its filters let through"))]
#[case::all_tags(
    json!({"filters": [{"type": "name", "value": "hub/app"}]}),
    Some("! the policy other copies from hub whatever its filters let through"))]
#[case::all_tags_but_one(
    json!({"filters": [{"type": "name", "value": "hub/app"}, {"type": "tag", "value": "1", "decoration": "excludes"}]}),
    Some("! the policy other copies from hub whatever its filters let through"))]
#[case::exact(json!({}), None)]
#[case::of_another_project(json!({"filters": [{"type": "name", "value": "own/**"}]}), None)]
#[case::disabled(json!({"enabled": false, "filters": null}), None)]
#[tokio::test]
async fn policies_of_others_are_told_where_they_reach_a_warmed_project(
    #[case] changes: Value,
    #[case] finding: Option<&str>,
) {
    let simulator = start().await;
    policy(&simulator, json!({})).await;
    let mut other = json!({"name": "other"});
    other.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    policy(&simulator, other).await;
    let directory = tempfile::tempdir().unwrap();

    let (text, problems) = report(&with_target(&simulator, &directory, OWN, "")).await;

    assert!(!problems, "{text}");
    match finding {
        Some(finding) => assert_says(&text, &[finding]),
        None => assert!(!text.contains("the policy other"), "{text}"),
    }
}
