//! Exports spans to an OpenTelemetry collector: OTLP over HTTP in JSON, on a thread of its own. If the collector is slow or down,
//! spans are dropped and counted; nothing else is affected.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use prometheus::{IntCounter, IntCounterVec, Registry};
use serde_json::{Value, json};
use tracing::warn;
use ureq::Agent;

use crate::callback::{Span, Spans};
use crate::lifecycle::{Stop, metrics};

/// The most spans that wait for the collector.
const QUEUE: usize = 8192;
/// The most spans in one request.
const BATCH: usize = 512;
/// The longest time that a span waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// The time between two checks whether to stop.
const STOP_CHECK: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(2);
/// `SpanKind` of OTLP.
const SERVER: u8 = 2;
const PRODUCER: u8 = 4;

metrics! {
    /// The exporter's metrics.
    struct Metrics {
        /// Spans that were dropped: the queue was full, or the collector did not accept them.
        dropped: IntCounterVec["reason"] = "imbridge_spans_dropped_total";
        /// Spans that the collector has accepted.
        exported: IntCounter = "imbridge_spans_exported_total";
    }
}

/// The exporter's thread.
pub(super) struct Exporter {
    thread: JoinHandle<()>,
    stop: Stop,
}

/// The queue for spans, and their exporter. Without a collector, the queue drops every span.
pub(super) fn start(endpoint: Option<&str>, registry: &Registry) -> anyhow::Result<(Spans, Option<Exporter>)> {
    let Some(endpoint) = endpoint else {
        return Ok((Spans::default(), None));
    };
    let Metrics { dropped, exported } = Metrics::new(registry)?;
    let (spans, queue) = Spans::with_capacity(QUEUE, dropped.with_label_values(&["full"]));
    let stop = Stop::default();
    let sender = BatchSender {
        url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        agent: Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .build()
            .new_agent(),
        queue,
        dropped,
        exported,
        stop: stop.clone(),
        failures: 0,
    };
    let thread = std::thread::Builder::new()
        .name("otlp".into())
        .spawn(move || sender.run())?;
    Ok((spans, Some(Exporter { thread, stop })))
}

impl Exporter {
    /// Exports the remaining spans, while the collector accepts them, and ends the thread.
    pub fn finish(self) {
        self.stop.raise();
        if self.thread.join().is_err() {
            warn!("the exporter of spans panicked");
        }
    }
}

/// The state of the thread.
struct BatchSender {
    url: String,
    agent: Agent,
    queue: Receiver<Span>,
    dropped: IntCounterVec,
    exported: IntCounter,
    stop: Stop,
    /// Failed requests in a row.
    failures: u64,
}

impl BatchSender {
    fn run(mut self) {
        loop {
            let batch = self.batch();
            if !batch.is_empty() {
                self.export(&batch);
            }
            if self.stop.is_raised() && (self.queue.is_empty() || self.failures > 0) {
                return;
            }
        }
    }

    /// The spans that arrive within `LINGER`.
    fn batch(&self) -> Vec<Span> {
        let mut batch = Vec::new();
        let deadline = Instant::now() + LINGER;
        while batch.len() < BATCH && Instant::now() < deadline && !self.stop.is_raised() {
            match self.queue.recv_timeout(STOP_CHECK) {
                Ok(span) => batch.push(span),
                Err(RecvTimeoutError::Timeout) => {}
                // Every sender of spans is dropped.
                Err(RecvTimeoutError::Disconnected) => self.stop.raise(),
            }
        }
        batch.extend(self.queue.try_iter().take(BATCH - batch.len()));
        batch
    }

    fn export(&mut self, batch: &[Span]) {
        let request = self.agent.post(&self.url).header("content-type", "application/json");
        match request.send(request_body(batch).to_string()) {
            Ok(_) => {
                self.failures = 0;
                self.exported.inc_by(batch.len() as u64);
            }
            Err(cause) => {
                self.failures += 1;
                self.dropped.with_label_values(&["export"]).inc_by(batch.len() as u64);
                // An outage of hours writes a few lines only.
                if self.failures.is_power_of_two() {
                    warn!(url = self.url, %cause, attempts = self.failures, "the collector does not accept spans; they are dropped");
                }
            }
        }
    }
}

/// OTLP's `ExportTraceServiceRequest`.
fn request_body(batch: &[Span]) -> Value {
    let ids = RandomState::new();
    let spans: Vec<Value> = (0u64..)
        .zip(batch)
        .map(|(number, span)| json_of(span, &ids, number))
        .collect();
    let resource = [
        ("service.name", "imbridge"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    json!({"resourceSpans": [{
        "resource": {"attributes": resource.map(|(key, value)| attribute(key, value))},
        "scopeSpans": [{"scope": {"name": "imbridge"}, "spans": spans}],
    }]})
}

fn json_of(span: &Span, ids: &RandomState, number: u64) -> Value {
    let mut hasher = ids.build_hasher();
    hasher.write_u64(number);
    let attributes = span.attributes.iter().map(|(key, value)| attribute(key, value));
    json!({
        "traceId": span.trace.trace_id(),
        // Zero is not a valid id.
        "spanId": format!("{:016x}", hasher.finish().max(1)),
        "parentSpanId": span.trace.span_id(),
        "traceState": span.trace.state.as_deref().unwrap_or_default(),
        "flags": 1,
        "name": span.name,
        "kind": if span.name == "receive" { SERVER } else { PRODUCER },
        "startTimeUnixNano": unix_ns(span.started),
        "endTimeUnixNano": unix_ns(span.ended.max(span.started)),
        "attributes": attributes.collect::<Vec<_>>(),
    })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// As a string, as OTLP's JSON encodes 64-bit integers.
fn unix_ns(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}
