//! The service as a whole, and each of its tasks taken from it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Service;
use crate::test_harbor::Behind;

/// A service with every port and file that it can have, on a queue of its own.
async fn start(shutdown: &CancellationToken) -> (Behind, Service) {
    let behind = Behind::start("").await;
    let directory = behind.directory().to_owned();
    std::fs::write(directory.join("token"), "0123456789abcdef").unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let behind = behind.reconfigured(|config| {
        config.data_dir = directory.join("another-queue");
        config.registry.listen = any;
        config.admin.listen = any;
        config.admin.socket = Some(directory.join("admin.sock"));
        config.admin.token_file = Some(directory.join("token"));
        config.probes = Some(crate::config::ProbePort { listen: any });
    });
    let service = Service::start((*behind.config).clone(), shutdown.clone()).await.unwrap();
    (behind, service)
}

#[tokio::test]
async fn the_service_ends_soon_when_any_of_its_tasks_has_ended() {
    let shutdown = CancellationToken::new();
    let (_behind, service) = start(&shutdown).await;
    let names = service.tasks.names();
    shutdown.cancel();
    service.stopped().await;
    assert!(names.contains(&"queue writer") && names.len() >= 10, "{names:?}");
    for name in names {
        let shutdown = CancellationToken::new();
        let (_behind, mut service) = start(&shutdown).await;
        service.tasks.abort(name);
        let ending = async {
            service.watch().await.expect_err("it is told");
            service.stopped().await;
        };
        tokio::time::timeout(Duration::from_secs(5), ending).await.unwrap_or_else(|_| panic!("{name} is not missed"));
        assert!(shutdown.is_cancelled(), "{name}");
    }
}

#[tokio::test]
async fn a_shutdown_is_no_fault_of_a_task() {
    let shutdown = CancellationToken::new();
    let (behind, mut service) = start(&shutdown).await;
    shutdown.cancel();
    service.watch().await.unwrap();
    service.stopped().await;
    assert!(!behind.directory().join("admin.sock").exists(), "the socket goes with the service");
}
