//! The forwarder's metrics.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Registry, exponential_buckets,
    register_histogram_with_registry, register_int_counter_vec_with_registry, register_int_counter_with_registry,
    register_int_gauge_with_registry,
};

/// Different fields that are told apart in the metric of undeclared ones; the rest is counted as `other`.
const FIELDS: usize = 1000;

/// Handles on the forwarder's metrics; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    published: IntCounterVec,
    publish_seconds: Histogram,
    pub(super) replayed: IntCounter,
    pub(super) skipped: IntCounter,
    pub(super) producers: IntCounterVec,
    pub(super) dead_letters: IntCounterVec,
    pub(super) refused: IntCounterVec,
    pub(super) connected: IntGauge,
    pub(super) duplicates: IntCounterVec,
    pub(super) sequence_gaps: IntCounterVec,
    pub(super) sequence_disorder: IntCounterVec,
    pub(super) sequence_groups: IntGauge,
    unmapped: IntCounterVec,
    fields: Arc<Mutex<HashSet<String>>>,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Metrics> {
        let latency = HistogramOpts::new(
            "imbridge_publish_seconds",
            "Time from a callback's arrival to its delivery report.",
        )
        .buckets(exponential_buckets(0.001, 2.0, 20)?);
        Ok(Metrics {
            published: register_int_counter_vec_with_registry!(
                "imbridge_messages_published_total",
                "Messages that Kafka has acknowledged.",
                &["topic"],
                registry
            )?,
            publish_seconds: register_histogram_with_registry!(latency, registry)?,
            replayed: register_int_counter_with_registry!(
                "imbridge_messages_replayed_total",
                "Messages gone through again after a start or a fault.",
                registry
            )?,
            skipped: register_int_counter_with_registry!(
                "imbridge_messages_skipped_total",
                "Replayed messages that were found in Kafka and not sent again.",
                registry
            )?,
            producers: register_int_counter_vec_with_registry!(
                "imbridge_producer_rebuilds_total",
                "Producers given up, by what went wrong.",
                &["reason"],
                registry
            )?,
            dead_letters: register_int_counter_vec_with_registry!(
                "imbridge_dead_letters_total",
                "Events that went to the dead-letter topic.",
                &["provider", "reason"],
                registry
            )?,
            refused: register_int_counter_vec_with_registry!(
                "imbridge_refused_total",
                "Events that Kafka refused for good, and that became dead letters.",
                &["topic", "error"],
                registry
            )?,
            connected: register_int_gauge_with_registry!(
                "imbridge_kafka_connected",
                "1 while there is a producer with fitting topics, else 0.",
                registry
            )?,
            duplicates: register_int_counter_vec_with_registry!(
                "imbridge_duplicates_dropped_total",
                "Events that were dropped as copies of earlier ones.",
                &["provider", "command"],
                registry
            )?,
            sequence_gaps: register_int_counter_vec_with_registry!(
                "imbridge_sequence_gaps_total",
                "Numbers that were missing between two messages of a group when the later one came.",
                &["provider"],
                registry
            )?,
            sequence_disorder: register_int_counter_vec_with_registry!(
                "imbridge_sequence_disorder_total",
                "Messages of a group whose number was not above the highest before.",
                &["provider"],
                registry
            )?,
            sequence_groups: register_int_gauge_with_registry!(
                "imbridge_sequence_groups",
                "Groups whose last message number is remembered.",
                registry
            )?,
            unmapped: register_int_counter_vec_with_registry!(
                "imbridge_unmapped_fields_total",
                "JSON values that the command's schema does not declare or cannot hold.",
                &["provider", "command", "field"],
                registry
            )?,
            fields: Arc::default(),
        })
    }

    /// Counts a message that Kafka has acknowledged, and how long after its callback's arrival.
    pub(super) fn published(&self, topic: &str, received_at_ms: i64, now_ms: i64) {
        self.published.with_label_values(&[topic]).inc();
        self.publish_seconds
            .observe((now_ms - received_at_ms).max(0) as f64 / 1000.0);
    }

    /// Counts a value that travels in `unmapped`. The number of different labels is bounded.
    pub(super) fn unmapped(&self, provider: &str, command: &str, field: &str) {
        let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{provider}/{command}/{field}");
        let known = fields.contains(&name) || (fields.len() < FIELDS && field.len() <= 200 && fields.insert(name));
        drop(fields);
        self.unmapped
            .with_label_values(&[provider, command, if known { field } else { "other" }])
            .inc();
    }
}
