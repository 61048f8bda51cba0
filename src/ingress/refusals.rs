//! The log lines of refused requests: at most one a second for each reason and thread, so that a flood of bad requests is
//! no flood of lines. No line has a path, a query or a body: secrets stand there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::provider::Refusal;

const EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// When a line was written for each reason, and how many were not since.
    static LINES: RefCell<HashMap<&'static str, (Instant, u64)>> = RefCell::default();
}

/// Logs a refusal, or counts it for the next line.
pub(super) fn log(refusal: &Refusal, peer: Option<SocketAddr>) {
    let reason = refusal.reason;
    let not_logged = LINES.with_borrow_mut(|lines| match lines.get_mut(reason) {
        Some((last, silent)) if last.elapsed() < EVERY => {
            *silent += 1;
            None
        }
        _ => Some(
            lines
                .insert(reason, (Instant::now(), 0))
                .map_or(0, |(_, silent)| silent),
        ),
    });
    let Some(not_logged) = not_logged else { return };
    let provider = refusal.provider.map_or("none", |provider| provider.as_str());
    let (status, peer) = (refusal.status, peer.map(tracing::field::display));
    warn!(
        provider,
        status, reason, peer, not_logged, "refused: {}", refusal.message
    );
}
