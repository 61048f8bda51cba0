//! From the spool to Kafka: one thread, one order.
//!
//! It reads records in order, composes their messages, sends them, and reports what is delivered back to the spool.
//! Any fault ends the producer's life; the next life starts at the first record that is not delivered, and first looks
//! up in Kafka which of those are there already. It knows no HTTP.

mod compose;
mod dead_letter;
mod history;
mod life;
mod marks;
mod metrics;
mod names;
mod recall;
mod recent;
mod refusals;
mod renewal;
mod repeats;
mod sequences;
mod source;
#[cfg(test)]
mod tests;
mod timeline;
mod transactions;
mod unfold;
mod window;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::{debug, error, info, warn};

pub use compose::{Composer, Waiting};
pub use history::Config;
pub use metrics::Metrics;
pub use recent::{Latest, Sample};
pub use renewal::{Renewal, Renewals};
pub use sequences::Irregularity;

use crate::callback::{Provider, Spans};
use crate::lifecycle::{Backoff, Stop, unix_ms};
use crate::publish::{self, Delivery, Failure, Kind, Message, Publisher, TopicRefused, Unready};
use crate::spool::{ReadError, Reader};
use life::{Ended, Known, Life};
use refusals::Refused;
use transactions::{Claim, Transactions};

const OUTCOMES_TIMEOUT: Duration = Duration::from_secs(3);
const DELIVERY_NOTE: &str = "delivery";

/// The way of delivery ([`Delivery::as_str`]) that published this spool last, `None` when nothing did.
///
/// # Errors
/// [`ReadError`] when the spool cannot be read.
pub fn delivery_note(reader: &mut Reader) -> Result<Option<String>, ReadError> {
    let notes = reader.notes()?;
    Ok(notes
        .into_iter()
        .find_map(|(key, value)| (key == DELIVERY_NOTE).then_some(value)))
}

/// Everything that forwarding needs; [`Forwarder::run`] is its thread.
pub struct Forwarder {
    /// The spool.
    pub reader: Reader,
    /// What makes messages of records.
    pub composer: Composer,
    /// Kafka.
    pub config: publish::Config,
    /// The spool's name in headers.
    pub spool: String,
    /// The last record that was there before this start: an earlier process may have sent what it became.
    pub earlier: u64,
    /// Who may send: only their topics are created ahead of time.
    pub providers: Vec<Provider>,
    /// Where to count.
    pub metrics: Metrics,
    /// Where spans of what is delivered are left.
    pub spans: Spans,
    /// Where new schemas are left while it runs.
    pub renewals: Renewals,
    /// Raised when nothing more is appended: deliver the rest and return.
    pub drain: Stop,
    /// Raised when the time to drain is over: return, the rest stays in the spool.
    pub abandon: Stop,
}

/// How far lives of producers have come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Every record up to here is in Kafka.
    delivered: u64,
    /// Messages of records after this one were never made, so nobody has sent them; of those up to it, Kafka may have some.
    composed: u64,
    /// It was asked what Kafka lets the bridge do.
    rights_asked: bool,
}

/// What ends a producer's life before its time.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Kafka(#[from] publish::Fault),
    #[error(transparent)]
    Connect(#[from] publish::ConnectError),
    #[error(transparent)]
    Topic(#[from] Unready),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the spool does not take notes: {0}")]
    Note(#[from] crate::spool::AppendError),
    #[error(
        "another bridge publishes for this spool id now (its spool is {spool}): only one may; nothing more is accepted or published here. Stop this one, or give one of them another spool.id"
    )]
    Replaced { spool: String },
    #[error("a fault in the bridge itself, please report it: {0}")]
    Panic(String),
}

impl Trouble {
    fn reason(&self) -> &'static str {
        match self {
            Trouble::Kafka(fault) => fault.reason,
            Trouble::Connect(_) => "connect",
            Trouble::Topic(Unready::Fault(fault)) => fault.reason,
            Trouble::Topic(Unready::Refused(_)) => "refused",
            Trouble::Read(_) | Trouble::Note(_) => "spool",
            Trouble::Replaced { .. } => "replaced",
            Trouble::Panic(_) => "panic",
        }
    }
}

impl Forwarder {
    /// The spool is open, and held records up to this one already.
    pub fn begin_with(&mut self, earlier: u64) {
        self.earlier = earlier;
        self.spool = self.reader.name();
        self.composer.names.spool.clone_from(&self.spool);
    }

