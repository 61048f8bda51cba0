//! One life of a producer: from the connection to the first fault. It keeps no order of its own: what is sent in order
//! is in Kafka in order, or the life ends and the caller starts over from the spool.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::context::advice;
use super::message::{Message, RECEIVED_AT_HEADER, Receipt, SEQ_HEADER, SPOOL_HEADER, Slot};
use super::read_back::{self, Present};
use super::transaction::spool_id;
use super::{Config, ConnectError, Context, Delivery, EVENTS_MAX, Fault, hidden, topics};

const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two questions whether a cluster that had gone is back.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// What a topic takes that does not tell: Kafka's default, rounded down.
const UNTOLD_LIMIT_BYTES: usize = 1_000_000;

/// A topic that takes less holds up publishing: a dead letter's headers need some of it too. Also the least of `kafka.max_message_bytes`.
pub(super) const LEAST_LIMIT_BYTES: usize = 65_536;
/// A batch's own bytes, which librdkafka does not count in full.
const BATCH_HEADROOM_BYTES: usize = 1024;

/// What librdkafka tells between two polls.
#[derive(Default)]
pub(super) struct Reports {
    deliveries: Mutex<(Vec<Receipt>, Option<Fault>)>,
    /// Why no broker was reached, where that can be mended by the configuration: what to do, and librdkafka's words.
    refusal: Mutex<Option<(&'static str, String)>>,
    /// The caller says once what has gone wrong: librdkafka's lines about it are for those who look for them.
    quiet: AtomicBool,
    /// No broker was reached, and nothing was delivered since.
    down: AtomicBool,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if self.quiet.load(Ordering::Relaxed) {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        } else {
            Context.log(level, facility, message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.down.store(true, Ordering::Relaxed);
        }
        if let Some(advice) = advice(&error) {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some((advice, reason.to_owned()));
        }
        Context.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, outcome: &DeliveryResult<'_>, ticket: usize) {
        let mut reports = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(message) => reports.0.push(Receipt {
                ticket,
                offset: message.offset(),
            }),
            Err((cause, message)) => {
                let text = format!("{} partition {}: {cause}", message.topic(), message.partition());
                reports.1.get_or_insert(Fault::new("delivery", text));
            }
        }
    }
}

/// What a batch must be cut to, so that no topic refuses it whole: a broker holds whole batches against the limit, and a
/// batch that is refused would be refused again in the next life.
fn batch_limit(config: &Config, limits: &HashMap<String, usize>) -> Result<Option<usize>, ConnectError> {
    let Some((topic, least)) = limits.iter().min_by_key(|(_, limit)| **limit) else {
        return Ok(None);
    };
    if *least < LEAST_LIMIT_BYTES {
        return Err(ConnectError::Limit {
            topic: topic.clone(),
            found: *least,
            least: LEAST_LIMIT_BYTES,
        });
    }
    let batch = config.batch_bytes();
    if *least >= batch {
        return Ok(None);
    }
    tracing::warn!(
        topic,
        max_message_bytes = least,
        "the topic takes less than a batch of {batch} bytes; batches are cut to what it takes, larger messages become dead letters"
    );
    Ok(Some(least - BATCH_HEADROOM_BYTES))
}

/// Why the cluster did not answer: what came of the attempts to connect tells more than that there was no answer.
fn unreached(producer: &BaseProducer<Reports>, cause: KafkaError) -> ConnectError {
    let reports = producer.context();
    reports.quiet.store(true, Ordering::Relaxed);
    // Each call takes one event, and most of them are lines of log.
    for _ in 0..EVENTS_MAX {
        producer.poll(Duration::ZERO);
        if let Some((advice, cause)) = reports.refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return ConnectError::Refused { advice, cause };
        }
    }
    ConnectError::Kafka(cause)
}

