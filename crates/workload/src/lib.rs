//! What a Kubernetes workload wants to run, and where Harbor has it.
//!
//! The policy and the warmer's command line both ask two questions: which images does this object name
//! ([`Workload`]), and which proxy-cache repository is each of them ([`RuleSet`])? This crate answers both, so that a
//! rule has one implementation.
//!
//! It deliberately does no I/O, and reading a workload never fails: the objects come from anywhere, and one malformed
//! field must not hide the images beside it. Reading *settings* is strict the other way: every mistake is collected as
//! a [`Mistake`] with the path of the key.

mod ecr;
mod fields;
mod kind;
mod node_selection;
mod reference;
mod rule;
mod template;
mod workload;

pub use ecr::{Ecr, Partition};
pub use fields::{Fields, Mistake};
pub use kind::CustomKinds;
pub use reference::{Reference, ReferenceError};
pub use rule::{Examples, MapError, MapErrorReason, Mapped, Mapping, RuleSet};
pub use workload::{PodTemplate, SKIP_ANNOTATION, Workload, WorkloadImage, images};
