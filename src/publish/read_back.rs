//! What of this spool is in Kafka already: after a crash or a fault, the messages behind the last noted offset of each
//! partition are read, headers only, so that none of them is sent a second time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};

use super::diagnosis::{Doing, code_of, diagnosis};
use super::ends::read_to_ends;
use super::message::{Message, Position, RECEIVED_AT_HEADER, SEQ_HEADER, SPOOL_HEADER, Slot};
use super::refusal::{Kind, TopicRefused, kind_of};
use super::{Config, Context, Fault, Unready};

/// Without a message or an end for so long, the cluster does not answer.
const TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

/// The messages of this spool that were found in Kafka, each with the arrival of its callback.
#[derive(Debug, Default)]
pub struct Present(HashMap<(Slot, Position), i64>);

impl Present {
    /// Whether this event is there, in its own place or, as a dead letter or the event itself, in another. One at the same position
    /// with another time of arrival is of another history: the spool's folder was set back to an older copy.
    pub fn has(&self, message: &Message, other: Option<&Slot>) -> bool {
        self.is_at(&message.slot, message.position, message) || other.is_some_and(|slot| self.has_event(message, slot))
    }

    /// Whether the event of this message is in this place.
    pub fn has_event(&self, message: &Message, slot: &Slot) -> bool {
        let whole = Position {
            part: 0,
            ..message.position
        };
        self.is_at(slot, whole, message)
    }

    fn is_at(&self, slot: &Slot, position: Position, message: &Message) -> bool {
        self.0.get(&(slot.clone(), position)) == Some(&message.received_at_ms)
    }

    /// Adds a message that Kafka is known to have.
    pub fn note(&mut self, slot: Slot, position: Position, received_at_ms: i64) {
        self.0.insert((slot, position), received_at_ms);
    }

    /// Adds what another reading found.
    pub fn merge(&mut self, other: Present) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What of this spool each partition holds at or behind its offset. Reads to the end that it has at the beginning: others may write on
/// and on.
///
/// # Errors
/// [`Unready`] when they cannot be read to their ends.
pub fn read_back(config: &Config, spool: &str, from: &HashMap<Slot, i64>) -> Result<Present, Unready> {
    let mut found = Present::default();
    if from.is_empty() {
        return Ok(found);
    }
    // Uncommitted too: what is there is there. A short wait, since a fetch at a partition's end returns only after it.
    let more = [
        ("isolation.level", "read_uncommitted"),
        ("fetch.wait.max.ms", "10"),
        ("enable.partition.eof", "true"),
        ("queued.max.messages.kbytes", "8192"),
    ];
    let consumer = super::consumer(config, "imbridge-read-back", &more).map_err(fault)?;
    // Without metadata at hand the first fetch waits a second.
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).map_err(fault)?;
    let mut topics: BTreeMap<&Arc<str>, BTreeMap<i32, i64>> = BTreeMap::new();
    for (slot, offset) in from.iter().filter(|(slot, _)| is_there(&metadata, slot)) {
        topics.entry(&slot.topic).or_default().insert(slot.partition, *offset);
    }
    // Topic by topic: an end-of-partition event names no topic.
    for (topic, starts) in topics {
        let mut open = ends(&consumer, topic, &starts)?;
        let mut partitions = TopicPartitionList::new();
        for partition in open.keys() {
            let start = Offset::Offset(starts[partition]);
            partitions
                .add_partition_offset(topic, *partition, start)
                .map_err(fault)?;
        }
        // Nothing of the topic before may come out of the queue any more.
        consumer.unassign().map_err(fault)?;
        consumer.assign(&partitions).map_err(fault)?;
        for message in read_to_ends(&mut open, TIMEOUT, || consumer.poll(POLL)) {
            match message {
                Ok(message) => found.add(topic, &message, spool),
                Err(cause) if is_refusal(&cause) => return Err(refused(config, topic, &cause)),
                Err(cause) => tracing::debug!(%cause, topic = topic.as_ref(), "reading back"),
            }
        }
        if !open.is_empty() {
            return Err(fault(format!("the end of {topic} was not reached in 60 s")).into());
        }
    }
    Ok(found)
}

/// A topic or partition that is gone has nothing.
fn is_there(metadata: &Metadata, slot: &Slot) -> bool {
    let topic = metadata.topics().iter().find(|topic| topic.name() == &*slot.topic);
    topic.is_some_and(|topic| {
        topic
            .partitions()
            .iter()
            .any(|partition| partition.id() == slot.partition)
    })
}

/// The ends of the partitions that have something behind their offsets. An offset beyond the end is of a topic that was deleted
/// and made again: it is read from its beginning.
fn ends(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    starts: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, Fault> {
    let mut list = TopicPartitionList::new();
    for partition in starts.keys() {
        list.add_partition_offset(topic, *partition, Offset::End)
            .map_err(fault)?;
    }
    let found = consumer.offsets_for_times(list, LOOK_UP_TIMEOUT).map_err(fault)?;
    let mut ends = BTreeMap::new();
    for element in found.elements() {
        element.error().map_err(fault)?;
        let Offset::Offset(end) = element.offset() else {
            let partition = element.partition();
            return Err(fault(format!("{topic}: the end of partition {partition} is not known")));
        };
        if starts[&element.partition()] != end {
            ends.insert(element.partition(), end);
        }
    }
    Ok(ends)
}

/// Whether reading fails until somebody gives a right.
fn is_refusal(cause: &KafkaError) -> bool {
    code_of(cause).is_some_and(|code| matches!(kind_of(code), Kind::Topic | Kind::Cluster))
}

fn refused(config: &Config, topic: &str, cause: &KafkaError) -> Unready {
    let text = diagnosis(config, &Doing::ReadBack(topic), cause, None);
    match code_of(cause) {
        Some(code) if kind_of(code) == Kind::Topic => TopicRefused::new(topic, code, text).into(),
        _ => fault(text).into(),
    }
}

fn fault(cause: impl ToString) -> Fault {
    Fault::new("read_back", cause.to_string())
}

impl Present {
    /// Notes a message of this spool; one of anybody else is passed over.
    fn add(&mut self, topic: &Arc<str>, message: &BorrowedMessage<'_>, spool: &str) {
        let Some(headers) = message.headers() else { return };
        let value = |name: &str| {
            let header = headers.iter().find(|header| header.key == name)?;
            std::str::from_utf8(header.value?).ok()
        };
        if value(SPOOL_HEADER) != Some(spool) {
            return;
        }
        let position = value(SEQ_HEADER).and_then(|text| text.parse::<Position>().ok());
        let received_at_ms = value(RECEIVED_AT_HEADER).and_then(|text| text.parse::<i64>().ok());
        if let (Some(position), Some(at)) = (position, received_at_ms) {
            let slot = Slot {
                topic: Arc::clone(topic),
                partition: message.partition(),
            };
            self.0.insert((slot, position), at);
        }
    }
}
