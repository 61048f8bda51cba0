//! What a producer knows of the topics that it writes to: which are there, with how many partitions and replicas, what is the
//! largest message that each takes, and where its partitions ended. It grows on demand: a topic is created when its first
//! message is there.
//!
//! It asks through the producer's own connections: a new client would cost handshakes, each of several round trips. A broker answers a
//! connection's requests in order, so its caller asks when nothing is in flight.

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
use super::native::{self, Refused};
use super::refusal::{Kind, TopicRefused, kind_of};
use super::reports::Reports;
use super::topics::{self, Finding, findings};
use super::{Config, CreateTopics, Fault, Slot};

/// A topic that takes less holds nothing: a dead letter's headers need some of it too. Also the least of `kafka.max_message_bytes`.
pub(super) const LEAST_LIMIT_BYTES: usize = 65_536;
/// What a topic takes that does not tell: Kafka's default, rounded down.
const UNTOLD_LIMIT_BYTES: usize = 1_000_000;
/// How long a topic that was just created may take to get its leaders, before the producer is left to find them.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(5);
const LEADERS_PAUSE: Duration = Duration::from_millis(5);
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
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
    /// Of every topic, by the configuration.
    limit: usize,
    replicas: HashMap<String, usize>,
    /// Offsets behind which everything is that is sent from now on; no more than the partitions' ends.
    ends: HashMap<Slot, i64>,
    asked: HashSet<String>,
}

impl Directory {
    /// Looks these topics up, as far as they are there.
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
                    "the topic has more partitions than configured; keys stay in the configured ones"
                );
            }
        }
        let mut limits = topics::limits(client, config, &there).unwrap_or_else(|cause| {
            warn!(%cause, "the cluster does not tell max.message.bytes; Kafka's default of 1 MB is assumed");
            HashMap::default()
        });
        if !config.mock {
            for topic in there {
                limits.entry(topic).or_insert(UNTOLD_LIMIT_BYTES);
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
        self.limits
            .get(topic)
            .map_or(self.limit, |limit| self.limit.min(*limit))
    }

    /// The most replicas that any of these partitions' topics has.
    pub fn replicas(&self, slots: impl Iterator<Item = impl AsRef<str>>) -> usize {
        let replicas = slots.filter_map(|topic| self.replicas.get(topic.as_ref()).copied());
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

    /// Makes sure that topics can be written to; creates those that are missing, at once, where the configuration allows that.
    ///
    /// # Errors
    /// [`Unready`] when one of them cannot.
    pub fn make_ready(&mut self, client: &Client<Reports>, topics: &[String]) -> Result<(), Unready> {
        // Somebody may have mended it since this producer began.
        let is_unfit = |topic: &String| matches!(self.found.get(topic), Some(Finding::TooFewPartitions(_)));
        let unfit = topics.iter().filter(|topic| is_unfit(topic) || self.is_small(topic));
        self.look_again(client, &unfit.cloned().collect::<Vec<_>>())?;
        let missing = self.missing(topics);
        if self.config.mock {
            // Its brokers create a topic that they are asked for.
            for topic in missing {
                self.look_again(client, std::slice::from_ref(&topic))?;
                self.found.insert(topic, Finding::Fits);
            }
        } else if self.config.create_topics == CreateTopics::Never {
            self.look_again(client, &missing)?;
        } else if let Some((topic, Refused { code, text })) = self.create(client, &missing)?.into_iter().next() {
            let cause = KafkaError::AdminOp(code);
            let text = diagnosis(&self.config, &Doing::Create(&topic), &cause, Some(&text));
            return Err(match kind_of(code) {
                Kind::Transient | Kind::Consequence => Fault::new("create", text).into(),
                Kind::Topic | Kind::Record | Kind::Cluster => TopicRefused::new(&topic, code, text).into(),
            });
        }
        topics.iter().try_for_each(|topic| self.judge(topic))
    }

    /// Why a topic cannot be written to.
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

    /// An offset behind which everything is that is sent to this partition from now on, no more than its end; `None` until
    /// [`Directory::find_ends`] has asked.
    pub fn end(&self, slot: &Slot) -> Option<i64> {
        let is_known = self.config.mock || self.asked.contains(&*slot.topic);
        // The beginning is right too, and only means that more is read back.
        is_known.then(|| self.ends.get(slot).copied().unwrap_or(0))
    }

    /// Asks for the ends of all partitions of these topics.
    pub fn find_ends(&mut self, client: &Client<Reports>, topics: &[Arc<str>]) {
        if topics.is_empty() {
            return;
        }
        match ends_of(client, topics, self.config.partitions) {
            Ok(ends) => self.ends.extend(ends),
            Err(cause) => debug!(%cause, ?topics, "the partitions' ends are not to be had"),
        }
        self.asked.extend(topics.iter().map(|topic| topic.to_string()));
    }

    /// Creates topics; gives those that the cluster refuses, and why.
    pub fn create(&mut self, client: &Client<Reports>, missing: &[String]) -> Result<Vec<(String, Refused)>, Fault> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let began = Instant::now();
        let names = missing.join(", ");
        let refusals = topics::create(client, &self.config, missing)
            .map_err(|cause| Fault::new("create", format!("{names} cannot be created now: Kafka: {cause}")))?;
        let is_refused = |topic: &&String| refusals.iter().any(|(refused, _)| refused == *topic);
        let created: Vec<String> = missing.iter().filter(|topic| !is_refused(topic)).cloned().collect();
        // The producer is left to find the leaders that it does not know by then.
        let deadline = Instant::now() + LEADERS_TIMEOUT;
        while !self.find(client, &created)? && Instant::now() < deadline {
            std::thread::sleep(LEADERS_PAUSE);
        }
        self.find_limits(client, &created);
        for topic in &created {
            // Right after it was created, a broker may not know it yet: it has what it was created with.
            let found = self.found.entry(topic.clone()).or_insert(Finding::Fits);
            if *found == Finding::Missing {
                *found = Finding::Fits;
            }
            // Its partitions begin at 0: there is nothing to ask for.
            self.asked.insert(topic.clone());
        }
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

    /// Takes in what the cluster says of these topics now.
    fn look_again(&mut self, client: &Client<Reports>, topics: &[String]) -> Result<(), Fault> {
        self.find(client, topics)?;
        self.find_limits(client, topics);
        Ok(())
    }

    /// The same without their limits; true when all of their configured partitions have leaders that the producer knows.
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
