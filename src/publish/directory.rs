//! What a producer knows of the topics that it writes to: which are there, with how many partitions and replicas, what is the
//! largest message that each takes, and where its partitions ended. It grows on demand: a topic is created when its first
//! message is there.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::diagnosis::{Doing, absent, diagnosis};
use super::native::Refused;
use super::publisher::LEAST_LIMIT_BYTES;
use super::refusal::{Kind, TopicRefused, kind_of};
use super::topics::{self, Finding, findings};
use super::{Config, ConnectError, CreateTopics, Fault, Slot};

/// What a topic takes that does not tell: Kafka's default, rounded down.
const UNTOLD_LIMIT_BYTES: usize = 1_000_000;
/// How long a topic that was just created may take to get its leaders, before the producer is left to find them.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(5);
const LEADERS_PAUSE: Duration = Duration::from_millis(20);
const ENDS_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a topic cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// Until somebody changes something.
    #[error(transparent)]
    Refused(#[from] TopicRefused),
    /// For now.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The topics that are there.
pub(super) struct Directory {
    config: Config,
    found: HashMap<String, Finding>,
    limits: HashMap<String, usize>,
    replicas: HashMap<String, usize>,
    /// Offsets behind which everything is that is sent from now on; no more than the partitions' ends.
    ends: HashMap<Slot, i64>,
    asked: BTreeSet<String>,
}

impl Directory {
    /// Looks these topics up, as far as they are there.
    pub fn read(config: &Config, metadata: &Metadata, topics: &[String]) -> Directory {
        let found = findings(metadata, topics, config.partitions);
        let there = topics::there(&found);
        for (topic, finding) in &found {
            if let Finding::MorePartitions(found) = finding {
                let configured = config.partitions;
                warn!(
                    topic,
                    found,
                    configured,
                    "the topic has more partitions than configured; keys stay in the configured ones"
                );
            }
        }
        let mut limits = topics::limits(config, &there).unwrap_or_else(|cause| {
            warn!(%cause, "the cluster does not tell max.message.bytes; Kafka's default of 1 MB is assumed");
            HashMap::new()
        });
        if !config.mock {
            for topic in there {
                limits.entry(topic).or_insert(UNTOLD_LIMIT_BYTES);
            }
        }
        Directory {
            config: config.clone(),
            found: found.into_iter().collect(),
            limits,
            replicas: topics::replicas(metadata),
            ends: HashMap::new(),
            asked: BTreeSet::new(),
        }
    }

    /// Those of these topics that are not there.
    pub fn missing(&self, topics: &[String]) -> Vec<String> {
        let is_missing = |topic: &&String| !self.found.get(*topic).is_some_and(|found| *found != Finding::Missing);
        topics.iter().filter(is_missing).cloned().collect()
    }

    /// What each topic takes that tells.
    pub fn limits(&self) -> &HashMap<String, usize> {
        &self.limits
    }

    /// The largest message that a topic takes, in bytes; for one that is not there, what it is created with.
    pub fn max_message_bytes(&self, topic: &str) -> usize {
        let own = self.config.max_message_bytes.min(self.config.queue_bytes());
        match self.limits.get(topic) {
            Some(limit) => own.min(*limit),
            None => own,
        }
    }

    /// The most replicas that any of these partitions' topics has.
    pub fn replicas(&self, slots: impl Iterator<Item = impl AsRef<str>>) -> usize {
        let replicas = slots.filter_map(|topic| self.replicas.get(topic.as_ref()).copied());
        replicas.max().unwrap_or(1)
    }

    /// Makes sure that a topic can be written to; creates it where it is missing and the configuration allows that.
    ///
    /// # Errors
    /// [`Unready`] when it cannot.
    pub fn require(&mut self, topic: &str, fetch: impl Fn() -> KafkaResult<Metadata>) -> Result<(), Unready> {
        if self.config.mock {
            if self.found.get(topic).is_none_or(|found| *found == Finding::Missing) {
                fetch().map_err(|cause| Fault::new("metadata", cause.to_string()))?;
                self.found.insert(topic.to_owned(), Finding::Fits);
            }
            return Ok(());
        }
        let is_small =
            |limits: &HashMap<String, usize>| limits.get(topic).is_some_and(|limit| *limit < LEAST_LIMIT_BYTES);
        if matches!(self.found.get(topic), Some(Finding::TooFewPartitions(_))) || is_small(&self.limits) {
            // Somebody may have mended it since this producer began.
            self.look_again(topic)?;
        }
        match self.found.get(topic) {
            Some(Finding::TooFewPartitions(found)) => {
                let configured = self.config.partitions;
                let text = format!(
                    "{topic} has {found} partitions, kafka.partitions is {configured}: add partitions to the topic, or lower the key before anything is published"
                );
                return Err(TopicRefused::new(topic, RDKafkaErrorCode::InvalidPartitions, text).into());
            }
            Some(Finding::Fits | Finding::MorePartitions(_)) => {}
            Some(Finding::Missing) | None => self.create(topic, &fetch)?,
        }
        match self.limits.get(topic) {
            Some(limit) if *limit < LEAST_LIMIT_BYTES => {
                let text = format!(
                    "max.message.bytes of {topic} is {limit}, at least {LEAST_LIMIT_BYTES} is needed: raise it on the topic"
                );
                Err(TopicRefused::new(topic, RDKafkaErrorCode::MessageSizeTooLarge, text).into())
            }
            _ => Ok(()),
        }
    }

    /// An offset behind which everything is that is sent to this partition from now on.
    pub fn end(&mut self, slot: &Slot) -> i64 {
        if let Some(end) = self.ends.get(slot) {
            return *end;
        }
        // One question for all partitions of the topic, on a connection of its own: one that has a produce request in flight
        // carries no other question. The beginning is right too, and only means that more is read back.
        if self.asked.insert(slot.topic.to_string()) && !self.config.mock {
            match ends_of(&self.config, slot) {
                Ok(ends) => self.ends.extend(ends),
                Err(cause) => debug!(%cause, topic = slot.topic.as_ref(), "the partitions' ends are not to be had"),
            }
        }
        *self.ends.entry(slot.clone()).or_insert(0)
    }

    fn create(&mut self, topic: &str, fetch: &impl Fn() -> KafkaResult<Metadata>) -> Result<(), Unready> {
        if self.config.create_topics == CreateTopics::Never {
            // Somebody may have created it since this producer began.
            if self.await_leaders(topic, fetch, Duration::ZERO) {
                return self.look_again(topic);
            }
            let code = RDKafkaErrorCode::UnknownTopicOrPartition;
            return Err(TopicRefused::new(topic, code, absent(&self.config, topic)).into());
        }
        let began = Instant::now();
        let refusals = topics::create(&self.config, &[topic.to_owned()]).map_err(|cause| {
            let text = format!("{topic} cannot be created now: {cause}");
            Unready::Fault(Fault::new("create", text))
        })?;
        if let Some((_, Refused { code, text })) = refusals.into_iter().next() {
            let cause = KafkaError::AdminOp(code);
            let text = diagnosis(&self.config, &Doing::Create(topic), &cause, Some(&text));
            return Err(match kind_of(code) {
                Kind::Transient | Kind::Consequence => Fault::new("create", text).into(),
                Kind::Topic | Kind::Record | Kind::Cluster => TopicRefused::new(topic, code, text).into(),
            });
        }
        if !self.await_leaders(topic, fetch, LEADERS_TIMEOUT) {
            debug!(topic, "the new topic's leaders are not known yet");
        }
        info!(
            topic,
            took_ms = began.elapsed().as_millis() as u64,
            "created a topic for its first event"
        );
        // Its partitions begin at 0: there is nothing to ask for.
        self.asked.insert(topic.to_owned());
        self.look_again(topic)
    }

    /// Takes in a topic that was not there when this producer began.
    fn look_again(&mut self, topic: &str) -> Result<(), Unready> {
        let fault = |cause: ConnectError| Fault::new("metadata", format!("{topic}: {cause}"));
        let client = super::consumer(&self.config, "imbridge-topics", &[]);
        let client = client.map_err(|cause| fault(ConnectError::Kafka(cause)))?;
        let metadata = client.fetch_metadata(Some(topic), ENDS_TIMEOUT);
        let metadata = metadata.map_err(|cause| fault(ConnectError::Kafka(cause)))?;
        let names = [topic.to_owned()];
        // Right after it was created, a broker may not know it yet: it has what it was created with.
        let finding = findings(&metadata, &names, self.config.partitions).remove(0).1;
        let finding = if finding == Finding::Missing {
            Finding::Fits
        } else {
            finding
        };
        self.found.insert(topic.to_owned(), finding);
        self.replicas.extend(topics::replicas(&metadata));
        if let Ok(limits) = topics::limits(&self.config, &names) {
            self.limits.extend(limits);
        }
        Ok(())
    }

    /// Waits until every configured partition has a leader that the producer knows; false when the time is over.
    fn await_leaders(&self, topic: &str, fetch: &impl Fn() -> KafkaResult<Metadata>, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let metadata = fetch();
            if metadata.is_ok_and(|metadata| topics::is_led(&metadata, topic, self.config.partitions)) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LEADERS_PAUSE);
        }
    }
}

/// The ends of the configured partitions of a topic.
fn ends_of(config: &Config, slot: &Slot) -> Result<HashMap<Slot, i64>, KafkaError> {
    let client = super::consumer(config, "imbridge-ends", &[("isolation.level", "read_uncommitted")])?;
    let mut list = TopicPartitionList::new();
    for partition in 0..config.partitions {
        list.add_partition_offset(&slot.topic, partition, Offset::End)?;
    }
    let found = client.offsets_for_times(list, ENDS_TIMEOUT)?;
    let end = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(end) if element.error().is_ok() => Some((
            Slot {
                topic: slot.topic.clone(),
                partition: element.partition(),
            },
            end,
        )),
        _ => None,
    };
    Ok(found.elements().into_iter().filter_map(end).collect())
}
