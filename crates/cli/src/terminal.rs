//! What a terminal shows: colours where it has them, and tables that fit its width.

pub(crate) mod screen;
pub(crate) mod table;
