//! One session of a producer: it publishes records until a fault or the end. This file has what both kinds of session share: what they
//! may use, where they begin, what they leave behind. A session knows nothing of the sessions before and after it.

mod claim;
mod idempotent;
mod resume_offsets;
mod source;
mod transactional;
mod window;

use std::time::Duration;

use tracing::info;

pub(super) use self::claim::Claim;
use self::idempotent::IdempotentSession;
pub(super) use self::idempotent::KnownDeliveries;
use self::transactional::TransactionalSession;
use self::window::InFlight;
use super::compose::Composer;
use super::error::ForwardError;
use super::metrics::Metrics;
use super::refusals::Refused;
use super::renewal::Renewals;
use crate::callback::Spans;
use crate::lifecycle::{Stop, unix_ms};
use crate::publish::{self, Delivery, Failure, Fault, Message, Publisher};
use crate::spool::Reader;

/// How long a producer that is given up may take to report what became of its messages.
const OUTCOMES_TIMEOUT: Duration = Duration::from_secs(3);

/// What a session may use.
pub struct Parts {
    /// The spool.
    pub reader: Reader,
    /// Makes messages of records.
    pub composer: Composer,
    /// Kafka.
    pub config: publish::Config,
    /// The spool's name in headers.
    pub spool: String,
    /// Where to count.
    pub metrics: Metrics,
    /// Where the spans of delivered records go.
    pub spans: Spans,
    /// Where new schemas arrive.
    pub renewals: Renewals,
    /// Raised when nothing more is appended: a session delivers the rest and ends.
    pub drain: Stop,
    /// Raised when the time to drain is over: a session ends, and the rest stays in the spool.
    pub abandon: Stop,
}

/// How far the sessions have come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Every record up to here is in Kafka.
    pub delivered: u64,
    /// The last record whose messages were composed. Nobody has sent messages of later records; Kafka may have some of those up to here.
    pub composed: u64,
}

/// What a session leaves behind.
pub(super) struct SessionEnd {
    /// `Ok` when it was drained or abandoned, or when new schemas can be used.
    pub outcome: Result<(), ForwardError>,
    pub progress: Progress,
    /// What became of every message that was sent; `None` where Kafka must be asked.
    pub known: Option<KnownDeliveries>,
    /// The messages that Kafka refused.
    pub refused: Vec<Refused>,
    /// Topics whose messages failed without an error of their own.
    pub unexplained: Vec<String>,
}

/// Runs one session with this producer, after sessions that came so far.
///
/// # Errors
/// A [`ForwardError`] where the session cannot begin.
pub(super) fn run(
    parts: &mut Parts,
    publisher: Publisher,
    progress: Progress,
    known: Option<KnownDeliveries>,
    claim: &mut Claim,
) -> Result<SessionEnd, ForwardError> {
    match parts.config.delivery {
        Delivery::Idempotent => {
            let mut session = IdempotentSession::begin(parts, publisher, progress, known)?;
            let outcome = session.run();
            Ok(session.end(outcome))
        }
        Delivery::Transactional => {
            let mut session = TransactionalSession::begin(parts, publisher, progress, claim)?;
            let outcome = session.run();
            Ok(session.end(outcome))
        }
    }
}

impl Parts {
    /// How long a producer that is given up may take to report what became of its messages.
    fn report_timeout(&self) -> Duration {
        if self.abandon.is_raised() {
            Duration::ZERO
        } else {
            OUTCOMES_TIMEOUT
        }
    }

    /// For a message that is about to be sent: the milliseconds since its arrival, where readers must know that it is late.
    fn late_ms(&self, message: &Message) -> Option<i64> {
        if !self.config.awaited {
            return None;
        }
        let age_ms = (unix_ms() - message.received_at_ms).max(0);
        let age = Duration::from_millis(age_ms.unsigned_abs());
        self.reader.is_late(message.position.seq, age).then_some(age_ms)
    }

    /// Counts a message that Kafka has.
    fn count_delivery(&mut self, message: &InFlight, now_ms: i64) {
        let topic = &message.slot.topic;
        self.metrics.published(topic, message.received_at_ms, now_ms);
        if self.composer.refusals.delivered(topic) {
            info!(topic = &**topic, "the topic takes messages again");
        }
    }

    /// Reports to the status page and to alerts whether a broker can be reached.
    fn report_reachability(&self, publisher: &Publisher) {
        self.metrics.connected.set(publisher.is_reachable().into());
    }
}

/// The error for a message that librdkafka refused. The failure joins the `unsent` ones, for the end of the session.
fn unsendable(unsent: &mut Vec<Failure>, failure: Failure) -> ForwardError {
    let fault = Fault::new("produce", format!("{}: {}", failure.topic, failure.text));
    unsent.push(failure);
    fault.into()
}

/// The refused messages among these failures, with their places in the spool.
fn refused<'m>(failures: Vec<Failure>, message: impl Fn(usize) -> Option<&'m InFlight>) -> Vec<Refused> {
    let refused = |failure: Failure| {
        let position = message(failure.ticket)?.position;
        Some(Refused { position, failure })
    };
    failures.into_iter().filter_map(refused).collect()
}
