//! Answers that wait until what they answer is confirmed beyond this machine: how far that has come, whether it is worth
//! waiting for, and which records were answered before. No I/O here, and no word of who confirms.
//!
//! Two things are kept apart, whatever happens at the same moment: a record is *sent unmarked*, and then answered only
//! when it is confirmed or its own time to wait is over; or it may be *answered early*, and then is marked when it is sent.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

/// Confirmations must have been within this part of the time to wait, for this long, before they are waited for again.
const CALM_SHARE: u32 = 3;
const CALM: Duration = Duration::from_secs(1);
/// Commits whose time is remembered apart; when more wait, the last ones count as old as the first of them.
const COMMITS_MAX: usize = 1024;
const COMMITS_APART: Duration = Duration::from_millis(2);

/// How an answer that was held came free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Its record is confirmed.
    Confirmed,
    /// It was not waited for, or not any longer.
    Early,
}

/// Positions are sequence numbers, as everywhere in the spool.
#[derive(Default)]
pub(super) struct Confirmed {
    /// How long an answer may wait; `None` where none does.
    limit: Option<Duration>,
    /// Every record up to here is confirmed.
    position: AtomicU64,
    /// What was there at the start, answered by a process of which nothing is known.
    earlier: AtomicU64,
    /// The last record that was sent without a mark.
    unmarked: AtomicU64,
    /// The last record that was answered early.
    early: AtomicU64,
    /// The breaker: confirmations are not waited for.
    open: AtomicBool,
    pace: Mutex<Pace>,
}

/// How long records wait for their confirmation.
#[derive(Default)]
struct Pace {
    /// The last records of commits that are not confirmed, and when each was durable.
    commits: VecDeque<(u64, Instant)>,
    /// When one last waited for too long.
    slow_at: Option<Instant>,
}

impl Confirmed {
    pub fn new(limit: Option<Duration>) -> Confirmed {
        Confirmed {
            limit,
            ..Confirmed::default()
        }
    }

    /// How long an answer may wait; `None` where none does.
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// The file is open, with these positions.
    pub fn begin_at(&self, delivered: u64, appended: u64) {
        self.position.store(delivered, Ordering::SeqCst);
        self.earlier.store(appended, Ordering::SeqCst);
    }

    /// Records up to `seq` are durable.
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

    /// Everything up to `seq` is confirmed; true when that is news. To be called now and then without news too, since the
    /// breaker closes by it.
    pub fn confirm(&self, seq: u64) -> bool {
        let Some(limit) = self.limit else { return false };
        let is_open = self.open.load(Ordering::SeqCst);
        let is_news = self.position.load(Ordering::SeqCst) < seq;
        if !is_news && !is_open {
            return false;
        }
        self.position.fetch_max(seq, Ordering::SeqCst);
        let now = Instant::now();
        let mut pace = self.pace.lock().expect("no holder panics");
        // The oldest tells of all: what has just been confirmed, or what still waits.
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
            info!("confirmations are fast again: answers wait for them");
        }
        is_news
    }

    pub fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// An answer has waited for as long as it may: no other waits from now on.
    pub fn open(&self) {
        let mut pace = self.pace.lock().expect("no holder panics");
        pace.slow_at = Some(Instant::now());
        if !self.open.swap(true, Ordering::SeqCst) {
            let limit_ms = self.limit.unwrap_or_default().as_millis();
            warn!(
                limit_ms,
                "an answer was not confirmed in time: until confirmations are fast again, callbacks are answered once they are on the disk, and marked as late"
            );
        }
    }

    /// The way out for an answer, if there is one now.
    pub fn release(&self, seq: u64) -> Option<Release> {
        if self.position() >= seq {
            return Some(Release::Confirmed);
        }
        // Said before it is looked whether the record was sent: whoever sends it does these two the other way round.
        if self.is_open() {
            self.early.fetch_max(seq, Ordering::SeqCst);
            if self.unmarked.load(Ordering::SeqCst) < seq {
                return Some(Release::Early);
            }
        }
        None
    }

    /// Whether a message of this record, which is about to be sent, is to be marked; `age` is counted from its arrival.
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
