//! What a producer knows of the topics that it writes to: which exist, with how many partitions and replicas, the largest message
//! that each accepts, and the end offsets of its partitions. It grows on demand: a topic is created when its first message comes.
//!
//! It uses the producer's own connections, because a new client would cost handshakes of several round trips each. A broker answers a
//! connection's requests in order, so the caller asks when no message is in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashSet};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::diagnosis::{Doing, absent, diagnosis, few};
use super::native::{self, TopicError};
use super::refusal::{Kind, TopicRefused, kind_of};
use super::reports::Reports;
use super::topics::{self, Finding, findings};
use super::{Config, CreateTopics, Fault, Slot};

/// The smallest usable `max.message.bytes` of a topic: a dead letter needs room for its headers too. Also the least value of
/// `kafka.max_message_bytes`.
pub(super) const LEAST_LIMIT_BYTES: usize = 65_536;
/// The assumed limit of a topic whose limit is unknown: Kafka's default, rounded down.
const UNKNOWN_LIMIT_BYTES: usize = 1_000_000;
/// How long to wait for the leaders of a topic that was just created. After this the producer finds them itself.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(5);
const LEADERS_PAUSE: Duration = Duration::from_millis(5);
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
const ENDS_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a topic cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// Not until an operator changes something.
    #[error(transparent)]
    Refused(#[from] TopicRefused),
    /// Temporarily.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The known topics.
pub(super) struct Directory {
    config: Config,
    found: HashMap<String, Finding>,
    limits: HashMap<String, usize>,
    /// The configured limit of every topic.
    limit: usize,
    replicas: HashMap<String, usize>,
    /// For each partition, an offset at or before its end: every message that is sent from now on gets this offset or a later one.
    ends: HashMap<Slot, i64>,
    /// The topics whose ends were looked up.
    asked: HashSet<String>,
}

impl Directory {
    /// Looks up those of these topics that exist.
    pub fn read(config: &Config, client: &Client<Reports>, metadata: &Metadata, topics: &[String]) -> Directory {
        let found = findings(metadata, topics, config.partitions);
        let there = topics::there(&found);
        for (topic, finding) in &found {
            if let Finding::MorePartitions(found) = finding {
                let configured = config.partitions;
                warn!(
                    topic,
                    found,
                    configured,
                    "the topic has more partitions than configured; keys use only the configured ones"
                );
            }
        }
        let mut limits = topics::limits(client, config, &there).unwrap_or_else(|cause| {
            warn!(%cause, "the cluster does not report max.message.bytes; Kafka's default of 1 MB is assumed");
            HashMap::default()
        });
        if !config.mock {
            for topic in there {
                limits.entry(topic).or_insert(UNKNOWN_LIMIT_BYTES);
            }
        }
        Directory {
            limit: config.max_message_bytes.min(config.queue_bytes()),
            config: config.clone(),
            found: found.into_iter().collect(),
            limits,
            replicas: topics::replicas(metadata),
            ends: HashMap::default(),
            asked: HashSet::default(),
        }
    }

    /// Those of these topics that do not exist.
    pub fn missing(&self, topics: &[String]) -> Vec<String> {
        let is_missing = |topic: &&String| !self.found.get(*topic).is_some_and(|found| *found != Finding::Missing);
        topics.iter().filter(is_missing).cloned().collect()
    }

    /// The limit of each topic whose limit is known.
    pub fn limits(&self) -> &HashMap<String, usize> {
        &self.limits
    }

    /// The largest message that a topic accepts, in bytes. For a missing topic, the limit that it would be created with.
    pub fn max_message_bytes(&self, topic: &str) -> usize {
        self.limits
            .get(topic)
            .map_or(self.limit, |limit| self.limit.min(*limit))
    }

    /// The largest number of replicas that any of these topics has.
    pub fn replicas(&self, topics: impl Iterator<Item = impl AsRef<str>>) -> usize {
        let replicas = topics.filter_map(|topic| self.replicas.get(topic.as_ref()).copied());
        replicas.max().unwrap_or(1)
    }

    /// Whether a topic can be written to, as far as is known.
    pub fn is_ready(&self, topic: &str) -> bool {
        let fits = matches!(self.found.get(topic), Some(Finding::Fits | Finding::MorePartitions(_)));
        fits && !self.is_small(topic)
    }

    fn is_small(&self, topic: &str) -> bool {
        self.limits.get(topic).is_some_and(|limit| *limit < LEAST_LIMIT_BYTES)
    }

    /// Makes sure that topics can be written to. Creates missing topics in one request, if the configuration allows it.
    ///
    /// # Errors
    /// [`Unready`] when one of them cannot be written to.
    pub fn make_ready(&mut self, client: &Client<Reports>, topics: &[String]) -> Result<(), Unready> {
        // An operator may have fixed the topic since this producer connected.
        let is_unfit = |topic: &String| matches!(self.found.get(topic), Some(Finding::TooFewPartitions(_)));
        let unfit = topics.iter().filter(|topic| is_unfit(topic) || self.is_small(topic));
        self.look_again(client, &unfit.cloned().collect::<Vec<_>>())?;
        let missing = self.missing(topics);
        if self.config.mock {
            // The mock cluster creates a topic when its metadata is requested.
            for topic in missing {
                self.look_again(client, std::slice::from_ref(&topic))?;
                self.found.insert(topic, Finding::Fits);
            }
        } else if self.config.create_topics == CreateTopics::Never {
            self.look_again(client, &missing)?;
        } else if let Some((topic, TopicError { code, text })) = self.create(client, &missing)?.into_iter().next() {
            let cause = KafkaError::AdminOp(code);
            let text = diagnosis(&self.config, &Doing::Create(&topic), &cause, Some(&text));
            return Err(match kind_of(code) {
                Kind::Transient | Kind::Consequence => Fault::new("create", text).into(),
                Kind::Topic | Kind::Record | Kind::Cluster => TopicRefused::new(&topic, code, text).into(),
            });
        }
        topics.iter().try_for_each(|topic| self.judge(topic))
    }

    /// Whether a topic can be written to.
    fn judge(&self, topic: &str) -> Result<(), Unready> {
        let (code, text) = match (self.found.get(topic), self.limits.get(topic)) {
            (Some(Finding::TooFewPartitions(found)), _) => {
                let configured = self.config.partitions;
                let text = format!(
                    "{topic} has {found} partitions, kafka.partitions is {configured}: add partitions to the topic, or lower the key before anything is published"
                );
                (RDKafkaErrorCode::InvalidPartitions, text)
            }
            (Some(Finding::Missing) | None, _) => {
                (RDKafkaErrorCode::UnknownTopicOrPartition, absent(&self.config, topic))
            }
            (_, Some(limit)) if *limit < LEAST_LIMIT_BYTES => {
                let text = format!(
                    "max.message.bytes of {topic} is {limit}, at least {LEAST_LIMIT_BYTES} is needed: raise it on the topic"
                );
                (RDKafkaErrorCode::MessageSizeTooLarge, text)
            }
            _ => return Ok(()),
        };
        Err(TopicRefused::new(topic, code, text).into())
    }

    /// An offset at or before this partition's end: every message that is sent there from now on gets this offset or a later one. `None`
    /// until [`Directory::find_ends`] was called for the topic.
    pub fn end(&self, slot: &Slot) -> Option<i64> {
        let is_known = self.config.mock || self.asked.contains(&*slot.topic);
        // Offset 0 is correct too. It only means that more messages are read back.
        is_known.then(|| self.ends.get(slot).copied().unwrap_or(0))
    }

    /// Looks up the ends of all partitions of these topics.
    pub fn find_ends(&mut self, client: &Client<Reports>, topics: &[Arc<str>]) {
        if topics.is_empty() {
            return;
        }
        match ends_of(client, topics, self.config.partitions) {
            Ok(ends) => self.ends.extend(ends),
            Err(cause) => debug!(%cause, ?topics, "the partitions' ends are unknown"),
        }
        self.asked.extend(topics.iter().map(|topic| topic.to_string()));
    }

    /// Creates topics. Returns those that the cluster refuses, and why.
    pub fn create(&mut self, client: &Client<Reports>, missing: &[String]) -> Result<Vec<(String, TopicError)>, Fault> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let began = Instant::now();
        let names = missing.join(", ");
        let refusals = topics::create(client, &self.config, missing, false)
            .map_err(|cause| Fault::new("create", format!("{names} cannot be created now: Kafka: {cause}")))?;
        let is_refused = |topic: &&String| refusals.iter().any(|(refused, _)| refused == *topic);
        let created: Vec<String> = missing.iter().filter(|topic| !is_refused(topic)).cloned().collect();
        // The producer itself finds leaders that it does not know after this.
        let deadline = Instant::now() + LEADERS_TIMEOUT;
        while !self.find(client, &created)? && Instant::now() < deadline {
            std::thread::sleep(LEADERS_PAUSE);
        }
        self.find_limits(client, &created);
        // A broker may not know a new topic yet. The topic has the partitions that it was created with.
        for topic in self.missing(&created) {
            self.found.insert(topic, Finding::Fits);
        }
        // A new topic's partitions begin at offset 0, so no lookup is needed.
        self.asked.extend(created.iter().cloned());
        if !created.is_empty() {
            let names: Vec<&str> = created.iter().map(String::as_str).collect();
            let (count, took_ms) = (names.len(), began.elapsed().as_millis() as u64);
            info!(
                count,
                took_ms,
                topics = few(&names),
                "created the topics that were missing"
            );
        }
        Ok(refusals)
    }

    /// Updates partitions, replicas and limits of these topics from the cluster.
    fn look_again(&mut self, client: &Client<Reports>, topics: &[String]) -> Result<(), Fault> {
        self.find(client, topics)?;
        self.find_limits(client, topics);
        Ok(())
    }

    /// Updates partitions and replicas. Returns whether the producer knows leaders for all configured partitions of these topics.
    fn find(&mut self, client: &Client<Reports>, topics: &[String]) -> Result<bool, Fault> {
        let asked = match topics {
            [] => return Ok(true),
            [topic] => Some(topic.as_str()),
            _ => None,
        };
        let metadata = client.fetch_metadata(asked, METADATA_TIMEOUT);
        let metadata = metadata.map_err(|cause| Fault::new("metadata", format!("{}: {cause}", topics.join(", "))))?;
        self.found.extend(findings(&metadata, topics, self.config.partitions));
        self.replicas.extend(topics::replicas(&metadata));
        let is_led = |topic: &String| topics::is_led(&metadata, topic, self.config.partitions);
        Ok(topics.iter().all(is_led))
    }

    fn find_limits(&mut self, client: &Client<Reports>, topics: &[String]) {
        if let Ok(limits) = topics::limits(client, &self.config, topics) {
            self.limits.extend(limits);
        }
    }
}

/// The ends of the configured partitions of topics.
fn ends_of(client: &Client<Reports>, topics: &[Arc<str>], partitions: i32) -> KafkaResult<HashMap<Slot, i64>> {
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::End)?;
        }
    }
    native::find_offsets(client, &mut list, ENDS_TIMEOUT)?;
    let end = |element: TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(end) if element.error().is_ok() => {
            let (topic, partition) = (element.topic().into(), element.partition());
            Some((Slot { topic, partition }, end))
        }
        _ => None,
    };
    Ok(list.elements().into_iter().filter_map(end).collect())
}
