//! A session of a transactional producer. Each transaction takes the records that wait in the spool, with a checkpoint of the last one.
//! After a fault the checkpoint tells where to go on, so nothing is looked up in Kafka. Consumers that read committed messages see each
//! event exactly once.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{info, warn};

use super::source::{Completed, Source};
use super::window::InFlight;
use super::{Claim, Parts, Progress, SessionEnd};
use crate::forward::error::ForwardError;
use crate::lifecycle::unix_ms;
use crate::publish::{Checkpoint, Failure, Kind, Publisher, Sent};

/// The most messages and bytes of one transaction; the last record may exceed them. A slow network must carry it in time.
const MESSAGES_MAX: usize = 5_000;
const BYTES_MAX: usize = 4 << 20;
/// Between two looks for room in librdkafka's queue.
const WAIT_FULL: Duration = Duration::from_millis(1);
/// How long to wait for records when there is no progress to report.
const WAIT_IDLE: Duration = Duration::from_millis(100);
/// How long to wait when a record waits for its schema's id, or when there is progress to report.
const WAIT_SHORT: Duration = Duration::from_millis(20);

pub(super) struct TransactionalSession<'a> {
    parts: &'a mut Parts,
    publisher: Publisher,
    source: Source,
    /// The messages of the open transaction; a message's ticket is its index.
    sent: Vec<InFlight>,
    /// Messages that librdkafka refused.
    unsent: Vec<Failure>,
    /// The last record that an earlier session composed.
    horizon: u64,
    claim: &'a Claim,
}

