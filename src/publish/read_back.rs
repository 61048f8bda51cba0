//! What of this spool is in Kafka already: after a crash or a fault, the messages behind the last noted offset of each
//! partition are read, headers only, so that none of them is sent a second time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::message::{Message, Position, RECEIVED_AT_HEADER, SEQ_HEADER, SPOOL_HEADER, Slot};
use super::{Config, Context, Fault};

/// Without a message or an end for so long, the cluster does not answer.
const TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// How much older than the first undelivered record a message of it may be stamped: clocks are set back.
const CLOCK_MARGIN_MS: i64 = 10 * 60 * 1000;

/// The messages of this spool that were found in Kafka.
#[derive(Debug, Default)]
pub struct Present(HashMap<(Slot, Position), i64>);

impl Present {
    /// Whether this very message is there. One at the same position with another time of arrival is of another
    /// history: the spool's folder was set back to an older copy.
    pub fn has(&self, message: &Message) -> bool {
        let key = (message.slot.clone(), message.position);
        self.0.get(&key) == Some(&message.received_at_ms)
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

/// Reads each partition from its offset to its end, topic by topic: an end-of-partition event names no topic.
pub(super) fn present(
    config: &Config,
    spool: &str,
    from: &HashMap<Slot, i64>,
    since_ms: i64,
) -> Result<Present, Fault> {
    let mut found = Present::default();
    let mut topics: BTreeMap<&Arc<str>, TopicPartitionList> = BTreeMap::new();
    for (slot, offset) in from {
        let list = topics.entry(&slot.topic).or_default();
        list.add_partition_offset(&slot.topic, slot.partition, Offset::Offset(*offset))
            .map_err(fault)?;
    }
    if topics.is_empty() {
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
    consumer.fetch_metadata(None, Duration::from_secs(5)).map_err(fault)?;
    for (topic, partitions) in topics {
        let partitions = not_before(&consumer, partitions, since_ms - CLOCK_MARGIN_MS);
        // Nothing of the topic before may come out of the queue any more.
        consumer.unassign().map_err(fault)?;
        consumer.assign(&partitions).map_err(fault)?;
        let mut deadline = Instant::now() + TIMEOUT;
        let mut open: HashSet<i32> = partitions
            .elements()
            .iter()
            .map(|element| element.partition())
            .collect();
        while !open.is_empty() {
            if Instant::now() > deadline {
                return Err(Fault::new(
                    "read_back",
                    format!("the end of {topic} was not reached in 60 s"),
                ));
            }
            match consumer.poll(Duration::from_millis(200)) {
                None => {}
                Some(Ok(message)) => {
                    found.add(topic, &message, spool);
                    deadline = Instant::now() + TIMEOUT;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                Some(Err(cause)) => tracing::debug!(%cause, topic = topic.as_ref(), "reading back"),
            }
        }
    }
    Ok(found)
}

/// Moves offsets up to the first message stamped at or after a time. Our messages are stamped with their arrival, so none
/// of an undelivered record lies before; others may have written millions there.
fn not_before(consumer: &BaseConsumer<Context>, partitions: TopicPartitionList, since_ms: i64) -> TopicPartitionList {
    let mut times = TopicPartitionList::new();
    for element in partitions.elements() {
        let time = Offset::Offset(since_ms.max(0));
        times
            .add_partition_offset(element.topic(), element.partition(), time)
            .ok();
    }
    let Ok(found) = consumer.offsets_for_times(times, LOOK_UP_TIMEOUT) else {
        return partitions;
    };
    let mut later = TopicPartitionList::new();
    for element in partitions.elements() {
        let time = found
            .find_partition(element.topic(), element.partition())
            .map(|found| found.offset());
        let start = match (element.offset(), time) {
            (Offset::Offset(mark), Some(Offset::Offset(time))) => Offset::Offset(mark.max(time)),
            (_, Some(Offset::End)) => Offset::End,
            (mark, _) => mark,
        };
        later
            .add_partition_offset(element.topic(), element.partition(), start)
            .ok();
    }
    later
}

fn fault(cause: KafkaError) -> Fault {
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
