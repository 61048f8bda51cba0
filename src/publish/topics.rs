//! The topics: their names, and that each exists with the partitions that keys are placed by.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::KafkaResult;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode;
use tracing::warn;

use super::native::{self, NewTopic, Owners, Settings};
use super::{Config, ConnectError};

const TIMEOUT: Duration = Duration::from_secs(20);

/// `<prefix>.<provider>.<Command>`.
pub fn command_topic(prefix: &str, provider: &str, command: &str) -> String {
    format!("{prefix}.{provider}.{command}")
}

/// `<prefix>.<provider>.unknown`: raw JSON of commands without a schema.
pub fn unknown_topic(prefix: &str, provider: &str) -> String {
    format!("{prefix}.{provider}.unknown")
}

/// `<prefix>.dead-letter`: raw bytes of what cannot be encoded.
pub fn dead_letter_topic(prefix: &str) -> String {
    format!("{prefix}.dead-letter")
}

/// `<prefix>.checkpoints`: the last [`Checkpoint`](super::Checkpoint) of each spool, by spool id.
pub fn checkpoint_topic(prefix: &str) -> String {
    format!("{prefix}.checkpoints")
}

/// What the cluster says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is there and fits.
    Fits,
    /// It is not there.
    Missing,
    /// It has fewer partitions than configured: keys would have no place.
    TooFewPartitions(usize),
    /// It has more partitions than configured: the ones above stay empty.
    MorePartitions(usize),
}

/// Judges each topic by the cluster's metadata.
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

/// The topics that were found.
pub(super) fn there(found: &[(String, Finding)]) -> Vec<String> {
    let found = found.iter().filter(|(_, finding)| *finding != Finding::Missing);
    found.map(|(topic, _)| topic.clone()).collect()
}

/// Waits until every partition of topics that were just created has a leader.
pub(super) fn await_leaders(
    fetch: impl Fn() -> KafkaResult<Metadata>,
    config: &Config,
    topics: &[String],
) -> Result<(), ConnectError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let metadata = fetch().map_err(ConnectError::Kafka)?;
        let Some(waiting) = topics.iter().find(|topic| !is_led(&metadata, topic, config.partitions)) else {
            return Ok(());
        };
        if Instant::now() > deadline {
            return Err(ConnectError::Create {
                topic: waiting.clone(),
                cause: "it has no leader after 20 s".into(),
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether so many partitions of a topic have a leader.
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
        // A broker deletes and refuses by a message's timestamp: it must be the broker's own, not that of a clock that may be
        // wrong, nor of a callback that has waited for days.
        ("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()),
    ]);
    if config.replication_factor >= 3 {
        wanted.insert("min.insync.replicas".into(), "2".into());
    }
    // The last checkpoint of each spool is needed for ever: what an operator sets on topics of events is not for it.
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

/// These topics as they are created.
pub(super) fn new_topics(config: &Config, topics: &[String]) -> Vec<NewTopic> {
    let new = |topic: &String| NewTopic {
        name: topic.clone(),
        partitions: config.partitions,
        replicas: config.replication_factor,
        config: wanted(config, topic),
    };
    topics.iter().map(new).collect()
}

/// Creates topics; gives those that the cluster refuses, and why. One that is there already is none of them.
pub(super) fn create(
    client: &Client<impl ClientContext>,
    config: &Config,
    missing: &[String],
) -> KafkaResult<Vec<(String, native::Refused)>> {
    let outcomes = native::create_topics(client, &new_topics(config, missing), false, TIMEOUT)?;
    let refusals = outcomes
        .into_iter()
        .filter_map(|(topic, outcome)| Some((topic, outcome.err()?)));
    Ok(refusals
        .filter(|(_, refused)| refused.code != RDKafkaErrorCode::TopicAlreadyExists)
        .collect())
}

/// `max.message.bytes` of each topic, where the cluster tells it. Warns of topics whose events compaction would delete.
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

/// Every setting of each topic, where the cluster tells it.
pub(super) fn describe(
    client: &Client<impl ClientContext>,
    topics: &[String],
) -> KafkaResult<std::collections::HashMap<String, Settings>> {
    native::settings(client, Owners::Topics(topics), TIMEOUT)
}
