//! Bodies of one command out of a topic of raw JSON, such as that of the commands without a schema.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use serde_json::value::RawValue;

use crate::cli::consume::{Reading, Start};
use crate::publish::Config;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the topic from its beginning to its end, at most `max` bodies. A message that names another command is passed
/// over, and so is one that is no JSON.
pub(super) fn bodies(kafka: &Config, topic: &str, command: &str, max: usize) -> Result<Vec<Box<RawValue>>> {
    let reading = Reading::start(kafka, |name| name == topic, Start::Beginning)?;
    let mut open: HashSet<i32> = reading.assigned.iter().map(|(_, partition)| *partition).collect();
    if open.is_empty() {
        bail!("{topic}: no such topic at {}", kafka.brokers);
    }
    let deadline = Instant::now() + TIMEOUT;
    let mut bodies = Vec::new();
    while !open.is_empty() && bodies.len() < max && Instant::now() < deadline {
        match reading.next() {
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
