//! What the spool's threads tell one another: the positions, the health, what the forwarder reported. No I/O here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::confirmed::Confirmed;
use super::database::{Database, State};
use super::queue::{AppendError, LaneQueue};

/// Whether a record can be made durable now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The last commit was synced and there is room.
    Accepting,
    /// The spool holds as much as it may; it accepts again when the forwarder has delivered some.
    Full(String),
    /// A commit failed; nothing is acknowledged until the file has been opened and synced again.
    Broken(String),
    /// The file was not open yet since the start: it is being looked through, or waits for what this says.
    Opening(String),
}

impl Default for Health {
    fn default() -> Health {
        Health::Opening("the file is being opened".into())
    }
}

impl Health {
    /// Why not, as a word and in a sentence.
    pub fn problem(self) -> Option<(&'static str, String)> {
        match self {
            Health::Accepting => None,
            Health::Full(why) => Some(("spool_full", why)),
            Health::Broken(cause) => Some(("spool_broken", cause)),
            Health::Opening(how_far) => Some(("spool_opening", how_far)),
        }
    }
}

/// Progress that the next commit writes down.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub delivered: u64,
    pub notes: BTreeMap<String, String>,
}

/// A thread's handle on the file, empty until it is used. Whoever replaces the file empties all of them first: SQLite
/// removes files by name when the last handle on one is closed.
pub(super) type Handle = Arc<Mutex<Option<Database>>>;

/// Positions, each a sequence number: `appended >= delivered >= retired`. A record is visible here only once it is
/// durable.
#[derive(Default)]
pub(super) struct Shared {
    /// `<id>.<incarnation>`, once the file is open.
    pub name: OnceLock<String>,
    pub appended: AtomicU64,
    pub delivered: AtomicU64,
    pub retired: AtomicU64,
    pub used_bytes: AtomicU64,
    /// Answers that wait for more than the disk.
    pub confirmed: Confirmed,
    /// What an earlier process left on its way is being looked for, so that nothing is confirmed.
    pub recovering: AtomicBool,
    /// The bridge is about to end.
    pub leaving: AtomicBool,
    pub closed: AtomicBool,
    /// Nobody waits any longer for a file that is being opened or repaired.
    pub given_over: AtomicBool,
    /// Of a repair under way, the bytes that it has looked through, and all; 0 without one.
    looked_through: [AtomicU64; 2],
    /// Whatever the file says, nothing is accepted any more.
    given_up: AtomicBool,
    /// When the commit under way began.
    commit_began: Mutex<Option<Instant>>,
    commit_timeout: Duration,
    accepting: AtomicBool,
    health: Mutex<Health>,
    progress: Mutex<Option<Progress>>,
    lanes: Mutex<Vec<Arc<LaneQueue>>>,
    handles: Mutex<Vec<Weak<Mutex<Option<Database>>>>>,
    damage: Mutex<Option<String>>,
    writer: OnceLock<Thread>,
    writer_waits: AtomicBool,
    reader_waits: AtomicBool,
    /// Where the reader waits for a record, the number that this one must be above.
    reader_waits_after: AtomicU64,
    /// The reader is not to wait: there is something else for its thread.
    reader_called: AtomicBool,
    reader_lock: Mutex<()>,
    reader_wake: Condvar,
}

impl Shared {
    pub fn new(commit_timeout: Duration, hold: Option<Duration>) -> Shared {
        Shared {
            commit_timeout,
            confirmed: Confirmed::new(hold),
            reader_waits_after: AtomicU64::new(u64::MAX),
            ..Shared::default()
        }
    }

    /// The file is open for the first time.
    pub fn begin_at(&self, name: String, state: &State) {
        self.name.set(name).expect("a spool is opened once");
        self.delivered.store(state.delivered, Ordering::SeqCst);
        self.retired.store(state.retired, Ordering::SeqCst);
        self.confirmed.begin_at(state.delivered, state.appended);
        self.publish_appended(state.appended);
        self.set_health(Health::Accepting);
    }

