mod accepted;
mod agreement;

use rstest::rstest;
use tempfile::TempDir;

use super::parse;
use crate::config::{Config, Mistake, Replication};
use harbor_warmer_core::project::{HarborKind, Transfer};
use harbor_warmer_harbor::{Credentials, Secret};

const HARBORS: &str =
    "harbors: {main: {url: 'https://harbor.example.com', credentials: anonymous, projects: {hub: {}}}}\n";

/// Files that configurations in the tests name.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["warmer.example.com".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["other.example.com".to_owned()]).unwrap();
    write("tls.crt", own.cert.pem().as_bytes());
    write("tls.key", own.signing_key.serialize_pem().as_bytes());
    write("other.key", other.signing_key.serialize_pem().as_bytes());
    write("password", b"swordfish\n");
    write("empty", b"\n");
    write("two-lines", b"swordfish\nherring\n");
    write("binary", &[0x80, 0x00]);
    write("utf-16", &[0xff, 0xfe, b's', 0x00]);
    write("marked", b"\xef\xbb\xbfswordfish\n");
    write("blank-after", b"swordfish \n");
    write("blank-before", b" swordfish");
    let auth = r#"{"auths": {"harbor.example.com": {"auth": "cm9ib3QkYStiOnN3b3JkZmlzaA=="}}}"#;
    write("docker.json", auth.as_bytes());
    directory
}

fn parsed(yaml: &str) -> Config {
    parse(yaml, directory().path()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}\nin\n{yaml}"))
}

fn mistakes(yaml: &str) -> Vec<Mistake> {
    parse(yaml, directory().path()).expect_err("the configuration has a mistake")
}

/// Lines 1 to 4, then the case's.
fn harbor(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("harbors:\n  main:\n    projects: {{hub: {{}}}}\n    credentials: anonymous\n{lines}")
}

/// Lines 1 to 3, then the case's.
fn credentials(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("harbors:\n  main:\n    projects: {{hub: {{}}}}\n{lines}    url: https://harbor.example.com\n")
}

/// Lines 1 to 4, then the case's.
fn projects(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "harbors:\n  main:\n    credentials: anonymous\n    projects:\n{lines}    url: https://harbor.example.com\n"
    )
}

/// Lines 1 and 2, then the case's.
fn target(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("targets:\n  prod:\n{lines}{HARBORS}")
}

/// Line 1, then the case's.
fn rules(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("rules:\n{lines}{HARBORS}")
}

fn top(lines: &str) -> String {
    format!("{lines}\n{HARBORS}")
}

