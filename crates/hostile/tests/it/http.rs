//! A server that may break HTTP: answers are bytes, written as a row wants them.
//!
//! No HTTP library is used, since a library would keep what a row breaks. Requests are read as RFC 9112 has them, and
//! no more of it than a registry needs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    /// How many of the same method and target came before.
    pub(crate) before: usize,
    /// How many of any kind came before.
    pub(crate) number: usize,
    /// It came to the second address of the server, which goes by another host's name.
    pub(crate) elsewhere: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    pub(crate) fn of_manifest(&self) -> bool {
        self.path().contains("/manifests/")
    }

    pub(crate) fn of_blob(&self) -> bool {
        self.path().contains("/blobs/")
    }

    /// A manifest by tag, not by digest.
    pub(crate) fn by_tag(&self) -> bool {
        self.of_manifest() && !self.path().contains("/manifests/sha256:")
    }

    pub(crate) fn heads_blob(&self) -> bool {
        self.is_head() && self.of_blob()
    }

    pub(crate) fn gets_blob(&self) -> bool {
        !self.is_head() && self.of_blob()
    }

    pub(crate) fn heads_manifest(&self) -> bool {
        self.is_head() && self.of_manifest()
    }

    pub(crate) fn gets_manifest(&self) -> bool {
        !self.is_head() && self.of_manifest()
    }

    /// The last segment: a tag or a digest.
    pub(crate) fn reference(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }
}

/// How the length of a body is told.
#[derive(Debug, Clone)]
pub(crate) enum Framing {
    /// `Content-Length`, the right one.
    Length,
    /// `Content-Length`, whatever the body's is.
    Claimed(String),
    /// Chunked, with trailers.
    Chunked { trailers: &'static str },
    /// None: it ends with the connection.
    Close,
}

/// What becomes of the connection after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It stays open.
    Keep,
    /// It is closed, whatever the headers say.
    Close,
    /// Nothing more comes.
    Hang,
}

/// An answer, to be written byte for byte.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) version: &'static str,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Framing,
    pub(crate) ending: Ending,
    /// Written before the status line: informational answers, or rubbish.
    pub(crate) preamble: &'static str,
    /// So much of the body is written.
    pub(crate) kept: Option<usize>,
    /// Between the head's lines.
    pub(crate) drip: Duration,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            version: "HTTP/1.1",
            status,
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::Length,
            ending: Ending::Keep,
            preamble: "",
            kept: None,
            drip: Duration::ZERO,
        }
    }

    /// Not a byte; the connection is closed.
    pub(crate) fn nothing() -> Self {
        Self::new(0).ending(Ending::Close)
    }

    /// Not a byte, and the connection stays open.
    pub(crate) fn silence() -> Self {
        Self::new(0).ending(Ending::Hang)
    }

    /// An error as the distribution specification prints it.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status).header("Content-Type", "application/json").body(body.to_string())
    }

    /// A page of whatever stands in between.
    pub(crate) fn page(status: u16) -> Self {
        let body = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
        Self::new(status).header("Content-Type", "text/html; charset=utf-8").body(body)
    }

    pub(crate) fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::new(status).header("Location", location)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// In place of whatever the header was.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.header(name, value)
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub(crate) fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.kept = Some(bytes);
        self.ending(Ending::Close)
    }

    async fn write(&self, stream: &mut TcpStream, is_head: bool) -> std::io::Result<()> {
        if self.status == 0 {
            return Ok(());
        }
        stream.write_all(self.preamble.as_bytes()).await?;
        let mut lines = vec![format!("{} {} Whatever\r\n", self.version, self.status)];
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        match &self.framing {
            Framing::Length if self.status == 204 || self.status == 304 => {}
            Framing::Length => lines.push(format!("Content-Length: {}\r\n", self.body.len())),
            Framing::Claimed(length) => lines.push(format!("Content-Length: {length}\r\n")),
            Framing::Chunked { .. } => lines.push("Transfer-Encoding: chunked\r\n".to_owned()),
            Framing::Close => lines.push("Connection: close\r\n".to_owned()),
        }
        lines.push("\r\n".to_owned());
        if self.drip.is_zero() {
            stream.write_all(lines.concat().as_bytes()).await?;
        } else {
            for line in lines {
                stream.write_all(line.as_bytes()).await?;
                tokio::time::sleep(self.drip).await;
            }
        }
        if is_head {
            return Ok(());
        }
        let body = &self.body[..self.kept.unwrap_or(self.body.len()).min(self.body.len())];
        match &self.framing {
            Framing::Chunked { trailers } => {
                for chunk in body.chunks(1000) {
                    stream.write_all(format!("{:x};extension=1\r\n", chunk.len()).as_bytes()).await?;
                    stream.write_all(chunk).await?;
                    stream.write_all(b"\r\n").await?;
                }
                if self.kept.is_none() {
                    stream.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await?;
                }
            }
            Framing::Length | Framing::Claimed(_) | Framing::Close => stream.write_all(body).await?,
        }
        stream.flush().await
    }
}

