//! Reads the bodies of one command from a topic of raw JSON, such as that of commands without a schema.

use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message};
use serde_json::value::RawValue;

use crate::cli::consume::{Reading, Start, header};
use crate::publish::{Config, read_to_ends};

/// If nothing arrives for this time, reading ends.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads at most `max` bodies from the beginning of the topic to its end. Skips messages of other commands and messages
/// that are not JSON.
pub(super) fn bodies(kafka: &Config, topic: &str, command: &str, max: usize) -> Result<Vec<Box<RawValue>>> {
    let reading = Reading::start(kafka, |name| name == topic, Start::Beginning)?;
    let mut open = reading.open();
    if open.is_empty() {
        bail!("{topic}: no such topic at {}", kafka.brokers);
    }
    let body = |message: KafkaResult<BorrowedMessage<'_>>| match message {
        Ok(message) if header(&message, "imbridge-command").is_none_or(|named| named == command) => {
            serde_json::from_slice(message.payload()?).ok()
        }
        Ok(_) => None,
        Err(cause) => {
            tracing::debug!(%cause, topic, "reading bodies");
            None
        }
    };
    let messages = read_to_ends(&mut open, TIMEOUT, || reading.next());
    Ok(messages.filter_map(body).take(max).collect())
}
