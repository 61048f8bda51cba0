//! Spans of sampled callbacks, and their queue to the exporter. It does not know the exporter, and nothing waits for
//! it: when the queue is full, spans are dropped and counted.

use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, bounded};
use prometheus::IntCounter;

use super::Trace;

/// One step of a callback: its receipt, or the publishing of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The caller's trace context.
    pub trace: Trace,
    /// `receive` or `publish`.
    pub name: &'static str,
    /// When it started.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// Its attributes.
    pub attributes: Vec<(&'static str, String)>,
}

/// The sending side of the queue. Clones share the queue. The default has none, and wants no span.
#[derive(Clone, Default)]
pub struct Spans(Option<(Sender<Span>, IntCounter)>);

impl Spans {
    /// A queue for so many spans, and its receiver. `dropped` counts the spans that find it full.
    pub fn with_capacity(spans: usize, dropped: IntCounter) -> (Spans, Receiver<Span>) {
        let (queue, receiver) = bounded(spans);
        (Spans(Some((queue, dropped))), receiver)
    }

    /// Whether spans of this trace are exported: its caller samples it, and there is an exporter.
    pub fn want(&self, trace: &Trace) -> bool {
        self.0.is_some() && trace.is_sampled()
    }

    /// Adds a span to the queue. Never blocks.
    pub fn push(&self, span: Span) {
        if let Some((queue, dropped)) = &self.0
            && queue.try_send(span).is_err()
        {
            dropped.inc();
        }
    }
}
