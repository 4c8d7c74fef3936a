//! What right configurations come to.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

#[test]
fn the_shortest_configuration_has_every_default() {
    let config = parsed(HARBORS);

    assert_eq!(config.data_dir, PathBuf::from("/var/lib/harbor-warmer"));
    assert_eq!(config.registry.listen.to_string(), "0.0.0.0:8443");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.queue.workers, 32);
    let harbor = config.harbors.values().next().unwrap();
    assert_eq!(harbor.options.kind, HarborKind::Harbor);
    assert!(matches!(harbor.options.credentials, Credentials::Anonymous));
    let project = harbor.projects.values().next().unwrap();
    assert_eq!((project.transfer, project.complete_index), (Transfer::Touch, false));
    assert!(config.rules.is_empty());
    assert_eq!(config.platforms.path_form(), "linux-amd64");
}

#[rstest]
#[case::name("http://localhost:8080")]
#[case::ipv4("http://127.0.0.1:8080")]
#[case::ipv6("http://[::1]:8080")]
#[case::allowed("http://harbor.example.com\n    allowHttp: true")]
fn plain_http_is_for_loopback_or_by_consent(#[case] url: &str) {
    parsed(&harbor(&format!("url: {url}").replace("\n    ", "\n")));
}

#[rstest]
#[case::by_default("{}", true)]
#[case::unless_switched_off("{completeIndex: false}", false)]
fn completes_indexes_where_a_target_replicates(#[case] project: &str, #[case] expected: bool) {
    let yaml = format!(
        "harbors:
  main: {{url: 'https://a.example', credentials: anonymous, projects: {{hub: {project}}}}}
  other: {{url: 'https://b.example', credentials: anonymous, projects: {{hub: {{}}}}}}
targets:
  prod:
    harbor: main
    credentials: {{username: replicator, passwordFile: password}}
    replication: {{own: harbor-warmer-prod}}
"
    );
    let config = parsed(&yaml);

    let complete = |name: &str| config.harbors[&name.parse().unwrap()].projects.values().next().unwrap().complete_index;
    assert_eq!(complete("main"), expected);
    assert!(!complete("other"));
    let target = config.targets.values().next().unwrap();
    let Replication::Own(own) = &target.replication else { panic!("{:?}", target.replication) };
    assert_eq!(own.name, "harbor-warmer-prod");
}

#[test]
fn relative_files_start_where_the_configuration_stands() {
    let directory = directory();
    let yaml = credentials("credentials: {username: a, passwordFile: password}");

    let config = parse(&yaml, directory.path()).unwrap();

    let harbor = config.harbors.values().next().unwrap();
    let Credentials::Basic { password: Secret::File(path), .. } = &harbor.options.credentials else {
        panic!("{harbor:?}")
    };
    assert_eq!(*path, directory.path().join("password"));
}

#[test]
fn a_projects_name_may_hold_dots() {
    let config = parsed(&projects("proxy_docker.io:\n  transfer: drain"));
    let project = config.harbors.values().next().unwrap().projects.values().next().unwrap().clone();
    assert_eq!(project.transfer, Transfer::Drain);
}

#[rstest]
#[case::minimal("minimal.yaml")]
#[case::full("full.yaml")]
fn the_samples_are_valid(#[case] name: &str) {
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/samples");
    let text = std::fs::read_to_string(samples.join(name)).unwrap();
    // The samples name their secrets relative to themselves; these stand in for them.
    let directory = directory();
    let secrets = directory.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(directory.path().join("token"), "0123456789abcdef").unwrap();
    for (sample, own) in [
        ("tls.crt", "tls.crt"),
        ("tls.key", "tls.key"),
        ("ca.crt", "tls.crt"),
        ("robot-password", "password"),
        ("replicator-password", "password"),
        ("cluster-a-password", "password"),
        ("cluster-b-password", "password"),
        ("admin-token", "token"),
    ] {
        std::fs::copy(directory.path().join(own), secrets.join(sample)).unwrap();
    }

    let config = parse(&text, directory.path()).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:#?}"));

    assert!(!config.rules.is_empty());
    if name == "full.yaml" {
        assert_eq!(config.registry.credentials.len(), 2);
        assert_eq!(config.queue.recheck_after, Duration::from_secs(600));
    }
}
