//! One life of a producer: records in, messages out in order, deliveries counted back, until a fault or the end.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::marks::Marks;
use super::source::Source;
use super::window::Window;
use super::{Forwarder, Progress, Trouble};
use crate::lifecycle::unix_ms;
use crate::publish::{Fault, Present, Publisher, Slot};

/// Messages between the first undelivered one and the last that was sent, delivered ones among them.
const WINDOW_MAX: usize = 50_000;
/// How often progress goes to the spool.
const REPORT_EVERY: Duration = Duration::from_millis(20);
/// How long to wait for records with messages in flight, so that their reports are not seen late.
const WAIT_IN_FLIGHT: Duration = Duration::from_millis(1);
/// And without.
const WAIT_IDLE: Duration = Duration::from_millis(100);
/// Between two looks at a partition that hides what it has.
const HIDDEN_PAUSE: Duration = Duration::from_secs(1);
/// How long to wait for the number of a schema, with nothing in flight.
const WAIT_REGISTRY: Duration = Duration::from_millis(20);

pub(super) struct Life<'a> {
    parts: &'a mut Forwarder,
    publisher: Publisher,
    window: Window,
    source: Source,
    /// Marks of messages whose record is not complete: they move with it, since its first message would be looked for too.
    unfinished: Vec<(Slot, i64)>,
    delivered: u64,
    reported: u64,
    reported_at: Instant,
    progress_at: Instant,
    recovery: Recovery,
}

/// What may be in Kafka from earlier lives.
struct Recovery {
    /// Records after this one were never composed before: nobody has sent them.
    horizon: u64,
    marks: Marks,
    /// Partitions whose earlier messages have been looked up.
    looked_up: HashSet<Slot>,
    present: Present,
    settled: bool,
}

