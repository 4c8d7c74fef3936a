//! A proxy-cache project that one scenario has to itself, behind a relay of its own: what it does to the upstream, or
//! to the project's quota, must not trouble the others.

use std::any::Any;
use std::fmt;
use std::net::IpAddr;

use futures_util::future::BoxFuture;
use reqwest::Url;

use crate::credentials::Credentials;
use crate::error::SiteError;

/// Makes a proxy-cache project of the name given, whose upstream has the address given.
pub type MakeGround = Box<dyn Fn(String, Url) -> BoxFuture<'static, Result<Ground, SiteError>> + Send + Sync>;

/// Where projects for one scenario come from.
pub struct Grounds {
    /// An address of this machine that Harbor reaches; relays listen there.
    pub listen: IpAddr,
    /// Makes one.
    pub make: MakeGround,
}

/// A project for one scenario.
pub struct Ground {
    /// Its Harbor.
    pub harbor: Url,
    /// Its name.
    pub project: String,
    /// Another project of the same endpoint.
    pub resolve_project: Option<String>,
    /// Who pulls.
    pub robot: Credentials,
    /// Who may change the quota.
    pub administrator: Credentials,
    /// What has to live as long as the scenario.
    pub keeper: Option<Box<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("project", &self.project).finish_non_exhaustive()
    }
}
