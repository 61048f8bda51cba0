//! What the spool's threads tell one another: the positions, the health, what the forwarder reported. No I/O here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Whether a record can be made durable now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The last commit was synced and there is room.
    Accepting,
    /// The spool holds as much as it may; it accepts again when the forwarder has delivered some.
    Full {
        /// Bytes in use.
        used_bytes: u64,
        /// The configured bound, `spool.max_bytes`.
        max_bytes: u64,
    },
    /// A commit failed; nothing is acknowledged until the file has been opened and synced again.
    Broken(String),
}

/// Progress that the next commit writes down.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub delivered: u64,
    pub notes: Vec<(String, String)>,
}

/// Positions, each a sequence number: `appended >= delivered >= retired`. A record is visible here only once it is
/// durable.
#[derive(Debug)]
pub(super) struct Shared {
    pub appended: AtomicU64,
    pub delivered: AtomicU64,
    pub retired: AtomicU64,
    pub used_bytes: AtomicU64,
    pub closed: AtomicBool,
    accepting: AtomicBool,
    health: Mutex<Health>,
    progress: Mutex<Option<Progress>>,
    reader_waits: AtomicBool,
    reader_lock: Mutex<()>,
    reader_wake: Condvar,
}

impl Shared {
    pub fn new(appended: u64, delivered: u64, retired: u64) -> Shared {
        Shared {
            appended: appended.into(),
            delivered: delivered.into(),
            retired: retired.into(),
            used_bytes: 0.into(),
            closed: false.into(),
            accepting: true.into(),
            health: Mutex::new(Health::Accepting),
            progress: Mutex::new(None),
            reader_waits: false.into(),
            reader_lock: Mutex::new(()),
            reader_wake: Condvar::new(),
        }
    }

    /// The cheap form of [`Shared::health`] for every append.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire)
    }

    pub fn health(&self) -> Health {
        self.health.lock().expect("no holder panics").clone()
    }

    pub fn set_health(&self, health: Health) {
        self.accepting.store(health == Health::Accepting, Ordering::Release);
        *self.health.lock().expect("no holder panics") = health;
    }

    /// Leaves progress for the writer; true when it was not waiting for the writer already.
    pub fn leave_progress(&self, delivered: u64, notes: Vec<(String, String)>) -> bool {
        let mut slot = self.progress.lock().expect("no holder panics");
        let fresh = slot.is_none();
        let progress = slot.get_or_insert_default();
        progress.delivered = progress.delivered.max(delivered);
        progress.notes.extend(notes);
        fresh
    }

    pub fn take_progress(&self) -> Option<Progress> {
        self.progress.lock().expect("no holder panics").take()
    }

    /// Makes the records up to `seq` visible and wakes the reader if it waits.
    pub fn publish_appended(&self, seq: u64) {
        self.appended.store(seq, Ordering::SeqCst);
        if self.reader_waits.load(Ordering::SeqCst) {
            self.wake_reader();
        }
    }

    pub fn wake_reader(&self) {
        let _guard = self.reader_lock.lock().expect("no holder panics");
        self.reader_wake.notify_all();
    }

    /// Blocks until there is a record after `seq`, the spool is closed, or the time is over; true in the first case.
    pub fn wait_for_record(&self, after_seq: u64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut guard = self.reader_lock.lock().expect("no holder panics");
        self.reader_waits.store(true, Ordering::SeqCst);
        let found = loop {
            if self.appended.load(Ordering::SeqCst) > after_seq {
                break true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.closed.load(Ordering::SeqCst) {
                break false;
            }
            guard = self.reader_wake.wait_timeout(guard, left).expect("no holder panics").0;
        };
        self.reader_waits.store(false, Ordering::SeqCst);
        found
    }
}
