//! One life of a producer: records in, messages out in order, deliveries counted back, until a fault or the end.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use tracing::info;

use super::marks::Marks;
use super::window::Window;
use super::{Forwarder, Trouble};
use crate::lifecycle::unix_ms;
use crate::publish::{Fault, Message, Present, Publisher, Slot};

/// Messages between the first undelivered one and the last that was sent, delivered ones among them.
const WINDOW_MAX: usize = 50_000;
/// Bytes of records that are composed at a time.
const READ_BYTES: usize = 256 << 10;
/// How often progress goes to the spool.
const REPORT_EVERY: Duration = Duration::from_millis(20);
/// How long to wait for records with messages in flight, so that their reports are not seen late.
const WAIT_IN_FLIGHT: Duration = Duration::from_millis(1);
/// And without.
const WAIT_IDLE: Duration = Duration::from_millis(100);
/// How long to wait for the number of a schema, with nothing in flight.
const WAIT_REGISTRY: Duration = Duration::from_millis(20);

pub(super) struct Life<'a> {
    parts: &'a mut Forwarder,
    publisher: Publisher,
    window: Window,
    /// Composed and not yet sent, each with the record that is complete with it.
    pending: VecDeque<(Message, Option<u64>)>,
    /// Marks of messages whose record is not complete: they move with it, since its first message would be looked for too.
    unfinished: Vec<(Slot, i64)>,
    /// The last record that was composed.
    read: u64,
    /// The one after it waits for the registry.
    held_up: bool,
    delivered: u64,
    reported: u64,
    reported_at: Instant,
    progress_at: Instant,
    recovery: Recovery,
}

/// What may be in Kafka from earlier lives.
struct Recovery {
    /// Records after this one were appended in this life: nobody has sent them before.
    horizon: u64,
    marks: Marks,
    /// Partitions whose earlier messages have been looked up.
    looked_up: HashSet<Slot>,
    present: Present,
    settled: bool,
}

