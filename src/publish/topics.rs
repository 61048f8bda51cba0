//! The topics: their names, their creation, and whether each exists with the configured number of partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use foldhash::HashMap;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::KafkaResult;
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode;
use tracing::warn;

use super::native::{self, NewTopic, Owners, Settings, TopicError};
use super::{Config, Slot};

const TIMEOUT: Duration = Duration::from_secs(20);

/// `<prefix>.<provider>.<Command>`.
pub fn command_topic(prefix: &str, provider: &str, command: &str) -> String {
    format!("{prefix}.{provider}.{command}")
}

/// `<prefix>.<provider>.unknown`: raw JSON of commands without a schema.
pub fn unknown_topic(prefix: &str, provider: &str) -> String {
    format!("{prefix}.{provider}.unknown")
}

/// `<prefix>.dead-letter`: raw bytes of events that cannot be encoded or published.
pub fn dead_letter_topic(prefix: &str) -> String {
    format!("{prefix}.dead-letter")
}

/// `<prefix>.checkpoints`: the last [`Checkpoint`](super::Checkpoint) of each spool, by spool id.
pub fn checkpoint_topic(prefix: &str) -> String {
    format!("{prefix}.checkpoints")
}

/// The state of a topic in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It exists and has the configured number of partitions.
    Fits,
    /// It does not exist.
    Missing,
    /// It has fewer partitions than configured: some keys would have no partition.
    TooFewPartitions(usize),
    /// It has more partitions than configured: the additional ones stay empty.
    MorePartitions(usize),
}

/// The state of each topic, by the cluster's metadata.
pub(super) fn findings(metadata: &Metadata, topics: &[String], partitions: i32) -> Vec<(String, Finding)> {
    let there: HashMap<&str, usize> = metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| (topic.name(), topic.partitions().len()))
        .collect();
    let judge = |topic: &String| match there.get(topic.as_str()) {
        None | Some(0) => Finding::Missing,
        Some(count) if *count < partitions as usize => Finding::TooFewPartitions(*count),
        Some(count) if *count > partitions as usize => Finding::MorePartitions(*count),
        Some(_) => Finding::Fits,
    };
    topics.iter().map(|topic| (topic.clone(), judge(topic))).collect()
}

/// The topics that exist.
pub(super) fn there(found: &[(String, Finding)]) -> Vec<String> {
    let found = found.iter().filter(|(_, finding)| *finding != Finding::Missing);
    found.map(|(topic, _)| topic.clone()).collect()
}

/// A partition's metadata; `None` if the topic or the partition does not exist.
pub(super) fn find_partition<'m>(metadata: &'m Metadata, slot: &Slot) -> Option<&'m MetadataPartition> {
    let topic = metadata.topics().iter().find(|topic| topic.name() == &*slot.topic)?;
    topic.partitions().iter().find(|found| found.id() == slot.partition)
}

/// Whether at least this many partitions of a topic have a leader.
pub(super) fn is_led(metadata: &Metadata, topic: &str, partitions: i32) -> bool {
    let topic = metadata.topics().iter().find(|found| found.name() == topic);
    topic.is_some_and(|topic| {
        let leaders = topic.partitions().iter().filter(|partition| partition.leader() >= 0);
        leaders.count() >= partitions as usize
    })
}

/// The least number of replicas that a partition of each topic has.
pub(super) fn replicas(metadata: &Metadata) -> HashMap<String, usize> {
    let count = |topic: &MetadataTopic| {
        let counts = topic.partitions().iter().map(|partition| partition.replicas().len());
        (topic.name().to_owned(), counts.min().unwrap_or_default())
    };
    metadata.topics().iter().map(count).collect()
}

/// The configuration that a topic is created with.
pub(super) fn wanted(config: &Config, topic: &str) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::from([
        ("max.message.bytes".to_owned(), config.max_message_bytes.to_string()),
        // Brokers delete and refuse messages by their timestamps. So these must come from the broker's clock, and not from a clock
        // that may be wrong or from a callback that has waited for days.
        ("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()),
    ]);
    if config.replication_factor >= 3 {
        wanted.insert("min.insync.replicas".into(), "2".into());
    }
    // The last checkpoint of each spool must never be deleted, so an operator's settings for event topics do not apply to it.
    let compacted = topic == checkpoint_topic(&config.topic_prefix);
    if compacted {
        wanted.insert("cleanup.policy".into(), "compact".into());
    }
    let timeline = config.timeline.as_ref();
    let timeline = timeline.filter(|timeline| timeline.topic(&config.topic_prefix) == topic);
    let own = timeline.map(|timeline| &timeline.topic_config);
    let set = config.topic_config.iter().chain(own.into_iter().flatten());
    let set = set.filter(|(name, _)| !compacted || *name == "min.insync.replicas");
    wanted.extend(set.map(|(name, value)| (name.clone(), value.clone())));
    wanted
}

/// Creates topics, or asks whether they could be created (`validate_only`). Returns those that the cluster refuses, and why. A topic
/// that already exists is not refused.
pub(super) fn create(
    client: &Client<impl ClientContext>,
    config: &Config,
    missing: &[String],
    validate_only: bool,
) -> KafkaResult<Vec<(String, TopicError)>> {
    let new = |topic: &String| NewTopic {
        name: topic.clone(),
        partitions: config.partitions,
        replicas: config.replication_factor,
        config: wanted(config, topic),
    };
    let new: Vec<_> = missing.iter().map(new).collect();
    let outcomes = native::create_topics(client, &new, validate_only, TIMEOUT)?.into_iter();
    let errors = outcomes.filter_map(|(topic, outcome)| Some((topic, outcome.err()?)));
    let exists = |error: &TopicError| error.code == RDKafkaErrorCode::TopicAlreadyExists;
    Ok(errors.filter(|(_, error)| !exists(error)).collect())
}

/// `max.message.bytes` of each topic, as far as the cluster reports it. Warns about topics whose events compaction would delete.
pub(super) fn limits(
    client: &Client<impl ClientContext>,
    config: &Config,
    topics: &[String],
) -> KafkaResult<HashMap<String, usize>> {
    if config.mock {
        return Ok(HashMap::default());
    }
    let settings = describe(client, topics)?;
    let policy_of = |topic: &String| settings.get(topic)?.get("cleanup.policy");
    for topic in topics
        .iter()
        .filter(|topic| **topic != checkpoint_topic(&config.topic_prefix))
    {
        if let Some(policy) = policy_of(topic).filter(|policy| policy.contains("compact")) {
            warn!(
                topic,
                policy, "compaction keeps only the last event of each key: set cleanup.policy=delete"
            );
        }
    }
    let limit_of =
        |(topic, settings): (String, Settings)| Some((topic, settings.get("max.message.bytes")?.parse().ok()?));
    Ok(settings.into_iter().filter_map(limit_of).collect())
}

/// All settings of each topic, as far as the cluster reports them.
pub(super) fn describe(
    client: &Client<impl ClientContext>,
    topics: &[String],
) -> KafkaResult<std::collections::HashMap<String, Settings>> {
    native::settings(client, Owners::Topics(topics), TIMEOUT)
}