#[rstest]
#[case::top_unknown_key(top("colour: red"), 1, "colour", "the keys here are admin, dataDir, front, harbors")]
#[case::top_typing_error(top("datadir: /tmp"), 1, "datadir", "did you mean `dataDir`?")]
#[case::top_is_a_list("- a\n".to_owned(), 1, "", "must be a map of keys, not a list")]
#[case::data_dir_is_a_number(top("dataDir: 7"), 1, "dataDir", "must be a text, not a number; put it in quotes")]
#[case::data_dir_is_a_file(top("dataDir: password"), 1, "dataDir", "is not a directory")]
#[case::data_dir_is_empty(top("dataDir: ''"), 1, "dataDir", "write the path of a directory")]
#[case::listen_is_a_port(top("registry:\n  listen: 8443"), 2, "registry.listen", "write 0.0.0.0:8443 for every")]
#[case::listen_without_address(top("registry: {listen: ':8443'}"), 1, "registry.listen", "127.0.0.1:8443 for this")]
#[case::listen_is_a_name(top("registry: {listen: 'localhost:1'}"), 1, "registry.listen", "write an IP address and a")]
#[case::listen_key_mistyped(top("registry:\n  listn: 0.0.0.0:1"), 2, "registry.listn", "did you mean `listen`?")]
#[case::key_in_kebab_case(top("registry: {max-connections: 9}"), 1, "registry.max-connections", "`maxConnections`?")]
#[case::registry_is_a_text(top("registry: '0.0.0.0:1'"), 1, "registry", "must be a map of keys, not a text")]
#[case::no_connections(top("registry: {maxConnections: 0}"), 1, "registry.maxConnections", "between 1 and 100000")]
#[case::half_connections(top("registry: {maxConnections: 0.5}"), 1, "registry.maxConnections", "`0.5`: write a whole")]
#[case::no_unit(
    top("registry: {clientTimeout: 10}"),
    1,
    "registry.clientTimeout",
    "has no unit; write 10s for seconds"
)]
#[case::not_a_duration(
    top("registry: {clientTimeout: soon}"),
    1,
    "registry.clientTimeout",
    "such as 500ms, 10m or 1h30m"
)]
#[case::too_short(top("registry: {clientTimeout: 1ms}"), 1, "registry.clientTimeout", "between 1s and 10m")]
#[case::duration_is_a_list(top("registry: {clientTimeout: [1s]}"), 1, "registry.clientTimeout", "must be a duration")]
#[case::tls_without_key(
    top("registry:\n  tls: {certificateFile: tls.crt}"),
    2,
    "registry.tls.keyFile",
    "is missing; write certificateFile and keyFile"
)]
#[case::tls_without_certificate(
    top("registry:\n  tls: {keyFile: tls.key}"),
    2,
    "registry.tls.certificateFile",
    "or remove tls for plain HTTP"
)]
#[case::tls_file_is_absent(
    top("registry:\n  tls:\n    certificateFile: nowhere.crt\n    keyFile: tls.key"),
    3,
    "registry.tls.certificateFile",
    "nowhere.crt: No such file"
)]
#[case::tls_is_no_certificate(
    top("registry:\n  tls:\n    certificateFile: password\n    keyFile: tls.key"),
    3,
    "registry.tls.certificateFile",
    "holds no certificate in PEM form"
)]
#[case::tls_is_no_key(
    top("registry:\n  tls:\n    certificateFile: tls.crt\n    keyFile: password"),
    4,
    "registry.tls.keyFile",
    "holds no private key in PEM form"
)]
#[case::tls_is_anothers_key(
    top("registry:\n  tls:\n    certificateFile: tls.crt\n    keyFile: other.key"),
    4,
    "registry.tls.keyFile",
    "is not the key of"
)]
#[case::cluster_twice(
    top(
        "registry:\n  credentials:\n  - {cluster: a, passwordFile: password}\n  - {cluster: a, passwordFile: password}"
    ),
    4,
    "registry.credentials[1].cluster",
    "`a` stands here twice"
)]
#[case::cluster_with_a_colon(
    top("registry:\n  credentials:\n  - {cluster: 'a:b', passwordFile: password}"),
    3,
    "registry.credentials[0].cluster",
    "write 1 to 63 letters"
)]
#[case::cluster_is_reserved(
    top("registry:\n  credentials:\n  - {cluster: anonymous, passwordFile: password}"),
    3,
    "registry.credentials[0].cluster",
    "choose another"
)]
#[case::cluster_is_missing(
    top("registry:\n  credentials:\n  - passwordFile: password"),
    3,
    "registry.credentials[0].cluster",
    "is missing; write the cluster's name"
)]
#[case::cluster_without_password(
    top("registry:\n  credentials:\n  - cluster: a"),
    3,
    "registry.credentials[0].passwordFile",
    "is missing; write the path"
)]
#[case::credentials_are_a_map(
    top("registry:\n  credentials: {a: b}"),
    2,
    "registry.credentials",
    "must be a list, not a map"
)]
#[case::same_port(top("admin: {listen: '127.0.0.1:8443'}"), 1, "admin.listen", "are the same port")]
#[case::wait_longer_than_budget(
    top("front:\n  wait: 2s\n  budget: 1s"),
    2,
    "front.wait",
    "must not be longer than budget"
)]
#[case::budget_longer_than_window(top("front:\n  budget: 2s\n  budgetWindow: 1s"), 2, "front.budget", "budgetWindow")]
#[case::no_workers(top("queue:\n  workers: 0"), 2, "queue.workers", "`0`: write a whole number between 1 and 256")]
#[case::negative_workers(top("queue: {workers: -3}"), 1, "queue.workers", "`-3`: write a whole number")]
#[case::forgets_before_giving_up(
    top("queue:\n  giveUpAfter: 5d\n  forgetAfter: 1d"),
    3,
    "queue.forgetAfter",
    "shorter than giveUpAfter"
)]
#[case::no_harbors("dataDir: /tmp\n".to_owned(), 1, "harbors", "is missing; name at least one Harbor")]
#[case::empty_harbors("harbors: {}\n".to_owned(), 1, "harbors", "is empty; name at least one Harbor")]
#[case::harbors_are_a_list("harbors:\n- url: https://a.example\n".to_owned(), 1, "harbors", "must be a map from the Harbor's name")]
#[case::harbor_name_has_dots("harbors:\n  a.example: {}\n".to_owned(), 2, "harbors.a.example", "the Harbor's name may hold a-z, 0-9")]
#[case::url_is_missing(harbor(""), 2, "harbors.main.url", "is missing; write https://HOST or https://HOST:PORT")]
#[case::url_without_scheme(
    harbor("url: harbor.example.com"),
    5,
    "harbors.main.url",
    "has no scheme; write https://harbor.example.com"
)]
#[case::url_with_path(harbor("url: https://harbor.example.com/hub"), 5, "harbors.main.url", "has a path; write")]
#[case::url_with_user(
    harbor("url: https://robot:swordfish@harbor.example.com"),
    5,
    "harbors.main.url",
    "write them under credentials"
)]
#[case::url_with_query(harbor("url: https://harbor.example.com?x=1"), 5, "harbors.main.url", "has a `?` or `#`")]
#[case::url_is_ftp(harbor("url: ftp://harbor.example.com"), 5, "harbors.main.url", "write https://HOST")]
#[case::url_has_a_bad_port(
    harbor("url: https://harbor.example.com:99999"),
    5,
    "harbors.main.url",
    "is not a URL (invalid port number)"
)]
#[case::plain_http(harbor("url: http://harbor.example.com"), 5, "harbors.main.url", "or allowHttp: true beside it")]
#[case::allow_http_is_a_text(
    harbor("url: http://127.0.0.1\nallowHttp: yes"),
    6,
    "harbors.main.allowHttp",
    "must be true or false, not a text"
)]
#[case::unknown_kind(
    harbor("url: https://a.example\nkind: quay"),
    6,
    "harbors.main.kind",
    "`quay`: write harbor, or distribution"
)]
#[case::ca_is_absent(harbor("url: https://a.example\ncaFile: nowhere"), 6, "harbors.main.caFile", "can't read")]
#[case::ca_is_no_certificate(
    harbor("url: https://a.example\ncaFile: password"),
    6,
    "harbors.main.caFile",
    "holds no certificate"
)]
#[case::ca_beside_insecure(
    harbor("url: https://a.example\ninsecureSkipVerify: true\ncaFile: tls.crt"),
    7,
    "harbors.main.caFile",
    "has no effect beside insecureSkipVerify"
)]
#[case::initial_above_max(
    harbor("url: https://a.example\nconcurrency: {initial: 9, max: 4}"),
    6,
    "harbors.main.concurrency.initial",
    "larger than max, which is 4"
)]
#[case::no_concurrency(
    harbor("url: https://a.example\nconcurrency: {max: 0}"),
    6,
    "harbors.main.concurrency.max",
    "between 1 and 1024"
)]
#[case::no_time_at_all(harbor("url: https://a.example\ntimeScale: 0"), 6, "harbors.main.timeScale", "above 0")]
#[case::stall_timeout_mistyped(
    harbor("url: https://a.example\nstallTimout: 1m"),
    6,
    "harbors.main.stallTimout",
    "did you mean `stallTimeout`?"
)]
#[case::no_credentials(
    credentials(""),
    2,
    "harbors.main.credentials",
    "or `credentials: anonymous` for public projects"
)]
#[case::credentials_are_a_secret(
    credentials("credentials: swordfish"),
    4,
    "harbors.main.credentials",
    "write `username` with"
)]
#[case::password_in_plain_text(
    credentials("credentials:\n  username: robot$a\n  password: swordfish"),
    6,
    "harbors.main.credentials.password",
    "a secret does not belong into"
)]
#[case::two_passwords(
    credentials("credentials:\n  username: a\n  passwordFile: password\n  passwordEnv: PATH"),
    7,
    "harbors.main.credentials.passwordEnv",
    "remove one of the two"
)]
#[case::no_username(
    credentials("credentials: {passwordFile: password}"),
    4,
    "harbors.main.credentials.username",
    "such as robot$hub+warmer"
)]
#[case::username_with_a_colon(
    credentials("credentials: {username: 'a:b', passwordFile: password}"),
    4,
    "harbors.main.credentials.username",
    "must not contain a colon"
)]
#[case::password_file_is_absent(
    credentials("credentials: {username: a, passwordFile: nowhere}"),
    4,
    "harbors.main.credentials.passwordFile",
    "can't read"
)]
#[case::password_file_is_empty(
    credentials("credentials: {username: a, passwordFile: empty}"),
    4,
    "harbors.main.credentials.passwordFile",
    "is empty"
)]
#[case::password_file_has_lines(
    credentials("credentials: {username: a, passwordFile: two-lines}"),
    4,
    "harbors.main.credentials.passwordFile",
    "has several lines"
)]
#[case::password_file_is_binary(
    credentials("credentials: {username: a, passwordFile: binary}"),
    4,
    "harbors.main.credentials.passwordFile",
    "is not text"
)]
#[case::password_file_is_utf_16(
    credentials("credentials: {username: a, passwordFile: utf-16}"),
    4,
    "harbors.main.credentials.passwordFile",
    "is UTF-16"
)]
#[case::password_file_has_a_byte_order_mark(
    credentials("credentials: {username: a, passwordFile: marked}"),
    4,
    "harbors.main.credentials.passwordFile",
    "starts with a byte order mark, which would be sent with the password; write it without"
)]
#[case::password_file_ends_with_a_blank(
    credentials("credentials: {username: a, passwordFile: blank-after}"),
    4,
    "harbors.main.credentials.passwordFile",
    "ends with a blank, which would be sent with the password; write it without"
)]
#[case::password_file_starts_with_a_blank(
    credentials("credentials: {username: a, passwordFile: blank-before}"),
    4,
    "harbors.main.credentials.passwordFile",
    "starts with a blank, which would be sent"
)]
#[case::key_twice(top("admin: {}\nadmin: {}"), 2, "admin", "stands here again, after line 1; remove one of the two")]
#[case::key_of_its_own_below_the_top(top("admin: {x-a: 1}"), 1, "admin.x-a", "unknown key")]
#[case::boolean_of_yaml_1_1(
    harbor("url: http://127.0.0.1\nallowHttp: yes"),
    6,
    "harbors.main.allowHttp",
    "; write true"
)]
#[case::variable_is_not_set(
    credentials("credentials: {username: a, passwordEnv: NO_SUCH_VARIABLE}"),
    4,
    "harbors.main.credentials.passwordEnv",
    "is not set; this key takes a variable's name"
)]
#[case::docker_config_beside_user(
    credentials("credentials: {username: a, dockerConfigFile: docker.json}"),
    4,
    "harbors.main.credentials.dockerConfigFile",
    "keep one way to log in"
)]
#[case::docker_config_is_none(
    credentials("credentials: {dockerConfigFile: password}"),
    4,
    "harbors.main.credentials.dockerConfigFile",
    "must be JSON with the key `auths`"
)]
#[case::docker_config_of_another_host("harbors:\n  main:\n    url: https://other.example\n    projects: {hub: {}}\n    credentials: {dockerConfigFile: docker.json}\n".to_owned(), 5, "harbors.main.credentials.dockerConfigFile", "has no entry for other.example")]
#[case::no_projects("harbors:\n  main: {url: 'https://a.example', credentials: anonymous}\n".to_owned(), 2, "harbors.main.projects", "only these are ever warmed")]
#[case::empty_projects("harbors:\n  main: {url: 'https://a.example', credentials: anonymous, projects: {}}\n".to_owned(), 2, "harbors.main.projects", "is empty")]
#[case::project_with_a_slash(
    projects("hub/library: {}"),
    5,
    "harbors.main.projects.hub/library",
    "must not contain a slash"
)]
#[case::unknown_transfer(
    projects("hub: {transfer: copy}"),
    5,
    "harbors.main.projects.hub.transfer",
    "`copy`: write touch"
)]
#[case::resolves_through_itself(
    projects("hub:\n  resolveThrough: hub"),
    6,
    "harbors.main.projects.hub.resolveThrough",
    "must be another project"
)]
#[case::resolves_through_unknown(
    projects("hub: {resolveThrough: index}"),
    5,
    "harbors.main.projects.hub.resolveThrough",
    "`index` is not under projects"
)]
#[case::resolves_through_two(
    projects("hub: {resolveThrough: a}\na: {resolveThrough: b}\nb: {}"),
    5,
    "harbors.main.projects.hub.resolveThrough",
    "has a resolveThrough itself"
)]
#[case::untagged_beside_a_second_project(
    projects("hub: {resolveThrough: a, warmUntagged: false}\na: {}"),
    5,
    "harbors.main.projects.hub.warmUntagged",
    "has no effect beside resolveThrough"
)]
#[case::distribution_has_no_untagged("harbors:\n  main:\n    kind: distribution\n    url: https://a.example\n    credentials: anonymous\n    projects: {a: {warmUntagged: false}}\n".to_owned(), 6, "harbors.main.projects.a.warmUntagged", "is for Harbor alone")]
#[case::distribution_resolves_through("harbors:\n  main:\n    kind: distribution\n    url: https://a.example\n    credentials: anonymous\n    projects: {a: {resolveThrough: b}, b: {}}\n".to_owned(), 6, "harbors.main.projects.a.resolveThrough", "is for Harbor alone")]
#[case::complete_index_is_a_text(
    projects("hub: {completeIndex: 'on'}"),
    5,
    "harbors.main.projects.hub.completeIndex",
    "must be true or false"
)]
#[case::target_of_unknown_harbor(
    target("harbor: other\ncredentials: {username: a, passwordFile: password}\nreplication: {own: p}"),
    3,
    "targets.prod.harbor",
    "those under harbors are main"
)]
#[case::target_without_harbor(
    target("credentials: {username: a, passwordFile: password}\nreplication: {own: p}"),
    2,
    "targets.prod.harbor",
    "is missing; write the name of the Harbor"
)]
#[case::target_is_anonymous(
    target("harbor: main\ncredentials: anonymous\nreplication: {own: p}"),
    4,
    "targets.prod.credentials",
    "replications need a system robot"
)]
#[case::target_without_replication(
    target("harbor: main\ncredentials: {username: a, passwordFile: password}"),
    2,
    "targets.prod.replication",
    "is missing; write `own: NAME`"
)]
#[case::target_with_two_policies(
    target("harbor: main\ncredentials: {username: a, passwordFile: password}\nreplication: {own: a, existing: b}"),
    5,
    "targets.prod.replication.existing",
    "a target has one policy"
)]
#[case::target_with_no_policy(
    target("harbor: main\ncredentials: {username: a, passwordFile: password}\nreplication: {}"),
    5,
    "targets.prod.replication",
    "names no policy"
)]
#[case::target_with_empty_policy(
    target("harbor: main\ncredentials: {username: a, passwordFile: password}\nreplication: {own: ''}"),
    5,
    "targets.prod.replication",
    "must not be empty"
)]
#[case::target_called_none(format!("targets: {{none: {{}}}}\n{HARBORS}"), 1, "targets.none", "means that there is none")]
#[case::rules_are_a_map(format!("rules: {{}}\n{HARBORS}"), 1, "rules", "must be a list of rules")]
#[case::rule_for_unknown_harbor(
    rules("- prefix: docker.io\n  harbor: mian\n  project: hub"),
    3,
    "rules[0].harbor",
    "`mian` is no Harbor of this configuration"
)]
#[case::rule_for_unknown_project(
    rules("- prefix: docker.io\n  harbor: main\n  project: hbu"),
    4,
    "rules[0].project",
    "not under harbors.main.projects; those there are hub"
)]
#[case::rule_for_unknown_target(
    rules("- prefix: docker.io\n  harbor: main\n  project: hub\n  target: prod"),
    5,
    "rules[0].target",
    "there are none"
)]
#[case::rule_without_matcher(rules("- harbor: main\n  project: hub"), 2, "rules[0]", "one of prefix, pattern and ecr")]
#[case::no_platforms(top("platforms: []"), 1, "platforms", "name at least one platform")]
#[case::platform_without_os(top("platforms: [amd64]"), 1, "platforms[0]", "write linux/amd64")]
#[case::platform_in_other_words(top("platforms: [linux/aarch64]"), 1, "platforms[0]", "write linux/arm64")]
fn tells_a_mistake_with_its_line_and_path(
    #[case] yaml: String,
    #[case] line: u64,
    #[case] path: &str,
    #[case] fragment: &str,
) {
    let mistakes = mistakes(&yaml);

    let [mistake] = mistakes.as_slice() else { panic!("one mistake, not {mistakes:#?}\nin\n{yaml}") };
    assert_eq!((mistake.line, mistake.path.as_str()), (line, path), "{mistake:?}");
    assert!(mistake.message.contains(fragment), "`{}` should say `{fragment}`", mistake.message);
    assert!(!mistake.message.contains("swordfish"), "a secret in `{}`", mistake.message);
}

