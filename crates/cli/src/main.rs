//! The `harbor-warmer` program: arguments, log, signals and exit code. Everything else is in the library.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use harbor_warmer::config;
use harbor_warmer_cli::{self as cli, Arguments, Command, ConfigArguments, Exit, LoggingArguments};

/// musl's own allocator takes one lock for all threads, and gives the pages of SQLite's cache and every large buffer back
/// to the kernel at once: a hand-off costs nearly twice the processor time with it. C's `malloc` is this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Failed, &anyhow::Error::new(error).context("failed to start the runtime")),
    };
    let outcome = runtime.block_on(async {
        match &arguments.command {
            Command::Serve(serving) => serve(serving, &arguments.logging).await,
            command => cli::run(command).await.map_err(|error| (error.exit(), error.into())),
        }
    });
    // Work that was told to stop and did not is cut off; the queue on the disk is whole at any moment.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err((exit, error)) => fail(exit, &error),
    }
}

async fn serve(arguments: &ConfigArguments, logging: &LoggingArguments) -> Result<Exit, (Exit, anyhow::Error)> {
    cli::start_logging(logging).map_err(|error| (Exit::Usage, error.into()))?;
    let config = config::load(&arguments.config).map_err(|error| (Exit::Usage, error.into()))?;
    let failed = |error| (Exit::Failed, error);
    // Every connection to the registry port may have one to a Harbor behind it; the rest is files.
    let wanted = config.registry.max_connections as u64 * 2 + 256;
    if let Some(limit) = cli::raise_descriptor_limit().filter(|limit| *limit < wanted) {
        tracing::warn!(limit, wanted, "the system allows fewer open files than registry.maxConnections may need");
    }
    let shutdown = cli::shutdown_on_signals().context("failed to listen for signals").map_err(failed)?;
    harbor_warmer::run(config, shutdown).await.map_err(failed)?;
    Ok(Exit::Done)
}

fn fail(exit: Exit, error: &anyhow::Error) -> ExitCode {
    cli::complain(&format!("harbor-warmer: {}", cli::causes(error.chain())));
    exit.into()
}
