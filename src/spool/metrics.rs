//! The spool's metrics.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Registry, exponential_buckets, register_gauge_with_registry,
    register_histogram_with_registry, register_int_counter_with_registry, register_int_gauge_with_registry,
};

/// Handles on the spool's metrics; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    pub(super) records: IntGauge,
    pub(super) bytes: IntGauge,
    pub(super) max_bytes: IntGauge,
    pub(super) room_bytes: IntGauge,
    pub(super) wal_bytes: IntGauge,
    pub(super) wal_pinned_seconds: Gauge,
    pub(super) oldest_age_seconds: Gauge,
    pub(super) delivery_stalled_seconds: Gauge,
    pub(super) commit_seconds: Histogram,
    pub(super) batch_records: Histogram,
    pub(super) commit_errors: IntCounter,
    pub(super) repairs: IntCounter,
    pub(super) lost: IntCounter,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Metrics> {
        let commit = HistogramOpts::new(
            "imbridge_spool_commit_seconds",
            "Time of one group commit, with its sync.",
        )
        .buckets(exponential_buckets(0.0001, 2.0, 16)?);
        let batch = HistogramOpts::new(
            "imbridge_spool_commit_records",
            "Records made durable by one group commit.",
        )
        .buckets(exponential_buckets(1.0, 2.0, 13)?);
        Ok(Metrics {
            records: register_int_gauge_with_registry!(
                "imbridge_spool_records",
                "Records in the spool that are not delivered.",
                registry
            )?,
            bytes: register_int_gauge_with_registry!(
                "imbridge_spool_bytes",
                "Bytes in use in the spool's file, delivered and not yet deleted ones included.",
                registry
            )?,
            max_bytes: register_int_gauge_with_registry!(
                "imbridge_spool_max_bytes",
                "The configured spool.max_bytes.",
                registry
            )?,
            room_bytes: register_int_gauge_with_registry!(
                "imbridge_spool_room_bytes",
                "Bytes that the spool still takes: what spool.max_bytes leaves, or the disk above spool.min_free_bytes.",
                registry
            )?,
            wal_bytes: register_int_gauge_with_registry!(
                "imbridge_spool_wal_bytes",
                "Length of the WAL beside the spool's file.",
                registry
            )?,
            wal_pinned_seconds: register_gauge_with_registry!(
                "imbridge_spool_wal_pinned_seconds",
                "For how long somebody's read has kept the WAL from being copied and begun anew; 0 when nobody's does.",
                registry
            )?,
            oldest_age_seconds: register_gauge_with_registry!(
                "imbridge_spool_oldest_age_seconds",
                "Age of the oldest record that is not delivered, by the machine's clock; 0 when there is none.",
                registry
            )?,
            delivery_stalled_seconds: register_gauge_with_registry!(
                "imbridge_delivery_stalled_seconds",
                "For how long records have waited without one being delivered, by the monotonic clock; 0 when none waits.",
                registry
            )?,
            commit_seconds: register_histogram_with_registry!(commit, registry)?,
            batch_records: register_histogram_with_registry!(batch, registry)?,
            commit_errors: register_int_counter_with_registry!(
                "imbridge_spool_commit_errors_total",
                "Group commits that failed; each latches the spool until it is opened again.",
                registry
            )?,
            repairs: register_int_counter_with_registry!(
                "imbridge_spool_repairs_total",
                "Damaged files that were replaced by a whole one; the old ones are in the quarantine.",
                registry
            )?,
            lost: register_int_counter_with_registry!(
                "imbridge_spool_lost_records_total",
                "Records that a damaged file no longer held; each becomes a dead letter.",
                registry
            )?,
        })
    }
}
