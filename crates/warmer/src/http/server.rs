//! The accept loop of every port: HTTP/1.1, with or without TLS, for clients that can't be trusted to be quick, sane or
//! few.
//!
//! A client has two seconds to prove something, from the moment it is accepted: to shake hands, to send a whole request,
//! and, where the port asks for credentials, the right ones. After that it is cut off when it is slow to send its next
//! request or to take an answer. [`Connections`] says who goes when there are too many. It shares nothing fairly but
//! places: whoever floods a port with handshakes costs processor time.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::connections::{Connections, Id, Opening};
use crate::http::write_timeout::Stalled;
use crate::service::heartbeat::{BEAT_EVERY, Heartbeat};

/// Request line and headers at most; hyper answers 431 to more. It is also the least that hyper takes.
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// How long requests under way may take after a shutdown began. The whole service has 10 s to end.
const DRAIN: Duration = Duration::from_secs(5);

/// A policy server gives up after 2 s at the latest, so whoever has proved nothing by then is no use to it.
const PROVE_WITHIN: Duration = Duration::from_secs(2);

/// What a port allows its clients.
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) max_connections: usize,
    /// How long a client may be slow.
    pub(crate) client_timeout: Duration,
}

/// What keeps a client from being cut as a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A whole request.
    Request,
    /// What the service takes for one, and says with [`Visitor::has_proved`].
    Service,
}

/// Why a connection ended before it could ask for anything.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The TLS handshake failed, as the other side doesn't trust the certificate or doesn't speak TLS.
    Handshake(io::Error),
    /// It had proved nothing after two seconds.
    Late,
    /// It had proved nothing yet, or asked for nothing more, and its place was needed.
    Crowded,
}

/// Told what becomes of a port's connections.
pub(crate) trait Watcher: Send + Sync {
    /// A connection was accepted.
    fn opened(&self);
    /// It has ended.
    fn closed(&self);
    /// It ended by no will of its client's.
    fn ended(&self, peer: IpAddr, ending: &Ending);
}

/// A port.
pub(crate) struct Port {
    /// What it is called in the log.
    pub(crate) name: &'static str,
    /// Handshakes; plain HTTP without.
    pub(crate) tls: Option<TlsAcceptor>,
    /// What its clients may do.
    pub(crate) limits: Limits,
    /// What keeps them connected.
    pub(crate) proof: Proof,
    /// Told of every connection, where the port is one that is watched.
    pub(crate) watcher: Option<Arc<dyn Watcher>>,
    /// Beats while the port accepts connections, where the service lives by it.
    pub(crate) heartbeat: Option<Heartbeat>,
}

/// What connections come from.
pub(crate) trait Accept: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and its peer's address.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, IpAddr)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = self.accept().await?;
        // An answer is one small write; without this it would wait for the acknowledgement of the handshake's last.
        // It fails where the client is gone, which shows soon enough.
        let _gone = stream.set_nodelay(true);
        Ok((stream, peer.ip().to_canonical()))
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, IpAddr)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, Ipv4Addr::LOCALHOST.into()))
    }
}

/// The connections of a port and whoever waits for a place among them.
struct Places {
    connections: Mutex<Connections<CancellationToken>>,
    freed: Notify,
}

/// A client, as the service that answers it sees it.
#[derive(Clone)]
pub(crate) struct Visitor {
    /// Its address.
    pub(crate) peer: IpAddr,
    id: Id,
    places: Arc<Places>,
}

impl Places {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { connections: Mutex::new(Connections::new(places)), freed: Notify::new() })
    }

    fn connections(&self) -> MutexGuard<'_, Connections<CancellationToken>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a newcomer, as soon as there is one, and what will cut it.
    async fn take(self: &Arc<Self>, peer: IpAddr) -> (Visitor, CancellationToken) {
        loop {
            let freed = self.freed.notified();
            let cut = CancellationToken::new();
            let opening = self.connections().open(peer.into(), || cut.clone());
            if let Opening::Admitted { id, cut: gone } = opening {
                if let Some(gone) = gone {
                    gone.cancel();
                }
                return (Visitor { peer, id, places: Arc::clone(self) }, cut);
            }
            freed.await;
        }
    }
}

impl Visitor {
    /// It is who it should be: it isn't cut any more while it is answered.
    pub(crate) fn has_proved(&self) {
        self.places.connections().proved(self.id);
    }

    fn asked(&self, proof: Proof) {
        let mut connections = self.places.connections();
        match proof {
            Proof::Request => connections.proved(self.id),
            Proof::Service => connections.asked(self.id),
        }
    }

    fn answered(&self) {
        self.places.connections().answered(self.id);
        self.places.freed.notify_one();
    }

