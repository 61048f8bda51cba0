//! The appender of one worker thread. A record goes into the lane's queue, from which the writer takes everything there is
//! when it begins a commit; after the commit, one wake-up tells the lane, and the lane tells the requests of its own
//! thread. So the hand-off between threads, the dear part of an append, is paid once for each commit and not for each
//! record. It knows nothing of what is appended.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::confirmed::Release;
use super::queue::{AppendError, LaneQueue, Outcome};
use super::shared::Shared;

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
            held: RefCell::default(),
            driven: Cell::new(false),
        }))
    }

    /// Why callbacks should go to another replica where there is one, as a word and in a sentence: the health's reason, or that what an
    /// earlier process left on its way is being looked for.
    pub fn unready(&self) -> Option<(&'static str, String)> {
        self.shared.unready()
    }
}

/// The appender of one thread.
#[derive(Clone)]
pub struct Lane(Rc<Inner>);

struct Inner {
    appender: Appender,
    queue: Arc<LaneQueue>,
    /// Those who wait, in the order of their records.
    slots: RefCell<VecDeque<Rc<Slot<Outcome>>>>,
    /// Those who wait for the confirmation of their durable records, by sequence number.
    held: RefCell<BTreeMap<u64, Held>>,
    driven: Cell<bool>,
}

/// What comes of one record, and who waits for it.
struct Slot<T> {
    outcome: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
    /// Ends of quarters of the time-out that it has seen.
    age: Cell<u8>,
}

/// One answer that waits for its confirmation, until then at most.
struct Held {
    slot: Rc<Slot<Release>>,
    until: Instant,
}

impl Lane {
    /// [`Appender::unready`].
    pub fn unready(&self) -> Option<(&'static str, String)> {
        self.0.appender.unready()
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
            ..
        } = &*self.0;
        if !appender.shared.is_accepting() {
            return Err(appender.shared.why_not());
        }
        queue.push(record, appender.max_pending_bytes)?;
        let slot = Rc::new(Slot::new());
        slots.borrow_mut().push_back(Rc::clone(&slot));
        if !driven.replace(true) {
            tokio::task::spawn_local(drive(Rc::downgrade(&self.0)));
        }
        appender.shared.wake_writer();
        slot.wait().await
    }

    /// Waits until a record of this lane, which is durable, is confirmed; not longer than the time for that, nor while confirmations are
    /// slow. At once where no answer waits.
    pub async fn confirmed(&self, seq: u64) -> Release {
        let Inner {
            appender, queue, held, ..
        } = &*self.0;
        let confirmed = &appender.shared.confirmed;
        let Some(limit) = confirmed.limit() else {
            return Release::Confirmed;
        };
        if let Some(release) = confirmed.release(seq) {
            return release;
        }
        let slot = Rc::new(Slot::new());
        let wait = Held {
            slot: Rc::clone(&slot),
            until: Instant::now() + limit,
        };
        held.borrow_mut().insert(seq, wait);
        queue.holds.store(true, Ordering::SeqCst);
        // Looked at again after the flag is up; and the driver learns of the time to wake at.
        if let Some(release) = confirmed.release(seq) {
            held.borrow_mut().remove(&seq);
            return release;
        }
        if held.borrow().len() == 1 {
            queue.told.notify_one();
        }
        slot.wait().await
    }
}

/// Brings outcomes from the writer, and confirmations, to those who wait, for as long as there is a lane.
async fn drive(lane: std::rc::Weak<Inner>) {
    let mut quarter_ends = Instant::now();
    while let Some(inner) = lane.upgrade() {
        let now = Instant::now();
        if now >= quarter_ends {
            inner.grow_older();
            quarter_ends = now + inner.appender.commit_timeout / 4;
        }
        let next = inner.release_held(now).map_or(quarter_ends, |at| at.min(quarter_ends));
        let queue = Arc::clone(&inner.queue);
        drop(inner);
        let told = tokio::time::timeout_at(next, queue.told.notified()).await;
        if let (Ok(()), Some(inner)) = (told, lane.upgrade()) {
            inner.settle();
        }
    }
}

impl Inner {
    fn settle(&self) {
        let mut slots = self.slots.borrow_mut();
        for (count, outcome) in self.queue.outcomes() {
            for (index, slot) in (0..).zip(slots.drain(..count)) {
                slot.settle(outcome.map(|first| first + index));
            }
        }
    }

    /// Lets everyone go who waited for nothing but a confirmation and need not any longer; gives the time at which the next must.
    fn release_held(&self, now: Instant) -> Option<Instant> {
        let shared = &self.appender.shared;
        let mut held = self.held.borrow_mut();
        let confirmed = shared.confirmed.position();
        let overdue = held.iter().any(|(seq, wait)| wait.until <= now && *seq > confirmed);
        if overdue {
            shared.confirmed.open();
        }
        let mut next: Option<Instant> = None;
        held.retain(|seq, wait| {
            let is_due = || (wait.until <= now).then_some(Release::Early);
            let release = shared.confirmed.release(*seq).or_else(is_due);
            if let Some(release) = release {
                wait.slot.settle(release);
            } else {
                next = Some(next.map_or(wait.until, |at| at.min(wait.until)));
            }
            release.is_none()
        });
        self.queue.holds.store(!held.is_empty(), Ordering::SeqCst);
        drop(held);
        if overdue {
            shared.tell_held();
        }
        next
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

impl<T: Copy> Slot<T> {
    fn new() -> Slot<T> {
        Slot {
            outcome: Cell::new(None),
            waker: Cell::new(None),
            age: Cell::new(0),
        }
    }

    fn settle(&self, outcome: T) {
        self.outcome.set(Some(outcome));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn wait(&self) -> T {
        poll_fn(|context| match self.outcome.get() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}
