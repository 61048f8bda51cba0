//! The spool's metrics.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge, exponential_buckets};

use crate::lifecycle::metrics;

metrics! {
    /// Handles on the spool's metrics. Clones are cheap.
    pub struct Metrics {
        /// Records in the spool that are not delivered.
        pub(super) records: IntGauge = "imbridge_spool_records";
        /// Bytes in use in the spool's file, delivered records that are not yet deleted included.
        pub(super) bytes: IntGauge = "imbridge_spool_bytes";
        /// The configured spool.max_bytes.
        pub(super) max_bytes: IntGauge = "imbridge_spool_max_bytes";
        /// Bytes that the spool can still accept before spool.max_bytes or spool.min_free_bytes is reached.
        pub(super) room_bytes: IntGauge = "imbridge_spool_room_bytes";
        /// Length of the WAL beside the spool's file.
        pub(super) wal_bytes: IntGauge = "imbridge_spool_wal_bytes";
        /// For how long another process's read has kept the WAL from being copied into the file; 0 when there is none.
        pub(super) wal_pinned_seconds: Gauge = "imbridge_spool_wal_pinned_seconds";
        /// Age of the oldest record that is not delivered, by the machine's clock; 0 when there is none.
        pub(super) oldest_age_seconds: Gauge = "imbridge_spool_oldest_age_seconds";
        /// For how long records have waited without a delivery, by the monotonic clock; 0 when none waits.
        pub(super) delivery_stalled_seconds: Gauge = "imbridge_delivery_stalled_seconds";
        /// 1 while answers do not wait for Kafka because it was too slow; only with server.answer_after = "kafka".
        pub(super) breaker_open: IntGauge = "imbridge_answer_breaker_open";
        /// Time of one group commit, with its sync.
        pub(super) commit_seconds: Histogram = "imbridge_spool_commit_seconds", exponential_buckets(0.0001, 2.0, 16);
        /// Records made durable by one group commit.
        pub(super) batch_records: Histogram = "imbridge_spool_commit_records", exponential_buckets(1.0, 2.0, 13);
        /// Group commits that failed. After each one, nothing is accepted until the spool has been opened again.
        pub(super) commit_errors: IntCounter = "imbridge_spool_commit_errors_total";
        /// Damaged files that were replaced by a repaired one. The damaged files are in the folder quarantine.
        pub(super) repairs: IntCounter = "imbridge_spool_repairs_total";
        /// Records that were lost in a damaged file. Each becomes a dead letter.
        pub(super) lost: IntCounter = "imbridge_spool_lost_records_total";
    }
}
