//! What must be known and noted before messages can be sent. Some of it must be asked of Kafka, and nothing that can be counted as
//! delivered waits for that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::Life;
use crate::forward::Trouble;
use crate::publish::{Message, Present, Slot};

impl Life<'_> {
    /// Before anything is sent to a partition, its topic is there and it has a mark in the spool; and before anything is sent that an
    /// earlier session may have sent, the partition behind its mark is looked up. One without a mark never had a message.
    ///
    /// What must ask Kafka for that waits until everything in front of it is delivered: while Kafka is asked, no report is collected, and
    /// what is behind could not be counted as delivered before it anyway.
    pub(super) fn prepare(&mut self) -> Result<(), Trouble> {
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
        self.sendable = pending.clone().take_while(|message| self.is_prepared(message)).count();
        let slots = pending.take(self.sendable).map(|message| &message.slot);
        let unmarked: HashSet<&Slot> = slots.filter(|slot| self.marks.get(slot).is_none()).collect();
        let unmarked: Vec<Slot> = unmarked.into_iter().cloned().collect();
        if unmarked.is_empty() {
            return Ok(());
        }
        for slot in unmarked {
            self.marks.set(slot.clone(), self.publisher.end(&slot).unwrap_or(0));
            self.known.looked_up.insert(slot);
        }
        let notes = self.marks.take_notes();
        Ok(self.parts.reader.deliver_durably(self.source.delivered, notes)?)
    }

    /// Whether this message can be sent, but for a mark, without asking Kafka.
    fn is_prepared(&self, message: &Message) -> bool {
        let Message { slot, position, .. } = message;
        self.publisher.is_ready(&slot.topic)
            && (self.marks.get(slot).is_some() || self.publisher.end(slot).is_some())
            && (position.seq > self.known.horizon || self.in_doubt(message).next().is_none())
    }

    /// The marks of partitions that an earlier session may have sent this message to, and that are not looked up.
    fn in_doubt(&self, message: &Message) -> impl Iterator<Item = (Slot, i64)> {
        let other = self.parts.composer.other_place(message);
        let other = other.filter(|slot| !self.parts.composer.refusals.is_closed(&slot.topic));
        let places = std::iter::once(message.slot.clone()).chain(other);
        let places = places.filter(|slot| !self.known.looked_up.contains(slot));
        places.filter_map(|slot| Some((slot.clone(), self.marks.get(&slot)?)))
    }

    /// Asks Kafka for everything that the messages that are composed need.
    fn ask(&mut self) -> Result<(), Trouble> {
        let asked_at = Instant::now();
        let pending = || self.source.pending.iter().map(|step| &step.message);
        self.publisher
            .make_ready(&self.source.topics(|topic| !self.publisher.is_ready(topic)))?;
        let without_end = pending().map(|message| &message.slot);
        let without_end =
            without_end.filter(|slot| self.marks.get(slot).is_none() && self.publisher.end(slot).is_none());
        let topics: HashSet<_> = without_end.map(|slot| Arc::clone(&slot.topic)).collect();
        self.publisher.find_ends(&Vec::from_iter(topics));
        // A topic that is created takes its time, in which nothing could be delivered.
        self.progress_at += asked_at.elapsed();
        let doubtful = pending().filter(|message| message.position.seq <= self.known.horizon);
        let look_up: HashMap<_, _> = doubtful.flat_map(|message| self.in_doubt(message)).collect();
        if look_up.is_empty() {
            return Ok(());
        }
        self.look_up(&look_up)
    }
}
