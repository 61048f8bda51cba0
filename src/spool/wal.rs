//! The WAL checkpointer: a second thread that copies the WAL into the file while the writer goes on, so that commits do
//! not stall. It also updates the gauges: records that wait, their age, the time without a delivery, and the breaker.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::database::{Database, DatabaseError, WalState, file_bytes};
use super::metrics::Metrics;
use super::shared::{Handle, Shared, lock_handle};
use super::stall::Stall;
use crate::lifecycle::unix_ms;

const TICK: Duration = Duration::from_millis(100);
/// Of failures in a row, every 600th is logged: the first one, and then about one a minute.
const LOGGED_EVERY: u64 = 600;
/// A read that keeps the WAL from being copied is logged after the first time, and again each time the second one
/// passes.
const PINNED: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// A smaller WAL is not copied yet: each WAL checkpoint costs two syncs.
const MIN_COPIED_BYTES: u64 = 8 << 20;

pub(super) struct WalCheckpointer {
    pub path: PathBuf,
    pub handle: Handle,
    /// Ticks that have failed in a row.
    pub failures: u64,
    /// For how long nothing was delivered.
    pub stall: Stall,
    /// For how long the copy has made no progress.
    pub pin: Stall,
    /// How long that was when it was last logged.
    pub logged_pin: Duration,
    pub shared: Arc<Shared>,
    pub metrics: Metrics,
}

impl WalCheckpointer {
    pub fn run(mut self) {
        while !self.shared.closed.load(Ordering::SeqCst) {
            std::thread::park_timeout(TICK);
            if self.shared.name.get().is_none() {
                continue;
            }
            self.watch_delivery();
            let handle = Arc::clone(&self.handle);
            let outcome = self.tick(&mut lock_handle(&handle));
            match outcome {
                Ok(()) if self.failures > 0 => {
                    info!(failures = self.failures, "the spool's WAL is copied again");
                    self.failures = 0;
                }
                Ok(()) => {}
                Err(cause) => {
                    if self.failures.is_multiple_of(LOGGED_EVERY) {
                        warn!(%cause, "the spool's WAL could not be copied, or the age of its records not be read; this is retried");
                    }
                    self.failures += 1;
                }
            }
        }
    }

    /// Runs before the file is used: a disk that does not answer must not hide that nothing is delivered.
    fn watch_delivery(&mut self) {
        let delivered = self.shared.delivered.load(Ordering::SeqCst);
        let appended = self.shared.appended.load(Ordering::SeqCst);
        let stalled = self.stall.observe(appended, delivered, Instant::now());
        self.metrics.delivery_stalled_seconds.set(stalled.as_secs_f64());
        self.metrics.breaker_open.set(self.shared.confirmed.is_open().into());
    }

    /// Reports another process's long read. SQLite does not copy the WAL beyond what the oldest read sees.
    fn watch_wal(&mut self, wal: WalState) {
        let pinned = self.pin.observe(wal.bytes, wal.copied_bytes, Instant::now());
        self.metrics.wal_pinned_seconds.set(pinned.as_secs_f64());
        let length = file_bytes(&self.path.with_extension("db-wal"));
        self.metrics.wal_bytes.set(length as i64);
        if pinned < self.logged_pin {
            self.logged_pin = Duration::ZERO;
            info!("no other read keeps the spool's WAL from being copied any longer");
        }
        let is_first = self.logged_pin.is_zero();
        let due = if is_first {
            PINNED[0]
        } else {
            self.logged_pin + PINNED[1]
        };
        if pinned >= due {
            self.logged_pin = pinned;
            warn!(
                seconds = pinned.as_secs(),
                wal_bytes = length,
                "another process keeps a read of the spool's file open, so its WAL grows and fills the disk; end that sqlite3, backup or similar process: `fuser {}` finds it",
                self.path.display()
            );
        }
    }

    fn tick(&mut self, handle: &mut Option<Database>) -> Result<(), DatabaseError> {
        // It is put back at the end only, so that it is opened again after a failure.
        let database = match handle.take() {
            Some(database) => database,
            None => Database::open(&self.path)?,
        };
        let mut wal = database.checkpoint_wal("NOOP")?;
        if wal.bytes < MIN_COPIED_BYTES {
            wal = WalState::default();
        } else {
            database.checkpoint_wal("PASSIVE")?;
            // Read again: a WAL checkpoint beside another thread's reports no lengths.
            wal = database.checkpoint_wal("NOOP")?;
        }
        self.watch_wal(wal);
        let delivered = self.shared.delivered.load(Ordering::SeqCst);
        let oldest = database.appended_at_ms(delivered)?;
        let now_ms = unix_ms();
        let age_s = oldest.map_or(0.0, |at| (now_ms - at).max(0) as f64 / 1000.0);
        self.metrics.oldest_age_seconds.set(age_s);
        let depth = self.shared.appended.load(Ordering::SeqCst).saturating_sub(delivered);
        self.metrics.records.set(depth as i64);
        self.metrics
            .bytes
            .set(self.shared.used_bytes.load(Ordering::Relaxed) as i64);
        *handle = Some(database);
        Ok(())
    }
}
