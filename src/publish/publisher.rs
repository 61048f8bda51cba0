//! One session of a producer, from the connection to the first fault. It does not reorder: messages that are sent in order are in
//! Kafka in order, or the session ends and the caller starts over from the spool.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::checkpoint::spool_id;
use super::diagnosis::{Doing, diagnosis};
use super::directory::{Directory, LEAST_LIMIT_BYTES, Unready};
use super::message::{
    CONTENT_TYPE_HEADER, LATE_HEADER, Message, RECEIVED_AT_HEADER, Receipt, SEQ_HEADER, SPOOL_HEADER, Slot,
};
use super::native::Notice;
use super::refusal::{Failure, Kind, kind_of};
use super::reports::{Deliveries, Reports};
use super::{Config, ConnectError, CreateTopics, Delivery, EVENTS_MAX, Fault, checkpoint_topic};

const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two checks whether an unreachable cluster answers again.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const REPORTS_PAUSE: Duration = Duration::from_millis(5);

/// The size of a batch's own header, which librdkafka does not count in full.
const BATCH_HEADROOM_BYTES: usize = 1024;

/// The delivery reports of a producer that is closed.
#[derive(Debug, Default)]
pub struct FinalReports {
    /// The messages that Kafka has.
    pub receipts: Vec<Receipt>,
    /// The messages that failed.
    pub failures: Vec<Failure>,
    /// Whether every message is in one of the two lists, and Kafka has none of the second: no message is in flight.
    pub is_complete: bool,
}

/// The result of an attempt to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in librdkafka's queue.
    Queued,
    /// The queue is full: poll and retry.
    Full,
    /// No retry can succeed.
    Refused(Failure),
}

/// The batch size that every topic accepts, if it is less than the configured one. A broker compares whole batches with the topic's
/// limit, and a batch that is refused would be refused again in the next session.
fn batch_limit(config: &Config, limits: &HashMap<String, usize>) -> Option<usize> {
    // A topic with a smaller limit is not written to at all.
    let usable = limits.iter().filter(|(_, limit)| **limit >= LEAST_LIMIT_BYTES);
    let (topic, least) = usable.min_by_key(|(_, limit)| **limit)?;
    let batch = config.batch_bytes();
    if *least >= batch {
        return None;
    }
    tracing::warn!(
        topic,
        max_message_bytes = least,
        "the topic's limit is less than a batch of {batch} bytes; batches are cut to the limit, larger messages become dead letters"
    );
    Some(least - BATCH_HEADROOM_BYTES)
}

/// Why the cluster did not answer. The errors of the attempts to connect explain more than `cause`, the time-out.
fn unreached(producer: &BaseProducer<Reports>, config: &Config, cause: &KafkaError) -> ConnectError {
    let reports = producer.context();
    reports.quiet.store(true, Ordering::Relaxed);
    // Each call takes one event, and most events are log lines.
    for _ in 0..EVENTS_MAX {
        producer.poll(Duration::ZERO);
        if let Some((advice, cause)) = reports.refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return ConnectError::Refused { advice, cause };
        }
    }
    ConnectError::Unreached(diagnosis(config, &Doing::Connect, cause, None))
}

/// Creates a producer and waits for the cluster's metadata.
fn open(client: &ClientConfig, config: &Config) -> Result<(BaseProducer<Reports>, Metadata), ConnectError> {
    let producer = client.create_with_context(Reports::default());
    let producer: BaseProducer<Reports> = producer.map_err(ConnectError::Kafka)?;
    let metadata = producer.client().fetch_metadata(None, METADATA_TIMEOUT);
    let metadata = metadata.map_err(|cause| unreached(&producer, config, &cause))?;
    Ok((producer, metadata))
}

/// A connected producer.
pub struct Publisher {
    /// Declared before the producer, so that it is dropped first.
    notice: Option<Notice>,
    pub(super) producer: BaseProducer<Reports>,
    pub(super) config: Config,
    pub(super) spool: String,
    directory: RefCell<Directory>,
    /// When the last transaction was committed.
    pub(super) committed_at: Cell<Instant>,
    /// When the last check whether the cluster answers again ended.
    checked_at: Cell<Instant>,
    /// The running check.
    check: Cell<Option<JoinHandle<bool>>>,
}

