//! A session of an idempotent producer: it sends messages in order and counts their deliveries, until a fault or the end.

mod prepare;
mod pulse;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use self::pulse::Pulse;
use super::resume_offsets::ResumeOffsets;
use super::source::Source;
use super::window::{Delivered, InFlight, Window};
use super::{Parts, Progress, SessionEnd};
use crate::forward::error::ForwardError;
use crate::lifecycle::unix_ms;
use crate::publish::{Failure, Fault, Message, Present, Publisher, Sent, Slot, hidden, lag_time, read_back};

/// The most messages from the first undelivered one to the last that was sent, delivered ones included.
const WINDOW_MAX: usize = 50_000;
/// How long to wait for records and delivery reports while messages are in flight or there is progress to report. A report ends the wait,
/// unless a line of librdkafka's log came before it.
const WAIT_IN_FLIGHT: Duration = Duration::from_millis(5);
/// How long to wait for records otherwise.
const WAIT_IDLE: Duration = Duration::from_millis(100);
/// After a pulse's pause, the time between two looks for delivery reports.
const OUTCOMES_STEP: Duration = Duration::from_millis(1);
/// Between two looks at a partition that hides messages.
const HIDDEN_PAUSE: Duration = Duration::from_secs(1);
/// While messages of an earlier session may still arrive in Kafka, the time between two looks whether a broker can be reached.
const SETTLE_STEP: Duration = Duration::from_secs(1);

pub(super) struct IdempotentSession<'a> {
    parts: &'a mut Parts,
    publisher: Publisher,
    window: Window,
    pulse: Pulse,
    source: Source,
    /// Delivered messages of a record that is not complete. The resume offset moves with the record: after a crash, all of its messages
    /// are looked for.
    unfinished: Vec<Delivered>,
    /// How many of the first pending messages are prepared for sending.
    sendable: usize,
    /// When something was delivered last, or nothing was in flight.
    progress_at: Instant,
    /// The message that was sent last is a suspect, and travels alone.
    alone: bool,
    /// Messages that librdkafka refused.
    unsent: Vec<Failure>,
    resume_offsets: ResumeOffsets,
    /// The last record that an earlier session composed; `known.present` has no messages of later ones.
    composed: u64,
    known: KnownDeliveries,
}

/// What is known of messages that earlier sessions may have sent.
#[derive(Default)]
pub(in crate::forward) struct KnownDeliveries {
    /// Nothing is known of messages of records up to here, but for the partitions that were looked up.
    horizon: u64,
    /// Partitions whose earlier messages were looked up.
    looked_up: HashSet<Slot>,
    present: Present,
    /// Messages of earlier sessions can no longer arrive in Kafka.
    settled: bool,
}

