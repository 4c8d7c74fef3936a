//! SIGTERM and SIGINT: the first ends the service in order, the second at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell says of a process that was interrupted: 128 and SIGINT's number.
pub const INTERRUPTED: u8 = 130;

/// A token that the first signal cancels. The second ends the process.
///
/// # Errors
/// The handlers can't be installed.
pub fn shutdown_on_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        next(&mut terminate, &mut interrupt).await;
        // First what matters: the log may have lost its reader.
        token.cancel();
        tracing::info!("a signal: shutting down; another one ends the process at once");
        next(&mut terminate, &mut interrupt).await;
        tracing::warn!("a second signal: ending at once; what is on the disk stays");
        std::process::exit(INTERRUPTED.into());
    });
    Ok(shutdown)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