    /// Forwards until it is drained or abandoned; true when everything is delivered.
    pub fn run(mut self) -> bool {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut progress = Progress {
            delivered: self.reader.delivered(),
            composed: self.earlier,
            rights_asked: false,
        };
        let mut connect_failures = 0u64;
        let mut claim = Claim::new();
        let mut known = None;
        loop {
            let everything = self.reader.appended() <= progress.delivered;
            if self.abandon.is_raised() || (self.drain.is_raised() && everything) {
                return everything;
            }
            if progress.delivered >= progress.composed
                && let Some(renewal) = self.renewals.take()
            {
                self.composer.renew(renewal, &self.config.topic_prefix);
                info!(
                    from = progress.delivered + 1,
                    topics = self.composer.topics().len(),
                    "publishing goes on with the schemas that were loaded"
                );
            }
            // A panic in this thread must not leave a bridge that accepts and never delivers.
            let carried = known.take();
            let life = AssertUnwindSafe(|| self.live(&mut progress, carried, &mut claim));
            let life = catch_unwind(life).unwrap_or_else(|panic| {
                progress.composed = self.reader.appended();
                Err(Trouble::Panic(words_of(panic.as_ref())))
            });
            let life = life.and_then(|(outcome, ended)| {
                if ended.delivered > progress.delivered {
                    backoff.reset();
                }
                progress.delivered = ended.delivered;
                self.reader.confirm(progress.delivered);
                progress.composed = ended.composed;
                known = ended.known;
                outcome.or_else(|trouble| self.learn(trouble, ended.refused, &ended.unexplained))
            });
            match life {
                Ok(()) => continue,
                Err(trouble @ Trouble::Connect(_)) => {
                    connect_failures += 1;
                    // An outage of hours is one line a minute, not a flood.
                    if connect_failures.is_power_of_two() || connect_failures.is_multiple_of(12) {
                        warn!(%trouble, attempts = connect_failures, "Kafka is not ready; callbacks are kept in the spool");
                    }
                }
                Err(trouble @ Trouble::Replaced { .. }) => {
                    error!(%trouble, delivered = progress.delivered, "replaced");
                    self.metrics.producers.with_label_values(&[trouble.reason()]).inc();
                    self.metrics.connected.set(0);
                    self.reader.stop_accepting(&trouble.to_string());
                    return false;
                }
                Err(trouble) => {
                    connect_failures = 0;
                    error!(%trouble, delivered = progress.delivered, "publishing starts over from the first record that is not delivered");
                    self.metrics.producers.with_label_values(&[trouble.reason()]).inc();
                }
            }
            self.metrics.connected.set(0);
            // Where Kafka is away, callbacks are taken all the same.
            self.reader.note_recovery(false);
            self.abandon.pause(backoff.wait());
        }
    }

