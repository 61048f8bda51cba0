//! What must be known and noted before messages can be sent. Kafka is asked for some of it, at moments when no delivery report can be
//! held up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::IdempotentSession;
use crate::forward::error::ForwardError;
use crate::publish::{Message, Present, Slot};

impl IdempotentSession<'_> {
    /// Prepares pending messages. A message can be sent when its topic is ready, its partition has a resume offset in the spool, and, if an
    /// earlier session may have sent it, the partition was looked up. A partition without a resume offset never had a message.
    ///
    /// Kafka is asked only when nothing is in flight: while it is asked, no delivery report is taken, and later records could not count as
    /// delivered before anyway.
    pub(super) fn prepare(&mut self) -> Result<(), ForwardError> {
        if self.sendable > 0 || self.source.pending.is_empty() {
            return Ok(());
        }
        // Not before all of them are delivered: a session that ends earlier leaves them to the next one.
        if self.source.delivered >= self.composed && !self.known.present.is_empty() {
            self.known.present = Present::default();
        }
        if !self.is_prepared(&self.source.pending[0].message) {
            if !self.window.is_empty() {
                return Ok(());
            }
            self.ask()?;
        }
        let pending = self.source.pending.iter().map(|step| &step.message);
        self.sendable = pending.take_while(|message| self.is_prepared(message)).count();
        self.note_resume_offsets()
    }

    /// Makes a resume offset durable for each partition that has none and gets a message next.
    fn note_resume_offsets(&mut self) -> Result<(), ForwardError> {
        let slots = self
            .source
            .pending
            .iter()
            .take(self.sendable)
            .map(|step| &step.message.slot);
        let new: HashSet<&Slot> = slots.filter(|slot| self.resume_offsets.get(slot).is_none()).collect();
        let new: Vec<Slot> = new.into_iter().cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        for slot in new {
            self.resume_offsets
                .set(slot.clone(), self.publisher.end(&slot).unwrap_or(0));
            self.known.looked_up.insert(slot);
        }
        let notes = self.resume_offsets.take_notes();
        Ok(self.parts.reader.deliver_durably(self.source.delivered, notes)?)
    }

    /// Whether this message can be sent without asking Kafka, once its partition has a resume offset.
    fn is_prepared(&self, message: &Message) -> bool {
        let Message { slot, position, .. } = message;
        self.publisher.is_ready(&slot.topic)
            && (self.resume_offsets.get(slot).is_some() || self.publisher.end(slot).is_some())
            && (position.seq > self.known.horizon || self.in_doubt(message).next().is_none())
    }

    /// The partitions that an earlier session may have sent this message to and that were not looked up, with their resume offsets.
    fn in_doubt(&self, message: &Message) -> impl Iterator<Item = (Slot, i64)> {
        let other = self.parts.composer.other_place(message);
        let other = other.filter(|slot| !self.parts.composer.refusals.is_closed(&slot.topic));
        let places = std::iter::once(message.slot.clone()).chain(other);
        let places = places.filter(|slot| !self.known.looked_up.contains(slot));
        places.filter_map(|slot| Some((slot.clone(), self.resume_offsets.get(&slot)?)))
    }

    /// Asks Kafka for everything that the pending messages need.
    fn ask(&mut self) -> Result<(), ForwardError> {
        let asked_at = Instant::now();
        let pending = || self.source.pending.iter().map(|step| &step.message);
        self.publisher
            .make_ready(&self.source.topics(|topic| !self.publisher.is_ready(topic)))?;
        let without_end = pending().map(|message| &message.slot);
        let without_end =
            without_end.filter(|slot| self.resume_offsets.get(slot).is_none() && self.publisher.end(slot).is_none());
        let topics: HashSet<_> = without_end.map(|slot| Arc::clone(&slot.topic)).collect();
        self.publisher.find_ends(&Vec::from_iter(topics));
        // Creating a topic takes time, in which nothing could be delivered.
        self.progress_at += asked_at.elapsed();
        let doubtful = pending().filter(|message| message.position.seq <= self.known.horizon);
        let look_up: HashMap<_, _> = doubtful.flat_map(|message| self.in_doubt(message)).collect();
        if look_up.is_empty() {
            return Ok(());
        }
        self.look_up(&look_up)
    }
}
