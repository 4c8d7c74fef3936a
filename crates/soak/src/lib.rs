#![doc = include_str!("../README.md")]

pub mod catalogue;
pub mod ledger;
pub mod outcome;
pub mod policy_server;
mod run;
pub mod script;
pub mod site;
pub mod time;

pub use run::run;
