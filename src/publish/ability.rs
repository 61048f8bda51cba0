//! Whether Kafka lets the bridge do what it will do: rights on the topics that are there, topics that are not there created
//! on trial, a transaction begun and aborted. It changes nothing in Kafka that a consumer of committed messages sees.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::checkpoint::checkpoint_topic;
use super::diagnosis::{Doing, Resource, diagnosis, lack, purpose};
use super::native::{self, Allowed, NewTopic, Operation};
use super::transaction::{spool_id, transactional_id};
use super::{Config, ConnectError, Context, Delivery, Extent, last_checkpoint, topics};

const TIMEOUT: Duration = Duration::from_secs(20);
const INIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A right that is missing, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing, what for, and the command that gives it.
    pub text: String,
    /// The bridge does not publish without it.
    pub fatal: bool,
    /// Topics of which it cannot be seen whether they are there.
    pub unseen: Vec<String>,
}

/// The rights that are missing on topics that are there, and that publishing needs; nothing where Kafka does not tell.
pub fn missing_rights(config: &Config, topics: &[String]) -> Vec<String> {
    match lacks(config, topics) {
        Ok(lacks) => lacks
            .into_iter()
            .filter(|lack| lack.fatal)
            .map(|lack| lack.text)
            .collect(),
        Err(cause) => {
            tracing::debug!(cause, "the cluster does not tell what the bridge may do");
            Vec::new()
        }
    }
}

/// The rights that are missing on topics that are there. Whether a topic is there cannot be seen without Describe.
///
/// # Errors
/// A sentence, when the cluster does not answer.
pub fn lacks(config: &Config, topics: &[String]) -> Result<Vec<Lack>, String> {
    if config.mock {
        return Ok(Vec::new());
    }
    let asked = || {
        let client = super::consumer(config, "imbridge-rights", &[])?;
        native::authorized_operations(client.client(), topics, TIMEOUT)
    };
    let allowed = asked().map_err(|cause| diagnosis(config, &Doing::Connect, &cause, None))?;
    let mut missing: BTreeMap<Operation, Vec<&str>> = BTreeMap::new();
    for topic in topics {
        let lacking = match allowed.get(topic) {
            Some(Ok(allowed)) => lacking(config, topic, allowed),
            Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) => vec![Operation::Describe],
            Some(Err(_)) | None => Vec::new(),
        };
        for operation in lacking {
            missing.entry(operation).or_default().push(topic);
        }
    }
    let sentence = |(operation, topics): (Operation, Vec<&str>)| Lack {
        unseen: match operation {
            Operation::Describe => topics.iter().map(|topic| (*topic).to_owned()).collect(),
            _ => Vec::new(),
        },
        text: lack(config, &[operation], &Resource::Topics(topics), purpose(operation)),
        fatal: operation != Operation::DescribeConfigs,
    };
    Ok(missing.into_iter().map(sentence).collect())
}

/// What the bridge needs on a topic and is not allowed. Kafka's Write and Read imply Describe.
fn lacking(config: &Config, topic: &str, allowed: &Allowed) -> Vec<Operation> {
    let Some(allowed) = allowed else { return Vec::new() };
    let mut needed = vec![Operation::Write, Operation::Describe, Operation::DescribeConfigs];
    // With transactions the checkpoint says what is there, and only it is read.
    if config.delivery == Delivery::Idempotent || topic == checkpoint_topic(&config.topic_prefix) {
        needed.push(Operation::Read);
    }
    needed.retain(|operation| !allowed.contains(operation));
    needed
}

