//! One life of a transactional producer. What waits in the spool goes into one transaction, with a checkpoint of how far
//! it comes; the next one takes what came meanwhile. The checkpoint says after a fault where to go on, so nothing is
//! looked up, and consumers that read committed messages see each event exactly once.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{info, warn};

use super::life::Ended;
use super::refusals::Refused;
use super::source::{Completed, Source};
use super::window::InFlight;
use super::{Forwarder, Progress, Trouble};
use crate::lifecycle::unix_ms;
use crate::publish::{Checkpoint, ConnectError, Extent, Failure, Fault, Kind, Publisher, Sent, last_checkpoint};

/// Messages of one transaction, and bytes, but for the rest of the last record: a slow network must carry it in time.
const MESSAGES_MAX: usize = 5_000;
const BYTES_MAX: usize = 4 << 20;
/// How long to wait for room in librdkafka's queue.
const WAIT_FULL: Duration = Duration::from_millis(1);
/// How long to wait for records, with nothing to report.
const WAIT_IDLE: Duration = Duration::from_millis(100);
/// How long to wait for the number of a schema, or with progress to report.
const WAIT_SHORT: Duration = Duration::from_millis(20);

pub(super) struct Transactions<'a> {
    parts: &'a mut Forwarder,
    publisher: Publisher,
    source: Source,
    /// The messages of the transaction that is open, by their tickets.
    sent: Vec<InFlight>,
    /// What librdkafka did not take.
    unsent: Vec<Failure>,
    /// Records after this one were never composed before: nobody has sent them.
    horizon: u64,
    claim: &'a Claim,
}

/// Who publishes a spool id. Kafka fences off a producer when another takes over, and also one whose transaction took too
/// long; the last checkpoint tells which it was.
pub(super) struct Claim {
    /// This process.
    owner: String,
    /// Its checkpoint was committed once: from then on, one of another owner means that this process is replaced.
    made: bool,
}

impl Claim {
    pub fn new() -> Claim {
        Claim {
            owner: format!("{:x}-{:x}", unix_ms(), std::process::id()),
            made: false,
        }
    }

    /// Before a producer takes over, and thereby fences off whoever publishes now.
    pub fn verify(&self, parts: &Forwarder) -> Result<(), Trouble> {
        if !self.made {
            return Ok(());
        }
        // The transaction of the producer before may still be open, and would hide everything for a minute. Whoever took
        // over has ended it.
        // A Kafka that does not answer is no fault of a producer: there is none yet.
        let last = last_checkpoint(&parts.config, &parts.spool, Extent::Visible).map_err(ConnectError::Claim)?;
        self.compare(last.as_ref())
    }

