//! `imbridge serve`: runs the bridge until SIGTERM or SIGINT, and reloads it on SIGHUP.

use std::path::Path;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use super::logging::Logging;
use super::{read, service};
use crate::app::{Bridge, Config, Reloader};

pub(super) fn run(path: &Path, config: &Config) -> Result<bool> {
    let logging = Logging::start(&config.log);
    actix_web::rt::System::new().block_on(async {
        let mut signals = Signals::listen()?;
        let (mut bridge, mut reloader) = Bridge::start(config, logging.levels.clone())?;
        logging.register(&bridge.registry)?;
        service::watch(bridge.pulse.clone())?;
        service::ready();
        loop {
            let asked = tokio::select! {
                asked = signals.next() => asked,
                cause = bridge.failed() => return Err(cause),
            };
            if asked == Asked::Stop {
                break;
            }
            tokio::select! {
                reloaded = reload(reloader, path) => reloader = reloaded?,
                // A reload that hangs on a file must not delay the stop.
                () = signals.stop() => break,
            }
        }
        service::stopping();
        // A second signal ends the process at once. Undelivered records stay in the spool.
        tokio::select! {
            () = bridge.drain() => {}
            () = signals.stop() => {
                warn!("second signal: exiting at once, undelivered records stay in the spool");
                drop(logging);
                std::process::exit(1);
            }
        }
        drop(logging);
        // Threads are not joined: one that waits for Kafka or for a disk would delay the exit.
        std::process::exit(0);
    })
}

async fn reload(mut reloader: Reloader, path: &Path) -> Result<Reloader> {
    let path = path.to_owned();
    service::reloading();
    let work = move || {
        reloader.reload(|| read(&path));
        reloader
    };
    let reloader = actix_web::rt::task::spawn_blocking(work).await;
    service::ready();
    reloader.context("a reload does not panic")
}

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

/// Registered before the bridge starts: a signal during the start is neither lost nor does it kill the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Waits for SIGTERM or SIGINT.
    async fn stop(&mut self) {
        while self.next().await == Asked::Reload {}
    }
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn until_signal() -> std::io::Result<()> {
    Signals::listen()?.stop().await;
    Ok(())
}
