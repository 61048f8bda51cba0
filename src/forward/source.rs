//! Records become steps, in order: what both ways of delivery have in common.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Forwarder, Trouble};
use crate::callback::{Span, Spans, Trace};
use crate::publish::{Message, Publisher};
use crate::spool::Record;

/// Bytes of records that are composed at a time.
const READ_BYTES: usize = 256 << 10;
/// How often progress goes to the spool.
const REPORT_EVERY: Duration = Duration::from_millis(20);

/// One message to send, in the order in which they are to be sent.
#[derive(Debug)]
pub(super) struct Step {
    pub message: Message,
    /// The record that is complete with it.
    pub completes: Option<Completed>,
}

/// A record whose messages are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Completed {
    pub seq: u64,
    pub appended_at_ms: i64,
}

impl Completed {
    pub fn of(record: &Record) -> Completed {
        Completed {
            seq: record.seq,
            appended_at_ms: record.appended_at_ms,
        }
    }
}

/// What is composed and not yet sent, and how far delivery has come.
#[derive(Debug)]
pub(super) struct Source {
    pub pending: VecDeque<Step>,
    /// The last record in front of all of these that had nothing to send: complete with what was sent before.
    pub bare: Option<Completed>,
    /// The last record that was composed.
    pub read: u64,
    /// Records after this one were never composed before.
    horizon: u64,
    /// Spans of records that are composed and not delivered, in order; they end with the delivery.
    traced: VecDeque<(u64, Span)>,
    /// The one after it waits for the registry, or for new schemas.
    pub held_up: bool,
    /// Every record up to here is in Kafka.
    pub delivered: u64,
    /// And the spool knows it up to here.
    reported: u64,
    reported_at: Instant,
}

impl Source {
    /// Goes on after this record; up to `horizon`, earlier lives may have sent messages.
    pub fn after(seq: u64, horizon: u64, parts: &Forwarder) -> Source {
        Source {
            pending: VecDeque::new(),
            bare: None,
            read: seq,
            traced: VecDeque::new(),
            horizon,
            held_up: false,
            delivered: seq,
            reported: parts.reader.delivered(),
            reported_at: Instant::now(),
        }
    }

    /// Records after this one were never composed.
    pub fn composed(&self) -> u64 {
        self.read.max(self.horizon)
    }

    /// The topics, each once, of messages that wait and for which this holds.
    pub fn topics(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let topics = self.pending.iter().map(|step| &*step.message.slot.topic);
        let topics: BTreeSet<&str> = topics.filter(|topic| is_meant(topic)).collect();
        topics.into_iter().map(str::to_owned).collect()
    }

    /// Whether the spool knows of everything that is delivered.
    pub fn is_reported(&self) -> bool {
        self.delivered == self.reported
    }

    /// Tells the spool how far delivery has come, now and then, with these notes.
    pub fn report(&mut self, parts: &mut Forwarder, notes: impl FnOnce() -> Vec<(String, String)>) {
        if self.delivered > self.reported && self.reported_at.elapsed() >= REPORT_EVERY {
            parts.reader.deliver(self.delivered, notes());
            parts.composer.forget(self.delivered);
            self.reported = self.delivered;
            self.reported_at = Instant::now();
        }
    }

    /// It is abandoned; or everything is delivered and reported, and it is drained, or new schemas wait and nothing that was composed is
    /// on its way.
    pub fn is_over(&self, parts: &Forwarder) -> bool {
        let is_drained = || parts.drain.is_raised() && self.delivered >= parts.reader.appended();
        let is_renewable = || self.delivered == self.read && self.is_done(parts);
        parts.abandon.is_raised() || (self.is_reported() && (is_drained() || is_renewable()))
    }

    /// New schemas wait, and everything that was ever composed with the old ones was read again.
    fn is_done(&self, parts: &Forwarder) -> bool {
        self.read >= self.horizon && self.pending.is_empty() && parts.renewals.are_waiting()
    }

    /// Everything up to this record is in Kafka.
    pub fn deliver(&mut self, seq: u64, spans: &Spans) {
        self.delivered = seq;
        while self.traced.front().is_some_and(|(traced, _)| *traced <= seq) {
            let (_, mut span) = self.traced.pop_front().expect("it was looked at");
            span.ended = SystemTime::now();
            spans.push(span);
        }
    }

    /// Reads some records and composes their messages, up to one that waits for the registry.
    pub fn fill(&mut self, parts: &mut Forwarder, publisher: &Publisher) -> Result<(), Trouble> {
        // One is enough to ask after.
        let bytes = if self.held_up { 1 } else { READ_BYTES };
        let records = parts.renewals.read(&mut parts.reader, self.read, bytes, self.horizon)?;
        self.held_up = self.is_done(parts);
        parts.composer.refusals.tick(Instant::now());
        for record in &records {
            let limit = |topic: &str| publisher.max_message_bytes(topic);
            let Ok(messages) = parts.composer.compose(record, &limit) else {
                self.held_up = true;
                // Who waits here for a schema's number never had it: nobody has composed this record before, nor those after it.
                self.horizon = self.horizon.min(self.read);
                break;
            };
            self.traced.extend(span_of(record, &messages, &parts.spans));
            let count = messages.len();
            let completed = Completed::of(record);
            if count == 0 {
                match self.pending.back_mut() {
                    Some(step) => step.completes = Some(completed),
                    None => self.bare = Some(completed),
                }
            }
            let steps = messages.into_iter().enumerate().map(|(index, message)| Step {
                message,
                completes: (index + 1 == count).then_some(completed),
            });
            self.pending.extend(steps);
            self.read = record.seq;
        }
        Ok(())
    }
}

/// From the moment when a record was durable; the end is not known yet. Its messages all have the same context.
fn span_of(record: &Record, messages: &[Message], spans: &Spans) -> Option<(u64, Span)> {
    let first = messages.first()?;
    let header = |name: &str| {
        let found = first.headers.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| value.as_str())
    };
    let trace = Trace::of(header("traceparent"), header("tracestate")).filter(|trace| spans.want(trace))?;
    let durable = UNIX_EPOCH + Duration::from_millis(record.appended_at_ms.max(0) as u64);
    let span = Span {
        trace,
        name: "publish",
        started: durable,
        ended: durable,
        attributes: vec![
            ("messaging.system", "kafka".to_owned()),
            ("messaging.destination.name", first.slot.topic.to_string()),
            ("imbridge.seq", first.position.to_string()),
        ],
    };
    Some((record.seq, span))
}
