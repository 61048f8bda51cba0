//! What a service manager is told, over the socket that systemd names in `NOTIFY_SOCKET`; nothing where there is none.

use sd_notify::NotifyState;
use tracing::{error, warn};

use crate::lifecycle::Pulse;

/// Callbacks are answered, or are answered on after a reload. Not only once the spool is open: a service manager that waits for
/// a long repair would kill it in its middle, again and again.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload begins; [`ready`] ends it, whether it went well or not.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(cause) => warn!(%cause, "the monotonic clock does not tell the time"),
    }
}

/// Callbacks are no longer accepted.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Twice in each interval that the service manager waits for a sign of life, gives one, as long as there is life; from a
/// thread of its own.
///
/// # Errors
/// When the thread does not start.
pub(super) fn watch(pulse: Pulse) -> std::io::Result<()> {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return Ok(());
    };
    let signs = move || {
        let dead = loop {
            if let Some(thread) = pulse.dead() {
                break thread;
            }
            tell(&[NotifyState::Watchdog]);
            std::thread::sleep(interval / 2);
        };
        error!(
            thread = dead,
            "a thread has ended that the bridge cannot do without: the watchdog gets no more signs of life"
        );
    };
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(signs)
        .map(drop)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(state) {
        warn!(%cause, "the service manager does not hear");
    }
}
