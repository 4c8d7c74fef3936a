//! The request table: who answers, with which headers, and what it costs the upstream.

use harbor_warmer_simulator::{ImageSpec, ProjectSpec, UpstreamKind};
use reqwest::Method;

use crate::client::{AMD64, ARM64, Lab, builder, measured_image};

#[tokio::test]
async fn a_head_of_a_cold_tag_costs_two_heads_and_one_of_a_recorded_digest_none() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    let answer = lab.head(&lab.manifest("library/app", "1.0")).await;
    assert_eq!(answer.headers()["docker-content-digest"], image.digest.as_str());
    assert_eq!(answer.headers()["etag"], image.digest.as_str(), "the middleware doesn't quote");
    assert!(!answer.headers().contains_key("docker-distribution-api-version"));
    assert_eq!(lab.simulator.upstream_stats().manifest_heads, 2);

    let child = image.child(AMD64);
    lab.get_manifest(&image, &child.digest).await;
    let stats = lab.simulator.upstream_stats();
    assert_eq!((stats.manifest_heads, stats.manifest_gets), (3, 1));
    lab.warm_child(&image, AMD64).await;
    lab.until_recorded(&image, &child.digest).await;
    lab.simulator.upstream().reset_stats();
    let answer = lab.get(&lab.manifest("library/app", &child.digest)).await;
    assert_eq!(answer.headers()["etag"], format!("\"{}\"", child.digest), "the registry quotes");
    assert_eq!(answer.headers()["docker-distribution-api-version"], "registry/2.0");
    let stats = lab.simulator.upstream_stats();
    assert_eq!((stats.manifest_heads, stats.manifest_gets), (0, 0));
}

#[tokio::test]
async fn a_blob_is_proxied_chunked_and_then_served_locally_with_ranges() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image());
    let (layer, size) = image.child(AMD64).layers[0].clone();
    let path = lab.blob("library/app", &layer);
    assert_eq!(lab.head(&path).await.status(), 404, "HEAD never asks the upstream");
    assert_eq!(lab.simulator.upstream_stats().blob_gets("library/app", &layer), 0);

    let request = |range| {
        let request = lab.client.get(format!("{}{path}", lab.simulator.url())).header("range", range);
        request.basic_auth("robot$proxy+warmer", Some("secret"))
    };
    let proxied = request("bytes=0-0").send().await.unwrap();
    assert_eq!((proxied.status(), proxied.content_length()), (reqwest::StatusCode::OK, None));
    assert!(!proxied.headers().contains_key("docker-content-digest"));
    let whole = proxied.bytes().await.unwrap();
    assert_eq!(whole.len() as u64, size);
    assert_eq!(harbor_warmer_simulator::Digest::of(&whole), layer);

    lab.until_local(&image, [&*layer]).await;
    let head = lab.head(&path).await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &size.to_string().parse().unwrap()));
    let local = request("bytes=10-19").send().await.unwrap();
    assert_eq!(local.status(), 206);
    assert_eq!(local.headers()["cache-control"], "max-age=31536000");
    assert_eq!(local.bytes().await.unwrap(), whole[10..20]);
    assert_eq!(lab.drain("library/app", &layer).await as u64, size);
}

#[tokio::test]
async fn a_blob_is_local_to_its_repository() {
    let lab = Lab::start().await;
    let spec = |name: &str| ImageSpec::new(name, "1").shared_layer("base", 65536);
    let (one, other) = (lab.simulator.upstream().push(spec("one")), lab.simulator.upstream().push(spec("other")));
    let base = one.children[0].layers[0].0.clone();
    assert_eq!(other.children[0].layers[0].0, base);
    lab.touch("one", &base).await;
    lab.until_local(&one, [&*base]).await;
    assert_eq!(lab.head(&lab.blob("other", &base)).await.status(), 404);
}