    fn compare(&self, last: Option<&Checkpoint>) -> Result<(), Trouble> {
        match last {
            Some(last) if self.made && last.owner != self.owner => Err(Trouble::Replaced {
                spool: last.spool.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn checkpoint(&self, spool: &str, last: Completed) -> Checkpoint {
        Checkpoint {
            spool: spool.to_owned(),
            owner: self.owner.clone(),
            delivered: last.seq,
            appended_at_ms: last.appended_at_ms,
        }
    }
}

impl<'a> Transactions<'a> {
    /// Takes over from whoever published this spool before: goes on where the last checkpoint says, and says so.
    pub fn begin(
        parts: &'a mut Forwarder,
        publisher: Publisher,
        progress: Progress,
        claim: &'a mut Claim,
    ) -> Result<Transactions<'a>, Trouble> {
        // A broker that has just started may take a minute to end the transaction of the producer before. It is no fault of this one.
        let last = last_checkpoint(&parts.config, &parts.spool, Extent::Everything).map_err(ConnectError::Claim)?;
        claim.compare(last.as_ref())?;
        let start = go_on(parts, progress.delivered, last)?;
        publisher.begin()?;
        publisher.commit(&claim.checkpoint(&parts.spool, start))?;
        claim.made = true;
        parts.composer.recall(&mut parts.reader, start.seq);
        parts.metrics.connected.set(1);
        parts.reader.note_recovery(false);
        info!(from = start.seq + 1, "took over publishing for this spool id");
        Ok(Transactions {
            horizon: progress.composed,
            claim,
            source: Source::after(start.seq, progress.composed, parts),
            parts,
            publisher,
            sent: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// Gives the producer up. What its transaction had is not committed, or the last checkpoint says that it is.
    pub fn end(mut self) -> Ended {
        let refused = |failure: Failure| {
            let position = self.sent.get(failure.ticket)?.position;
            Some(Refused { position, failure })
        };
        // Only where something was refused is there anything to hear.
        let words = self.publisher.last_words(self.parts.patience());
        let failures = words.failures.into_iter().chain(std::mem::take(&mut self.unsent));
        let refused: Vec<Refused> = failures.filter_map(refused).collect();
        // A partition that Kafka does not add to the transaction fails it as a whole, and no message by itself.
        let unexplained = refused.iter().all(|refused| refused.failure.kind == Kind::Consequence);
        let topics: BTreeSet<&str> = self.sent.iter().map(|sent| &*sent.slot.topic).collect();
        Ended {
            delivered: self.source.delivered,
            composed: self.source.composed(),
            known: None,
            unexplained: topics.into_iter().filter(|_| unexplained).map(str::to_owned).collect(),
            refused,
        }
    }

    pub fn run(&mut self) -> Result<(), Trouble> {
        loop {
            if self.source.pending.is_empty() {
                self.source.fill(self.parts, &self.publisher)?;
            }
            if !self.source.pending.is_empty() {
                self.transact()?;
            } else if let Some(bare) = self.source.bare.take() {
                // Nothing is in flight between transactions, and nothing was sent: no checkpoint is needed.
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

    /// One transaction: everything that waits, up to its limit, and whole records only.
    fn transact(&mut self) -> Result<(), Trouble> {
        self.sent.clear();
        let (mut bytes, mut is_full) = (0, false);
        let mut complete = self.source.bare.take();
        self.publisher.begin()?;
        let mut is_whole = true;
        'transaction: loop {
            while let Some(step) = self.source.pending.front() {
                // What is in front of a topic that must be made ready first is committed first.
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
        let complete = complete.expect("what is composed is whole records");
        self.publisher
            .commit(&self.claim.checkpoint(&self.parts.spool, complete))?;
        self.source.deliver(complete.seq, &self.parts.spans);
        let replays = complete.seq <= self.horizon;
        let now_ms = unix_ms();
        for InFlight {
            slot, received_at_ms, ..
        } in self.sent.drain(..)
        {
            self.parts.metrics.published(&slot.topic, received_at_ms, now_ms);
            self.parts.note_delivery(&slot.topic);
            if replays && !self.parts.composer.is_timeline(&slot.topic) {
                self.parts.metrics.replayed.inc();
            }
        }
        Ok(())
    }

    /// Sends the first message that waits, once there is room for it; false when the time to drain is over before.
    fn send_first(&mut self) -> Result<bool, Trouble> {
        let message = &self.source.pending.front().expect("the caller looked at it").message;
        if !self.publisher.is_ready(&message.slot.topic) {
            self.publisher
                .make_ready(&self.source.topics(|topic| !self.publisher.is_ready(topic)))?;
        }
        // A suspect travels alone: a refusal is then its own.
        let alone = self.parts.composer.refusals.is_suspect(message.position);
        if alone && !self.wait_until(|it| Ok(it.publisher.in_flight() == 0))? {
            return Ok(false);
        }
        let sent = self.wait_until(Transactions::offer_first)?;
        if sent && alone {
            return self.wait_until(|it| Ok(it.publisher.in_flight() == 0));
        }
        Ok(sent)
    }

    /// True when librdkafka has taken the first message that waits, false when there is no room.
    fn offer_first(&mut self) -> Result<bool, Trouble> {
        let message = &self.source.pending.front().expect("the caller looked at it").message;
        let ticket = self.sent.len();
        let outcome = self.publisher.send(message, ticket, self.parts.late_ms(message))?;
        if outcome == Sent::Full {
            return Ok(false);
        }
        self.sent.push(InFlight::of(message));
        if let Sent::Refused(failure) = outcome {
            let fault = Fault::new("produce", format!("{}: {}", failure.topic, failure.text));
            self.unsent.push(failure);
            return Err(fault.into());
        }
        Ok(true)
    }

    /// False when the time to drain is over before.
    fn wait_until(&mut self, mut is_done: impl FnMut(&mut Self) -> Result<bool, Trouble>) -> Result<bool, Trouble> {
        while !is_done(self)? {
            self.publisher.poll()?;
            if self.parts.abandon.is_raised() {
                return Ok(false);
            }
            std::thread::sleep(WAIT_FULL);
        }
        Ok(true)
    }

    fn rest(&self) -> Result<(), Trouble> {
        // Serves what librdkafka tells of its brokers.
        self.publisher.poll()?;
        self.parts.tell_reachability(&self.publisher);
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

/// The last record that is delivered: the spool's own word may be behind the checkpoint's.
fn go_on(parts: &mut Forwarder, delivered: u64, last: Option<Checkpoint>) -> Result<Completed, Trouble> {
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
