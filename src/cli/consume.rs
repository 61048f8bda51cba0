//! Reading topics from a place on, without a consumer group: nothing is committed and nobody is disturbed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use crate::publish::{self, Context};

const TIMEOUT: Duration = Duration::from_secs(15);
/// Between two questions to partitions whose leader has only just changed.
const LEADER_PAUSE: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(200);

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// What comes from now on.
    Now,
    /// Everything that is there.
    Beginning,
    /// What is stamped with this time or later, in Unix milliseconds.
    Since(i64),
}

/// A consumer and the partitions it reads. Messages of aborted transactions are left out.
pub(super) struct Reading {
    consumer: BaseConsumer<Context>,
    config: publish::Config,
    assigned: BTreeSet<(String, i32)>,
}

impl Reading {
    /// Begins to read the topics that `wanted` picks.
    pub fn start(config: &publish::Config, wanted: impl Fn(&str) -> bool, start: Start) -> Result<Reading> {
        let more = [
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
            ("fetch.wait.max.ms", "100"),
            ("queued.max.messages.kbytes", "16384"),
        ];
        let mut reading = Reading {
            consumer: publish::consumer(config, "imbridge-cli", &more)?,
            config: config.clone(),
            assigned: BTreeSet::new(),
        };
        let found = reading.find(&wanted)?;
        let list = reading.places(&found, start)?;
        reading.consumer.assign(&list)?;
        reading.assigned = found;
        Ok(reading)
    }

    /// The partitions that are read.
    pub fn partitions(&self) -> &BTreeSet<(String, i32)> {
        &self.assigned
    }

    /// Adds partitions that have come into being, from their beginning.
    pub fn refresh(&mut self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let found = self.find(&wanted)?;
        let new: BTreeSet<_> = found.difference(&self.assigned).cloned().collect();
        if !new.is_empty() {
            self.consumer.incremental_assign(&list(&new, Offset::Beginning)?)?;
            self.assigned.extend(new);
        }
        Ok(())
    }

    /// The next message, or the end of a partition, or nothing for a while.
    pub fn next(&self) -> Option<Next<'_>> {
        match self.consumer.poll(POLL)? {
            Ok(message) => Some(Next::Message(message)),
            Err(KafkaError::PartitionEOF(partition)) => Some(Next::End(partition)),
            Err(cause) => Some(Next::Trouble(cause)),
        }
    }

    fn find(&self, wanted: impl Fn(&str) -> bool) -> Result<BTreeSet<(String, i32)>> {
        let metadata = self.consumer.fetch_metadata(None, TIMEOUT);
        let metadata = metadata.map_err(|cause| Error::msg(publish::why_silent(&self.config, &cause)))?;
        let topics = metadata.topics().iter().filter(|topic| wanted(topic.name()));
        Ok(topics
            .flat_map(|topic| {
                topic
                    .partitions()
                    .iter()
                    .map(|partition| (topic.name().to_owned(), partition.id()))
            })
            .collect())
    }

    fn places(&self, partitions: &BTreeSet<(String, i32)>, start: Start) -> Result<TopicPartitionList> {
        if start == Start::Beginning || partitions.is_empty() {
            return list(partitions, Offset::Beginning);
        }
        // As numbers, at once: an end that is looked up only when the first fetch is sent would pass over what came meanwhile.
        let ends = self.look_up(partitions, Offset::End)?;
        let Start::Since(since_ms) = start else { return Ok(ends) };
        let mut places = self.look_up(partitions, Offset::Offset(since_ms.max(0)))?;
        for (topic, partition) in partitions {
            let is_later = |place: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
                matches!(place.offset(), Offset::Offset(_))
            };
            if places
                .find_partition(topic, *partition)
                .is_none_or(|place| !is_later(&place))
                && let Some(end) = ends.find_partition(topic, *partition)
            {
                places.set_partition_offset(topic, *partition, end.offset())?;
            }
        }
        Ok(places)
    }

    fn look_up(&self, partitions: &BTreeSet<(String, i32)>, time: Offset) -> Result<TopicPartitionList> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.consumer.offsets_for_times(list(partitions, time)?, TIMEOUT) {
                Err(cause) if is_passing(&cause) && Instant::now() < deadline => std::thread::sleep(LEADER_PAUSE),
                found => {
                    return found
                        .context("Kafka does not tell the topics' offsets; may this user describe and read them?");
                }
            }
        }
    }
}

/// Whether a partition's leader has only just changed.
fn is_passing(cause: &KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode::{
        FencedLeaderEpoch, LeaderNotAvailable, NotLeaderForPartition, UnknownLeaderEpoch,
    };
    let passing = [
        FencedLeaderEpoch,
        LeaderNotAvailable,
        NotLeaderForPartition,
        UnknownLeaderEpoch,
    ];
    cause.rdkafka_error_code().is_some_and(|code| passing.contains(&code))
}

/// What reading gives.
pub(super) enum Next<'a> {
    Message(BorrowedMessage<'a>),
    /// Nothing more in a partition of this number for now.
    End(i32),
    Trouble(KafkaError),
}

fn list(partitions: &BTreeSet<(String, i32)>, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}
