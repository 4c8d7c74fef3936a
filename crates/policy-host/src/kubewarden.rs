//! Which Kubewarden is played, where its releases treat a policy differently.
//!
//! What is here was read in Kubewarden's sources and release notes. Policy names, which changed in 1.37.2, are not: a
//! policy never sees its own. Nothing here makes a policy server of any other release of what stands in [`crate`].

/// The most memory that an evaluation may take from 1.38 on (its release notes of 2026-09-21, PR #2016).
const EVALUATION_MEMORY_MAX_BYTES: usize = 256 * 1024 * 1024;

/// A line of Kubewarden's releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kubewarden {
    /// Up to 1.37: all look-ups of a capability go through one lock, held while a registry answers. Measured on 1.36.
    #[default]
    UpTo1_37,
    /// From 1.38: look-ups of one image share one request and its outcome, and those of others don't wait for it
    /// (PR #1952); an evaluation that asks for more than 256 MiB of memory gets none (PR #2016).
    From1_38,
}

impl Kubewarden {
    /// Whether a look-up waits for those of other images.
    pub(crate) fn looks_up_one_at_a_time(self) -> bool {
        match self {
            Self::UpTo1_37 => true,
            Self::From1_38 => false,
        }
    }

    /// How large a guest's memory may grow; without a bound, where there is none.
    pub(crate) fn memory_max_bytes(self) -> Option<usize> {
        match self {
            Self::UpTo1_37 => None,
            Self::From1_38 => Some(EVALUATION_MEMORY_MAX_BYTES),
        }
    }
}
