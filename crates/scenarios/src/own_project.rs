//! A slow upstream for a real Harbor: a rate-capped TCP proxy in front of the registry, and a project of its own on it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use harbor_warmer_scenarios::{Credentials, slow};
use reqwest::{Client, Response, Url, header};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Pieces are let through so often.
const PIECES_PER_SECOND: usize = 20;

/// Starts the proxy, and makes an endpoint and a project `name` on it. The proxy ends with the program; endpoint and
/// project stay.
pub(crate) async fn create(
    harbor: &Url,
    administrator: &Credentials,
    upstream: &Url,
    reachable_as: IpAddr,
    name: &str,
    http: &Client,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind((reachable_as, 0)).await.context("failed to listen for the slow upstream")?;
    let address = listener.local_addr().context("failed to read the slow upstream's address")?;
    let host = upstream.host_str().context("the upstream's address has no host")?;
    let port = upstream.port_or_known_default().context("the upstream's address has no port")?;
    tokio::spawn(serve(listener, format!("{host}:{port}")));

    let post = async |path: &str, body: serde_json::Value| -> anyhow::Result<Response> {
        let request = http
            .post(harbor.join(path)?)
            .basic_auth(&administrator.username, Some(&administrator.password))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
        let answer = request.send().await?.error_for_status();
        answer.with_context(|| format!("failed to create {name} in Harbor"))
    };
    let endpoint =
        json!({"name": name, "type": "docker-registry", "url": format!("http://{address}"), "insecure": true});
    let created = post("/api/v2.0/registries", endpoint).await?;
    let location = created.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let id: u64 = location
        .and_then(|location| location.rsplit('/').next()?.parse().ok())
        .context("Harbor did not say which id the endpoint has")?;
    let project = json!({"project_name": name, "registry_id": id, "metadata": {"public": "false"}});
    post("/api/v2.0/projects", project).await?;
    Ok(())
}

async fn serve(listener: TcpListener, upstream: String) {
    while let Ok((client, _)) = listener.accept().await {
        let upstream = upstream.clone();
        tokio::spawn(async move {
            // A connection that breaks is the client's to notice.
            let _ = relay(client, &upstream).await;
        });
    }
}

/// Requests pass as they come, answers at the capped rate.
async fn relay(client: TcpStream, upstream: &str) -> std::io::Result<()> {
    let upstream = TcpStream::connect(upstream).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_upstream, mut to_upstream) = upstream.into_split();
    let requests = tokio::io::copy(&mut from_client, &mut to_upstream);
    let answers = async {
        let mut piece = vec![0; slow::BYTES_PER_SECOND / PIECES_PER_SECOND];
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(PIECES_PER_SECOND).unwrap_or(1));
        loop {
            ticks.tick().await;
            let read = from_upstream.read(&mut piece).await?;
            if read == 0 {
                return Ok::<(), std::io::Error>(());
            }
            to_client.write_all(&piece[..read]).await?;
        }
    };
    tokio::select! {
        ended = requests => ended.map(|_| ()),
        ended = answers => ended,
    }
}
