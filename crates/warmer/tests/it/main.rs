//! The whole service against a simulated Harbor that shares no code with it.

mod site;
mod warming;
