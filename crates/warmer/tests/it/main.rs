//! The whole service against a simulated Harbor that shares no code with it.

mod faults;
mod site;
mod warming;
