//! The second thread on the file: copies the WAL into it while the writer goes on, so that commits do not stall, and
//! keeps the gauges of what waits: how much, since when, for how long without a delivery, and whether answers do.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::database::{Database, DatabaseError};
use super::metrics::Metrics;
use super::shared::{Handle, Shared, use_handle};
use super::stall::Stall;
use crate::lifecycle::unix_ms;

const TICK: Duration = Duration::from_millis(100);
/// Of failures in a row, the first is logged, and then about one a minute.
const LOGGED_EVERY: u64 = 600;
/// Somebody who reads for longer keeps the WAL from being copied and begun anew: it is said, and again after as long.
const PINNED: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// A smaller WAL is left for a while: each WAL checkpoint costs two syncs.
const WORTH_IT_BYTES: u64 = 8 << 20;

pub(super) struct WalCheckpointer {
    pub path: PathBuf,
    pub handle: Handle,
    /// Ticks that have failed in a row.
    pub failures: u64,
    pub stall: Stall,
    /// For how long the copy has not come further, and how long that was when it was said last.
    pub pin: (Stall, Duration),
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
            let outcome = self.tick(&mut use_handle(&handle));
            match outcome {
                Ok(()) if self.failures > 0 => {
                    info!(failures = self.failures, "the spool's WAL is copied again");
                    self.failures = 0;
                }
                Ok(()) => {}
                Err(cause) => {
                    if self.failures.is_multiple_of(LOGGED_EVERY) {
                        warn!(%cause, "the spool's WAL could not be copied or its age not be read; it is tried again and again");
                    }
                    self.failures += 1;
                }
            }
        }
    }

    /// Before the file is used: a disk that does not answer must not hide that nothing is delivered.
    fn watch_delivery(&mut self) {
        let delivered = self.shared.delivered.load(Ordering::SeqCst);
        let appended = self.shared.appended.load(Ordering::SeqCst);
        let stalled = self.stall.observe(appended, delivered, Instant::now());
        self.metrics.delivery_stalled_seconds.set(stalled.as_secs_f64());
        self.metrics.breaker_open.set(self.shared.confirmed.is_open().into());
    }

    /// A read that began long ago sees what the file was then; what came since cannot be copied over it.
    fn watch_wal(&mut self, (wal_bytes, copied): (u64, u64)) {
        let (pin, said) = &mut self.pin;
        let pinned = pin.observe(wal_bytes, copied, Instant::now());
        self.metrics.wal_pinned_seconds.set(pinned.as_secs_f64());
        let length = std::fs::metadata(self.path.with_extension("db-wal")).map_or(0, |wal| wal.len());
        self.metrics.wal_bytes.set(length as i64);
        if pinned < *said {
            *said = Duration::ZERO;
            info!("nobody's read keeps the spool's WAL from being copied any longer");
        }
        let due = if said.is_zero() { PINNED[0] } else { *said + PINNED[1] };
        if pinned >= due {
            *said = pinned;
            warn!(
                seconds = pinned.as_secs(),
                wal_bytes = length,
                "somebody keeps a read of the spool's file open, so its WAL grows and takes the disk's room: end that sqlite3, backup or the like; `fuser {}` names it",
                self.path.display()
            );
        }
    }

    fn tick(&mut self, handle: &mut Option<Database>) -> Result<(), DatabaseError> {
        // Put back at the end: after a failure it is opened anew.
        let database = match handle.take() {
            Some(database) => database,
            None => Database::open(&self.path)?,
        };
        let mut wal = database.checkpoint_wal("NOOP")?;
        if wal.0 < WORTH_IT_BYTES {
            wal = (0, 0);
        } else {
            database.checkpoint_wal("PASSIVE")?;
            // Looked at again: beside another thread's, a WAL checkpoint says nothing.
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
