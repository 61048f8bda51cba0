//! What a lane and the writer leave for one another: records one way, outcomes the other. It knows neither of the two.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Why a record was not made durable. It may still be in the file when the cause is a time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// `spool.max_bytes` is reached.
    #[error("the spool is full")]
    Full,
    /// The spool's file is being opened or repaired since the start.
    #[error("the spool is being opened")]
    Opening,
    /// The disk failed; the spool tries to open its file again.
    #[error("the spool cannot write to its disk")]
    Broken,
    /// More waits for the disk than `spool.max_pending_bytes` allows.
    #[error("too much waits for the spool's disk")]
    Overloaded,
    /// The commit took longer than `spool.commit_timeout_ms`.
    #[error("the spool's disk did not answer in time")]
    TimedOut,
    /// The bridge is shutting down.
    #[error("the spool is closed")]
    Closed,
}

impl AppendError {
    /// A label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            AppendError::Full => "spool_full",
            AppendError::Opening => "spool_opening",
            AppendError::Broken => "spool_broken",
            AppendError::Overloaded => "spool_overloaded",
            AppendError::TimedOut => "spool_timeout",
            AppendError::Closed => "spool_closed",
        }
    }
}

/// What became of some records of one lane, in the order in which they were appended: the first one's sequence number.
pub(super) type Outcome = Result<u64, AppendError>;

/// Between a lane and the writer.
#[derive(Default)]
pub(super) struct LaneQueue {
    waiting: Mutex<Waiting>,
    outcomes: Mutex<Vec<(usize, Outcome)>>,
    /// There is something for the lane.
    pub told: Notify,
    /// Answers wait for more than the disk.
    pub holds: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    records: Vec<Vec<u8>>,
    bytes: usize,
}

impl LaneQueue {
    /// The writer takes everything that waits.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes = 0;
        std::mem::take(&mut waiting.records)
    }

    /// The writer tells what became of the next `count` records.
    pub fn tell(&self, count: usize, outcome: Outcome) {
        self.outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((count, outcome));
        self.told.notify_one();
    }

    /// The lane takes what the writer told.
    pub fn outcomes(&self) -> Vec<(usize, Outcome)> {
        std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Confirmations came, or are not waited for any longer.
    pub fn tell_held(&self) {
        if self.holds.load(Ordering::SeqCst) {
            self.told.notify_one();
        }
    }

    /// The lane leaves a record, where not too much waits.
    pub fn push(&self, record: Vec<u8>, max_bytes: usize) -> Result<(), AppendError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes + record.len() > max_bytes && !waiting.records.is_empty() {
            return Err(AppendError::Overloaded);
        }
        waiting.bytes += record.len();
        waiting.records.push(record);
        Ok(())
    }
}
