//! Bodies of one command out of a topic of raw JSON, such as that of the commands without a schema.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::value::RawValue;

use crate::publish::{self, Config};

const TIMEOUT: Duration = Duration::from_secs(30);
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the topic from its beginning to its end, at most `max` bodies. A message that names another command is passed
/// over, and so is one that is no JSON.
pub(super) fn bodies(kafka: &Config, topic: &str, command: &str, max: usize) -> Result<Vec<Box<RawValue>>> {
    let brokers = &kafka.brokers;
    let consumer = publish::consumer(kafka, "imbridge-schemas", &[("enable.partition.eof", "true")])?;
    let metadata = consumer
        .fetch_metadata(Some(topic), METADATA_TIMEOUT)
        .map_err(|cause| Error::msg(publish::why_silent(kafka, &cause)))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let mut open: HashSet<i32> = found
        .into_iter()
        .flat_map(|found| found.partitions().iter().map(|partition| partition.id()))
        .collect();
    if open.is_empty() {
        bail!("{topic}: no such topic at {brokers}");
    }
    let mut partitions = TopicPartitionList::new();
    for partition in &open {
        partitions.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let deadline = Instant::now() + TIMEOUT;
    let mut bodies = Vec::new();
    while !open.is_empty() && bodies.len() < max && Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(cause)) => tracing::debug!(%cause, topic, "reading bodies"),
            Some(Ok(message)) => {
                let headers = message.headers().into_iter().flat_map(Headers::iter);
                let named = headers.filter(|header| header.key == "imbridge-command").last();
                let ours = named.is_none_or(|header| header.value == Some(command.as_bytes()));
                if let (true, Some(payload)) = (ours, message.payload()) {
                    bodies.extend(serde_json::from_slice::<Box<RawValue>>(payload).ok());
                }
            }
        }
    }
    Ok(bodies)
}
