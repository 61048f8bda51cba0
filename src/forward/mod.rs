//! From the spool to Kafka: one thread, one order.
//!
//! The forwarder runs sessions of producers, one after the other. A session reads records in order, composes their messages, sends them,
//! and reports what is delivered back to the spool. A fault ends the session. The next session starts at the first record that is not
//! delivered, and first looks up in Kafka which of the messages are there already. The forwarder knows no HTTP.

mod compose;
mod dead_letter;
mod error;
mod history;
mod metrics;
mod names;
mod recall;
mod recent;
mod refusals;
mod renewal;
mod repeats;
mod sequences;
mod session;
#[cfg(test)]
mod tests;
mod timeline;
mod unfold;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

pub use compose::{Composer, Waiting};
pub use history::Config;
pub use metrics::Metrics;
pub use recent::{Latest, Sample};
pub use renewal::{Renewal, Renewals};
pub use sequences::Irregularity;
pub use session::Parts;

use self::error::ForwardError;
use self::refusals::Refused;
use self::session::{Claim, KnownDeliveries, Progress, SessionEnd};
use crate::callback::Provider;
use crate::lifecycle::Backoff;
use crate::publish::{self, Failure, Kind, Publisher, TopicRefused, Unready};
use crate::spool::{ReadError, Reader};

/// The note in the spool that holds the way of delivery.
const DELIVERY_NOTE: &str = "delivery";

/// The way of delivery ([`publish::Delivery::as_str`]) that published this spool last; `None` when nothing was published.
///
/// # Errors
/// [`ReadError`] when the spool cannot be read.
pub fn delivery_note(reader: &mut Reader) -> Result<Option<String>, ReadError> {
    let notes = reader.notes()?;
    Ok(notes
        .into_iter()
        .find_map(|(key, value)| (key == DELIVERY_NOTE).then_some(value)))
}

/// The forwarder; [`Forwarder::run`] is its thread.
pub struct Forwarder {
    /// What its sessions use.
    pub parts: Parts,
    /// The configured senders' providers: only their topics are looked up, and created, when a session begins.
    providers: Vec<Provider>,
    /// The last record that was there before this start: an earlier process may have sent its messages.
    earlier: u64,
    /// Kafka was asked what it lets the bridge do.
    rights_asked: bool,
}

impl Forwarder {
    /// A forwarder for a spool that is not open yet.
    pub fn new(parts: Parts, providers: Vec<Provider>) -> Forwarder {
        Forwarder {
            parts,
            providers,
            earlier: 0,
            rights_asked: false,
        }
    }

    /// The spool is open, and holds records up to `earlier`.
    pub fn begin_with(&mut self, earlier: u64) {
        self.earlier = earlier;
        self.parts.spool = self.parts.reader.name();
        self.parts.composer.names.spool.clone_from(&self.parts.spool);
    }

    /// Forwards until it is drained or abandoned; true when everything is delivered.
    pub fn run(mut self) -> bool {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut progress = Progress {
            delivered: self.parts.reader.delivered(),
            composed: self.earlier,
        };
        let mut connect_failures = 0u64;
        let mut claim = Claim::new();
        let mut known = None;
        loop {
            let everything = self.parts.reader.appended() <= progress.delivered;
            if self.parts.abandon.is_raised() || (self.parts.drain.is_raised() && everything) {
                return everything;
            }
            self.renew(progress);
            let Err(error) = self.session(&mut progress, &mut known, &mut claim, &mut backoff) else {
                continue;
            };
            self.parts.metrics.connected.set(0);
            match error {
                ForwardError::Connect(_) => {
                    connect_failures += 1;
                    // One line a minute: an outage may take hours.
                    if connect_failures.is_power_of_two() || connect_failures.is_multiple_of(12) {
                        warn!(%error, attempts = connect_failures, "Kafka is not ready; callbacks are kept in the spool");
                    }
                }
                ForwardError::Replaced { .. } => {
                    error!(%error, delivered = progress.delivered, "replaced");
                    self.count_rebuild(&error);
                    self.parts.reader.stop_accepting(&error.to_string());
                    return false;
                }
                _ => {
                    connect_failures = 0;
                    error!(%error, delivered = progress.delivered, "publishing starts over from the first record that is not delivered");
                    self.count_rebuild(&error);
                }
            }
            // While Kafka is away, callbacks are accepted all the same.
            self.parts.reader.note_recovery(false);
            self.parts.abandon.pause(backoff.wait());
        }
    }

    fn count_rebuild(&self, error: &ForwardError) {
        self.parts.metrics.producers.with_label_values(&[error.reason()]).inc();
    }

    /// Takes new schemas, once every record that was composed with the old ones is delivered.
    fn renew(&mut self, progress: Progress) {
        if progress.delivered < progress.composed {
            return;
        }
        if let Some(renewal) = self.parts.renewals.take() {
            self.parts.composer.renew(renewal, &self.parts.config.topic_prefix);
            info!(
                from = progress.delivered + 1,
                topics = self.parts.composer.topics().len(),
                "publishing goes on with the schemas that were loaded"
            );
        }
    }

