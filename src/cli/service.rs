//! Notifications to systemd, over the socket that it names in `NOTIFY_SOCKET`. Without that variable, nothing is sent.

use sd_notify::NotifyState;
use tracing::{error, warn};

use crate::lifecycle::Pulse;

/// Reports that the bridge answers requests, or that a reload has ended. It does not wait for the spool to be open:
/// systemd would kill a process that takes long to repair its spool, and would do so again after each restart.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Reports that a reload begins. [`ready`] ends it, whether it succeeded or failed.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(cause) => warn!(%cause, "cannot read the monotonic clock"),
    }
}

/// Reports that callbacks are no longer accepted.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Starts a thread that notifies systemd's watchdog twice per interval, until a required thread of the bridge has
/// ended.
///
/// # Errors
/// If the thread does not start.
pub(super) fn watch(pulse: Pulse) -> std::io::Result<()> {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return Ok(());
    };
    let notifications = move || {
        let dead = loop {
            if let Some(thread) = pulse.dead() {
                break thread;
            }
            notify(&[NotifyState::Watchdog]);
            std::thread::sleep(interval / 2);
        };
        error!(
            thread = dead,
            "a required thread has ended: the watchdog is no longer notified"
        );
    };
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(notifications)
        .map(drop)
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(state) {
        warn!(%cause, "cannot notify the service manager");
    }
}
