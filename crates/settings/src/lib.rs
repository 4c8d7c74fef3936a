//! Settings, each described once.
//!
//! A [`Setting`] says what its key is, what it takes, what holds where it isn't written, and what it means. A [`Group`]
//! is the settings of one map. The warmer reads its configuration by these descriptions, so that bounds and defaults
//! have no second place; the reference page ([`fill`]) and the JSON schemas ([`document_schema`]) are printed from
//! them.
//!
//! The policy is the exception: words have no place in its module, so it reads without them. Its settings are
//! described in [`policy`], and its tests hold the two against each other.

mod duration;
pub mod format;
mod group;
mod kind;
mod page;
pub mod policy;
mod schema;

pub use duration::{DurationError, duration_text, parse_duration};
pub use format::Format;
pub use group::{Absent, Group, Setting};
pub use kind::{Address, Choice, Count, File, Flag, Kind, List, Named, Nested, Span, Text, Texts};
pub use page::{PageError, fill};
pub use schema::{document_schema, group_schema};