#[tokio::test]
async fn parallel_gets_of_a_blob_open_a_stream_each_and_store_one_copy() {
    let lab = Lab::start().await;
    lab.simulator.upstream().rate(Some(1 << 20));
    let image = lab.simulator.upstream().push(measured_image());
    let layer = image.child(AMD64).layers[1].0.clone();
    futures_util::future::join_all((0..4).map(|_| lab.touch("library/app", &layer))).await;
    lab.until_local(&image, [&*layer]).await;
    assert_eq!(lab.simulator.background_transfers("proxy", "library/app", &layer), 1);
    let stats = lab.simulator.upstream_stats();
    assert_eq!((stats.client_streams, stats.copy_streams), (4, 4));
}

#[tokio::test]
async fn a_crowd_costs_the_upstream_many_times_what_one_client_does() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([65536, 4 << 20]));
    let warm = async || {
        lab.head_tag(&image).await;
        lab.get_manifest(&image, &image.digest).await;
        lab.warm_child(&image, AMD64).await;
    };
    futures_util::future::join_all((0..20).map(|_| warm())).await;
    lab.until_recorded(&image, &image.child(AMD64).digest).await;
    let stats = lab.simulator.upstream_stats();
    // By one client it is 2 GETs of manifests and two streams for each of the three blobs.
    assert!(stats.manifest_gets > 10, "{}", stats.manifest_gets);
    assert!(stats.blob_bytes > 20 << 20, "{}", stats.blob_bytes);
}

#[tokio::test]
async fn only_who_names_the_oci_types_gets_a_recorded_oci_manifest() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(ImageSpec::new("app", "1").single_manifest());
    let path = lab.manifest("app", &image.digest);
    let bare = || async {
        let request = lab.client.get(format!("{}{path}", lab.simulator.url())).header("accept", "*/*");
        request.basic_auth("robot$proxy+warmer", Some("secret")).send().await.unwrap()
    };
    assert_eq!(bare().await.status(), 200, "upstream's answer is passed on");
    lab.warm_child(&image, AMD64).await;
    lab.until_recorded(&image, &image.digest).await;
    let answer = bare().await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("accept header does not support OCI manifests"));
}

#[tokio::test]
async fn the_list_of_tags_is_upstreams_and_so_proves_nothing() {
    let lab = Lab::start().await;
    lab.simulator.upstream().push(measured_image());
    let (status, shown) = lab.get_json("/v2/proxy/library/app/tags/list").await;
    assert_eq!((status, &shown["tags"]), (200, &serde_json::json!(["1.0"])));
    assert!(lab.simulator.tags("proxy", "library/app").is_empty());
}

#[tokio::test]
async fn nobody_pushes_into_a_proxy_project_or_tags_there() {
    let mut lab = Lab::start().await;
    let upload = lab.send(Method::POST, "/v2/proxy/library/app/blobs/uploads/").await;
    assert_eq!(upload.status(), 403);
    assert!(upload.text().await.unwrap().contains("can not push artifact to a proxy project"));
    lab.login("admin", "Harbor12345");
    let tag = "/api/v2.0/projects/proxy/repositories/library%252Fapp/artifacts/1.0/tags";
    assert_eq!(lab.send(Method::POST, tag).await.status(), 405);
}

#[tokio::test]
async fn a_docker_hub_endpoint_redirects_short_names() {
    let lab = Lab::with(builder().project(ProjectSpec::proxy("proxy").docker_hub())).await;
    let image = lab.simulator.upstream().push(ImageSpec::new("library/nginx", "1"));
    let answer = lab.head("/v2/proxy/nginx/manifests/1").await;
    assert_eq!(answer.status(), 301);
    assert_eq!(answer.headers()["location"], "/v2/proxy/library/nginx/manifests/1");
    let digest = &image.children[0].config.0;
    let answer = lab.get(&format!("/v2/proxy/nginx/blobs/{digest}")).await;
    assert_eq!(answer.headers()["location"], format!("/v2/proxy/library/nginx/blobs/{digest}"));
}