    /// Runs one session and takes in what it leaves behind. `Ok` when the next one can begin at once.
    fn session(
        &mut self,
        progress: &mut Progress,
        known: &mut Option<KnownDeliveries>,
        claim: &mut Claim,
        backoff: &mut Backoff,
    ) -> Result<(), ForwardError> {
        let carried = known.take();
        // A panic in this thread must not leave a bridge that accepts and never delivers.
        let session = AssertUnwindSafe(|| self.connect(progress, carried, claim));
        let end = catch_unwind(session).unwrap_or_else(|panic| {
            progress.composed = self.parts.reader.appended();
            Err(ForwardError::Panic(panic_message(panic.as_ref())))
        })?;
        if end.progress.delivered > progress.delivered {
            backoff.reset();
        }
        *progress = end.progress;
        *known = end.known;
        self.parts.reader.confirm(progress.delivered);
        end.outcome
            .or_else(|error| self.learn(error, end.refused, &end.unexplained))
    }

    /// Connects a producer and runs a session with it.
    fn connect(
        &mut self,
        progress: &mut Progress,
        known: Option<KnownDeliveries>,
        claim: &mut Claim,
    ) -> Result<SessionEnd, ForwardError> {
        let Forwarder { parts, providers, .. } = self;
        claim.verify(parts)?;
        let topics = parts.composer.topics_of(providers);
        let mut publisher = Publisher::connect(&parts.config, &topics, &parts.spool)?;
        publisher.notify(parts.reader.interrupter());
        info!(
            brokers = parts.config.brokers,
            from = progress.delivered + 1,
            "connected to Kafka"
        );
        parts.reader.note_recovery(progress.delivered < progress.composed);
        // Each right is asked for before it is needed: the right to read is needed only after a crash.
        if !std::mem::replace(&mut self.rights_asked, true) {
            for missing in publish::missing_rights(&parts.config, &topics) {
                warn!(missing, "Kafka does not let the bridge do all that it will have to");
            }
        }
        let delivery = parts.config.delivery.as_str();
        parts
            .reader
            .deliver_durably(0, vec![(DELIVERY_NOTE.to_owned(), delivery.to_owned())])?;
        // A session that panicked has left its progress in the spool alone, with the resume offsets that belong to it.
        progress.delivered = progress.delivered.max(parts.reader.delivered());
        session::run(parts, publisher, *progress, known, claim)
    }

    /// Takes in what Kafka refused. `Ok` where publishing can go on at once, with dead letters.
    fn learn(
        &mut self,
        error: ForwardError,
        refused: Vec<Refused>,
        unexplained: &[String],
    ) -> Result<(), ForwardError> {
        for Refused { position, failure } in &refused {
            let Failure { topic, error, text, .. } = failure;
            debug!(%position, topic, error, text, "not delivered");
        }
        let Parts { composer, config, .. } = &mut self.parts;
        let mut topics: Vec<TopicRefused> = Vec::new();
        if let ForwardError::Topic(Unready::Refused(topic)) = &error {
            topics.push(topic.clone());
        }
        for Refused { failure, .. } in &refused {
            if !topics.iter().any(|topic| topic.topic == failure.topic) {
                topics.extend(failure.topic_refused(config));
            }
        }
        if topics.is_empty() && !unexplained.is_empty() {
            topics = publish::unwritable(config, unexplained);
        }
        let mut goes_on = false;
        for topic in topics {
            if composer.is_dead_letter_topic(&topic.topic) {
                let cause = topic.text;
                error!(
                    topic = topic.topic,
                    cause, "the dead-letter topic refuses: publishing waits until it takes messages"
                );
                return Err(error);
            }
            goes_on |= learn_topic(composer, &topic, config.refusal_grace_s);
        }
        let (letters, events): (Vec<_>, Vec<_>) = refused
            .into_iter()
            .partition(|refused| composer.is_dead_letter_topic(&refused.failure.topic));
        if let Some(letter) = letters.iter().find(|letter| letter.failure.kind == Kind::Record) {
            let cause = &letter.failure.text;
            error!(cause, "Kafka refuses a dead letter: publishing waits until it takes it");
            return Err(error);
        }
        if composer.refusals.learn_records(&events) {
            error!(%error, "Kafka refuses a record: it becomes a dead letter, or is left out of the timeline");
            goes_on = true;
        }
        if goes_on { Ok(()) } else { Err(error) }
    }
}

/// Takes in that a topic refuses; true when publishing goes on without it.
fn learn_topic(composer: &mut Composer, refused: &TopicRefused, grace_s: u64) -> bool {
    let is_timeline = composer.is_timeline(&refused.topic);
    let closed = composer.refusals.learn_topic(refused, is_timeline, Instant::now());
    let TopicRefused { topic, text: cause, .. } = refused;
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
    closed
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}
