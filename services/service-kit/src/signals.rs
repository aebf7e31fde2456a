//! Signals that end a process.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGINT (Ctrl-C) or SIGTERM. A second one ends the process at once, for who
/// does not want to wait.
///
/// # Errors
/// The handlers cannot be installed.
///
/// # Panics
/// Outside a tokio runtime.
pub fn shutdown_token() -> io::Result<CancellationToken> {
    const EXIT_CODE_OF_AN_INTERRUPT: i32 = 130;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    // Owned by the process: it lives as long as signals may come.
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                tracing::info!("ending on a signal");
                cancel.cancel();
            }
        }
        std::process::exit(EXIT_CODE_OF_AN_INTERRUPT);
    });
    Ok(token)
}