impl<'a> IdempotentSession<'a> {
    /// Goes on where earlier sessions ended; `known` is what they found out about their messages.
    pub fn begin(
        parts: &'a mut Parts,
        publisher: Publisher,
        progress: Progress,
        known: Option<KnownDeliveries>,
    ) -> Result<IdempotentSession<'a>, ForwardError> {
        parts.composer.recall(&mut parts.reader, progress.delivered);
        let resume_offsets = ResumeOffsets::from_notes(parts.reader.notes()?);
        parts.metrics.connected.set(1);
        let nothing = || KnownDeliveries {
            horizon: progress.composed,
            ..KnownDeliveries::default()
        };
        Ok(IdempotentSession {
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
            resume_offsets,
            composed: progress.composed,
            known: known.unwrap_or_else(nothing),
        })
    }

    /// Gives the producer up, and finds out what became of its messages.
    pub fn end(mut self, outcome: Result<(), ForwardError>) -> SessionEnd {
        let reports = self.publisher.final_reports(self.parts.report_timeout());
        for delivery in reports.receipts {
            self.window.settle(delivery.ticket, delivery.offset);
        }
        self.take_delivered();
        self.unsent.extend(reports.failures);
        let refused = super::refused(self.unsent, |ticket| self.window.message(ticket));
        let mut known = reports.is_complete.then_some(self.known);
        if let Some(known) = &mut known {
            let unfinished = self.unfinished.iter().map(|delivered| (&delivered.message, true));
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
        let notes = self.resume_offsets.take_notes();
        self.parts.reader.deliver(self.source.delivered, notes);
        SessionEnd {
            outcome,
            progress: self.source.progress(),
            known,
            refused,
            unexplained: Vec::new(),
        }
    }

    pub fn run(&mut self) -> Result<(), ForwardError> {
        loop {
            let due = self.pulse.due(self.publisher.in_flight(), Instant::now());
            let sent = due.is_zero() && self.advance()?;
            let collected = self.collect()?;
            self.parts.reader.confirm(self.source.delivered);
            self.source.report(self.parts, || self.resume_offsets.take_notes());
            if self.source.is_over(self.parts) {
                return Ok(());
            }
            if !sent && !collected {
                self.wait(due);
                self.parts.report_reachability(&self.publisher);
                self.watch_for_stall()?;
            }
        }
    }

    /// Sends some of the waiting messages; ends the pulse where nothing waits. True when it sent anything.
    fn advance(&mut self) -> Result<bool, ForwardError> {
        if self.source.pending.is_empty() {
            self.source.fill(self.parts, &self.publisher)?;
            if let Some(bare) = self.source.bare.take() {
                self.window.complete(bare.seq);
            }
        }
        self.prepare()?;
        self.parts.reader.note_recovery(false);
        // When the time to drain is over, Kafka may have messages that were not looked up.
        let sent = !self.parts.abandon.is_raised() && self.send()?;
        if sent {
            self.pulse.begin();
        } else if !self.window.is_empty() {
            self.pulse.end(Instant::now());
        }
        Ok(sent)
    }

    /// Finds out which messages of earlier sessions are in these partitions, at or behind their resume offsets.
    fn look_up(&mut self, offsets: &HashMap<Slot, i64>) -> Result<(), ForwardError> {
        self.parts.reader.note_recovery(true);
        self.settle(&offsets.keys().cloned().collect())?;
        if self.parts.abandon.is_raised() {
            return Ok(());
        }
        let present = read_back(&self.parts.config, &self.parts.spool, offsets)?;
        info!(
            partitions = offsets.len(),
            found = present.len(),
            "looked up what Kafka has of undelivered records"
        );
        self.known.present.merge(present);
        self.known.looked_up.extend(offsets.keys().cloned());
        // Nothing could be delivered meanwhile.
        self.progress_at = Instant::now();
        Ok(())
    }

    /// Waits until no message of an earlier session can arrive in these partitions any more and all of their messages can be read, or
    /// until the time to drain is over.
    fn settle(&mut self, slots: &HashSet<Slot>) -> Result<(), ForwardError> {
        let abandon = &self.parts.abandon;
        let mut is_logged = false;
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
                    if !std::mem::replace(&mut is_logged, true) {
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

    /// Sends prepared messages until librdkafka's queue is full; true when it sent anything.
    fn send(&mut self) -> Result<bool, ForwardError> {
        let mut sent = false;
        while let Some(step) = self.source.pending.front()
            && self.sendable > 0
            && self.window.len() < WINDOW_MAX
        {
            let message = &step.message;
            let completes = step.completes.map(|record| record.seq);
            let is_timeline = self.parts.composer.is_timeline(&message.slot.topic);
            let is_counted = message.position.seq <= self.composed && !is_timeline;
            if self.is_present(message) || (is_timeline && self.is_moot(message)) {
                self.window.pass(completes);
                self.parts.metrics.skipped.inc_by(is_counted.into());
            } else {
                // A suspect is sent alone, so that a refusal concerns no other message.
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
                    Sent::Refused(failure) => return Err(super::unsendable(&mut self.unsent, failure)),
                }
            }
            self.parts.metrics.replayed.inc_by(is_counted.into());
            self.source.pending.pop_front();
            self.sendable -= 1;
            sent = true;
        }
        Ok(sent)
    }

    /// Whether an earlier session has sent this event already, here or as a dead letter.
    fn is_present(&self, message: &Message) -> bool {
        let present = &self.known.present;
        if message.position.seq > self.composed || present.is_empty() {
            return false;
        }
        present.has(message, self.parts.composer.other_place(message).as_ref())
    }

    /// Whether a timeline message is not to be sent: its event is a dead letter, and its own topic does not have it.
    fn is_moot(&self, message: &Message) -> bool {
        let twin = message.twin.as_ref();
        twin.is_some_and(|twin| !self.known.present.has_event(message, twin))
    }

    /// Takes delivery reports; true when there were any.
    fn collect(&mut self) -> Result<bool, ForwardError> {
        for delivery in self.publisher.poll()? {
            self.window.settle(delivery.ticket, delivery.offset);
        }
        let any = self.take_delivered();
        if any || (self.window.is_empty() && self.source.pending.is_empty()) {
            self.progress_at = Instant::now();
        }
        Ok(any)
    }

    /// Counts delivered messages in order; true when there were any.
    fn take_delivered(&mut self) -> bool {
        let mut any = false;
        let now_ms = unix_ms();
        while let Some(done) = self.window.pop() {
            any = true;
            if let Some(delivered) = done.delivered {
                self.parts.count_delivery(&delivered.message, now_ms);
                self.unfinished.push(delivered);
            }
            if let Some(seq) = done.completes {
                self.source.deliver(seq, &self.parts.spans);
                for Delivered { message, offset } in self.unfinished.drain(..) {
                    self.resume_offsets.set(message.slot, offset + 1);
                }
            }
        }
        any
    }

    /// Waits for the next pulse, for records or for delivery reports.
    fn wait(&self, due: Duration) {
        if !due.is_zero() {
            // A sleep that nothing ends: woken by each delivery report, the thread ran 4600 times a second for 1000 events.
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

    /// Ends the session when nothing is delivered although Kafka answers. librdkafka can stall for ever on a partition whose leader was
    /// unknown for a while (its issue 5430).
    fn watch_for_stall(&mut self) -> Result<(), ForwardError> {
        let limit = Duration::from_secs(self.parts.config.stall_timeout_s);
        if self.progress_at.elapsed() < limit {
            return Ok(());
        }
        match hidden(&self.parts.config, &self.window.slots()) {
            // A delivery report may have come while the cluster was asked.
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
