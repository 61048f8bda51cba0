//! The state that the spool's threads share: the positions, the health, and what the forwarder has reported. No I/O.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::Config;
use super::confirmed::Confirmed;
use super::database::{Database, State};
use super::queue::{AppendError, LaneQueue};

/// Whether a record can be made durable now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The last commit was synced and there is room.
    Accepting,
    /// A limit is reached. The spool accepts again when there is room.
    Full(String),
    /// A commit failed. Nothing is acknowledged until the file has been opened and synced again.
    Broken(String),
    /// The file has not been open since the start. The text says what it waits for.
    Opening(String),
}

impl Default for Health {
    fn default() -> Health {
        Health::Opening("the file is being opened".into())
    }
}

impl Health {
    /// Why nothing is accepted, as a label and as a sentence; `None` if records are accepted.
    pub fn problem(self) -> Option<(&'static str, String)> {
        match self {
            Health::Accepting => None,
            Health::Full(why) => Some(("spool_full", why)),
            Health::Broken(cause) => Some(("spool_broken", cause)),
            Health::Opening(state) => Some(("spool_opening", state)),
        }
    }
}

/// What the forwarder has delivered. The next commit writes it.
#[derive(Debug, Default)]
pub(super) struct DeliveryUpdate {
    pub delivered: u64,
    pub notes: BTreeMap<String, String>,
}

impl DeliveryUpdate {
    fn add(&mut self, delivered: u64, notes: impl IntoIterator<Item = (String, String)>) {
        self.delivered = self.delivered.max(delivered);
        self.notes.extend(notes);
    }
}

/// A thread's handle on the file, empty until it is used. [`Shared::with_file_closed`] empties all of them.
pub(super) type Handle = Arc<Mutex<Option<Database>>>;

/// The positions are sequence numbers: `appended >= delivered >= retired`. `appended` counts durable records only.
#[derive(Default)]
pub(super) struct Shared {
    /// `<id>.<incarnation>`, once the file is open.
    pub name: OnceLock<String>,
    pub appended: AtomicU64,
    pub delivered: AtomicU64,
    pub retired: AtomicU64,
    pub used_bytes: AtomicU64,
    /// Answers that wait for a confirmation.
    pub confirmed: Confirmed,
    /// The forwarder looks for what an earlier process had in flight. Nothing is confirmed meanwhile.
    pub recovering: AtomicBool,
    /// The bridge is about to end.
    pub leaving: AtomicBool,
    pub closed: AtomicBool,
    /// An opening or a repair must stop.
    pub opening_cancelled: AtomicBool,
    /// Bytes that the current repair has searched, and all its bytes; 0 if there is no repair.
    repair_progress: [AtomicU64; 2],
    /// Nothing is accepted until the process restarts.
    stopped: AtomicBool,
    /// When the current commit began.
    commit_began: Mutex<Option<Instant>>,
    pub commit_timeout: Duration,
    pub max_pending_bytes: usize,
    accepting: AtomicBool,
    health: Mutex<Health>,
    delivery: Mutex<Option<DeliveryUpdate>>,
    lanes: Mutex<Vec<Arc<LaneQueue>>>,
    handles: Mutex<Vec<Weak<Mutex<Option<Database>>>>>,
    damage: Mutex<Option<String>>,
    pub writer: Wakeup,
    pub reader: Wakeup,
    /// The reader's thread has something else to do, so it must not wait.
    reader_interrupted: AtomicBool,
}

impl Shared {
    pub fn new(config: &Config) -> Shared {
        Shared {
            commit_timeout: Duration::from_millis(config.commit_timeout_ms),
            max_pending_bytes: config.max_pending_bytes,
            confirmed: Confirmed::new(config.hold),
            ..Shared::default()
        }
    }

    /// Sets name and positions when the file is open for the first time.
    pub fn set_opened(&self, name: String, state: &State) {
        self.name.set(name).expect("a spool is opened once");
        self.delivered.store(state.delivered, Ordering::SeqCst);
        self.retired.store(state.retired, Ordering::SeqCst);
        self.confirmed.set_opened(state.delivered, state.appended);
        self.publish_appended(state.appended);
        self.set_health(Health::Accepting);
    }

