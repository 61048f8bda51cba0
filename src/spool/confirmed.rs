//! Answers that wait until their record is confirmed beyond this machine: the confirmed position, the breaker, and
//! which records were answered early. It does no I/O and does not know who confirms.
//!
//! Each record is in one of two cases, whatever two threads do at the same moment. Either it is *sent unmarked*: then
//! it is answered only when it is confirmed or its own `hold` has passed. Or it may be *answered early*: then it is
//! marked as late when it is sent.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

/// The breaker closes when every confirmation of the last second ([`CALM`]) took at most this part of `hold`.
const CALM_SHARE: u32 = 3;
const CALM: Duration = Duration::from_secs(1);
/// Entries of [`Pace::commits`] at most. When there are more commits, the last entry covers several, with the time of
/// the first of them. So do commits within [`COMMITS_APART`].
const COMMITS_MAX: usize = 1024;
const COMMITS_APART: Duration = Duration::from_millis(2);

/// Why a held answer is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Its record is confirmed.
    Confirmed,
    /// Its record is not confirmed: the breaker is open, or `hold` has passed.
    Early,
}

/// The state of the confirmations. Positions are sequence numbers.
#[derive(Default)]
pub(super) struct Confirmed {
    /// How long an answer may wait (`hold`); `None` if answers do not wait.
    pub limit: Option<Duration>,
    /// Every record up to here is confirmed.
    position: AtomicU64,
    /// The last record at the start: an earlier process may have answered it and the ones before it early.
    earlier: AtomicU64,
    /// The last record that was sent unmarked.
    unmarked: AtomicU64,
    /// The last record that was answered early.
    early: AtomicU64,
    /// The breaker. While it is open, answers do not wait.
    open: AtomicBool,
    pace: Mutex<Pace>,
}

/// How long records wait for their confirmation.
#[derive(Default)]
struct Pace {
    /// The commits that are not confirmed: the last record of each, and when it was durable.
    commits: VecDeque<(u64, Instant)>,
    /// When a confirmation was last slow.
    slow_at: Option<Instant>,
}

impl Confirmed {
    pub fn new(limit: Option<Duration>) -> Confirmed {
        Confirmed {
            limit,
            ..Confirmed::default()
        }
    }

    /// Sets the positions of the file that was opened.
    pub fn set_opened(&self, delivered: u64, appended: u64) {
        self.position.store(delivered, Ordering::SeqCst);
        self.earlier.store(appended, Ordering::SeqCst);
    }

    /// Notes that the records up to `seq` are durable now.
    pub fn note_durable(&self, seq: u64) {
        if self.limit.is_none() {
            return;
        }
        let now = Instant::now();
        let mut pace = self.pace.lock().expect("no holder panics");
        let full = pace.commits.len() >= COMMITS_MAX;
        match pace.commits.back_mut() {
            Some((last, at)) if full || now.duration_since(*at) < COMMITS_APART => *last = seq,
            _ => pace.commits.push_back((seq, now)),
        }
    }

    /// Notes that the records up to `seq` are confirmed. Returns whether the position moved. The breaker closes in this
    /// call, so it must also be called from time to time when the position has not moved.
    pub fn confirm(&self, seq: u64) -> bool {
        let Some(limit) = self.limit else { return false };
        let is_open = self.open.load(Ordering::SeqCst);
        let has_moved = self.position.load(Ordering::SeqCst) < seq;
        if !has_moved && !is_open {
            return false;
        }
        self.position.fetch_max(seq, Ordering::SeqCst);
        let now = Instant::now();
        let mut pace = self.pace.lock().expect("no holder panics");
        // The oldest commit was confirmed just now, or still waits. Either way its age is the longest wait.
        let oldest = pace.commits.front().map(|(_, at)| now.duration_since(*at));
        while pace.commits.front().is_some_and(|(last, _)| *last <= seq) {
            pace.commits.pop_front();
        }
        if oldest.is_some_and(|age| age > limit / CALM_SHARE) {
            pace.slow_at = Some(now);
        }
        let is_calm = pace.slow_at.is_none_or(|at| now.duration_since(at) >= CALM);
        if is_open && is_calm {
            self.open.store(false, Ordering::SeqCst);
            info!("confirmations are fast again, so answers wait for them again");
        }
        has_moved
    }

    pub fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Opens the breaker, since an answer has waited for `hold` without a confirmation.
    pub fn open(&self) {
        let mut pace = self.pace.lock().expect("no holder panics");
        pace.slow_at = Some(Instant::now());
        if !self.open.swap(true, Ordering::SeqCst) {
            let limit_ms = self.limit.unwrap_or_default().as_millis();
            warn!(
                limit_ms,
                "an answer was not confirmed in time; until confirmations are fast again, callbacks are answered as soon as they are on the disk, and their events are marked as late"
            );
        }
    }

    /// Whether the answer to this record may be sent now, and why; `None` if it must wait.
    pub fn release(&self, seq: u64) -> Option<Release> {
        if self.position() >= seq {
            return Some(Release::Confirmed);
        }
        // This stores `early` before it reads `unmarked`. `must_mark` stores `unmarked` before it reads `early`. So at
        // least one of the two threads sees the other's store.
        if self.is_open() {
            self.early.fetch_max(seq, Ordering::SeqCst);
            if self.unmarked.load(Ordering::SeqCst) < seq {
                return Some(Release::Early);
            }
        }
        None
    }

    /// Whether a message of this record must be marked as late when it is sent. `age` is the time since its arrival.
    pub fn must_mark(&self, seq: u64, age: Duration) -> bool {
        let Some(limit) = self.limit else { return false };
        if age > limit || seq <= self.earlier.load(Ordering::SeqCst) || self.is_open() {
            return true;
        }
        self.unmarked.fetch_max(seq, Ordering::SeqCst);
        self.is_open() || self.early.load(Ordering::SeqCst) >= seq
    }
}

#[cfg(test)]
mod tests;
