//! Response bodies: whole, or streamed; counted; and spoilt where a fault wants it so.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use hyper::body::Frame;
use tokio::time::{Sleep, sleep};

use crate::content::Content;
use crate::harbor::ConnectionPermit;
use crate::request_log::Entry;
use crate::upstream::BlobReader;

/// Large enough to serve a gigabyte a second, small enough that a closed connection is noticed soon.
const CHUNK: u64 = 256 * 1024;

/// What was sent before a cut leaves first: the server throws away what it hasn't written when a body fails.
const FLUSH: Duration = Duration::from_millis(10);

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Cut>> + Send>>;

/// The body ends here, and the connection with it.
#[derive(Debug, thiserror::Error)]
#[error("the body is cut")]
pub(super) struct Cut;

pub(super) struct Body {
    chunks: Chunks,
    entry: Arc<Entry>,
    /// What a fault lets through.
    left: Option<u64>,
    cut: Option<Pin<Box<Sleep>>>,
    corrupt_next: bool,
}

impl Body {
    fn of(chunks: impl Stream<Item = Result<Bytes, Cut>> + Send + 'static, entry: &Arc<Entry>) -> Self {
        Self { chunks: Box::pin(chunks), entry: Arc::clone(entry), left: None, cut: None, corrupt_next: false }
    }

    pub(super) fn whole(bytes: Bytes, entry: &Arc<Entry>) -> Self {
        let chunk = (!bytes.is_empty()).then_some(Ok(bytes));
        Self::of(stream::iter(chunk), entry)
    }

    /// A part of a blob out of Harbor's own registry.
    pub(super) fn local(content: Content, start: u64, length: u64, entry: &Arc<Entry>) -> Self {
        let chunks = stream::unfold((content, start, start + length), |(content, at, end)| async move {
            if at >= end {
                return None;
            }
            let chunk = content.read(at, CHUNK.min(end - at)).await.map_err(|_| Cut);
            let at = chunk.as_ref().map_or(end, |bytes| at + bytes.len() as u64);
            Some((chunk, (content, at, end)))
        });
        Self::of(chunks, entry)
    }

    /// A blob from the upstream. When the upstream ends early, so does the body: it is cut where its length was told
    /// (`measured`), else Harbor's error follows in the same body, which ends as if it were whole.
    pub(super) fn proxied(
        reader: Box<BlobReader>,
        permit: Option<ConnectionPermit>,
        measured: bool,
        entry: &Arc<Entry>,
    ) -> Self {
        let size = reader.size();
        let chunks = stream::unfold(Some((reader, permit, 0)), move |state| async move {
            let (mut reader, permit, sent) = state?;
            match reader.next().await {
                Ok(Some(chunk)) => {
                    let sent = sent + chunk.len() as u64;
                    Some((Ok(chunk), Some((reader, permit, sent))))
                }
                Ok(None) if sent >= size => None,
                Ok(None) | Err(_) if measured => {
                    sleep(FLUSH).await;
                    Some((Err(Cut), None))
                }
                Ok(None) | Err(_) => {
                    let message = "{\"errors\":[{\"code\":\"UNKNOWN\",\"message\":\"internal server error\"}]}\n";
                    Some((Ok(Bytes::from_static(message.as_bytes())), None))
                }
            }
        });
        Self::of(chunks, entry)
    }

    pub(super) fn truncated_after(mut self, kept: u64) -> Self {
        self.left = Some(kept);
        self
    }

    pub(super) fn corrupted(mut self) -> Self {
        self.corrupt_next = true;
        self
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.left == Some(0) {
            let cut = self.cut.get_or_insert_with(|| Box::pin(sleep(FLUSH)));
            return cut.as_mut().poll(context).map(|()| Some(Err(Cut)));
        }
        let polled = self.chunks.as_mut().poll_next(context);
        polled.map(|chunk| {
            let mut bytes = match chunk? {
                Ok(bytes) => bytes,
                Err(cut) => return Some(Err(cut)),
            };
            if let Some(left) = &mut self.left {
                bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes.len() as u64;
            }
            if std::mem::take(&mut self.corrupt_next) && !bytes.is_empty() {
                let mut spoilt = BytesMut::from(&bytes[..]);
                spoilt[0] ^= 0xff;
                bytes = spoilt.freeze();
            }
            self.entry.sent(bytes.len() as u64);
            Some(Ok(Frame::data(bytes)))
        })
    }
}
