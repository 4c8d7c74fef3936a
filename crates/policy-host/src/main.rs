//! `policy-host`: runs a policy's `.wasm` like `kwctl run`, `kwctl bench` and policy-server do.

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Evaluate one request and print the admission response, like `kwctl run`
    Run(command::run::Args),
    /// Measure how long the policy takes in guest code, host calls excluded
    Bench(command::bench::Args),
    /// Answer AdmissionReviews over HTTP(S), like policy-server
    Serve(command::serve::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match Args::parse().command {
        Command::Run(args) => command::run::run(args).await,
        Command::Bench(args) => command::bench::run(args).await,
        Command::Serve(args) => command::serve::run(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
