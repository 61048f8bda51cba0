//! Merges the messages of many partitions into the order in which the bridges accepted their callbacks: within a spool
//! by number, between spools by arrival. Kafka keeps no order between partitions, and librdkafka returns messages as it
//! has fetched them.
//!
//! One message of each partition is in memory, and what librdkafka fetches ahead ([`AHEAD_KIB`] per partition). A
//! partition that is not read to its end holds up the others. A message after the end waits [`WAIT`], because another
//! partition may get an earlier one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, OwnedMessage};

use super::{Message, Reading, Start, arrived_at_ms, header};
use crate::publish::{self, Context, Position, SEQ_HEADER, SPOOL_HEADER};

/// How long a message waits for earlier ones of partitions that are at their ends.
const WAIT: Duration = Duration::from_millis(500);
/// If no partition returns anything for this time, reading continues without those that are not at their ends.
const SILENCE: Duration = Duration::from_secs(10);
/// How often partitions without a message are polled.
const TICK: Duration = Duration::from_millis(20);
/// How much is fetched ahead, per partition.
const AHEAD_KIB: &str = "64";
const FETCH_BYTES: &str = "65536";

/// A [`Reading`] in the order of the callbacks.
pub(in crate::cli) struct Merged {
    pub reading: Reading,
    partitions: Vec<Partition>,
    /// The next message of each partition that has one: by spool, then by position.
    heads: BTreeMap<String, BTreeMap<(Position, usize), Head>>,
    /// The partition whose message was returned last.
    emptied: Option<usize>,
    polled: Instant,
    answered: Instant,
}

struct Partition {
    queue: PartitionQueue<Context>,
    has_head: bool,
    /// Whether it was read to its end; further messages are new.
    at_end: bool,
}

impl Partition {
    /// Whether it may still hold messages that come before those of the others.
    fn is_behind(&self) -> bool {
        !self.at_end && !self.has_head
    }
}

struct Head {
    message: OwnedMessage,
    arrived_at_ms: i64,
    due: Instant,
}

impl Merged {
    /// Begins to read the topics that `wanted` picks.
    pub fn start(config: &publish::Config, wanted: impl Fn(&str) -> bool, start: Start) -> Result<Merged> {
        let more = [
            ("queued.max.messages.kbytes", AHEAD_KIB),
            ("fetch.message.max.bytes", FETCH_BYTES),
        ];
        let mut merged = Merged {
            reading: Reading::with(config, &more)?,
            partitions: Vec::new(),
            heads: BTreeMap::new(),
            emptied: None,
            polled: Instant::now(),
            answered: Instant::now(),
        };
        let (found, offsets) = merged.reading.find_offsets(wanted, start)?;
        merged.split(&found, start == Start::Now)?;
        merged.reading.consumer.assign(&offsets)?;
        merged.reading.assigned = found;
        Ok(merged)
    }

    /// Adds new partitions, from their beginning.
    pub fn refresh(&mut self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let new = self.reading.find_new(wanted)?;
        self.split(&new, true)?;
        self.reading.add(new)
    }

    /// Gives each partition a queue of its own. librdkafka keeps it when the partition is assigned afterwards.
    fn split(&mut self, partitions: &super::Partitions, at_end: bool) -> Result<()> {
        for (topic, partition) in partitions {
            let queue = self.reading.consumer.split_partition_queue(topic, *partition);
            self.partitions.push(Partition {
                queue: queue.with_context(|| format!("{topic}/{partition} cannot be read"))?,
                has_head: false,
                at_end,
            });
        }
        Ok(())
    }

    /// The next wanted message, an error, or nothing if none is ready.
    pub fn next(&mut self, wants: impl Fn(&BorrowedMessage<'_>) -> bool) -> Option<KafkaResult<OwnedMessage>> {
        self.advance(&wants)
            .map(|()| self.is_ready().then(|| self.take()).flatten())
            .transpose()
    }

    /// Polls the partition whose message was returned last, and all partitions if that is not enough.
    fn advance(&mut self, wants: &impl Fn(&BorrowedMessage<'_>) -> bool) -> KafkaResult<()> {
        if let Some(index) = self.emptied.take() {
            self.poll(index, Duration::ZERO, wants)?;
        }
        if self.is_ready() && self.polled.elapsed() < TICK {
            return Ok(());
        }
        self.polled = Instant::now();
        // Messages are in the partitions' own queues; the consumer's queue has errors and other events.
        self.reading.consumer.poll(Duration::ZERO).transpose()?;
        for index in 0..self.partitions.len() {
            self.poll(index, Duration::ZERO, wants)?;
        }
        if self.is_ready() {
            return Ok(());
        }
        if self.answered.elapsed() > SILENCE {
            self.give_up();
        }
        match self.partitions.iter().position(Partition::is_behind) {
            Some(index) => self.poll(index, TICK, wants),
            None => self.reading.consumer.poll(TICK).map_or(Ok(()), |event| event.map(drop)),
        }
    }

    /// Polls a partition for its next wanted message.
    fn poll(&mut self, index: usize, wait: Duration, wants: &impl Fn(&BorrowedMessage<'_>) -> bool) -> KafkaResult<()> {
        let partition = &mut self.partitions[index];
        while !partition.has_head {
            match partition.queue.poll(wait) {
                None => return Ok(()),
                Some(Err(KafkaError::PartitionEOF(_))) => partition.at_end = true,
                Some(Err(cause)) => return Err(cause),
                Some(Ok(message)) if self.reading.skip(&message) || !wants(&message) => {}
                Some(Ok(message)) => {
                    let spool = header(&message, SPOOL_HEADER);
                    let position = header(&message, SEQ_HEADER).and_then(|text| text.parse().ok());
                    // A message that no bridge wrote keeps the order of its partition.
                    let (spool, position) = spool.zip(position).unwrap_or_else(|| {
                        let first = Position {
                            seq: 0,
                            index: 0,
                            part: 0,
                        };
                        (format!("{}/{index}", message.topic()), first)
                    });
                    let head = Head {
                        arrived_at_ms: arrived_at_ms(&message).unwrap_or_default(),
                        message: message.detach(),
                        due: Instant::now() + if partition.at_end { WAIT } else { Duration::ZERO },
                    };
                    self.heads.entry(spool).or_default().insert((position, index), head);
                    partition.has_head = true;
                }
            }
            self.answered = Instant::now();
        }
        Ok(())
    }

    /// Whether a message has waited long enough and no partition holds up the others.
    fn is_ready(&self) -> bool {
        let now = Instant::now();
        let mut heads = self.heads.values().flat_map(BTreeMap::values);
        heads.any(|head| head.due <= now) && !self.partitions.iter().any(Partition::is_behind)
    }

    /// The first message: from the spool whose first message arrived first.
    fn take(&mut self) -> Option<OwnedMessage> {
        let arrival = |own: &BTreeMap<_, Head>| own.first_key_value().map(|(_, head)| head.arrived_at_ms);
        let (spool, _) = self.heads.iter().min_by_key(|(_, own)| arrival(own))?;
        let spool = spool.clone();
        let own = self.heads.get_mut(&spool)?;
        let ((_, index), head) = own.pop_first()?;
        if own.is_empty() {
            self.heads.remove(&spool);
        }
        self.partitions[index].has_head = false;
        self.emptied = Some(index);
        Some(head.message)
    }

    fn give_up(&mut self) {
        let behind = self.partitions.iter_mut().filter(|one| one.is_behind());
        let count = behind.map(|one| one.at_end = true).count();
        if count > 0 {
            eprintln!("imbridge: {count} partitions do not answer; their events may be shown out of order");
        }
    }
}