#[tokio::test]
async fn the_artifact_api_shows_the_index_with_its_children_and_takes_the_name_encoded() {
    let lab = Lab::start().await;
    let image = lab.simulator.upstream().push(measured_image().layer_sizes([4096]));
    lab.head_tag(&image).await;
    lab.get_manifest(&image, &image.digest).await;
    lab.warm_child(&image, AMD64).await;
    lab.warm_child(&image, ARM64).await;
    lab.until_tagged(&image).await;
    let base = "/api/v2.0/projects/proxy/repositories/library%252Fapp/artifacts";
    let (status, shown) = lab.get_json(&format!("{base}/1.0?with_tag=true")).await;
    assert_eq!((status, &shown["tags"][0]["name"]), (200, &serde_json::json!("1.0")));
    assert_eq!(shown["references"][0]["platform"]["architecture"], "amd64");
    assert_eq!(shown["references"][1]["child_digest"], image.child(ARM64).digest.as_str());
    let (_, child) = lab.get_json(&format!("{base}/{}", image.child(AMD64).digest)).await;
    assert_eq!(child["manifest_media_type"], "application/vnd.oci.image.manifest.v1+json");
    let (_, listed) = lab.get_json(base).await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "children are listed below their index only");
    let (status, shown) = lab.get_json(&format!("{base}/{}", image.digest)).await;
    assert_eq!(status, 404, "upstream's index digest is unknown to the API");
    let message = format!("artifact proxy/library/app@{} not found", image.digest);
    assert_eq!(shown["errors"][0]["message"], message);
    let (_, shown) = lab.get_json("/api/v2.0/projects/proxy/repositories/none/artifacts/1.0").await;
    assert_eq!(shown["errors"][0]["message"], "repository proxy/none not found");
    for (slash, status) in [("%252F", 200), ("%2F", 200), ("/", 404)] {
        let path = format!("/api/v2.0/projects/proxy/repositories/library{slash}app/artifacts/1.0");
        assert_eq!(lab.get(&path).await.status(), status, "{slash}");
    }
}

#[tokio::test]
async fn an_oci_layout_and_another_registry_serve_as_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let (digest, config, layer) = write_layout(folder.path());
    let lab = Lab::with(builder().upstream(UpstreamKind::Layout(folder.path().to_owned()))).await;
    let name = folder.path().file_name().unwrap().to_str().unwrap().to_lowercase();
    // The tests' own folder name may not be a repository name, so the layout names the repository itself.
    assert_ne!(name, "library/app");
    let answer = lab.head(&lab.manifest("library/app", "1.0")).await;
    assert_eq!(answer.headers()["docker-content-digest"], digest.as_str());
    assert_eq!(lab.drain("library/app", &layer).await, 3000);

    // A second simulator in front of the first one's public project: a real registry with its token flow.
    let origin = Lab::with(builder().project(ProjectSpec::proxy("proxy").public())).await;
    let image = origin.simulator.upstream().push(ImageSpec::new("app", "1").single_manifest());
    let url = origin.simulator.url().parse().unwrap();
    let front = Lab::with(builder().upstream(UpstreamKind::Registry(url))).await;
    let repository = "proxy/app";
    let answer = front.head(&front.manifest(repository, "1")).await;
    assert_eq!(answer.status(), 200);
    let answer = front.get(&front.manifest(repository, &image.digest)).await;
    assert_eq!(harbor_warmer_simulator::Digest::of(&answer.bytes().await.unwrap()), image.digest);
    let (small, _) = &image.children[0].config;
    assert_eq!(front.get(&front.blob(repository, small)).await.status(), 200);
    front.until("the blob is copied", |it| it.blob_is_local("proxy", repository, small)).await;
    assert_eq!(lab.head(&lab.blob("library/app", &config)).await.status(), 404);
}

/// A layout of one manifest with a config and a layer of 3000 bytes; their digests.
fn write_layout(folder: &std::path::Path) -> (String, String, String) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = harbor_warmer_simulator::Digest::of(bytes);
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        digest.to_string()
    };
    let (config, layer) = (put(b"{}"), put(&[7; 3000]));
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 3000}],
    });
    let digest = put(manifest.to_string().as_bytes());
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": media_type,
            "digest": digest,
            "size": manifest.to_string().len(),
            "annotations": {"org.opencontainers.image.ref.name": "library/app:1.0"},
        }],
    });
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    (digest, config, layer)
}
