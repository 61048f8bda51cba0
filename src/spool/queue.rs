//! The queue between a lane and the writer: records in one direction, outcomes in the other. It knows neither of the
//! two.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Why a record was not made durable. After a time-out, it may be in the file nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// `spool.max_bytes` is reached.
    #[error("the spool is full")]
    Full,
    /// The spool's file has not been open since the start: it is being opened or repaired.
    #[error("the spool is being opened")]
    Opening,
    /// The disk failed. The spool tries to open its file again.
    #[error("the spool cannot write to its disk")]
    Broken,
    /// More bytes wait for the disk than `spool.max_pending_bytes` allows.
    #[error("too many bytes wait for the spool's disk")]
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

/// The outcome of consecutive records of one lane: the sequence number of the first one.
pub(super) type Outcome = Result<u64, AppendError>;

/// The queue of one lane.
#[derive(Default)]
pub(super) struct LaneQueue {
    waiting: Mutex<Waiting>,
    outcomes: Mutex<Vec<(usize, Outcome)>>,
    /// Wakes the lane.
    pub notify: Notify,
    /// Whether answers wait for a confirmation.
    pub has_held: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    records: Vec<Vec<u8>>,
    bytes: usize,
}

impl LaneQueue {
    /// For the writer: takes everything that waits.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.waiting.lock().expect("no holder panics")).records
    }

    /// For the writer: completes the next `count` records.
    pub fn complete(&self, count: usize, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock().expect("no holder panics");
        outcomes.push((count, outcome));
        self.notify.notify_one();
    }

    /// For the lane: takes the outcomes that the writer has left.
    pub fn outcomes(&self) -> Vec<(usize, Outcome)> {
        std::mem::take(&mut *self.outcomes.lock().expect("no holder panics"))
    }

    /// Wakes the lane if answers wait for a confirmation.
    pub fn notify_held(&self) {
        if self.has_held.load(Ordering::SeqCst) {
            self.notify.notify_one();
        }
    }

    /// For the lane: adds a record. A record that is larger than `max_bytes` is taken only if no other waits.
    pub fn push(&self, record: Vec<u8>, max_bytes: usize) -> Result<(), AppendError> {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        if waiting.bytes + record.len() > max_bytes && !waiting.records.is_empty() {
            return Err(AppendError::Overloaded);
        }
        waiting.bytes += record.len();
        waiting.records.push(record);
        Ok(())
    }
}
