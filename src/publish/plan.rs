//! The topics of the cluster compared with the wanted ones, for an operator to decide. It never changes an existing topic.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::directory::LEAST_LIMIT_BYTES;
use super::topics::{self, Finding, checkpoint_topic, findings};
use super::{Config, ConnectError};

const TIMEOUT: Duration = Duration::from_secs(10);
const LEADERS_TIMEOUT: Duration = Duration::from_secs(20);
const LEADERS_PAUSE: Duration = Duration::from_millis(100);

/// A topic's actual and wanted state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub topic: String,
    /// Whether it exists, and whether its partitions fit.
    pub finding: Finding,
    /// The least number of replicas of its partitions; 0 for a missing topic.
    pub replicas: usize,
    /// The settings that differ from the wanted ones.
    pub drift: Vec<Drift>,
    /// The configuration that it is created with.
    pub config: BTreeMap<String, String>,
}

/// A setting of an existing topic that differs from the wanted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// `max.message.bytes`, ...
    pub name: String,
    /// The topic's value.
    pub found: String,
    /// The wanted value.
    pub wanted: String,
    /// The consequence of the difference.
    pub effect: &'static str,
    /// Whether the bridge cannot publish to the topic because of it.
    pub fatal: bool,
}

impl TopicPlan {
    /// Whether the bridge can publish to the topic, after its creation if it is missing.
    pub fn is_usable(&self) -> bool {
        !matches!(self.finding, Finding::TooFewPartitions(_)) && !self.drift.iter().any(|drift| drift.fatal)
    }
}

/// The state of each topic.
///
/// # Errors
/// [`ConnectError`] when the cluster does not answer, or does not report the topics' configuration.
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
    let errors = topics::create(client.client(), config, missing, false).map_err(ConnectError::Kafka)?;
    if let Some((topic, error)) = errors.into_iter().next() {
        let cause = error.text;
        return Err(ConnectError::Create { topic, cause });
    }
    let deadline = Instant::now() + LEADERS_TIMEOUT;
    loop {
        let metadata = client.fetch_metadata(None, TIMEOUT).map_err(ConnectError::Kafka)?;
        let has_no_leader = |topic: &&String| !topics::is_led(&metadata, topic, config.partitions);
        let Some(topic) = missing.iter().find(has_no_leader).cloned() else {
            return Ok(());
        };
        if Instant::now() > deadline {
            let cause = "it has no leader after 20 s".into();
            return Err(ConnectError::Create { topic, cause });
        }
        std::thread::sleep(LEADERS_PAUSE);
    }
}

/// A topic's settings that differ from the wanted ones, and settings that weaken the bridge's guarantees although no other value is
/// configured.
fn drift(config: &Config, topic: &str, settings: &HashMap<String, String>, replicas: usize) -> Vec<Drift> {
    let drift = |name: &str, found: &str, wanted: &str, effect| Drift {
        name: name.to_owned(),
        found: found.to_owned(),
        wanted: wanted.to_owned(),
        effect,
        fatal: false,
    };
    let wanted = topics::wanted(config, topic);
    let mut found: Vec<Drift> = wanted
        .iter()
        // The default of 2 applies only to topics with three replicas, and is checked below.
        .filter(|(name, _)| *name != "min.insync.replicas" || config.topic_config.contains_key(*name))
        .filter_map(|(name, wanted)| {
            let found = settings.get(name).filter(|found| *found != wanted)?;
            let effect = "kafka.topic_config applies only to topics that the bridge creates";
            explain(config, topic, drift(name, found, wanted, effect))
        })
        .collect();
    let compaction = "compaction keeps only the last event of each key";
    let unclean = "a lagging follower may become leader, and the messages that it lacks are lost";
    let alone = "a message may count as delivered when only one broker has it";
    let is_free = topic != checkpoint_topic(&config.topic_prefix) && !wanted.contains_key("cleanup.policy");
    for (applies, name, bad, wanted, effect) in [
        (is_free, "cleanup.policy", "compact", "delete", compaction),
        (is_free, "cleanup.policy", "compact,delete", "delete", compaction),
        (true, "unclean.leader.election.enable", "true", "false", unclean),
        (replicas >= 3, "min.insync.replicas", "1", "2", alone),
    ] {
        let is_bad = applies && settings.get(name).is_some_and(|found| found == bad);
        if is_bad && !found.iter().any(|drift| drift.name == name) {
            found.push(drift(name, bad, wanted, effect));
        }
    }
    found
}

/// Adds the consequence of a difference; `None` if it has none.
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
            effect: "brokers delete and refuse its messages by the bridge's clock",
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
    fn a_larger_message_limit_than_wanted_fits_and_one_that_the_publisher_refuses_is_fatal() {
        let config = Config::default();
        let of = |bytes| drifts(&config, "im.a.B", &[("max.message.bytes", bytes)], 3);
        assert_eq!(of("20000000"), []);
        assert_eq!(of("2000000"), [("max.message.bytes 8388608".to_owned(), false)]);
        assert_eq!(of("65536"), [("max.message.bytes 8388608".to_owned(), false)]);
        assert_eq!(of("65535"), [("max.message.bytes 8388608".to_owned(), true)]);
    }

    #[test]
    fn settings_that_weaken_the_guarantees_are_found_without_configuration() {
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
    fn the_configuration_for_new_topics_is_compared() {
        let mut config = Config::default();
        config.topic_config.insert("retention.ms".into(), "1000".into());
        let found = drifts(&config, "im.a.B", &[("retention.ms", "604800000")], 3);
        assert_eq!(found, [("retention.ms 1000".to_owned(), false)]);
    }
}
