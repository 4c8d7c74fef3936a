#![doc = include_str!("../README.md")]

mod clock;
mod content;
mod digest;
mod fault;
mod harbor;
mod image;
mod manifest;
mod request_log;
mod server;
mod simulator;
mod spec;
mod upstream;
mod version;

pub use clock::Timers;
pub use digest::Digest;
pub use fault::{Fault, FaultAction, FaultHandle, RouteClass};
pub use harbor::replication::records::{Target, TargetRepository};
pub use image::{ImageSpec, Oddity, PushedChild, PushedImage};
pub use request_log::{RequestCounts, RequestRecord};
pub use server::{BucketRequest, Traffic};
pub use simulator::{Simulator, SimulatorBuilder, StartError, TimedOut, UpstreamKind};
pub use spec::{ProjectSpec, Right, RobotSpec};
pub use upstream::{LayoutError, Upstream, UpstreamEffect, UpstreamFault, UpstreamRequest, UpstreamStats};
pub use version::HarborVersion;
