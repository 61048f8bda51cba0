//! A trial transaction: whether the bridge can use its transactional id, and can write to the dead-letter topic in a transaction.
//! The transaction is aborted, so no consumer that reads committed messages sees it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::checkpoint::{spool_id, transactional_id};
use super::diagnosis::{Doing, diagnosis};
use super::native;
use super::{Config, Context, Extent, last_checkpoint, topics};

const TIMEOUT: Duration = Duration::from_secs(20);
const INIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of a trial transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// The transaction was begun and aborted.
    Works(String),
    /// It was not tried, because that would fence off another bridge.
    Skipped(String),
    /// The error, in a sentence.
    Refused(String),
}

/// Tries the transactional id of a spool that no other process has open: takes the id over, sends one message to the dead-letter
/// topic if that exists, and aborts. `exists` returns whether a topic exists.
pub fn try_transaction(config: &Config, spool: &str, exists: impl Fn(&str) -> bool) -> Trial {
    let id = transactional_id(&config.topic_prefix, spool_id(spool));
    let checkpoints = topics::checkpoint_topic(&config.topic_prefix);
    if exists(&checkpoints) {
        match last_checkpoint(config, spool, Extent::Visible) {
            Ok(Some(last)) if last.spool != spool => {
                return Trial::Skipped(format!(
                    "{id} is not tried: {} published last by it, and a bridge that still runs there would be fenced off",
                    last.spool
                ));
            }
            Ok(_) => {}
            Err(cause) => return Trial::Refused(format!("cannot read back the topic {checkpoints}: {}", cause.text)),
        }
    }
    let dead_letters = topics::dead_letter_topic(&config.topic_prefix);
    let topic = exists(&dead_letters).then_some(dead_letters);
    match aborted_transaction(config, spool, &id, topic.as_deref()) {
        Ok(()) => Trial::Works(format!("{id} was taken over, a transaction begun and aborted")),
        Err(text) => Trial::Refused(text),
    }
}

fn aborted_transaction(config: &Config, spool: &str, id: &str, topic: Option<&str>) -> Result<(), String> {
    let at_id = |cause: KafkaError| diagnosis(config, &Doing::InitTransactions(id), &cause, None);
    let producer: KafkaResult<BaseProducer<TrialContext>> = config
        .producer(spool_id(spool))
        .create_with_context(TrialContext::default());
    let producer = producer.map_err(at_id)?;
    producer.init_transactions(INIT_TIMEOUT).map_err(at_id)?;
    producer.begin_transaction().map_err(at_id)?;
    if let Some(topic) = topic {
        let at_topic = |cause, message: Option<&str>| diagnosis(config, &Doing::Write(topic), &cause, message);
        // The message lacks the bridge's headers, so no consumer takes it for an event.
        let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(0).payload("imbridge check");
        producer.send(record).map_err(|(cause, _)| at_topic(cause, None))?;
        let flushed = producer.flush(TIMEOUT);
        if let Some((cause, message)) = producer.context().first_error() {
            return Err(at_topic(cause, message.as_deref()));
        }
        flushed.map_err(|cause| at_topic(cause, None))?;
    }
    producer.abort_transaction(INIT_TIMEOUT).map_err(at_id)
}

/// An error of a message, with the broker's error message.
type SendError = (KafkaError, Option<String>);

/// Keeps the first error.
#[derive(Default)]
struct TrialContext(Mutex<Option<SendError>>);

impl TrialContext {
    fn first_error(&self) -> Option<SendError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for TrialContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

impl ProducerContext for TrialContext {
    type DeliveryOpaque = ();

    fn delivery(&self, outcome: &DeliveryResult<'_>, (): ()) {
        if let Err((cause, message)) = outcome {
            tracing::debug!(%cause, topic = message.topic(), "the trial message was refused");
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| (cause.clone(), native::produce_error(message)));
        }
    }
}
