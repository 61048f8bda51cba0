//! The log lines of refused requests: at most one a second for each reason and worker, so that a flood of bad requests is
//! no flood of lines. No line has a path, a query or a body: secrets stand there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::provider::Refusal;

const EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Refusals(RefCell<HashMap<&'static str, (Option<Instant>, u64)>>);

impl Refusals {
    /// Logs a refusal, or counts it for the next line.
    pub fn log(&self, refusal: &Refusal, peer: Option<std::net::SocketAddr>) {
        let mut reasons = self.0.borrow_mut();
        let (last, silent) = reasons.entry(refusal.reason).or_default();
        if last.is_some_and(|last| last.elapsed() < EVERY) {
            *silent += 1;
            return;
        }
        let provider = refusal.provider.map_or("none", |provider| provider.as_str());
        let peer = peer.map(tracing::field::display);
        let (status, reason, not_logged) = (refusal.status, refusal.reason, *silent);
        warn!(
            provider,
            status, reason, peer, not_logged, "refused: {}", refusal.message
        );
        (*last, *silent) = (Some(Instant::now()), 0);
    }
}
