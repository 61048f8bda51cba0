//! The appender of one worker thread. Requests of the same thread share a batch, and a batch is one hand-off to the
//! writer and one wake-up back, however many requests wait in it: that hand-off is the dear part of an append.
//! It knows nothing of what is appended.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::oneshot;

use super::shared::{Health, Shared};
use super::writer::Job;

/// Why a record was not made durable. It may still be in the file when the cause is a time-out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// `spool.max_bytes` is reached.
    #[error("the spool is full")]
    Full,
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
            AppendError::Broken => "spool_broken",
            AppendError::Overloaded => "spool_overloaded",
            AppendError::TimedOut => "spool_timeout",
            AppendError::Closed => "spool_closed",
        }
    }
}

/// Makes [`Lane`]s; goes to every worker thread.
#[derive(Clone)]
pub struct Appender {
    pub(super) jobs: Sender<Job>,
    pub(super) shared: Arc<Shared>,
    pub(super) max_pending_bytes: usize,
    pub(super) commit_timeout: Duration,
}

impl Appender {
    /// A lane for the calling thread, which must run a tokio `LocalSet` (each actix worker does).
    pub fn lane(&self) -> Lane {
        Lane(Rc::new(Inner { appender: self.clone(), pending: RefCell::default(), running: Cell::new(false) }))
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
    pending: RefCell<Pending>,
    running: Cell<bool>,
}

/// What waits for the next hand-off.
#[derive(Default)]
struct Pending {
    records: Vec<Vec<u8>>,
    bytes: usize,
    batch: Rc<Batch>,
}

/// The outcome that the requests of one batch share.
#[derive(Default)]
struct Batch {
    outcome: RefCell<Option<Result<u64, AppendError>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Lane {
    /// Appends one record and waits until it is durable; gives its sequence number. The record is appended whether
    /// or not the future is polled to its end. In one lane, records are appended in the order of the calls.
    ///
    /// # Errors
    /// [`AppendError`]; the caller must not acknowledge.
    pub async fn append(&self, record: Vec<u8>) -> Result<u64, AppendError> {
        let shared = &self.0.appender.shared;
        if !shared.is_accepting() {
            return Err(if matches!(shared.health(), Health::Full { .. }) { AppendError::Full } else { AppendError::Broken });
        }
        let position = self.add(record)?;
        if !self.0.running.replace(true) {
            tokio::task::spawn_local(self.clone().hand_off());
        }
        position.await
    }

    fn add(&self, record: Vec<u8>) -> Result<Position, AppendError> {
        let mut pending = self.0.pending.borrow_mut();
        if pending.bytes + record.len() > self.0.appender.max_pending_bytes && !pending.records.is_empty() {
            return Err(AppendError::Overloaded);
        }
        pending.bytes += record.len();
        pending.records.push(record);
        Ok(Position { batch: pending.batch.clone(), index: pending.records.len() as u64 - 1 })
    }

    /// Hands batch after batch to the writer until nothing waits.
    async fn hand_off(self) {
        loop {
            let pending = self.0.pending.take();
            if pending.records.is_empty() {
                self.0.running.set(false);
                return;
            }
            let outcome = self.commit(pending.records).await;
            pending.batch.settle(outcome);
        }
    }

    async fn commit(&self, records: Vec<Vec<u8>>) -> Result<u64, AppendError> {
        let (done, answer) = oneshot::channel();
        let appender = &self.0.appender;
        appender.jobs.send(Job::Append { records, done }).map_err(|_| AppendError::Closed)?;
        match tokio::time::timeout(appender.commit_timeout, answer).await {
            Ok(answer) => answer.map_err(|_| AppendError::Closed)?,
            Err(_) => Err(AppendError::TimedOut),
        }
    }
}

impl Batch {
    fn settle(&self, outcome: Result<u64, AppendError>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// One record's place in its batch.
struct Position {
    batch: Rc<Batch>,
    index: u64,
}

impl Future for Position {
    type Output = Result<u64, AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &*self.batch.outcome.borrow() {
            Some(outcome) => Poll::Ready(outcome.clone().map(|first| first + self.index)),
            None => {
                self.batch.waiting.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
