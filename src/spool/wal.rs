//! The second thread on the file: copies the WAL into it while the writer goes on, so that commits do not stall, and
//! keeps the gauges of what waits: how much, since when, and for how long without a delivery.

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
/// A smaller WAL is left for a while: each WAL checkpoint costs two syncs.
const WORTH_IT_BYTES: u64 = 8 << 20;

pub(super) struct WalCheckpointer {
    pub path: PathBuf,
    pub handle: Handle,
    /// Ticks that have failed in a row.
    pub failures: u64,
    pub stall: Stall,
    pub shared: Arc<Shared>,
    pub metrics: Metrics,
}

impl WalCheckpointer {
    pub fn run(mut self) {
        while !self.shared.closed.load(Ordering::SeqCst) {
            std::thread::park_timeout(TICK);
            self.watch_delivery();
            let outcome = self.tick(&mut use_handle(&self.handle));
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
    }

    fn tick(&self, handle: &mut Option<Database>) -> Result<(), DatabaseError> {
        // Put back at the end: after a failure it is opened anew.
        let database = match handle.take() {
            Some(database) => database,
            None => Database::open(&self.path)?,
        };
        if database.checkpoint_wal("NOOP")? >= WORTH_IT_BYTES {
            database.checkpoint_wal("PASSIVE")?;
        }
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
