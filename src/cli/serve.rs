//! `imbridge serve`: the bridge until a signal, reloaded by another.

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
                // A file that does not let itself be read must not hold up the end.
                () = signals.stop() => break,
            }
        }
        service::stopping();
        // A second signal ends it at once; what is not delivered stays in the spool.
        tokio::select! {
            () = bridge.drain() => {}
            () = signals.stop() => {
                warn!("asked twice: leaving at once, the rest stays in the spool");
                drop(logging);
                std::process::exit(1);
            }
        }
        drop(logging);
        // Without waiting for threads: one that Kafka or a disk does not answer would keep the process for as long.
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

/// Heard from the beginning: none that comes meanwhile is lost, or ends the process.
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

    /// Waits until it is asked to stop.
    async fn stop(&mut self) {
        while self.next().await == Asked::Reload {}
    }
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn until_signal() -> std::io::Result<()> {
    Signals::listen()?.stop().await;
    Ok(())
}
