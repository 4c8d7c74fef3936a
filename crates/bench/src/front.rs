//! A relay in front of the simulated Harbor, which speaks no TLS: it adds that, counts the streams, and sees from
//! outside when the bytes of blobs flow, whoever reads them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Several reads of a blob; more would only hide who is slow.
const BUFFER_BYTES: usize = 64 * 1024;

/// Less than this at once is an answer's head or a manifest, not a blob.
const BLOB_READ_BYTES: usize = 8 * 1024;

/// A running relay; it ends with the value.
pub(crate) struct Front {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    flow: Arc<Mutex<Flow>>,
    accepting: JoinHandle<()>,
}

/// What went through.
#[derive(Clone, Copy, Default)]
struct Flow {
    first_asked: Option<Instant>,
    last_read: Option<Instant>,
    streams: u64,
    most_streams: u64,
}

impl Front {
    /// Listens, with TLS if there is an acceptor, and relays to `harbor`.
    pub(crate) async fn start(harbor: SocketAddr, tls: Option<TlsAcceptor>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((harbor.ip(), 0)).await?;
        let address = listener.local_addr()?;
        let flow = Arc::new(Mutex::new(Flow::default()));
        let accepting = tokio::spawn(accept(listener, harbor, tls, Arc::clone(&flow)));
        Ok(Self { address, flow, accepting })
    }

    /// From the first request for a blob to the last bytes of one, since this was last asked. None without both.
    pub(crate) fn take_duration(&self) -> Option<Duration> {
        let mut flow = lock(&self.flow);
        let (first, last) = flow.first_asked.take().zip(flow.last_read.take())?;
        Some(last.duration_since(first))
    }

    /// The most connections that were open at once.
    pub(crate) fn most_streams(&self) -> u64 {
        lock(&self.flow).most_streams
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, harbor: SocketAddr, tls: Option<TlsAcceptor>, flow: Arc<Mutex<Flow>>) {
    while let Ok((client, _)) = listener.accept().await {
        let (tls, flow) = (tls.clone(), Arc::clone(&flow));
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(harbor).await else { return };
            for stream in [&client, &server] {
                // Without it the relay would add delays of its own; a failure only makes it slower.
                let _slower = stream.set_nodelay(true);
            }
            {
                let mut flow = lock(&flow);
                flow.streams += 1;
                flow.most_streams = flow.most_streams.max(flow.streams);
            }
            match tls {
                Some(tls) => {
                    if let Ok(client) = tls.accept(client).await {
                        relay(client, server, &flow).await;
                    }
                }
                None => relay(client, server, &flow).await,
            }
            lock(&flow).streams -= 1;
        });
    }
}

/// Until either side closes or breaks.
async fn relay(client: impl AsyncRead + AsyncWrite, server: TcpStream, flow: &Mutex<Flow>) {
    let ((from_client, to_client), (from_server, to_server)) = (split(client), split(server));
    let asking = copy(from_client, to_server, |bytes| {
        if bytes.starts_with(b"GET ") && bytes.windows(7).take(BUFFER_BYTES).any(|part| part == b"/blobs/") {
            lock(flow).first_asked.get_or_insert_with(Instant::now);
        }
    });
    let answering = copy(from_server, to_client, |bytes| {
        if bytes.len() >= BLOB_READ_BYTES {
            lock(flow).last_read = Some(Instant::now());
        }
    });
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}

async fn copy<R: AsyncRead, W: AsyncWrite>(mut from: ReadHalf<R>, mut to: WriteHalf<W>, see: impl Fn(&[u8])) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        see(bytes);
        if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

fn lock(flow: &Mutex<Flow>) -> std::sync::MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}
