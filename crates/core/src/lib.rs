//! What the warmer knows of an image, and what follows from it. Pure: no I/O, no async, no clock.
//!
//! [`image`] and [`announcement`] take in what was seen and say what to do next; [`project`] says whether work on a
//! Harbor's project may go on. Whoever calls them gives them the time, so a test can replay a fortnight of failures in a
//! millisecond. [`view`] is what the JSON API shows of it all.

pub mod announcement;
pub mod attempts;
pub mod image;
pub mod manifest;
pub mod problem;
pub mod project;
pub mod projects;
pub mod requests;
pub mod timers;
pub mod timestamp;
pub mod view;
