//! The core in a process of its own.

#[cfg(target_os = "linux")]
mod memory;
