//! The appender of one worker thread. A record goes into the lane's queue, from which the writer takes everything there is
//! when it begins a commit; after the commit, one wake-up tells the lane, and the lane tells the requests of its own
//! thread. So the hand-off between threads, the dear part of an append, is paid once for each commit and not for each
//! record. It knows nothing of what is appended.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::shared::{Health, Shared};

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
type Outcome = Result<u64, AppendError>;

/// Between a lane and the writer.
#[derive(Default)]
pub(super) struct LaneQueue {
    waiting: Mutex<Waiting>,
    outcomes: Mutex<Vec<(usize, Outcome)>>,
    told: Notify,
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

    fn push(&self, record: Vec<u8>, max_bytes: usize) -> Result<(), AppendError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes + record.len() > max_bytes && !waiting.records.is_empty() {
            return Err(AppendError::Overloaded);
        }
        waiting.bytes += record.len();
        waiting.records.push(record);
        Ok(())
    }
}

/// Makes [`Lane`]s; goes to every worker thread.
#[derive(Clone)]
pub struct Appender {
    pub(super) shared: Arc<Shared>,
    pub(super) max_pending_bytes: usize,
    pub(super) commit_timeout: Duration,
}

impl Appender {
    /// A lane for the calling thread, on which tokio's `spawn_local` must work when it is used (as in each actix worker).
    pub fn lane(&self) -> Lane {
        Lane(Rc::new(Inner {
            appender: self.clone(),
            queue: self.shared.open_lane(),
            slots: RefCell::default(),
            driven: Cell::new(false),
        }))
    }

    /// Whether a record can be made durable now.
    pub fn health(&self) -> Health {
        self.shared.health()
    }
}

/// The appender of one thread.
#[derive(Clone)]
pub struct Lane(Rc<Inner>);

struct Inner {
    appender: Appender,
    queue: Arc<LaneQueue>,
    /// Those who wait, in the order of their records.
    slots: RefCell<VecDeque<Rc<Slot>>>,
    driven: Cell<bool>,
}

/// One record's outcome, and who waits for it.
#[derive(Default)]
struct Slot {
    outcome: Cell<Option<Outcome>>,
    waker: Cell<Option<Waker>>,
    /// Ends of quarters of the time-out that it has seen.
    age: Cell<u8>,
}

impl Lane {
    /// Whether a record can be made durable now.
    pub fn health(&self) -> Health {
        self.0.appender.health()
    }

    /// Appends one record and waits until it is durable; gives its sequence number. The record is appended whether
    /// or not the future is polled to its end. In one lane, records are appended in the order of the calls.
    ///
    /// # Errors
    /// [`AppendError`]; the caller must not acknowledge.
    pub async fn append(&self, record: Vec<u8>) -> Result<u64, AppendError> {
        let Inner {
            appender,
            queue,
            slots,
            driven,
        } = &*self.0;
        if !appender.shared.is_accepting() {
            return Err(appender.shared.why_not());
        }
        queue.push(record, appender.max_pending_bytes)?;
        let slot = Rc::new(Slot::default());
        slots.borrow_mut().push_back(Rc::clone(&slot));
        if !driven.replace(true) {
            tokio::task::spawn_local(drive(Rc::downgrade(&self.0)));
        }
        appender.shared.wake_writer();
        poll_fn(|context| match slot.outcome.get() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slot.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// Brings outcomes from the writer to those who wait, for as long as there is a lane.
async fn drive(lane: std::rc::Weak<Inner>) {
    while let Some(inner) = lane.upgrade() {
        let (queue, quarter) = (Arc::clone(&inner.queue), inner.appender.commit_timeout / 4);
        drop(inner);
        let told = tokio::time::timeout(quarter, queue.told.notified()).await;
        let Some(inner) = lane.upgrade() else { return };
        match told {
            Ok(()) => inner.settle(),
            Err(_) => inner.grow_older(),
        }
    }
}

impl Inner {
    fn settle(&self) {
        let outcomes = std::mem::take(&mut *self.queue.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut slots = self.slots.borrow_mut();
        for (count, outcome) in outcomes {
            for (index, slot) in (0..).zip(slots.drain(..count)) {
                slot.settle(outcome.map(|first| first + index));
            }
        }
    }

    /// Whoever is there for the fourth quarter's end waits no longer, after three to four quarters of the time-out; the writer still tells of the record later.
    fn grow_older(&self) {
        for slot in self.slots.borrow().iter() {
            slot.age.set(slot.age.get().saturating_add(1));
            if slot.age.get() == 4 {
                slot.settle(Err(AppendError::TimedOut));
            }
        }
    }
}

impl Slot {
    fn settle(&self, outcome: Outcome) {
        self.outcome.set(Some(outcome));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
