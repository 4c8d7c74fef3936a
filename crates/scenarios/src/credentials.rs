//! Who asks.

use std::fmt;

/// A user name and its password.
#[derive(Clone)]
pub struct Credentials {
    /// The whole name, `robot$…` for a robot.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}