/// A connected producer.
pub struct Publisher {
    pub(super) producer: BaseProducer<Reports>,
    pub(super) config: Config,
    spool: String,
    limits: HashMap<String, usize>,
    asked_at: Cell<Instant>,
    /// Whether the cluster is back, while that is being asked.
    question: Cell<Option<JoinHandle<bool>>>,
}

impl Publisher {
    /// Connects, makes sure of the topics, fences off an earlier producer where delivery is transactional, and knows their metadata, so that the first message does not wait for it.
    ///
    /// # Errors
    /// [`ConnectError`]: Kafka does not answer, or the topics do not fit.
    pub fn connect(config: &Config, topics: &[String], spool: &str) -> Result<Publisher, ConnectError> {
        let mut client = config.producer(spool_id(spool));
        let producer: BaseProducer<Reports> = client
            .create_with_context(Reports::default())
            .map_err(ConnectError::Kafka)?;
        let metadata = producer
            .client()
            .fetch_metadata(None, METADATA_TIMEOUT)
            .map_err(|cause| unreached(&producer, cause))?;
        if topics::ensure(config, &metadata, topics)? {
            topics::await_leaders(
                || producer.client().fetch_metadata(None, METADATA_TIMEOUT),
                config,
                topics,
            )?;
        }
        let limits = topics::limits(config, topics).unwrap_or_else(|cause| {
            tracing::warn!(%cause, "the cluster does not tell max.message.bytes; Kafka's default of 1 MB is assumed");
            HashMap::new()
        });
        let producer = match batch_limit(config, &limits)? {
            None => producer,
            Some(bytes) => {
                let producer: BaseProducer<Reports> = client
                    .set("batch.size", bytes.to_string())
                    .create_with_context(Reports::default())
                    .map_err(ConnectError::Kafka)?;
                let metadata = producer.client().fetch_metadata(None, METADATA_TIMEOUT);
                metadata.map_err(ConnectError::Kafka)?;
                producer
            }
        };
        let publisher = Publisher {
            producer,
            config: config.clone(),
            spool: spool.to_owned(),
            limits,
            asked_at: Cell::new(Instant::now()),
            question: Cell::new(None),
        };
        if config.delivery == Delivery::Transactional {
            publisher.take_over()?;
        }
        Ok(publisher)
    }

    /// The largest message that this topic takes, in bytes.
    pub fn max_message_bytes(&self, topic: &str) -> usize {
        let told = self.limits.get(topic).copied();
        let unknown = if self.config.mock {
            usize::MAX
        } else {
            UNTOLD_LIMIT_BYTES
        };
        told.unwrap_or(unknown).min(self.config.max_message_bytes)
    }

    /// The offset that the next message of a partition gets, as far as consumers can see.
    ///
    /// # Errors
    /// A [`Fault`] when the broker does not answer.
    pub fn end_offset(&self, slot: &Slot) -> Result<i64, Fault> {
        topics::end_of(self.producer.client(), &slot.topic, slot.partition)
            .map_err(|cause| Fault::new("watermarks", format!("{}: {cause}", slot.topic)))
    }

    /// What of this spool each partition holds at or behind its offset, of callbacks that arrived at `since_ms` or later.
    ///
    /// # Errors
    /// A [`Fault`] when they cannot be read to their ends.
    pub fn read_back(&self, from: &HashMap<Slot, i64>, since_ms: i64) -> Result<Present, Fault> {
        read_back::present(&self.config, &self.spool, from, since_ms)
    }

    /// One of these partitions of which consumers do not see everything that its leader may have taken, in words: it has no
    /// leader, or fewer replicas in sync than `min.insync.replicas`. It takes nothing new meanwhile. Waits up to half a minute
    /// for the cluster's answers.
    ///
    /// # Errors
    /// A [`Fault`] when the cluster does not answer.
    pub fn hidden(&self, slots: &HashSet<Slot>) -> Result<Option<String>, Fault> {
        hidden::hidden(&self.config, slots)
    }

