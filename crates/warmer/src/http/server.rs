//! The accept loop of both ports: HTTP/1.1, with or without TLS, for clients that can't be trusted to be quick, sane or
//! few.
//!
//! One more connection than the limit waits in the kernel's queue. A client that is slow to shake hands, to send a
//! request's headers, to send its next request or to take an answer is cut off after the client timeout.

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::write_timeout::Stalled;
use crate::metrics::Metrics;

/// Request line and headers at most; hyper answers 431 to more. It is also the least that hyper takes.
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// How long requests under way may take after a shutdown began. The whole service has 10 s to end.
const DRAIN: Duration = Duration::from_secs(5);

/// What a port allows its clients.
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) max_connections: usize,
    /// How long a client may be slow.
    pub(crate) client_timeout: Duration,
}

/// A port.
pub(crate) struct Port {
    /// What it is called in the log.
    pub(crate) name: &'static str,
    /// Handshakes; plain HTTP without.
    pub(crate) tls: Option<TlsAcceptor>,
    /// What its clients may do.
    pub(crate) limits: Limits,
    /// Told of every connection, where the port is one that is counted.
    pub(crate) metrics: Option<Arc<Metrics>>,
}

/// Counts a connection while it lives.
struct Counted(Option<Arc<Metrics>>);

impl Counted {
    fn new(metrics: Option<Arc<Metrics>>) -> Self {
        if let Some(metrics) = &metrics {
            metrics.connection_opened();
        }
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(metrics) = &self.0 {
            metrics.connection_closed();
        }
    }
}

impl Port {
    /// Serves connections until the shutdown, then lets requests under way end. `service_for` makes the service of a
    /// connection from its peer's address.
    pub(crate) async fn serve<S, B>(
        self,
        listener: TcpListener,
        service_for: impl Fn(IpAddr) -> S,
        shutdown: CancellationToken,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let permits = Arc::new(Semaphore::new(self.limits.max_connections));
        let connections = TaskTracker::new();
        let aborted = CancellationToken::new();
        loop {
            let accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
                Some((permit, listener.accept().await))
            };
            let (permit, accepted) = tokio::select! {
                accepted = accepted => match accepted {
                    Some(accepted) => accepted,
                    None => break,
                },
                () = shutdown.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or the client was gone already. The pause keeps the first from spinning.
                    tracing::warn!(port = self.name, %error, "a connection can't be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let peer = peer.ip().to_canonical();
            let connection = Connection {
                tls: self.tls.clone(),
                client_timeout: self.limits.client_timeout,
                shutdown: shutdown.clone(),
            };
            let service = service_for(peer);
            let counted = Counted::new(self.metrics.clone());
            let (aborted, name) = (aborted.clone(), self.name);
            connections.spawn(async move {
                tokio::select! {
                    ended = connection.serve(stream, service) => if let Err(error) = ended {
                        tracing::debug!(port = name, %peer, error, "a connection ended early");
                    },
                    () = aborted.cancelled() => {}
                }
                drop((counted, permit));
            });
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::warn!(
                port = self.name,
                connections = connections.len(),
                "connections are cut off by the shutdown"
            );
            aborted.cancel();
            connections.wait().await;
        }
    }
}

/// One connection's own copy of what it needs.
struct Connection {
    tls: Option<TlsAcceptor>,
    client_timeout: Duration,
    shutdown: CancellationToken,
}

impl Connection {
    async fn serve<S, B>(self, stream: TcpStream, service: S) -> Result<(), Box<dyn Error + Send + Sync>>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        // An answer is one small write; without this it would wait for the acknowledgement of the handshake's last.
        stream.set_nodelay(true)?;
        let stream = Stalled::new(stream, self.client_timeout);
        let Some(tls) = &self.tls else { return self.speak(stream, service).await };
        let stream = tokio::select! {
            shaken = tokio::time::timeout(self.client_timeout, tls.accept(stream)) => shaken??,
            () = self.shutdown.cancelled() => return Ok(()),
        };
        self.speak(stream, service).await
    }

    async fn speak<S, B, I>(&self, stream: I, service: S) -> Result<(), Box<dyn Error + Send + Sync>>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                // It also bounds the idle time between two requests.
                .header_read_timeout(self.client_timeout)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service)
        );
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = self.shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }
}