impl<'a> TransactionalSession<'a> {
    /// Takes over from the last producer of this spool: goes on where the last checkpoint says, and commits a checkpoint of its own.
    pub fn begin(
        parts: &'a mut Parts,
        publisher: Publisher,
        progress: Progress,
        claim: &'a mut Claim,
    ) -> Result<TransactionalSession<'a>, ForwardError> {
        let last = claim.take_over(parts)?;
        let start = start_after(parts, progress.delivered, last)?;
        publisher.begin()?;
        publisher.commit(&claim.checkpoint(&parts.spool, start))?;
        claim.confirm();
        parts.composer.recall(&mut parts.reader, start.seq);
        parts.metrics.connected.set(1);
        parts.reader.note_recovery(false);
        info!(from = start.seq + 1, "took over publishing for this spool id");
        Ok(TransactionalSession {
            horizon: progress.composed,
            claim,
            source: Source::after(start.seq, progress.composed, parts),
            parts,
            publisher,
            sent: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// Gives the producer up. The messages of its transaction are not committed, or the last checkpoint tells that they are.
    pub fn end(mut self, outcome: Result<(), ForwardError>) -> SessionEnd {
        let reports = self.publisher.final_reports(self.parts.report_timeout());
        self.unsent.extend(reports.failures);
        let refused = super::refused(self.unsent, |ticket| self.sent.get(ticket));
        // A partition that Kafka does not add to the transaction fails the transaction, and no message has an error of its own.
        let is_unexplained = refused.iter().all(|refused| refused.failure.kind == Kind::Consequence);
        let topics: BTreeSet<&str> = self.sent.iter().map(|sent| &*sent.slot.topic).collect();
        SessionEnd {
            outcome,
            progress: self.source.progress(),
            known: None,
            unexplained: topics
                .into_iter()
                .filter(|_| is_unexplained)
                .map(str::to_owned)
                .collect(),
            refused,
        }
    }

    pub fn run(&mut self) -> Result<(), ForwardError> {
        loop {
            if self.source.pending.is_empty() {
                self.source.fill(self.parts, &self.publisher)?;
            }
            if !self.source.pending.is_empty() {
                self.transact()?;
            } else if let Some(bare) = self.source.bare.take() {
                // Nothing is in flight between transactions and this record sends nothing, so no checkpoint is needed.
                self.source.delivered = bare.seq;
            } else {
                self.rest()?;
            }
            self.parts.reader.confirm(self.source.delivered);
            self.source.report(self.parts, Vec::new);
            if self.source.is_over(self.parts) {
                return Ok(());
            }
        }
    }

    /// One transaction: everything that waits, up to its limits, in whole records.
    fn transact(&mut self) -> Result<(), ForwardError> {
        self.sent.clear();
        let (mut bytes, mut is_full) = (0, false);
        let mut complete = self.source.bare.take();
        self.publisher.begin()?;
        let mut is_whole = true;
        'transaction: loop {
            while let Some(step) = self.source.pending.front() {
                // A topic that is not ready takes time: the messages in front of it are committed first.
                if is_whole && !self.sent.is_empty() && !self.publisher.is_ready(&step.message.slot.topic) {
                    break 'transaction;
                }
                let completes = step.completes;
                bytes += step.message.payload.len();
                if !self.send_first()? {
                    return Ok(());
                }
                self.source.pending.pop_front();
                is_whole = completes.is_some();
                complete = completes.or(complete);
                is_full = self.sent.len() >= MESSAGES_MAX || bytes >= BYTES_MAX;
                if is_whole && is_full {
                    break;
                }
            }
            self.publisher.poll()?;
            if is_full {
                break;
            }
            self.source.fill(self.parts, &self.publisher)?;
            complete = self.source.bare.take().or(complete);
            if self.source.pending.is_empty() {
                break;
            }
        }
        let complete = complete.expect("records are composed whole");
        self.publisher
            .commit(&self.claim.checkpoint(&self.parts.spool, complete))?;
        self.source.deliver(complete.seq, &self.parts.spans);
        let replays = complete.seq <= self.horizon;
        let now_ms = unix_ms();
        for message in self.sent.drain(..) {
            self.parts.count_delivery(&message, now_ms);
            if replays && !self.parts.composer.is_timeline(&message.slot.topic) {
                self.parts.metrics.replayed.inc();
            }
        }
        Ok(())
    }

    /// Sends the first message that waits, as soon as there is room for it; false when the time to drain is over before.
    fn send_first(&mut self) -> Result<bool, ForwardError> {
        let message = &self.source.pending.front().expect("the caller looked at it").message;
        if !self.publisher.is_ready(&message.slot.topic) {
            self.publisher
                .make_ready(&self.source.topics(|topic| !self.publisher.is_ready(topic)))?;
        }
        // A suspect is sent alone, so that a refusal concerns no other message.
        let alone = self.parts.composer.refusals.is_suspect(message.position);
        if alone && !self.wait_until(|it| Ok(it.publisher.in_flight() == 0))? {
            return Ok(false);
        }
        let sent = self.wait_until(TransactionalSession::offer_first)?;
        if sent && alone {
            return self.wait_until(|it| Ok(it.publisher.in_flight() == 0));
        }
        Ok(sent)
    }

    /// True when librdkafka has taken the first message that waits, false when there is no room.
    fn offer_first(&mut self) -> Result<bool, ForwardError> {
        let message = &self.source.pending.front().expect("the caller looked at it").message;
        let ticket = self.sent.len();
        let outcome = self.publisher.send(message, ticket, self.parts.late_ms(message))?;
        if outcome == Sent::Full {
            return Ok(false);
        }
        self.sent.push(InFlight::of(message));
        if let Sent::Refused(failure) = outcome {
            return Err(super::unsendable(&mut self.unsent, failure));
        }
        Ok(true)
    }

    /// False when the time to drain is over before.
    fn wait_until(
        &mut self,
        mut is_done: impl FnMut(&mut Self) -> Result<bool, ForwardError>,
    ) -> Result<bool, ForwardError> {
        while !is_done(self)? {
            self.publisher.poll()?;
            if self.parts.abandon.is_raised() {
                return Ok(false);
            }
            std::thread::sleep(WAIT_FULL);
        }
        Ok(true)
    }

    /// Waits for records.
    fn rest(&self) -> Result<(), ForwardError> {
        // Takes librdkafka's events about its brokers.
        self.publisher.poll()?;
        self.parts.report_reachability(&self.publisher);
        let short = self.source.held_up || !self.source.is_reported();
        let time = if short { WAIT_SHORT } else { WAIT_IDLE };
        if self.source.held_up {
            std::thread::sleep(time);
        } else {
            self.parts.reader.wait(self.source.read, time);
        }
        Ok(())
    }
}

/// The last record that is delivered. The spool's own note may be older than the checkpoint.
fn start_after(parts: &mut Parts, delivered: u64, last: Option<Checkpoint>) -> Result<Completed, ForwardError> {
    let own = Completed {
        seq: delivered,
        appended_at_ms: 0,
    };
    let Some(last) = last.filter(|last| last.spool == parts.spool && last.delivered >= delivered) else {
        return Ok(own);
    };
    let last = Completed {
        seq: last.delivered,
        appended_at_ms: last.appended_at_ms,
    };
    if last.seq == delivered {
        return Ok(last);
    }
    let record = parts.reader.read(last.seq - 1, 1)?.into_iter().next();
    if record.is_some_and(|record| Completed::of(&record) == last) {
        return Ok(last);
    }
    warn!(
        delivered,
        checkpoint = last.seq,
        "the checkpoint in Kafka is of another history of this spool: its folder was set back; publishing goes on from the folder"
    );
    Ok(own)
}
