//! As much of an HTTP client as is needed: a whole one would take the machine from what is measured.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harbor_warmer_protocol::{HandOff, HarborImage, Platforms, Subject};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

use crate::site::{CLUSTER, PASSWORD, Warmer};

/// The path that announces a tag of the project `hub`.
pub(crate) fn announcement(repository: &str, tag: &str) -> anyhow::Result<String> {
    let hand_off = HandOff {
        image: HarborImage { harbor: "main".parse()?, project: "hub".parse()?, repository: repository.parse()? },
        target: None,
        platforms: Platforms::new(["linux/amd64".parse()?])?,
        subject: Subject::Tag(tag.parse()?),
    };
    let (name, tag) = hand_off.to_name()?;
    Ok(format!("/v2/{name}/manifests/{tag}"))
}

/// Hands one image over.
pub(crate) async fn announce(warmer: &Warmer, repository: &str, tag: &str) -> anyhow::Result<()> {
    let mut stream = BufStream::new(TcpStream::connect(warmer.registry).await?);
    let (status, _) = exchange(&mut stream, &announcement(repository, tag)?, Some(CLUSTER)).await?;
    ensure!(status == 200, "the hand-off of {repository} was answered with {status}");
    Ok(())
}

/// What a path holds, for a user where one is asked for.
pub(crate) async fn get(address: SocketAddr, path: &str, user: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut stream = BufStream::new(TcpStream::connect(address).await?);
    let (status, body) = exchange(&mut stream, path, user).await?;
    ensure!(status == 200, "{path} was answered with {status}");
    Ok(body)
}

/// Sends a GET, with the password of the user where one is named, and reads the whole answer: its status and its body, which has to have a `Content-Length`.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
    path: &str,
    user: Option<&str>,
) -> anyhow::Result<(u16, Vec<u8>)> {
    let authorization = user.map_or_else(String::new, |user| {
        format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{PASSWORD}")))
    });
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    let mut length = None;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            bail!("the answer ends within its head");
        }
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("the answer has no length")?];
    stream.read_exact(&mut body).await?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_a_hand_off_of_the_contract() {
        let path = announcement("shop/checkout", "3-7").unwrap_or_default();
        assert_eq!(path, "/v2/v1/tag/none/linux-amd64/main/hub/shop/checkout/manifests/3-7");
    }

    #[tokio::test]
    async fn answers_on_one_connection_are_told_apart() {
        let (client, mut server) = tokio::io::duplex(1024);
        let answers =
            b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        server.write_all(answers).await.expect("the pipe takes it");
        let mut stream = BufStream::new(client);
        let first = exchange(&mut stream, "/v2/", None).await.expect("an answer");
        assert_eq!(first, (401, b"no".to_vec()));
        let second = exchange(&mut stream, "/v2/", None).await.expect("an answer");
        assert_eq!(second, (200, Vec::new()));
    }
}
