//! A way to the upstream that one scenario has to itself: it may be slow or down, and it counts.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Answers pass in pieces of this size at most, and each has its time.
const PIECE_BYTES: usize = 16 << 10;

/// A stream that was held up catches up with so much of its time, and no more.
const MOST_ARREARS: Duration = Duration::from_secs(1);

/// A TCP relay in front of a registry that speaks plain HTTP. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    url: Url,
    line: Arc<Line>,
    _running: DropGuard,
}

#[derive(Debug)]
struct Line {
    /// `host:port`
    upstream: String,
    /// The cap of each connection.
    bytes_per_second: Option<f64>,
    passed: AtomicU64,
    down: watch::Sender<bool>,
}

impl Relay {
    /// Listens on a free port of `listen`. Answers pass at `bytes_per_second` a connection, where that is given.
    pub(crate) async fn start(listen: IpAddr, upstream: &Url, bytes_per_second: Option<f64>) -> io::Result<Self> {
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        if upstream.scheme() != "http" {
            return Err(invalid("a relay needs an upstream that speaks plain HTTP"));
        }
        let host = upstream.host_str().ok_or_else(|| invalid("the upstream's address has no host"))?;
        let port = upstream.port_or_known_default().ok_or_else(|| invalid("the upstream's address has no port"))?;
        let listener = TcpListener::bind((listen, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?).parse().map_err(io::Error::other)?;
        let line = Arc::new(Line {
            upstream: format!("{host}:{port}"),
            bytes_per_second,
            passed: AtomicU64::new(0),
            down: watch::Sender::new(false),
        });
        let ended = CancellationToken::new();
        tokio::spawn(ended.clone().run_until_cancelled_owned(serve(listener, Arc::clone(&line))));
        Ok(Self { url, line, _running: ended.drop_guard() })
    }

    /// Where Harbor finds it.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// While it is down, it cuts every connection.
    pub(crate) fn set_down(&self, down: bool) {
        self.line.down.send_replace(down);
    }

    /// Bytes of answers that have passed.
    pub(crate) fn passed(&self) -> u64 {
        self.line.passed.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, line: Arc<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        let line = Arc::clone(&line);
        tokio::spawn(async move {
            // A connection that breaks is for its ends to notice.
            let _ = line.relay(client).await;
        });
    }
}

impl Line {
    async fn relay(&self, client: TcpStream) -> io::Result<()> {
        let mut down = self.down.subscribe();
        if *down.borrow_and_update() {
            return Ok(());
        }
        let upstream = TcpStream::connect(&self.upstream).await?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_upstream, mut to_upstream) = upstream.into_split();
        let requests = tokio::io::copy(&mut from_client, &mut to_upstream);
        let answers = async {
            let mut piece = vec![0; PIECE_BYTES];
            let mut due = Instant::now();
            loop {
                let read = from_upstream.read(&mut piece).await?;
                if read == 0 {
                    return Ok::<(), io::Error>(());
                }
                to_client.write_all(&piece[..read]).await?;
                self.passed.fetch_add(read as u64, Ordering::Relaxed);
                if let Some(rate) = self.bytes_per_second {
                    let earliest = Instant::now().checked_sub(MOST_ARREARS).unwrap_or(due);
                    due = due.max(earliest) + Duration::from_secs_f64(read as f64 / rate);
                    tokio::time::sleep_until(due).await;
                }
            }
        };
        tokio::select! {
            ended = requests => ended.map(|_| ()),
            ended = answers => ended,
            // The relay outlives what it serves, so an end of the channel is an end of the connection as well.
            _ = down.wait_for(|down| *down) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A server that sends `answer` to whoever connects, and closes.
    async fn upstream(answer: Vec<u8>) -> Url {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                client.write_all(&answer).await.unwrap();
            }
        });
        url
    }

    async fn read_all(relay: &Relay) -> usize {
        let port = relay.url().port().unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let mut read = Vec::new();
        // A connection that was broken may end in an error.
        let _ = stream.read_to_end(&mut read).await;
        read.len()
    }

    #[tokio::test]
    async fn what_passes_is_counted_and_takes_its_time() {
        let upstream = upstream(vec![1; 100_000]).await;
        let relay = Relay::start(Ipv4Addr::LOCALHOST.into(), &upstream, Some(1_000_000.0)).await.unwrap();
        let started = Instant::now();
        assert_eq!(read_all(&relay).await, 100_000);
        assert!(started.elapsed() >= Duration::from_millis(80), "100 kB at 1 MB/s");
        assert_eq!(relay.passed(), 100_000);
    }

    #[tokio::test]
    async fn while_it_is_down_nothing_passes() {
        let upstream = upstream(vec![1; 100_000]).await;
        let relay = Relay::start(Ipv4Addr::LOCALHOST.into(), &upstream, Some(100_000.0)).await.unwrap();
        let (read, ()) = tokio::join!(read_all(&relay), async {
            while relay.passed() == 0 {
                tokio::task::yield_now().await;
            }
            relay.set_down(true);
        });
        assert!(read < 100_000, "what is under way is cut");
        assert_eq!(read_all(&relay).await, 0);
        relay.set_down(false);
        assert_eq!(read_all(&relay).await, 100_000);
    }

    #[tokio::test]
    async fn an_upstream_with_tls_is_refused() {
        let upstream = "https://registry.example.com".parse().unwrap();
        assert!(Relay::start(Ipv4Addr::LOCALHOST.into(), &upstream, None).await.is_err());
    }
}