    /// Ends when it has had its time and proved nothing; else never.
    async fn stays_a_stranger(&self, within: Duration) {
        tokio::time::sleep(within).await;
        if !self.places.connections().is_stranger(self.id) {
            std::future::pending::<()>().await;
        }
    }
}

/// A place that is given back, and a connection that is counted while it lives.
struct Held {
    visitor: Visitor,
    watcher: Option<Arc<dyn Watcher>>,
}

impl Held {
    fn new(visitor: Visitor, watcher: Option<Arc<dyn Watcher>>) -> Self {
        if let Some(watcher) = &watcher {
            watcher.opened();
        }
        Self { visitor, watcher }
    }

    fn ended(&self, ending: &Ending) {
        if let Some(watcher) = &self.watcher {
            watcher.ended(self.visitor.peer, ending);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.visitor.places.connections().close(self.visitor.id);
        self.visitor.places.freed.notify_one();
        if let Some(watcher) = &self.watcher {
            watcher.closed();
        }
    }
}

impl Port {
    /// Serves connections until the shutdown, then lets requests under way end. `service_for` makes the service of a
    /// connection from its client.
    pub(crate) async fn serve<S, B>(
        self,
        listener: impl Accept,
        service_for: impl Fn(Visitor) -> S,
        shutdown: CancellationToken,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let places = Places::new(self.limits.max_connections);
        let connections = TaskTracker::new();
        let aborted = CancellationToken::new();
        let mut beat = tokio::time::interval(BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                accepted = listener.next() => accepted,
                _ = beat.tick(), if self.heartbeat.is_some() => {
                    self.heartbeat.iter().for_each(Heartbeat::beat);
                    continue;
                }
                () = shutdown.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                // The client was gone already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    // Out of file descriptors: the pause keeps it from spinning.
                    tracing::warn!(port = self.name, %error, "a connection can't be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (visitor, cut) = tokio::select! {
                taken = places.take(peer) => taken,
                () = shutdown.cancelled() => break,
            };
            let connection = Connection {
                tls: self.tls.clone(),
                client_timeout: self.limits.client_timeout,
                shutdown: shutdown.clone(),
            };
            let service = tracked(service_for(visitor.clone()), visitor.clone(), self.proof);
            let held = Held::new(visitor.clone(), self.watcher.clone());
            let prove_within = PROVE_WITHIN.min(self.limits.client_timeout);
            let (aborted, name) = (aborted.clone(), self.name);
            connections.spawn(async move {
                let peer = visitor.peer;
                tokio::select! {
                    ended = connection.serve(stream, service) => match ended {
                        Ok(()) => {}
                        Err(Failed::Handshake(error)) => held.ended(&Ending::Handshake(error)),
                        Err(Failed::Connection(error)) => {
                            tracing::debug!(port = name, %peer, error, "a connection ended early");
                        }
                    },
                    () = visitor.stays_a_stranger(prove_within) => held.ended(&Ending::Late),
                    () = cut.cancelled() => held.ended(&Ending::Crowded),
                    () = aborted.cancelled() => {}
                }
                drop(held);
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

/// The service, with its client's requests noted.
fn tracked<S, B>(
    service: S,
    visitor: Visitor,
    proof: Proof,
) -> impl Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Send
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
    S::Future: Send,
    B: Body,
{
    service_fn(move |request| {
        visitor.asked(proof);
        let (answer, visitor) = (service.call(request), visitor.clone());
        async move {
            let answer = answer.await;
            visitor.answered();
            answer
        }
    })
}

/// Why a connection did not end well.
enum Failed {
    Handshake(io::Error),
    Connection(Box<dyn Error + Send + Sync>),
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Connection(error.into())
    }
}

/// One connection's own copy of what it needs.
struct Connection {
    tls: Option<TlsAcceptor>,
    client_timeout: Duration,
    shutdown: CancellationToken,
}

impl Connection {
    async fn serve<S, B, I>(self, stream: I, service: S) -> Result<(), Failed>
    where
        I: AsyncRead + AsyncWrite + Unpin,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let stream = Stalled::new(stream, self.client_timeout);
        let Some(tls) = &self.tls else { return self.speak(stream, service).await };
        let stream = tokio::select! {
            shaken = tokio::time::timeout(self.client_timeout, tls.accept(stream)) => match shaken? {
                Ok(stream) => stream,
                // Gone before it said anything, as a load balancer that only looks whether somebody listens.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error.into()),
                Err(error) => return Err(Failed::Handshake(error)),
            },
            () = self.shutdown.cancelled() => return Ok(()),
        };
        self.speak(stream, service).await
    }

    async fn speak<S, B, I>(&self, stream: I, service: S) -> Result<(), Failed>
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
