//! What is told of a sampled callback's way through the bridge, and where it is left for whoever exports it. It knows no
//! exporter, and nobody waits for one: what there is no room for is dropped and counted.

use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, bounded};
use prometheus::IntCounter;

use super::Trace;

/// One stretch of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What the caller said of its trace.
    pub trace: Trace,
    /// `receive` or `publish`.
    pub name: &'static str,
    /// Its first moment.
    pub started: SystemTime,
    /// Its last.
    pub ended: SystemTime,
    /// More about it.
    pub attributes: Vec<(&'static str, String)>,
}

/// Where spans are left. Clones share the place; the default takes none.
#[derive(Clone, Default)]
pub struct Spans(Option<(Sender<Span>, IntCounter)>);

impl Spans {
    /// A place for so many, what is counted when it is full, and who takes them away.
    pub fn with_room(spans: usize, dropped: IntCounter) -> (Spans, Receiver<Span>) {
        let (queue, taken) = bounded(spans);
        (Spans(Some((queue, dropped))), taken)
    }

    /// Whether anybody wants to hear of this trace: its caller samples it, and there is an exporter.
    pub fn want(&self, trace: &Trace) -> bool {
        self.0.is_some() && trace.is_sampled()
    }

    /// Leaves one; never blocks.
    pub fn leave(&self, span: Span) {
        if let Some((queue, dropped)) = &self.0
            && queue.try_send(span).is_err()
        {
            dropped.inc();
        }
    }
}
