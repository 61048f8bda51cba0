//! What the cluster has of the topics beside what is wanted: for a person to read and decide. It changes nothing on a topic
//! that is there.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::directory::LEAST_LIMIT_BYTES;
use super::topics::{self, Finding, checkpoint_topic, findings};
use super::{Config, ConnectError};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A topic as it is and as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub topic: String,
    /// Whether it is there, and its partitions.
    pub finding: Finding,
    /// Replicas of its first partition; 0 for a topic that is not there.
    pub replicas: usize,
    /// Where its configuration is not the wanted one.
    pub drift: Vec<Drift>,
    /// The configuration that it is created with.
    pub config: BTreeMap<String, String>,
}

/// One setting of a topic that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// `max.message.bytes`, ...
    pub name: String,
    /// What the topic has.
    pub found: String,
    /// What is wanted.
    pub wanted: String,
    /// What comes of the difference.
    pub effect: &'static str,
    /// With it, the bridge publishes nothing.
    pub fatal: bool,
}

impl TopicPlan {
    /// Whether the bridge can publish with it, once it is created where it is missing.
    pub fn is_usable(&self) -> bool {
        !matches!(self.finding, Finding::TooFewPartitions(_)) && !self.drift.iter().any(|drift| drift.fatal)
    }
}

/// What the cluster has, topic by topic.
///
/// # Errors
/// [`ConnectError`] when it does not answer, or does not tell topics' configuration.
pub fn plan(config: &Config, topics: &[String]) -> Result<Vec<TopicPlan>, ConnectError> {
    let client = super::consumer(config, "imbridge-plan", &[]).map_err(ConnectError::Kafka)?;
    let metadata = client.fetch_metadata(None, TIMEOUT).map_err(ConnectError::Kafka)?;
    let found = findings(&metadata, topics, config.partitions);
    let settings = topics::describe(client.client(), &topics::there(&found)).map_err(ConnectError::Kafka)?;
    let replicas = topics::replicas(&metadata);
    let judge = |(topic, finding): (String, Finding)| TopicPlan {
        replicas: replicas.get(topic.as_str()).copied().unwrap_or_default(),
        drift: settings.get(&topic).map_or(Vec::new(), |settings| {
            let replicas = replicas.get(topic.as_str()).copied().unwrap_or(1);
            drift(config, &topic, settings, replicas)
        }),
        config: topics::wanted(config, &topic),
        topic,
        finding,
    };
    Ok(found.into_iter().map(judge).collect())
}

/// Creates these topics and waits until they have leaders.
///
/// # Errors
/// [`ConnectError`] when one cannot be created.
pub fn create(config: &Config, missing: &[String]) -> Result<(), ConnectError> {
    if missing.is_empty() {
        return Ok(());
    }
    let client = super::consumer(config, "imbridge-plan", &[]).map_err(ConnectError::Kafka)?;
    let refusals = topics::create(client.client(), config, missing).map_err(ConnectError::Kafka)?;
    if let Some((topic, refused)) = refusals.into_iter().next() {
        let cause = refused.text;
        return Err(ConnectError::Create { topic, cause });
    }
    topics::await_leaders(|| client.fetch_metadata(None, TIMEOUT), config, missing)
}

