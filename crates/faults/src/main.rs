//! `faults`: what a process that is killed, a disk that is full, files that are harmed and a clock that is set do to the
//! queue. Each kind is a line of a table, with its seed and what became of it; a kind that loses what was acknowledged,
//! or that the queue doesn't come back from, ends the program with an error.
//!
//! It drives the queue through its own operations, in processes of its own where they are killed. What the service does
//! on top is tested elsewhere.

mod clock;
mod disk;
mod files;
mod kills;
mod queue;

use std::path::PathBuf;

use clap::Parser;

/// Harms a queue in every way, and prints what became of it.
#[derive(Parser)]
struct Arguments {
    /// The same seed harms in the same way, as far as the system's timing allows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often it is killed.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// How many pages are flipped.
    #[arg(long, default_value_t = 500)]
    pages: u32,
    /// Hands over to the queue in this directory until it is killed.
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
}

/// A line of the table.
struct Outcome {
    what: String,
    seen: String,
    is_good: bool,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(directory) = arguments.child {
        return kills::child(&directory, arguments.seed).await;
    }
    println!("| fault (seed {}) | seen | |\n|---|---|---|", arguments.seed);
    let mut outcomes = Vec::new();
    let mut tell = |told: Vec<Outcome>| {
        for Outcome { what, seen, is_good } in &told {
            println!("| {what} | {seen} | {} |", if *is_good { "ok" } else { "**bad**" });
        }
        outcomes.extend(told);
    };
    tell(clock::set().await?);
    tell(disk::full().await?);
    tell(files::harmed(arguments.seed).await?);
    tell(vec![files::flipped(arguments.pages, arguments.seed).await?]);
    tell(vec![kills::killed(arguments.kills, arguments.seed).await?]);
    let bad = outcomes.iter().filter(|outcome| !outcome.is_good).count();
    anyhow::ensure!(bad == 0, "{bad} of {} kinds went badly", outcomes.len());
    Ok(())
}
