//! One life of a producer: records in, messages out in order, deliveries counted back, until a fault or the end.

mod prepare;
mod pulse;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use self::pulse::Pulse;
use super::marks::Marks;
use super::refusals::Refused;
use super::source::Source;
use super::window::{InFlight, Window};
use super::{Forwarder, Progress, Trouble};
use crate::lifecycle::unix_ms;
use crate::publish::{Failure, Fault, Present, Publisher, Sent, Slot, hidden, lag_time, read_back};

/// Messages between the first undelivered one and the last that was sent, delivered ones among them.
const WINDOW_MAX: usize = 50_000;
/// How long to wait for records or reports with messages in flight, or with progress to report. Reports call by themselves, but for some that
/// come behind a line of log.
const WAIT_IN_FLIGHT: Duration = Duration::from_millis(5);
/// After a pulse's pause, between two looks whether its outcomes are there.
const OUTCOMES_STEP: Duration = Duration::from_millis(1);
/// And without.
const WAIT_IDLE: Duration = Duration::from_millis(100);
/// Between two looks at a partition that hides what it has.
const HIDDEN_PAUSE: Duration = Duration::from_secs(1);
/// While it is waited for what an earlier session left on its way, between two looks whether Kafka is there.
const SETTLE_STEP: Duration = Duration::from_secs(1);

pub(super) struct Life<'a> {
    parts: &'a mut Forwarder,
    publisher: Publisher,
    window: Window,
    pulse: Pulse,
    source: Source,
    /// Delivered messages whose record is not complete, and the marks behind them: these move with the record, since its first
    /// message would be looked for too.
    unfinished: Vec<(InFlight, i64)>,
    /// Messages in front of those that wait that can be sent as they are.
    sendable: usize,
    progress_at: Instant,
    /// The message that was sent last travels alone.
    alone: bool,
    /// What librdkafka did not take.
    unsent: Vec<Failure>,
    marks: Marks,
    /// Records after this one were not composed before: none of their messages is in `known.present`.
    composed: u64,
    known: Known,
}

/// What is known of messages that earlier sessions may have sent.
#[derive(Default)]
pub(super) struct Known {
    /// Records after this one were never composed before it was known what became of their messages.
    horizon: u64,
    /// Partitions whose earlier messages have been looked up.
    looked_up: HashSet<Slot>,
    present: Present,
    settled: bool,
}

/// What a session leaves behind.
pub(super) struct Ended {
    /// Every record up to here is in Kafka.
    pub delivered: u64,
    /// Nothing of the records after this one was sent.
    pub composed: u64,
    /// What became of everything that was sent; `None` where that must be looked up.
    pub known: Option<Known>,
    /// What was refused.
    pub refused: Vec<Refused>,
    /// Where messages were sent of which nobody tells why they failed.
    pub unexplained: Vec<String>,
}