impl<'a> Life<'a> {
    pub fn new(parts: &'a mut Forwarder, publisher: Publisher, marks: Marks, delivered: u64) -> Life<'a> {
        let horizon = parts.reader.appended();
        let reported = parts.reader.delivered();
        let now = Instant::now();
        Life {
            parts,
            publisher,
            window: Window::default(),
            pending: VecDeque::new(),
            unfinished: Vec::new(),
            read: delivered,
            held_up: false,
            delivered,
            reported,
            reported_at: now,
            progress_at: now,
            recovery: Recovery {
                horizon,
                marks,
                looked_up: HashSet::new(),
                present: Present::default(),
                settled: false,
            },
        }
    }

    /// Every record up to here is in Kafka.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    pub fn run(&mut self) -> Result<(), Trouble> {
        loop {
            if self.pending.is_empty() {
                self.compose()?;
            }
            let sent = self.send()?;
            let collected = self.collect()?;
            self.report();
            if self.parts.abandon.is_raised() || self.is_drained() {
                return Ok(());
            }
            if !sent && !collected {
                self.wait();
                self.watch_for_stall()?;
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.parts.drain.is_raised()
            && self.delivered >= self.parts.reader.appended()
            && self.delivered == self.reported
    }

    /// Reads some records and composes their messages, up to one that waits for the registry.
    fn compose(&mut self) -> Result<(), Trouble> {
        // One is enough to ask after.
        let bytes = if self.held_up { 1 } else { READ_BYTES };
        let records = self.parts.reader.read(self.read, bytes)?;
        self.held_up = false;
        for record in &records {
            let limit = |topic: &str| self.publisher.max_message_bytes(topic);
            let Ok(messages) = self.parts.composer.compose(record, &limit) else {
                self.held_up = true;
                break;
            };
            // A record without a message is complete with the one before it.
            if messages.is_empty() {
                match self.pending.back_mut() {
                    Some((_, completes)) => *completes = Some(record.seq),
                    None => self.window.complete(record.seq),
                }
            }
            let count = messages.len();
            let complete = |index| (index + 1 == count).then_some(record.seq);
            self.pending.extend(
                messages
                    .into_iter()
                    .enumerate()
                    .map(|(index, message)| (message, complete(index))),
            );
            self.read = record.seq;
        }
        self.prepare()
    }

    /// Before anything is sent to a partition, it has a mark in the spool; and before anything is sent that an earlier
    /// life may have sent, the partition behind its mark is looked up.
    fn prepare(&mut self) -> Result<(), Trouble> {
        let recovery = &mut self.recovery;
        let slots: HashSet<&Slot> = self.pending.iter().map(|(message, _)| &message.slot).collect();
        let Some(first) = self.pending.front().map(|(message, _)| message.position.seq) else {
            return Ok(());
        };
        let replays = first <= recovery.horizon;
        if !replays && !recovery.present.is_empty() {
            recovery.present = Present::default();
        }
        if replays && !recovery.settled {
            self.parts.abandon.pause(self.parts.config.settle());
            recovery.settled = true;
        }
        let mut look_up = HashMap::new();
        for slot in slots {
            match recovery.marks.get(slot) {
                None => {
                    recovery.marks.set(slot.clone(), self.publisher.end_offset(slot)?);
                    recovery.looked_up.insert(slot.clone());
                }
                Some(mark) if replays && recovery.looked_up.insert(slot.clone()) => {
                    look_up.insert(slot.clone(), mark);
                }
                Some(_) => {}
            }
        }
        let notes = recovery.marks.take_notes();
        if !notes.is_empty() {
            self.parts.reader.note(notes)?;
        }
        if !look_up.is_empty() {
            let since_ms = self
                .pending
                .iter()
                .map(|(message, _)| message.received_at_ms)
                .min()
                .unwrap_or(0);
            let present = self.publisher.read_back(&look_up, since_ms)?;
            info!(
                partitions = look_up.len(),
                found = present.len(),
                "looked up what Kafka has of undelivered records"
            );
            recovery.present.merge(present);
        }
        Ok(())
    }

    /// Sends what is pending until librdkafka's queue is full; true when it sent anything.
    fn send(&mut self) -> Result<bool, Trouble> {
        let mut sent = false;
        while let Some((message, completes)) = self.pending.front()
            && self.window.len() < WINDOW_MAX
        {
            let replayed = message.position.seq <= self.recovery.horizon;
            if replayed && self.recovery.present.has(message) {
                self.window.pass(*completes);
                self.parts.metrics.skipped.inc();
            } else {
                let ticket = self
                    .window
                    .send(message.slot.clone(), message.received_at_ms, *completes);
                if !self.publisher.send(message, ticket)? {
                    self.window.unsend();
                    return Ok(sent);
                }
            }
            if replayed {
                self.parts.metrics.replayed.inc();
            }
            self.pending.pop_front();
            sent = true;
        }
        Ok(sent)
    }

    /// Takes delivery reports; true when there were any.
    fn collect(&mut self) -> Result<bool, Trouble> {
        for delivery in self.publisher.poll()? {
            self.window.settle(delivery.ticket, delivery.offset);
        }
        let mut any = false;
        let now_ms = unix_ms();
        while let Some(delivered) = self.window.pop() {
            any = true;
            if let Some((slot, received_at_ms)) = delivered.message {
                self.parts.metrics.published.with_label_values(&[&slot.topic]).inc();
                self.parts
                    .metrics
                    .publish_seconds
                    .observe((now_ms - received_at_ms).max(0) as f64 / 1000.0);
                self.unfinished.push((slot, delivered.offset + 1));
            }
            if let Some(seq) = delivered.completes {
                self.delivered = seq;
                self.unfinished
                    .drain(..)
                    .for_each(|(slot, offset)| self.recovery.marks.set(slot, offset));
            }
        }
        if any || (self.window.is_empty() && self.pending.is_empty()) {
            self.progress_at = Instant::now();
        }
        Ok(any)
    }

    /// Tells the spool how far delivery has come, now and then.
    fn report(&mut self) {
        if self.delivered > self.reported && self.reported_at.elapsed() >= REPORT_EVERY {
            self.parts
                .reader
                .deliver(self.delivered, self.recovery.marks.take_notes());
            self.reported = self.delivered;
            self.reported_at = Instant::now();
        }
    }

    fn wait(&self) {
        let idle = self.window.is_empty() && self.delivered == self.reported;
        let time = if idle { WAIT_IDLE } else { WAIT_IN_FLIGHT };
        if self.held_up && idle {
            std::thread::sleep(WAIT_REGISTRY);
        } else if self.pending.is_empty() && !self.held_up {
            self.parts.reader.wait(self.read, time);
        } else {
            std::thread::sleep(WAIT_IN_FLIGHT);
        }
    }

    /// librdkafka can stall for ever on a partition whose leader was unknown for a while (its issue 5430).
    fn watch_for_stall(&mut self) -> Result<(), Trouble> {
        let limit = Duration::from_secs(self.parts.config.stall_timeout_s);
        if self.progress_at.elapsed() < limit {
            return Ok(());
        }
        if self.publisher.answers() {
            let text = format!("nothing was delivered for {} s although Kafka answers", limit.as_secs());
            return Err(Fault::new("stalled", text).into());
        }
        self.progress_at = Instant::now();
        Ok(())
    }
}
