//! How many files and connections the process may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, which is what a process may do for itself. Shells and older container runtimes
/// start programs with a soft limit of 1,024, for programs that still use select(2); this one doesn't. Says what holds.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, ..limit };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files and connections can't be raised");
        }
    }
    getrlimit(Resource::Nofile).current
}
