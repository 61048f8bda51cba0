//! What a session still has to send, in order, and how far delivery has come. Both kinds of session have one.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Parts, Progress};
use crate::callback::{Span, Spans, Trace};
use crate::forward::error::ForwardError;
use crate::publish::{Message, Publisher};
use crate::spool::Record;

/// Bytes of records that are read and composed at a time.
const READ_BYTES: usize = 256 << 10;
/// How often the spool learns of the progress.
const REPORT_EVERY: Duration = Duration::from_millis(20);

/// One message to send.
#[derive(Debug)]
pub(super) struct Step {
    pub message: Message,
    /// The record whose last message this is.
    pub completes: Option<Completed>,
}

/// A record all of whose messages are composed.
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

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    /// Messages that are composed and not sent, in the order of sending.
    pub pending: VecDeque<Step>,
    /// The last record without messages, where it is in front of all of `pending`. It is complete with the messages that were sent before.
    pub bare: Option<Completed>,
    /// The last record that was composed.
    pub read: u64,
    /// The last record that an earlier session composed.
    horizon: u64,
    /// Spans of composed records in order, by sequence number; a span ends with the delivery.
    traced: VecDeque<(u64, Span)>,
    /// The next record waits for a schema's id, or for new schemas.
    pub held_up: bool,
    /// Every record up to here is in Kafka.
    pub delivered: u64,
    /// The spool knows that every record up to here is in Kafka.
    reported: u64,
    reported_at: Instant,
}

impl Source {
    /// Begins after this record. Earlier sessions may have sent messages of records up to `horizon`.
    pub fn after(seq: u64, horizon: u64, parts: &Parts) -> Source {
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

    /// How far this session and earlier ones have come.
    pub fn progress(&self) -> Progress {
        Progress {
            delivered: self.delivered,
            composed: self.read.max(self.horizon),
        }
    }

    /// The topics of messages that wait, each once, as far as `is_wanted` holds for them.
    pub fn topics(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let topics = self.pending.iter().map(|step| &*step.message.slot.topic);
        let topics: BTreeSet<&str> = topics.filter(|topic| is_wanted(topic)).collect();
        topics.into_iter().map(str::to_owned).collect()
    }

    /// Whether the spool knows of every delivered record.
    pub fn is_reported(&self) -> bool {
        self.delivered == self.reported
    }

    /// Reports the progress to the spool every 20 ms, with these notes.
    pub fn report(&mut self, parts: &mut Parts, notes: impl FnOnce() -> Vec<(String, String)>) {
        if self.delivered > self.reported && self.reported_at.elapsed() >= REPORT_EVERY {
            parts.reader.deliver(self.delivered, notes());
            parts.composer.forget(self.delivered);
            self.reported = self.delivered;
            self.reported_at = Instant::now();
        }
    }

    /// Whether the session ends: it is abandoned; or everything is delivered and reported, and it is drained or new schemas can be used.
    pub fn is_over(&self, parts: &Parts) -> bool {
        let is_drained = || parts.drain.is_raised() && self.delivered >= parts.reader.appended();
        let is_renewable = || self.delivered == self.read && self.gives_way(parts);
        parts.abandon.is_raised() || (self.is_reported() && (is_drained() || is_renewable()))
    }

    /// Whether new schemas wait, and every record that was ever composed with the old ones has been composed again.
    fn gives_way(&self, parts: &Parts) -> bool {
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

    /// Reads some records and composes their messages, up to a record that waits for a schema's id.
    pub fn fill(&mut self, parts: &mut Parts, publisher: &Publisher) -> Result<(), ForwardError> {
        // One record is enough to find out whether its schema's id is known by now.
        let bytes = if self.held_up { 1 } else { READ_BYTES };
        let records = parts.renewals.read(&mut parts.reader, self.read, bytes, self.horizon)?;
        self.held_up = self.gives_way(parts);
        parts.composer.refusals.tick(Instant::now());
        for record in &records {
            let limit = |topic: &str| publisher.max_message_bytes(topic);
            let Ok(messages) = parts.composer.compose(record, &limit) else {
                self.held_up = true;
                // Without the schema's id, nobody has composed this record or a later one before.
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

/// A span from the moment when the record was durable; its end is set at the delivery. All messages of a record have the same context.
fn span_of(record: &Record, messages: &[Message], spans: &Spans) -> Option<(u64, Span)> {
    let first = messages.first()?;
    let header = |name: &str| {
        let found = first.headers.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| &**value)
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
