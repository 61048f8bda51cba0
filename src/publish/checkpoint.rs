//! Checkpoints: how far a spool has been delivered. A checkpoint is a record in a compacted topic, written in the same transaction as
//! the messages that it covers. It also names its producer, so that a producer that was fenced off can log by which one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::ends::{ask_leaders, read_to_ends};
use super::topics::checkpoint_topic;
use super::{Config, Context, Fault, partition_of};

/// How long to wait until an open transaction ends. After this, a new producer requests again that Kafka end those of this spool id. A
/// transaction of another bridge in the same partition ends at the latest after that bridge's `transaction.timeout.ms`, so more than one
/// attempt may be needed.
const HIDDEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long reading may go without a message.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

/// The id in a spool's name, `<id>.<incarnation>`.
pub(super) fn spool_id(spool: &str) -> &str {
    spool.rsplit_once('.').map_or(spool, |(id, _)| id)
}

/// The transactional id, by which Kafka knows that two producers have the same spool. A producer that is fenced off reads from the
/// checkpoints topic by which one, so the id includes the prefix: bridges with other topics must not fence it off.
pub(super) fn transactional_id(topic_prefix: &str, spool_id: &str) -> String {
    format!("imbridge.{topic_prefix}.{spool_id}")
}

/// A statement that Kafka has all messages of a spool up to one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// `<id>.<incarnation>` of the spool.
    pub spool: String,
    /// The process that wrote the checkpoint.
    pub owner: String,
    /// Every record up to this sequence number is delivered.
    pub delivered: u64,
    /// When that record was appended, in Unix milliseconds. It distinguishes the record from another one with the same number, which an
    /// older copy of the spool's folder may produce.
    pub appended_at_ms: i64,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (spool, owner) = (&self.spool, &self.owner);
        write!(formatter, "{spool} {} {} {owner}", self.delivered, self.appended_at_ms)
    }
}

impl FromStr for Checkpoint {
    type Err = ();

    fn from_str(text: &str) -> Result<Checkpoint, ()> {
        let fields: Vec<&str> = text.split(' ').collect();
        let &[spool, delivered, appended_at_ms, owner] = fields.as_slice() else {
            return Err(());
        };
        Ok(Checkpoint {
            spool: spool.to_owned(),
            owner: owner.to_owned(),
            delivered: delivered.parse().map_err(drop)?,
            appended_at_ms: appended_at_ms.parse().map_err(drop)?,
        })
    }
}

/// Which checkpoints are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that are visible now. An open transaction hides later ones; it may be that of a dropped producer of this bridge.
    Visible,
    /// All that exist now: waits until the transactions that hide some of them have ended.
    Everything,
}

/// The last committed checkpoint of a spool's id, of any incarnation; `None` if there is none.
///
/// # Errors
/// A [`Fault`] when the topic cannot be read to its end.
pub fn last_checkpoint(config: &Config, spool: &str, extent: Extent) -> Result<Option<Checkpoint>, Fault> {
    let spool_id = spool_id(spool);
    let topic = checkpoint_topic(&config.topic_prefix);
    let partition = partition_of(spool_id.as_bytes(), config.partitions);
    let consumer = |isolation| {
        let more = [
            ("isolation.level", isolation),
            ("enable.partition.eof", "true"),
            ("fetch.wait.max.ms", "10"),
        ];
        super::consumer(config, "imbridge-checkpoint", &more).map_err(fault)
    };
    let everything = consumer("read_uncommitted")?;
    let committed = consumer("read_committed")?;
    // The end of what this consumer can see.
    let end = |consumer: &BaseConsumer<Context>| {
        let ends = ask_leaders(|| consumer.fetch_watermarks(&topic, partition, WATERMARKS_TIMEOUT));
        ends.map(|(_, end)| end).map_err(fault)
    };
    let wanted = match extent {
        Extent::Visible => 0,
        Extent::Everything => end(&everything)?,
    };
    let deadline = Instant::now() + HIDDEN_TIMEOUT;
    while end(&committed)? < wanted {
        if Instant::now() > deadline {
            return Err(fault(format!("an open transaction hides the end of {topic}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, partition, Offset::Beginning)
        .map_err(fault)?;
    committed.assign(&list).map_err(fault)?;
    let mut last = None;
    let mut open = BTreeMap::from([(partition, i64::MAX)]);
    for message in read_to_ends(&mut open, READ_TIMEOUT, || committed.poll(POLL)) {
        match message {
            Ok(message) if message.key() == Some(spool_id.as_bytes()) => {
                let text = message.payload().and_then(|payload| std::str::from_utf8(payload).ok());
                let unreadable = || fault(format!("{topic} has a record for {spool_id} that is not a checkpoint"));
                last = Some(text.and_then(|text| text.parse().ok()).ok_or_else(unreadable)?);
            }
            Ok(_) => {}
            Err(cause) => tracing::debug!(%cause, topic, "reading the checkpoint"),
        }
    }
    let timed_out = || fault(format!("the end of {topic} was not reached in 90 s"));
    open.is_empty().then_some(last).ok_or_else(timed_out)
}

fn fault(cause: impl ToString) -> Fault {
    Fault::new("checkpoint", cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written() {
        let checkpoint = Checkpoint {
            spool: "imbridge-0.0a1b2c".into(),
            owner: "19a-7".into(),
            delivered: 42,
            appended_at_ms: 1_700_000_000_000,
        };
        let text = checkpoint.to_string();
        assert_eq!(text, "imbridge-0.0a1b2c 42 1700000000000 19a-7");
        assert_eq!(text.parse(), Ok(checkpoint));
        for text in ["", "a 1 2", "a b 2 c", "a 1 b c", "a 1 2 c d"] {
            assert_eq!(text.parse::<Checkpoint>(), Err(()), "{text}");
        }
    }
}
