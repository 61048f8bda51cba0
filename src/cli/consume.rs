//! Reads topics from a given position, without a consumer group and without committing offsets.

mod merge;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, Timestamp, TopicPartitionList};

pub(super) use self::merge::Merged;
use crate::publish::{self, Context, RECEIVED_AT_HEADER};

const TIMEOUT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(200);
/// The bridge's clock (time of arrival) and the broker's (time of append) differ by less than this.
const CLOCK_SKEW_MAX_MS: i64 = 24 * 3600 * 1000;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// New messages only.
    Now,
    /// All messages.
    Beginning,
    /// All messages that arrived at this time or later ([`arrived_at_ms`]), in Unix milliseconds, and some that arrived
    /// before. The caller must filter these: Kafka's own timestamps can be those of any producer's clock.
    Since(i64),
}

/// Topics and their partitions.
type Partitions = BTreeSet<(String, i32)>;

/// A consumer and the partitions that it reads. Messages of aborted transactions are left out.
pub(super) struct Reading {
    consumer: Arc<BaseConsumer<Context>>,
    config: publish::Config,
    /// The partitions that are read.
    pub assigned: Partitions,
    /// By partition, the offset at which reading may continue after the first message, if the broker timestamped that
    /// message.
    skips: RefCell<BTreeMap<(String, i32), i64>>,
}

impl Reading {
    /// Reads nothing until [`Reading::refresh`] has found partitions. Sends no request yet.
    pub fn new(config: &publish::Config) -> Result<Reading> {
        Reading::with(config, &[("queued.max.messages.kbytes", "16384")])
    }

    fn with(config: &publish::Config, more: &[(&str, &str)]) -> Result<Reading> {
        let common = [
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
            ("fetch.wait.max.ms", "100"),
        ];
        Ok(Reading {
            consumer: Arc::new(publish::consumer(config, "imbridge-cli", &[&common, more].concat())?),
            config: config.clone(),
            assigned: BTreeSet::new(),
            skips: RefCell::default(),
        })
    }

    /// Begins to read the topics that `wanted` picks.
    pub fn start(config: &publish::Config, wanted: impl Fn(&str) -> bool, start: Start) -> Result<Reading> {
        let mut reading = Reading::new(config)?;
        let (found, offsets) = reading.find_offsets(wanted, start)?;
        reading.consumer.assign(&offsets)?;
        reading.assigned = found;
        Ok(reading)
    }

    /// The existing partitions, and the offsets at which reading begins.
    fn find_offsets(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        start: Start,
    ) -> Result<(Partitions, TopicPartitionList)> {
        let found = self.find(wanted)?;
        let offsets = match start {
            // As numbers, now: an end that is looked up with the first fetch would skip messages that arrive before it.
            Start::Now => self.look_up(&found, Offset::End)?,
            Start::Beginning | Start::Since(_) => list(&found, Offset::Beginning)?,
        };
        if let Start::Since(since_ms) = start {
            self.skips = RefCell::new(self.find_skips(&found, since_ms)?);
        }
        Ok((found, offsets))
    }

    /// Adds new partitions, from their beginning.
    pub fn refresh(&mut self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let new = self.find_new(wanted)?;
        self.add(new)
    }

    fn find_new(&self, wanted: impl Fn(&str) -> bool) -> Result<Partitions> {
        Ok(&self.find(wanted)? - &self.assigned)
    }

    fn add(&mut self, new: Partitions) -> Result<()> {
        if !new.is_empty() {
            self.consumer.incremental_assign(&list(&new, Offset::Beginning)?)?;
            self.assigned.extend(new);
        }
        Ok(())
    }

    /// The partitions to read, for [`publish::read_to_ends`]: each ends where librdkafka reports its end. For one
    /// topic.
    pub fn open(&self) -> BTreeMap<i32, i64> {
        self.assigned
            .iter()
            .map(|(_, partition)| (*partition, i64::MAX))
            .collect()
    }

