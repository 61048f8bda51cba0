//! The appender of one worker thread. `append` puts a record into the lane's queue. When the writer begins a commit, it
//! takes everything from the queue. After the commit it wakes the lane once, and the lane completes the requests of its
//! own thread. So the hand-off between threads, the expensive part of an append, is paid once for each commit and not
//! once for each record. A lane does not know what the records contain.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::confirmed::Release;
use super::queue::{AppendError, LaneQueue, Outcome};
use super::shared::Shared;

/// The timer ticks so often per `commit_timeout_ms`.
const TICKS_PER_TIMEOUT: u32 = 4;

/// Makes [`Lane`]s. Every worker thread has a clone.
#[derive(Clone)]
pub struct Appender(pub(super) Arc<Shared>);

impl Appender {
    /// A lane for the calling thread. tokio's `spawn_local` must work there when the lane is used, as in each actix
    /// worker.
    pub fn lane(&self) -> Lane {
        Lane(Rc::new(Inner {
            shared: Arc::clone(&self.0),
            queue: self.0.open_lane(),
            appends: RefCell::default(),
            held: RefCell::default(),
            has_driver: Cell::new(false),
        }))
    }

    /// Why callbacks should go to another replica, if there is one: the reason as a label and as a sentence. It is the
    /// health's reason, the shutdown, or the search for what an earlier process had in flight.
    pub fn unready(&self) -> Option<(&'static str, String)> {
        self.0.unready()
    }
}

/// The appender of one thread.
#[derive(Clone)]
pub struct Lane(Rc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<LaneQueue>,
    /// In the order of their records.
    appends: RefCell<VecDeque<Append>>,
    /// By sequence number.
    held: RefCell<BTreeMap<u64, Held>>,
    has_driver: Cell<bool>,
}

/// A record whose caller waits for the sync.
struct Append {
    /// `None` once the caller has timed out.
    done: Option<oneshot::Sender<Outcome>>,
    /// Ticks of the timer since the call.
    ticks: u32,
}

/// An answer to a durable record that waits for its confirmation.
struct Held {
    done: oneshot::Sender<Release>,
    /// When it stops waiting.
    until: Instant,
}

impl Lane {
    /// [`Appender::unready`].
    pub fn unready(&self) -> Option<(&'static str, String)> {
        self.0.shared.unready()
    }

    /// Appends one record, waits until it is durable and returns its sequence number. In one lane, records are appended
    /// in the order of the calls. Dropping the future does not undo the append.
    ///
    /// # Errors
    /// [`AppendError`]: the caller must not acknowledge.
    pub async fn append(&self, record: Vec<u8>) -> Result<u64, AppendError> {
        let inner = &*self.0;
        if !inner.shared.is_accepting() {
            return Err(inner.shared.append_error());
        }
        inner.queue.push(record, inner.shared.max_pending_bytes)?;
        let (done, outcome) = oneshot::channel();
        let done = Some(done);
        inner.appends.borrow_mut().push_back(Append { done, ticks: 0 });
        if !inner.has_driver.replace(true) {
            tokio::task::spawn_local(drive(Rc::downgrade(&self.0)));
        }
        inner.shared.writer.wake();
        outcome.await.expect("every append gets an outcome")
    }

    /// Waits until a durable record of this lane is confirmed. The wait ends after `hold`, or when confirmations are
    /// slow. If answers do not wait for Kafka, it returns at once.
    pub async fn confirmed(&self, seq: u64) -> Release {
        let (inner, confirmed) = (&*self.0, &self.0.shared.confirmed);
        let Some(limit) = confirmed.limit else {
            return Release::Confirmed;
        };
        if let Some(release) = confirmed.release(seq) {
            return release;
        }
        let (done, released) = oneshot::channel();
        let until = Instant::now() + limit;
        inner.held.borrow_mut().insert(seq, Held { done, until });
        inner.queue.has_held.store(true, Ordering::SeqCst);
        // A confirmation may have come before the flag was set, so this checks again.
        if let Some(release) = confirmed.release(seq) {
            inner.held.borrow_mut().remove(&seq);
            return release;
        }
        if inner.held.borrow().len() == 1 {
            // The driver must learn when this answer stops waiting.
            inner.queue.notify.notify_one();
        }
        released.await.expect("every held answer is released")
    }
}

/// Completes the waiting calls of a lane with the writer's outcomes and with confirmations, until the lane is dropped.
async fn drive(lane: Weak<Inner>) {
    let mut tick_at = Instant::now();
    while let Some(inner) = lane.upgrade() {
        let now = Instant::now();
        if now >= tick_at {
            inner.tick();
            tick_at = now + inner.shared.commit_timeout / TICKS_PER_TIMEOUT;
        }
        let next = inner.release_held(now).map_or(tick_at, |at| at.min(tick_at));
        let queue = Arc::clone(&inner.queue);
        drop(inner);
        let notified = tokio::time::timeout_at(next, queue.notify.notified()).await;
        if let (Ok(()), Some(inner)) = (notified, lane.upgrade()) {
            inner.complete_appends();
        }
    }
}

impl Inner {
    fn complete_appends(&self) {
        let mut appends = self.appends.borrow_mut();
        for (count, outcome) in self.queue.outcomes() {
            for (index, append) in (0..).zip(appends.drain(..count)) {
                let outcome = outcome.map(|first| first + index);
                append.done.map(|done| done.send(outcome));
            }
        }
    }

    /// Releases the held answers that need not wait any longer. Returns when the next one stops waiting.
    fn release_held(&self, now: Instant) -> Option<Instant> {
        let shared = &self.shared;
        let mut held = self.held.borrow_mut();
        let confirmed = shared.confirmed.position();
        let overdue = |(seq, answer): (&u64, &Held)| answer.until <= now && *seq > confirmed;
        let overdue = held.iter().any(overdue);
        if overdue {
            shared.confirmed.open();
        }
        let release = |(seq, answer): (&u64, &Held)| {
            let is_due = || (answer.until <= now).then_some(Release::Early);
            Some((*seq, shared.confirmed.release(*seq).or_else(is_due)?))
        };
        let released: Vec<_> = held.iter().filter_map(release).collect();
        for (seq, release) in released {
            held.remove(&seq).map(|answer| answer.done.send(release));
        }
        self.queue.has_held.store(!held.is_empty(), Ordering::SeqCst);
        if overdue {
            shared.notify_held();
        }
        held.values().map(|answer| answer.until).min()
    }

    /// Times out the callers at their fourth tick, after 75 to 100 % of the time-out. Their appends stay in the queue,
    /// since the writer still reports an outcome for the records.
    fn tick(&self) {
        for append in self.appends.borrow_mut().iter_mut() {
            append.ticks += 1;
            if append.ticks == TICKS_PER_TIMEOUT {
                append.done.take().map(|done| done.send(Err(AppendError::TimedOut)));
            }
        }
    }
}