impl<'a> Life<'a> {
    pub fn new(parts: &'a mut Forwarder, publisher: Publisher, marks: Marks, progress: Progress) -> Life<'a> {
        let Progress { delivered, composed } = progress;
        let reported = parts.reader.delivered();
        let now = Instant::now();
        Life {
            parts,
            publisher,
            window: Window::default(),
            source: Source::after(delivered, composed),
            unfinished: Vec::new(),
            delivered,
            reported,
            reported_at: now,
            progress_at: now,
            recovery: Recovery {
                horizon: composed,
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

    /// Nothing of the records after this one was sent.
    pub fn composed(&self) -> u64 {
        self.source.read
    }

    pub fn run(&mut self) -> Result<(), Trouble> {
        loop {
            if self.source.pending.is_empty() {
                self.source.fill(self.parts, &self.publisher)?;
                if let Some(bare) = self.source.bare.take() {
                    self.window.complete(bare.seq);
                }
                self.prepare()?;
            }
            // What was not looked up for want of time may be there.
            let sent = !self.parts.abandon.is_raised() && self.send()?;
            let collected = self.collect()?;
            self.report();
            if self.parts.abandon.is_raised() || self.is_drained() || self.is_renewable() {
                return Ok(());
            }
            if !sent && !collected {
                self.wait();
                self.parts.tell_reachability(&self.publisher);
                self.watch_for_stall()?;
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.parts.drain.is_raised()
            && self.delivered >= self.parts.reader.appended()
            && self.delivered == self.reported
    }

    /// New schemas wait, and nothing that was composed is on its way.
    fn is_renewable(&self) -> bool {
        self.delivered == self.source.read && self.delivered == self.reported && self.source.is_done(self.parts)
    }

    /// Before anything is sent to a partition, it has a mark in the spool; and before anything is sent that an earlier
    /// life may have sent, the partition behind its mark is looked up. One without a mark never had a message.
    fn prepare(&mut self) -> Result<(), Trouble> {
        let recovery = &mut self.recovery;
        let slots: HashSet<&Slot> = self.source.pending.iter().map(|step| &step.message.slot).collect();
        let Some(first) = self.source.pending.front().map(|step| step.message.position.seq) else {
            return Ok(());
        };
        let replays = first <= recovery.horizon;
        if !replays && !recovery.present.is_empty() {
            recovery.present = Present::default();
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
            self.parts.reader.deliver_durably(self.delivered, notes)?;
        }
        if !look_up.is_empty() {
            self.settle(look_up.keys().cloned().collect())?;
            if self.parts.abandon.is_raised() {
                return Ok(());
            }
            let since_ms = self
                .source
                .pending
                .iter()
                .map(|step| step.message.received_at_ms)
                .min()
                .unwrap_or(0);
            let present = self.publisher.read_back(&look_up, since_ms)?;
            info!(
                partitions = look_up.len(),
                found = present.len(),
                "looked up what Kafka has of undelivered records"
            );
            self.recovery.present.merge(present);
        }
        Ok(())
    }

    /// Waits until what the life before had on its way to these partitions has arrived or died, and can be seen; or until the
    /// time to drain is over.
    fn settle(&mut self, slots: HashSet<Slot>) -> Result<(), Trouble> {
        let abandon = &self.parts.abandon;
        let mut said = false;
        while !abandon.is_raised() {
            match self.publisher.hidden(&slots)? {
                None if self.recovery.settled => break,
                None => {
                    abandon.pause(self.parts.config.settle());
                    self.recovery.settled = true;
                }
                Some(partition) => {
                    if !std::mem::replace(&mut said, true) {
                        warn!(
                            partition,
                            "publishing waits for replicas to be in sync: Kafka may have messages that it does not show"
                        );
                    }
                    self.recovery.settled = false;
                    abandon.pause(HIDDEN_PAUSE);
                }
            }
        }
        Ok(())
    }

    /// Sends what is pending until librdkafka's queue is full; true when it sent anything.
    fn send(&mut self) -> Result<bool, Trouble> {
        let mut sent = false;
        while let Some(step) = self.source.pending.front()
            && self.window.len() < WINDOW_MAX
        {
            let message = &step.message;
            let completes = step.completes.map(|record| record.seq);
            let replayed = message.position.seq <= self.recovery.horizon;
            if replayed && self.recovery.present.has(message) {
                self.window.pass(completes);
                self.parts.metrics.skipped.inc();
            } else {
                let ticket = self
                    .window
                    .send(message.slot.clone(), message.received_at_ms, completes);
                if !self.publisher.send(message, ticket)? {
                    self.window.unsend();
                    return Ok(sent);
                }
            }
            if replayed {
                self.parts.metrics.replayed.inc();
            }
            self.source.pending.pop_front();
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
                self.parts.metrics.published(&slot.topic, received_at_ms, now_ms);
                self.unfinished.push((slot, delivered.offset + 1));
            }
            if let Some(seq) = delivered.completes {
                self.delivered = seq;
                self.source.deliver(seq, &self.parts.spans);
                self.unfinished
                    .drain(..)
                    .for_each(|(slot, offset)| self.recovery.marks.set(slot, offset));
            }
        }
        if any || (self.window.is_empty() && self.source.pending.is_empty()) {
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
        if self.source.held_up && idle {
            std::thread::sleep(WAIT_REGISTRY);
        } else if self.source.pending.is_empty() && !self.source.held_up {
            self.parts.reader.wait(self.source.read, time);
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
        match self.publisher.hidden(&self.window.slots()) {
            Ok(None) => {
                let text = format!("nothing was delivered for {} s although Kafka answers", limit.as_secs());
                return Err(Fault::new("stalled", text).into());
            }
            Ok(Some(partition)) => warn!(partition, "Kafka takes no messages until more replicas are in sync"),
            Err(cause) => debug!(%cause, "nothing is delivered, and Kafka does not answer"),
        }
        self.progress_at = Instant::now();
        Ok(())
    }
}
