//! The second thread on the file: copies the WAL into it while the writer goes on, so that commits do not stall, and
//! looks up the oldest record's age for the metrics.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::warn;

use super::database::{Database, DatabaseError};
use super::metrics::Metrics;
use super::shared::Shared;
use crate::lifecycle::unix_ms;

const TICK: Duration = Duration::from_millis(100);
/// A smaller WAL is left for a while: each WAL checkpoint costs two syncs.
const WORTH_IT_BYTES: u64 = 8 << 20;

pub(super) struct WalCheckpointer {
    pub path: PathBuf,
    pub shared: Arc<Shared>,
    pub metrics: Metrics,
}

impl WalCheckpointer {
    pub fn run(self) {
        let mut database = None;
        while !self.shared.closed.load(Ordering::SeqCst) {
            std::thread::park_timeout(TICK);
            if let Err(cause) = self.tick(&mut database) {
                warn!(%cause, "the spool's WAL checkpoint failed; it is tried again");
                database = None;
            }
        }
    }

    fn tick(&self, slot: &mut Option<Database>) -> Result<(), DatabaseError> {
        let database = match slot {
            Some(database) => database,
            None => slot.insert(Database::open(&self.path)?),
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
        Ok(())
    }
}
