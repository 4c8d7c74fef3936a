//! What a Kubernetes workload wants to run, and where Harbor has it.
//!
//! The policy and the warmer's command line both ask which images an object names ([`Workload`]), which proxy-cache
//! repository each of them is ([`RuleSet`]), and so whether it is handed over, and in which words if not ([`Judge`]). This
//! crate answers all three, so that each has one implementation.
//!
//! It deliberately does no I/O, and reading a workload never fails: the objects come from anywhere, and one malformed
//! field must not hide the images beside it. Reading *settings* is strict the other way: every mistake is collected as
//! a [`Mistake`] with the path of the key.

mod address;
mod ecr;
mod fields;
mod judge;
mod kind;
mod marks;
mod node_selection;
mod platform;
mod pointer;
mod preset;
mod reference;
mod rule;
mod settings;
mod template;
mod workload;

pub use address::{Address, AddressError};
pub use ecr::{Ecr, Partition};
pub use fields::{Fields, Mistake};
pub use judge::{Decision, Judge, Judged};
pub use kind::CustomKinds;
pub use marks::SKIP_ANNOTATION;
pub use platform::{NodePlatform, NodePlatformError};
pub use preset::{PRESETS, Preset, PresetResource, UnknownPreset};
pub use reference::{Reference, ReferenceError};
pub use rule::{Examples, MapError, MapErrorReason, Mapped, Mapping, RuleSet};
pub use settings::{LookupAt, PolicySettings, sentences};
pub use workload::{PodTemplate, Unpulled, Workload, WorkloadImage, images};
