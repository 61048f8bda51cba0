//! How far a spool has been delivered, as Kafka has it: a record in a compacted topic, written in the same transaction as
//! the messages it speaks of. It also tells who wrote last, so that a producer that was fenced off sees why.

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

/// How long to wait for an open transaction to end, before a new producer asks Kafka again to end those of this spool id. One of
/// another bridge in the same partition ends after its own `transaction.timeout.ms`, at the latest: more than one attempt may be needed.
const HIDDEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to read the topic to its end.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

/// The id in a spool's name, `<id>.<incarnation>`.
pub(super) fn spool_id(spool: &str) -> &str {
    spool.rsplit_once('.').map_or(spool, |(id, _)| id)
}

/// The name by which Kafka knows that two producers are of one spool. The checkpoints' topic tells a producer that is fenced
/// off by whom, so bridges with other topics must not fence it off.
pub(super) fn transactional_id(topic_prefix: &str, spool_id: &str) -> String {
    format!("imbridge.{topic_prefix}.{spool_id}")
}

/// Everything of this spool up to a record is in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// `<id>.<incarnation>` of the spool.
    pub spool: String,
    /// The process that wrote it.
    pub owner: String,
    /// Every record up to this sequence number is delivered.
    pub delivered: u64,
    /// When that record was appended, in Unix milliseconds: tells it from one of another history with the same number.
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
        let words: Vec<&str> = text.split(' ').collect();
        let &[spool, delivered, appended_at_ms, owner] = words.as_slice() else {
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

/// Which checkpoints are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that can be seen now. An open transaction - also our own, of a producer that was given up - hides later ones.
    Visible,
    /// All that are there now: waits until what hides some of them has ended.
    Everything,
}

/// The last committed checkpoint of a spool's id, whatever its incarnation; `None` where there is none.
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
    // As far as this consumer can see.
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
                let unreadable = || fault(format!("{topic} has a record for {spool_id} that is none"));
                last = Some(text.and_then(|text| text.parse().ok()).ok_or_else(unreadable)?);
            }
            Ok(_) => {}
            Err(cause) => tracing::debug!(%cause, topic, "reading the checkpoint"),
        }
    }
    let late = || fault(format!("the end of {topic} was not reached in 90 s"));
    open.is_empty().then_some(last).ok_or_else(late)
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