    /// Takes in what was refused. `Ok` where that makes publishing go on: at once, with dead letters.
    fn learn(&mut self, trouble: Trouble, refused: Vec<Refused>, unexplained: &[String]) -> Result<(), Trouble> {
        for Refused { position, failure } in &refused {
            let Failure { topic, error, text, .. } = failure;
            debug!(%position, topic, error, text, "not delivered");
        }
        let mut topics: Vec<TopicRefused> = Vec::new();
        if let Trouble::Topic(Unready::Refused(topic)) = &trouble {
            topics.push(topic.clone());
        }
        for Refused { failure, .. } in &refused {
            if !topics.iter().any(|topic| topic.topic == failure.topic) {
                topics.extend(failure.topic_refused(&self.config));
            }
        }
        if topics.is_empty() && !unexplained.is_empty() {
            topics = publish::unwritable(&self.config, unexplained);
        }
        let now = std::time::Instant::now();
        let mut goes_on = false;
        for topic in topics {
            if self.composer.is_dead_letter_topic(&topic.topic) {
                error!(
                    topic = topic.topic,
                    cause = topic.text,
                    "the topic of dead letters refuses: publishing waits until it takes messages"
                );
                return Err(trouble);
            }
            let (grace_s, is_timeline) = (self.config.refusal_grace_s, self.composer.is_timeline(&topic.topic));
            let closed = self.composer.refusals.learn_topic(&topic, is_timeline, now);
            let (topic, cause) = (&topic.topic, &topic.text);
            goes_on |= closed;
            match (closed, is_timeline) {
                (true, false) => error!(
                    topic,
                    cause,
                    "the topic refuses: its events become dead letters, and it is tried again each minute; imbridge replay brings them back"
                ),
                (true, true) => error!(
                    topic,
                    cause,
                    "the timeline refuses: events are left out of it, and it is tried again each minute; their own topics have them"
                ),
                (false, false) => warn!(
                    topic,
                    cause, grace_s, "the topic refuses: publishing waits for it, then its events become dead letters"
                ),
                (false, true) => warn!(
                    topic,
                    cause, grace_s, "the timeline refuses: publishing waits for it, then events are left out of it"
                ),
            }
        }
        let (letters, others): (Vec<_>, Vec<_>) = refused
            .into_iter()
            .partition(|refused| self.composer.is_dead_letter_topic(&refused.failure.topic));
        if let Some(letter) = letters.iter().find(|letter| letter.failure.kind == Kind::Record) {
            error!(
                cause = letter.failure.text,
                "Kafka refuses a dead letter: publishing waits until it takes it"
            );
            return Err(trouble);
        }
        let judged = self.composer.refusals.learn_records(&others);
        if judged {
            error!(%trouble, "Kafka refuses a record: it becomes a dead letter, or is left out of the timeline");
        }
        if judged || goes_on { Ok(()) } else { Err(trouble) }
    }

    /// How long a producer that is given up may take to say what became of its messages.
    fn patience(&self) -> Duration {
        if self.abandon.is_raised() {
            Duration::ZERO
        } else {
            OUTCOMES_TIMEOUT
        }
    }

    /// For a message that is about to be sent: how late it is, in milliseconds after its arrival, where readers must know.
    fn late_ms(&self, message: &Message) -> Option<i64> {
        if !self.config.awaited {
            return None;
        }
        let age_ms = (unix_ms() - message.received_at_ms).max(0);
        let age = Duration::from_millis(age_ms.unsigned_abs());
        self.reader.is_late(message.position.seq, age).then_some(age_ms)
    }

    /// A message of this topic is delivered.
    fn note_delivery(&mut self, topic: &str) {
        if self.composer.refusals.delivered(topic) {
            info!(topic, "the topic takes messages again");
        }
    }

    /// For the status page and alerts, when there is nothing else to do.
    fn tell_reachability(&self, publisher: &Publisher) {
        self.metrics.connected.set(publisher.is_reachable().into());
    }

    /// One session of a producer: what ended it, or `Ok` when it was drained or abandoned, or new schemas can be used; and what it leaves
    /// behind.
    fn live(
        &mut self,
        progress: &mut Progress,
        known: Option<Known>,
        claim: &mut Claim,
    ) -> Result<(Result<(), Trouble>, Ended), Trouble> {
        claim.verify(self)?;
        // Those that are looked up at the start, and created there where that is wanted.
        let topics = self.composer.topics_of(&self.providers);
        let mut publisher = Publisher::connect(&self.config, &topics, &self.spool)?;
        publisher.notify(self.reader.interrupter());
        info!(
            brokers = self.config.brokers,
            from = progress.delivered + 1,
            "connected to Kafka"
        );
        self.reader.note_recovery(progress.delivered < progress.composed);
        // Each right is asked for before it is needed: without the one to read, the first crash would be the first to tell.
        if !std::mem::replace(&mut progress.rights_asked, true) {
            for missing in publish::missing_rights(&self.config, &topics) {
                warn!(missing, "Kafka does not let the bridge do all that it will have to");
            }
        }
        let delivery = self.config.delivery.as_str();
        self.reader
            .deliver_durably(0, vec![(DELIVERY_NOTE.to_owned(), delivery.to_owned())])?;
        // A session that panicked has left its progress, and marks that belong to it, in the spool alone.
        progress.delivered = progress.delivered.max(self.reader.delivered());
        Ok(match self.config.delivery {
            Delivery::Idempotent => {
                let mut life = Life::begin(self, publisher, *progress, known)?;
                (life.run(), life.end())
            }
            Delivery::Transactional => {
                let mut life = Transactions::begin(self, publisher, *progress, claim)?;
                (life.run(), life.end())
            }
        })
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no words").to_owned()
}
