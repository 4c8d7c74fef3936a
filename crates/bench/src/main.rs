//! `bench`: what the released programs weigh and how fast they are, each number beside its target.
//!
//! It measures from outside: files, `/proc`, clocks and sockets, against processes as they are shipped. It deliberately
//! asserts nothing. A number depends on the machine, which is printed with them; a miss is told, and explained in
//! docs/benchmarks.md.

mod client;
mod drain;
mod front;
mod guest;
mod hand_offs;
mod identity;
mod latency;
mod machine;
mod memory;
mod process;
mod site;
mod sizing;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;

use crate::machine::Machine;
use crate::table::{Row, Table};

/// Measures size and speed, and prints them beside their targets.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// The release build of `harbor-warmer`
    #[arg(long, value_name = "FILE")]
    warmer: PathBuf,
    /// How it is linked, for the table
    #[arg(long, default_value = "static")]
    linkage: String,
    /// The policy
    #[arg(long, value_name = "FILE")]
    wasm: PathBuf,
    /// The program `policy-host`
    #[arg(long, value_name = "FILE")]
    policy_host: PathBuf,
    /// The program `harbor-simulator`
    #[arg(long, value_name = "FILE")]
    simulator: PathBuf,
    /// The folder of the recorded sessions and requests
    #[arg(long, value_name = "DIR", default_value = "test_data")]
    recordings: PathBuf,
    /// How long each load lasts, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

// One thread: what it takes of the machine is missing to what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let duration = Duration::from_secs(arguments.seconds);
    let mut table = Table::new();

    table.add(file_size("the policy, .wasm", &arguments.wasm, 0.5)?);
    table.add(file_size(&format!("the warmer, {} binary", arguments.linkage), &arguments.warmer, 8.0)?);
    table.measure("ready", memory::readiness(&arguments.warmer).await);
    table.measure("guest", guest::evaluation(&arguments.policy_host, &arguments.wasm, &arguments.recordings).await);
    table.measure("hand-offs", hand_offs::kept_alive(&arguments.warmer, duration).await);
    table.measure("hand-offs by new connections", hand_offs::as_a_policy_server(&arguments.warmer, duration).await);
    table.measure("memory, idle", memory::idle(&arguments.warmer).await);
    table.measure("memory, draining", memory::draining(&arguments.warmer, &arguments.simulator).await);
    table.measure("drain", drain::over_a_link(&arguments.warmer, &arguments.simulator).await);
    table.measure("drain", drain::within_the_machine(&arguments.warmer, &arguments.simulator).await);
    table.measure("queue, warmed", sizing::warmed(&arguments.warmer, &arguments.simulator).await);
    table.measure("queue, announced", sizing::announced(&arguments.warmer).await);

    println!("\n{}\n\n{}", table.markdown(), Machine::read().context("failed to look at the machine")?);
    Ok(())
}

/// A file's size in megabytes of 10^6 bytes.
fn file_size(what: &str, path: &std::path::Path, target_megabytes: f64) -> anyhow::Result<Row> {
    let bytes = std::fs::metadata(path).with_context(|| format!("failed to look at {}", path.display()))?.len();
    let megabytes = table::lossy(bytes) / 1e6;
    Ok(Row::new(what, format!("≤ {target_megabytes} MB"), format!("{megabytes:.2} MB"), megabytes <= target_megabytes))
}
