//! One stream of one blob out of the upstream: paced, counted, and faulty where a test wants it so.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::content::Content;
use crate::digest::Digest;
use crate::upstream::{Upstream, UpstreamEffect, UpstreamError, UpstreamRequest};

/// Large enough that a gigabyte a second costs few wake-ups, small enough that an abandoned stream stops early.
const CHUNK: u64 = 256 * 1024;
/// A copy is bookkeeping, not bytes: it counts at most so many times, so that a layer of 10 GB over an hour costs no
/// more than one of 10 MB.
const COPY_STEPS: u64 = 256;
/// A paced stream sends about this often (real time), so that its rate is even.
const PACED_INTERVAL: Duration = Duration::from_millis(4);

#[derive(Debug)]
pub(crate) struct BlobReader {
    upstream: Upstream,
    request: UpstreamRequest,
    source: Source,
    size: u64,
    sent: u64,
    speed_cap: Option<u64>,
    /// When Harbor's client gives up on the whole body.
    deadline: Instant,
    effect: Option<UpstreamEffect>,
    /// When the bytes that were sent so far were due, at the rate that held for each.
    paid_until: Option<Instant>,
}

/// What Harbor's own settings allow a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    /// The project's `proxy_speed_kb`, in bytes a second.
    pub(crate) bytes_per_second: Option<u64>,
    /// For the whole body, in Harbor time.
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
pub(super) enum Source {
    Held(Content),
    Remote { digest: Digest, response: reqwest::Response },
}

impl BlobReader {
    pub(super) fn new(
        upstream: Upstream,
        request: UpstreamRequest,
        source: Source,
        size: u64,
        limits: StreamLimits,
        effect: Option<UpstreamEffect>,
    ) -> Self {
        let deadline = Instant::now() + upstream.shared.clock.real(limits.timeout);
        let speed_cap = limits.bytes_per_second;
        Self { upstream, request, source, size, sent: 0, speed_cap, deadline, effect, paid_until: None }
    }

    /// The length that the upstream announced.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes; `None` at the end of what the upstream sends, be it short or whole.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let wanted = self.admit()?;
        if wanted == 0 {
            return Ok(None);
        }
        let bytes = match &mut self.source {
            Source::Held(content) => {
                Some(content.read(self.sent, wanted).await.map_err(|_| UpstreamError::Unreachable)?)
            }
            Source::Remote { response, .. } => response.chunk().await.map_err(|_| UpstreamError::Unreachable)?,
        };
        let Some(mut bytes) = bytes else { return Ok(None) };
        if self.sent == 0 && self.effect == Some(UpstreamEffect::Corrupt) {
            let mut spoilt = BytesMut::from(&bytes[..]);
            spoilt[0] ^= 0xff;
            bytes = spoilt.freeze();
        }
        self.pay(bytes.len() as u64).await?;
        Ok(Some(bytes))
    }

    /// Reads to the end as a copy into Harbor's storage does. Held content isn't copied, only counted and paced.
    ///
    /// `Ok(None)` is a transfer that came to its end with bytes that don't hash to the digest, which the storage's
    /// `PUT ?digest=` refuses.
    pub(crate) async fn copy(mut self) -> Result<Option<Content>, UpstreamError> {
        if let Source::Held(content) = &self.source {
            let content = content.clone();
            let mut conditions = self.upstream.shared.conditions.subscribe();
            loop {
                conditions.mark_unchanged();
                let wanted = self.admit_up_to((self.size / COPY_STEPS).max(CHUNK))?;
                if wanted == 0 {
                    break;
                }
                match self.rate() {
                    Some(rate) => self.count_at(rate, wanted, &mut conditions).await,
                    None => {
                        self.count(wanted);
                        self.paid_until = None;
                        tokio::task::yield_now().await;
                    }
                }
            }
            if self.sent < self.size {
                return Err(UpstreamError::Unreachable);
            }
            return Ok((self.effect != Some(UpstreamEffect::Corrupt)).then_some(content));
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(self.size).unwrap_or(0));
        while let Some(chunk) = self.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let Source::Remote { digest, .. } = &self.source else { unreachable!("held content was copied above") };
        Ok((Digest::of(&bytes) == *digest).then(|| Content::Bytes(bytes.freeze())))
    }

    /// Counts so many bytes as they come at this rate, or the part of them that came until the conditions changed.
    async fn count_at(&mut self, rate: u64, wanted: u64, conditions: &mut watch::Receiver<()>) {
        let rate = rate as f64 / self.real_second();
        let began = self.paid_until.unwrap_or_else(Instant::now);
        let due = began + Duration::from_secs_f64(wanted as f64 / rate);
        tokio::select! {
            biased;
            () = sleep_until(due) => {
                self.count(wanted);
                self.paid_until = Some(due);
            }
            // The sender lives in what this reads from.
            _ = conditions.changed() => {
                let came = Instant::now().saturating_duration_since(began).as_secs_f64() * rate;
                self.count((came as u64).min(wanted));
                self.paid_until = None;
            }
        }
    }

    /// How many bytes go next on a stream that a client sees; none at the end.
    fn admit(&self) -> Result<u64, UpstreamError> {
        let Some(rate) = self.rate() else { return self.admit_up_to(CHUNK) };
        let per_interval = (rate as f64 / self.real_second() * PACED_INTERVAL.as_secs_f64()).ceil() as u64;
        self.admit_up_to(per_interval.clamp(1, CHUNK))
    }

    fn admit_up_to(&self, most: u64) -> Result<u64, UpstreamError> {
        let mut left = self.size.saturating_sub(self.sent);
        if let Some(UpstreamEffect::TruncateAfter(kept)) = self.effect {
            left = left.min(kept.saturating_sub(self.sent));
        }
        if self.upstream.registry().down || (left > 0 && Instant::now() >= self.deadline) {
            return Err(UpstreamError::Unreachable);
        }
        Ok(left.min(most))
    }

    fn count(&mut self, bytes: u64) {
        self.sent += bytes;
        let stats = &mut self.upstream.registry().stats;
        stats.blob_bytes += bytes;
        if self.request == UpstreamRequest::CacheCopy {
            stats.copied_bytes += bytes;
        }
    }

    /// Counts what was sent, and waits as long as it takes at the stream's rate.
    async fn pay(&mut self, bytes: u64) -> Result<(), UpstreamError> {
        self.count(bytes);
        let Some(rate) = self.rate() else {
            self.paid_until = None;
            return Ok(());
        };
        let due = self.paid_until.unwrap_or_else(Instant::now);
        let due = due + Duration::from_secs_f64(bytes as f64 / rate as f64 * self.real_second());
        self.paid_until = Some(due);
        sleep_until(due).await;
        if self.upstream.registry().down { Err(UpstreamError::Unreachable) } else { Ok(()) }
    }

    /// Bytes a second of Harbor time; both the upstream's rate and the project's apply to each stream.
    fn rate(&self) -> Option<u64> {
        let upstream = self.upstream.registry().bytes_per_second;
        match (upstream, self.speed_cap) {
            (Some(rate), Some(cap)) => Some(rate.min(cap)),
            (rate, cap) => rate.or(cap),
        }
    }

    fn real_second(&self) -> f64 {
        self.upstream.shared.clock.real(Duration::from_secs(1)).as_secs_f64()
    }
}