impl Publisher {
    /// Connects, looks the topics up, and fences off an earlier producer if delivery is transactional. Missing topics are created later,
    /// each for its first message, unless `kafka.create_topics` is `all`.
    ///
    /// # Errors
    /// [`ConnectError`]: Kafka does not answer, or refuses this producer.
    pub fn connect(config: &Config, topics: &[String], spool: &str) -> Result<Publisher, ConnectError> {
        let mut client = config.producer(spool_id(spool));
        let (mut producer, metadata) = open(&client, config)?;
        let directory = Directory::read(config, producer.client(), &metadata, topics);
        if let Some(bytes) = batch_limit(config, directory.limits()) {
            client.set("batch.size", bytes.to_string());
            (producer, _) = open(&client, config)?;
        }
        let publisher = Publisher {
            notice: None,
            producer,
            config: config.clone(),
            spool: spool.to_owned(),
            directory: RefCell::new(directory),
            committed_at: Cell::new(Instant::now()),
            checked_at: Cell::new(Instant::now()),
            check: Cell::new(None),
        };
        if config.create_topics == CreateTopics::All {
            publisher.create_all(topics)?;
        }
        if config.delivery == Delivery::Transactional {
            publisher.make_ready(&[checkpoint_topic(&config.topic_prefix)])?;
            publisher.take_over()?;
        }
        Ok(publisher)
    }

    /// Makes a thread of librdkafka run `call` when there is something to [`Publisher::poll`]. `call` must not block.
    pub fn notify(&mut self, call: impl Fn() + Send + Sync + 'static) {
        self.notice = Notice::new(self.producer.client(), Box::new(call));
    }

    /// Creates the missing topics. If one cannot be created, only its own messages are refused, when the first of them comes.
    fn create_all(&self, topics: &[String]) -> Result<(), Unready> {
        let mut directory = self.directory.borrow_mut();
        let missing = directory.missing(topics);
        for (topic, refused) in directory.create(self.producer.client(), &missing)? {
            tracing::warn!(topic, cause = refused.text, "the cluster does not create the topic");
        }
        Ok(())
    }

    /// Whether a topic can be written to, as far as is known.
    pub fn is_ready(&self, topic: &str) -> bool {
        self.directory.borrow().is_ready(topic)
    }

    /// Makes sure that topics can be written to, and that librdkafka knows their leaders. Creates missing topics. Takes some round trips,
    /// so it must be called with no message in flight.
    ///
    /// # Errors
    /// [`Unready`] when one of them cannot be written to.
    pub fn make_ready(&self, topics: &[String]) -> Result<(), Unready> {
        self.directory.borrow_mut().make_ready(self.producer.client(), topics)
    }

    /// The largest message that this topic accepts, in bytes.
    pub fn max_message_bytes(&self, topic: &str) -> usize {
        self.directory.borrow().max_message_bytes(topic)
    }

    /// An offset at or before this partition's end: every message that is sent there from now on gets this offset or a later one. `None`
    /// until [`Publisher::find_ends`] was called for the topic.
    pub fn end(&self, slot: &Slot) -> Option<i64> {
        self.directory.borrow().end(slot)
    }

    /// Looks up the ends of all partitions of these topics. Takes up to 3 seconds.
    pub fn find_ends(&self, topics: &[Arc<str>]) {
        self.directory.borrow_mut().find_ends(self.producer.client(), topics);
    }

    /// The largest number of replicas that the topic of any of these partitions has.
    pub fn replicas(&self, slots: &HashSet<Slot>) -> usize {
        self.directory.borrow().replicas(slots.iter().map(|slot| &slot.topic))
    }

    /// Queues a message. Its timestamp is the time of sending, because brokers delete and refuse messages by their timestamps. The time of
    /// arrival, which may be long ago or from a wrong clock, is in a header. So is `late_ms`, the lateness of a late message.
    ///
    /// # Errors
    /// A [`Fault`]: drop this producer.
    pub fn send(&self, message: &Message, ticket: usize, late_ms: Option<i64>) -> Result<Sent, Fault> {
        let position = message.position.to_string();
        let received_at = message.received_at_ms.to_string();
        let own = [
            (SPOOL_HEADER, self.spool.as_str()),
            (SEQ_HEADER, position.as_str()),
            (RECEIVED_AT_HEADER, received_at.as_str()),
            (CONTENT_TYPE_HEADER, message.content_type),
        ];
        let late = late_ms.map(|ms| ms.to_string());
        let late = late.iter().map(|ms| (LATE_HEADER, ms.as_str()));
        let given = message.headers.iter().map(|(name, value)| (*name, &**value));
        let mut headers = OwnedHeaders::new_with_capacity(message.headers.len() + own.len() + late.len());
        for (key, value) in given.chain(own).chain(late) {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let record = BaseRecord::with_opaque_to(&message.slot.topic, ticket)
            .partition(message.slot.partition)
            .key(message.key.as_bytes())
            .payload(message.payload.as_slice())
            .headers(headers);
        let (topic, partition) = (&message.slot.topic, message.slot.partition);
        match self.producer.send(record) {
            Ok(()) => Ok(Sent::Queued),
            // If the queue is full although no message is in flight, the message is larger than the queue.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if self.in_flight() > 0 => {
                Ok(Sent::Full)
            }
            Err((KafkaError::MessageProduction(code), _)) if matches!(kind_of(code), Kind::Record | Kind::Topic) => {
                Ok(Sent::Refused(Failure::unsent(ticket, topic, partition, code)))
            }
            Err((cause, _)) => Err(Fault::new("produce", format!("{topic}: {cause}"))),
        }
    }