    /// Queues a message; `false` when the queue is full and the caller should poll and come again.
    ///
    /// # Errors
    /// A [`Fault`]: this producer is to be dropped.
    pub fn send(&self, message: &Message, ticket: usize) -> Result<bool, Fault> {
        let position = message.position.to_string();
        let received_at = message.received_at_ms.to_string();
        let own = [
            (SPOOL_HEADER, self.spool.as_str()),
            (SEQ_HEADER, position.as_str()),
            (RECEIVED_AT_HEADER, received_at.as_str()),
        ];
        let given = message.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let mut headers = OwnedHeaders::new_with_capacity(message.headers.len() + own.len());
        for (key, value) in given.chain(own) {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let mut record = BaseRecord::with_opaque_to(&message.slot.topic, ticket)
            .partition(message.slot.partition)
            .payload(message.payload.as_slice())
            .timestamp(message.received_at_ms)
            .headers(headers);
        if let Some(key) = &message.key {
            record = record.key(key.as_bytes());
        }
        match self.producer.send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((cause, _)) => Err(Fault::new("produce", format!("{}: {cause}", message.slot.topic))),
        }
    }

    /// Takes what was delivered since the last call, without waiting.
    ///
    /// # Errors
    /// The first [`Fault`]; what else is in flight may or may not be in Kafka.
    pub fn poll(&self) -> Result<Vec<Receipt>, Fault> {
        // Each call serves one batch of reports.
        let mut served = 0;
        loop {
            self.producer.poll(Duration::ZERO);
            let reports = self
                .producer
                .context()
                .deliveries
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if reports.0.len() == served || reports.1.is_some() {
                break;
            }
            served = reports.0.len();
        }
        let mut reports = self
            .producer
            .context()
            .deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = reports.1.take() {
            return Err(fault);
        }
        let deliveries = std::mem::take(&mut reports.0);
        drop(reports);
        if !deliveries.is_empty() {
            self.producer.context().down.store(false, Ordering::Relaxed);
        }
        match self.producer.client().fatal_error() {
            Some((code, text)) => Err(Fault::new("fatal", format!("{code}: {text}"))),
            None => Ok(deliveries),
        }
    }

    /// Whether any broker is there, as far as is known: librdkafka tells when the last one has gone, and nothing when one is
    /// back, so that is asked for now and then. Does not wait for the answer.
    pub fn is_reachable(&self) -> bool {
        let down = &self.producer.context().down;
        let question = self.question.take();
        if !down.load(Ordering::Relaxed) {
            return true;
        }
        match question {
            Some(question) if question.is_finished() => {
                let is_back = question.join().unwrap_or(false);
                self.asked_at.set(Instant::now());
                down.store(!is_back, Ordering::Relaxed);
                return is_back;
            }
            None if self.asked_at.get().elapsed() >= ASK_EVERY => {
                let config = self.config.clone();
                let asking = std::thread::Builder::new().name("ask-kafka".into());
                self.question.set(asking.spawn(move || answers(&config)).ok());
            }
            still_asked => self.question.set(still_asked),
        }
        false
    }
}

/// Whether the cluster answers at all, within 5 seconds.
fn answers(config: &Config) -> bool {
    super::consumer(config, "imbridge-watchdog", &[])
        .and_then(|client| client.fetch_metadata(None, METADATA_TIMEOUT).map(drop))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_to_what_every_topic_takes() {
        let config = Config::default();
        let with = |bytes: usize| batch_limit(&config, &[("small".into(), bytes), ("large".into(), 10 << 20)].into());
        assert_eq!(batch_limit(&config, &HashMap::new()).unwrap(), None);
        assert_eq!(with(1_000_000).unwrap(), None);
        assert_eq!(with(100_000).unwrap(), Some(100_000 - BATCH_HEADROOM_BYTES));
        let refused = with(LEAST_LIMIT_BYTES - 1).unwrap_err().to_string();
        assert!(refused.contains("small"), "{refused}");
    }
}
