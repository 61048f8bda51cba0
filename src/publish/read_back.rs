//! What of this spool is in a partition already: after a crash or a fault, the messages behind the last noted offset
//! are read, headers only, so that none of them is sent a second time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::message::{Position, SEQ_HEADER, SPOOL_HEADER, Slot};
use super::{Config, Fault};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The positions of this spool's messages at or behind `from_offset`.
///
/// # Errors
/// A [`Fault`] when the partition's end is not reached in time.
pub(super) fn positions(config: &Config, spool: &str, slot: &Slot, from_offset: i64) -> Result<HashSet<Position>, Fault> {
    let fail = |cause: KafkaError| Fault::new("read_back", format!("cannot read {} back: {cause}", slot.topic));
    let consumer: BaseConsumer =
        config.client("imbridge-read-back").set("isolation.level", "read_uncommitted").create().map_err(fail)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&slot.topic, slot.partition, Offset::Offset(from_offset)).map_err(fail)?;
    consumer.assign(&assignment).map_err(fail)?;
    let mut found = HashSet::new();
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => found.extend(position_in(&message, spool)),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(found),
            Some(Err(cause)) => tracing::debug!(%cause, "reading back"),
        }
    }
    Err(Fault::new("read_back", format!("the end of {} partition {} was not reached in 60 s", slot.topic, slot.partition)))
}

/// The position of a message of this spool, `None` for a message of anybody else.
fn position_in(message: &BorrowedMessage<'_>, spool: &str) -> Option<Position> {
    let headers = message.headers()?;
    let value = |name: &str| {
        let header = headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok()
    };
    (value(SPOOL_HEADER)? == spool).then(|| value(SEQ_HEADER)?.parse().ok())?
}