/// Where a topic's settings are not the wanted ones, and where they take from the promise although nobody asked for others.
fn drift(config: &Config, topic: &str, settings: &HashMap<String, String>, replicas: usize) -> Vec<Drift> {
    let wanted = topics::wanted(config, topic);
    let mut found: Vec<Drift> = wanted
        .iter()
        // Where it is a default, it is for topics with three replicas; below.
        .filter(|(name, _)| *name != "min.insync.replicas" || config.topic_config.contains_key(*name))
        .filter_map(|(name, wanted)| {
            let found = settings.get(name).filter(|found| *found != wanted)?;
            let drift = Drift {
                name: name.clone(),
                found: found.clone(),
                wanted: wanted.clone(),
                effect: "kafka.topic_config is for topics that are created",
                fatal: false,
            };
            Some(explain(config, topic, drift))
        })
        .flatten()
        .collect();
    let compaction = "compaction keeps only the last event of each key";
    let unclean = "a follower that lags may become leader, and what it lacks is lost";
    let alone = "a message may be on one broker only when it counts as delivered";
    let is_free = topic != checkpoint_topic(&config.topic_prefix) && !wanted.contains_key("cleanup.policy");
    for (is_meant, name, bad, wanted, effect) in [
        (is_free, "cleanup.policy", "compact", "delete", compaction),
        (is_free, "cleanup.policy", "compact,delete", "delete", compaction),
        (true, "unclean.leader.election.enable", "true", "false", unclean),
        (replicas >= 3, "min.insync.replicas", "1", "2", alone),
    ] {
        let is_so = is_meant && settings.get(name).is_some_and(|found| found == bad);
        if is_so && !found.iter().any(|drift| drift.name == name) {
            found.push(Drift {
                name: name.into(),
                found: bad.into(),
                wanted: wanted.into(),
                effect,
                fatal: false,
            });
        }
    }
    found
}

/// What a difference means; nothing where it means nothing.
fn explain(config: &Config, topic: &str, drift: Drift) -> Option<Drift> {
    match drift.name.as_str() {
        "max.message.bytes" => {
            let bytes = drift.found.parse::<usize>().unwrap_or(usize::MAX);
            if bytes >= drift.wanted.parse().unwrap_or(config.max_message_bytes) {
                return None;
            }
            let fatal = bytes < LEAST_LIMIT_BYTES;
            let effect = if fatal {
                "below 65536, nothing is published"
            } else {
                "a larger event becomes a dead letter"
            };
            Some(Drift { effect, fatal, ..drift })
        }
        "message.timestamp.type" => Some(Drift {
            effect: "brokers delete and refuse its messages by the clock of the bridge",
            ..drift
        }),
        "cleanup.policy" if topic == checkpoint_topic(&config.topic_prefix) => Some(Drift {
            effect: "a checkpoint that retention deletes is missing after a crash",
            ..drift
        }),
        _ => Some(drift),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drifts(config: &Config, topic: &str, settings: &[(&str, &str)], replicas: usize) -> Vec<(String, bool)> {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let found = drift(config, topic, &settings, replicas).into_iter();
        found
            .map(|drift| (format!("{} {}", drift.name, drift.wanted), drift.fatal))
            .collect()
    }

    #[test]
    fn a_topic_that_takes_more_than_wanted_fits_and_one_that_the_publisher_refuses_is_of_no_use() {
        let config = Config::default();
        let of = |bytes| drifts(&config, "im.a.B", &[("max.message.bytes", bytes)], 3);
        assert_eq!(of("20000000"), []);
        assert_eq!(of("2000000"), [("max.message.bytes 8388608".to_owned(), false)]);
        assert_eq!(of("65536"), [("max.message.bytes 8388608".to_owned(), false)]);
        assert_eq!(of("65535"), [("max.message.bytes 8388608".to_owned(), true)]);
    }

    #[test]
    fn settings_that_take_from_the_promise_are_found_though_nobody_set_others() {
        let config = Config::default();
        let settings = [
            ("cleanup.policy", "compact"),
            ("unclean.leader.election.enable", "true"),
            ("min.insync.replicas", "1"),
        ];
        let names: Vec<_> = drifts(&config, "im.a.B", &settings, 3);
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(
            drifts(&config, "im.a.B", &settings[2..], 1),
            [],
            "one replica cannot have two in sync"
        );
        let checkpoints = drifts(&config, "im.checkpoints", &[("cleanup.policy", "compact")], 3);
        assert_eq!(checkpoints, []);
        let checkpoints = drifts(&config, "im.checkpoints", &[("cleanup.policy", "delete")], 3);
        assert_eq!(checkpoints, [("cleanup.policy compact".to_owned(), false)]);
    }

    #[test]
    fn what_is_configured_for_new_topics_is_compared() {
        let mut config = Config::default();
        config.topic_config.insert("retention.ms".into(), "1000".into());
        let found = drifts(&config, "im.a.B", &[("retention.ms", "604800000")], 3);
        assert_eq!(found, [("retention.ms 1000".to_owned(), false)]);
    }
}