impl<'a> Life<'a> {
    /// Goes on where earlier sessions ended, of whose messages this is known.
    pub fn begin(
        parts: &'a mut Forwarder,
        publisher: Publisher,
        progress: Progress,
        known: Option<Known>,
    ) -> Result<Life<'a>, Trouble> {
        parts.composer.recall(&mut parts.reader, progress.delivered);
        let marks = Marks::from_notes(parts.reader.notes()?);
        parts.metrics.connected.set(1);
        let nothing = || Known {
            horizon: progress.composed,
            ..Known::default()
        };
        Ok(Life {
            source: Source::after(progress.delivered, progress.composed, parts),
            pulse: Pulse::new(parts.config.pause()),
            parts,
            publisher,
            window: Window::default(),
            unfinished: Vec::new(),
            sendable: 0,
            progress_at: Instant::now(),
            alone: false,
            unsent: Vec::new(),
            marks,
            composed: progress.composed,
            known: known.unwrap_or_else(nothing),
        })
    }

    /// Gives the producer up, and finds out what became of what it had.
    pub fn end(mut self) -> Ended {
        let words = self.publisher.last_words(self.parts.patience());
        for delivery in words.receipts {
            self.window.settle(delivery.ticket, delivery.offset);
        }
        self.take_delivered();
        let refused = |failure: Failure| {
            let position = self.window.message(failure.ticket)?.position;
            Some(Refused { position, failure })
        };
        let failures = words.failures.into_iter().chain(std::mem::take(&mut self.unsent));
        let refused: Vec<Refused> = failures.filter_map(refused).collect();
        let mut known = words.is_complete.then_some(self.known);
        if let Some(known) = &mut known {
            let unfinished = self.unfinished.iter().map(|(message, _)| (message, true));
            for (message, is_delivered) in self.window.messages().chain(unfinished) {
                let slot = &message.slot;
                known.looked_up.insert(slot.clone());
                if is_delivered {
                    known
                        .present
                        .note(slot.clone(), message.position, message.received_at_ms);
                }
            }
        }
        self.parts
            .reader
            .deliver(self.source.delivered, self.marks.take_notes());
        Ended {
            delivered: self.source.delivered,
            composed: self.source.composed(),
            known,
            refused,
            unexplained: Vec::new(),
        }
    }

    pub fn run(&mut self) -> Result<(), Trouble> {
        loop {
            let due = self.pulse.due(self.publisher.in_flight(), Instant::now());
            let sent = due.is_zero() && self.advance()?;
            let collected = self.collect()?;
            self.parts.reader.confirm(self.source.delivered);
            self.source.report(self.parts, || self.marks.take_notes());
            if self.source.is_over(self.parts) {
                return Ok(());
            }
            if !sent && !collected {
                self.wait(due);
                self.parts.tell_reachability(&self.publisher);
                self.watch_for_stall()?;
            }
        }
    }

    /// Sends some of what is there, and ends the pulse where nothing is; true when it sent anything.
    fn advance(&mut self) -> Result<bool, Trouble> {
        if self.source.pending.is_empty() {
            self.source.fill(self.parts, &self.publisher)?;
            if let Some(bare) = self.source.bare.take() {
                self.window.complete(bare.seq);
            }
        }
        self.prepare()?;
        self.parts.reader.note_recovery(false);
        // What was not looked up for want of time may be there.
        let sent = !self.parts.abandon.is_raised() && self.send()?;
        if sent {
            self.pulse.begin();
        } else if !self.window.is_empty() {
            self.pulse.end(Instant::now());
        }
        Ok(sent)
    }

    /// Finds out which messages of earlier sessions are in these partitions, behind their marks.
    fn look_up(&mut self, marks: &HashMap<Slot, i64>) -> Result<(), Trouble> {
        self.parts.reader.note_recovery(true);
        self.settle(&marks.keys().cloned().collect())?;
        if self.parts.abandon.is_raised() {
            return Ok(());
        }
        let present = read_back(&self.parts.config, &self.parts.spool, marks)?;
        info!(
            partitions = marks.len(),
            found = present.len(),
            "looked up what Kafka has of undelivered records"
        );
        self.known.present.merge(present);
        self.known.looked_up.extend(marks.keys().cloned());
        // Nothing could be delivered meanwhile.
        self.progress_at = Instant::now();
        Ok(())
    }

    /// Waits until what the session before had on its way to these partitions has arrived or died, and can be seen; or until the
    /// time to drain is over.
    fn settle(&mut self, slots: &HashSet<Slot>) -> Result<(), Trouble> {
        let abandon = &self.parts.abandon;
        let mut said = false;
        while !abandon.is_raised() {
            match hidden(&self.parts.config, slots)? {
                None if self.known.settled => break,
                None => {
                    let (config, began) = (&self.parts.config, Instant::now());
                    let replicas = self.publisher.replicas(slots);
                    let settle = config.settle(replicas, || lag_time(config, slots));
                    let settle_ms = settle.as_millis() as u64;
                    info!(settle_ms, "waits until what was on its way to Kafka can be seen there");
                    while !abandon.is_raised() && began.elapsed() < settle {
                        abandon.pause(SETTLE_STEP.min(settle.saturating_sub(began.elapsed())));
                        self.publisher.poll()?;
                        self.parts.reader.note_recovery(self.publisher.is_reachable());
                    }
                    self.known.settled = true;
                }
                Some(partition) => {
                    if !std::mem::replace(&mut said, true) {
                        warn!(
                            partition,
                            "publishing waits for replicas to be in sync: Kafka may have messages that it does not show"
                        );
                    }
                    self.known.settled = false;
                    abandon.pause(HIDDEN_PAUSE);
                }
            }
        }
        Ok(())
    }

    /// Sends what is prepared until librdkafka's queue is full; true when it sent anything.
    fn send(&mut self) -> Result<bool, Trouble> {
        let mut sent = false;
        while let Some(step) = self.source.pending.front()
            && self.sendable > 0
            && self.window.len() < WINDOW_MAX
        {
            let message = &step.message;
            let completes = step.completes.map(|record| record.seq);
            let replayed = message.position.seq <= self.composed;
            let other = || self.parts.composer.other_place(message);
            let is_copy = self.parts.composer.is_timeline(&message.slot.topic);
            let (is_counted, present) = (replayed && !is_copy, &self.known.present);
            let is_there = || replayed && !present.is_empty() && present.has(message, other().as_ref());
            // The copy of an event that is a dead letter, unless it is in its topic all the same.
            let is_moot = || {
                is_copy
                    && message
                        .twin
                        .as_ref()
                        .is_some_and(|twin| !present.has_event(message, twin))
            };
            if is_there() || is_moot() {
                self.window.pass(completes);
                self.parts.metrics.skipped.inc_by(is_counted.into());
            } else {
                // A suspect travels alone: a refusal is then its own.
                let alone = self.parts.composer.refusals.is_suspect(message.position);
                if (alone || self.alone) && self.publisher.in_flight() > 0 {
                    return Ok(sent);
                }
                self.alone = alone;
                let ticket = self.window.send(InFlight::of(message), completes);
                match self.publisher.send(message, ticket, self.parts.late_ms(message))? {
                    Sent::Queued => {}
                    Sent::Full => {
                        self.window.unsend();
                        return Ok(sent);
                    }
                    Sent::Refused(failure) => {
                        let fault = Fault::new("produce", format!("{}: {}", failure.topic, failure.text));
                        self.unsent.push(failure);
                        return Err(fault.into());
                    }
                }
            }
            self.parts.metrics.replayed.inc_by(is_counted.into());
            self.source.pending.pop_front();
            self.sendable -= 1;
            sent = true;
        }
        Ok(sent)
    }

    /// Takes delivery reports; true when there were any.
    fn collect(&mut self) -> Result<bool, Trouble> {
        for delivery in self.publisher.poll()? {
            self.window.settle(delivery.ticket, delivery.offset);
        }
        let any = self.take_delivered();
        if any || (self.window.is_empty() && self.source.pending.is_empty()) {
            self.progress_at = Instant::now();
        }
        Ok(any)
    }

    /// Counts what is delivered, in order; true when there was anything.
    fn take_delivered(&mut self) -> bool {
        let mut any = false;
        let now_ms = unix_ms();
        while let Some((delivered, offset)) = self.window.pop() {
            any = true;
            if let Some(message) = delivered.message {
                let topic = &message.slot.topic;
                self.parts.metrics.published(topic, message.received_at_ms, now_ms);
                self.parts.note_delivery(topic);
                self.unfinished.push((message, offset + 1));
            }
            if let Some(seq) = delivered.completes {
                self.source.deliver(seq, &self.parts.spans);
                for (message, offset) in self.unfinished.drain(..) {
                    self.marks.set(message.slot, offset);
                }
            }
        }
        any
    }

    /// For records, where they can be composed, and for reports.
    fn wait(&self, due: Duration) {
        if !due.is_zero() {
            // Nobody's call can end this: woken by each delivery report, the thread ran 4600 times a second for 1000 events.
            let rest = self.pulse.rest(Instant::now());
            std::thread::sleep(if rest.is_zero() {
                due.min(OUTCOMES_STEP)
            } else {
                rest.min(WAIT_IN_FLIGHT)
            });
            return;
        }
        let idle = self.window.is_empty() && self.source.is_reported();
        let blocked = self.source.held_up || !self.source.pending.is_empty();
        let time = if idle && !blocked { WAIT_IDLE } else { WAIT_IN_FLIGHT };
        let after = if blocked { u64::MAX } else { self.source.read };
        self.parts.reader.wait(after, time);
    }

    /// librdkafka can stall for ever on a partition whose leader was unknown for a while (its issue 5430).
    fn watch_for_stall(&mut self) -> Result<(), Trouble> {
        let limit = Duration::from_secs(self.parts.config.stall_timeout_s);
        if self.progress_at.elapsed() < limit {
            return Ok(());
        }
        match hidden(&self.parts.config, &self.window.slots()) {
            // It may have moved while the cluster was asked.
            Ok(None) if self.collect()? => return Ok(()),
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