/// What a server does with a request.
pub(crate) type Respond = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// A server at two addresses of one machine. It ends when it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: CancellationToken,
}

/// Two listening sockets, before it is known what they answer.
pub(crate) struct Sockets {
    here: TcpListener,
    elsewhere: TcpListener,
}

impl Sockets {
    pub(crate) async fn bind() -> std::io::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { here: TcpListener::bind(any).await?, elsewhere: TcpListener::bind(any).await? })
    }

    pub(crate) fn url(&self) -> std::io::Result<String> {
        Ok(format!("http://127.0.0.1:{}", self.here.local_addr()?.port()))
    }

    /// The same server by another name and port, as another host would be.
    pub(crate) fn elsewhere(&self) -> std::io::Result<String> {
        Ok(format!("http://localhost:{}", self.elsewhere.local_addr()?.port()))
    }

    pub(crate) fn serve(self, respond: Respond) -> std::io::Result<Server> {
        let (stopped, requests) = (CancellationToken::new(), Arc::<Mutex<Vec<Request>>>::default());
        let url = self.url()?;
        for (listener, elsewhere) in [(self.here, false), (self.elsewhere, true)] {
            let (respond, requests, stopped) = (Arc::clone(&respond), Arc::clone(&requests), stopped.clone());
            tokio::spawn(async move {
                let connections = TaskTracker::new();
                loop {
                    let accepted = tokio::select! {
                        () = stopped.cancelled() => return,
                        accepted = listener.accept() => accepted,
                    };
                    let Ok((stream, _)) = accepted else { continue };
                    let (respond, requests, stopped) = (Arc::clone(&respond), Arc::clone(&requests), stopped.clone());
                    connections.spawn(async move {
                        tokio::select! {
                            () = stopped.cancelled() => {}
                            // How a client leaves is its own business.
                            _ = converse(stream, elsewhere, &respond, &requests) => {}
                        }
                    });
                }
            });
        }
        Ok(Server { url, requests, stopped })
    }
}

impl Server {
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

async fn converse(
    mut stream: TcpStream,
    elsewhere: bool,
    respond: &Respond,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head: Vec<u8> = buffer.drain(..end).collect();
        let Some(mut request) = parse(&String::from_utf8_lossy(&head)) else { return Ok(()) };
        let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..length);
        request.elsewhere = elsewhere;
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let same = |known: &&Request| known.method == request.method && known.target == request.target;
            request.number = log.len();
            request.before = log.iter().filter(same).count();
            log.push(request.clone());
        }
        let answer = respond(&request);
        answer.write(&mut stream, request.is_head()).await?;
        match answer.ending {
            Ending::Keep if !matches!(answer.framing, Framing::Close) && answer.version == "HTTP/1.1" => {}
            Ending::Keep | Ending::Close => return stream.shutdown().await,
            Ending::Hang => std::future::pending().await,
        }
    }
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Some(Request {
        method,
        target,
        headers: lines.filter_map(header).collect(),
        before: 0,
        number: 0,
        elsewhere: false,
    })
}
