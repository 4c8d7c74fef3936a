//! `soak`: plays the weeks that the arguments name, tells each day, and ends with the table.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use harbor_warmer_soak::run;
use harbor_warmer_soak::script::Scale;
use harbor_warmer_soak::time;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Lets a warmer and a simulated Harbor live through two weeks.
#[derive(Debug, Parser)]
#[command(name = "soak", version)]
struct Arguments {
    /// Simulated days
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
    /// Images that are published
    #[arg(long, default_value_t = 500)]
    images: usize,
    /// What everything is drawn from
    #[arg(long, env = "SOAK_SEED", default_value_t = 1)]
    seed: u64,
    /// Adds the image with a layer of 10 GB at the second Harbor
    #[arg(long)]
    giant: bool,
}

/// The simulated moment in front of each line of the log.
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", time::now())
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_timer(SimulatedTime)
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let Arguments { days, images, seed, giant } = Arguments::parse();
    println!("{days} days, {images} images, seed {seed}");
    let started = Instant::now();
    let outcome = run(Scale { days, images, seed, giant }, move |line| {
        println!("{:5.0} s  {line}", started.elapsed().as_secs_f64());
    })?;
    println!("\n{outcome}took {:.0} s", started.elapsed().as_secs_f64());
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