    /// The next message, the end of a partition (`KafkaError::PartitionEOF`), or nothing after [`POLL`].
    pub fn next(&self) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        let next = self.consumer.poll(POLL)?;
        let is_skipped = next.as_ref().is_ok_and(|message| self.skip(message));
        (!is_skipped).then_some(next)
    }

    fn find(&self, wanted: impl Fn(&str) -> bool) -> Result<Partitions> {
        let metadata = self.consumer.fetch_metadata(None, TIMEOUT);
        let metadata = metadata.map_err(|cause| Error::msg(publish::why_silent(&self.config, &cause)))?;
        let topics = metadata.topics().iter().filter(|topic| wanted(topic.name()));
        let mut found = Partitions::new();
        for topic in topics {
            let partitions = topic.partitions().iter();
            found.extend(partitions.map(|partition| (topic.name().to_owned(), partition.id())));
        }
        Ok(found)
    }

    /// The offset of the first message in each partition that was appended one day before `since_ms` or later; its end
    /// if there is none.
    fn find_skips(&self, partitions: &Partitions, since_ms: i64) -> Result<BTreeMap<(String, i32), i64>> {
        // The ends first: messages that arrive between the two requests are then after them.
        let ends = self.look_up(partitions, Offset::End)?;
        let early_ms = since_ms.saturating_sub(CLOCK_SKEW_MAX_MS).max(0);
        let starts = self.look_up(partitions, Offset::Offset(early_ms))?;
        let skip = |found: TopicPartitionListElem<'_>| match found.offset() {
            Offset::Offset(offset) => Some(((found.topic().to_owned(), found.partition()), offset)),
            _ => None,
        };
        // A start replaces the end of its partition.
        Ok(ends
            .elements()
            .into_iter()
            .chain(starts.elements())
            .filter_map(skip)
            .collect())
    }

    /// Seeks forward if the broker timestamped `message`, the first of its partition. True if `message` is skipped by
    /// that.
    fn skip(&self, message: &BorrowedMessage<'_>) -> bool {
        let mut skips = self.skips.borrow_mut();
        if skips.is_empty() {
            return false;
        }
        let (topic, partition) = (message.topic(), message.partition());
        let Some(to) = skips.remove(&(topic.to_owned(), partition)) else {
            return false;
        };
        let seek = || self.consumer.seek(topic, partition, Offset::Offset(to), TIMEOUT);
        matches!(message.timestamp(), Timestamp::LogAppendTime(_)) && to > message.offset() && seek().is_ok()
    }

    fn look_up(&self, partitions: &Partitions, time: Offset) -> Result<TopicPartitionList> {
        let times = list(partitions, time)?;
        if partitions.is_empty() {
            return Ok(times);
        }
        publish::ask_leaders(|| self.consumer.offsets_for_times(times.clone(), TIMEOUT))
            .context("Kafka does not return the topics' offsets; this user needs the rights DESCRIBE and READ on them")
    }
}

/// A message's headers, as text.
pub(super) fn headers(message: &impl Message) -> Vec<(String, String)> {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    headers
        .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
        .collect()
}

/// A message's first header of this name, as text.
pub(super) fn header(message: &impl Message, name: &str) -> Option<String> {
    let mut headers = message.headers().into_iter().flat_map(Headers::iter);
    let found = headers.find(|header| header.key == name)?;
    Some(text(found.value.unwrap_or_default()))
}

/// Bytes as text; what is not UTF-8 is replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// When an event arrived, by the bridge's clock; for a message that no bridge wrote, Kafka's timestamp.
pub(super) fn arrived_at_ms(message: &impl Message) -> Option<i64> {
    header(message, RECEIVED_AT_HEADER)
        .and_then(|text| text.parse().ok())
        .or_else(|| message.timestamp().to_millis())
}

fn list(partitions: &Partitions, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}