    /// The cheap form of [`Shared::health`] for every append.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire)
    }

    pub fn health(&self) -> Health {
        let mut health = self.health.lock().expect("no holder panics").clone();
        let [done, all] = [0, 1].map(|at| self.repair_progress[at].load(Ordering::Relaxed));
        if let Health::Broken(text) | Health::Opening(text) = &mut health
            && all > 0
        {
            text.push_str(&format!(": {} of {} MiB are searched", done >> 20, all >> 20));
        }
        let commit_began = *self.commit_began.lock().expect("no holder panics");
        match commit_began.map(|began| began.elapsed()) {
            Some(age) if health == Health::Accepting && age > self.commit_timeout => {
                Health::Broken(format!("the disk has not answered for {} ms", age.as_millis()))
            }
            _ => health,
        }
    }

    /// See `Appender::unready`.
    pub fn unready(&self) -> Option<(&'static str, String)> {
        let recovering = || {
            let waits = self.confirmed.limit.is_some() && self.recovering.load(Ordering::SeqCst);
            let text =
                "the bridge looks in Kafka for what was in flight when it ended, and nothing is confirmed until then";
            waits.then(|| ("recovering", text.to_owned()))
        };
        let leaving = self.leaving.load(Ordering::SeqCst);
        let leaving = leaving.then(|| ("draining", "the bridge is shutting down".to_owned()));
        leaving.or_else(|| self.health().problem()).or_else(recovering)
    }

    /// Notes that a commit begins, or has ended.
    pub fn note_commit(&self, begins: bool) {
        *self.commit_began.lock().expect("no holder panics") = begins.then(Instant::now);
    }

    pub fn set_health(&self, health: Health) {
        let mut current = self.health.lock().expect("no holder panics");
        if !self.stopped.load(Ordering::SeqCst) {
            self.accepting.store(health == Health::Accepting, Ordering::Release);
            *current = health;
        }
    }

    /// Accepts nothing more. Later calls of [`Shared::set_health`] have no effect.
    pub fn stop_accepting(&self, reason: &str) {
        let mut current = self.health.lock().expect("no holder panics");
        self.stopped.store(true, Ordering::SeqCst);
        self.accepting.store(false, Ordering::Release);
        *current = Health::Broken(reason.to_owned());
    }

    /// The error for an append while nothing is accepted.
    pub fn append_error(&self) -> AppendError {
        match self.health() {
            Health::Full(_) => AppendError::Full,
            Health::Opening(_) => AppendError::Opening,
            _ => AppendError::Broken,
        }
    }

    /// Ends an opening or a repair that is in progress.
    pub fn cancel_opening(&self) {
        self.opening_cancelled.store(true, Ordering::SeqCst);
        self.writer.wake();
    }

    /// Notes the bytes that a repair has searched, of how many. Returns false if the repair must stop.
    pub fn note_repair(&self, done: u64, all: u64) -> bool {
        self.repair_progress[0].store(done, Ordering::Relaxed);
        self.repair_progress[1].store(all, Ordering::Relaxed);
        !self.opening_cancelled.load(Ordering::SeqCst)
    }

    /// A handle for one thread.
    pub fn open_handle(&self) -> Handle {
        let handle = Handle::default();
        let mut handles = self.handles.lock().expect("no holder panics");
        handles.retain(|handle| handle.strong_count() > 0);
        handles.push(Arc::downgrade(&handle));
        handle
    }

    /// Closes all handles on the file and runs `replace` before they can be opened again. SQLite removes a WAL by its
    /// name when the last handle is closed, so no handle may be open while the file is replaced.
    pub fn with_file_closed<T>(&self, replace: impl FnOnce() -> T) -> T {
        let handles = self.handles.lock().expect("no holder panics");
        let handles: Vec<Handle> = handles.iter().filter_map(Weak::upgrade).collect();
        let close = |handle| {
            let mut guard = lock_handle(handle);
            *guard = None;
            guard
        };
        let _guards: Vec<_> = handles.iter().map(close).collect();
        let outcome = replace();
        self.take_damage();
        outcome
    }

    /// Reports a damaged file, which the writer then repairs. The caller must hold a handle's lock.
    pub fn report_damage(&self, cause: String) {
        *self.damage.lock().expect("no holder panics") = Some(cause);
    }

    pub fn take_damage(&self) -> Option<String> {
        self.damage.lock().expect("no holder panics").take()
    }

    /// A queue for one lane. The writer drops its own reference when the lane has dropped its.
    pub fn open_lane(&self) -> Arc<LaneQueue> {
        let queue = Arc::<LaneQueue>::default();
        self.lanes.lock().expect("no holder panics").push(Arc::clone(&queue));
        queue
    }

    /// Notes that everything up to `seq` is confirmed, and wakes the lanes that hold answers.
    pub fn confirm(&self, seq: u64) {
        if self.confirmed.confirm(seq) {
            self.notify_held();
        }
    }

    /// Makes the lanes check which of their held answers may be sent.
    pub fn notify_held(&self) {
        let lanes = self.lanes.lock().expect("no holder panics");
        lanes.iter().for_each(|lane| lane.notify_held());
    }

    /// Takes all records that wait, lane by lane.
    pub fn take_appends(&self) -> Vec<(Arc<LaneQueue>, Vec<Vec<u8>>)> {
        let mut lanes = self.lanes.lock().expect("no holder panics");
        let mut taken = Vec::with_capacity(lanes.len());
        lanes.retain(|lane| {
            let records = lane.take();
            let open = Arc::strong_count(lane) > 1;
            if !records.is_empty() {
                taken.push((Arc::clone(lane), records));
            }
            open
        });
        taken
    }

    /// Adds to the delivery update that the next commit writes.
    pub fn note_delivery(&self, delivered: u64, notes: Vec<(String, String)>) {
        let mut delivery = self.delivery.lock().expect("no holder panics");
        delivery.get_or_insert_default().add(delivered, notes);
    }

    /// Puts back the update of a commit that failed. Notes that came since are newer and stay.
    pub fn return_delivery(&self, failed: DeliveryUpdate) {
        let mut delivery = self.delivery.lock().expect("no holder panics");
        let newer = delivery.replace(failed).unwrap_or_default();
        delivery.get_or_insert_default().add(newer.delivered, newer.notes);
    }

    pub fn take_delivery(&self) -> Option<DeliveryUpdate> {
        self.delivery.lock().expect("no holder panics").take()
    }

    /// Makes the records up to `seq` visible to the reader.
    pub fn publish_appended(&self, seq: u64) {
        self.appended.store(seq, Ordering::SeqCst);
        self.reader.wake();
    }

    /// Ends the reader's current wait, or its next one.
    pub fn interrupt_reader(&self) {
        if !self.reader_interrupted.swap(true, Ordering::SeqCst) {
            self.reader.wake();
        }
    }

    /// Blocks until there is a record after `after_seq` (then it returns true), the reader is interrupted, the spool is
    /// closed, or the time is over.
    pub fn wait_for_record(&self, after_seq: u64, timeout: Duration) -> bool {
        let find = || {
            if self.appended.load(Ordering::SeqCst) > after_seq {
                return Some(true);
            }
            let interrupted = self.reader_interrupted.swap(false, Ordering::SeqCst);
            (interrupted || self.closed.load(Ordering::SeqCst)).then_some(false)
        };
        self.reader.wait(timeout, find).unwrap_or(false)
    }
}

/// Lets one thread wait for what others do. Waking it costs little while it does not wait.
#[derive(Default)]
pub(super) struct Wakeup {
    waits: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Wakeup {
    /// Wakes the thread if it waits.
    pub fn wake(&self) {
        if self.waits.load(Ordering::SeqCst)
            && self.waits.swap(false, Ordering::SeqCst)
            && let Some(thread) = &*self.thread.lock().expect("no holder panics")
        {
            thread.unpark();
        }
    }

    /// Blocks the calling thread until `find`, which runs at each wake-up, returns something or the time is over.
    pub fn wait<T>(&self, timeout: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        *self.thread.lock().expect("no holder panics") = Some(std::thread::current());
        loop {
            self.waits.store(true, Ordering::SeqCst);
            // The flag is set before `find` runs. So a thread that adds work later sees the flag and wakes this one.
            let found = find();
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                self.waits.store(false, Ordering::SeqCst);
                return found;
            }
            std::thread::park_timeout(left);
        }
    }
}

/// Locks a handle. After a panic in another thread it is usable: it is as it was, or empty.
pub(super) fn lock_handle(handle: &Handle) -> MutexGuard<'_, Option<Database>> {
    handle.lock().unwrap_or_else(PoisonError::into_inner)
}
