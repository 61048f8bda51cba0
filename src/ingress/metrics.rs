//! The public port's metrics.

use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, exponential_buckets};

use crate::callback::Spans;
use crate::lifecycle::metrics;

/// The handles for the callbacks of one command, looked up once.
pub(super) struct CommandMetrics {
    pub accepted: IntCounter,
    pub rejected: IntCounter,
    pub last_arrival: Gauge,
    pub answer_seconds: Histogram,
}

metrics! {
    /// Handles of the public port's metrics; cheap to clone.
    pub struct Metrics {
        /// Callbacks of verified senders that were read, by the status of the answer.
        pub(super) requests: IntCounterVec["provider", "command", "status"] = "imbridge_requests_total";
        /// Requests that were not accepted.
        pub(super) refused: IntCounterVec["provider", "reason"] = "imbridge_requests_refused_total";
        /// Open connections of callers.
        pub(super) connections: IntGauge = "imbridge_connections";
        /// Bytes of bodies that are held at this moment. They count towards server.max_held_bytes, except those of echo commands.
        pub(super) held: IntGauge = "imbridge_held_bytes";
        /// Before-callbacks that were allowed without being durable.
        pub(super) failed_open: IntCounterVec["provider", "command", "reason"] = "imbridge_failed_open_total";
        /// Time from a request's head to its answer, body and fsync included.
        pub(super) answer_seconds: HistogramVec["provider"] = "imbridge_answer_seconds",
            exponential_buckets(0.0005, 2.0, 14);
        /// Time from a callback's fsync to its answer, which waits for Kafka, with server.answer_after = "kafka".
        pub(super) held_seconds: Histogram = "imbridge_answers_held_seconds", exponential_buckets(0.001, 2.0, 14);
        /// Callbacks that were answered before Kafka had them, because Kafka was slow, with server.answer_after = "kafka".
        pub(super) answered_early: IntCounterVec["provider"] = "imbridge_answered_early_total";
        /// When this command last arrived, in Unix seconds.
        pub(super) last_arrival: GaugeVec["provider", "command"] = "imbridge_last_arrival_timestamp_seconds";
        pub(super) spans: Spans;
    }
}

impl Metrics {
    pub(super) fn of_command(&self, provider: &str, command: &str) -> CommandMetrics {
        CommandMetrics {
            accepted: self.requests.with_label_values(&[provider, command, "200"]),
            // The series exists from the first callback on, at 0: a rate does not see the increase that creates a series.
            rejected: self.requests.with_label_values(&[provider, command, "503"]),
            last_arrival: self.last_arrival.with_label_values(&[provider, command]),
            answer_seconds: self.answer_seconds.with_label_values(&[provider]),
        }
    }

    /// Connections that were closed before a request could be read: slow, silent, or not HTTP. Only this counts what the HTTP
    /// server refuses by itself.
    pub(super) fn without_request(&self) -> IntCounter {
        self.refused.with_label_values(&["none", "no_request"])
    }

    /// The same metrics, with the queue for spans of received requests.
    #[must_use]
    pub fn with_spans(self, spans: Spans) -> Metrics {
        Metrics { spans, ..self }
    }
}
