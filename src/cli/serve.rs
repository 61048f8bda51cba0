//! `imbridge serve`: the bridge until a signal.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use crate::app::{Bridge, Config};

pub(super) fn run(config: &Config) -> Result<()> {
    actix_web::rt::System::new().block_on(async {
        let bridge = Bridge::start(config)?;
        until_signal().await?;
        // A second signal ends it at once; what is not delivered stays in the spool.
        tokio::select! {
            () = bridge.drain() => {}
            _ = until_signal() => {
                warn!("asked twice: leaving at once, the rest stays in the spool");
                std::process::exit(1);
            }
        }
        Ok(())
    })
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn until_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
