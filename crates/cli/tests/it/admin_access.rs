//! How the command line reaches the admin API where others reach its port: by a socket, or with a token.

use std::net::SocketAddr;

use harbor_warmer::config::{Config, ProbePort};
use harbor_warmer_cli::{AdminClient, AdminError, ServiceArguments};
use harbor_warmer_core::view::WarmRequest;
use http::StatusCode;

use crate::site::{Options, Site, harbor};

const TOKEN: &str = "0123456789abcdef";

/// A port on every interface, as in a Pod.
fn on_every_interface(config: &mut Config) {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    config.admin.listen = any;
    config.admin.socket = Some(config.data_dir.with_file_name("admin.sock"));
    config.probes = Some(ProbePort { listen: any });
}

fn with_a_token(config: &mut Config) {
    on_every_interface(config);
    let token = config.data_dir.with_file_name("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    config.admin.token_file = Some(token);
}

async fn site(tune: fn(&mut Config)) -> Site {
    Site::with(harbor(), Options { tune, ..Options::default() }).await
}

fn client(admin: String, token: Option<std::path::PathBuf>) -> AdminClient {
    AdminClient::of(&ServiceArguments { admin, admin_token_file: token }).unwrap()
}

async fn warm(client: &AdminClient) -> Result<(), AdminError> {
    client.warm(&WarmRequest { images: vec!["docker.io/library/nginx:1.27".to_owned()] }).await.map(drop)
}

fn port(address: SocketAddr) -> String {
    format!("127.0.0.1:{}", address.port())
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(answer: Result<T, AdminError>, expected: StatusCode) {
    match answer {
        Err(AdminError::Refused { status, sentence }) => assert_eq!(status, expected, "{sentence}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_a_port_that_others_reach_answers_probes_alone_and_the_socket_everything() {
    let site = site(on_every_interface).await;
    let over_tcp = client(format!("http://{}", port(site.service.admin_address)), None);
    assert_refused(warm(&over_tcp).await, StatusCode::FORBIDDEN);
    assert_refused(over_tcp.images(None, None, None, 10).await, StatusCode::FORBIDDEN);
    for address in [site.service.admin_address, site.service.probes_address.unwrap()] {
        for path in ["livez", "readyz", "metrics"] {
            let answer = site.http.get(format!("http://{}/{path}", port(address))).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}");
        }
    }

    let socket = client(format!("unix:{}", site.directory().join("admin.sock").display()), None);
    warm(&socket).await.unwrap();
    let images = socket.images(None, None, None, 10).await.unwrap().images;
    assert_eq!(images.len(), 1);
    assert!(socket.requeue(&images[0].id).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_the_port_answers_those_who_have_it() {
    let site = site(with_a_token).await;
    let address = format!("http://{}", port(site.service.admin_address));
    assert_refused(warm(&client(address.clone(), None)).await, StatusCode::UNAUTHORIZED);
    let wrong = site.directory().join("wrong");
    std::fs::write(&wrong, "fedcba9876543210").unwrap();
    assert_refused(warm(&client(address.clone(), Some(wrong))).await, StatusCode::UNAUTHORIZED);
    warm(&client(address, Some(site.directory().join("token")))).await.unwrap();
}