#[test]
fn tells_all_mistakes_at_once_in_the_order_of_lines() {
    let yaml = "\
registry:
  listn: 0.0.0.0:8443
  tls: {certificateFile: tls.crt}
queue: {workers: 0, lease: 5}
harbors:
  main:
    url: http://harbor.example.com/hub
    credentials: {username: a, password: swordfish}
    projects: {hub: {resolveThrough: hub}}
targets:
  prod: {harbor: other}
rules:
- {prefix: docker.io, harbor: mian, project: hub}
";
    let told: Vec<_> = mistakes(yaml).into_iter().map(|mistake| (mistake.line, mistake.path)).collect();

    let expected = [
        (2, "registry.listn"),
        (3, "registry.tls.keyFile"),
        (4, "queue.workers"),
        (4, "queue.lease"),
        (7, "harbors.main.url"),
        (8, "harbors.main.credentials.password"),
        (9, "harbors.main.projects.hub.resolveThrough"),
        (11, "targets.prod.harbor"),
        (11, "targets.prod.credentials"),
        (11, "targets.prod.replication"),
        (13, "rules[0].harbor"),
    ];
    assert_eq!(told, expected.map(|(line, path)| (line, path.to_owned())));
}

#[rstest]
#[case::skip_that_is_none("- {prefix: quay.io, skip: yes}", &["rules[0].skip: must be true or false, not a text; write true"])]
#[case::harbor_in_capitals("- {prefix: quay.io, harbor: Main, project: hub}", &["rules[0].harbor: "])]
#[case::dead("- {prefix: quay.io, harbor: main, project: hub}\n- {prefix: quay.io/a, harbor: main, project: hub}", &["rules[1]: no image gets to it"])]
fn a_mistake_in_a_rule_is_told_once(#[case] rules: &str, #[case] expected: &[&str]) {
    let told: Vec<_> = mistakes(&format!("{HARBORS}rules:\n{rules}\n"))
        .iter()
        .map(|mistake| format!("{}: {}", mistake.path, mistake.message))
        .collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn anchors_have_a_place_of_their_own_at_the_top() {
    let config = parsed(
        "x-project: &project {transfer: drain}\nharbors:\n  main: {url: 'https://harbor.example.com', credentials: anonymous, projects: {hub: *project, quay: {<<: *project}}}\n",
    );
    let harbor = &config.harbors[&"main".parse().unwrap()];
    assert!(harbor.projects.values().all(|project| project.transfer == Transfer::Drain), "{harbor:?}");
}

#[rstest]
#[case::latin(b"dataDir: data\n# caf\xe9\n", "line 2 holds the byte 0xE9, which is not UTF-8; save the file as UTF-8")]
#[case::utf_16(b"\xff\xfed\0", "it is UTF-16")]
fn a_file_that_is_no_text_is_told_with_its_line(#[case] bytes: &[u8], #[case] expected: &str) {
    let directory = directory();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, bytes).unwrap();

    let error = crate::config::load(&path).unwrap_err();

    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(source.starts_with(expected), "{source}");
}

#[test]
fn a_syntax_error_stands_alone() {
    let mistakes = mistakes("colour: red\nregistry: {listen: 5\nqueue: {workers: 0}\n");

    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    assert!(mistakes[0].line >= 2);
    assert!(mistakes[0].path.is_empty());
}