    /// The cheap form of [`Shared::health`] for every append.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire)
    }

    pub fn health(&self) -> Health {
        let mut health = self.health.lock().expect("no holder panics").clone();
        let [done, all] = self
            .looked_through
            .each_ref()
            .map(|bytes| bytes.load(Ordering::Relaxed));
        if let Health::Broken(text) | Health::Opening(text) = &mut health
            && all > 0
        {
            text.push_str(&format!(": {} of {} MiB are looked through", done >> 20, all >> 20));
        }
        let commit_began = *self.commit_began.lock().expect("no holder panics");
        match commit_began.map(|began| began.elapsed()) {
            Some(age) if health == Health::Accepting && age > self.commit_timeout => {
                Health::Broken(format!("the disk has not answered for {} ms", age.as_millis()))
            }
            _ => health,
        }
    }

    /// Why callbacks should go elsewhere where there is an elsewhere: as a word and in a sentence.
    pub fn unready(&self) -> Option<(&'static str, String)> {
        let recovering = || {
            let waits = self.confirmed.limit().is_some() && self.recovering.load(Ordering::SeqCst);
            let text =
                "what was on its way when the bridge ended is being looked for, and nothing is confirmed until then";
            waits.then(|| ("recovering", text.to_owned()))
        };
        let leaving = self.leaving.load(Ordering::SeqCst);
        let leaving = leaving.then(|| ("draining", "the bridge is shutting down".to_owned()));
        leaving.or_else(|| self.health().problem()).or_else(recovering)
    }

    /// A commit begins, or has ended.
    pub fn note_commit(&self, begins: bool) {
        *self.commit_began.lock().expect("no holder panics") = begins.then(Instant::now);
    }

    pub fn set_health(&self, health: Health) {
        let mut current = self.health.lock().expect("no holder panics");
        if !self.given_up.load(Ordering::SeqCst) {
            self.accepting.store(health == Health::Accepting, Ordering::Release);
            *current = health;
        }
    }

    /// The last health there is.
    pub fn give_up(&self, reason: &str) {
        let mut current = self.health.lock().expect("no holder panics");
        self.given_up.store(true, Ordering::SeqCst);
        self.accepting.store(false, Ordering::Release);
        *current = Health::Broken(reason.to_owned());
    }

    /// The error for an append while nothing is accepted.
    pub fn why_not(&self) -> AppendError {
        match self.health() {
            Health::Full(_) => AppendError::Full,
            Health::Opening(_) => AppendError::Opening,
            _ => AppendError::Broken,
        }
    }

    /// Ends an opening or a repair that is under way.
    pub fn give_over(&self) {
        self.given_over.store(true, Ordering::SeqCst);
        self.wake_writer();
    }

    /// Notes how far a repair has come; false when nobody waits for it any longer.
    pub fn look_through(&self, done: u64, all: u64) -> bool {
        self.looked_through[0].store(done, Ordering::Relaxed);
        self.looked_through[1].store(all, Ordering::Relaxed);
        !self.given_over.load(Ordering::SeqCst)
    }

    /// A handle of one thread's own.
    pub fn open_handle(&self) -> Handle {
        let handle = Handle::default();
        let mut handles = self.handles.lock().expect("no holder panics");
        handles.retain(|handle| handle.strong_count() > 0);
        handles.push(Arc::downgrade(&handle));
        handle
    }

    /// Runs `replace` while nobody else has the file open.
    pub fn alone<T>(&self, replace: impl FnOnce() -> T) -> T {
        let handles = self.handles.lock().expect("no holder panics");
        let handles: Vec<Handle> = handles.iter().filter_map(Weak::upgrade).collect();
        let empty = |handle| {
            let mut guard = use_handle(handle);
            *guard = None;
            guard
        };
        let _guards: Vec<_> = handles.iter().map(empty).collect();
        let outcome = replace();
        self.take_damage();
        outcome
    }

    /// Somebody found the file damaged: the writer repairs it. To be called by who holds a handle.
    pub fn report_damage(&self, cause: String) {
        *self.damage.lock().expect("no holder panics") = Some(cause);
    }

    pub fn take_damage(&self) -> Option<String> {
        self.damage.lock().expect("no holder panics").take()
    }

    /// A queue that the writer takes from for as long as somebody else holds it.
    pub fn open_lane(&self) -> Arc<LaneQueue> {
        let queue = Arc::<LaneQueue>::default();
        self.lanes.lock().expect("no holder panics").push(Arc::clone(&queue));
        queue
    }

    /// Everything up to `seq` is confirmed: tells the lanes in which answers wait for it.
    pub fn confirm(&self, seq: u64) {
        if self.confirmed.confirm(seq) {
            self.tell_held();
        }
    }

    /// Lanes look again which of their answers need not wait.
    pub fn tell_held(&self) {
        let lanes = self.lanes.lock().expect("no holder panics");
        lanes.iter().for_each(|lane| lane.tell_held());
    }

    /// Everything that waits, lane by lane.
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

    /// The calling thread is the one to wake when there is something to write.
    pub fn i_am_the_writer(&self) {
        self.writer.set(std::thread::current()).expect("there is one writer");
    }

    /// Wakes the writer if it waits.
    pub fn wake_writer(&self) {
        if self.writer_waits.load(Ordering::SeqCst)
            && self.writer_waits.swap(false, Ordering::SeqCst)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }

    /// Blocks the writer until it is woken, or `find` finds something, or the time is over.
    pub fn wait_as_writer<T>(&self, timeout: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        loop {
            self.writer_waits.store(true, Ordering::SeqCst);
            // Looked for after the flag is up: whoever comes later sees the flag.
            let found = find();
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                self.writer_waits.store(false, Ordering::SeqCst);
                return found;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Leaves progress for the writer.
    pub fn leave_progress(&self, delivered: u64, notes: Vec<(String, String)>) {
        let mut slot = self.progress.lock().expect("no holder panics");
        let progress = slot.get_or_insert_default();
        progress.delivered = progress.delivered.max(delivered);
        progress.notes.extend(notes);
    }

    /// Puts back what a commit could not write; what came since is newer.
    pub fn return_progress(&self, old: Progress) {
        let mut slot = self.progress.lock().expect("no holder panics");
        let progress = slot.get_or_insert_default();
        progress.delivered = progress.delivered.max(old.delivered);
        for (key, value) in old.notes {
            progress.notes.entry(key).or_insert(value);
        }
    }

    pub fn take_progress(&self) -> Option<Progress> {
        self.progress.lock().expect("no holder panics").take()
    }

    /// Makes the records up to `seq` visible and wakes the reader if it waits.
    pub fn publish_appended(&self, seq: u64) {
        self.appended.store(seq, Ordering::SeqCst);
        if seq > self.reader_waits_after.load(Ordering::SeqCst) {
            self.wake_reader();
        }
    }

    pub fn wake_reader(&self) {
        let _guard = self.reader_lock.lock().expect("no holder panics");
        self.reader_wake.notify_all();
    }

    /// Ends the reader's wait, or its next one.
    pub fn call_reader(&self) {
        if !self.reader_called.swap(true, Ordering::SeqCst) && self.reader_waits.load(Ordering::SeqCst) {
            self.wake_reader();
        }
    }

    /// Blocks until there is a record after `seq`, somebody calls, the spool is closed, or the time is over; true in the first case.
    pub fn wait_for_record(&self, after_seq: u64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut guard = self.reader_lock.lock().expect("no holder panics");
        self.reader_waits.store(true, Ordering::SeqCst);
        self.reader_waits_after.store(after_seq, Ordering::SeqCst);
        let found = loop {
            if self.appended.load(Ordering::SeqCst) > after_seq {
                break true;
            }
            let called = self.reader_called.swap(false, Ordering::SeqCst);
            let left = deadline.saturating_duration_since(Instant::now());
            if called || left.is_zero() || self.closed.load(Ordering::SeqCst) {
                break false;
            }
            guard = self.reader_wake.wait_timeout(guard, left).expect("no holder panics").0;
        };
        self.reader_waits.store(false, Ordering::SeqCst);
        self.reader_waits_after.store(u64::MAX, Ordering::SeqCst);
        found
    }
}

/// A thread that panicked with its handle left it as it was, or empty.
pub(super) fn use_handle(handle: &Handle) -> MutexGuard<'_, Option<Database>> {
    handle.lock().unwrap_or_else(PoisonError::into_inner)
}
