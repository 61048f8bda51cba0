//! Which messages of this spool Kafka already has. After a crash or a fault, each partition is read from its resume offset, and
//! only the headers are used, so that none of these messages is sent a second time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::diagnosis::{Doing, code_of, diagnosis};
use super::ends::read_to_ends;
use super::message::{Message, Position, RECEIVED_AT_HEADER, SEQ_HEADER, SPOOL_HEADER, Slot};
use super::refusal::{Kind, TopicRefused, kind_of};
use super::topics::find_partition;
use super::{Config, Context, Fault, Unready};

/// If neither a message nor the end of a partition comes within this time, the cluster does not answer.
const TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

/// The messages of this spool that Kafka has, each with its callback's time of arrival in Unix milliseconds.
#[derive(Debug, Default)]
pub struct Present(HashMap<(Slot, Position), i64>);

impl Present {
    /// Whether Kafka has this message in its own partition, or its event in `other`, which is the partition of the dead letter or of
    /// the event itself. A message at the same position with another time of arrival does not count: it was sent before the spool's
    /// folder was replaced by an older copy.
    pub fn has(&self, message: &Message, other: Option<&Slot>) -> bool {
        self.is_at(&message.slot, message.position, message) || other.is_some_and(|slot| self.has_event(message, slot))
    }

    /// Whether Kafka has this message's event in this partition.
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

    /// Adds a message that Kafka has.
    pub fn note(&mut self, slot: Slot, position: Position, received_at_ms: i64) {
        self.0.insert((slot, position), received_at_ms);
    }

    /// Adds the messages that another read-back found.
    pub fn merge(&mut self, other: Present) {
        self.0.extend(other.0);
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a message if its headers name this spool.
    fn add(&mut self, topic: &Arc<str>, message: &BorrowedMessage<'_>, spool: &str) {
        let Some(headers) = message.headers() else { return };
        let value = |name: &str| {
            let header = headers.iter().find(|header| header.key == name)?;
            std::str::from_utf8(header.value?).ok()
        };
        if value(SPOOL_HEADER) != Some(spool) {
            return;
        }
        let position = value(SEQ_HEADER).and_then(|text| text.parse().ok());
        let received_at_ms = value(RECEIVED_AT_HEADER).and_then(|text| text.parse().ok());
        if let (Some(position), Some(received_at_ms)) = (position, received_at_ms) {
            let (topic, partition) = (Arc::clone(topic), message.partition());
            self.note(Slot { topic, partition }, position, received_at_ms);
        }
    }
}

/// The messages of this spool in each partition, from the given offset to the end that the partition has when reading begins: other
/// producers may append without end.
///
/// # Errors
/// [`Unready`] when a partition cannot be read to its end.
pub fn read_back(config: &Config, spool: &str, from: &HashMap<Slot, i64>) -> Result<Present, Unready> {
    let mut found = Present::default();
    if from.is_empty() {
        return Ok(found);
    }
    // Uncommitted messages count too, because Kafka has them. The wait is short, because a fetch at a partition's end lasts that long.
    let more = [
        ("isolation.level", "read_uncommitted"),
        ("fetch.wait.max.ms", "10"),
        ("enable.partition.eof", "true"),
        ("queued.max.messages.kbytes", "8192"),
    ];
    let consumer = super::consumer(config, "imbridge-read-back", &more).map_err(fault)?;
    // Without metadata, the first fetch would wait for a second.
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).map_err(fault)?;
    let mut topics: BTreeMap<&Arc<str>, BTreeMap<i32, i64>> = BTreeMap::new();
    // A topic or partition that was deleted has no messages.
    let existing = from
        .iter()
        .filter(|(slot, _)| find_partition(&metadata, slot).is_some());
    for (slot, offset) in existing {
        topics.entry(&slot.topic).or_default().insert(slot.partition, *offset);
    }
    // Topic by topic: an end-of-partition event names no topic.
    for (topic, starts) in topics {
        let mut open = ends(&consumer, topic, &starts)?;
        let from_start = |partition: &i32| ((topic.to_string(), *partition), Offset::Offset(starts[partition]));
        let partitions = TopicPartitionList::from_topic_map(&open.keys().map(from_start).collect()).map_err(fault)?;
        // Unassigning discards messages of the previous topic that are still in the queue.
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

/// The ends of the partitions, without those that end at their start offset. A start offset beyond the end means that the topic was
/// deleted and created again: it is read from its beginning.
fn ends(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    starts: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, Fault> {
    let at_end = |partition: &i32| ((topic.to_owned(), *partition), Offset::End);
    let list = TopicPartitionList::from_topic_map(&starts.keys().map(at_end).collect()).map_err(fault)?;
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

/// Whether reading fails until an operator changes something.
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
