//! Logs refused requests, at most one line a second for each reason and thread, so that a flood of bad requests does not flood the
//! log. No line contains a path, a query or a body, because these may contain secrets.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::provider::Refusal;

const EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// For each reason: when its last line was written, and the number of refusals since then.
    static LINES: RefCell<HashMap<&'static str, (Instant, u64)>> = RefCell::default();
}

/// Logs a refusal, or counts it for the next line.
pub(super) fn log(refusal: &Refusal, peer: Option<SocketAddr>) {
    let reason = refusal.reason;
    let not_logged = LINES.with_borrow_mut(|lines| match lines.get_mut(reason) {
        Some((last, count)) if last.elapsed() < EVERY => {
            *count += 1;
            None
        }
        _ => {
            let before = lines.insert(reason, (Instant::now(), 0));
            Some(before.map_or(0, |(_, count)| count))
        }
    });
    let Some(not_logged) = not_logged else { return };
    let provider = refusal.provider.map_or("none", |provider| provider.as_str());
    let (status, peer) = (refusal.status, peer.map(tracing::field::display));
    warn!(
        provider,
        status, reason, peer, not_logged, "refused: {}", refusal.message
    );
}