/// Why each of these missing topics could not be created, by name; the controller is asked and creates none.
///
/// # Errors
/// A sentence, when the cluster does not answer.
pub fn refused_topics(config: &Config, missing: &[String]) -> Result<BTreeMap<String, String>, String> {
    let new = |topic: &String| NewTopic {
        name: topic.clone(),
        partitions: config.partitions,
        replicas: config.replication_factor,
        config: topics::wanted(config, topic),
    };
    let new: Vec<_> = missing.iter().map(new).collect();
    let asked = || {
        let client = super::consumer(config, "imbridge-trial", &[])?;
        native::create_topics(client.client(), &new, true, TIMEOUT)
    };
    let outcomes = asked().map_err(|cause| diagnosis(config, &Doing::Connect, &cause, None))?;
    let refused = outcomes.into_iter().filter_map(|(topic, outcome)| {
        let refused = outcome
            .err()
            .filter(|refused| refused.code != RDKafkaErrorCode::TopicAlreadyExists)?;
        let cause = KafkaError::AdminOp(refused.code);
        let text = diagnosis(config, &Doing::Create(&topic), &cause, Some(&refused.text));
        Some((topic, text))
    });
    Ok(refused.collect())
}

/// The largest message that the topics take, by the one that takes the least.
///
/// # Errors
/// A sentence, when the cluster does not tell.
pub fn message_limits(config: &Config, topics: &[String]) -> Result<String, String> {
    let told = |cause: ConnectError| format!("max.message.bytes is not told: {cause}");
    let limits = topics::limits(config, topics).map_err(told)?;
    let least = limits.iter().min_by_key(|(topic, bytes)| (**bytes, *topic));
    Ok(match least {
        Some((topic, bytes)) => format!(
            "max.message.bytes is at least {bytes} on {} topics ({topic}), kafka.max_message_bytes is {}",
            limits.len(),
            config.max_message_bytes
        ),
        None => "no topic tells its max.message.bytes".to_owned(),
    })
}

/// What came of a transaction on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// It was begun and aborted.
    Works(String),
    /// It was not tried, since that would fence off another bridge.
    Skipped(String),
    /// What is wrong.
    Refused(String),
}

/// Uses the transactional id of a spool that nobody else has open: takes it over, sends one message to the dead-letter
/// topic where that is there, and aborts. `there` says whether a topic exists.
pub fn try_transaction(config: &Config, spool: &str, there: impl Fn(&str) -> bool) -> Trial {
    let id = transactional_id(&config.topic_prefix, spool_id(spool));
    let checkpoints = checkpoint_topic(&config.topic_prefix);
    if there(&checkpoints) {
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
    let topic = there(&dead_letters).then_some(dead_letters);
    match aborted_transaction(config, spool, topic.as_deref()) {
        Ok(()) => Trial::Works(format!("{id} was taken over, a transaction begun and aborted")),
        Err((cause, Some(topic))) => Trial::Refused(diagnosis(config, &Doing::Write(&topic), &cause, None)),
        Err((cause, None)) => Trial::Refused(diagnosis(config, &Doing::InitTransactions(&id), &cause, None)),
    }
}

/// Where an error came from: the topic that was sent to, or none.
type At = (KafkaError, Option<String>);

fn aborted_transaction(config: &Config, spool: &str, topic: Option<&str>) -> Result<(), At> {
    let at_id = |cause| (cause, None);
    let producer: KafkaResult<BaseProducer<Reports>> =
        config.producer(spool_id(spool)).create_with_context(Reports::default());
    let producer = producer.map_err(at_id)?;
    producer.init_transactions(INIT_TIMEOUT).map_err(at_id)?;
    producer.begin_transaction().map_err(at_id)?;
    if let Some(topic) = topic {
        let at_topic = |cause| (cause, Some(topic.to_owned()));
        // Without the bridge's headers nobody takes it for an event.
        let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(0).payload("imbridge check");
        producer.send(record).map_err(|(cause, _)| at_topic(cause))?;
        let flushed = producer.flush(TIMEOUT);
        if let Some(refused) = producer.context().refused() {
            return Err(at_topic(refused));
        }
        flushed.map_err(at_topic)?;
    }
    producer.abort_transaction(INIT_TIMEOUT).map_err(at_id)
}

/// Keeps the first message that was refused.
#[derive(Default)]
struct Reports(Mutex<Option<KafkaError>>);

impl Reports {
    fn refused(&self) -> Option<KafkaError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, outcome: &DeliveryResult<'_>, (): ()) {
        if let Err((cause, message)) = outcome {
            tracing::debug!(%cause, topic = message.topic(), "a message on trial was refused");
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(cause.clone());
        }
    }
}
