//! The forwarder's metrics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, exponential_buckets};

use crate::lifecycle::metrics;

/// The most fields with a label of their own in the metric of undeclared fields; others are counted as `other`.
const FIELDS_MAX: usize = 1000;
/// Longer names are counted as `other` too.
const FIELD_BYTES_MAX: usize = 200;

metrics! {
    /// Handles on the forwarder's metrics; cheap to clone.
    pub struct Metrics {
        /// Messages that Kafka has acknowledged.
        published: IntCounterVec["topic"] = "imbridge_messages_published_total";
        /// Time from a callback's arrival to its delivery report.
        publish_seconds: Histogram = "imbridge_publish_seconds", exponential_buckets(0.001, 2.0, 20);
        /// Messages that were composed again after a start or a fault. Timeline messages are not counted here, nor as skipped.
        pub(super) replayed: IntCounter = "imbridge_messages_replayed_total";
        /// Messages that were composed again, found in Kafka and not sent a second time.
        pub(super) skipped: IntCounter = "imbridge_messages_skipped_total";
        /// Producers that were given up, by the fault.
        pub(super) producers: IntCounterVec["reason"] = "imbridge_producer_rebuilds_total";
        /// Events that became dead letters.
        pub(super) dead_letters: IntCounterVec["provider", "reason"] = "imbridge_dead_letters_total";
        /// Events that became dead letters because Kafka refused them for good.
        pub(super) refused: IntCounterVec["topic", "error"] = "imbridge_refused_total";
        /// Events that are not in the timeline because Kafka refused them there for good.
        pub(super) timeline_left_out: IntCounterVec["error"] = "imbridge_timeline_left_out_total";
        /// 1 while a producer is connected and reaches a broker, else 0.
        pub(super) connected: IntGauge = "imbridge_kafka_connected";
        /// Events that were dropped as copies of earlier events.
        pub(super) duplicates: IntCounterVec["provider", "command"] = "imbridge_duplicates_dropped_total";
        /// Message numbers of groups that were missing when a later message came.
        pub(super) sequence_gaps: IntCounterVec["provider"] = "imbridge_sequence_gaps_total";
        /// Messages whose number was not above the highest of their group.
        pub(super) sequence_disorder: IntCounterVec["provider"] = "imbridge_sequence_disorder_total";
        /// Groups whose last message number is remembered.
        pub(super) sequence_groups: IntGauge = "imbridge_sequence_groups";
        /// JSON values that the command's schema does not declare or cannot hold.
        unmapped: IntCounterVec["provider", "command", "field"] = "imbridge_unmapped_fields_total";
        fields: Arc<Mutex<Fields>>;
    }
}

impl Metrics {
    /// Counts a message that Kafka has acknowledged, and the time since its callback's arrival.
    pub(super) fn published(&self, topic: &str, received_at_ms: i64, now_ms: i64) {
        self.published.with_label_values(&[topic]).inc();
        self.publish_seconds
            .observe((now_ms - received_at_ms).max(0) as f64 / 1000.0);
    }

    /// Counts a value in a record's `unmapped`. The number of labels is bounded.
    pub(super) fn unmapped(&self, provider: &str, command: &str, field: &str) {
        let fields = &mut *self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        fields.path.clear();
        for part in [provider, "/", command, "/", field] {
            fields.path.push_str(part);
        }
        if let Some(counter) = fields.counters.get(&fields.path) {
            return counter.inc();
        }
        let is_told_apart = fields.counters.len() < FIELDS_MAX && field.len() <= FIELD_BYTES_MAX;
        let field = if is_told_apart { field } else { "other" };
        let counter = self.unmapped.with_label_values(&[provider, command, field]);
        counter.inc();
        if is_told_apart {
            fields.counters.insert(fields.path.clone(), counter);
        }
    }
}

/// The counters of undeclared fields, by `provider/command/field`: looked up 0.3 us sooner than by their labels.
#[derive(Default)]
pub(super) struct Fields {
    counters: HashMap<String, IntCounter>,
    /// The last path that was looked up.
    path: String,
}
