//! The public port's metrics.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry,
    exponential_buckets, register_gauge_vec_with_registry, register_histogram_vec_with_registry,
    register_int_counter_vec_with_registry, register_int_gauge_with_registry,
};

use crate::callback::Spans;

/// The handles that every accepted callback of one command needs, looked up once.
#[derive(Clone)]
pub(super) struct CommandMetrics {
    pub accepted: IntCounter,
    pub turned_away: IntCounter,
    pub last_arrival: Gauge,
    pub answer_seconds: Histogram,
}

/// Handles on the public port's metrics; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    /// Requests of verified senders, by command and HTTP status.
    pub(super) requests: IntCounterVec,
    pub(super) refused: IntCounterVec,
    pub(super) connections: IntGauge,
    pub(super) held: IntGauge,
    pub(super) failed_open: IntCounterVec,
    pub(super) answer_seconds: HistogramVec,
    pub(super) last_arrival: GaugeVec,
    pub(super) spans: Spans,
}

impl Metrics {
    pub(super) fn of_command(&self, provider: &str, command: &str) -> CommandMetrics {
        CommandMetrics {
            accepted: self.requests.with_label_values(&[provider, command, "200"]),
            // There from the first callback on, at 0: a rate misses the increase that makes a series appear.
            turned_away: self.requests.with_label_values(&[provider, command, "503"]),
            last_arrival: self.last_arrival.with_label_values(&[provider, command]),
            answer_seconds: self.answer_seconds.with_label_values(&[provider]),
        }
    }

    /// Connections that ended before a request could be read: slow, silent, or no HTTP. What the server refuses by itself is
    /// seen nowhere else.
    pub(super) fn unheard(&self) -> IntCounter {
        self.refused.with_label_values(&["none", "no_request"])
    }

    /// Registers them.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Metrics> {
        let answer = HistogramOpts::new(
            "imbridge_answer_seconds",
            "Time from a request's head to its answer, body and sync included.",
        )
        .buckets(exponential_buckets(0.0005, 2.0, 14)?);
        Ok(Metrics {
            requests: register_int_counter_vec_with_registry!(
                "imbridge_requests_total",
                "Callbacks that were read, by what was answered.",
                &["provider", "command", "status"],
                registry
            )?,
            refused: register_int_counter_vec_with_registry!(
                "imbridge_requests_refused_total",
                "Requests that were not accepted.",
                &["provider", "reason"],
                registry
            )?,
            connections: register_int_gauge_with_registry!(
                "imbridge_connections",
                "Connections of callers that are open.",
                registry
            )?,
            held: register_int_gauge_with_registry!(
                "imbridge_held_bytes",
                "Bytes of bodies that are held at this moment; of server.max_held_bytes, but for those of echo commands.",
                registry
            )?,
            failed_open: register_int_counter_vec_with_registry!(
                "imbridge_failed_open_total",
                "Before-callbacks that were allowed without being durable.",
                &["provider", "command", "reason"],
                registry
            )?,
            answer_seconds: register_histogram_vec_with_registry!(answer, &["provider"], registry)?,
            last_arrival: register_gauge_vec_with_registry!(
                "imbridge_last_arrival_timestamp_seconds",
                "When this command last arrived, in Unix seconds.",
                &["provider", "command"],
                registry
            )?,
            spans: Spans::default(),
        })
    }

    /// The same, with a place for spans of what is received.
    #[must_use]
    pub fn with_spans(self, spans: Spans) -> Metrics {
        Metrics { spans, ..self }
    }
}
