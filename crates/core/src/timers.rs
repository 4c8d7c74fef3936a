//! Harbor's own waiting times, as they stand in its source (v2.15) and were seen on a running one.
//!
//! A simulated Harbor runs them faster; the factor of its configuration applies to all of them, and to the warmer's
//! polls that wait for them.

use std::time::Duration;

/// Harbor's waiting times, scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timers {
    scale: f64,
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Timers {
    /// The times of a real Harbor.
    pub const REAL: Self = Self { scale: 1.0 };

    /// Every time multiplied by `scale`.
    pub fn scaled_by(scale: f64) -> Self {
        Self { scale: if scale.is_finite() && scale > 0.0 { scale } else { 1.0 } }
    }

    /// `duration` of a real Harbor, on this one.
    pub fn of(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.scale)
    }

    /// From the GET of a manifest to Harbor's first look whether its blobs are there, and from each look to the next
    /// (`ManifestCache.CacheContent`: ten times, 20 s apart).
    pub(crate) fn manifest_look(&self) -> Duration {
        self.of(seconds(20))
    }

    /// What a busy Harbor may need to write a manifest down after the look that found its blobs.
    pub(crate) fn record_grace(&self) -> Duration {
        self.of(seconds(3))
    }

    /// From the GET of a manifest to the moment when Harbor fetches what is missing itself, and gives up if another
    /// copy of it is under way.
    pub(crate) fn manifest_late(&self) -> Duration {
        self.of(seconds(200))
    }

    /// How long Harbor waits for the children of an index (`ManifestListCache.CacheContent`: twenty times, 20 s apart).
    pub fn index_deadline(&self) -> Duration {
        self.of(seconds(400))
    }

    /// How long after a HEAD by tag Harbor tries to attach the tag (`EnsureTag`: sixty times, 10 s apart).
    pub(crate) fn tag_window(&self) -> Duration {
        self.of(seconds(600))
    }

    /// From one try to attach the tag to the next.
    pub(crate) fn tag_tick(&self) -> Duration {
        self.of(seconds(10))
    }

    /// How long Harbor answers for an index from Redis, and so starts nothing when it is asked again.
    pub(crate) fn index_remembered(&self) -> Duration {
        self.of(seconds(7 * 86_400))
    }

    /// From all blobs being there to reading the manifest again, where Harbor has not recorded it: two of its looks
    /// and the push.
    pub(crate) fn nudge_after(&self) -> Duration {
        self.of(seconds(45))
    }

    /// After a blob was read to its end, Harbor's own copy of it has so long to arrive.
    pub(crate) fn copy_grace(&self) -> Duration {
        self.of(seconds(15))
    }

    /// How long a background copy of `size_bytes` may take before the blob is asked for again and read to its end,
    /// which proves how long it really takes. 250 kB/s is the slowest upstream that is worth waiting for blindly.
    pub fn copy_patience(&self, size_bytes: u64) -> Duration {
        const SLOWEST_BYTES_PER_SECOND: u64 = 250_000;
        self.of(seconds(30) + Duration::from_millis(size_bytes.saturating_mul(1000) / SLOWEST_BYTES_PER_SECOND))
    }

    /// From one request for a blob to the next, while nobody knows whether its copy moves: a copy that broke is not
    /// retried by Harbor, and to one that is under way another request costs the upstream next to nothing.
    pub fn ask_again(&self) -> Duration {
        self.of(seconds(60))
    }

    /// A copy that nobody has asked for again in this time, twice [`Timers::ask_again`], is nobody's any more: its image
    /// waits for something else, or is given up.
    pub fn copy_forgotten(&self) -> Duration {
        self.of(seconds(120))
    }

    /// How long a blob that is asked for again is read, to see how fast the upstream sends it.
    pub fn sample(&self) -> Duration {
        self.of(seconds(2))
    }

    /// From one look at something that is expected to the next: soon at first, then less and less often.
    pub fn poll(&self, waited: Duration) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(25);
        let (first, longest) = (self.of(seconds(1)), self.of(seconds(15)));
        (waited / 4).clamp(first, longest).max(SHORTEST)
    }
}