    /// The number of messages without a delivery report.
    pub fn in_flight(&self) -> usize {
        self.producer.in_flight_count().max(0) as usize
    }

    /// Takes the receipts since the last call, without waiting.
    ///
    /// # Errors
    /// The most specific [`Fault`]; [`Publisher::final_reports`] has the other reports.
    pub fn poll(&self) -> Result<Vec<Receipt>, Fault> {
        // Each call serves one batch of reports.
        let mut served = 0;
        loop {
            self.producer.poll(Duration::ZERO);
            let deliveries = self.producer.context().deliveries();
            if deliveries.receipts.len() == served || !deliveries.failures.is_empty() {
                break;
            }
            served = deliveries.receipts.len();
        }
        let fatal = self.producer.client().fatal_error();
        let mut deliveries = self.producer.context().deliveries();
        let receipts = deliveries.take(fatal, |failure| failure.diagnosis(&self.config))?;
        drop(deliveries);
        if !receipts.is_empty() {
            self.producer.context().down.store(false, Ordering::Relaxed);
        }
        Ok(receipts)
    }

    /// Stops sending, and waits at most `timeout` for the delivery reports of the messages in flight.
    pub fn final_reports(&self, timeout: Duration) -> FinalReports {
        self.producer.purge(PurgeConfig::default().queue());
        let deadline = Instant::now() + timeout;
        loop {
            self.producer.poll(REPORTS_PAUSE);
            if self.in_flight() == 0 || Instant::now() > deadline {
                break;
            }
        }
        let Deliveries { receipts, failures } = std::mem::take(&mut *self.producer.context().deliveries());
        FinalReports {
            is_complete: self.in_flight() == 0 && failures.iter().all(|failure| failure.is_absent),
            receipts,
            failures,
        }
    }

    /// Whether any broker is reachable, as far as is known. librdkafka reports when no broker is reachable any more, but not when one is
    /// back, so a thread checks this every 5 s. Does not wait for its answer.
    pub fn is_reachable(&self) -> bool {
        let down = &self.producer.context().down;
        let check = self.check.take();
        if !down.load(Ordering::Relaxed) {
            return true;
        }
        match check {
            Some(check) if check.is_finished() => {
                let is_back = check.join().unwrap_or(false);
                self.checked_at.set(Instant::now());
                down.store(!is_back, Ordering::Relaxed);
                return is_back;
            }
            None if self.checked_at.get().elapsed() >= CHECK_EVERY => {
                let config = self.config.clone();
                let thread = std::thread::Builder::new().name("ask-kafka".into());
                self.check.set(thread.spawn(move || answers(&config)).ok());
            }
            running => self.check.set(running),
        }
        false
    }
}

/// Whether the cluster answers within 5 seconds.
fn answers(config: &Config) -> bool {
    super::consumer(config, "imbridge-watchdog", &[])
        .and_then(|client| client.fetch_metadata(None, METADATA_TIMEOUT).map(drop))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_to_the_limit_of_every_topic() {
        let config = Config::default();
        let with = |bytes: usize| {
            batch_limit(
                &config,
                &HashMap::from_iter([("small".into(), bytes), ("large".into(), 10 << 20)]),
            )
        };
        assert_eq!(batch_limit(&config, &HashMap::default()), None);
        assert_eq!(with(1_000_000), None);
        assert_eq!(with(100_000), Some(100_000 - BATCH_HEADROOM_BYTES));
        assert_eq!(with(LEAST_LIMIT_BYTES - 1), None, "such a topic is refused by itself");
    }
}
